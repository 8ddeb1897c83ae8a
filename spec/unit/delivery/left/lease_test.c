/* A lane sends only while this host has its shard for sure. */

#include "unit/delivery/left/clustered_world.h"

static void nothing_begins_when_the_lease_is_over(void **state)
{
  (void)state;
  hold(3, (tg_ms)now + 1000);
  deliver(3, "TYPING_START", "{}");
  deliver(3, "TYPING_START", "{}");
  deliver(3, "TYPING_START", "{}");
  answer(expect_key("3.7.1"), 204);
  advance(1001);
  answer(expect_key("3.7.2"), 204); /* what is in flight is answered for */
  assert_int_equal(open_posts, 0);
  deliver(3, "TYPING_START", "{}");
  deliver(4, "TYPING_START", "{}");
  advance(20000);
  answer(expect_key("4.7.1"), 204); /* others go on */
  assert_int_equal(open_posts, 0);
  hold(3, (tg_ms)now + 1000);
  advance(TG_LEASE_LOOK);
  answer(expect_key("3.7.3"), 204);
  answer(expect_key("3.7.4"), 204);
  assert_int_equal(open_posts, 0);
}

static void an_event_that_comes_while_it_is_over_waits(void **state)
{
  (void)state;
  hold(3, (tg_ms)now);
  deliver(3, "TYPING_START", "{}");
  end_turn();
  assert_int_equal(open_posts, 0);
  assert_int_equal(tg_delivery_settled(delivery, 3), 1); /* it is in the log */
  hold(3, INT64_MAX);
  advance(TG_LEASE_LOOK);
  answer(expect_key("3.7.1"), 204);
}

/* A parcel that waits for room, or for a handler that is down, is looked at when its turn comes. */
static void its_turn_comes_too_late(void **state)
{
  (void)state;
  hold(3, (tg_ms)now + 10);
  deliver(3, "TYPING_START", "{}");
  fail_with(expect_key("3.7.1"), "refused");
  advance(60000);
  assert_int_equal(open_posts, 0);
  hold(3, INT64_MAX);
  advance(60000);
  answer(expect_key("3.7.1"), 204);
}

static void interactions_are_not_answered_either(void **state)
{
  (void)state;
  config.interaction.fallback = true;
  set_urls("http://bot/", NULL);
  hold(3, (tg_ms)now);
  deliver(3, "INTERACTION_CREATE", "{\"id\":\"175928847299117063\",\"type\":2,\"token\":\"tok-en\"}");
  end_turn();
  advance(2000);
  assert_int_equal(open_posts, 0);
  hold(3, INT64_MAX);
  advance(TG_LEASE_LOOK);
  assert_int_equal(open_posts, 2); /* the event, and the answer in the bot's place */
  answer(expect_key("3.7.1"), 204);
}

static void express_ones_wait_as_well(void **state)
{
  (void)state;
  config.interaction.express = true;
  hold(3, (tg_ms)now + 100);
  deliver(3, "TYPING_START", "{}");
  advance(200);
  deliver(3, "INTERACTION_CREATE", "{\"id\":\"175928847299117063\",\"type\":2,\"token\":\"tok-en\"}");
  answer(expect_key("3.7.1"), 204);
  assert_int_equal(open_posts, 0);
  hold(3, INT64_MAX);
  advance(TG_LEASE_LOOK);
  answer(expect_key("3.7.2"), 204);
}

/* --- a shard on its way to another host ----------------------------------------------- */

static void what_is_let_go_sends_nothing(void **state)
{
  (void)state;
  deliver(3, "TYPING_START", "{}");
  deliver(3, "TYPING_START", "{}");
  tg_delivery_withhold(delivery, 3);
  assert_true(tg_delivery_is_busy(delivery, 3));
  answer(expect_key("3.7.1"), 204);
  assert_false(tg_delivery_is_busy(delivery, 3));
  deliver(3, "TYPING_START", "{}");
  advance(60000);
  assert_int_equal(open_posts, 0);
  tg_delivery_go_on(delivery, 3);
  advance(0);
  answer(expect_key("3.7.2"), 204);
  answer(expect_key("3.7.3"), 204);
}

