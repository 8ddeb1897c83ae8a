/* event_handler.batch: what goes in one request, and what becomes of it. */

#include "unit/delivery/fake_world.h"

#include "delivery/sinks/circuit.h"

static int begin_batches(void **state)
{
  begin_world(state);
  config.event_handler.batch = TG_BATCH_USUAL;
  return 0;
}

/* `count` events of shard 0, behind the one that is sent at once. */
static void pile_up(int count)
{
  deliver(0, "TYPING_START", "{}");
  for (int i = 0; i < count; i++)
    deliver(0, "TYPING_START", "{}");
}

static void assert_post(int number, const char *key)
{
  assert_true(number < post_count);
  assert_string_equal(posts[number].key, key);
}

static int events_in(int number)
{
  json_t *list = json_loads(posts[number].body, 0, NULL);
  assert_true(json_is_array(list));
  int count = (int)json_array_size(list);
  json_decref(list);
  return count;
}

static void one_event_is_a_list_too(void **state)
{
  (void)state;
  deliver(3, "MESSAGE_DELETE", "{ \"id\" : \"1\" }");
  assert_string_equal(posts[0].body, "[{\"shardId\":3,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"MESSAGE_DELETE\",\"s\":1,"
                                     "\"op\":0,\"d\":{ \"id\" : \"1\" }}}]");
  assert_post(0, "3.7.1");
  answer(0, 204);
  assert_int_equal(value(&rows[3].delivered), 1);
}

static void what_has_collected_goes_together(void **state)
{
  (void)state;
  pile_up(3);
  assert_int_equal(events_in(0), 1);
  answer(0, 200);
  assert_post(the_open_post(), "0.7.2-4");
  assert_string_equal(posts[1].body,
                      "[{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":2,\"op\":0,\"d\":{}}},"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":3,\"op\":0,\"d\":{}}},"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":4,\"op\":0,\"d\":{}}}]");
  assert_int_equal(tg_delivery_settled(delivery, 0), 1);
  answer(1, 200);
  assert_int_equal(tg_delivery_settled(delivery, 0), 4);
  assert_int_equal(value(&rows[0].delivered), 4);
  assert_int_equal(value(&rows[0].queued_events), 0);
  assert_int_equal(value(&rows[0].queued_bytes), 0);
  assert_int_equal(open_posts, 0);
}

static void sixty_four_at_most(void **state)
{
  (void)state;
  pile_up(100);
  answer(0, 200);
  assert_post(1, "0.7.2-65");
  assert_int_equal(events_in(1), 64);
  answer(1, 200);
  assert_post(2, "0.7.66-101");
  answer(2, 200);
  assert_int_equal(value(&rows[0].delivered), 101);
}

static void a_quarter_of_a_mebibyte_at_most(void **state)
{
  (void)state;
  char *large = malloc(300 << 10), middle[100 << 10];
  memset(large, 'x', 300 << 10);
  large[0] = large[(300 << 10) - 2] = '"';
  large[(300 << 10) - 1] = '\0';
  memset(middle, 'x', sizeof middle);
  middle[0] = middle[sizeof middle - 2] = '"';
  middle[sizeof middle - 1] = '\0';
  pile_up(1);
  for (int i = 0; i < 3; i++)
    deliver(0, "TYPING_START", middle);
  deliver(0, "TYPING_START", large);
  deliver(0, "TYPING_START", "{}");
  free(large);
  answer(0, 200);
  assert_post(1, "0.7.2-4");
  assert_true(strlen(posts[1].body) <= 256 << 10);
  answer(1, 200);
  assert_post(2, "0.7.5");
  answer(2, 200);
  assert_post(3, "0.7.6"); /* larger than any batch: alone */
  answer(3, 200);
  assert_post(4, "0.7.7");
  answer(4, 200);
}

static void a_batch_that_comes_again_does_not_grow(void **state)
{
  (void)state;
  pile_up(2);
  answer(0, 200);
  for (int i = 0; i < 3; i++) {
    assert_post(the_open_post(), "0.7.2-3");
    char *before = posts[post_count - 1].body;
    deliver(0, "TYPING_START", "{}");
    answer(post_count - 1, 500);
    advance(30000);
    assert_string_equal(posts[the_open_post()].body, before);
  }
  assert_int_equal(value(&rows[0].retried), 6);
  answer(the_open_post(), 200);
  assert_post(the_open_post(), "0.7.4-6");
  answer(the_open_post(), 200);
  assert_int_equal(value(&rows[0].delivered), 6);
}

