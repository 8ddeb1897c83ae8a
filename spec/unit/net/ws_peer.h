#pragma once

/* The server of the units of net/ws.h: a socket, with or without TLS, that does what
 * the test says and nothing else. It has no turns of its own: whatever waits here
 * turns the loop of the client, and whatever does not wait leaves the client as it
 * is. So a test decides what is there when the client looks. */

#include "base/buf.h"
#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <setjmp.h>

#include <cmocka.h>

enum {
  PATIENCE = 20000, /* ms; for machines that are busy, and valgrind */
  SPINS = 16,       /* turns of the loop before it is worth to wait */
};

/* The first byte of a frame. */
enum { CONTINUATION = 0x80, TEXT = 0x81, BINARY = 0x82, CLOSE = 0x88, PING = 0x89, PONG = 0x8a };
enum { TEXT_BEGINS = 0x01, BINARY_BEGINS = 0x02, GOES_ON = 0x00 }; /* more fragments follow */

struct peer {
  uv_loop_t *loop; /* the client's */
  SSL_CTX *tls;    /* NULL: plain */
  int listener, fd;
  SSL *ssl;
  char port[8];
  char head[4096];  /* of the client's request */
  struct tg_buf in; /* what came from the client ... */
  size_t taken;     /* ... and was looked at */
  bool ended;       /* nothing more comes from it ... */
  bool was_reset;   /* ... and it did not say so by a FIN */
};

/* ---- waiting ---- */

/* One turn of the loop; later ones sleep until one of the two has something to do. */
static inline void peer_turn(struct peer *peer, int times)
{
  uv_run(peer->loop, UV_RUN_NOWAIT);
  if (times < SPINS)
    return;
  struct pollfd ends[] = {{.fd = uv_backend_fd(peer->loop), .events = POLLIN},
                          {.fd = peer->fd < 0 ? peer->listener : peer->fd, .events = POLLIN}};
  poll(ends, 2, 1);
}

#define PEER_WAIT(peer, condition)                                                                           \
  do {                                                                                                       \
    tg_ms deadline_ = tg_now() + PATIENCE;                                                                   \
    for (int times_ = 0; !(condition); times_++) {                                                           \
      if (tg_now() > deadline_)                                                                              \
        fail_msg("waited in vain for %s", #condition);                                                       \
      peer_turn(peer, times_);                                                                               \
    }                                                                                                        \
  } while (0)

/* As many turns as a client may need for what is there already. */
static inline void peer_let_it_look(struct peer *peer)
{
  for (int i = 0; i < 4; i++)
    uv_run(peer->loop, UV_RUN_NOWAIT);
}

/* ---- the socket ---- */

static inline bool peer_bind(struct peer *peer, const struct sockaddr *at, socklen_t size, uint16_t *port)
{
  struct sockaddr_storage bound;
  socklen_t bound_size = sizeof bound;
  int on = 1;
  peer->fd = -1;
  peer->listener = socket(at->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (peer->listener < 0)
    return false;
  setsockopt(peer->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(peer->listener, at, size) != 0)
    return false;
  getsockname(peer->listener, (struct sockaddr *)&bound, &bound_size);
  *port = ntohs(bound.ss_family == AF_INET ? ((struct sockaddr_in *)&bound)->sin_port
                                           : ((struct sockaddr_in6 *)&bound)->sin6_port);
  snprintf(peer->port, sizeof peer->port, "%u", *port);
  return true;
}

/* The peer at 127.0.0.1 + `index`. It takes no connection before listen(2). */
static inline bool peer_bind_ipv4(struct peer *peer, int index, uint16_t *port)
{
  struct sockaddr_in at = {.sin_family = AF_INET,
                           .sin_port = htons(*port),
                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)index)};
  return peer_bind(peer, (struct sockaddr *)&at, sizeof at, port);
}

static inline void peer_hang_up(struct peer *peer)
{
  SSL_free(peer->ssl);
  peer->ssl = NULL;
  if (peer->fd >= 0)
    close(peer->fd);
  peer->fd = -1;
  peer->in.length = peer->taken = 0;
  peer->ended = peer->was_reset = false;
}

static inline void peer_stop_listening(struct peer *peer)
{
  if (peer->listener >= 0)
    close(peer->listener);
  peer->listener = -1;
}

/* From here on it refuses connections. The port stays its own, so that nobody else takes them. */
static inline void peer_refuses(struct peer *peer, int index)
{
  uint16_t port = (uint16_t)atoi(peer->port);
  peer_stop_listening(peer);
  assert_true(peer_bind_ipv4(peer, index, &port));
}

