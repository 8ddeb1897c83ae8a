/* Commands from host to host, by a real Redis. */

#include "post_world.h"

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

/* While the number of shards is changed: it goes with its class. */
static void asks_who_has_the_class_of_a_new_shard(void **state)
{
  struct post_world *world = *state;
  for (int i = 0; i < SHARDS; i++)
    give(world, i, i == 2 ? "c" : "b");
  ask_of(world, A, NEW_SHARD, "one", 0);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"c\"}\n");
  assert_int_equal(world->hosts[B].done.length, 0);
}

static void asks_who_leads(void **state)
{
  struct post_world *world = *state;
  let_lead(world, "b");
  ask_leader(world, A);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"b\"}\n");
  ask_leader(world, B); /* itself */
  ASSERT_SAYS(wait_for_reply(world), "\n{\"by\":\"b\"}\n");
  let_lead(world, "c");
  world->hosts[C].code = "bad_argument";
  ask_leader(world, B);
  ASSERT_SAYS(wait_for_reply(world), "bad_argument: it is bad_argument\n");
  assert_string_equal(text_of(&world->hosts[B].done), "[{\"to\":8}]\n[{\"to\":8}]\n");
  let_lead(world, NULL);
  ask_leader(world, A);
  ASSERT_SAYS(
      wait_for_reply(world),
      "no_holder: the lead of the cluster is nobody's at the moment: no host of the cluster has had it");
  kill_server(world->redis);
  RUN_UNTIL(world->redis, !world->hosts[A].is_up);
  ask_leader(world, A);
  ASSERT_SAYS(
      wait_for_reply(world),
      "redis_away: the cluster's leader is to do it, and the cluster's Redis, by which hosts are asked, "
      "is away\n");
  run_server(world->redis);
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

/* Whether Redis has heard it is not known then: it is asked again, and done once. */
static void asks_again_after_a_break(void **state)
{
  struct post_world *world = *state;
  for (int i = 0; i < 10; i++) {
    int replied = world->replied;
    ask_of(world, A, 2, "one", 0);
    if (i % 2) /* it has been written */
      uv_run(&world->redis->loop, UV_RUN_NOWAIT);
    tg_redis_link_break(world->hosts[A].link, "for a try");
    RUN_UNTIL(world->redis, world->replied > replied);
  }
  const char *done = text_of(&world->hosts[B].done);
  int count = 0;
  for (; (done = strchr(done, '\n')); done++)
    count++;
  assert_int_equal(count, 10);
  assert_int_equal(world->replied, 10);
  assert_null(strstr(text_of(&world->replies), "redis_away"));
}

static void says_that_it_is_not_known(void **state)
{
  struct post_world *world = *state;
  stop(&world->hosts[B]);
  ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, waiting_for(world, "b") >= 1);
  RUN_UNTIL(world->redis, script_calls(world) > 0); /* and that is known */
  int before = script_calls(world);
  RUN_UNTIL(world->redis, script_calls(world) > before + 1);
  kill_server(world->redis);
  RUN_UNTIL(world->redis, !world->hosts[A].is_up);
  run_server(world->redis);
  let_in(&world->hosts[A], true);
  ASSERT_SAYS(wait_for_reply(world),
              "redis_away: shard 2 is another host's: the cluster's Redis is another one");
}

static void gives_up_a_host_that_says_nothing(void **state)
{
  struct post_world *world = *state;
  world->hosts[B].is_silent = true;
  ask_of(world, A, 2, "one", 300);
  ASSERT_SAYS(wait_for_reply(world),
              "timeout: shard 2 is host \"b\"'s, which has begun, and not answered for");
  answer(&world->hosts[B], world->hosts[B].waiting, world->hosts[B].waiting_ctx);
  world->hosts[B].waiting = NULL;
  world->hosts[B].is_silent = false;
  ask_of(world, A, 2, "two", 0);
  ASSERT_SAYS(wait_for_reply(world), "\n{\"by\":\"b\"}\n"); /* the late one is passed by */
  assert_int_equal(world->replied, 2);
  assert_string_equal(text_of(&world->hosts[B].done), "[2,\"one\",300]\n[2,\"two\",0]\n");
}

/* What nobody has begun in time nobody does afterwards. */
static void withdraws_what_nobody_has_begun(void **state)
{
  struct post_world *world = *state;
  stop(&world->hosts[B]);
  ask_of(world, A, 2, "one", 300);
  ASSERT_SAYS(wait_for_reply(world),
              "timeout: shard 2 is host \"b\"'s, which has not begun what was asked for");
  let_in(&world->hosts[B], true);
  ask_of(world, A, 2, "two", 0);
  ASSERT_SAYS(wait_for_reply(world), "\n{\"by\":\"b\"}\n");
  assert_string_equal(text_of(&world->hosts[B].done), "[2,\"two\",0]\n");
}

/* ---- moves ---- */

static void goes_after_a_shard(void **state)
{
  struct post_world *world = *state;
  struct host *a = &world->hosts[A], *b = &world->hosts[B], *c = &world->hosts[C];
  stop(b);
  ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, waiting_for(world, "b") >= 1);
  stop(a); /* so that it is b that sends it on */
  give(world, 2, "c");
  let_in(b, true);
  RUN_UNTIL(world->redis, c->done.length > 0);
  let_in(a, true);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"c\"}\n");
  assert_int_equal(b->done.length, 0);
  assert_string_equal(text_of(&c->done), "[2,\"one\",0]\n");
}