static void sessions_do_not_mix(void **state)
{
  (void)state;
  pile_up(2);
  epochs[0] = 8;
  next_sequence[0] = 0;
  tg_delivery_new_session(delivery, 0, 8);
  deliver(0, "READY", "{\"guilds\":[]}");
  deliver(0, "TYPING_START", "{}");
  answer(0, 200);
  assert_post(1, "0.7.2-3");
  answer(1, 200);
  assert_post(2, "0.8.1-2");
  answer(2, 200);
}

/* Answers 400 to whatever holds `culprit`, until it is sent alone; returns how many requests that took. */
static int find_culprit(const char *culprit)
{
  int from = post_count - 1;
  for (;;) {
    int post = the_open_post();
    bool guilty = strstr(posts[post].body, culprit) != NULL;
    if (guilty && events_in(post) == 1)
      return post_count - from;
    answer(post, guilty ? 400 : 200);
  }
}

static void a_refused_batch_is_split(void **state)
{
  (void)state;
  for (int culprit = 2; culprit <= 65; culprit += 21) {
    char needle[32], key[32];
    next_sequence[0] = 0;
    epochs[0]++;
    tg_delivery_new_session(delivery, 0, epochs[0]);
    uint64_t delivered = value(&rows[0].delivered), dead = value(&rows[0].dead);
    pile_up(64);
    answer(the_open_post(), 200);
    snprintf(needle, sizeof needle, "\"s\":%d,", culprit);
    assert_in_range(find_culprit(needle), 7, 7 + 1); /* 64, 32, 16, 8, 4, 2, 1 */
    snprintf(key, sizeof key, "0.%d.%d", (int)epochs[0], culprit);
    assert_post(the_open_post(), key);
    for (int i = 0; i < 2; i++) {
      answer(the_open_post(), 400);
      assert_int_equal(value(&rows[0].dead), dead);
      advance(2499);
      assert_int_equal(open_posts, 0);
      advance(1);
      assert_post(the_open_post(), key);
    }
    answer(the_open_post(), 400);
    assert_int_equal(value(&rows[0].dead), dead + 1);
    while (open_posts > 0)
      answer(the_open_post(), 200);
    assert_int_equal(value(&rows[0].delivered), delivered + 64);
    assert_int_equal(tg_delivery_settled(delivery, 0), 65);
  }
}

static void all_that_is_wrong_is_found(void **state)
{
  (void)state;
  pile_up(20);
  answer(0, 200);
  for (int tries = 0; tries < 200 && value(&rows[0].queued_events) > 0; tries++) {
    if (open_posts == 0)
      advance(2500);
    int post = the_open_post();
    bool guilty = strstr(posts[post].body, "\"s\":5,") || strstr(posts[post].body, "\"s\":6,") ||
                  strstr(posts[post].body, "\"s\":21,");
    answer(post, guilty ? 413 : 200);
  }
  assert_int_equal(value(&rows[0].dead), 3);
  assert_int_equal(value(&rows[0].delivered), 18);
}

static void trouble_in_the_middle_of_a_search(void **state)
{
  (void)state;
  pile_up(8);
  answer(0, 200);
  answer(1, 400);
  assert_post(2, "0.7.2-5");
  answer(2, 502);
  deliver(0, "TYPING_START", "{}");
  advance(30000);
  assert_post(3, "0.7.2-5"); /* the same half, no more */
  answer(3, 200);
  assert_post(4, "0.7.6-7"); /* half of what is left to blame */
  answer(4, 400);
  assert_post(5, "0.7.6");
  answer(5, 200);
  assert_post(6, "0.7.7");
  answer(6, 200); /* it has changed its mind */
  assert_post(7, "0.7.8-10");
  answer(7, 200);
  assert_int_equal(value(&rows[0].dead), 0);
  assert_int_equal(value(&rows[0].delivered), 10);
}

