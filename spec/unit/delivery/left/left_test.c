/* What is left of a shard that another host has got: where it goes, what of it is delivered, and when it is
 * gone. */

#include "unit/delivery/left/left_world.h"

/* --- it goes there -------------------------------------------------------------------------- */

static void nothing_of_it_is_sent_unless_it_is_asked_for(void **state)
{
  (void)state;
  receive(3, 5);
  receive(4, 1);
  take("3.7.1");
  expect_key("3.7.2");
  left(3);
  assert_int_equal(open_key("3.7.2"), -1); /* cancelled */
  advance(60000);
  assert_int_equal(open_posts, 1); /* of the other shard */
  assert_int_equal(value(&rows[3].queued_events), 0);
  tg_delivery_publish(delivery);
  assert_int_equal(value(&tg_stats()->sinks[0].queued_events), 1);
  fill(3, 2, 4);
  take_late(3, 4);
  assert_int_equal(filled.count, 1);
  advance(60000);
  assert_int_equal(open_posts, 1);
  fill(3, 0, 100); /* what is there: 2 and 5 */
  take_late(2, 2);
  take_late(5, 5);
  assert_int_equal(filled.count, 2);
  take("4.7.1");
  assert_int_equal(open_posts, 0);
}

static void the_shard_is_as_new(void **state)
{
  (void)state;
  receive(3, 5);
  left(3);
  come_back(3, 2);
  assert_int_equal(tg_delivery_settled(delivery, 3), 2); /* not what the log has */
  receive(3, 1);
  int post = expect_key("3.7.3");
  assert_null(strstr(posts[post].body, "late"));
  take("3.7.3");
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[3].delivered), 1);
}

static void what_is_void_is_gone(void **state)
{
  (void)state;
  receive(3, 5);
  left(3);
  tg_delivery_void(delivery, 3);
  fill(3, 0, 100);
  assert_int_equal(filled.count, 1);
  assert_int_equal(open_posts, 0);
  restart_clustered();
  fill(3, 0, 100);
  assert_int_equal(filled.count, 2);
  assert_int_equal(open_posts, 0);
}

static void a_hole_with_nothing_in_it_is_filled(void **state)
{
  (void)state;
  fill(3, 0, 100);
  assert_int_equal(filled.count, 1);
  assert_string_equal(filled.code, "");
  receive(3, 2);
  left(3);
  fill(3, 2, 100);
  assert_int_equal(filled.count, 2);
  assert_int_equal(open_posts, 0);
}

/* The shard is not this host's any more, but nobody has come to say so of what waits. */
static void a_hole_may_be_asked_for_before_the_shard_is_left(void **state)
{
  (void)state;
  receive(3, 3);
  take("3.7.1");
  take_lease(3);
  fill(3, 0, 2);
  take_late(2, 2);
  assert_int_equal(filled.count, 1);
  left(3);
  fill(3, 2, 3);
  take_late(3, 3);
  assert_int_equal(filled.count, 2);
}

static void a_hole_that_is_asked_for_twice_is_filled_once(void **state)
{
  (void)state;
  receive(3, 3);
  left(3);
  fill(3, 0, 2);
  fill(3, 0, 2);
  fill(3, 2, 3);
  take_late(1, 2);
  assert_int_equal(filled.count, 2);
  take_late(3, 3);
  assert_int_equal(filled.count, 3);
  fill(3, 0, 2);
  assert_int_equal(filled.count, 4);
  assert_int_equal(open_posts, 0);
}

static void what_is_being_filled_is_not_void(void **state)
{
  (void)state;
  receive(3, 6);
  left(3);
  fill(3, 1, 3);
  fill(3, 4, 5);
  expect_key("3.7.2");
  tg_delivery_void(delivery, 3);
  take_late(2, 3);
  take_late(5, 5);
  assert_int_equal(filled.count, 2);
  fill(3, 0, 100);
  assert_int_equal(filled.count, 3);
  assert_int_equal(open_posts, 0);
}

static void a_hole_waits_for_a_handler_that_is_down(void **state)
{
  (void)state;
  receive(3, 2);
  fail_with(expect_key("3.7.1"), "refused");
  left(3);
  fill(3, 0, 2);
  for (int i = 0; i < 5; i++) {
    for (int k = 0; k < 600 && open_posts == 0; k++)
      advance(100);
    fail_with(expect_key("3.7.1"), "refused");
  }
  assert_int_equal(filled.count, 0);
  for (int k = 0; k < 600 && open_posts == 0; k++)
    advance(100);
  take_late(1, 2);
  assert_int_equal(filled.count, 1);
}

static void the_shard_comes_back_while_a_hole_is_filled(void **state)
{
  (void)state;
  receive(3, 4);
  left(3);
  fill(3, 0, 2);
  expect_key("3.7.1");
  come_back(3, 4);
  receive(3, 2);
  take("3.7.5"); /* beside it */
  take_late(1, 1);
  expect_key("3.7.2");
  left(3); /* and goes again */
  assert_int_equal(open_key("3.7.6"), -1);
  take_late(2, 2);
  assert_int_equal(filled.count, 1);
  fill(3, 5, 6);
  take_late(6, 6);
  assert_int_equal(filled.count, 2);
}

/* It comes back, gets the same events again, and goes again with them not delivered: the first time they were
 * thrown away, since another host had them. */
