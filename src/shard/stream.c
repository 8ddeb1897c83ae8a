#include "shard/stream.h"

#include "base/buf.h"
#include "shard/tls.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The way of a client: RESOLVING > CONNECTING (each address in turn) >
 * HANDSHAKING (TLS only) > OPEN > ENDED (on_end was called) or LINGERING (the
 * owner has closed, bytes still wait). A server's stream starts at CONNECTING.
 *
 * The handles are allocated apart, because libuv needs them for a moment after
 * the stream itself is gone. */
enum state { RESOLVING, CONNECTING, HANDSHAKING, OPEN, ENDED, LINGERING };

enum {
  READ_SIZE = 64 * 1024,
  READS_A_TURN = 16, /* then the other connections of the loop have their turn */
  NEXT_ADDRESS_AFTER = 3000,
  LINGER = 2000,
};

struct tg_stream {
  uv_loop_t *loop;
  struct tg_tls *tls;
  SSL *ssl;
  struct tg_stream_callbacks callbacks;
  void *ctx;
  enum state state;
  char host[256];
  uv_getaddrinfo_t *resolving;
  struct addrinfo *addresses, *address;
  uv_timer_t *timer; /* next address, or linger */
  uv_poll_t *poll;
  int fd;
  int events;
  bool reading;
  bool more_to_read; /* OpenSSL holds bytes that no poll event will announce */
  struct tg_buf out;
};

static void on_poll(uv_poll_t *poll, int status, int events);
static void try_next_address(struct tg_stream *stream, const struct tg_error *last);

/* The bytes of whichever stream reads now: one loop thread, no recursion. */
static char read_buffer[READ_SIZE];

static void free_handle(uv_handle_t *handle) { free(handle); }

static void stop_timer(struct tg_stream *stream)
{
  if (!stream->timer)
    return;
  uv_close((uv_handle_t *)stream->timer, free_handle);
  stream->timer = NULL;
}

static void start_timer(struct tg_stream *stream, uint64_t timeout, uv_timer_cb callback)
{
  stop_timer(stream);
  stream->timer = tg_calloc(1, sizeof *stream->timer);
  uv_timer_init(stream->loop, stream->timer);
  stream->timer->data = stream;
  uv_timer_start(stream->timer, callback, timeout, 0);
}

static void drop_socket(struct tg_stream *stream)
{
  stop_timer(stream);
  if (stream->ssl) {
    SSL_free(stream->ssl);
    stream->ssl = NULL;
  }
  if (stream->poll) {
    uv_close((uv_handle_t *)stream->poll, free_handle);
    stream->poll = NULL;
  }
  if (stream->fd >= 0) {
    close(stream->fd);
    stream->fd = -1;
  }
}

static void destroy(struct tg_stream *stream)
{
  drop_socket(stream);
  if (stream->addresses)
    uv_freeaddrinfo(stream->addresses);
  tg_buf_free(&stream->out);
  free(stream);
}

static void end(struct tg_stream *stream, const struct tg_error *error)
{
  if (stream->state == LINGERING) {
    destroy(stream);
    return;
  }
  stream->state = ENDED;
  drop_socket(stream);
  stream->callbacks.on_end(stream->ctx, error);
}

static void watch(struct tg_stream *stream)
{
  int events = 0;
  bool wants_write = stream->out.length > 0 || stream->more_to_read || stream->state == CONNECTING;
  if (stream->state == HANDSHAKING)
    wants_write = SSL_want_write(stream->ssl);
  if (stream->state == HANDSHAKING || (stream->state == OPEN && stream->reading))
    events |= UV_READABLE;
  if (wants_write)
    events |= UV_WRITABLE;
  if (events == stream->events)
    return;
  stream->events = events;
  if (events)
    uv_poll_start(stream->poll, events, on_poll);
  else
    uv_poll_stop(stream->poll);
}

static bool adopt_socket(struct tg_stream *stream, int fd)
{
  stream->fd = fd;
  stream->events = 0;
  stream->poll = tg_calloc(1, sizeof *stream->poll);
  if (uv_poll_init(stream->loop, stream->poll, fd) != 0) {
    free(stream->poll);
    stream->poll = NULL;
    drop_socket(stream);
    return false;
  }
  stream->poll->data = stream;
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  stream->state = CONNECTING;
  watch(stream);
  return true;
}

