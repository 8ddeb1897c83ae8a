/* Several sinks: each has its own lanes, log and circuit, and what is durable is the least of them. */

#include "delivery/delivery_internal.h"

#include "unit/delivery/logged_world.h"

static struct tg_sink_config sinks[2];
static char copy[] = "copy", spare[] = "spare";

static void fill(struct tg_sink_config *sink, char *name, const char *url)
{
  *sink = (struct tg_sink_config){.name = name, .handler.timeout = 10000, .queue = config.queue};
  tg_strings_add(&sink->handler.urls, url);
}

static void configure(int count)
{
  fill(&sinks[0], copy, "http://copy/");
  fill(&sinks[1], spare, "http://spare/");
  config.sinks = sinks;
  config.sink_count = count;
}

static void forget(void)
{
  for (int i = 0; i < 2; i++) {
    tg_strings_free(&sinks[i].handler.urls);
    tg_strings_free(&sinks[i].handler.events);
  }
  config.sinks = NULL;
  config.sink_count = 0;
}

static int begin_sinks(void **state)
{
  begin_world(state);
  config.queue.disk_bytes = 8 << 20;
  configure(1);
  tg_delivery_reconfigure(delivery, &config);
  open_log();
  return 0;
}

static int end_sinks(void **state)
{
  int done = end_logged(state);
  forget();
  return done;
}

/* The open request to that URL; -1: there is none. */
static int open_at(const char *url)
{
  for (int i = 0; i < post_count; i++)
    if (posts[i].open && strcmp(posts[i].url, url) == 0)
      return i;
  return -1;
}

static void expect(const char *url, const char *key)
{
  int post = open_at(url);
  assert_int_not_equal(post, -1);
  assert_key(post, key);
  answer(post, 200);
  end_turn();
}

static void an_event_goes_to_each(void **state)
{
  (void)state;
  deliver(3, "MESSAGE_DELETE", "{}");
  end_turn();
  assert_int_equal(tg_delivery_settled(delivery, 3), 1);
  expect("http://bot/", "3.7.1");
  expect("http://copy/", "3.7.1");
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[3].delivered), 2);
  assert_int_equal(value(&rows[3].queued_events), 0);
}

static void one_that_is_down_costs_the_other_nothing(void **state)
{
  (void)state;
  for (int i = 0; i < 50; i++) {
    deliver(3, "MESSAGE_DELETE", "{}");
    end_turn();
    char key[16];
    snprintf(key, sizeof key, "3.7.%d", i + 1);
    expect("http://bot/", key);
    if (open_at("http://copy/") >= 0)
      fail_with(open_at("http://copy/"), "refused");
    advance(100);
  }
  assert_int_equal(value(&rows[3].queued_events), 50);
  assert_int_equal(value(&rows[3].durable_sequence), 50);
  assert_int_equal(value(&rows[3].delivered_sequence), 0); /* the least of both */
}

static void each_has_its_own_events(void **state)
{
  (void)state;
  tg_strings_add(&sinks[0].handler.events, "TYPING_START");
  tg_delivery_reconfigure(delivery, &config);
  deliver(3, "MESSAGE_DELETE", "{}");
  deliver(3, "TYPING_START", "{}");
  end_turn();
  expect("http://bot/", "3.7.1");
  expect("http://bot/", "3.7.2");
  expect("http://copy/", "3.7.2");
  assert_int_equal(open_posts, 0);
  assert_int_equal(tg_delivery_settled(delivery, 3), 2);
}