static void markers_go_in_order(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  pile_up(1);
  deliver_as(0, 7, "{\"t\":\"TYPING_START\",\"s\":7,\"op\":0,\"d\":{}}");
  answer(0, 200);
  assert_post(1, "0.7.2-7");
  assert_string_equal(posts[1].body,
                      "[{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":2,\"op\":0,\"d\":{}}},"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"gap\":{\"from\":3,\"to\":6,\"count\":4,\"reason\":\"skipped\"}},"
                      "{\"shardId\":0,\"totalShards\":16,\"epoch\":7,\"message\":{\"t\":\"TYPING_START\",\"s\":7,\"op\":0,\"d\":{}}}]");
  answer(1, 200);
  assert_int_equal(value(&rows[0].delivered), 3);
}

static void what_is_dropped_meanwhile_leaves_the_batch(void **state)
{
  (void)state;
  config.queue.drop_first.count = 0;
  tg_delivery_reconfigure(delivery, &config);
  pile_up(3);
  config.queue.memory_bytes = 4 * tg_queued_size(strlen(posts[0].body) - 2);
  answer(0, 200);
  answer(1, 500); /* 2, 3 and 4 wait for another try */
  deliver(0, "TYPING_START", "{}");
  deliver(0, "TYPING_START", "{}");
  assert_int_equal(value(&rows[0].dropped), 1);
  advance(30000);
  assert_post(the_open_post(), "0.7.3-4");
  deliver(0, "TYPING_START", "{}"); /* what is in flight stays */
  assert_int_equal(value(&rows[0].dropped), 2);
  answer(the_open_post(), 200);
  assert_post(the_open_post(), "0.7.6-7");
  answer(the_open_post(), 200);
  assert_int_equal(value(&rows[0].delivered), 5);
}

static void can_be_switched_while_it_runs(void **state)
{
  (void)state;
  pile_up(5);
  answer(0, 200);
  answer(1, 500);
  config.event_handler.batch = (struct tg_batch_config){0};
  tg_delivery_reconfigure(delivery, &config);
  advance(30000);
  assert_post(the_open_post(), "0.7.2");
  assert_memory_equal(posts[the_open_post()].body, "{\"shardId\"", 10);
  answer(the_open_post(), 200);
  config.event_handler.batch = TG_BATCH_USUAL;
  tg_delivery_reconfigure(delivery, &config);
  answer(the_open_post(), 200);
  assert_post(the_open_post(), "0.7.4-6");
  answer(the_open_post(), 200);
}

static void other_limits_are_heeded(void **state)
{
  (void)state;
  config.event_handler.batch.events = 100;
  pile_up(150);
  answer(0, 200);
  assert_post(1, "0.7.2-101");
  config.event_handler.batch.bytes = 1024;
  answer(1, 200);
  assert_in_range(strlen(posts[2].body), 1024 - 100, 1024);
  config.event_handler.batch = (struct tg_batch_config){.events = 1, .bytes = 1024};
  answer(2, 200);
  assert_int_equal(events_in(3), 1); /* a list, still */
}

/* Answers 413 to what is longer than that, until nothing waits; returns the longest that was taken. */
static size_t take_up_to(size_t most)
{
  size_t longest = 0;
  while (open_posts > 0) {
    size_t length = strlen(posts[the_open_post()].body);
    if (length <= most && length > longest)
      longest = length;
    answer(the_open_post(), length <= most ? 200 : 413);
  }
  return longest;
}

static void what_a_413_teaches_ends_at_the_limit_of_now(void **state)
{
  (void)state;
  config.event_handler.batch = (struct tg_batch_config){.events = 1000, .bytes = 32 << 10};
  for (int i = 0; i < 3; i++) { /* what was learned grows, and is forgotten at the limit */
    pile_up(900);
    assert_in_range(take_up_to(20 << 10), 10 << 10, 20 << 10);
  }
  config.event_handler.batch.bytes = 8 << 10; /* less than what was learned */
  pile_up(900);
  assert_in_range(take_up_to(20 << 10), (8 << 10) - 100, 8 << 10);
  config.event_handler.batch.bytes = 64 << 10;
  for (int i = 0; i < 3; i++) {
    pile_up(900);
    size_t longest = take_up_to(1 << 20);
    if (i == 2)
      assert_in_range(longest, 33 << 10, 64 << 10);
  }
}

