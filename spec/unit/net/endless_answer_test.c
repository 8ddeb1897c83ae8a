/* Answers without an end: tg_respond_begin() and its neighbours. */

#include "net/server.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE = 20000 /* ms */, PIECE = 64 << 10 };

static struct {
  uv_loop_t loop;
  uv_timer_t tick;
  struct tg_server *server;
  struct tg_request *streams[4];
  int count, gone, heads;
} world;

static bool admit(void *ctx, struct tg_request *request)
{
  (void)ctx, (void)request;
  return true;
}

static void on_gone(struct tg_request *request)
{
  world.gone++;
  for (int i = 0; i < world.count; i++)
    if (world.streams[i] == request)
      world.streams[i] = world.streams[--world.count];
  tg_respond_end(request);
}

static void handle(void *ctx, struct tg_request *request)
{
  (void)ctx;
  request->on_gone = on_gone;
  if (tg_respond_begin(request, "text/event-stream", "X-More: 1\r\n"))
    world.streams[world.count++] = request;
  else
    world.heads++;
}

static void on_tick(uv_timer_t *timer)
{
  (void)timer;
}

static int set_up(void **state)
{
  (void)state;
  memset(&world, 0, sizeof world);
  uv_loop_init(&world.loop);
  uv_timer_init(&world.loop, &world.tick);
  uv_timer_start(&world.tick, on_tick, 2, 2); /* so that conditions are looked at */
  struct tg_server_options options = {
      .loop = &world.loop, .listen = "127.0.0.1:0", .admit = admit, .handle = handle};
  struct tg_error error;
  world.server = tg_server_new(&options, &error);
  assert_non_null(world.server);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_server_free(world.server);
  uv_close((uv_handle_t *)&world.tick, NULL);
  while (uv_run(&world.loop, UV_RUN_DEFAULT) != 0) {
  }
  for (int i = 0; i < world.count; i++) /* they stay with their route */
    tg_respond_end(world.streams[i]);
  return uv_loop_close(&world.loop);
}

#define wait_for(condition)                                                                                  \
  do {                                                                                                       \
    tg_ms until_ = tg_now() + PATIENCE;                                                                      \
    while (!(condition)) {                                                                                   \
      uv_run(&world.loop, UV_RUN_ONCE);                                                                      \
      if (tg_now() > until_)                                                                                 \
        fail_msg("waited in vain for %s", #condition);                                                       \
    }                                                                                                        \
  } while (0)

static int dial(const char *request)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  address.sin_port = htons((uint16_t)atoi(strrchr(tg_server_address(world.server), ':') + 1));
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
  return fd;
}

/* Adds what has come. True: the server has closed. */
static bool hear(int fd, struct tg_buf *heard)
{
  for (;;) {
    ssize_t length = recv(fd, tg_buf_reserve(heard, 65536), 65536, 0);
    if (length <= 0)
      return length == 0 || errno != EAGAIN;
    heard->length += (size_t)length;
  }
}

static bool has(int fd, struct tg_buf *heard, const char *text)
{
  hear(fd, heard);
  return memmem(heard->data, heard->length, text, strlen(text)) != NULL;
}

#define STREAM "GET /live HTTP/1.1\r\n\r\n"

static void what_is_sent_comes_until_the_end(void **state)
{
  (void)state;
  struct tg_buf heard = {0};
  int fd = dial(STREAM "GET /what follows is not read HTTP/1.1\r\n\r\n");
  wait_for(world.count == 1);
  assert_true(tg_respond_more(world.streams[0], "one", 3));
  wait_for(has(fd, &heard, "\r\n\r\none"));
  assert_true(
      has(fd, &heard,
          "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\nX-More: 1\r\n"));
  assert_false(has(fd, &heard, "Content-Length"));
  assert_true(tg_respond_more(world.streams[0], "two", 3));
  wait_for(has(fd, &heard, "onetwo"));
  tg_respond_end(world.streams[--world.count]);
  wait_for(hear(fd, &heard));
  assert_memory_equal(heard.data + heard.length - 6, "onetwo", 6);
  assert_int_equal(world.gone, 0);
  tg_buf_free(&heard);
  close(fd);
}

static void a_head_alone_is_all_that_head_gets(void **state)
{
  (void)state;
  struct tg_buf heard = {0};
  int fd = dial("HEAD /live HTTP/1.1\r\n\r\n");
  wait_for(hear(fd, &heard));
  assert_int_equal(world.heads, 1);
  assert_int_equal(world.count, 0);
  assert_memory_equal(heard.data + heard.length - 4, "\r\n\r\n", 4);
  tg_buf_free(&heard);
  close(fd);
}

static void whoever_goes_is_reported(void **state)
{
  (void)state;
  struct linger reset = {1, 0};
  int polite = dial(STREAM), rude = dial(STREAM);
  wait_for(world.count == 2);
  close(polite);
  wait_for(world.gone == 1);
  setsockopt(rude, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(rude);
  wait_for(world.gone == 2);
  assert_int_equal(world.count, 0);
}

/* Pieces are whole: the one that does not fit any more waits, and what comes meanwhile is not taken. */
static void whoever_does_not_read_gets_no_more(void **state)
{
  (void)state;
  struct tg_buf heard = {0};
  char *piece = tg_alloc(PIECE);
  memset(piece, 'x', PIECE);
  int fd = dial(STREAM);
  wait_for(world.count == 1);
  size_t taken = 0;
  while (tg_respond_more(world.streams[0], piece, PIECE))
    taken += PIECE;
  assert_true(taken < (size_t)256 << 20);
  for (int i = 0; i < 100; i++)
    assert_false(tg_respond_more(world.streams[0], piece, PIECE));
  hear(fd, &heard); /* it reads again: what was taken comes, and then the next */
  wait_for(tg_respond_more(world.streams[0], "the next", 8) || (hear(fd, &heard), false));
  wait_for(has(fd, &heard, "the next"));
  const char *body = (const char *)memmem(heard.data, heard.length, "\r\n\r\n", 4) + 4;
  assert_int_equal(heard.data + heard.length - body, taken + 8);
  tg_buf_free(&heard);
  free(piece);
  close(fd);
}

static void whoever_takes_nothing_for_long_is_closed(void **state)
{
  (void)state;
  char *piece = tg_calloc(1, PIECE);
  int fd = dial(STREAM);
  wait_for(world.count == 1);
  while (tg_respond_more(world.streams[0], piece, PIECE)) {
  }
  wait_for(world.gone == 1);
  free(piece);
  close(fd);
}

int main(void)
{
  setenv("TIDEGATE_HURRY", "60", 1); /* half a minute is half a second */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_is_sent_comes_until_the_end, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_head_alone_is_all_that_head_gets, set_up, tear_down),
      cmocka_unit_test_setup_teardown(whoever_goes_is_reported, set_up, tear_down),
      cmocka_unit_test_setup_teardown(whoever_does_not_read_gets_no_more, set_up, tear_down),
      cmocka_unit_test_setup_teardown(whoever_takes_nothing_for_long_is_closed, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
