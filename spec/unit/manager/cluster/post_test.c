/* Commands from host to host, by a real Redis. */

#include "manager/cluster/post.h"
#include "redis_world.h"

#include "manager/calls.h"

enum { HOSTS = 3, SHARDS = 4, A = 0, B = 1, C = 2 };

struct host {
  const char *name;
  struct redis_world *world;
  struct tg_hooks hooks;
  struct tg_manager_env env;
  struct tg_managed_shard shards[SHARDS];
  struct tg_redis_link *link;
  struct tg_post_office *office;
  bool is_up;
  struct tg_buf done; /* what was done here, a line a call */
  /* How the default answers. */
  size_t size;      /* with a text of so many bytes, if not 0 */
  const char *code; /* with that error */
  bool is_nil, is_silent;
  tg_manager_reply *waiting; /* of the call that was not answered */
  void *waiting_ctx;
};

struct post_world {
  struct redis_world *redis;
  struct host hosts[HOSTS];
  struct tg_buf replies; /* a line each */
  int replied;
  size_t size; /* of the text in the last reply */
};

/* ---- a host ---- */

static void on_up_there(void *ctx, const char *run_id)
{
  struct host *host = ctx;
  (void)run_id;
  host->is_up = true;
  tg_post_up(host->office, host->link);
}

static void on_down_there(void *ctx, const struct tg_error *error)
{
  struct host *host = ctx;
  (void)error;
  host->is_up = false;
}

static void on_posted_there(void *ctx, const char *word, const char *body, size_t length)
{
  struct host *host = ctx;
  tg_post_heard(host->office, word, body, length);
}

static const struct tg_redis_link_events there = {on_up_there, on_down_there, on_posted_there};

static void answer(const struct host *host, tg_manager_reply *reply, void *ctx)
{
  if (host->code) {
    tg_reply_error(reply, ctx, host->code, "it is %s", host->code);
  } else if (host->is_nil) {
    tg_reply_value(reply, ctx, NULL);
  } else if (host->size > 0) {
    char *text = tg_alloc(host->size + 1);
    for (size_t i = 0; i < host->size; i++)
      text[i] = (char)('a' + i % 26);
    memcpy(text, "\xc3\xa4", 2); /* all of it may be cut anywhere */
    text[host->size] = '\0';
    tg_reply_value(reply, ctx, json_string(text));
    free(text);
  } else {
    tg_reply_value(reply, ctx, json_pack("{s:s}", "by", host->name));
  }
}

/* As the defaults of commands/ do: elsewhere, or here. */
static void send_payload_default(void *room, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  struct host *host = room;
  int shard_id = (int)json_integer_value(json_array_get(args, 0));
  tg_ms patience = (tg_ms)json_integer_value(json_array_get(args, 2));
  if (tg_post_elsewhere(host->office, &host->shards[shard_id], TG_METHOD_manager_send_payload, args,
                        patience ? patience : 10000, reply, ctx))
    return;
  char *text = json_dumps(args, JSON_COMPACT);
  tg_buf_printf(&host->done, "%s\n", text);
  free(text);
  host->waiting = reply;
  host->waiting_ctx = ctx;
  if (!host->is_silent)
    answer(host, reply, ctx);
}

static void open_host(struct host *host)
{
  char url[200];
  snprintf(url, sizeof url, "redis+unix://%s:geheim@%s", host->name, host->world->path);
  host->link = tg_redis_link_new(&(struct tg_redis_link_options){.loop = &host->world->loop,
                                                                 .url = url,
                                                                 .name = "bot",
                                                                 .host = host->name,
                                                                 .events = &there,
                                                                 .ctx = host},
                                 &host->world->error);
  tg_redis_link_connect(host->link);
}

static void let_in(struct host *host, bool may)
{
  char words[80];
  snprintf(words, sizeof words, "ACL SETUSER %s %s >geheim ~* +@all", host->name, may ? "on" : "off");
  expect_ok(host->world, words);
}

