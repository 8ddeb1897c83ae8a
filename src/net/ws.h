#pragma once

/* A WebSocket client connection (RFC 6455) to a URL: what dial.h has connected and upgraded, and the link
 * (link.h) that comes of it. Nothing outside of this folder knows which library carries frames.
 *
 * Owned by its maker until tg_ws_free(), which may be called at any time, also
 * inside the callbacks. Pings are answered here: of the answers that the peer does
 * not take only one is kept. What the owner sends waits without a bound; it
 * has to look at tg_ws_unsent(). The only time-out here is that of the close
 * handshake; the owner's deadlines cover the rest. */

#include "base/clock.h"
#include "net/dial.h"
#include "proto/gateway_url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct tg_ws;

/* Connects and upgrades. Never calls back before it returns. */
struct tg_ws *tg_ws_open(uv_loop_t *loop, struct tg_dialer *dialer, const struct tg_gateway_url *url,
                         const struct tg_ws_callbacks *callbacks, void *ctx);

/* Before on_open: what it waits for, in words. */
void tg_ws_progress(const struct tg_ws *ws, char *text, size_t size);

/* It is open, but useless: the next connection is to try other addresses first. */
void tg_ws_blame_address(struct tg_ws *ws);

/* One text message; copies. Does nothing once a close frame has been sent. */
void tg_ws_send(struct tg_ws *ws, const char *text, size_t length);

/* Bytes that wait here, since the peer does not take them. */
size_t tg_ws_unsent(const struct tg_ws *ws);

/* Sends a close frame and goes on reading until the peer's comes, at most
 * `timeout` ms; then on_end. Before the upgrade is done it just ends. */
void tg_ws_close(struct tg_ws *ws, int code, const char *reason, tg_ms timeout);

/* Drops the connection at once, without a close frame. No callback follows. */
void tg_ws_free(struct tg_ws *ws);

/* How many bytes have come so far, of whatever kind: who hears more is alive. */
uint64_t tg_ws_received(const struct tg_ws *ws);

/* Gives back buffers that stand empty. */
void tg_ws_trim(struct tg_ws *ws);