/* No more can be on their way than what the client holds itself. */
static inline void peer_takes_little(struct peer *peer)
{
  int size = 4096;
  setsockopt(peer->listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

static inline bool peer_accept_now(struct peer *peer)
{
  int on = 1;
  peer->fd = accept4(peer->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return peer->fd >= 0;
}

static inline void peer_accept(struct peer *peer)
{
  PEER_WAIT(peer, peer_accept_now(peer));
}

/* FIN, as Discord sends it: without a word of TLS before. It still reads. */
static inline void peer_fin(struct peer *peer)
{
  shutdown(peer->fd, SHUT_WR);
}

/* What has not left its own kernel yet would be lost with a reset. */
static inline bool peer_has_sent_all(const struct peer *peer)
{
  int unsent = 0;
  return ioctl(peer->fd, SIOCOUTQNSD, &unsent) == 0 && unsent == 0;
}

static inline void peer_reset(struct peer *peer)
{
  struct linger linger = {.l_onoff = 1};
  setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  peer_hang_up(peer);
}

/* ---- bytes ---- */

static inline bool wants_patience(const struct peer *peer, ssize_t n)
{
  if (!peer->ssl)
    return n < 0 && (errno == EAGAIN || errno == EINTR);
  int why = SSL_get_error(peer->ssl, (int)n);
  return n <= 0 && (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE);
}

/* Reads what is there. */
static inline void peer_read(struct peer *peer)
{
  enum { CHUNK = 65536 };
  while (!peer->ended) {
    char *to = tg_buf_reserve(&peer->in, CHUNK);
    ERR_clear_error();
    ssize_t n = peer->ssl ? SSL_read(peer->ssl, to, CHUNK) : recv(peer->fd, to, CHUNK, 0);
    if (n > 0) {
      peer->in.length += (size_t)n;
      continue;
    }
    peer->ended = !wants_patience(peer, n);
    peer->was_reset = peer->ended && n < 0 && errno == ECONNRESET;
    break;
  }
}

/* As much as goes out at once. */
static inline ssize_t peer_send_some(struct peer *peer, const void *bytes, size_t length)
{
  ERR_clear_error();
  return peer->ssl ? SSL_write(peer->ssl, bytes, (int)length) : send(peer->fd, bytes, length, MSG_NOSIGNAL);
}

/* Turns the loop only where the client does not take them. Nothing happens when it has gone. */
static inline void peer_send(struct peer *peer, const void *bytes, size_t length)
{
  tg_ms deadline = tg_now() + PATIENCE;
  for (size_t done = 0; done < length;) {
    ssize_t n = peer_send_some(peer, (const char *)bytes + done, length - done);
    if (n > 0)
      done += (size_t)n;
    else if (!wants_patience(peer, n))
      return;
    else if (tg_now() > deadline)
      fail_msg("the client did not take all: %zu of %zu bytes", done, length);
    else
      peer_turn(peer, 0);
  }
}

static inline void peer_say(struct peer *peer, const char *text)
{
  peer_send(peer, text, strlen(text));
}

/* The client has looked at each byte before the next one comes. */
static inline void peer_dribble(struct peer *peer, const void *bytes, size_t length)
{
  for (size_t i = 0; i < length; i++) {
    peer_send(peer, (const char *)bytes + i, 1);
    peer_let_it_look(peer);
  }
}

/* ---- TLS and the upgrade ---- */

static inline bool peer_shakes_hands(struct peer *peer)
{
  ERR_clear_error();
  int n = SSL_accept(peer->ssl);
  peer->ended = n != 1 && !wants_patience(peer, n);
  return n == 1 || peer->ended;
}

/* `ended` where the client does not like it. */
static inline void peer_secure(struct peer *peer)
{
  peer->ssl = SSL_new(peer->tls);
  SSL_set_fd(peer->ssl, peer->fd);
  PEER_WAIT(peer, peer_shakes_hands(peer));
}

static inline const char *end_of_request(struct peer *peer)
{
  peer_read(peer);
  return memmem(peer->in.data, peer->in.length, "\r\n\r\n", 4);
}

/* Reads the client's request for an upgrade, through TLS where there is TLS. */
static inline void peer_take_request(struct peer *peer)
{
  if (peer->tls && !peer->ssl)
    peer_secure(peer);
  PEER_WAIT(peer, end_of_request(peer) || peer->ended);
  assert_false(peer->ended);
  size_t length = (size_t)(end_of_request(peer) + 4 - peer->in.data);
  assert_true(length < sizeof peer->head);
  memcpy(peer->head, peer->in.data, length);
  peer->head[length] = '\0';
  peer->taken = length;
}

/* Appends an answer that lets it in. */
static inline void put_answer(const struct peer *peer, struct tg_buf *out)
{
  static const char field[] = "Sec-WebSocket-Key: ";
  char proof[128], accept[64];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size;
  const char *key = strcasestr(peer->head, field);
  assert_non_null(key);
  int length =
      snprintf(proof, sizeof proof, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + sizeof field - 1);
  EVP_Digest(proof, (size_t)length, digest, &size, EVP_sha1(), NULL);
  EVP_EncodeBlock((unsigned char *)accept, digest, (int)size);
  tg_buf_printf(out,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Accept: %s\r\n\r\n",
                accept);
}

/* The answer and, in the same piece, what follows it. */
static inline void peer_answer_with(struct peer *peer, const void *bytes, size_t length)
{
  struct tg_buf answer = {0};
  put_answer(peer, &answer);
  tg_buf_append(&answer, bytes, length);
  peer_send(peer, answer.data, answer.length);
  tg_buf_free(&answer);
}

static inline void peer_answer(struct peer *peer)
{
  peer_answer_with(peer, "", 0);
}

/* ---- frames ---- */

static inline void put_frame(struct tg_buf *out, int first, const void *payload, size_t length)
{
  char head[10] = {(char)first};
  size_t size = length < 126 ? 2 : length < 65536 ? 4 : 10;
  head[1] = (char)(size == 2 ? length : size == 4 ? 126 : 127);
  for (size_t i = 2; i < size; i++)
    head[i] = (char)(length >> 8 * (size - 1 - i));
  tg_buf_append(out, head, size);
  tg_buf_append(out, payload, length);
}

static inline void put_close(struct tg_buf *out, int code, const char *reason)
{
  char payload[125] = {(char)(code >> 8), (char)code};
  size_t length = strlen(reason);
  memcpy(payload + 2, reason, length);
  put_frame(out, CLOSE, payload, 2 + length);
}

static inline void peer_send_frame(struct peer *peer, int first, const void *payload, size_t length)
{
  struct tg_buf out = {0};
  put_frame(&out, first, payload, length);
  peer_send(peer, out.data, out.length);
  tg_buf_free(&out);
}

static inline void peer_send_text(struct peer *peer, const char *text)
{
  peer_send_frame(peer, TEXT, text, strlen(text));
}

static inline void peer_send_close(struct peer *peer, int code, const char *reason)
{
  struct tg_buf out = {0};
  put_close(&out, code, reason);
  peer_send(peer, out.data, out.length);
  tg_buf_free(&out);
}

/* Takes one whole frame of what the client has sent, and appends its payload.
 * Its first byte; -1: there is none yet. */
static inline int take_frame(struct peer *peer, struct tg_buf *payload)
{
  const unsigned char *at = (const unsigned char *)peer->in.data + peer->taken;
  size_t left = peer->in.length - peer->taken, size = 2, length = 0;
  if (left < size)
    return -1;
  assert_true(at[1] & 0x80); /* a client's frames are masked */
  size_t wide = (at[1] & 0x7f) == 126 ? 2 : (at[1] & 0x7f) == 127 ? 8 : 0;
  if (left < size + wide + 4)
    return -1;
  for (; size < 2 + wide; size++)
    length = length << 8 | at[size];
  if (wide == 0)
    length = at[1] & 0x7f;
  size += 4;
  if (left < size + length)
    return -1;
  char *to = tg_buf_reserve(payload, length + 1);
  for (size_t i = 0; i < length; i++)
    to[i] = (char)(at[size + i] ^ at[size - 4 + i % 4]);
  to[length] = '\0';
  payload->length += length;
  peer->taken += size + length;
  int first = at[0];
  if (peer->taken == peer->in.length)
    peer->in.length = peer->taken = 0;
  return first;
}

/* The client's next frame: its first byte, its payload behind what `payload` holds. */
static inline int peer_next_frame(struct peer *peer, struct tg_buf *payload)
{
  int first;
  PEER_WAIT(peer, (first = take_frame(peer, payload)) >= 0 || (peer_read(peer), peer->ended));
  return first >= 0 ? first : take_frame(peer, payload);
}

/* The next frame is this one, payload and all. */
static inline void peer_expect(struct peer *peer, int first, const void *payload, size_t length)
{
  struct tg_buf came = {0};
  int came_first = peer_next_frame(peer, &came);
  assert_int_equal(came_first, first);
  assert_int_equal(came.length, length);
  if (length > 0)
    assert_memory_equal(came.data, payload, length);
  tg_buf_free(&came);
}

/* The client ends the connection without another frame. */
static inline void peer_expect_end(struct peer *peer)
{
  struct tg_buf came = {0};
  PEER_WAIT(peer, (peer_read(peer), peer->ended));
  int first = take_frame(peer, &came);
  tg_buf_free(&came);
  assert_int_equal(first, -1);
}

static inline bool peer_sees_end(struct peer *peer)
{
  peer_read(peer);
  return peer->ended;
}
