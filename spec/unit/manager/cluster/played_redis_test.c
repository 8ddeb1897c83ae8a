/* The link to the cluster's Redis, with one that is played: what a real one does only by chance. */

#include "manager/cluster/link.h"
#include "net/resp.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

enum { CLIENTS = 16 };

struct client {
  uv_tcp_t handle;
  struct tg_resp_reader *reader;
  struct world *world;
  bool open;
};

struct world {
  uv_loop_t loop;
  uv_tcp_t listener;
  int port;
  struct client clients[CLIENTS];
  int count;
  /* What is answered. */
  bool leads_elsewhere; /* each connection has another run id */
  const char *answers;  /* to calls, each ends with '|'; "" or at its end: none yet */
  int loads, calls;     /* SCRIPT LOAD, EVALSHA */
  char asked[512];      /* the names of calls, in their order */
  /* The link. */
  struct tg_redis_link *link;
  int ups, downs;
  struct tg_error error;
  char told[512];
};

#define RUN_UNTIL(world, condition)                                                                          \
  do {                                                                                                       \
    tg_ms run_deadline = tg_now() + 10000;                                                                   \
    while (!(condition)) {                                                                                   \
      uv_run(&(world)->loop, UV_RUN_NOWAIT);                                                                 \
      if (tg_now() > run_deadline)                                                                           \
        fail_msg("waited in vain for " #condition "; the error is: %s", (world)->error.message);             \
    }                                                                                                        \
  } while (0)

/* ---- the server ---- */

static void say(struct client *client, const char *text)
{
  uv_buf_t buf = uv_buf_init((char *)text, (unsigned)strlen(text));
  assert_int_equal(uv_try_write((uv_stream_t *)&client->handle, &buf, 1), (int)strlen(text));
}

static void say_bulk(struct client *client, const char *text)
{
  char reply[400];
  snprintf(reply, sizeof reply, "$%zu\r\n%s\r\n", strlen(text), text);
  say(client, reply);
}

/* The next of the answers to calls. */
static void answer_call(struct client *client, const struct tg_redis_reply *words)
{
  struct world *world = client->world;
  size_t used = strlen(world->asked);
  world->calls++;
  snprintf(world->asked + used, sizeof world->asked - used, "%.*s ", (int)words[4].text.length,
           words[4].text.at);
  size_t length = strcspn(world->answers, "|");
  if (!world->answers[0])
    return;
  char reply[200];
  snprintf(reply, sizeof reply, "%.*s\r\n", (int)length, world->answers);
  world->answers += length + 1;
  say(client, reply);
}

static void answer(struct client *client, const struct tg_redis_reply *words)
{
  struct world *world = client->world;
  char word[32], info[100];
  snprintf(word, sizeof word, "%.*s", (int)words[0].text.length, words[0].text.at);
  if (strcmp(word, "HELLO") == 0) {
    say(client, "*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n");
  } else if (strcmp(word, "INFO") == 0) {
    snprintf(info, sizeof info, "# Server\r\nrun_id:%d\r\nrole:master\r\n",
             world->leads_elsewhere ? (int)(client - world->clients) : 7);
    say_bulk(client, info);
  } else if (strcmp(word, "SCRIPT") == 0) {
    world->loads++;
    say_bulk(client, "sha");
  } else if (strcmp(word, "XREVRANGE") == 0) {
    say(client, "*0\r\n");
  } else if (strcmp(word, "EVALSHA") == 0) {
    answer_call(client, words);
  }
}

static void on_closed(uv_handle_t *handle)
{
  struct client *client = handle->data;
  tg_resp_reader_free(client->reader);
  client->reader = NULL;
}

static void end_client(struct client *client)
{
  if (client->open)
    uv_close((uv_handle_t *)&client->handle, on_closed);
  client->open = false;
}

static void get_room(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
  static char room[64 * 1024];
  (void)handle, (void)size;
  *buf = uv_buf_init(room, sizeof room);
}

static void on_data(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
  struct client *client = stream->data;
  struct tg_redis_reply command;
  struct tg_error error;
  if (length < 0) {
    end_client(client);
    return;
  }
  assert_true(tg_resp_feed(client->reader, buf->base, (size_t)length, &error));
  while (client->open && tg_resp_next(client->reader, &command, &error) > 0) {
    answer(client, command.items);
    tg_resp_reset(client->reader);
  }
}

static void on_client(uv_stream_t *listener, int status)
{
  struct world *world = listener->data;
  assert_int_equal(status, 0);
  assert_true(world->count < CLIENTS);
  struct client *client = &world->clients[world->count++];
  *client = (struct client){.reader = tg_resp_reader_new(), .world = world, .open = true};
  uv_tcp_init(&world->loop, &client->handle);
  client->handle.data = client;
  assert_int_equal(uv_accept(listener, (uv_stream_t *)&client->handle), 0);
  uv_read_start((uv_stream_t *)&client->handle, get_room, on_data);
}

/* ---- the link ---- */

static void on_up(void *ctx, const char *run_id)
{
  struct world *world = ctx;
  assert_string_equal(run_id, "7");
  world->ups++;
}

static void on_down(void *ctx, const struct tg_error *error)
{
  struct world *world = ctx;
  world->downs++;
  world->error = *error;
}

static const struct tg_redis_link_events events = {.up = on_up, .down = on_down};

static void on_answer(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct world *world = ctx;
  size_t used = strlen(world->told);
  snprintf(world->told + used, sizeof world->told - used, "%.*s ",
           text ? (int)length : (int)strlen(error->code), text ? text : error->code);
}

static void call(struct world *world, const char *name)
{
  assert_true(tg_redis_link_call(world->link, name, "{}", on_answer, world));
}

static int setup(void **state)
{
  struct world *world = calloc(1, sizeof *world);
  struct sockaddr_in address;
  struct sockaddr_storage bound;
  int size = sizeof bound;
  uv_loop_init(&world->loop);
  uv_tcp_init(&world->loop, &world->listener);
  world->listener.data = world;
  uv_ip4_addr("127.0.0.1", 0, &address);
  assert_int_equal(uv_tcp_bind(&world->listener, (const struct sockaddr *)&address, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&world->listener, 8, on_client), 0);
  uv_tcp_getsockname(&world->listener, (struct sockaddr *)&bound, &size);
  world->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
  world->answers = "";
  char url[64];
  snprintf(url, sizeof url, "redis://127.0.0.1:%d", world->port);
  world->link = tg_redis_link_new(
      &(struct tg_redis_link_options){
          .loop = &world->loop, .url = url, .name = "bot", .host = "a", .events = &events, .ctx = world},
      &world->error);
  assert_non_null(world->link);
  *state = world;
  return 0;
}

static int teardown(void **state)
{
  struct world *world = *state;
  tg_redis_link_free(world->link);
  uv_close((uv_handle_t *)&world->listener, NULL);
  for (int i = 0; i < world->count; i++)
    end_client(&world->clients[i]);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0);
  free(world);
  return 0;
}

