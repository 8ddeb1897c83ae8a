#pragma once

/* Rules with keep = "last": of what they drop of a key the newest event is held back, and is delivered after
 * all, behind what has gone meanwhile, when the key's bucket has a token again, or nothing is left to wait
 * for. One that passes before is newer: then nobody wants the one that is held.
 *
 *     dropped --> held (one a key, in held_room.h) --> released: caches, filters, script, lanes
 *                   |-- a newer one is dropped: takes its place
 *                   |-- a newer one passes: it goes
 *
 * What is held counts as received at once: no RESUME brings it again. It outlives the process in its room,
 * and the next one releases it when the shard's session is there. */

#include "delivery/env.h"
#include "delivery/lanes/hole.h"
#include "delivery/lanes/queue.h"
#include "delivery/storm/buckets.h"
#include "delivery/storm/held_room.h"
#include "proto/event.h"

#include <sys/queue.h>
#include <uv.h>

struct tg_stats_storm;

struct tg_held {
  TAILQ_ENTRY(tg_held) link;
  struct tg_held_room *room;
  struct tg_held_copy *copy;    /* in it; NULL: it is safe elsewhere */
  struct tg_bucket *bucket;     /* of its key; NULL: it waits for nothing */
  struct tg_stats_storm *stats; /* of its rule; NULL: an earlier process has counted it */
};

TAILQ_HEAD(tg_held_list, tg_held);

/* Of a shard that is to be resumed: what an earlier process has held of it, and Discord sends again. */
struct tg_held_awaited {
  LIST_ENTRY(tg_held_awaited) link;
  tg_shard_ref ref;
  uint64_t decided; /* up to here an earlier process has handled and logged what it has not held */
  int count, next;
  struct tg_held_in {
    struct tg_held_room *room;
    struct tg_held_copy *copy;
  } list[]; /* by their numbers */
};

LIST_HEAD(tg_held_awaited_list, tg_held_awaited);

struct tg_last {
  struct tg_delivery_env *env;
  const struct tg_bucket_limit *limits; /* of the buckets, by rule */
  struct tg_held_room *room;            /* NULL: there is no such rule */
  struct tg_held_rooms earlier;
  struct tg_held_awaited_list awaited;
  struct tg_held_list held; /* the one that came first first */
  struct tg_held *leaves;   /* it is being released */
  struct tg_held *next;     /* to be looked at */
  uv_timer_t timer;

  /* The owner's. It is to be delivered; its message stays until the call ends, its copy until then or
   * tg_last_is_safe(). `rule`: 1 + the number of the one that has held it, whose time has come; 0: rules have
   * no say in it any more. False: others have dropped it. */
  bool (*release)(void *ctx, const struct tg_held *held, int rule);
  /* Of the lease under which the shard is this host's; NULL: hosts do not share shards. */
  uint64_t (*fence)(void *ctx, tg_shard_ref ref);
  void *ctx;
};

void tg_last_begin(struct tg_last *last, struct tg_delivery_env *env, const struct tg_bucket_limit *limits);
/* There are such rules. */
void tg_last_prepare(struct tg_last *last);
/* The timer closes; what is held stays for the next process. */
void tg_last_end(struct tg_last *last);
/* When the handles are closed. */
void tg_last_free(struct tg_last *last);

/* The event is dropped, and is held from now on as the newest of that bucket. False: there is no room. */
bool tg_last_hold(struct tg_last *last, struct tg_bucket *bucket, struct tg_stats_storm *stats,
                  const struct tg_event *event);
/* A newer one passes. */
void tg_last_forget(struct tg_last *last, struct tg_held *held);
/* All of that shard's, or with TG_ALL_SHARDS all, is released now. */
void tg_last_release(struct tg_last *last, tg_shard_ref ref);
/* The one that is being released is where the next process finds it, too. */
void tg_last_is_safe(struct tg_last *last);

/* Looks for what earlier processes have held of the shards that `wanted` names (NULL: all), since then
 * (tg_steady_clock()). */
void tg_last_find(struct tg_last *last, tg_ms since, bool (*wanted)(void *ctx, tg_shard_ref ref), void *ctx);
/* The shard has a session, and has received all up to there: what was found of it is released at the loop's
 * next turn, and what Discord sends again is awaited. `decided`: as there. */
void tg_last_found(struct tg_last *last, tg_shard_ref ref, struct tg_place received, uint64_t decided);
static inline bool tg_last_awaits(const struct tg_last *last)
{
  return !LIST_EMPTY(&last->awaited);
}
/* An event has come again. True: it is one of those, and comes later than what was behind it: no rule is
 * asked any more. */
bool tg_last_came(struct tg_last *last, tg_shard_ref ref, uint64_t sequence);