/* The process has died when one log had the event, and the other had not. */
static void each_log_drops_what_it_has(void **state)
{
  (void)state;
  end_process();
  config.sink_count = 0;
  next_process();
  tg_delivery_adopt_session(delivery, 3, 7, 0);
  for (int i = 0; i < 3; i++)
    deliver(3, "MESSAGE_DELETE", "{}");
  end_process(); /* the bot's log has three events, ... */
  config.sink_count = 1;
  next_process();
  tg_delivery_adopt_session(delivery, 3, 7, 1); /* ... the other one has one, as the row says */
  uint64_t sequence;
  assert_true(tg_delivery_durable(delivery, 3, &sequence));
  assert_int_equal(sequence, 1);
  for (uint64_t s = 2; s <= 4; s++)
    replay(3, s, "{\"t\":\"MESSAGE_DELETE\",\"s\":1,\"op\":0,\"d\":{}}");
  assert_int_equal(tg_delivery_settled(delivery, 3), 1);
  end_turn();
  assert_int_equal(tg_delivery_settled(delivery, 3), 4);
  static const char *const of_bot[] = {"3.7.1", "3.7.2", "3.7.3", "3.7.4"};
  for (int i = 0; i < 4; i++)
    expect("http://bot/", of_bot[i]);
  for (int i = 1; i < 4; i++)
    expect("http://copy/", of_bot[i]);
  assert_int_equal(open_posts, 0);
}

static void one_that_comes_gets_what_comes_next(void **state)
{
  (void)state;
  deliver(3, "MESSAGE_DELETE", "{}");
  end_turn();
  config.sink_count = 2;
  tg_delivery_reconfigure(delivery, &config);
  assert_int_equal(open_posts, 2);
  deliver(3, "MESSAGE_DELETE", "{}");
  assert_int_equal(tg_delivery_settled(delivery, 3), 1);
  end_turn();
  assert_int_equal(tg_delivery_settled(delivery, 3), 2);
  expect("http://spare/", "3.7.2");
  expect("http://copy/", "3.7.1");
  expect("http://copy/", "3.7.2");
  expect("http://bot/", "3.7.1");
  expect("http://bot/", "3.7.2");
}

/* What waits is in its log, and comes when it is there again. */
static void one_that_goes_leaves_its_log(void **state)
{
  (void)state;
  deliver(3, "MESSAGE_DELETE", "{}");
  end_turn();
  config.sink_count = 0;
  tg_delivery_reconfigure(delivery, &config);
  run_closes();
  assert_int_equal(open_at("http://copy/"), -1);
  assert_int_equal(value(&rows[3].queued_events), 1); /* the bot's */
  assert_int_equal(value(&rows[3].dropped), 0);
  assert_non_null(strstr(logged, "the sink \"copy\" is not configured any more: what waits for it stays"));
  expect("http://bot/", "3.7.1");
  deliver(3, "MESSAGE_DELETE", "{}");
  end_turn();
  expect("http://bot/", "3.7.2");
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[3].queued_events), 0);
  assert_int_equal(tg_delivery_settled(delivery, 3), 2);
  config.sink_count = 1;
  now += 10;
  tg_delivery_reconfigure(delivery, &config);
  deliver(3, "MESSAGE_DELETE", "{}");
  end_turn();
  expect("http://copy/", "3.7.1");
  expect("http://copy/", "3.7.3");
  expect("http://bot/", "3.7.3");
}

/* What another sink has in memory alone is waited for by nobody. */
static void one_that_goes_without_a_log_loses_what_waits(void **state)
{
  (void)state;
  config.sink_count = 2;
  sinks[1].queue.durability = TG_DURABILITY_MEMORY;
  tg_delivery_reconfigure(delivery, &config);
  for (int i = 0; i < 3; i++)
    deliver(3, "MESSAGE_DELETE", "{}");
  end_turn();
  config.sink_count = 1;
  tg_delivery_reconfigure(delivery, &config);
  run_closes();
  assert_non_null(strstr(logged, "the sink \"spare\" is not configured any more: what waits for it is lost"));
  assert_int_equal(value(&rows[3].dropped), 3);
  assert_int_equal(value(&tg_stats_sink("spare")->dropped), 3);
  assert_int_equal(value(&rows[3].queued_events), 6); /* of the bot and the copy */
  assert_int_equal(atomic_load(&tg_stats_sink("spare")->up), -1);
}

static void what_is_durable_counts_by_its_kind(void **state)
{
  (void)state;
  end_process();
  config.sink_count = 2;
  sinks[0].queue.durability = TG_DURABILITY_NONE;
  sinks[1].queue.durability = TG_DURABILITY_MEMORY;
  next_process();
  tg_delivery_adopt_session(delivery, 3, 7, 0);
  deliver(3, "MESSAGE_DELETE", "{}");
  assert_int_equal(tg_delivery_settled(delivery, 3), 0);
  end_turn();
  assert_int_equal(tg_delivery_settled(delivery, 3), 1);
  assert_int_not_equal(open_at("http://copy/"), -1);
  expect("http://spare/", "3.7.1");
}

