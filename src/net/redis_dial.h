#pragma once

/* From a Redis' URL to a stream on which it can be spoken: the name's addresses, several at once by race.h,
 * or a unix socket; TLS. A dial is one connection being made; it is its maker's until tg_redis_dial_free(),
 * which may be called at any time, also from inside its callbacks. There is no deadline here but those
 * between addresses: the owner has its own, and frees. */

#include "net/redis_url.h"
#include "net/stream.h"

#include <stddef.h>
#include <uv.h>

/* One of the two comes, once. */
struct tg_redis_dial_callbacks {
  /* The stream is the owner's now; hand it over to other callbacks before anything else. */
  void (*on_open)(void *ctx, struct tg_stream *stream, const struct tg_address *address);
  /* No address is left. error->code: "dns", "refused" (also what cannot be reached, or may not be opened),
   * "tls". */
  void (*on_end)(void *ctx, const struct tg_error *error);
};

struct tg_redis_dial;

/* All but the loop is borrowed until the end; `tls` NULL: none. Never calls back before it returns. */
struct tg_redis_dial *tg_redis_dial_begin(uv_loop_t *loop, const struct tg_redis_url *url, struct tg_tls *tls,
                                          struct tg_address_memory *memory,
                                          const struct tg_redis_dial_callbacks *callbacks, void *ctx);

/* Addresses that have taken too long are remembered. */
void tg_redis_dial_free(struct tg_redis_dial *dial);

/* What it waits for, in words. */
void tg_redis_dial_progress(const struct tg_redis_dial *dial, char *text, size_t size);
