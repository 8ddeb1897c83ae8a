#include "base/timer.h"
#include "net/stream_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  READ_SIZE = 64 * 1024,
  READS_A_TURN = 16, /* then the other connections of the loop have their turn */
  LINGER = 2000,
};

static void on_poll(uv_poll_t *poll, int status, int events);

/* The bytes of whichever stream reads now: one loop thread, no recursion. */
static char read_buffer[READ_SIZE];

static void free_handle(uv_handle_t *handle)
{
  free(handle);
}

void tg_stream_drop_socket(struct tg_stream *stream)
{
  if (stream->timer) {
    uv_close((uv_handle_t *)stream->timer, free_handle);
    stream->timer = NULL;
  }
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

void tg_stream_destroy(struct tg_stream *stream)
{
  tg_stream_drop_socket(stream);
  tg_buf_free(&stream->out);
  free(stream);
}

void tg_stream_end(struct tg_stream *stream, const struct tg_error *error)
{
  if (stream->state == TG_STREAM_LINGERING) {
    tg_stream_destroy(stream);
    return;
  }
  stream->state = TG_STREAM_ENDED;
  tg_stream_drop_socket(stream);
  stream->callbacks.on_end(stream->ctx, error);
}

void tg_stream_watch(struct tg_stream *stream)
{
  int events = 0;
  bool wants_write = stream->out.length > 0 || stream->more_to_read || stream->state == TG_STREAM_CONNECTING;
  if (stream->state == TG_STREAM_HANDSHAKING) /* a client's begins with its own word */
    wants_write = SSL_want_write(stream->ssl) || SSL_get_state(stream->ssl) == TLS_ST_BEFORE;
  if (stream->state == TG_STREAM_HANDSHAKING || (stream->state == TG_STREAM_OPEN && stream->reading))
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

bool tg_stream_adopt(struct tg_stream *stream, int fd)
{
  stream->fd = fd;
  stream->events = 0;
  stream->poll = tg_calloc(1, sizeof *stream->poll);
  if (uv_poll_init(stream->loop, stream->poll, fd) != 0) {
    free(stream->poll);
    stream->poll = NULL;
    tg_stream_drop_socket(stream);
    return false;
  }
  stream->poll->data = stream;
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  stream->state = TG_STREAM_CONNECTING;
  tg_stream_watch(stream);
  return true;
}

void tg_stream_explain_errno(const char *name, int code, struct tg_error *error)
{
  const char *word = code == ECONNREFUSED ? "refused" : code == ECONNRESET ? "reset" : "unreachable";
  tg_fail(error, word, "%s: %s", name, strerror(code));
}

/* ---- bytes in and out ---- */

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
      tg_fail(error, "eof", "%s closed the connection", stream->name);
    else
      tg_stream_explain_errno(stream->name, errno, error);
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
    tg_fail(error, "eof", "%s closed the connection", stream->name);
    return -1;
  case SSL_ERROR_SYSCALL:
    tg_stream_explain_errno(stream->name, errno ? errno : ECONNRESET, error);
    return -1;
  default:
    tg_tls_explain(stream->ssl, stream->name, error);
    return -1;
  }
}

/* The stream being read, so that tg_stream_close() inside on_data is noticed. */
static struct tg_stream *reading_stream;

void tg_stream_leave_reading(struct tg_stream *stream)
{
  if (reading_stream == stream)
    reading_stream = NULL;
}

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
      tg_stream_end(stream, &error);
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
  tg_stream_watch(stream);
}

static void finish_lingering(struct tg_stream *stream)
{
  if (stream->ssl)
    SSL_shutdown(stream->ssl);
  tg_stream_destroy(stream);
}

/* Hands over as much as the socket takes, and tells how much that was. Errors are left to the reading side,
 * which sees them next: a caller of tg_stream_write() is never called back. */