static void what_is_in_flight_is_taken_back(void **state)
{
  (void)state;
  config.event_handler.batch = TG_BATCH_USUAL;
  config.interaction.express = true;
  deliver(3, "TYPING_START", "{}");
  deliver(3, "TYPING_START", "{}");
  deliver(3, "INTERACTION_CREATE", "{\"id\":\"175928847299117063\",\"type\":2,\"token\":\"tok-en\"}");
  expect_key("3.7.1");
  expect_key("3.7.3");
  tg_delivery_withhold(delivery, 3);
  tg_delivery_take_back(delivery, 3);
  assert_int_equal(open_posts, 0); /* cancelled */
  assert_false(tg_delivery_is_busy(delivery, 3));
  advance(60000);
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[3].queued_events), 3);
  tg_delivery_go_on(delivery, 3);
  advance(0);
  answer(expect_key("3.7.1"), 204); /* the batch that it was, as long as nobody has said more of it */
  answer(expect_key("3.7.2-3"), 204);
  assert_int_equal(value(&rows[3].queued_events), 0);
  assert_int_equal(value(&rows[3].delivered), 3);
}

/* One that waits to be sent again does not wait longer for having been let go meanwhile. */
static void a_lane_that_waits_is_let_go(void **state)
{
  (void)state;
  deliver(3, "TYPING_START", "{}");
  answer_later(expect_key("3.7.1"), 429, 30000);
  tg_delivery_withhold(delivery, 3);
  assert_false(tg_delivery_is_busy(delivery, 3));
  tg_delivery_take_back(delivery, 3);
  advance(60000);
  assert_int_equal(open_posts, 0);
  tg_delivery_go_on(delivery, 3);
  advance(0);
  answer(expect_key("3.7.1"), 204);
}

/* --- posts of scripts ------------------------------------------------------------------ */

static int posted_count;
static char posted_code[TG_ERROR_CODE_SIZE];

static void on_posted(void *ctx, const struct tg_answer *answer, int delivered)
{
  (void)ctx, (void)delivered;
  posted_count++;
  snprintf(posted_code, sizeof posted_code, "%s", answer ? answer->error.code : "");
}

static struct tg_post *post(int shard_id)
{
  struct tg_event event;
  make_event(&event, shard_id, 1, "{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}");
  return tg_delivery_post(delivery, NULL, &event, 1, on_posted, NULL);
}

static void posts_of_scripts_fail(void **state)
{
  (void)state;
  posted_count = 0;
  hold(3, (tg_ms)now);
  assert_null(post(3));
  assert_int_equal(posted_count, 1);
  assert_string_equal(posted_code, "unavailable");
  hold(3, INT64_MAX);
  assert_non_null(post(3));
  assert_true(tg_delivery_is_busy(delivery, 3));
  tg_delivery_withhold(delivery, 3);
  tg_delivery_take_back(delivery, 3);
  assert_int_equal(posted_count, 2);
  assert_string_equal(posted_code, "unavailable");
  assert_int_equal(open_posts, 0);
}

/* It waits until the window has room, and the lease has run out by then. */
static void a_post_that_waits_is_not_sent(void **state)
{
  (void)state;
  posted_count = 0;
  for (int shard = 5; open_posts == shard - 5; shard++)
    deliver(shard, "TYPING_START", "{}");
  hold(4, (tg_ms)now + 10);
  assert_non_null(post(4));
  assert_int_equal(open_key("4.7.1"), -1);
  advance(20);
  answer(expect_key("5.7.1"), 204);
  assert_int_equal(open_key("4.7.1"), -1);
  assert_int_equal(posted_count, 1);
  assert_string_equal(posted_code, "unavailable");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      CLUSTERED(nothing_begins_when_the_lease_is_over),
      CLUSTERED(an_event_that_comes_while_it_is_over_waits),
      CLUSTERED(its_turn_comes_too_late),
      CLUSTERED(interactions_are_not_answered_either),
      CLUSTERED(express_ones_wait_as_well),
      CLUSTERED(what_is_let_go_sends_nothing),
      CLUSTERED(what_is_in_flight_is_taken_back),
      CLUSTERED(a_lane_that_waits_is_let_go),
      CLUSTERED(posts_of_scripts_fail),
      CLUSTERED(a_post_that_waits_is_not_sent),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