static void come_up(struct world *world)
{
  tg_redis_link_connect(world->link);
  RUN_UNTIL(world, world->ups == 1);
}

/* ---- what is tried ---- */

static void does_not_come_up_between_two(void **state)
{
  struct world *world = *state;
  world->leads_elsewhere = true; /* as behind a balancer, or in the midst of a failover */
  tg_redis_link_connect(world->link);
  RUN_UNTIL(world, world->downs == 1);
  assert_string_equal(world->error.code, "other");
  assert_int_equal(world->ups, 0);
  world->leads_elsewhere = false;
  RUN_UNTIL(world, world->ups == 1);
}

static void repeats_all_that_were_not_done(void **state)
{
  struct world *world = *state;
  come_up(world);
  world->answers = "-NOSCRIPT No matching script.|-NOSCRIPT No matching script.|";
  call(world, "one");
  call(world, "two");
  RUN_UNTIL(world, world->calls == 2);
  RUN_UNTIL(world, world->calls == 4); /* none of these is answered */
  call(world, "three");
  RUN_UNTIL(world, world->calls == 5);
  assert_string_equal(world->asked, "one two one two three ");
  assert_int_equal(world->loads, 2);
  assert_string_equal(world->told, "");
  assert_int_equal(world->downs, 0);
}

/* Another host has given the script to it again, behind the first call. */
static void ends_where_order_is_lost(void **state)
{
  struct world *world = *state;
  come_up(world);
  world->answers = "-NOSCRIPT No matching script.|$2\r\n{}|";
  call(world, "one");
  call(world, "two");
  RUN_UNTIL(world, world->downs == 1);
  assert_string_equal(world->error.code, "noscript");
  assert_string_equal(world->told, "noscript noscript ");
}

static void takes_no_answer_but_a_text(void **state)
{
  struct world *world = *state;
  come_up(world);
  world->answers = "$-1|-ERR user_script:7: attempt to index a nil value|$2\r\n{}|";
  call(world, "one");
  call(world, "two");
  call(world, "three");
  RUN_UNTIL(world, strstr(world->told, "{}"));
  assert_string_equal(world->told, "protocol err {} ");
  assert_int_equal(world->downs, 0); /* who has called decides */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(does_not_come_up_between_two),
      TEST(repeats_all_that_were_not_done),
      TEST(ends_where_order_is_lost),
      TEST(takes_no_answer_but_a_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
