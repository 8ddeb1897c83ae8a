#include "manager/cluster/cluster_impl.h"

#include <string.h>

/* Who aims at how many shards. Nobody deals them out: each host takes free ones as long as it has less than
 * its share, and gives to who has less than it should. All see the same numbers, a second old at most; what
 * two do at once Redis puts in order. */

/* Hosts that share: those that do not drain. */
static int sharing_hosts(const struct tg_cluster *cluster)
{
  int count = 0;
  for (int i = 0; i < cluster->host_count; i++)
    count += !cluster->hosts[i].draining;
  return count;
}

int tg_share_of(const struct tg_cluster *cluster)
{
  int hosts = sharing_hosts(cluster);
  return cluster->draining || hosts == 0 ? 0 : (cluster->total + hosts - 1) / hosts;
}

/* ---- taking ---- */

/* At a start hosts come one after the other: who is first should not take all, and give it away again. */
static bool has_settled(struct tg_cluster *cluster)
{
  cluster->settled = cluster->settled || cluster->now - cluster->hosts_since >= TG_HOSTS_SETTLE ||
                     cluster->now - cluster->joined_at >= TG_HOSTS_SETTLE_MAX;
  return cluster->settled;
}

static void claim(struct tg_cluster *cluster)
{
  int most = tg_share_of(cluster) - tg_lease_count(cluster);
  if (cluster->free == 0 || most <= 0 || cluster->claim_under_way || !has_settled(cluster))
    return;
  cluster->claim_under_way = true;
  cluster->free = 0; /* until a beat says that there are more */
  tg_cluster_call(cluster, TG_CALL_CLAIM, -1, json_pack("{s:i}", "max", most));
}

void tg_claim_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer)
{
  cluster->claim_under_way = false;
  if (tg_answer_text(answer, "refused"))
    return;
  tg_change_learn_end(cluster, answer);
  tg_change_learn(cluster, answer);
  size_t i;
  json_t *item;
  json_array_foreach(json_object_get(answer, "given"), i, item) tg_lease_take(cluster, item, call->at);
}

/* ---- giving ---- */

/* The host with the least shards of those that may have our sessions; NULL: no other host shares. */
static struct tg_cluster_host *poorest(const struct tg_cluster *cluster)
{
  struct tg_cluster_host *least = NULL;
  for (int i = 0; i < cluster->host_count; i++) {
    struct tg_cluster_host *host = &cluster->hosts[i];
    if (!host->draining && strcmp(host->digest, cluster->digest) == 0 &&
        strcmp(host->name, cluster->host) != 0 && (!least || host->shards < least->shards))
      least = host;
  }
  return least;
}

/* How far the receiver would fill up by a gift; 0: it gets none. */
static int aim_of(const struct tg_cluster *cluster, const struct tg_cluster_host *to)
{
  int hosts = sharing_hosts(cluster), floor = cluster->total / hosts;
  int most = (cluster->total + hosts - 1) / hosts,
      mine = tg_lease_count(cluster) - tg_moves_under_way(cluster);
  if (cluster->draining || mine > most)
    return to->shards < most ? most : 0;
  return mine > floor && to->shards < floor ? floor : 0;
}

/* Discord keeps events of a session only so far back: a shard whose events lie here undelivered stays until
 * they are delivered, or others would get them late. */
static bool is_near(const struct tg_cluster *cluster, int number)
{
  struct tg_cluster_progress progress = {0};
  cluster->progress(cluster->ctx, number, &progress);
  uint64_t most = progress.guilds >= 3 ? 100 : progress.guilds * 75 / 2;
  return progress.delivered_epoch == progress.epoch && progress.durable - progress.delivered <= most;
}

static bool can_move(const struct tg_cluster *cluster, int number)
{
  const struct tg_cluster_shard *shard = &cluster->shards[number];
  bool anyway = cluster->draining && cluster->drains_anyway;
  return cluster->to == 0 && shard->hold == TG_HOLD_MINE && shard->running && !shard->peer &&
         !shard->put_due && shard->turn <= TG_TURN_ASKING && (anyway || is_near(cluster, number));
}

static void give(struct tg_cluster *cluster)
{
  int most = cluster->draining ? TG_DRAIN_AT_ONCE : TG_GIVE_AT_ONCE;
  for (int i = cluster->shard_count - 1; i >= 0 && tg_moves_under_way(cluster) < most; i--) {
    struct tg_cluster_host *to = poorest(cluster);
    int aim = to ? aim_of(cluster, to) : 0;
    if (aim == 0)
      return;
    if (!can_move(cluster, i))
      continue;
    tg_move_offer(cluster, i, to->name, aim);
    to->shards++; /* until the next beat tells */
  }
}

/* ---- both ---- */

void tg_shares_tick(struct tg_cluster *cluster)
{
  /* What was told long ago may be wrong; and who is not sure of what it has cannot tell how many that is. */
  bool is_fresh = cluster->now - cluster->told_at <= 2 * TG_BEAT_INTERVAL;
  if (cluster->total == 0 || cluster->quiet > 0 || !is_fresh || cluster->resting ||
      tg_lease_any_unsure(cluster))
    return;
  claim(cluster);
  if (cluster->now < cluster->give_at)
    return;
  cluster->give_at = cluster->now + (cluster->draining ? TG_DRAIN_INTERVAL : TG_GIVE_INTERVAL);
  give(cluster);
}
