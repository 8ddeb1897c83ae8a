#pragma once

/* Events go to Redis: one connection a sink and worker, over which the lanes' batches go side by side, one a
 * lane at a time. What is written, and what the replies mean, its layout says (redis_layout.h).
 *
 *     start() --> [connect] --> layout->ask() --> layout->write() --> ended()
 *
 *     redis_carrier.c  a batch's way
 *     redis_keeper.c   the streams, every few seconds: what consumers are done with is trimmed; alarms
 *
 * A connection that ends tells nothing of the batches under way: their lanes send them again, and find out
 * first what has come of them. So they do where Redis has come back with less than it had taken: as long as
 * that is not known, the lanes' logs keep what was accepted last. */

#include "base/buf.h"
#include "delivery/lanes/batch.h"
#include "delivery/sinks/carrier.h"
#include "delivery/sinks/redis_layout.h"

#include <uv.h>

struct tg_lane;
struct tg_lanes;
struct tg_redis;
struct tg_redis_carrier;

/* What a lane has at Redis, or a dead letter that is sent again, as long as it is in flight. */
struct tg_redis_lane {
  struct tg_redis_carrier *of;
  const struct tg_redis_layout_kind *layout; /* of the place */
  struct tg_redis_place place;
  struct tg_parcel *parcel;       /* in flight; NULL: none */
  struct tg_lane *lane;           /* of it */
  struct tg_redis_lane *late; /* what goes behind others, of a lane of which others do not; NULL: not yet */
  LIST_ENTRY(tg_redis_lane) link; /* while it waits for a connection */
  TAILQ_ENTRY(tg_redis_lane) turn; /* of letters */
  bool waits;
  bool sure;        /* on this connection: it was looked what Redis has of what it had accepted */
  bool stale;       /* it was made for another prefix or layout, or number of shards */
  unsigned tenure;  /* of the feed: in another one others have written meanwhile */
  uint64_t began;   /* uv_hrtime() */
  tg_ms alarmed_at; /* when it was last told that only a person can help it; 0: never */
};

LIST_HEAD(tg_redis_lanes, tg_redis_lane);
LIST_HEAD(tg_redis_streams, tg_redis_stream);

struct tg_redis_carrier {
  struct tg_carrier carrier;
  struct tg_delivery_env *env;
  struct tg_lanes *lanes;
  struct tg_redis *redis;
  struct tg_redis_config config; /* a copy, with a prefix of its own */
  struct tg_redis_lane **at;     /* by tg_ref_index(); NULL: not yet */
  int count;
  struct tg_redis_lanes waiting;
  TAILQ_HEAD(, tg_redis_lane) letters; /* the first is in flight, the others wait for their turn */
  struct tg_redis_streams streams;
  bool unsure;        /* whether Redis still has what it has accepted: nobody has looked yet */
  uv_timer_t *timer;  /* the keeper's */
  int ticks;          /* of it, since it has looked at the streams */
  tg_ms pinged_at;    /* uv_now(), of a PING that is not answered yet; 0: none */
  tg_ms full_at;      /* when it was last told that a stream is full; 0: never */
  tg_ms untrimmed_at; /* ... cannot be trimmed */
  struct tg_stored events[TG_BATCH_EVENTS]; /* of the batch that is being looked at */
  struct tg_buf texts;                      /* ... what its gaps tell */
};

/* Asks whether what lanes without a batch under way have accepted is there. */
void tg_redis_check(struct tg_redis_carrier *redis);

/* --- redis_keeper.c --- */

void tg_redis_keeper_begin(struct tg_redis_carrier *redis);
void tg_redis_keeper_end(struct tg_redis_carrier *redis);
/* Looks at the stream now, and trims it. */
void tg_redis_keep(struct tg_redis_stream *stream);
/* The connection has ended: no look runs any more. */
void tg_redis_keeper_down(struct tg_redis_carrier *redis);
/* An alarm, once a minute: this lane waits for a person. */
void tg_redis_alarm(struct tg_redis_lane *at, const struct tg_answer *answer);
/* It does not any more; nothing if it has not. */
void tg_redis_alarm_over(struct tg_redis_lane *at);
