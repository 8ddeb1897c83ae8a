#pragma once

/* A host's way to the Redis of its cluster: one connection for calls of the script (scripts/) and for what is
 * posted to other hosts, and one that reads this host's own stream. Both have to stand, and to lead to the
 * same process of Redis; where one ends, both do. It is tried again and again until the end.
 *
 * Not to be freed inside its own callbacks; all else may be called there. Nothing calls back before it
 * returns. Loop thread only. */

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct tg_redis_link;

enum { TG_POST_MAX = 1024 * 1024 + 4096 }; /* bytes of a body; the streams of hosts are in Redis' memory */

struct tg_redis_link_events {
  /* Both connections stand, the script is there, and nothing that is kept there will be evicted. `run_id` is
   * of this process of Redis. */
  void (*up)(void *ctx, const char *run_id);
  /* It has ended, or an attempt has failed; whose calls were under way was told before. error->code: as
   * net/redis.h has them; "readonly": it is a replica; "eviction": its policy may evict leases; "other": the
   * connections lead to different ones; "broken": by tg_redis_link_break(). */
  void (*down)(void *ctx, const struct tg_error *error);
  /* An entry of this host's stream. Borrowed. */
  void (*posted)(void *ctx, const char *word, const char *body, size_t length);
};

struct tg_redis_link_options {
  uv_loop_t *loop;
  const char *url, *ca_file;                 /* net/redis.h */
  const char *name, *host;                   /* of the cluster, and of this host in it */
  const struct tg_redis_link_events *events; /* borrowed until the end */
  void *ctx;
};

/* Copies. NULL: `error`, as tg_redis_new(). */
struct tg_redis_link *tg_redis_link_new(const struct tg_redis_link_options *options, struct tg_error *error);
/* Whose calls are under way is told "closed"; there are no events any more. */
void tg_redis_link_free(struct tg_redis_link *link);

/* Begins; from then on it is kept up. */
void tg_redis_link_connect(struct tg_redis_link *link);
bool tg_redis_link_is_up(const struct tg_redis_link *link);
/* Of the process of Redis; of the last one while it is not up. */
const char *tg_redis_link_run_id(const struct tg_redis_link *link);
/* The URL, without user and password. */
const char *tg_redis_link_where(const struct tg_redis_link *link);

/* Text of the answer, borrowed; NULL: `error` says why not. An error that Redis itself has answered leaves
 * the connection as it is, but makes it doubtful: see tg_redis_link_break(). */
typedef void tg_redis_link_replied(void *ctx, const char *text, size_t length, const struct tg_error *error);

/* One call of the script; `body` is JSON. Calls are done, and answered, in their order. False: the link is
 * not up, and nobody is told. */
bool tg_redis_link_call(struct tg_redis_link *link, const char *name, const char *body,
                        tg_redis_link_replied *done, void *ctx);
/* The same for calls that are not made by cluster.h: "run" and "mark" are filled in. Steals `body`. */
bool tg_redis_link_ask(struct tg_redis_link *link, const char *name, json_t *body,
                       tg_redis_link_replied *done, void *ctx);

/* Appends to the stream of a host; the text of the answer is the entry's id. False: not up, or more than
 * TG_POST_MAX. */
bool tg_redis_link_post(struct tg_redis_link *link, const char *host, const char *word, const char *body,
                        size_t length, tg_redis_link_replied *done, void *ctx);

/* What comes into this host's stream from now on stays there, for another program in this one's place; or it
 * is read, from there on. */
void tg_redis_link_rest(struct tg_redis_link *link, bool rest);
/* Where that program goes on to read; before it connects. A new reference. */
json_t *tg_redis_link_hand_over(const struct tg_redis_link *link);
void tg_redis_link_take_over(struct tg_redis_link *link, const json_t *handed);

/* Ends both connections, if they stand, and tries again; `why` in words goes to the down event, which comes
 * in a later turn of the loop, as do ends of calls under way. */
void tg_redis_link_break(struct tg_redis_link *link, const char *why);
