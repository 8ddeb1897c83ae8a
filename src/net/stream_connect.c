/* The way to an open stream: TCP or a unix socket, and TLS. */

#include "base/buf.h"
#include "net/stream_impl.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct tg_stream *new_stream(uv_loop_t *loop, const char *name,
                                    const struct tg_stream_callbacks *callbacks, void *ctx)
{
  struct tg_stream *stream = tg_calloc(1, sizeof *stream);
  stream->loop = loop;
  stream->callbacks = *callbacks;
  stream->ctx = ctx;
  stream->fd = -1;
  stream->reading = true;
  snprintf(stream->name, sizeof stream->name, "%s", name);
  return stream;
}

static int begin_to_connect(const struct tg_address *address)
{
  int fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (const struct sockaddr *)&address->at, address->size) == 0 ||
      errno == EINPROGRESS)
    return fd;
  int why = errno;
  close(fd);
  errno = why;
  return -1;
}

struct tg_stream *tg_stream_connect(uv_loop_t *loop, const struct tg_address *address, const char *name,
                                    const struct tg_stream_callbacks *callbacks, void *ctx,
                                    struct tg_error *error)
{
  int fd = begin_to_connect(address);
  if (fd < 0)
    return tg_stream_explain_errno(name, errno, error), NULL;
  struct tg_stream *stream = new_stream(loop, name, callbacks, ctx);
  if (tg_stream_adopt(stream, fd))
    return stream;
  tg_stream_destroy(stream);
  return tg_fail(error, "unreachable", "%s: the socket cannot be watched", name), NULL;
}

struct tg_stream *tg_stream_accept(uv_loop_t *loop, struct tg_tls *tls, int fd,
                                   const struct tg_stream_callbacks *callbacks, void *ctx)
{
  struct tg_stream *stream = new_stream(loop, "the client", callbacks, ctx);
  stream->server_tls = tls;
  if (!tg_stream_adopt(stream, fd)) {
    tg_stream_destroy(stream);
    return NULL;
  }
  return stream;
}

void tg_stream_hand_over(struct tg_stream *stream, const struct tg_stream_callbacks *callbacks, void *ctx)
{
  stream->callbacks = *callbacks;
  stream->ctx = ctx;
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
    tg_stream_explain_errno(stream->name, errno ? errno : ECONNRESET, &error);
    break;
  case SSL_ERROR_ZERO_RETURN:
    tg_fail(&error, "eof", "%s closed the connection during the TLS handshake", stream->name);
    break;
  default:
    tg_tls_explain(stream->ssl, stream->name, &error);
  }
  tg_stream_end(stream, &error);
}

bool tg_stream_secure(struct tg_stream *stream, struct tg_tls *tls, const char *host, struct tg_error *error)
{
  stream->ssl = tg_tls_connect(tls, stream->fd, host);
  if (!stream->ssl)
    return tg_fail(error, "tls", "%s: TLS cannot be set up", stream->name);
  stream->state = TG_STREAM_HANDSHAKING;
  tg_stream_watch(stream);
  return true;
}

void tg_stream_connected(struct tg_stream *stream)
{
  struct tg_error error;
  int code = 0;
  socklen_t size = sizeof code;
  getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &code, &size);
  if (code != 0) {
    tg_stream_explain_errno(stream->name, code, &error);
    tg_stream_end(stream, &error);
    return;
  }
  if (!stream->server_tls) {
    opened(stream);
  } else if ((stream->ssl = tg_tls_accept(stream->server_tls, stream->fd))) {
    stream->state = TG_STREAM_HANDSHAKING;
    tg_stream_handshake(stream);
  } else {
    tg_fail(&error, "tls", "%s: TLS cannot be set up", stream->name);
    tg_stream_end(stream, &error);
  }
}
