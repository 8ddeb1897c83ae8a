#pragma once

/* From a gateway URL to a WebSocket: the name's addresses, TCP, a proxy's tunnel,
 * TLS, upgrade. Over a proxy the addresses are the proxy's. Several may race
 * (race.h); who is through the upgrade first wins.
 *
 * A dialer is shared by all connections of a process. A dial is one connection
 * being made; it is its maker's until tg_dial_free(), which may be called at any
 * time, also from inside its callbacks. There is no deadline here but those
 * between addresses: the owner has its own, and frees. */

#include "base/clock.h"
#include "base/error.h"
#include "net/addresses.h"
#include "net/link.h"
#include "net/proxy.h"
#include "proto/gateway_url.h"

#include <stddef.h>
#include <uv.h>

struct tg_dialer;

/* Trusts `ca_file`, or the system's certificates when NULL; connects through
 * `proxies`, borrowed, NULL: none. NULL: `error`. */
struct tg_dialer *tg_dialer_new(uv_loop_t *loop, const char *ca_file, const struct tg_proxies *proxies,
                                struct tg_error *error);
void tg_dialer_free(struct tg_dialer *dialer);

/* This address took a connection, and it was good for nothing: others are tried
 * before it for a while. */
void tg_dialer_blame(struct tg_dialer *dialer, const struct tg_address *address);

/* One of the two comes, once. */
struct tg_dial_callbacks {
  /* The upgrade is through. The link is the owner's now; hand it over to other callbacks before anything
   * else. */
  void (*on_open)(void *ctx, struct tg_link *link, const struct tg_address *address);
  /* No address is left, or Discord or the proxy has refused. */
  void (*on_end)(void *ctx, const struct tg_ws_end *end);
};

struct tg_dial;

/* Never calls back before it returns. */
struct tg_dial *tg_dial_begin(struct tg_dialer *dialer, const struct tg_gateway_url *url,
                              const struct tg_dial_callbacks *callbacks, void *ctx);

/* Addresses that have taken too long are remembered. */
void tg_dial_free(struct tg_dial *dial);

/* What it waits for, in words: "127.0.0.1 is connected, but does not answer in TLS". */
void tg_dial_progress(const struct tg_dial *dial, char *text, size_t size);
