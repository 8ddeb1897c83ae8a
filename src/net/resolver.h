#pragma once

/* The addresses of a name, for many who ask at once: a thousand shards that are cut off together are one
 * question to the name server, not a thousand. Of a name one look-up is under way at a time, and its answer
 * is known for ten seconds. Failures are told to all who wait, and are not kept. */

#include "net/addresses.h"

#include <uv.h>

struct tg_resolver;

struct tg_resolver *tg_resolver_new(uv_loop_t *loop);
/* After all look-ups have been freed. */
void tg_resolver_free(struct tg_resolver *resolver);

/* NULL: not known. Valid until the loop goes on. */
const struct tg_addresses *tg_resolver_recall(struct tg_resolver *resolver, const char *host,
                                              const char *port);

/* `status`: uv's; with 0 there may be no address nevertheless. */
typedef void tg_looked_up(void *ctx, int status, const struct tg_addresses *addresses);

/* Where nothing is known. Calls back once, later. The caller's until then. */
struct tg_lookup *tg_lookup_begin(struct tg_resolver *resolver, const char *host, const char *port,
                                  tg_looked_up *done, void *ctx);
/* Nobody waits any more; not for one that has called back. NULL: nothing. */
void tg_lookup_free(struct tg_lookup *lookup);
