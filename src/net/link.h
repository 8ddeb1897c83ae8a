#pragma once

/* One WebSocket connection (RFC 6455) on libwebsockets, from a connected socket to its end: TLS, the
 * upgrade, frames in and out, the close handshake.
 *
 *     context = tg_link_context_new(loop, ca_file, &error);              one a process
 *     link = tg_link_begin(context, fd, &url, "gateway.discord.gg", &callbacks, ctx, &error);
 *
 * A link belongs to its maker until tg_link_free(), which may be called at any time, also inside its
 * callbacks. There are no deadlines here: the owner has them, and frees.
 *
 * How libwebsockets is used here. Its own ways to connect, to wait and to end have traps that differ from
 * release to release: a name is resolved while the process stands still, a refused address is not followed
 * by the next one, a connect that takes too long leaves a handle of the event loop behind, timers that are
 * set outside of its callbacks never run, a close code gets lost. None of them is met where it neither
 * connects nor waits: dial.h brings the socket, and the loop's events are handed to lws_service_fd() one by
 * one (link_drive.c). Its timers never run; nothing here needs them. */

#include "base/clock.h"
#include "base/error.h"
#include "proto/gateway_url.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct tg_link_context;

/* Trusts `ca_file`, or the system's certificates when NULL. NULL: `error`. */
struct tg_link_context *tg_link_context_new(uv_loop_t *loop, const char *ca_file, struct tg_error *error);
/* All its links have been freed. */
void tg_link_context_free(struct tg_link_context *context);

struct tg_ws_end {
  int code;              /* the peer's close code; 1005: an empty close frame; 1006: none came */
  const char *reason;    /* the peer's text, "" if none; may be any bytes */
  int http_status;       /* of a refused upgrade; 0: none */
  tg_ms retry_after;     /* from its Retry-After; -1: none */
  struct tg_error error; /* empty after a close handshake. "refused", "unreachable", "resolve", "proxy",
                            "tls", "refused_upgrade", "protocol", "eof" (with or without close_notify),
                            "reset", "timeout" */
};

enum { TG_LINK_PIECE = 4096 }; /* bytes of a message, at once; each connection holds as many */

struct tg_ws_callbacks {
  void (*on_open)(void *ctx);
  /* A piece of a data message, of at most TG_LINK_PIECE bytes; borrowed. */
  void (*on_data)(void *ctx, const void *bytes, size_t length);
  void (*on_message_end)(void *ctx);
  /* The peer has taken what had to wait: unsent is 0 again. */
  void (*on_drain)(void *ctx);
  /* It is over; the last callback, exactly once. `end` is borrowed until it returns. */
  void (*on_end)(void *ctx, const struct tg_ws_end *end);
};

struct tg_link;

/* Takes the connected socket `fd` over, also when it fails. Errors speak of `name`. Never calls back before
 * it returns. NULL: it cannot even begin, `error` says why. */
struct tg_link *tg_link_begin(struct tg_link_context *context, int fd, const struct tg_gateway_url *url,
                              const char *name, const struct tg_ws_callbacks *callbacks, void *ctx,
                              struct tg_error *error);

/* Somebody else is called back from here on. */
void tg_link_hand_over(struct tg_link *link, const struct tg_ws_callbacks *callbacks, void *ctx);

enum tg_link_stage { TG_LINK_SECURING, TG_LINK_UPGRADING, TG_LINK_OPEN };

enum tg_link_stage tg_link_stage(const struct tg_link *link);

/* One text message; copies. Does nothing before on_open, and once a close frame has been sent. */
void tg_link_send(struct tg_link *link, const char *text, size_t length);

/* Sends a close frame; what comes until the peer's is still handed on. `reason` is cut at 123 bytes. */
void tg_link_close(struct tg_link *link, int code, const char *reason);

/* At most so many bytes wait here, since the peer does not take them. */
size_t tg_link_unsent(const struct tg_link *link);

/* How many bytes have come so far, of whatever kind, TLS included. */
uint64_t tg_link_received(const struct tg_link *link);

/* Gives back TLS buffers that stand empty; worth a call when it has been quiet. */
void tg_link_trim(struct tg_link *link);

/* Drops the connection at once, if it still stands, without a close frame. No callback follows. */
void tg_link_free(struct tg_link *link);

/* Close codes from 1012 to 2999 are told by this libwebsockets; older ones than 4.2 make 1002 of them. */
bool tg_link_tells_all_codes(void);