/* It has died, or stands still: who has its shard by now is asked, and it comes too late itself. */
static void asks_another_when_a_host_dies(void **state)
{
  struct post_world *world = *state;
  struct host *b = &world->hosts[B], *c = &world->hosts[C];
  stop(b);
  for (int i = 0; i < 5; i++)
    ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, waiting_for(world, "b") >= 5);
  give(world, 2, "c");
  RUN_UNTIL(world->redis, world->replied == 5);
  let_in(b, true);
  RUN_UNTIL(world->redis, waiting_for(world, "b") == 1); /* it has read them all */
  ask_of(world, A, 1, "two", 0);
  wait_for_reply(world);
  assert_string_equal(text_of(&b->done), "[1,\"two\",0]\n");
  assert_int_equal(c->done.length, 5 * strlen("[2,\"one\",0]\n"));
}

static void does_not_do_what_comes_late(void **state)
{
  struct post_world *world = *state;
  struct host *a = &world->hosts[A], *b = &world->hosts[B];
  char words[100];
  stop(b);
  ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, waiting_for(world, "b") >= 1);
  stop(a); /* nobody asks again */
  double now = strtod(command(world->redis, "HGET tidegate:{bot}:c now"), NULL);
  snprintf(words, sizeof words, "HSET tidegate:{bot}:c now %.0f", now + 5001); /* as time goes by */
  command(world->redis, words);
  int before = script_calls(world);
  let_in(b, true);
  RUN_UNTIL(world->redis, script_calls(world) > before); /* b has asked whether to begin */
  RUN_UNTIL(world->redis, b->is_up && waiting_for(world, "b") == 1);
  assert_int_equal(b->done.length, 0);
  for (int i = 0; i < SHARDS; i++)
    give(world, i, "b"); /* time has gone by for leases, too */
  let_in(a, true);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"b\"}\n");
  assert_string_equal(text_of(&b->done), "[2,\"one\",0]\n");
}

/* Redis keeps for a while who has begun what, and no longer. */
static void does_not_fill_redis(void **state)
{
  struct post_world *world = *state;
  for (int i = 0; i < 300; i++)
    ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, world->replied == 300);
  assert_string_equal(command(world->redis, "HLEN tidegate:{bot}:calls"), "300");
  char words[100];
  double now = strtod(command(world->redis, "HGET tidegate:{bot}:c now"), NULL);
  snprintf(words, sizeof words, "HSET tidegate:{bot}:c now %.0f", now + 61000);
  command(world->redis, words);
  ask_of(world, A, 2, "two", 0);
  wait_for_reply(world);
  assert_string_equal(command(world->redis, "HLEN tidegate:{bot}:calls"), "1");
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
      "word command body {\"id\":\"1\",\"from\":\"a\"}",
      "word command body {\"id\":\"1\",\"from\":\"a\",\"call\":\"{}\",\"shard\":2,\"hops\":0}",
      "word command body "
      "{\"id\":\"2\",\"from\":\"a\",\"call\":\"{\\\"method\\\":\\\"shutdown\\\",\\\"args\\\":[]}\",\"shard\":"
      "2,"
      "\"hops\":0}",
      "word more body {}",
      "word more body {\"id\":\"1\",\"from\":\"a\",\"part\":3}",
      "word answer body {}",
      "word answer body nothing",
      "word other body {}",
  };
  may_begin(world, "1");
  may_begin(world, "2");
  for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
    char words[400];
    snprintf(words, sizeof words, "XADD tidegate:{bot}:cmd:b * %s", entries[i]);
    command(world->redis, words);
  }
  ask_of(world, A, 2, "one", 0);
  assert_string_equal(wait_for_reply(world), "{\"by\":\"b\"}\n");
  assert_int_equal(world->replied, 1);
  assert_string_equal(text_of(&world->hosts[B].done), "[2,\"one\",0]\n");
}

static void ends_with_all_that_wait(void **state)
{
  struct post_world *world = *state;
  world->hosts[B].is_silent = true;
  ask_of(world, A, 2, "one", 0);
  RUN_UNTIL(world->redis, world->hosts[B].waiting);
  tg_post_end(world->hosts[B].office); /* who has asked hears of it */
  ASSERT_SAYS(wait_for_reply(world), "stopping: the host that was asked is stopping");
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
      TEST(asks_who_has_the_class_of_a_new_shard),
      TEST(asks_who_leads),
      TEST(says_that_nobody_has_it),
      TEST(says_that_redis_is_away),
      TEST(asks_again_after_a_break),
      TEST(says_that_it_is_not_known),
      TEST(gives_up_a_host_that_says_nothing),
      TEST(withdraws_what_nobody_has_begun),
      TEST(goes_after_a_shard),
      TEST(asks_another_when_a_host_dies),
      TEST(does_not_do_what_comes_late),
      TEST(does_not_fill_redis),
      TEST(answers_in_parts),
      TEST(does_not_carry_what_is_too_large),
      TEST(small_answers_come_when_memory_is_full),
      TEST(passes_by_what_makes_no_sense),
      TEST(ends_with_all_that_wait),
  };
  setenv("TIDEGATE_HURRY", "10", 1); /* so long a silence takes otherwise */
  return has_redis() ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
