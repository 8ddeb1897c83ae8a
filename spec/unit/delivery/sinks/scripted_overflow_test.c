/* A script's queue_overflow, and what it may do to queues. */

#include "unit/delivery/fake_script.h"

static void drop_two(void) { assert_int_equal(tg_delivery_queue_drop(delivery, NULL, TG_ALL_SHARDS, 2), 2); }

static enum tg_queue_verdict not_the_first(void *ctx, struct tg_event *event)
{
  (void)ctx;
  deliver(3, "TYPING_START", "{}"); /* a script may queue something while it looks */
  return event->sequence > 2 ? TG_QUEUE_DROP : TG_QUEUE_KEEP;
}

static void walk_and_drop(void) { tg_delivery_queue_walk(delivery, NULL, 0, not_the_first, NULL); }

static void overflow(int events)
{
  config.queue.drop_first.count = 0;
  tg_delivery_reconfigure(delivery, &config);
  deliver(0, "TYPING_START", "{}"); /* in flight */
  config.queue.memory_bytes = (uint64_t)events * tg_queued_size(strlen(posts[0].body));
  for (int i = 1; i <= events; i++)
    deliver(0, "TYPING_START", "{}");
}

static void the_script_decides_what_goes(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_queue_overflow);
  on_overflow = drop_two;
  overflow(8);
  assert_string_equal(calls, "overflow;");
  assert_int_equal(value(&rows[0].dropped), 2);
  answer(0, 200);
  assert_string_equal(posts[1].key, "0.7.4");
  answer(1, 200);
  advance(60000);
  assert_non_null(strstr(logged, "2 by the script or by hand"));
}

static void the_default_decides_what_the_script_leaves(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_queue_overflow);
  overflow(8);
  assert_string_equal(calls, "overflow;");
  assert_int_equal(value(&rows[0].dropped), 1);
}

static void nothing_leaves_a_queue_that_is_looked_at(void **state)
{
  (void)state;
  hook(TG_METHOD_delivery_queue_overflow);
  on_overflow = walk_and_drop;
  overflow(8);
  assert_int_equal(value(&rows[0].dropped), 6);
  assert_int_equal(value(&rows[3].queued_events) + value(&rows[0].queued_events), 8);
  assert_int_equal(value(&rows[3].dropped), 2); /* what is too much in the end is the default's */
}

static void interactions_are_dropped_last(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "INTERACTION_CREATE", "{}");
  for (int i = 0; i < 3; i++)
    deliver(0, "TYPING_START", "{}");
  deliver(1, "TYPING_START", "{}");
  deliver(1, "TYPING_START", "{}");
  assert_int_equal(tg_delivery_queue_next_shard(delivery, NULL, -1), 0);
  assert_int_equal(tg_delivery_queue_next_shard(delivery, NULL, 0), 1);
  assert_int_equal(tg_delivery_queue_next_shard(delivery, NULL, 1), -1);
  assert_int_equal(tg_delivery_queue_drop(delivery, NULL, 0, 3), 3);
  assert_int_equal(value(&rows[0].queued_events), 2); /* what is in flight, and the interaction */
  assert_int_equal(tg_delivery_queue_drop(delivery, NULL, TG_ALL_SHARDS, 10), 2);
  assert_int_equal(value(&rows[0].queued_events), 1);
  assert_int_equal(value(&rows[1].queued_events), 1);
  answer(0, 200);
  answer(1, 200);
}

static void interactions_of_the_fullest_queue_go_after_all_else_of_others(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}"); /* in flight, as is the first one of the other shard */
  for (int i = 0; i < 5; i++)
    deliver(0, "INTERACTION_CREATE", "{}");
  for (int i = 0; i < 3; i++)
    deliver(1, "TYPING_START", "{}");
  assert_int_equal(tg_delivery_queue_drop(delivery, NULL, TG_ALL_SHARDS, 2), 2);
  assert_int_equal(value(&rows[0].queued_events), 6);
  assert_int_equal(value(&rows[1].queued_events), 1);
  assert_int_equal(tg_delivery_queue_drop(delivery, NULL, TG_ALL_SHARDS, 4), 4);
  assert_int_equal(value(&rows[0].queued_events), 2);
  answer(0, 200);
  answer(1, 200);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SCRIPTED(the_script_decides_what_goes),
      SCRIPTED(the_default_decides_what_the_script_leaves),
      SCRIPTED(nothing_leaves_a_queue_that_is_looked_at),
      SCRIPTED(interactions_are_dropped_last),
      SCRIPTED(interactions_of_the_fullest_queue_go_after_all_else_of_others),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
