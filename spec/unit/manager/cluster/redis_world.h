#pragma once

/* A real Redis on a socket of the test's own, a link to it, and somebody else who has commands done there. */

#include "base/log.h"
#include "manager/cluster/cluster.h"
#include "manager/cluster/link.h"
#include "net/redis.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

struct redis_world {
  uv_loop_t loop;
  uv_timer_t tick;
  char directory[64], path[100];
  const char *more[12]; /* options of the server */
  pid_t server;
  struct tg_redis *other; /* who has commands done */
  bool other_up;
  struct tg_buf said; /* what the last of them was answered */
  struct tg_redis_link *link;
  int ups, downs;
  char run_id[64];
  struct tg_error error; /* of the last down event */
  struct tg_buf posted, answers;
  int answered;
  char refusal[TG_ERROR_MESSAGE_SIZE]; /* of the last call that was answered by an error */
};

static inline void world_tick(uv_timer_t *timer)
{
  (void)timer;
}

/* Turns the loop until the condition holds. */
#define RUN_UNTIL(world, condition)                                                                          \
  do {                                                                                                       \
    tg_ms run_deadline = tg_now() + 20000;                                                                   \
    while (!(condition)) {                                                                                   \
      uv_ref((uv_handle_t *)&(world)->tick);                                                                 \
      uv_run(&(world)->loop, UV_RUN_ONCE);                                                                   \
      uv_unref((uv_handle_t *)&(world)->tick);                                                               \
      if (tg_now() > run_deadline)                                                                           \
        fail_msg("waited in vain for " #condition "; the error is: %s", (world)->error.message);             \
    }                                                                                                        \
  } while (0)

/* ---- the server ---- */

static inline void run_server(struct redis_world *world)
{
  const char *arguments[32] = {"redis-server",   "--port",      "0", "--unixsocket",
                               world->path,      "--save",      "",  "--dir",
                               world->directory, "--databases", "2"};
  int count = 11;
  for (int i = 0; world->more[i]; i++)
    arguments[count++] = world->more[i];
  unlink(world->path);
  world->server = fork();
  assert_true(world->server >= 0);
  if (world->server > 0)
    return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int nowhere = open("/dev/null", O_WRONLY);
  dup2(nowhere, STDOUT_FILENO);
  if (chdir(world->directory) == 0)
    execvp("redis-server", (char *const *)arguments);
  _exit(1);
}

static inline void kill_server(struct redis_world *world)
{
  if (world->server <= 0)
    return;
  kill(world->server, SIGKILL);
  waitpid(world->server, NULL, 0);
  world->server = 0;
}

/* ---- somebody else ---- */

static inline void other_on_up(void *ctx)
{
  struct redis_world *world = ctx;
  world->other_up = true;
}

static inline void other_on_down(void *ctx, const struct tg_error *error)
{
  struct redis_world *world = ctx;
  (void)error;
  world->other_up = false;
}

static inline void write_reply(struct tg_buf *text, const struct tg_redis_reply *reply)
{
  if (reply->kind == TG_REDIS_INTEGER)
    tg_buf_printf(text, "%lld", (long long)reply->integer);
  else if (reply->kind == TG_REDIS_NIL)
    tg_buf_puts(text, "nil");
  else if (reply->kind == TG_REDIS_ARRAY)
    tg_buf_puts(text, "[");
  else
    tg_buf_append(text, reply->text.at, reply->text.length);
  for (size_t i = 0; reply->kind == TG_REDIS_ARRAY && i < reply->count; i++) {
    tg_buf_puts(text, i ? " " : "");
    write_reply(text, &reply->items[i]);
  }
  if (reply->kind == TG_REDIS_ARRAY)
    tg_buf_puts(text, "]");
}

static inline void other_replied(void *ctx, const struct tg_redis_reply *replies, int count,
                                 const struct tg_error *error)
{
  struct redis_world *world = ctx;
  (void)count;
  if (replies)
    write_reply(&world->said, replies);
  else
    tg_buf_puts(&world->said, error->code);
  tg_buf_append(&world->said, "", 1);
}

static inline void connect_other(struct redis_world *world)
{
  if (!world->other_up)
    tg_redis_connect(world->other);
}

static inline void put_words(struct redis_world *world, const char *words)
{
  struct tg_buf *out = tg_redis_out(world->other);
  int count = 1;
  for (const char *at = words; *at; at++)
    count += *at == ' ';
  tg_resp_begin(out, count);
  while (count-- > 0) {
    size_t length = strcspn(words, " ");
    tg_resp_text(out, words, length);
    words += length;
    words += *words == ' ';
  }
}

static inline const char *wait_for_other(struct redis_world *world)
{
  tg_buf_reset(&world->said, 4096);
  tg_redis_send(world->other, 1, other_replied, world);
  RUN_UNTIL(world, world->said.length > 0);
  return world->said.data;
}

/* A command, its words apart by blanks; returns what it is answered. */
static inline const char *command(struct redis_world *world, const char *words)
{
  RUN_UNTIL(world, (connect_other(world), world->other_up));
  put_words(world, words);
  return wait_for_other(world);
}

static inline void expect_ok(struct redis_world *world, const char *words)
{
  assert_string_equal(command(world, words), "OK");
}

/* ---- the link ---- */

static inline void on_link_up(void *ctx, const char *run_id)
{
  struct redis_world *world = ctx;
  assert_true(tg_redis_link_is_up(world->link));
  world->ups++;
  snprintf(world->run_id, sizeof world->run_id, "%s", run_id);
}

static inline void on_link_down(void *ctx, const struct tg_error *error)
{
  struct redis_world *world = ctx;
  assert_false(tg_redis_link_is_up(world->link));
  world->downs++;
  world->error = *error;
}

static inline void on_link_posted(void *ctx, const char *word, const char *body, size_t length)
{
  struct redis_world *world = ctx;
  tg_buf_printf(&world->posted, "%s %.*s\n", word, (int)length, body);
}

static const struct tg_redis_link_events link_events = {on_link_up, on_link_down, on_link_posted};

static inline void open_link(struct redis_world *world, const char *url, const char *ca_file)
{
  struct tg_redis_link_options options = {.loop = &world->loop,
                                          .url = url,
                                          .ca_file = ca_file,
                                          .name = "bot",
                                          .host = "a",
                                          .events = &link_events,
                                          .ctx = world};
  world->link = tg_redis_link_new(&options, &world->error);
  if (!world->link)
    fail_msg("%s", world->error.message);
  tg_redis_link_connect(world->link);
}

/* As that user ("name:password@" or ""). */
static inline void open_as(struct redis_world *world, const char *login)
{
  char url[300];
  snprintf(url, sizeof url, "redis+unix://%s%s", login, world->path);
  open_link(world, url, NULL);
}

static inline void come_up(struct redis_world *world)
{
  int ups = world->ups;
  if (!world->link) {
    command(world, "PING");
    open_as(world, "");
  }
  RUN_UNTIL(world, world->ups > ups);
}

static inline void close_link(struct redis_world *world)
{
  tg_redis_link_free(world->link);
  world->link = NULL;
}

static inline void on_answer(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct redis_world *world = ctx;
  tg_buf_printf(&world->answers, "%.*s\n", text ? (int)length : (int)strlen(error->code),
                text ? text : error->code);
  world->answered++;
  if (!text)
    snprintf(world->refusal, sizeof world->refusal, "%s", error->message);
}

/* A call of the script, with what each call has; `more`: of its own, in the form of json_pack(). */
static inline void call_as(struct redis_world *world, const char *host, const char *name, json_t *more)
{
  json_t *body = json_pack("{s:s, s:i, s:i, s:s}", "host", host, "life", 1, "link", 1, "run", world->run_id);
  json_object_set_new(body, "mark", json_integer(0));
  json_object_update(body, more);
  json_decref(more);
  char *text = json_dumps(body, JSON_COMPACT);
  assert_true(tg_redis_link_call(world->link, name, text, on_answer, world));
  free(text);
  json_decref(body);
}

/* ---- setup ---- */

static inline int world_setup(void **state)
{
  struct redis_world *world = calloc(1, sizeof *world);
  uv_loop_init(&world->loop);
  uv_timer_init(&world->loop, &world->tick);
  uv_timer_start(&world->tick, world_tick, 5, 5);
  uv_unref((uv_handle_t *)&world->tick);
  snprintf(world->directory, sizeof world->directory, "/tmp/tidegate-redis-XXXXXX");
  assert_non_null(mkdtemp(world->directory));
  snprintf(world->path, sizeof world->path, "%s/redis.sock", world->directory);
  char url[200];
  snprintf(url, sizeof url, "redis+unix://%s", world->path);
  world->other = tg_redis_new(&(struct tg_redis_options){.loop = &world->loop,
                                                         .url = url,
                                                         .connect_timeout = 8000,
                                                         .reply_timeout = 15000,
                                                         .on_up = other_on_up,
                                                         .on_down = other_on_down,
                                                         .ctx = world},
                              &world->error);
  assert_non_null(world->other);
  run_server(world);
  *state = world;
  return 0;
}

static inline int world_teardown(void **state)
{
  struct redis_world *world = *state;
  char remove[100];
  tg_redis_link_free(world->link);
  tg_redis_close(world->other);
  uv_close((uv_handle_t *)&world->tick, NULL);
  uv_run(&world->loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&world->loop), 0); /* no handle is left behind */
  kill_server(world);
  snprintf(remove, sizeof remove, "rm -rf %s", world->directory);
  assert_int_equal(system(remove), 0);
  tg_buf_free(&world->said);
  tg_buf_free(&world->posted);
  tg_buf_free(&world->answers);
  free(world);
  return 0;
}

/* The text of a buffer; its memory is the buffer's. */
static inline const char *text_of(struct tg_buf *buf)
{
  *tg_buf_reserve(buf, 1) = '\0';
  return buf->data;
}

#define ASSERT_DOWN(world, error_code, words)                                                                \
  do {                                                                                                       \
    RUN_UNTIL(world, (world)->downs > 0 && strcmp((world)->error.code, error_code) == 0);                    \
    if (!strstr((world)->error.message, words) || strstr((world)->error.message, "geheim"))                  \
      fail_msg("\"%s\" does not say \"%s\"", (world)->error.message, words);                                 \
  } while (0)

static inline bool has_redis(void)
{
  bool has = system("command -v redis-server >/dev/null") == 0;
  if (!has)
    puts("redis-server is not there: nothing is tried with it");
  return has;
}