/* --- linger ---------------------------------------------------------------------------- */

static int begin_lingering(void **state)
{
  begin_batches(state);
  config.event_handler.batch = (struct tg_batch_config){.events = 5, .bytes = 2048, .linger = 200};
  return 0;
}

static void events_wait_for_others(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  advance(150);
  deliver(0, "TYPING_START", "{}");
  deliver(1, "TYPING_START", "{}");
  advance(49);
  assert_int_equal(open_posts, 0);
  advance(1); /* since the first of them */
  assert_post(the_open_post(), "0.7.1-2");
  deliver(0, "TYPING_START", "{}");
  advance(150);
  assert_post(1, "1.7.1"); /* each lane for itself */
  answer(1, 200);
  deliver(0, "TYPING_START", "{}");
  answer(0, 200);
  assert_int_equal(open_posts, 0); /* what has come meanwhile has not waited enough */
  advance(50);
  assert_post(the_open_post(), "0.7.3-4");
  deliver(0, "TYPING_START", "{}");
  advance(300);
  answer(2, 200);
  assert_post(the_open_post(), "0.7.5"); /* it has waited while others were under way */
  answer(3, 200);
  advance(1000);
  assert_int_equal(open_posts, 0);
  assert_int_equal(value(&rows[0].delivered), 5);
}

static void full_batches_do_not_wait(void **state)
{
  (void)state;
  for (int i = 0; i < 4; i++)
    deliver(0, "TYPING_START", "{}");
  assert_int_equal(open_posts, 0);
  deliver(0, "TYPING_START", "{}");
  assert_post(the_open_post(), "0.7.1-5");
  for (int i = 0; i < 7; i++)
    deliver(0, "TYPING_START", "{}");
  answer(0, 200);
  assert_post(the_open_post(), "0.7.6-10");
  answer(1, 200);
  assert_int_equal(open_posts, 0);
  advance(200);
  assert_post(the_open_post(), "0.7.11-12");
  answer(2, 200);

  char large[1200];
  memset(large, 'x', sizeof large);
  large[0] = large[sizeof large - 2] = '"';
  large[sizeof large - 1] = '\0';
  deliver(0, "TYPING_START", large);
  assert_int_equal(open_posts, 0);
  deliver(0, "TYPING_START", large);
  assert_post(the_open_post(), "0.7.13"); /* the next one does not fit */
  answer(3, 200);
  advance(200);
  assert_post(the_open_post(), "0.7.14");
}

static void what_people_wait_for_does_not(void **state)
{
  (void)state;
  config.event_handler.markers = true;
  deliver(0, "TYPING_START", "{}");
  deliver(0, "INTERACTION_CREATE", "{\"id\":\"1\",\"type\":2,\"token\":\"x\",\"application_id\":\"1\"}");
  assert_post(the_open_post(), "0.7.1-2"); /* with what is in front of it */
  deliver(0, "TYPING_START", "{}");
  answer(0, 200);
  assert_int_equal(open_posts, 0);
  advance(200);
  assert_post(the_open_post(), "0.7.3");
  answer(1, 200);
  deliver_as(0, 9, "{\"t\":\"TYPING_START\",\"s\":9,\"op\":0,\"d\":{}}");
  assert_post(the_open_post(), "0.7.gap-8"); /* of what is missing */
}

static void a_session_ends_with_its_batch(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  epochs[0] = 8;
  next_sequence[0] = 0;
  tg_delivery_new_session(delivery, 0, 8);
  deliver(0, "READY", "{\"guilds\":[]}");
  assert_post(the_open_post(), "0.7.1");
  answer(0, 200);
  assert_int_equal(open_posts, 0);
  advance(200);
  assert_post(the_open_post(), "0.8.1");
}

static void what_was_refused_waits_for_nobody(void **state)
{
  (void)state;
  for (int i = 0; i < 5; i++)
    deliver(0, "TYPING_START", "{}");
  answer(0, 400);
  assert_post(the_open_post(), "0.7.1-3");
  answer(1, 400);
  assert_post(the_open_post(), "0.7.1-2");
  answer(2, 200);
  assert_post(the_open_post(), "0.7.3");
  answer(3, 503);
  advance(30000);
  assert_post(the_open_post(), "0.7.3");
  answer(4, 200);
  assert_post(the_open_post(), "0.7.4-5");
  answer(5, 200);
}

