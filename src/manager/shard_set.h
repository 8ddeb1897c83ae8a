#pragma once

/* The shards of this gateway, and where they run. Which those are is decided
 * once, when the gateway information is there (begin.c); until then the set is
 * empty. What is said of a shard here, workers/spawn.c writes; all may read it. */

#include "manager/reply.h"
#include "manager/workers/assign.h"
#include "shared/shard_table.h"

struct tg_managed_shard {
  int id;
  int worker_id;
  bool told;                       /* its worker was told to start it */
  bool wanted;                     /* is to run: started once, and not killed since */
  bool was_up;                     /* READY or RESUMED, ever */
  bool had_session;                /* when it was told to start */
  tg_ms still_since;               /* stands still without a reason; 0: does not */
  struct tg_waiter *start_waiters; /* tell_worker_to_identify: READY or failed */
};

struct tg_shard_set {
  struct tg_shard_range range;
  struct tg_shard_table *table;
  struct tg_managed_shard *list; /* by id, from range.first on */
  int count;                     /* 0: not known yet */
};

/* NULL: not a shard of this gateway. */
static inline struct tg_managed_shard *tg_shard_set_find(const struct tg_shard_set *shards,
                                                         json_int_t shard_id)
{
  return shards->count > 0 && shard_id >= shards->range.first && shard_id <= shards->range.last
             ? &shards->list[shard_id - shards->range.first]
             : NULL;
}

static inline struct tg_shard_row *tg_shard_row_of(const struct tg_shard_set *shards,
                                                   const struct tg_managed_shard *shard)
{
  return tg_shard_table_row(shards->table, shard->id);
}

static inline enum tg_shard_state tg_shard_state_of(const struct tg_shard_set *shards,
                                                    const struct tg_managed_shard *shard)
{
  return (enum tg_shard_state)atomic_load(&tg_shard_row_of(shards, shard)->state);
}
