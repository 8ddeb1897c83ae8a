#pragma once

/* How events look in Redis, and what its replies to them mean: a table of functions for each layout. Pure:
 * commands go into a buffer, and replies come as they were read. Whose connection that is, and when what is
 * sent, redis_carrier.c knows. */

#include "base/buf.h"
#include "config/config.h"
#include "delivery/lanes/batch.h"
#include "delivery/lanes/parcel.h"
#include "delivery/lanes/stored.h"
#include "delivery/sinks/answer.h"
#include "delivery/sinks/redis_stream.h"

/* The first events of a lane. */
struct tg_redis_batch {
  const struct tg_stored *events;
  int count;               /* TG_BATCH_EVENTS at most */
  struct tg_redis_id next; /* of the event behind them; "0-0": none waits */
};

/* What is known of a lane in Redis. */
struct tg_redis_place {
  const struct tg_redis_config *config;
  const char *server; /* the URL of its Redis, without secrets; borrowed */
  int shard_id, total_shards;
  uint64_t epoch; /* the highest of the shard that this gateway knows of */
  bool asked;     /* on this connection: what layout->ask() asks for is known */
  int replicas;   /* that the batch under way waits for: another configuration may have come */
  bool doubtful;  /* a batch was sent, and nobody has said what has come of it */
  bool late;      /* of what is left of a shard that others have: it has no place among what they write */

  /* Of the own layout: its stream. */
  struct tg_redis_stream *stream;
  bool listed;                 /* on this connection: in the set of all streams */
  struct tg_redis_id last;     /* the last that the stream has had */
  struct tg_redis_id accepted; /* the last that Redis has said to have; of what is late never any */
  struct tg_redis_id writing;  /* the last of the batch under way */

  /* Of TG_LAYOUT_DISCORDJS, whose streams all lanes share: `last`, `accepted` and `writing` are of the events
   * themselves, and `stream` is the one that is full. */
  struct tg_redis_stream *(*stream_of)(struct tg_redis_carrier *carrier, struct tg_span key);
  struct tg_redis_carrier *carrier;                   /* that has them */
  struct tg_redis_stream *questions[TG_BATCH_EVENTS]; /* those that were asked about */
  int question_count;
  bool recheck; /* of all streams it is to be asked whether they are streams */
};

/* What comes next. */
enum tg_redis_step {
  TG_REDIS_WRITE, /* all is known: layout->write() */
  TG_REDIS_ASK,   /* something has changed there: layout->ask() */
  TG_REDIS_END,   /* the answer says what has come of the batch */
  TG_REDIS_FULL,  /* likewise; what consumers are done with is to be trimmed */
  TG_REDIS_HOLD,  /* likewise; only a person can help this lane: an alarm, answer.error and advice say why */
  TG_REDIS_LOST,  /* Redis has lost entries: place->accepted is what it has; what comes behind is to be sent
                     again */
};

struct tg_redis_layout_kind {
  /* Appends what has to be asked in front of the batch, and returns the number of its replies. 0: nothing. */
  int (*ask)(struct tg_redis_place *place, const struct tg_redis_batch *batch, struct tg_buf *out);
  /* `count` replies to that. The answer is empty; filled where the step says so. */
  enum tg_redis_step (*learn)(struct tg_redis_place *place, const struct tg_redis_batch *batch,
                              const struct tg_redis_reply *replies, int count, struct tg_answer *answer);
  /* Appends the batch, and returns the number of replies, at least 1. */
  int (*write)(struct tg_redis_place *place, const struct tg_redis_batch *batch, struct tg_buf *out);
  /* The replies to that. The batch is in the stream as a whole, or nothing of it is. */
  enum tg_redis_step (*judge)(struct tg_redis_place *place, const struct tg_redis_reply *replies, int count,
                              struct tg_answer *answer);
};

extern const struct tg_redis_layout_kind tg_redis_own_layout;       /* redis_own.c */
extern const struct tg_redis_layout_kind tg_redis_discordjs_layout; /* redis_discordjs.c */
