#pragma once

/* The shards of this gateway, and where they run. Which those are is decided
 * once, when the gateway information is there (begin.c); until then the set is
 * empty. While the bot goes over to another number of shards there is a second set
 * beside it (reshard/). What is said of a shard here, workers/spawn.c writes; all may
 * read it.
 *
 * Whatever outlives a call names a shard by its reference (proto/shard_ref.h): the
 * set may be over by then. */

#include "manager/reply.h"
#include "manager/workers/assign.h"
#include "proto/shard_ref.h"
#include "shared/shard_table.h"

struct tg_shard_set;

struct tg_managed_shard {
  int id;
  tg_shard_ref ref;
  struct tg_shard_set *set;
  int worker_id;
  bool held;                       /* is this gateway's; in a cluster all are listed, and some are its own */
  bool told;                       /* its worker was told to start it */
  bool wanted;                     /* is to run: started once, and not killed since */
  bool was_up;                     /* READY or RESUMED, ever */
  bool had_session;                /* when it was told to start */
  tg_ms still_since;               /* stands still without a reason; 0: does not */
  struct tg_waiter *start_waiters; /* tell_worker_to_identify: READY or failed */
};

struct tg_shard_set {
  int side;
  struct tg_shard_range range;
  struct tg_shard_table *table;
  struct tg_managed_shard *list; /* by id, from range.first on */
  int count;                     /* 0: not known yet, or there is no such set */
};

/* Lists the shards of `side` and `range`, which no worker has yet. The table is the
 * caller's to open, and the set's to close. */
void tg_shard_set_make(struct tg_shard_set *set, int side, const struct tg_shard_range *range);
/* The set is at `to` from now on, where none was, and `from` is empty. */
void tg_shard_set_move(struct tg_shard_set *to, struct tg_shard_set *from);
/* Nobody waits for its shards any more. */
void tg_shard_set_clear(struct tg_shard_set *set);

/* The shards of class i (id % classes) are of workers[i] from now on. */
void tg_shard_set_deal(struct tg_shard_set *set, const int *workers, int classes);

/* How many are this gateway's. */
int tg_shard_set_count_held(const struct tg_shard_set *set);
/* How many are connected. */
int tg_shard_set_count_up(const struct tg_shard_set *set);
/* How many of a worker have sessions and are about to resume them. */
int tg_shard_set_count_resuming(const struct tg_shard_set *set, int worker);
/* How many a worker has of those that are held, and of all. */
int tg_shard_set_count_held_of(const struct tg_shard_set *set, int worker);
int tg_shard_set_count_of(const struct tg_shard_set *set, int worker);

/* NULL: not a shard of this set. */
static inline struct tg_managed_shard *tg_shard_set_find(const struct tg_shard_set *shards,
                                                         json_int_t shard_id)
{
  return shards->count > 0 && shard_id >= shards->range.first && shard_id <= shards->range.last
             ? &shards->list[shard_id - shards->range.first]
             : NULL;
}

static inline struct tg_shard_row *tg_shard_row_of(const struct tg_managed_shard *shard)
{
  return tg_shard_table_row(shard->set->table, shard->id);
}

static inline enum tg_shard_state tg_shard_state_of(const struct tg_managed_shard *shard)
{
  return (enum tg_shard_state)atomic_load(&tg_shard_row_of(shard)->state);
}
