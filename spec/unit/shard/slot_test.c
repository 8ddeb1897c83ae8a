/* A shard and its slots to identify, with the gateway and the worker played here: the functions of net/dial.h and
 * net/link.h below take the place of the network. */

#include "base/buf.h"
#include "net/dial.h"
#include "proto/close_code.h"
#include "shard/shard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { EPOCH = 1790000000, PATIENCE = 10000 };

static struct {
  char dir[64];
  uv_loop_t loop;
  struct tg_config config;
  struct tg_shard_table *table;
  struct tg_hooks hooks;
  struct tg_buf spare;
  struct tg_shard_env env;
  struct tg_shard_side side;
  struct tg_shard *shard;

  const struct tg_dial_callbacks *dialing; /* NULL: nobody does */
  void *dial_ctx;
  const struct tg_ws_callbacks *callbacks;
  void *ctx;
  bool open;

  int identifies;   /* op 2 */
  int64_t ask;      /* the number of the last one */
  int unused, sent; /* slots */
  uint64_t epoch;   /* of the last session */
} world;

/* ---- in place of the network ---- */

struct tg_dial *tg_dial_begin(struct tg_dialer *dialer, const struct tg_gateway_url *url,
                              const struct tg_dial_callbacks *callbacks, void *ctx)
{
  (void)dialer, (void)url;
  world.dialing = callbacks;
  world.dial_ctx = ctx;
  return (struct tg_dial *)&world;
}

void tg_dial_free(struct tg_dial *dial)
{
  if (dial)
    world.dialing = NULL;
}

void tg_dial_progress(const struct tg_dial *dial, char *text, size_t size)
{
  (void)dial;
  snprintf(text, size, "nothing");
}

void tg_dialer_blame(struct tg_dialer *dialer, const struct tg_address *address)
{
  (void)dialer, (void)address;
}

void tg_link_hand_over(struct tg_link *link, const struct tg_ws_callbacks *callbacks, void *ctx)
{
  (void)link;
  world.callbacks = callbacks;
  world.ctx = ctx;
}

void tg_link_send(struct tg_link *link, const char *text, size_t length)
{
  (void)link;
  world.identifies += memmem(text, length, "\"op\":2", strlen("\"op\":2")) != NULL;
}

void tg_link_close(struct tg_link *link, int code, const char *reason)
{
  (void)link, (void)code, (void)reason;
}

size_t tg_link_unsent(const struct tg_link *link)
{
  (void)link;
  return 0;
}

uint64_t tg_link_received(const struct tg_link *link)
{
  (void)link;
  return 0;
}

void tg_link_free(struct tg_link *link)
{
  if (link)
    world.open = false;
}

void tg_link_trim(struct tg_link *link)
{
  (void)link;
}

/* ---- in place of the worker ---- */

static void on_event(void *owner, struct tg_shard *shard, struct tg_event *event)
{
  (void)owner, (void)shard, (void)event;
}

static void on_session(void *owner, struct tg_shard *shard, uint64_t epoch)
{
  (void)owner, (void)shard;
  world.epoch = epoch;
}

static void on_ask(void *owner, struct tg_shard *shard, int64_t ask)
{
  (void)owner, (void)shard;
  world.ask = ask;
}

static void on_sent(void *owner, struct tg_shard *shard)
{
  (void)owner, (void)shard;
  world.sent++;
}

static void on_unused(void *owner, struct tg_shard *shard)
{
  (void)owner, (void)shard;
  world.unused++;
}

static void on_done(void *owner, struct tg_shard *shard, const char *result, int code)
{
  (void)owner, (void)shard, (void)result, (void)code;
}

static void on_lost(void *owner, struct tg_shard *shard, const char *reason)
{
  (void)owner, (void)shard, (void)reason;
}

/* ---- a world ---- */

static const char *variable(const char *name)
{
  return strcmp(name, "DISCORD_TOKEN") == 0 ? "FAKE.TOKEN" : strcmp(name, "INTENTS") == 0 ? "513" : NULL;
}