static void make_host(struct host *host, struct redis_world *world, const char *name)
{
  static const struct tg_default defaults[] = {{TG_METHOD_manager_send_payload, send_payload_default}};
  host->name = name;
  host->world = world;
  let_in(host, true);
  host->env = (struct tg_manager_env){.loop = &world->loop, .hooks = &host->hooks, .clustered = true};
  host->env.calls = tg_calls_new(&host->hooks);
  host->office = host->env.post = tg_post_new(&host->env, name);
  tg_calls_offer(host->env.calls, defaults, 1, host);
  for (int i = 0; i < SHARDS; i++)
    host->shards[i] = (struct tg_managed_shard){.id = i, .ref = i};
  open_host(host);
}

/* Neither hears nor speaks, until it is let in again: its entries wait. */
static void stop(struct host *host)
{
  let_in(host, false);
  tg_redis_link_break(host->link, "for a try");
  RUN_UNTIL(host->world, !host->is_up);
}

/* ---- Redis' record ---- */

static void beat_as(struct post_world *world, int host)
{
  json_t *body = json_pack("{s:s, s:i, s:i, s:s, s:s, s:i, s:s, s:b, s:b, s:[], s:[]}", "host",
                           world->hosts[host].name, "life", 1, "link", 1, "home", "h", "bot", "1", "total",
                           SHARDS, "digest", "d", "draining", 0, "last", 1, "held", "left");
  int answered = world->redis->answered;
  assert_true(tg_redis_link_ask(world->hosts[host].link, "beat", body, on_answer, world->redis));
  RUN_UNTIL(world->redis, world->redis->answered > answered);
}

/* From now on that host has the shard; NULL: nobody. */
static void give(struct post_world *world, int shard, const char *host)
{
  char lease[80];
  double now = strtod(command(world->redis, "HGET tidegate:{bot}:c now"), NULL);
  struct tg_buf *out = tg_redis_out(world->redis->other);
  snprintf(lease, sizeof lease, "7 %.0f 0 %s", now + 1e6, host ? host : "");
  tg_resp_begin(out, host ? 4 : 3);
  tg_resp_string(out, host ? "HSET" : "HDEL");
  tg_resp_string(out, "tidegate:{bot}:lease");
  tg_resp_number(out, shard);
  if (host)
    tg_resp_string(out, lease);
  wait_for_other(world->redis);
}

/* ---- the world ---- */

static int setup(void **state)
{
  struct post_world *world = calloc(1, sizeof *world);
  static const char *const names[] = {"a", "b", "c"};
  void *redis;
  world_setup(&redis);
  world->redis = redis;
  command(world->redis, "PING");
  for (int i = 0; i < HOSTS; i++)
    make_host(&world->hosts[i], world->redis, names[i]);
  RUN_UNTIL(world->redis, world->hosts[A].is_up && world->hosts[B].is_up && world->hosts[C].is_up);
  for (int i = 0; i < HOSTS; i++)
    beat_as(world, i);
  for (int i = 0; i < SHARDS; i++) {
    give(world, i, "b");
    world->hosts[B].shards[i].held = true;
  }
  *state = world;
  return 0;
}

static int teardown(void **state)
{
  struct post_world *world = *state;
  for (int i = 0; i < HOSTS; i++) {
    struct host *host = &world->hosts[i];
    tg_post_end(host->office);
    if (host->is_silent && host->waiting)
      answer(host, host->waiting, host->waiting_ctx); /* comes too late for the office */
    tg_redis_link_free(host->link);
    tg_post_free(host->office);
    tg_calls_end(host->env.calls);
    tg_calls_free(host->env.calls);
    tg_buf_free(&host->done);
  }
  void *redis = world->redis;
  world_teardown(&redis);
  tg_buf_free(&world->replies);
  free(world);
  return 0;
}

/* ---- asking ---- */

static void on_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  struct post_world *world = ctx;
  world->replied++;
  if (error) {
    tg_buf_printf(&world->replies, "%s: %s\n", error->code, error->message);
    return;
  }
  world->size = json_string_length(value);
  char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : tg_strdup("nil");
  tg_buf_printf(&world->replies, "%.200s\n", text);
  free(text);
}

static void ask_of(struct post_world *world, int host, int shard, const char *what, int patience)
{
  json_t *args = json_pack("[i, s, i]", shard, what, patience);
  tg_call(world->hosts[host].env.calls, TG_METHOD_manager_send_payload, args, on_reply, world);
  json_decref(args);
}

