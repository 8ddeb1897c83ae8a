#pragma once

/* A connection on a libuv loop, over TCP or a unix socket: bytes in, bytes out. The client side is plain
 * (dial.h: up to where link.h goes on) until tg_stream_secure(), the server side has TLS or has not (the
 * fake Discord).
 *
 *     stream = tg_stream_connect(loop, &address, "gateway.discord.gg", &callbacks, ctx, &error);
 *
 * The stream belongs to its maker until tg_stream_close(), which may be called
 * at any time, also from inside its callbacks; afterwards no callback comes
 * and the pointer is gone. There are no time-outs here: the owner knows its
 * deadlines and closes. */

#include "base/error.h"
#include "net/addresses.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* TLS settings and trust, shared by many streams. TLS 1.2 or newer, ALPN
 * http/1.1 only. */
struct tg_tls;

/* Verifies peers against `ca_file`, or the system's certificates when NULL. */
struct tg_tls *tg_tls_client(const char *ca_file, struct tg_error *error);
struct tg_tls *tg_tls_server(const char *certificate_file, const char *key_file, struct tg_error *error);
void tg_tls_free(struct tg_tls *tls);

struct tg_stream;

struct tg_stream_callbacks {
  /* Connected, and through the TLS handshake where a server has one. Again when tg_stream_secure() is
   * through. */
  void (*on_open)(void *ctx);
  /* Bytes as they come; borrowed, in pieces of at most 64 KiB. */
  void (*on_data)(void *ctx, const char *bytes, size_t length);
  /* It is over: could not connect, end of stream, reset, TLS failure. Call
   * tg_stream_close() now or later. error->code: "refused", "unreachable",
   * "tls", "reset", "eof" (with or without close_notify). */
  void (*on_end)(void *ctx, const struct tg_error *error);
  /* All that was written has gone to the kernel. May be NULL. */
  void (*on_drain)(void *ctx);
};

/* Connects to that one address; errors speak of `name`. Never calls back before
 * it returns. NULL: it cannot even begin, `error` says why. */
struct tg_stream *tg_stream_connect(uv_loop_t *loop, const struct tg_address *address, const char *name,
                                    const struct tg_stream_callbacks *callbacks, void *ctx,
                                    struct tg_error *error);

/* TLS from here on, on an open plain stream out on which nothing has been written: `host` is asked for, and
 * what the certificate is checked against; `tls` (tg_tls_client()) has to outlive the stream. on_open comes
 * once more. False: `error`; nothing has changed. */
bool tg_stream_secure(struct tg_stream *stream, struct tg_tls *tls, const char *host, struct tg_error *error);

/* The socket of an open plain stream that nothing waits for in, for somebody else to go on with. The stream
 * is gone. */
int tg_stream_release(struct tg_stream *stream);

/* Somebody else is called back from here on. */
void tg_stream_hand_over(struct tg_stream *stream, const struct tg_stream_callbacks *callbacks, void *ctx);

/* Takes over the accepted socket `fd`; handshakes as server when `tls`, before
 * the only on_open. */
struct tg_stream *tg_stream_accept(uv_loop_t *loop, struct tg_tls *tls, int fd,
                                   const struct tg_stream_callbacks *callbacks, void *ctx);

/* Sends what the socket takes; the rest is copied, and sent when it takes more. */
void tg_stream_write(struct tg_stream *stream, const void *bytes, size_t length);
size_t tg_stream_unsent(const struct tg_stream *stream);

enum tg_stream_close {
  TG_STREAM_GRACEFUL, /* send what waits, then close_notify and FIN */
  TG_STREAM_FIN,      /* FIN at once, no close_notify */
  TG_STREAM_RESET,    /* RST at once */
};
void tg_stream_close(struct tg_stream *stream, enum tg_stream_close how);

/* Stops and starts reading; the kernel's buffers fill meanwhile. */
void tg_stream_set_reading(struct tg_stream *stream, bool reading);

/* Gives back TLS buffers that stand empty; worth a call when it has been quiet. */
void tg_stream_trim(struct tg_stream *stream);