/* ---- connecting ---- */

static void explain_errno(const char *host, int code, struct tg_error *error)
{
  const char *word = code == ECONNREFUSED ? "refused" : code == ECONNRESET ? "reset" : "unreachable";
  tg_fail(error, word, "%s: %s", host, strerror(code));
}

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
  drop_socket(stream);
  while (stream->address) {
    struct addrinfo *address = stream->address;
    stream->address = address->ai_next;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      explain_errno(stream->host, errno, &error);
      continue;
    }
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
      explain_errno(stream->host, errno, &error);
      close(fd);
      continue;
    }
    if (!adopt_socket(stream, fd)) {
      tg_fail(&error, "unreachable", "%s: the socket cannot be watched", stream->host);
      continue;
    }
    if (stream->address)
      start_timer(stream, NEXT_ADDRESS_AFTER, on_slow_address);
    return;
  }
  end(stream, &error);
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
  if (!adopt_socket(stream, fd)) {
    destroy(stream);
    return NULL;
  }
  return stream;
}

/* ---- open ---- */

static void opened(struct tg_stream *stream)
{
  stream->state = OPEN;
  /* The first bytes may have come along with the end of the handshake. */
  stream->more_to_read = stream->ssl != NULL;
  watch(stream);
  stream->callbacks.on_open(stream->ctx);
}

static void handshake(struct tg_stream *stream)
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
    watch(stream);
    return;
  case SSL_ERROR_SYSCALL:
    explain_errno(stream->host, errno ? errno : ECONNRESET, &error);
    break;
  case SSL_ERROR_ZERO_RETURN:
    tg_fail(&error, "eof", "%s closed the connection during the TLS handshake", stream->host);
    break;
  default:
    tg_tls_explain(stream->ssl, stream->host, &error);
  }
  end(stream, &error);
}

static void connected(struct tg_stream *stream)
{
  int code = 0;
  socklen_t size = sizeof code;
  getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &code, &size);
  if (code != 0) {
    struct tg_error error;
    explain_errno(stream->host, code, &error);
    try_next_address(stream, &error);
    return;
  }
  stop_timer(stream);
  if (!stream->tls) {
    opened(stream);
    return;
  }
  stream->ssl = tg_tls_connection(stream->tls, stream->fd, stream->host);
  stream->state = HANDSHAKING;
  handshake(stream);
}

/* Bytes read; 0: none now; -1: the end, `error` is filled. */
static ssize_t read_some(struct tg_stream *stream, struct tg_error *error)
{
  if (!stream->ssl) {
    ssize_t n = recv(stream->fd, read_buffer, sizeof read_buffer, 0);
    if (n > 0)
      return n;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
      return 0;
    if (n == 0)
      tg_fail(error, "eof", "%s closed the connection", stream->host);
    else
      explain_errno(stream->host, errno, error);
    return -1;
  }
  ERR_clear_error();
  int n = SSL_read(stream->ssl, read_buffer, sizeof read_buffer);
  if (n > 0)
    return n;
  switch (SSL_get_error(stream->ssl, n)) {
  case SSL_ERROR_WANT_READ:
  case SSL_ERROR_WANT_WRITE:
    return 0;
  case SSL_ERROR_ZERO_RETURN:
    tg_fail(error, "eof", "%s closed the connection", stream->host);
    return -1;
  case SSL_ERROR_SYSCALL:
    explain_errno(stream->host, errno ? errno : ECONNRESET, error);
    return -1;
  default:
    tg_tls_explain(stream->ssl, stream->host, error);
    return -1;
  }
}

/* The stream being read, so that tg_stream_close() inside on_data is noticed. */
static struct tg_stream *reading_stream;

static void read_all(struct tg_stream *stream)
{
  reading_stream = stream;
  stream->more_to_read = false;
  for (int i = 0; stream->reading; i++) {
    if (i == READS_A_TURN) {
      stream->more_to_read = stream->ssl && SSL_has_pending(stream->ssl);
      break;
    }
    struct tg_error error;
    ssize_t n = read_some(stream, &error);
    if (n < 0) {
      reading_stream = NULL;
      end(stream, &error);
      return;
    }
    if (n == 0)
      break;
    stream->callbacks.on_data(stream->ctx, read_buffer, (size_t)n);
    if (reading_stream != stream)
      return;
    /* A short read from a plain socket means it is empty. */
    if (!stream->ssl && (size_t)n < sizeof read_buffer)
      break;
  }
  reading_stream = NULL;
  watch(stream);
}

