#include "manager/identify/slots_cluster.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum said { NOTHING, ASKED, GRANTED, SENT };

struct turn {
  enum said said;
  uint64_t epoch; /* of the grant */
};

struct tg_slots_cluster {
  const struct tg_manager_env *env;
  struct tg_scheduler *scheduler;
  const struct tg_slots_events *events;
  void *ctx;
  struct turn *turns; /* by tg_ref_index() */
  int count;
};

struct tg_slots_cluster *tg_slots_cluster_new(const struct tg_manager_env *env,
                                              struct tg_scheduler *scheduler,
                                              const struct tg_slots_events *events, void *ctx)
{
  struct tg_slots_cluster *cluster = tg_calloc(1, sizeof *cluster);
  *cluster = (struct tg_slots_cluster){.env = env, .scheduler = scheduler, .events = events, .ctx = ctx};
  tg_scheduler_share(scheduler);
  return cluster;
}

void tg_slots_cluster_free(struct tg_slots_cluster *cluster)
{
  if (!cluster)
    return;
  free(cluster->turns);
  free(cluster);
}

static struct turn *turn_of(struct tg_slots_cluster *cluster, const struct tg_managed_shard *shard)
{
  int index = tg_ref_index(shard->ref);
  if (index >= cluster->count) {
    int count = index + 64;
    cluster->turns = tg_realloc(cluster->turns, (size_t)count * sizeof *cluster->turns);
    memset(cluster->turns + cluster->count, 0, (size_t)(count - cluster->count) * sizeof *cluster->turns);
    cluster->count = count;
  }
  return &cluster->turns[index];
}

/* Op 2 of a grant of which nothing was heard: not later than now. */
static void assume_sent(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard, struct turn *turn)
{
  if (turn->said == GRANTED)
    cluster->events->sent(cluster->ctx, shard);
  if (turn->said >= GRANTED)
    cluster->events->done(cluster->ctx, shard, false);
  turn->said = NOTHING;
}

void tg_slots_cluster_pump(struct tg_slots_cluster *cluster)
{
  tg_ms now = tg_now();
  for (int i = 0; i < tg_all_shards(cluster->env); i++) {
    struct tg_managed_shard *shard = tg_any_shard(cluster->env, i);
    if (!tg_scheduler_due(cluster->scheduler, shard->ref, now))
      continue;
    struct turn *turn = turn_of(cluster, shard);
    if (turn->said == ASKED)
      continue;
    assume_sent(cluster, shard, turn);
    turn->said = ASKED;
    cluster->events->ask(cluster->ctx, shard, tg_scheduler_priority(cluster->scheduler, shard->ref));
  }
}

void tg_slots_cluster_granted(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard,
                              uint64_t epoch)
{
  *turn_of(cluster, shard) = (struct turn){GRANTED, epoch};
}

uint64_t tg_slots_cluster_epoch(const struct tg_slots_cluster *cluster, const struct tg_managed_shard *shard)
{
  int index = tg_ref_index(shard->ref);
  return index < cluster->count && cluster->turns[index].said == GRANTED ? cluster->turns[index].epoch : 0;
}

void tg_slots_cluster_left(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard)
{
  turn_of(cluster, shard)->said = NOTHING;
  cluster->events->unask(cluster->ctx, shard);
}

void tg_slots_cluster_sent(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard)
{
  struct turn *turn = turn_of(cluster, shard);
  if (turn->said == ASKED) { /* a script has not waited for the turn */
    tg_slots_cluster_left(cluster, shard);
  } else if (turn->said == GRANTED) {
    turn->said = SENT;
    cluster->events->sent(cluster->ctx, shard);
  }
}

void tg_slots_cluster_done(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard, bool ready)
{
  struct turn *turn = turn_of(cluster, shard);
  if (turn->said != SENT)
    return;
  turn->said = NOTHING;
  cluster->events->done(cluster->ctx, shard, ready);
}

void tg_slots_cluster_gone(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard)
{
  struct turn *turn = turn_of(cluster, shard);
  if (turn->said == ASKED)
    tg_slots_cluster_left(cluster, shard);
  else if (turn->said == SENT || !cluster->events->reachable(cluster->ctx, shard))
    assume_sent(cluster, shard, turn); /* else its worker is about to say what became of the grant */
}

void tg_slots_cluster_forget(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard)
{
  struct turn *turn = turn_of(cluster, shard);
  if (turn->said == ASKED)
    tg_slots_cluster_left(cluster, shard);
  else
    assume_sent(cluster, shard, turn);
}

void tg_slots_cluster_end(struct tg_slots_cluster *cluster)
{
  for (int i = 0; i < tg_all_shards(cluster->env); i++) {
    struct tg_managed_shard *shard = tg_any_shard(cluster->env, i);
    if (turn_of(cluster, shard)->said == ASKED)
      tg_slots_cluster_left(cluster, shard);
  }
}
