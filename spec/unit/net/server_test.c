/* The server of the control API, with routes that answer now, later or never. */

#include "net/server.h"

#include "base/clock.h"
#include "net/crowd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE = 20000 /* ms */, LARGE = 32 << 20 };

static struct {
  uv_loop_t loop;
  uv_timer_t tick;
  struct tg_server *server;
  struct tg_request *waiting[8]; /* of "/later", in order */
  int waiting_count;
  int handled, gone;
} world;

/* ---- routes ---- */

static bool admit(void *ctx, struct tg_request *request)
{
  (void)ctx;
  if (strcmp(request->path, "/forbidden") != 0)
    return true;
  tg_respond_error(request, 403, "no");
  return false;
}

static void on_gone(struct tg_request *request)
{
  (void)request;
  world.gone++;
}

static void handle(void *ctx, struct tg_request *request)
{
  (void)ctx;
  world.handled++;
  if (strcmp(request->path, "/later") == 0) {
    request->on_gone = on_gone;
    world.waiting[world.waiting_count++] = request;
  } else if (strcmp(request->path, "/large") == 0) {
    char *body = tg_calloc(1, LARGE);
    tg_respond(request, 200, "text/plain", NULL, body, LARGE);
    free(body);
  } else {
    tg_respond(request, 200, "text/plain", "X-More: 1\r\n", request->path, strlen(request->path));
  }
}

static void answer_waiting(const char *text)
{
  struct tg_request *request = world.waiting[0];
  world.waiting_count--;
  memmove(world.waiting, world.waiting + 1, sizeof world.waiting - sizeof *world.waiting);
  tg_respond(request, 200, "text/plain", NULL, text, strlen(text));
}

/* ---- the world ---- */

static void on_tick(uv_timer_t *timer) { (void)timer; }

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

/* ---- clients ---- */

static int dial(void)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  address.sin_port = htons((uint16_t)atoi(strrchr(tg_server_address(world.server), ':') + 1));
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