static void finish_lingering(struct tg_stream *stream)
{
  if (stream->ssl)
    SSL_shutdown(stream->ssl);
  destroy(stream);
}

/* Hands over as much as the socket takes. Errors are left to the reading side,
 * which sees them next: a caller of tg_stream_write() is never called back. */
static void flush(struct tg_stream *stream)
{
  size_t done = 0;
  while (done < stream->out.length) {
    const char *at = stream->out.data + done;
    size_t left = stream->out.length - done;
    ssize_t n;
    if (stream->ssl) {
      ERR_clear_error();
      n = SSL_write(stream->ssl, at, left > INT32_MAX ? INT32_MAX : (int)left);
      if (n <= 0) {
        int why = SSL_get_error(stream->ssl, (int)n);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
          done = stream->out.length;
        break;
      }
    } else {
      n = send(stream->fd, at, left, MSG_NOSIGNAL);
      if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
          done = stream->out.length;
        break;
      }
    }
    done += (size_t)n;
  }
  tg_buf_consume(&stream->out, done);
  if (stream->out.length == 0)
    tg_buf_reset(&stream->out, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
  struct tg_stream *stream = poll->data;
  /* libuv has stopped polling, and the bytes that came before a reset may be
   * all that is read now: watch() has to begin anew to learn of the rest. */
  if (status < 0)
    stream->events = 0;
  switch (stream->state) {
  case CONNECTING:
    connected(stream);
    return;
  case HANDSHAKING:
    handshake(stream);
    return;
  case LINGERING:
    flush(stream);
    if (stream->out.length == 0 || status < 0)
      finish_lingering(stream);
    return;
  case OPEN:
    break;
  case RESOLVING:
  case ENDED:
    return;
  }
  if ((events & UV_WRITABLE) && stream->out.length > 0) {
    flush(stream);
    watch(stream);
    if (stream->out.length == 0 && stream->callbacks.on_drain) {
      reading_stream = stream;
      stream->callbacks.on_drain(stream->ctx);
      if (reading_stream != stream)
        return;
    }
  }
  if (status < 0 || (events & UV_READABLE) || stream->more_to_read)
    read_all(stream);
}

void tg_stream_write(struct tg_stream *stream, const void *bytes, size_t length)
{
  if (stream->state != OPEN)
    return;
  bool idle = stream->out.length == 0;
  tg_buf_append(&stream->out, bytes, length);
  if (idle)
    flush(stream);
  watch(stream);
}

size_t tg_stream_unsent(const struct tg_stream *stream) { return stream->out.length; }

static void on_linger(uv_timer_t *timer) { finish_lingering(timer->data); }

void tg_stream_close(struct tg_stream *stream, enum tg_stream_close how)
{
  if (!stream)
    return;
  if (reading_stream == stream)
    reading_stream = NULL;
  if (stream->resolving) {
    stream->resolving->data = NULL;
    uv_cancel((uv_req_t *)stream->resolving);
  }
  if (how == TG_STREAM_RESET && stream->fd >= 0) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  if (how != TG_STREAM_GRACEFUL || stream->state != OPEN) {
    destroy(stream);
    return;
  }
  stream->state = LINGERING;
  if (stream->out.length == 0) {
    finish_lingering(stream);
    return;
  }
  watch(stream);
  start_timer(stream, LINGER, on_linger);
}

void tg_stream_set_reading(struct tg_stream *stream, bool reading)
{
  stream->reading = reading;
  if (stream->state != OPEN)
    return;
  /* What OpenSSL holds already is not announced by the socket again. */
  stream->more_to_read = reading && stream->ssl && SSL_has_pending(stream->ssl);
  watch(stream);
}

void tg_stream_trim(struct tg_stream *stream)
{
  if (stream->ssl && stream->state == OPEN)
    SSL_free_buffers(stream->ssl);
}
