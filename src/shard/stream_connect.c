/* The way to an open stream: names, addresses in turn, TLS. */

#include "base/buf.h"
#include "shard/stream_impl.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NEXT_ADDRESS_AFTER = 3000 };

static void try_next_address(struct tg_stream *stream, const struct tg_error *last);

static void on_slow_address(uv_timer_t *timer)
{
  struct tg_stream *stream = timer->data;
  struct tg_error error;
  tg_fail(&error, "unreachable", "%s does not answer", stream->host);
  try_next_address(stream, &error);
}

static void try_next_address(struct tg_stream *stream, const struct tg_error *last)
{
  struct tg_error error = *last;
  tg_stream_drop_socket(stream);
  while (stream->address) {
    struct addrinfo *address = stream->address;
    stream->address = address->ai_next;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      tg_stream_explain_errno(stream->host, errno, &error);
      continue;
    }
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
      tg_stream_explain_errno(stream->host, errno, &error);
      close(fd);
      continue;
    }
    if (!tg_stream_adopt(stream, fd)) {
      tg_fail(&error, "unreachable", "%s: the socket cannot be watched", stream->host);
      continue;
    }
    if (stream->address)
      tg_stream_start_timer(stream, NEXT_ADDRESS_AFTER, on_slow_address);
    return;
  }
  tg_stream_end(stream, &error);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
  struct tg_stream *stream = request->data;
  free(request);
  if (!stream) { /* closed meanwhile */
    uv_freeaddrinfo(addresses);
    return;
  }
  stream->resolving = NULL;
  struct tg_error error;
  tg_fail(&error, "resolve", "the name %s cannot be resolved: %s", stream->host,
          status ? uv_strerror(status) : "it has no address");
  stream->addresses = stream->address = addresses;
  try_next_address(stream, &error);
}

static struct tg_stream *new_stream(uv_loop_t *loop, struct tg_tls *tls, const char *host,
                                    const struct tg_stream_callbacks *callbacks, void *ctx)
{
  struct tg_stream *stream = tg_calloc(1, sizeof *stream);
  stream->loop = loop;
  stream->tls = tls;
  stream->callbacks = *callbacks;
  stream->ctx = ctx;
  stream->fd = -1;
  stream->reading = true;
  snprintf(stream->host, sizeof stream->host, "%s", host);
  return stream;
}

struct tg_stream *tg_stream_connect(uv_loop_t *loop, struct tg_tls *tls, const char *host, const char *port,
                                    const struct tg_stream_callbacks *callbacks, void *ctx)
{
  struct tg_stream *stream = new_stream(loop, tls, host, callbacks, ctx);
  stream->resolving = tg_calloc(1, sizeof *stream->resolving);
  stream->resolving->data = stream;
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
  if (uv_getaddrinfo(loop, stream->resolving, on_resolved, host, port, &hints) != 0) {
    /* Only a name that is no name fails at once; say so from the loop. */
    uv_getaddrinfo(loop, stream->resolving, on_resolved, "invalid.", port, &hints);
  }
  return stream;
}

struct tg_stream *tg_stream_accept(uv_loop_t *loop, struct tg_tls *tls, int fd,
                                   const struct tg_stream_callbacks *callbacks, void *ctx)
{
  struct tg_stream *stream = new_stream(loop, tls, "the client", callbacks, ctx);
  if (!tg_stream_adopt(stream, fd)) {
    tg_stream_destroy(stream);
    return NULL;
  }
  return stream;
}

static void opened(struct tg_stream *stream)
{
  stream->state = TG_STREAM_OPEN;
  /* The first bytes may have come along with the end of the handshake. */
  stream->more_to_read = stream->ssl != NULL;
  tg_stream_watch(stream);
  stream->callbacks.on_open(stream->ctx);
}

void tg_stream_handshake(struct tg_stream *stream)
{
  struct tg_error error;
  ERR_clear_error();
  int result = SSL_do_handshake(stream->ssl);
  if (result == 1) {
    opened(stream);
    return;
  }
  switch (SSL_get_error(stream->ssl, result)) {
  case SSL_ERROR_WANT_READ:
  case SSL_ERROR_WANT_WRITE:
    tg_stream_watch(stream);
    return;
  case SSL_ERROR_SYSCALL:
    tg_stream_explain_errno(stream->host, errno ? errno : ECONNRESET, &error);
    break;
  case SSL_ERROR_ZERO_RETURN:
    tg_fail(&error, "eof", "%s closed the connection during the TLS handshake", stream->host);
    break;
  default:
    tg_tls_explain(stream->ssl, stream->host, &error);
  }
  tg_stream_end(stream, &error);
}

void tg_stream_connected(struct tg_stream *stream)
{
  int code = 0;
  socklen_t size = sizeof code;
  getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &code, &size);
  if (code != 0) {
    struct tg_error error;
    tg_stream_explain_errno(stream->host, code, &error);
    try_next_address(stream, &error);
    return;
  }
  tg_stream_stop_timer(stream);
  if (!stream->tls) {
    opened(stream);
    return;
  }
  stream->ssl = tg_tls_connection(stream->tls, stream->fd, stream->host);
  if (!stream->ssl) {
    struct tg_error error;
    tg_fail(&error, "tls", "%s: TLS cannot be set up", stream->host);
    tg_stream_end(stream, &error);
    return;
  }
  stream->state = TG_STREAM_HANDSHAKING;
  tg_stream_handshake(stream);
}
