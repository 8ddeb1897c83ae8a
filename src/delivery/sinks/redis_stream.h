#pragma once

/* A stream in Redis, and what of it may go: what all groups of consumers have acknowledged. Looked at every
 * few seconds (redis_keeper.c):
 *
 *     XLEN, XINFO GROUPS --> XPENDING of each group that has not acknowledged all --> XTRIM MINID ~
 *
 * Nothing goes that a group has still to read or to acknowledge. Where there is no group, who writes bounds
 * the stream (XADD MAXLEN). Pure: commands go into a buffer, replies come as they were read. */

#include "base/buf.h"
#include "base/error.h"
#include "delivery/sinks/redis_id.h"

#include <stdbool.h>
#include <sys/queue.h>

struct tg_redis_carrier;
struct tg_redis_reply;

enum { TG_REDIS_GROUP_SIZE = 64 };

struct tg_redis_stream {
  LIST_ENTRY(tg_redis_stream) link; /* of those of one connection */
  struct tg_redis_carrier *of;      /* that has it */
  const char *server;               /* the URL of its Redis, without secrets; borrowed */
  char *key;
  char *set;       /* the key of the set that it is listed in */
  uint64_t length; /* entries; between two looks at it what is written is added */
  uint64_t groups; /* of consumers */
  bool known;      /* both, ever */

  bool looked_at;             /* a look runs */
  struct tg_redis_id keep;    /* what stands in front of it may go */
  struct tg_redis_id trimmed; /* what has been asked to go */

  /* Of the last look: who is furthest behind, and how far. */
  char slowest[TG_REDIS_GROUP_SIZE];
  uint64_t unread, pending; /* entries it has not read, and those it has not acknowledged */
};

/* It has as many entries as it may, and groups that still want them. */
static inline bool tg_redis_stream_is_full(const struct tg_redis_stream *stream, int64_t max_length)
{
  return stream->groups > 0 && stream->length >= (uint64_t)max_length;
}

enum {
  TG_REDIS_LOOK = 2,        /* replies to tg_redis_stream_look() */
  TG_REDIS_TRIM_MAX = 10000 /* entries that go at once: so long nobody else is served */
};

/* Appends the first questions. */
void tg_redis_stream_look(const struct tg_redis_stream *stream, struct tg_buf *out);

/* Takes their replies, and appends the next questions. Returns how many; 0: nothing is pending. Below 0:
 * Redis has refused it, and `error` says why. */
int tg_redis_stream_take_groups(struct tg_redis_stream *stream, const struct tg_redis_reply *replies,
                                struct tg_buf *out, struct tg_error *error);

/* Takes their replies. False: Redis has refused one, likewise. */
bool tg_redis_stream_take_pending(struct tg_redis_stream *stream, const struct tg_redis_reply *replies,
                                  int count, struct tg_error *error);

/* Appends the command that trims, which has one reply. False: there is nothing to trim. */
bool tg_redis_stream_trim(struct tg_redis_stream *stream, struct tg_buf *out);

/* Takes its reply. True: there is more to trim, at once. */
bool tg_redis_stream_take_trimmed(struct tg_redis_stream *stream, const struct tg_redis_reply *reply,
                                  struct tg_error *error);

/* XINFO answers with names and values in turn. NULL: there is none of that name. */
const struct tg_redis_reply *tg_redis_info(const struct tg_redis_reply *info, const char *name);

/* "ERR no such key": nothing was ever written to it. */
bool tg_redis_is_no_key(const struct tg_redis_reply *reply);