static const char *wait_for_reply(struct post_world *world)
{
  int replied = world->replied;
  RUN_UNTIL(world->redis, world->replied > replied);
  return text_of(&world->replies);
}

#define ASSERT_SAYS(text, words)                                                                             \
  do {                                                                                                       \
    const char *said = (text);                                                                               \
    if (!strstr(said, words))                                                                                \
      fail_msg("\"%s\" does not say \"%s\"", said, words);                                                   \
  } while (0)

/* How many entries wait for a host that was stopped. */
static int waiting_for(struct post_world *world, const char *host)
{
  char words[60];
  snprintf(words, sizeof words, "XLEN tidegate:{bot}:cmd:%s", host);
  return atoi(command(world->redis, words));
}

/* ---- there and back ---- */

static void asks_who_has_the_shard(void **state)
{
  struct post_world *world = *state;
  struct host *b = &world->hosts[B];
  ask_of(world, A, 2, "one", 0);
  assert_int_equal(world->replied, 0);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"b\"}\n");
  assert_string_equal(text_of(&b->done), "[2,\"one\",0]\n");
  assert_int_equal(world->hosts[A].done.length, 0);
  ask_of(world, B, 2, "two", 0); /* its own */
  assert_int_equal(world->replied, 2);
  b->is_nil = true;
  ask_of(world, A, 2, "three", 0);
  ASSERT_SAYS(wait_for_reply(world), "\nnil\n");
  b->code = "bad_payload";
  ask_of(world, A, 2, "four", 0);
  ASSERT_SAYS(wait_for_reply(world), "bad_payload: it is bad_payload\n");
  ask_of(world, C, 1, "five", 0);
  ASSERT_SAYS(wait_for_reply(world), "bad_payload: it is bad_payload\n");
  assert_int_equal(world->replied, 5);
}

static int script_calls(struct post_world *world)
{
  const char *at = strstr(command(world->redis, "INFO commandstats"), "cmdstat_evalsha:calls=");
  assert_non_null(at);
  return atoi(strchr(at, '=') + 1);
}

static void keeps_their_order(void **state)
{
  struct post_world *world = *state;
  char what[12];
  int before = script_calls(world);
  give(world, 2, NULL);
  for (int i = 0; i < 20; i++) {
    snprintf(what, sizeof what, "%d", i);
    ask_of(world, A, 2, what, 0);
    if (i == 10) /* the first has been told that nobody has it */
      RUN_UNTIL(world->redis, script_calls(world) > before + 2);
  }
  give(world, 2, "b");
  RUN_UNTIL(world->redis, world->replied == 20);
  const char *at = text_of(&world->hosts[B].done);
  for (int i = 0; i < 20; i++, at = strchr(at, '\n') + 1) {
    snprintf(what, sizeof what, "[2,\"%d\"", i);
    assert_memory_equal(at, what, strlen(what));
  }
}

/* Redis says that the shard is this host's, which does not know it yet: it is about to be. */
static void does_here_what_is_about_to_be_here(void **state)
{
  struct post_world *world = *state;
  give(world, 3, "a");
  ask_of(world, A, 3, "one", 0);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"a\"}\n");
  assert_string_equal(text_of(&world->hosts[A].done), "[3,\"one\",0]\n");
  assert_int_equal(waiting_for(world, "a"), 0);
}

/* ---- nobody, or nobody knows ---- */

static void says_that_nobody_has_it(void **state)
{
  struct post_world *world = *state;
  give(world, 2, NULL);
  ask_of(world, A, 2, "one", 600);
  ASSERT_SAYS(wait_for_reply(world),
              "no_holder: shard 2 is nobody's at the moment: no host of the cluster has had");
  assert_int_equal(world->hosts[B].done.length, 0);
}