/* --- what was accepted stays in the log for a while --- */

static struct tg_lane *copy_lane(void)
{
  return tg_lane_of(&delivery->sinks[1]->lanes, 3);
}

static uint64_t in_log(void)
{
  struct tg_log_figures figures;
  tg_event_log_shard_figures(delivery->sinks[1]->lanes.logs.own->log, 3, &figures);
  return figures.events;
}

static void deliver_many(int count)
{
  for (int i = 0; i < count; i++)
    deliver(3, "MESSAGE_DELETE", "{}");
  end_turn();
}

static void expect_copies(int from, int to)
{
  for (int i = from; i <= to; i++) {
    char key[16];
    snprintf(key, sizeof key, "3.7.%d", i);
    expect("http://copy/", key);
  }
}

static void what_is_kept_is_released(void **state)
{
  (void)state;
  delivery->sinks[1]->lanes.keeps = true;
  deliver_many(3);
  expect_copies(1, 2);
  advance(100);
  expect_copies(3, 3);
  assert_int_equal(in_log(), 3);
  assert_int_equal(tg_delivery_settled(delivery, 3), 3);
  assert_int_equal(value(&rows[3].queued_events), 3); /* the bot's */
  tg_lanes_release(&delivery->sinks[1]->lanes, (tg_ms)now - 50);
  assert_int_equal(in_log(), 1);
  assert_true(tg_lanes_keep_some(&delivery->sinks[1]->lanes));
  tg_lanes_release(&delivery->sinks[1]->lanes, (tg_ms)now);
  assert_int_equal(in_log(), 0);
  assert_false(tg_lanes_keep_some(&delivery->sinks[1]->lanes));
}

static void what_the_sink_has_lost_comes_again(void **state)
{
  (void)state;
  delivery->sinks[1]->lanes.keeps = true;
  deliver_many(6);
  expect_copies(1, 2);
  advance(1);
  expect_copies(3, 4);
  fail_with(open_at("http://copy/"), "refused");
  assert_false(tg_lane_rewind(copy_lane(), 7, 4)); /* it has all of them */
  assert_true(tg_lane_rewind(copy_lane(), 7, 2));
  assert_int_equal(copy_lane()->queue.events + copy_lane()->log.spilled_events, 4);
  deliver_many(1);
  advance(1000);
  expect_copies(3, 7);
  assert_int_equal(open_at("http://copy/"), -1);
  assert_int_equal(in_log(), 7);
  tg_lanes_release(&delivery->sinks[1]->lanes, (tg_ms)now);
  assert_int_equal(in_log(), 0);
  assert_int_equal(copy_lane()->log.spilled_events, 0);
}

static void a_process_that_takes_over_sends_again_what_is_kept(void **state)
{
  (void)state;
  delivery->sinks[1]->lanes.keeps = true;
  deliver_many(2);
  expect_copies(1, 2);
  restart();
  tg_delivery_adopt_session(delivery, 3, 7, 2);
  expect_copies(1, 2);
}

#define SINKS(test) cmocka_unit_test_setup_teardown(test, begin_sinks, end_sinks)

int main(void)
{
  const struct CMUnitTest tests[] = {
      SINKS(an_event_goes_to_each),
      SINKS(one_that_is_down_costs_the_other_nothing),
      SINKS(each_has_its_own_events),
      SINKS(each_log_drops_what_it_has),
      SINKS(one_that_comes_gets_what_comes_next),
      SINKS(one_that_goes_leaves_its_log),
      SINKS(one_that_goes_without_a_log_loses_what_waits),
      SINKS(what_is_durable_counts_by_its_kind),
      SINKS(what_is_kept_is_released),
      SINKS(what_the_sink_has_lost_comes_again),
      SINKS(a_process_that_takes_over_sends_again_what_is_kept),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