static size_t hand_over(struct tg_stream *stream, const char *bytes, size_t length)
{
  size_t done = 0;
  while (done < length) {
    const char *at = bytes + done;
    size_t left = length - done;
    ssize_t n;
    if (stream->ssl) {
      ERR_clear_error();
      n = SSL_write(stream->ssl, at, left > INT32_MAX ? INT32_MAX : (int)left);
      if (n <= 0) {
        int why = SSL_get_error(stream->ssl, (int)n);
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? done : length;
      }
    } else {
      n = send(stream->fd, at, left, MSG_NOSIGNAL);
      if (n < 0)
        return errno == EAGAIN || errno == EINTR ? done : length;
    }
    done += (size_t)n;
  }
  return done;
}

static void flush(struct tg_stream *stream)
{
  tg_buf_consume(&stream->out, hand_over(stream, stream->out.data, stream->out.length));
  if (stream->out.length == 0)
    tg_buf_reset(&stream->out, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
  struct tg_stream *stream = poll->data;
  /* libuv has stopped polling, and the bytes that came before a reset may be
   * all that is read now: tg_stream_watch() has to begin anew to learn of the rest. */
  if (status < 0)
    stream->events = 0;
  switch (stream->state) {
  case TG_STREAM_CONNECTING:
    tg_stream_connected(stream);
    return;
  case TG_STREAM_HANDSHAKING:
    tg_stream_handshake(stream);
    return;
  case TG_STREAM_LINGERING:
    flush(stream);
    if (stream->out.length == 0 || status < 0)
      finish_lingering(stream);
    return;
  case TG_STREAM_OPEN:
    break;
  case TG_STREAM_ENDED:
    return;
  }
  if ((events & UV_WRITABLE) && stream->out.length > 0) {
    flush(stream);
    tg_stream_watch(stream);
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
  if (stream->state != TG_STREAM_OPEN)
    return;
  size_t done = stream->out.length == 0 ? hand_over(stream, bytes, length) : 0;
  if (done < length)
    tg_buf_append(&stream->out, (const char *)bytes + done, length - done);
  tg_stream_watch(stream);
}

size_t tg_stream_unsent(const struct tg_stream *stream)
{
  return stream->out.length;
}

static void on_linger(uv_timer_t *timer)
{
  finish_lingering(timer->data);
}

void tg_stream_close(struct tg_stream *stream, enum tg_stream_close how)
{
  if (!stream)
    return;
  tg_stream_leave_reading(stream);
  if (how == TG_STREAM_RESET && stream->fd >= 0) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  if (how != TG_STREAM_GRACEFUL || stream->state != TG_STREAM_OPEN) {
    tg_stream_destroy(stream);
    return;
  }
  stream->state = TG_STREAM_LINGERING;
  if (stream->out.length == 0) {
    finish_lingering(stream);
    return;
  }
  tg_stream_watch(stream);
  stream->timer = tg_calloc(1, sizeof *stream->timer);
  uv_timer_init(stream->loop, stream->timer);
  stream->timer->data = stream;
  tg_timer_start(stream->timer, on_linger, LINGER);
}

int tg_stream_release(struct tg_stream *stream)
{
  int fd = stream->fd;
  tg_stream_leave_reading(stream);
  uv_close((uv_handle_t *)stream->poll, free_handle);
  stream->poll = NULL;
  stream->fd = -1;
  tg_stream_destroy(stream);
  return fd;
}

void tg_stream_set_reading(struct tg_stream *stream, bool reading)
{
  stream->reading = reading;
  if (stream->state != TG_STREAM_OPEN)
    return;
  /* What OpenSSL holds already is not announced by the socket again. */
  stream->more_to_read = reading && stream->ssl && SSL_has_pending(stream->ssl);
  tg_stream_watch(stream);
}

void tg_stream_trim(struct tg_stream *stream)
{
  if (stream->ssl && stream->state == TG_STREAM_OPEN)
    SSL_free_buffers(stream->ssl);
}