static void says_that_redis_is_away(void **state)
{
  struct post_world *world = *state;
  kill_server(world->redis);
  RUN_UNTIL(world->redis, !world->hosts[A].is_up);
  ask_of(world, A, 2, "one", 300);
  ASSERT_SAYS(wait_for_reply(world), "redis_away: shard 2 is another host's, and the cluster's Redis");
  run_server(world->redis);
  for (int i = 0; i < HOSTS; i++)
    let_in(&world->hosts[i], true);
  ask_of(world, A, 2, "two", 15000); /* waits for it */
  RUN_UNTIL(world->redis, world->hosts[A].is_up && world->hosts[B].is_up);
  beat_as(world, A);
  give(world, 2, "b");
  ASSERT_SAYS(wait_for_reply(world), "\n{\"by\":\"b\"}\n");
  assert_string_equal(text_of(&world->hosts[B].done), "[2,\"two\",15000]\n");
}

static void says_that_it_is_not_known(void **state)
{
  struct post_world *world = *state;
  ask_of(world, A, 2, "one", 0);
  tg_redis_link_break(world->hosts[A].link, "for a try");
  ASSERT_SAYS(wait_for_reply(world),
              "redis_away: shard 2 is another host's: it is not known whether it has heard what was asked");
}

static void gives_up_a_host_that_says_nothing(void **state)
{
  struct post_world *world = *state;
  world->hosts[B].is_silent = true;
  ask_of(world, A, 2, "one", 100);
  ASSERT_SAYS(wait_for_reply(world), "timeout: shard 2 is host \"b\"'s, which has not answered for");
  RUN_UNTIL(world->redis, world->hosts[B].waiting);
  answer(&world->hosts[B], world->hosts[B].waiting, world->hosts[B].waiting_ctx);
  world->hosts[B].waiting = NULL;
  world->hosts[B].is_silent = false;
  ask_of(world, A, 2, "two", 0);
  ASSERT_SAYS(wait_for_reply(world), "\n{\"by\":\"b\"}\n"); /* the late one is passed by */
  assert_int_equal(world->replied, 2);
}

/* ---- moves ---- */

static void goes_after_a_shard_once(void **state)
{
  struct post_world *world = *state;
  struct host *b = &world->hosts[B], *c = &world->hosts[C];
  stop(b);
  ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, waiting_for(world, "b") == 1);
  give(world, 2, "c");
  b->shards[2].held = false;
  let_in(b, true);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"c\"}\n");
  assert_int_equal(b->done.length, 0);
  assert_string_equal(text_of(&c->done), "[2,\"one\",0]\n");
}

static void does_not_go_from_host_to_host(void **state)
{
  struct post_world *world = *state;
  struct host *b = &world->hosts[B], *c = &world->hosts[C];
  give(world, 2, "c");
  b->shards[2].held = false;
  stop(c);
  ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, waiting_for(world, "c") == 1);
  give(world, 2, "b");
  stop(b);
  let_in(c, true);
  RUN_UNTIL(world->redis, waiting_for(world, "b") == 1); /* c has sent it on */
  give(world, 2, "c");
  let_in(b, true);
  ASSERT_SAYS(wait_for_reply(world), "moved: the shard goes from host to host; try again");
  assert_int_equal(b->done.length + c->done.length, 0);
}

static void does_not_do_what_comes_late(void **state)
{
  struct post_world *world = *state;
  char words[100];
  stop(&world->hosts[B]);
  ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, waiting_for(world, "b") == 1);
  double now = strtod(command(world->redis, "HGET tidegate:{bot}:c now"), NULL);
  snprintf(words, sizeof words, "HSET tidegate:{bot}:c now %.0f", now + 5001); /* as time goes by */
  command(world->redis, words);
  let_in(&world->hosts[B], true);
  ASSERT_SAYS(wait_for_reply(world), "timeout: the host which has the shard has heard too late");
  assert_int_equal(world->hosts[B].done.length, 0);
}

/* ---- sizes ---- */

static void answers_in_parts(void **state)
{
  struct post_world *world = *state;
  world->hosts[B].size = 5 * 1024 * 1024 + 77;
  ask_of(world, A, 2, "one", 0);
  wait_for_reply(world);
  assert_int_equal(world->size, world->hosts[B].size);
  ask_of(world, A, 2, "two", 0); /* in the midst of which both lose Redis */
  RUN_UNTIL(world->redis, strstr(text_of(&world->hosts[B].done), "two"));
  world->size = 0;
  tg_redis_link_break(world->hosts[B].link, "for a try");
  RUN_UNTIL(world->redis, world->hosts[B].is_up || world->replied == 2);
  tg_redis_link_break(world->hosts[A].link, "for a try");
  RUN_UNTIL(world->redis, world->replied == 2);
  assert_int_equal(world->size, world->hosts[B].size);
}