static void nothing_waits_when_it_ends(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  deliver(1, "TYPING_START", "{}");
  tg_delivery_drain(delivery, 10000, NULL, NULL);
  advance(0);
  assert_int_equal(open_posts, 2);
  deliver(2, "TYPING_START", "{}");
  assert_int_equal(open_posts, 3);
}

static void nothing_waits_when_room_gets_short(void **state)
{
  (void)state;
  config.queue.memory_bytes = 4096;
  config.event_handler.batch.events = 1000;
  config.event_handler.batch.bytes = 1 << 20;
  int count = 0;
  while (open_posts == 0 && count++ < 50)
    deliver(0, "TYPING_START", "{}");
  assert_in_range(count, 2, 20);
  assert_int_equal(value(&rows[0].dropped), 0);
}

static void a_reload_says_how_long(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  config.event_handler.batch.linger = 60;
  advance(50);
  tg_delivery_reconfigure(delivery, &config);
  assert_int_equal(open_posts, 0);
  advance(10);
  assert_post(the_open_post(), "0.7.1");
  answer(0, 200);
  deliver(0, "TYPING_START", "{}");
  config.event_handler.batch.linger = 0;
  tg_delivery_reconfigure(delivery, &config);
  assert_post(the_open_post(), "0.7.2");
  answer(1, 200);
  advance(1000);
  deliver(0, "TYPING_START", "{}");
  assert_post(the_open_post(), "0.7.3");
}

static void freed_while_it_waits(void **state)
{
  (void)state;
  deliver(0, "TYPING_START", "{}");
  assert_int_equal(open_posts, 0);
}

static void freed_with_a_batch_in_flight(void **state)
{
  (void)state;
  pile_up(10);
  answer(0, 200);
  assert_int_equal(events_in(the_open_post()), 10);
}

/* Ten times the events take ten times as long: that is no reason to send less at a time. */
static void large_batches_are_not_slow_answers(void **state)
{
  (void)state;
  struct tg_window window;
  tg_window_init(&window);
  for (int i = 0; i < 200; i++) {
    tg_window_success(&window, 2, tg_window_limit(&window), 1);
    tg_window_success(&window, 60, tg_window_limit(&window), 64);
  }
  assert_in_range(tg_window_limit(&window), TG_WINDOW_START + 1, TG_WINDOW_MAX);
  for (int i = 0; i < 75; i++)
    tg_window_success(&window, 600, tg_window_limit(&window), 64);
  assert_true(tg_window_limit(&window) < TG_WINDOW_START);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, begin_batches, end_world)
#define LINGERING(test) cmocka_unit_test_setup_teardown(test, begin_lingering, end_world)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_WORLD(one_event_is_a_list_too),
      IN_WORLD(what_has_collected_goes_together),
      IN_WORLD(sixty_four_at_most),
      IN_WORLD(a_quarter_of_a_mebibyte_at_most),
      IN_WORLD(a_batch_that_comes_again_does_not_grow),
      IN_WORLD(sessions_do_not_mix),
      IN_WORLD(a_refused_batch_is_split),
      IN_WORLD(all_that_is_wrong_is_found),
      IN_WORLD(trouble_in_the_middle_of_a_search),
      IN_WORLD(markers_go_in_order),
      IN_WORLD(what_is_dropped_meanwhile_leaves_the_batch),
      IN_WORLD(can_be_switched_while_it_runs),
      IN_WORLD(other_limits_are_heeded),
      IN_WORLD(what_a_413_teaches_ends_at_the_limit_of_now),
      LINGERING(events_wait_for_others),
      LINGERING(full_batches_do_not_wait),
      LINGERING(what_people_wait_for_does_not),
      LINGERING(a_session_ends_with_its_batch),
      LINGERING(what_was_refused_waits_for_nobody),
      LINGERING(nothing_waits_when_it_ends),
      LINGERING(nothing_waits_when_room_gets_short),
      LINGERING(a_reload_says_how_long),
      LINGERING(freed_while_it_waits),
      IN_WORLD(freed_with_a_batch_in_flight),
      cmocka_unit_test(large_batches_are_not_slow_answers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
