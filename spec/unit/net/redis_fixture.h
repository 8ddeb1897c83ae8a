#pragma once

/* A client of Redis on a loop of its own, and a socket of the test's in the server's place: not one byte is
 * sent that the test did not ask for. */

#include "net/redis.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

struct redis_world {
  uv_loop_t loop;
  uv_timer_t tick;
  int listener, port, peer;
  SSL_CTX *tls; /* the peer speaks TLS */
  SSL *ssl;
  char input[64 * 1024]; /* what the client has sent */
  size_t input_length;
  struct tg_redis *redis;
  int ups, downs, told; /* calls of on_up and on_down, and of `replied` with NULL */
  struct tg_error error;
  char log[4096]; /* what `replied` got, a line a batch */
  bool connect_again, close_in_callback;
  void (*in_callback)(struct redis_world *world);
};

static inline void world_tick(uv_timer_t *timer)
{
  (void)timer;
}

static inline int world_setup(void **state)
{
  struct redis_world *world = calloc(1, sizeof *world);
  uv_loop_init(&world->loop);
  uv_timer_init(&world->loop, &world->tick);
  uv_timer_start(&world->tick, world_tick, 5, 5);
  uv_unref((uv_handle_t *)&world->tick);
  world->peer = -1;
  world->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  assert_int_equal(bind(world->listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(world->listener, 4), 0);
  getsockname(world->listener, (struct sockaddr *)&address, &size);
  world->port = ntohs(address.sin_port);
  *state = world;
  return 0;
}

static inline void end_peer(struct redis_world *world)
{
  SSL_free(world->ssl);
  world->ssl = NULL;
  if (world->peer >= 0)
    close(world->peer);
  world->peer = -1;
}

static inline int world_teardown(void **state)
{
  struct redis_world *world = *state;
  tg_redis_close(world->redis);
  end_peer(world);
  SSL_CTX_free(world->tls);
  if (world->listener >= 0)
    close(world->listener);
  uv_close((uv_handle_t *)&world->tick, NULL);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0); /* no handle is left behind */
  free(world);
  return 0;
}

/* ---- the peer ---- */

