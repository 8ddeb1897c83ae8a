#pragma once

/* A WebSocket client connection (RFC 6455): frames and the close handshake, on
 * what dial.h has connected and upgraded. Nothing else in the program knows which library carries frames.
 *
 * Owned by its maker until tg_ws_free(), which may be called at any time, also
 * inside the callbacks. Pings are answered here: of the answers that the peer does
 * not take only the newest is kept. What the owner sends waits without a bound; it
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

struct tg_ws_end {
  int code;           /* the peer's close code; 1005: an empty close frame; 1006: none came */
  const char *reason; /* the peer's text, "" if none; may be any bytes */
  int http_status;    /* of a refused upgrade; 0: none */
  tg_ms retry_after;  /* from its Retry-After; -1: none */
  struct tg_error error; /* empty after a close handshake; codes of tg_dial */
};

struct tg_ws_callbacks {
  void (*on_open)(void *ctx);
  /* A piece of a data message. */
  void (*on_data)(void *ctx, const void *bytes, size_t length);
  void (*on_message_end)(void *ctx);
  /* The peer has taken what had to wait: tg_ws_unsent() is 0 again. */
  void (*on_drain)(void *ctx);
  /* It is over; the last callback, exactly once. Call tg_ws_free(). */
  void (*on_end)(void *ctx, const struct tg_ws_end *end);
};

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