static void what_was_void_may_be_left_again(void **state)
{
  (void)state;
  receive(3, 4);
  left(3);
  tg_delivery_void(delivery, 3);
  come_back(3, 1);
  receive(3, 3);
  left(3);
  fill(3, 0, 100);
  take_late(2, 4);
  assert_int_equal(filled.count, 1);
}

/* Likewise, but they are still there. */
static void what_is_left_twice_is_delivered_once(void **state)
{
  (void)state;
  receive(3, 4);
  left(3);
  come_back(3, 1);
  receive(3, 5); /* 2 to 6 */
  left(3);
  fill(3, 0, 100);
  take_late(1, 6);
  assert_int_equal(filled.count, 1);
  assert_int_equal(open_posts, 0);
}

static void sessions_are_told_apart(void **state)
{
  (void)state;
  receive(3, 2);
  epochs[3] = 9;
  tg_delivery_new_session(delivery, 3, 9);
  deliver_as(3, 1, "{\"t\":\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}}");
  end_turn();
  left(3);
  const struct tg_hole hole = {{7, 1}, {9, 0}};
  tg_delivery_fill(delivery, 3, &hole, on_filled, NULL);
  advance(0);
  take_late(2, 2);
  assert_int_equal(filled.count, 1);
  const struct tg_hole next = {{9, 0}, {9, 5}};
  tg_delivery_fill(delivery, 3, &next, on_filled, NULL);
  advance(0);
  take("3.9.1");
  assert_int_equal(filled.count, 2);
}

static void batches_are_late_as_a_whole(void **state)
{
  (void)state;
  config.event_handler.batch = TG_BATCH_USUAL;
  receive(3, 4);
  left(3);
  fill(3, 0, 3);
  int post = expect_key("3.7.1-3");
  assert_string_equal(posts[post].body, "[{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":"
                                        "\"TYPING_START\",\"s\":1,\"op\":0,\"d\":{}},\"late\":true},"
                                        "{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":"
                                        "\"TYPING_START\",\"s\":2,\"op\":0,\"d\":{}},\"late\":true},"
                                        "{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":"
                                        "\"TYPING_START\",\"s\":3,\"op\":0,\"d\":{}},\"late\":true}]");
  answer(post, 204);
  advance(0);
  assert_int_equal(filled.count, 1);
}

/* --- interactions --------------------------------------------------------------------------- */

static void nobody_answers_an_interaction_that_is_left(void **state)
{
  (void)state;
  config.interaction.fallback = config.interaction.express = true;
  receive(3, 1);
  deliver(3, "INTERACTION_CREATE", "{\"id\":\"175928847299117063\",\"type\":2,\"token\":\"tok-en\"}");
  end_turn();
  assert_int_equal(open_posts, 2); /* it has passed the one in front of it */
  left(3);
  assert_int_equal(open_posts, 0);
  advance(5000);
  assert_int_equal(open_posts, 0);
  restart_clustered(); /* nor does the next process */
  advance(5000);
  assert_int_equal(open_posts, 0);
  fill(3, 0, 2);
  take_late(1, 2);
  assert_int_equal(filled.count, 1);
}

/* --- several sinks ---------------------------------------------------------------------------------- */

static struct tg_sink_config copy;
static char copy_name[] = "copy";

static int open_at(const char *url)
{
  for (int i = 0; i < post_count; i++)
    if (posts[i].open && strcmp(posts[i].url, url) == 0)
      return i;
  return -1;
}

static void each_sink_has_its_own(void **state)
{
  (void)state;
  copy = (struct tg_sink_config){.name = copy_name, .handler.timeout = 10000, .queue = config.queue};
  tg_strings_add(&copy.handler.urls, "http://copy/");
  config.sinks = &copy;
  config.sink_count = 1;
  tg_delivery_reconfigure(delivery, &config);
  receive(3, 2);
  answer(open_at("http://bot/"), 204); /* the bot has the first, the copy none */
  left(3);
  assert_int_equal(open_posts, 0);
  fill(3, 0, 100);
  assert_int_equal(open_posts, 2);
  int post = open_at("http://bot/");
  assert_string_equal(posts[post].key, "3.7.2");
  answer(post, 204);
  advance(0);
  for (int i = 1; i <= 2; i++) {
    assert_int_equal(filled.count, 0);
    post = open_at("http://copy/");
    assert_true(post >= 0);
    answer(post, 204);
    advance(0);
  }
  assert_int_equal(filled.count, 1);
  tg_strings_free(&copy.handler.urls);
  config.sinks = NULL;
  config.sink_count = 0;
  tg_delivery_reconfigure(delivery, &config);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      LEFT(nothing_of_it_is_sent_unless_it_is_asked_for),
      LEFT(the_shard_is_as_new),
      LEFT(what_is_void_is_gone),
      LEFT(a_hole_with_nothing_in_it_is_filled),
      LEFT(a_hole_may_be_asked_for_before_the_shard_is_left),
      LEFT(a_hole_that_is_asked_for_twice_is_filled_once),
      LEFT(what_is_being_filled_is_not_void),
      LEFT(a_hole_waits_for_a_handler_that_is_down),
      LEFT(the_shard_comes_back_while_a_hole_is_filled),
      LEFT(what_was_void_may_be_left_again),
      LEFT(what_is_left_twice_is_delivered_once),
      LEFT(sessions_are_told_apart),
      LEFT(batches_are_late_as_a_whole),
      LEFT(nobody_answers_an_interaction_that_is_left),
      LEFT(each_sink_has_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