static inline void peer_receive(struct redis_world *world)
{
  char *at = world->input + world->input_length;
  size_t room = sizeof world->input - 1 - world->input_length;
  if (world->peer < 0 && (world->peer = accept4(world->listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
    return;
  if (world->tls && !world->ssl) {
    world->ssl = SSL_new(world->tls);
    SSL_set_fd(world->ssl, world->peer);
    SSL_set_accept_state(world->ssl);
  }
  ssize_t n = world->ssl ? SSL_read(world->ssl, at, (int)room) : recv(world->peer, at, room, 0);
  if (n > 0)
    world->input_length += (size_t)n;
  world->input[world->input_length] = '\0';
}

/* Turns the loop until the condition holds, at most ten seconds. */
#define RUN_UNTIL(world, condition)                                                                          \
  do {                                                                                                       \
    tg_ms run_deadline = tg_now() + 10000;                                                                   \
    while (!(condition)) {                                                                                   \
      uv_ref((uv_handle_t *)&(world)->tick);                                                                 \
      uv_run(&(world)->loop, UV_RUN_ONCE);                                                                   \
      uv_unref((uv_handle_t *)&(world)->tick);                                                               \
      if ((world)->listener >= 0)                                                                            \
        peer_receive(world);                                                                                 \
      if (tg_now() > run_deadline)                                                                           \
        fail_msg("waited in vain for " #condition "; the error is: %s", (world)->error.message);             \
    }                                                                                                        \
  } while (0)

static inline void say_bytes(struct redis_world *world, const char *bytes, size_t length)
{
  ssize_t n =
      world->ssl ? SSL_write(world->ssl, bytes, (int)length) : send(world->peer, bytes, length, MSG_NOSIGNAL);
  assert_int_equal(n, (ssize_t)length);
}

static inline void say(struct redis_world *world, const char *text)
{
  say_bytes(world, text, strlen(text));
}

/* What the client is to send next, and no more. */
#define EXPECT_INPUT(world, text)                                                                            \
  do {                                                                                                       \
    RUN_UNTIL(world, (world)->input_length >= strlen(text));                                                 \
    assert_string_equal((world)->input, text);                                                               \
    (world)->input_length = 0;                                                                               \
    (world)->input[0] = '\0';                                                                                \
  } while (0)

/* ---- the client ---- */

static inline void world_on_up(void *ctx)
{
  struct redis_world *world = ctx;
  assert_true(tg_redis_is_up(world->redis));
  world->ups++;
  if (world->in_callback)
    world->in_callback(world);
}

static inline void world_on_down(void *ctx, const struct tg_error *error)
{
  struct redis_world *world = ctx;
  assert_false(tg_redis_is_up(world->redis));
  world->downs++;
  world->error = *error;
  if (world->connect_again)
    tg_redis_connect(world->redis);
  if (world->in_callback)
    world->in_callback(world);
}

static inline void append_reply(struct tg_buf *log, const struct tg_redis_reply *reply)
{
  switch (reply->kind) {
  case TG_REDIS_TEXT:
  case TG_REDIS_STATUS:
  case TG_REDIS_ERROR:
    tg_buf_printf(log, "%c%.*s", reply->kind == TG_REDIS_ERROR ? '-' : '+', (int)reply->text.length,
                  reply->text.at);
    break;
  case TG_REDIS_INTEGER:
    tg_buf_printf(log, ":%lld", (long long)reply->integer);
    break;
  case TG_REDIS_NIL:
    tg_buf_puts(log, "nil");
    break;
  case TG_REDIS_ARRAY:
    tg_buf_puts(log, "[");
    for (size_t i = 0; i < reply->count; i++) {
      tg_buf_puts(log, i ? " " : "");
      append_reply(log, &reply->items[i]);
    }
    tg_buf_puts(log, "]");
  }
}

static inline void replied(void *ctx, const struct tg_redis_reply *replies, int count,
                           const struct tg_error *error)
{
  struct redis_world *world = ctx;
  struct tg_buf log = {0};
  if (!replies) {
    world->told++;
    tg_buf_printf(&log, "gone: %s", error->code);
  }
  for (int i = 0; i < count; i++) {
    tg_buf_puts(&log, i ? " " : "");
    append_reply(&log, &replies[i]);
  }
  tg_buf_puts(&log, "\n");
  size_t used = strlen(world->log);
  assert_true(used + log.length < sizeof world->log);
  memcpy(world->log + used, log.data, log.length);
  tg_buf_free(&log);
  if (world->in_callback)
    world->in_callback(world);
}

static inline struct tg_redis *world_new(struct redis_world *world, const char *url, const char *ca_file,
                                         tg_ms connect, tg_ms reply)
{
  struct tg_redis_options options = {.loop = &world->loop,
                                     .url = url,
                                     .ca_file = ca_file,
                                     .connect_timeout = connect,
                                     .reply_timeout = reply,
                                     .on_up = world_on_up,
                                     .on_down = world_on_down,
                                     .ctx = world};
  world->redis = tg_redis_new(&options, &world->error);
  return world->redis;
}

/* To the peer; `login` may be "user:password@" or "". */
static inline void world_open(struct redis_world *world, const char *login, const char *database,
                              tg_ms connect, tg_ms reply)
{
  char url[200];
  snprintf(url, sizeof url, "redis://%s127.0.0.1:%d/%s", login, world->port, database);
  assert_non_null(world_new(world, url, NULL, connect, reply));
  tg_redis_connect(world->redis);
}

static const char hello[] = "*4\r\n$5\r\nHELLO\r\n$1\r\n2\r\n$7\r\nSETNAME\r\n$8\r\ntidegate\r\n";
static const char welcome[] = "*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n"
                              "$5\r\nproto\r\n:2\r\n";

static inline void world_come_up(struct redis_world *world, tg_ms reply_timeout)
{
  world_open(world, "", "", 8000, reply_timeout);
  EXPECT_INPUT(world, hello);
  say(world, welcome);
  RUN_UNTIL(world, world->ups == 1);
}

static inline void command(struct redis_world *world, const char *word)
{
  tg_resp_begin(tg_redis_out(world->redis), 1);
  tg_resp_string(tg_redis_out(world->redis), word);
}

static inline void ask(struct redis_world *world, const char *word)
{
  command(world, word);
  tg_redis_send(world->redis, 1, replied, world);
}

#define ASSERT_DOWN(world, error_code, words)                                                                \
  do {                                                                                                       \
    RUN_UNTIL(world, (world)->downs == 1);                                                                   \
    assert_string_equal((world)->error.code, error_code);                                                    \
    if (!strstr((world)->error.message, words) || strstr((world)->error.message, "geheim"))                  \
      fail_msg("\"%s\" does not say \"%s\"", (world)->error.message, words);                                 \
  } while (0)