static void does_not_carry_what_is_too_large(void **state)
{
  struct post_world *world = *state;
  char *large = tg_alloc(300 * 1024);
  memset(large, 'x', 300 * 1024 - 1);
  large[300 * 1024 - 1] = '\0';
  ask_of(world, A, 2, large, 0);
  ASSERT_SAYS(text_of(&world->replies), "too_large: gateway.manager:send_payload: shard 2 is another host's");
  free(large);
  world->hosts[B].size = (128 << 20) + 1;
  ask_of(world, A, 2, "one", 0);
  ASSERT_SAYS(wait_for_reply(world), "too_large: the answer, which another host has, takes over 128 MiB");
}

static void small_answers_come_when_memory_is_full(void **state)
{
  struct post_world *world = *state;
  expect_ok(world->redis, "CONFIG SET maxmemory 1");
  ask_of(world, A, 2, "one", 0);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"b\"}\n");
  world->hosts[B].size = 100 * 1024;
  ask_of(world, A, 2, "two", 0);
  ASSERT_SAYS(wait_for_reply(world), "redis_away: the answer, which another host has, cannot come: Redis at");
}

/* ---- what others write, and the end ---- */

static void passes_by_what_makes_no_sense(void **state)
{
  struct post_world *world = *state;
  static const char *const entries[] = {
      "word command body {}",
      "word command body nothing",
      "word command body {\"id\":\"1\",\"from\":\"a\",\"call\":\"x\"}",
      "word command body "
      "{\"id\":\"1\",\"from\":\"a\",\"call\":\"{}\",\"shard\":2,\"hops\":0,\"deadline\":9e15}",
      "word command body "
      "{\"id\":\"2\",\"from\":\"a\",\"call\":\"{\\\"method\\\":\\\"shutdown\\\",\\\"args\\\":[]}\",\"shard\":"
      "2,"
      "\"hops\":0,\"deadline\":9e15}",
      "word more body {}",
      "word more body {\"id\":\"1\",\"from\":\"a\",\"part\":3}",
      "word answer body {}",
      "word answer body nothing",
      "word other body {}",
  };
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
    char words[400];
    snprintf(words, sizeof words, "XADD tidegate:{bot}:cmd:b * %s", entries[i]);
    command(world->redis, words);
  }
  ask_of(world, A, 2, "one", 0);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"b\"}\n");
  assert_int_equal(world->replied, 1);
}

static void ends_with_all_that_wait(void **state)
{
  struct post_world *world = *state;
  world->hosts[B].is_silent = true;
  ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, world->hosts[B].waiting);
  tg_post_end(world->hosts[B].office); /* who has asked hears of it */
  ASSERT_SAYS(wait_for_reply(world), "stopping: the host which has the shard is stopping");
  give(world, 1, NULL);
  ask_of(world, A, 1, "two", 0);
  ask_of(world, A, 3, "three", 0);
  tg_post_end(world->hosts[A].office);
  assert_int_equal(world->replied, 3);
  ask_of(world, A, 2, "four", 0);
  assert_int_equal(world->replied, 4);
  const char *last = strstr(text_of(&world->replies), "\nstopping");
  assert_non_null(last);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(asks_who_has_the_shard),
      TEST(keeps_their_order),
      TEST(does_here_what_is_about_to_be_here),
      TEST(says_that_nobody_has_it),
      TEST(says_that_redis_is_away),
      TEST(says_that_it_is_not_known),
      TEST(gives_up_a_host_that_says_nothing),
      TEST(goes_after_a_shard_once),
      TEST(does_not_go_from_host_to_host),
      TEST(does_not_do_what_comes_late),
      TEST(answers_in_parts),
      TEST(does_not_carry_what_is_too_large),
      TEST(small_answers_come_when_memory_is_full),
      TEST(passes_by_what_makes_no_sense),
      TEST(ends_with_all_that_wait),
  };
  setenv("TIDEGATE_HURRY", "10", 1); /* so long a silence takes otherwise */
  return has_redis() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
