/* Streams against a socket that the test holds itself. */

#include "net/stream.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

struct world {
  uv_loop_t loop;
  int listener, peer;
  struct tg_address address;
  struct tg_stream *stream;
  bool opened, ended, close_on_data;
  char data[4096];
  size_t length;
  struct tg_error error;
};

static void on_open(void *ctx)
{
  struct world *world = ctx;
  world->opened = true;
}

static void on_data(void *ctx, const char *bytes, size_t length)
{
  struct world *world = ctx;
  assert_true(world->length + length <= sizeof world->data);
  memcpy(world->data + world->length, bytes, length);
  world->length += length;
  if (world->close_on_data) {
    tg_stream_close(world->stream, TG_STREAM_FIN);
    world->stream = NULL;
  }
}

static void on_end(void *ctx, const struct tg_error *error)
{
  struct world *world = ctx;
  assert_false(world->ended);
  world->ended = true;
  world->error = *error;
}

static const struct tg_stream_callbacks callbacks = {.on_open = on_open, .on_data = on_data, .on_end = on_end};

static void never(uv_timer_t *timer) { (void)timer; }

/* Turns the loop until the flag is set, at most five seconds. */
static void run_until(struct world *world, const bool *flag)
{
  uv_timer_t tick;
  uv_timer_init(&world->loop, &tick);
  uv_timer_start(&tick, never, 10, 10);
  tg_ms deadline = tg_now() + 5000;
  while (!*flag && tg_now() < deadline)
    uv_run(&world->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&tick, NULL);
  uv_run(&world->loop, UV_RUN_NOWAIT);
  assert_true(*flag);
}

static int setup(void **state)
{
  struct world *world = calloc(1, sizeof *world);
  uv_loop_init(&world->loop);
  world->listener = socket(AF_INET, SOCK_STREAM, 0);
  world->peer = -1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  assert_int_equal(bind(world->listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(world->listener, 4), 0);
  getsockname(world->listener, (struct sockaddr *)&address, &size);
  assert_true(tg_address_set(&world->address, (struct sockaddr *)&address, size));
  *state = world;
  return 0;
}

static int teardown(void **state)
{
  struct world *world = *state;
  tg_stream_close(world->stream, TG_STREAM_FIN);
  if (world->peer >= 0)
    close(world->peer);
  if (world->listener >= 0)
    close(world->listener);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0); /* no handle is left behind */
  free(world);
  return 0;
}

static void open_stream(struct world *world)
{
  world->stream =
      tg_stream_connect(&world->loop, &world->address, "127.0.0.1", &callbacks, world, &world->error);
  assert_non_null(world->stream);
}

static void connect_both(struct world *world)
{
  open_stream(world);
  run_until(world, &world->opened);
  world->peer = accept(world->listener, NULL, NULL);
  assert_true(world->peer >= 0);
}

static void send_text(struct world *world, const char *text)
{
  assert_int_equal(send(world->peer, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void end_peer(struct world *world, bool reset)
{
  struct linger linger = {.l_onoff = reset, .l_linger = 0};
  setsockopt(world->peer, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  close(world->peer);
  world->peer = -1;
}

static void tells_data_and_the_reset_behind_it(void **state)
{
  struct world *world = *state;
  connect_both(world);
  /* Both are there before the loop looks. */
  send_text(world, "last words");
  end_peer(world, true);
  run_until(world, &world->ended);
  assert_string_equal(world->error.code, "reset");
  assert_memory_equal(world->data, "last words", 10);
}

static void tells_data_and_the_end_behind_it(void **state)
{
  struct world *world = *state;
  connect_both(world);
  send_text(world, "last words");
  end_peer(world, false);
  run_until(world, &world->ended);
  assert_string_equal(world->error.code, "eof");
  assert_int_equal(world->length, 10);
}

static void tells_that_nobody_listens(void **state)
{
  struct world *world = *state;
  close(world->listener);
  world->listener = -1;
  open_stream(world);
  run_until(world, &world->ended);
  assert_string_equal(world->error.code, "refused");
  assert_false(world->opened);
}

static void tells_that_an_address_cannot_be(void **state)
{
  struct world *world = *state;
  struct sockaddr_in nowhere = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
  tg_address_set(&world->address, (struct sockaddr *)&nowhere, sizeof nowhere);
  assert_null(
      tg_stream_connect(&world->loop, &world->address, "nowhere", &callbacks, world, &world->error));
  assert_string_equal(world->error.code, "unreachable");
  assert_non_null(strstr(world->error.message, "nowhere: "));
}

static void may_be_closed_while_it_connects(void **state)
{
  struct world *world = *state;
  open_stream(world);
  tg_stream_close(world->stream, TG_STREAM_FIN);
  world->stream = NULL;
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_false(world->opened || world->ended);
}

static void may_be_closed_while_it_reads(void **state)
{
  struct world *world = *state;
  connect_both(world);
  world->close_on_data = true;
  send_text(world, "enough");
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(world->length, 6);
  assert_false(world->ended);
  char byte;
  assert_int_equal(recv(world->peer, &byte, 1, 0), 0); /* our FIN */
}

static void sends_what_waits_before_a_graceful_end(void **state)
{
  struct world *world = *state;
  connect_both(world);
  size_t total = 8 * 1024 * 1024, got = 0;
  char *bytes = calloc(1, total), chunk[65536];
  tg_stream_write(world->stream, bytes, total);
  free(bytes);
  assert_true(tg_stream_unsent(world->stream) > 0); /* more than the socket takes */
  tg_stream_close(world->stream, TG_STREAM_GRACEFUL);
  world->stream = NULL;
  for (;;) {
    uv_run(&world->loop, UV_RUN_NOWAIT);
    struct pollfd readable = {.fd = world->peer, .events = POLLIN};
    if (poll(&readable, 1, 5000) != 1)
      fail_msg("nothing came after %zu bytes", got);
    ssize_t n = recv(world->peer, chunk, sizeof chunk, 0);
    assert_true(n >= 0);
    if (n == 0)
      break;
    got += (size_t)n;
  }
  assert_int_equal(got, total);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(tells_data_and_the_reset_behind_it),
      TEST(tells_data_and_the_end_behind_it),
      TEST(tells_that_nobody_listens),
      TEST(tells_that_an_address_cannot_be),
      TEST(may_be_closed_while_it_connects),
      TEST(may_be_closed_while_it_reads),
      TEST(sends_what_waits_before_a_graceful_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
