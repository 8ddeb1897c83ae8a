#pragma once

/* A connection to a Redis (7.0 or later) on a libuv loop. Commands are appended to a buffer and sent
 * together; several such batches may be under way, and each is answered as a whole.
 *
 *     struct tg_buf *out = tg_redis_out(redis);
 *     tg_resp_begin(out, 2), tg_resp_string(out, "XLEN"), tg_resp_string(out, key);
 *     tg_redis_send(redis, 1, on_length, ctx);
 *
 * The connection is its maker's until tg_redis_close(), which may be called at any time, also from inside its
 * callbacks. It makes one attempt when asked and does not come up again by itself: the owner knows when. What
 * is sent waits without a bound where Redis does not take it: the owner keeps few batches under way.
 * Nothing calls back before it returns. Loop thread only. */

#include "base/clock.h"
#include "base/error.h"
#include "net/resp.h"

#include <stdbool.h>
#include <uv.h>

struct tg_redis;

/* error->code, also of on_down: "refused", "dns", "timeout", "tls", "closed" (by Redis), "auth" (NOAUTH,
 * WRONGPASS, NOPERM), "protocol" (no Redis, or none that can be understood), "old" (before 7.0); else the
 * first word of what Redis has said in lower case: "oom", "loading", "readonly", "err", ... */
struct tg_redis_options {
  uv_loop_t *loop;
  const char *url;          /* redis_url.h */
  const char *ca_file;      /* for rediss://; NULL: the system's */
  tg_ms connect_timeout;    /* of an attempt, to on_up */
  tg_ms reply_timeout;      /* as long as answers are awaited, one has to come in that time; 0: none */
  void (*on_up)(void *ctx); /* connected, TLS, login, database: and it answers */
  /* An attempt has failed, or the connection has ended; whose commands were under way was told before. */
  void (*on_down)(void *ctx, const struct tg_error *error);
  void *ctx;
};

/* Copies. NULL: `error` is "bad_url", or "tls" when `ca_file` cannot be read. */
struct tg_redis *tg_redis_new(const struct tg_redis_options *options, struct tg_error *error);

/* One attempt, of which on_up or on_down tells. Does nothing while one runs, or the connection stands. */
void tg_redis_connect(struct tg_redis *redis);
bool tg_redis_is_up(const struct tg_redis *redis);

/* The URL, without user and password. */
const char *tg_redis_name(const struct tg_redis *redis);

/* Where commands are appended (resp.h). What has not been sent goes with the connection. */
struct tg_buf *tg_redis_out(struct tg_redis *redis);

/* All `replies` to a batch; borrowed until it returns. Errors are among them (tg_redis_explain()). NULL: the
 * connection has ended before all of them came, and what has become of the batch is not known. */
typedef void tg_redis_replied(void *ctx, const struct tg_redis_reply *replies, int count,
                              const struct tg_error *error);

/* Sends what was appended since the last call, of which `replies` answers, at least one, belong to `done`.
 * While the connection is not up nothing is sent: what was appended is thrown away, and nobody is told. */
void tg_redis_send(struct tg_redis *redis, int replies, tg_redis_replied *done, void *ctx);

/* Answers of that ctx are not wanted any more: they are read and thrown away. */
void tg_redis_forget(struct tg_redis *redis, const void *ctx);

/* An error reply in words, with what to do. */
void tg_redis_explain(const struct tg_redis *redis, const struct tg_redis_reply *refusal,
                      struct tg_error *error);

/* The connection ends, if it is up, as if the other end had ended it; `why` is a reason as in "an event was
 * too large for it". Unlike all else here this calls back before it returns: what is under way, then on_down.
 */
void tg_redis_drop(struct tg_redis *redis, const char *why);

/* Nobody is told. The memory goes with a later turn of the loop. */
void tg_redis_close(struct tg_redis *redis);
