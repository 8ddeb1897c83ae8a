/* Up to where nobody is owed anything of a shard, and from where on it is taken up: exactly. */

#include "unit/delivery/left/clustered_world.h"

static struct tg_sink_config copy;
static char copy_name[] = "copy";

static void add_copy(enum tg_durability durability)
{
  copy = (struct tg_sink_config){.name = copy_name, .handler.timeout = 10000, .queue = config.queue};
  copy.queue.durability = durability;
  tg_strings_add(&copy.handler.urls, "http://copy/");
  config.sinks = &copy;
  config.sink_count = 1;
  tg_delivery_reconfigure(delivery, &config);
}

static int end_cluster(void **state)
{
  int done = end_logged(state);
  tg_strings_free(&copy.handler.urls);
  config.sinks = NULL;
  config.sink_count = 0;
  copy = (struct tg_sink_config){0};
  return done;
}

static void assert_owed(uint64_t epoch, uint64_t sequence)
{
  uint64_t its_epoch, its;
  tg_row_owed(&rows[3], &its_epoch, &its);
  assert_int_equal(its_epoch, epoch);
  assert_int_equal(its, sequence);
}

static int open_at(const char *url)
{
  for (int i = 0; i < post_count; i++)
    if (posts[i].open && strcmp(posts[i].url, url) == 0)
      return i;
  fail_msg("nothing is in flight to %s", url);
  return -1;
}

static void all_that_is_accepted_is_owed_no_more(void **state)
{
  (void)state;
  deliver(3, "TYPING_START", "{}");
  deliver(3, "TYPING_START", "{}");
  assert_owed(7, 0);
  answer(expect_key("3.7.1"), 204);
  assert_owed(7, 1);
  answer(expect_key("3.7.2"), 204);
  assert_owed(7, 2);
  hooks.want[TG_EVENT_TYPING_START] = TG_WANT_DROP; /* by policy */
  deliver(3, "TYPING_START", "{}");
  assert_owed(7, 3);
}

/* A new session begins while the bot has still to get the last events of the one before. */
static void what_an_earlier_session_owes_comes_first(void **state)
{
  (void)state;
  deliver(3, "TYPING_START", "{}");
  deliver(3, "TYPING_START", "{}");
  answer(expect_key("3.7.1"), 204);
  epochs[3] = 9;
  tg_delivery_new_session(delivery, 3, 9);
  assert_owed(7, 1);
  deliver_as(3, 1, "{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}");
  assert_owed(7, 1);
  answer(expect_key("3.7.2"), 204);
  assert_owed(9, 0);
  answer(expect_key("3.9.1"), 204);
  assert_owed(9, 1);
}

static void sinks_with_a_log_are_waited_for(void **state)
{
  (void)state;
  add_copy(TG_DURABILITY_LOG);
  deliver(3, "TYPING_START", "{}");
  answer(open_at("http://bot/"), 204);
  assert_owed(7, 0);
  answer(open_at("http://copy/"), 204);
  assert_owed(7, 1);
}

static void copies_that_may_be_lost_are_not(void **state)
{
  (void)state;
  add_copy(TG_DURABILITY_NONE);
  deliver(3, "TYPING_START", "{}");
  answer(open_at("http://bot/"), 204);
  assert_owed(7, 1);
  answer(open_at("http://copy/"), 204);
}

/* The queue in memory is a window: what is in the log alone is behind it. */
static void what_is_in_the_log_alone_is_owed(void **state)
{
  (void)state;
  config.queue.memory_bytes = 16 * 200;
  for (int i = 0; i < 20; i++)
    deliver(3, "TYPING_START", "{}");
  end_turn();
  for (int i = 1; i <= 20; i++) {
    char key[32];
    assert_owed(7, (uint64_t)i - 1);
    snprintf(key, sizeof key, "3.7.%d", i);
    answer(expect_key(key), 204);
  }
  assert_owed(7, 20);
}

/* --- exactly --------------------------------------------------------------------------- */

/* This host had the session up to 5, another one from there to somewhere, which has delivered up to 3 by what
 * is known: what the log here tells of 4 and 5 is of earlier. */
static void what_the_log_had_before_does_not_count(void **state)
{
  (void)state;
  for (int i = 1; i <= 5; i++) {
    char key[32];
    deliver(3, "TYPING_START", "{}");
    snprintf(key, sizeof key, "3.7.%d", i);
    answer(expect_key(key), 204);
  }
  deliver(4, "TYPING_START", "{}"); /* the log stays */
  restart_clustered();
  tg_delivery_adopt_session(delivery, 3, 7, 3);
  assert_int_equal(tg_delivery_settled(delivery, 3), 3);
  replay(3, 4, "{\"t\":\"TYPING_START\",\"s\":4,\"op\":0,\"d\":{}}");
  assert_owed(7, 3);
  answer(expect_key("3.7.4"), 204);
  assert_owed(7, 4);
}

/* The process has died after it had written events, but not how far it is. */
static void what_waits_counts(void **state)
{
  (void)state;
  deliver(3, "TYPING_START", "{}");
  deliver(3, "TYPING_START", "{}");
  answer(expect_key("3.7.1"), 204);
  restart_clustered();
  tg_delivery_adopt_session(delivery, 3, 7, 0);
  assert_int_equal(tg_delivery_settled(delivery, 3), 2);
  assert_owed(7, 1);
  replay(3, 2, "{\"t\":\"TYPING_START\",\"s\":2,\"op\":0,\"d\":{}}");
  answer(expect_key("3.7.2"), 204);
  assert_int_equal(open_posts, 0);
}

#define SINKS(test) cmocka_unit_test_setup_teardown(test, begin_cluster, end_cluster)

int main(void)
{
  const struct CMUnitTest tests[] = {
      SINKS(all_that_is_accepted_is_owed_no_more),
      SINKS(what_an_earlier_session_owes_comes_first),
      SINKS(sinks_with_a_log_are_waited_for),
      SINKS(copies_that_may_be_lost_are_not),
      SINKS(what_is_in_the_log_alone_is_owed),
      SINKS(what_the_log_had_before_does_not_count),
      SINKS(what_waits_counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
