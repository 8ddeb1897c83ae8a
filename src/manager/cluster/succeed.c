#include "manager/cluster/cluster_impl.h"

/* Another program takes this one's place, in the same process, within the time of a lease: it is told what
 * stands in rows, and that shards run. All else it hears from Redis. */

void tg_cluster_rest(struct tg_cluster *cluster, bool rest)
{
  cluster->resting = rest;
  cluster->rests_since = cluster->now;
  if (rest)
    cluster->beat_at = cluster->now;
}

static bool is_on_its_way(const struct tg_cluster_shard *shard)
{
  return shard->hold > TG_HOLD_MINE || shard->hold == TG_HOLD_EXPECTED || shard->peer || shard->slot_call ||
         shard->turn > TG_TURN_ASKING;
}

static bool is_confirmed(const struct tg_cluster *cluster)
{
  for (int i = 0; i < cluster->shard_count; i++)
    if (cluster->shards[i].put_due)
      return false;
  bool is_told = cluster->greeted && cluster->total > 0 && cluster->told_at >= cluster->rests_since;
  return is_told && cluster->quiet == 0 && !cluster->next && !tg_lease_any_unsure(cluster);
}

bool tg_cluster_at_rest(const struct tg_cluster *cluster, bool sure)
{
  if (cluster->claim_under_way || cluster->word_count > cluster->word_is_out)
    return false;
  for (int i = -1; (i = tg_cluster_next_of(cluster, i)) >= 0;)
    if (is_on_its_way(tg_cluster_find(cluster, i)))
      return false;
  return !sure || is_confirmed(cluster);
}

void tg_cluster_succeed(struct tg_cluster *cluster, const struct tg_cluster_succession *before)
{
  cluster->total = before->total;
  tg_cluster_shard_at(cluster, before->total - 1);
  cluster->moves = before->moves;
  cluster->lost_leases = before->lost_leases;
  cluster->ticked_at = before->at; /* if that is long ago, others may have acted meanwhile */
  cluster->settled = true;
  cluster->resting = true;
}

void tg_cluster_runs_on(struct tg_cluster *cluster, int number, tg_ms until)
{
  struct tg_cluster_shard *shard = tg_cluster_find(cluster, number);
  shard->running = true;
  shard->open = until == TG_LEASE_OPEN;
  shard->until = shard->open ? cluster->now : until;
}
