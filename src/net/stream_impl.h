#pragma once

/* The inside of a stream, shared by stream.c (bytes in and out, the end) and
 * stream_connect.c (the way up to there). */

#include "base/buf.h"
#include "net/stream.h"
#include "net/tls.h"

/* The way: CONNECTING > OPEN > ENDED (on_end was called) or LINGERING (the owner
 * has closed, bytes still wait). A server's TLS is HANDSHAKING before OPEN, a client's after it, and before
 * OPEN again.
 *
 * The handles are allocated apart, because libuv needs them for a moment after
 * the stream itself is gone. */
enum tg_stream_state {
  TG_STREAM_CONNECTING,
  TG_STREAM_HANDSHAKING,
  TG_STREAM_OPEN,
  TG_STREAM_ENDED,
  TG_STREAM_LINGERING,
};

struct tg_stream {
  uv_loop_t *loop;
  struct tg_tls *server_tls; /* of a server's side */
  SSL *ssl;
  struct tg_stream_callbacks callbacks;
  void *ctx;
  enum tg_stream_state state;
  char name[360];    /* of the peer, for people */
  uv_timer_t *timer; /* of lingering */
  uv_poll_t *poll;
  int fd;
  int events;
  bool reading;
  bool more_to_read; /* OpenSSL holds bytes that no poll event will announce */
  struct tg_buf out;
};

/* stream.c */
void tg_stream_end(struct tg_stream *stream, const struct tg_error *error); /* on_end, or no more lingering */
void tg_stream_drop_socket(struct tg_stream *stream);
void tg_stream_destroy(struct tg_stream *stream);
void tg_stream_watch(struct tg_stream *stream); /* polls for what is wanted now */
bool tg_stream_adopt(struct tg_stream *stream, int fd);
void tg_stream_leave_reading(struct tg_stream *stream); /* what is read now is not for on_data any more */
void tg_stream_explain_errno(const char *name, int code, struct tg_error *error);

/* stream_connect.c: the socket is connected; TLS may go on. */
void tg_stream_connected(struct tg_stream *stream);
void tg_stream_handshake(struct tg_stream *stream);