static void say(int fd, const char *text)
{
  assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
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

#define GET(path) "GET " path " HTTP/1.1\r\n\r\n"

static void answers_come_in_order_however_late(void **state)
{
  (void)state;
  struct tg_buf heard = {0};
  int fd = dial();
  say(fd, GET("/1") GET("/later") GET("/2") GET("/later") GET("/3"));
  wait_for(world.waiting_count == 1);
  assert_int_equal(world.handled, 2); /* the others wait for this one */
  answer_waiting("first");
  wait_for(world.waiting_count == 1);
  answer_waiting("second");
  wait_for(has(fd, &heard, "/3"));
  char *text = tg_buf_take(&heard);
  const char *at = text;
  static const char *const bodies[] = {"\r\n\r\n/1HTTP", "\r\n\r\nfirstHTTP", "\r\n\r\n/2HTTP",
                                       "\r\n\r\nsecondHTTP", "X-More: 1\r\n\r\n/3"};
  for (int i = 0; i < 5; i++) {
    at = strstr(at, bodies[i]);
    assert_non_null(at);
  }
  free(text);
  close(fd);
}

static void a_body_that_is_not_wanted_is_not_waited_for(void **state)
{
  (void)state;
  struct tg_buf heard = {0};
  int fd = dial();
  say(fd, "POST /forbidden HTTP/1.1\r\nContent-Length: 1000\r\n\r\n");
  wait_for(has(fd, &heard, "403 Forbidden"));
  say(fd, "still sending");
  assert_true(has(fd, &heard, "Connection: close"));
  wait_for(hear(fd, &heard));
  assert_int_equal(world.handled, 0);
  tg_buf_free(&heard);
  close(fd);
  /* Without a body the connection goes on. */
  fd = dial();
  say(fd, GET("/forbidden") GET("/1"));
  wait_for(has(fd, &heard, "/1"));
  tg_buf_free(&heard);
  close(fd);
}

static void whoever_vanishes_is_reported_once(void **state)
{
  (void)state;
  struct linger reset = {1, 0};
  int fd = dial();
  say(fd, GET("/later"));
  wait_for(world.waiting_count == 1);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  close(fd);
  wait_for(world.gone == 1);
  assert_null(world.waiting[0]->connection);
  answer_waiting("nobody hears this");
  assert_int_equal(world.gone, 1);
}

static void whoever_only_stops_sending_is_answered(void **state)
{
  (void)state;
  struct tg_buf heard = {0};
  int fd = dial();
  say(fd, GET("/later") GET("/1"));
  shutdown(fd, SHUT_WR);
  wait_for(world.gone == 1);
  answer_waiting("late");
  wait_for(hear(fd, &heard));
  assert_true(has(fd, &heard, "late"));
  assert_true(has(fd, &heard, "/1"));
  tg_buf_free(&heard);
  close(fd);
}

static void an_answer_that_nobody_takes_ends_the_connection(void **state)
{
  (void)state;
  struct tg_buf heard = {0};
  int fd = dial();
  say(fd, GET("/large") GET("/1"));
  wait_for(world.handled == 1);
  int other = dial();
  say(other, GET("/2"));
  wait_for(has(other, &heard, "/2"));
  tg_buf_reset(&heard, 0);
  /* It holds what the kernel took before, and no second answer. */
  tg_ms late = tg_now() + tg_patience(30000) + 500;
  wait_for(tg_now() > late);
  wait_for(hear(fd, &heard));
  assert_true(heard.length < LARGE);
  assert_int_equal(world.handled, 2);
  tg_buf_free(&heard);
  close(fd);
  close(other);
}

static void a_large_answer_arrives(void **state)
{
  (void)state;
  struct tg_buf heard = {0};
  int fd = dial();
  say(fd, GET("/large") "GET /1 HTTP/1.1\r\nConnection: close\r\n\r\n");
  wait_for(hear(fd, &heard));
  assert_true(heard.length > LARGE);
  assert_true(has(fd, &heard, "/1"));
  tg_buf_free(&heard);
  close(fd);
}

static void what_a_client_sends_ahead_is_bounded(void **state)
{
  (void)state;
  struct tg_buf heard = {0};
  int fd = dial(), little = 65536;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
  say(fd, GET("/later"));
  wait_for(world.waiting_count == 1);
  static char many[1 << 16];
  static const char one[] = GET("/x");
  size_t filled = 0;
  while (filled + sizeof one - 1 <= sizeof many) {
    memcpy(many + filled, one, sizeof one - 1);
    filled += sizeof one - 1;
  }
  long sent = 0;
  tg_ms still = tg_now() + 300; /* nothing more goes in */
  while (tg_now() < still) {
    size_t cut = (size_t)sent % filled;
    ssize_t length = send(fd, many + cut, filled - cut, MSG_NOSIGNAL);
    if (length > 0) {
      sent += length;
      still = tg_now() + 300;
    }
    assert_true(sent < 64 << 20);
    uv_run(&world.loop, UV_RUN_NOWAIT);
  }
  answer_waiting("go on");
  long wanted = sent / (long)(sizeof one - 1);
  /* Others have their turn meanwhile. */
  struct tg_buf other_heard = {0};
  int other = dial();
  say(other, GET("/other"));
  wait_for(has(other, &other_heard, "/other"));
  assert_true(world.handled < wanted);
  wait_for(!hear(fd, &heard) && world.handled >= wanted + 2);
  tg_buf_free(&other_heard);
  tg_buf_free(&heard);
  close(other);
  close(fd);
}

/* They have had their answers, hold no place, and do not go. */
static void whoever_stays_after_the_answer_goes_for_others(void **state)
{
  (void)state;
  enum { CLIENTS = 2 * (TG_CLIENTS_MAX + TG_CLIENTS_REFUSED), AT_ONCE = 64 };
  static int fds[CLIENTS];
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  for (int i = 0; i < CLIENTS; i++) {
    fds[i] = dial();
    say(fds[i], "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    if (i % AT_ONCE == AT_ONCE - 1)
      wait_for(world.handled == i + 1);
  }
  struct tg_buf heard = {0};
  wait_for(has(fds[CLIENTS - 1], &heard, "200 OK"));
  tg_buf_free(&heard);
  for (int i = 0; i < CLIENTS; i++)
    close(fds[i]);
}

/* Before another program takes over: the request of one of them is on its way, the other's is not. */
static void who_has_just_come_is_heard_before_a_rest(void **state)
{
  (void)state;
  struct tg_buf heard = {0}, of_idle = {0};
  int idle = dial();
  say(idle, GET("/1"));
  wait_for(has(idle, &of_idle, "/1"));
  tg_ms answered = tg_now();
  wait_for(tg_now() - answered > TG_STANDING_GRACE);
  int fd = dial();
  uv_run(&world.loop, UV_RUN_NOWAIT); /* it is accepted */
  tg_server_rest(world.server, true);
  wait_for(hear(idle, &of_idle));
  assert_false(tg_server_at_rest(world.server));
  say(fd, GET("/2"));
  wait_for(has(fd, &heard, "/2"));
  assert_non_null(memmem(heard.data, heard.length, "Connection: close", 17));
  close(fd);
  wait_for(tg_server_at_rest(world.server));
  close(idle);
  tg_buf_free(&heard);
  tg_buf_free(&of_idle);
}

static void requests_outlive_the_server(void **state)
{
  (void)state;
  int fd = dial();
  say(fd, GET("/later"));
  wait_for(world.waiting_count == 1);
  tg_server_free(world.server);
  world.server = NULL;
  assert_int_equal(world.gone, 0); /* the program ends: routes are not told */
  assert_null(world.waiting[0]->connection);
  answer_waiting("nobody hears this");
  close(fd);
}

static void an_address_in_use_is_said(void **state)
{
  (void)state;
  struct tg_error error = {0};
  struct tg_server_options options = {.loop = &world.loop, .admit = admit, .handle = handle};
  options.listen = tg_server_address(world.server) + strlen("http://");
  assert_null(tg_server_new(&options, &error));
  assert_non_null(strstr(error.message, "address already in use"));
  assert_non_null(strstr(error.message, options.listen));
}

#define SERVER_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
  signal(SIGPIPE, SIG_IGN);
  setenv("TIDEGATE_HURRY", "20", 1);
  const struct CMUnitTest tests[] = {
      SERVER_TEST(answers_come_in_order_however_late),
      SERVER_TEST(a_body_that_is_not_wanted_is_not_waited_for),
      SERVER_TEST(whoever_vanishes_is_reported_once),
      SERVER_TEST(whoever_only_stops_sending_is_answered),
      SERVER_TEST(an_answer_that_nobody_takes_ends_the_connection),
      SERVER_TEST(a_large_answer_arrives),
      SERVER_TEST(what_a_client_sends_ahead_is_bounded),
      SERVER_TEST(whoever_stays_after_the_answer_goes_for_others),
      SERVER_TEST(who_has_just_come_is_heard_before_a_rest),
      SERVER_TEST(requests_outlive_the_server),
      SERVER_TEST(an_address_in_use_is_said),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