static int set_up(void **state)
{
  (void)state;
  struct tg_problems problems;
  struct tg_error error;
  memset(&world, 0, sizeof world);
  strcpy(world.dir, "/tmp/tidegate-slot-XXXXXX");
  if (!mkdtemp(world.dir) || !tg_config_load(NULL, variable, &world.config, &problems))
    return -1;
  world.config.transport_compression = TG_COMPRESSION_NONE;
  world.table = tg_shard_table_open(world.dir, 0, 1, 1, 0, &error);
  uv_loop_init(&world.loop);
  world.env = (struct tg_shard_env){.loop = &world.loop,
                                    .config = &world.config,
                                    .hooks = &world.hooks,
                                    .text = &world.spare,
                                    .gateway_url = "ws://127.0.0.1:8080",
                                    .on_dispatch = on_event,
                                    .on_session = on_session,
                                    .request_identify = on_ask,
                                    .identify_sent = on_sent,
                                    .identify_unused = on_unused,
                                    .identify_done = on_done,
                                    .session_lost = on_lost};
  TAILQ_INIT(&world.env.waiting);
  world.side = (struct tg_shard_side){.total_shards = 1, .table = world.table};
  world.shard = tg_shard_new(&world.env, &world.side, 0);
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_shard_free(world.shard);
  uv_run(&world.loop, UV_RUN_DEFAULT);
  tg_shard_table_close(world.table);
  tg_config_free(&world.config);
  tg_buf_free(&world.spare);
  char path[96];
  snprintf(path, sizeof path, "%s/shards", world.dir);
  unlink(path);
  rmdir(world.dir);
  return uv_loop_close(&world.loop);
}

static void say(const char *text)
{
  world.callbacks->on_data(world.ctx, text, strlen(text));
  world.callbacks->on_message_end(world.ctx);
}

/* Connects as far as HELLO, so that it asks for its slot. Returns the number of that ask. */
static int64_t connect_shard(void)
{
  struct tg_address address = {0};
  int64_t before = world.ask;
  for (tg_ms until = tg_now() + PATIENCE; !world.dialing && tg_now() < until;) {
    tg_shard_start(world.shard); /* as the manager does when a session is lost */
    uv_run(&world.loop, UV_RUN_NOWAIT);
  }
  assert_non_null(world.dialing);
  world.open = true;
  world.dialing->on_open(world.dial_ctx, (struct tg_link *)&world, &address);
  say("{\"op\":10,\"d\":{\"heartbeat_interval\":41250},\"s\":null,\"t\":null}");
  assert_true(world.ask > before);
  return world.ask;
}

static void cut_connection(void)
{
  struct tg_ws_end end = {.code = TG_CLOSE_NONE, .reason = "", .retry_after = -1};
  tg_fail(&end.error, "eof", "the gateway closed the connection");
  world.callbacks->on_end(world.ctx, &end);
}

static void become_ready(void)
{
  say("{\"op\":0,\"s\":1,\"t\":\"READY\",\"d\":{\"session_id\":\"a\",\"resume_gateway_url\":\"wss://gateway\"}}");
}

/* ---- the slot ---- */

static void a_session_begins_with_the_epoch_of_its_grant(void **state)
{
  (void)state;
  tg_shard_allow_identify(world.shard, connect_shard(), tg_now() + PATIENCE, EPOCH);
  assert_true(world.identifies == 1 && world.sent == 1);
  become_ready();
  assert_int_equal(world.epoch, EPOCH);
}

static void epochs_rise_whatever_a_grant_says(void **state)
{
  (void)state;
  tg_shard_allow_identify(world.shard, connect_shard(), tg_now() + PATIENCE, EPOCH);
  become_ready();
  tg_shard_identify(world.shard); /* as a script may want in the midst of a session */
  cut_connection();
  tg_shard_allow_identify(world.shard, connect_shard(), tg_now() + PATIENCE, EPOCH);
  become_ready();
  assert_int_equal(world.epoch, EPOCH + 1);
}

static void a_grant_that_comes_too_late_is_thrown_away(void **state)
{
  (void)state;
  int64_t ask = connect_shard();
  tg_shard_allow_identify(world.shard, ask, tg_now() - 1, EPOCH);
  assert_true(world.identifies == 0 && world.unused == 1);
  assert_true(world.ask > ask); /* it asks for another one */
  tg_shard_allow_identify(world.shard, world.ask, tg_now() + PATIENCE, EPOCH + 1);
  assert_int_equal(world.identifies, 1);
  become_ready();
  assert_int_equal(world.epoch, EPOCH + 1);
}

/* It was on its way when the connection ended; by now the slot may be another shard's. */
static void a_grant_for_an_earlier_connection_is_not_for_this_one(void **state)
{
  (void)state;
  int64_t earlier = connect_shard();
  cut_connection();
  assert_int_equal(world.unused, 1);
  int64_t ask = connect_shard();
  tg_shard_allow_identify(world.shard, earlier, tg_now() + PATIENCE, EPOCH);
  assert_true(world.identifies == 0 && world.unused == 1); /* which would be taken for what it asks now */
  tg_shard_allow_identify(world.shard, ask, tg_now() + PATIENCE, EPOCH + 1);
  assert_true(world.identifies == 1 && world.sent == 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      T(a_session_begins_with_the_epoch_of_its_grant),
      T(epochs_rise_whatever_a_grant_says),
      T(a_grant_that_comes_too_late_is_thrown_away),
      T(a_grant_for_an_earlier_connection_is_not_for_this_one),
  };
#undef T
  setenv("TIDEGATE_HURRY", "1000", 1);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
