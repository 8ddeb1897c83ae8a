/* The gauges of a sink. */

#include "delivery/lanes/lanes.h"

#include "unit/delivery/fake_world.h"

static struct tg_stats_sink *published(void)
{
  tg_delivery_publish(delivery);
  return tg_stats_sink("bot");
}

static void say_what_waits(void **state)
{
  (void)state;
  struct tg_stats_lanes lanes;
  struct tg_stats_sink *bot = published();
  assert_int_equal(bot->queued_events, 0);
  assert_int_equal(bot->oldest_queued_at, 0);
  assert_int_equal(bot->log_bytes, -1);
  assert_int_equal(bot->up, 1);
  deliver(3, "TYPING_START", "{}");
  advance(1000);
  for (int i = 0; i < 4; i++)
    deliver(5, "TYPING_START", "{}");
  published();
  assert_int_equal(bot->queued_events, 5);
  assert_int_equal(bot->queued_bytes, value(&rows[3].queued_bytes) + value(&rows[5].queued_bytes));
  assert_int_equal(bot->memory_bytes, bot->queued_bytes);
  assert_int_equal(bot->oldest_queued_at, atomic_load(&rows[3].oldest_queued_at));
  assert_true(tg_stats_get_lanes(bot, &lanes));
  assert_int_equal(lanes.waiting, 2);
  assert_int_equal(lanes.count, 2);
  assert_int_equal(lanes.list[0].ref, 5);
  assert_int_equal(lanes.list[0].events, 4);
  assert_int_equal(lanes.list[1].ref, 3);
  assert_int_equal(lanes.list[1].events, 1);
  assert_int_equal(lanes.list[1].oldest_queued_at, bot->oldest_queued_at);
  while (open_posts > 0)
    answer(post_count - open_posts, 200);
}

static void tell_where_most_waits_when_there_are_too_many(void **state)
{
  (void)state;
  enum { LANES = TG_STATS_LANES + 20 };
  static struct tg_feed feeds[LANES];
  static struct tg_lane lanes[LANES], *at[LANES + 1];
  struct tg_lanes all = {.at = at, .count = LANES + 1, .stats = tg_stats_sink("bot")};
  struct tg_stats_lanes most;
  for (int i = 0; i < LANES; i++) {
    feeds[i].ref = i;
    lanes[i].feed = &feeds[i];
    lanes[i].queue.events = i % 2 == 0 ? 1 : 0;
    lanes[i].log.spilled_events = 1;
    at[i] = &lanes[i];
  }
  tg_lanes_publish(&all, 1);
  assert_true(tg_stats_get_lanes(all.stats, &most));
  assert_int_equal(most.waiting, LANES);
  assert_int_equal(most.count, TG_STATS_LANES);
  for (int i = 0; i < TG_STATS_LANES; i++) { /* of equal ones in their order */
    bool has_two = i < LANES / 2;
    assert_int_equal(most.list[i].events, has_two ? 2 : 1);
    assert_int_equal(most.list[i].ref, has_two ? 2 * i : 2 * (i - LANES / 2) + 1);
  }
}

static void say_whether_it_is_well(void **state)
{
  (void)state;
  deliver(1, "TYPING_START", "{}");
  answer(the_open_post(), 404);
  assert_int_equal(published()->up, 0);
  set_urls(NULL, NULL);
  tg_delivery_reconfigure(delivery, &config);
  assert_int_equal(published()->up, -1); /* nobody takes events */
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, begin_world, end_world)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_WORLD(say_what_waits),
      IN_WORLD(tell_where_most_waits_when_there_are_too_many),
      IN_WORLD(say_whether_it_is_well),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
