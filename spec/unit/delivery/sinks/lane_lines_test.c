/* order = "guild", from the lane to the requests: who holds up whom, what a log hears when, and the way from
 * one order to the other. */

#include "unit/delivery/logged_world.h"

static int begin(void **state)
{
  begin_logged(state);
  config.event_handler.order = TG_ORDERED_BY_GUILD;
  config.event_handler.in_flight = 4;
  config.event_handler.markers = true;
  tg_delivery_reconfigure(delivery, &config);
  return 0;
}

/* The next event of shard 1, of that guild. */
static void put(int guild)
{
  char data[64];
  snprintf(data, sizeof data, "{\"guild_id\":\"%d\"}", guild);
  deliver(1, "MESSAGE_DELETE", data);
  end_turn();
}

/* Which of the open requests has that key. */
static int find(const char *key)
{
  for (int i = post_count - 1; i >= 0; i--)
    if (posts[i].open && strcmp(posts[i].key, key) == 0)
      return i;
  fail_msg("no request is open with the key %s", key);
  return -1;
}

static void take(const char *key)
{
  answer(find(key), 200);
  end_turn();
}

static void assert_open(int count, const char *const keys[])
{
  assert_int_equal(open_posts, count);
  for (int i = 0; i < count; i++)
    find(keys[i]);
}

#define OPEN(...)                                                                                            \
  assert_open((int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]){__VA_ARGS__})

static void guilds_do_not_wait_for_each_other(void **state)
{
  (void)state;
  put(1);
  put(1);
  put(2);
  put(0);
  put(0);
  OPEN("1.7.1", "1.7.3", "1.7.4");
  take("1.7.3");
  take("1.7.4");
  OPEN("1.7.1", "1.7.5");
  take("1.7.1");
  take("1.7.5");
  take("1.7.2");
  assert_int_equal(open_posts, 0);
}

static void there_are_in_flight_of_them_at_most(void **state)
{
  (void)state;
  for (int guild = 1; guild <= 9; guild++)
    put(guild);
  OPEN("1.7.1", "1.7.2", "1.7.3", "1.7.4");
  take("1.7.3");
  OPEN("1.7.1", "1.7.2", "1.7.4", "1.7.5");
  assert_int_equal(most_open, 4);
}

static void one_that_waits_for_its_retry_has_no_place_among_them(void **state)
{
  (void)state;
  for (int guild = 1; guild <= 6; guild++)
    put(guild);
  put(1);
  answer_later(find("1.7.1"), 429, 5000);
  OPEN("1.7.2", "1.7.3", "1.7.4", "1.7.5");
  answer_later(find("1.7.2"), 429, 2000);
  OPEN("1.7.3", "1.7.4", "1.7.5", "1.7.6");
  take("1.7.3");
  OPEN("1.7.4", "1.7.5", "1.7.6");
  advance(2000);
  OPEN("1.7.2", "1.7.4", "1.7.5", "1.7.6");
  take("1.7.4");
  advance(2900);
  OPEN("1.7.2", "1.7.5", "1.7.6");
  advance(200);
  OPEN("1.7.1", "1.7.2", "1.7.5", "1.7.6");
  take("1.7.1");
  find("1.7.7");
}

/* A1 A2 B3: A2 is dropped while B3 is in flight. A log that heard of B3 would take A2 for told. */
static void what_is_ahead_of_a_marker_is_acked_behind_it(void **state)
{
  (void)state;
  put(1);
  put(1);
  put(2);
  OPEN("1.7.1", "1.7.3");
  assert_int_equal(tg_delivery_queue_drop(delivery, NULL, 1, 1), 1);
  take("1.7.3");
  take("1.7.1");
  OPEN("1.7.gap-2");
  restart(); /* nobody was told: it comes after all */
  OPEN("1.7.2", "1.7.3");
  take("1.7.2");
  take("1.7.3"); /* once more, with its key */
  restart();
  assert_int_equal(open_posts, 0);
}

static void once_the_marker_is_taken_it_is_done(void **state)
{
  (void)state;
  put(1);
  put(1);
  put(2);
  assert_int_equal(tg_delivery_queue_drop(delivery, NULL, 1, 1), 1);
  take("1.7.3");
  take("1.7.1");
  take("1.7.gap-2");
  restart();
  assert_int_equal(open_posts, 0);
}

static void nothing_passes_a_marker(void **state)
{
  (void)state;
  put(1);
  put(2);
  put(2);
  put(3);
  OPEN("1.7.1", "1.7.2", "1.7.4");
  assert_int_equal(tg_delivery_queue_drop(delivery, NULL, 1, 1), 1); /* the third */
  put(4);
  put(5);
  OPEN("1.7.1", "1.7.2", "1.7.4");
  take("1.7.2");
  take("1.7.4");
  OPEN("1.7.1");
  take("1.7.1");
  OPEN("1.7.gap-3");
  take("1.7.gap-3");
  OPEN("1.7.5", "1.7.6");
}

static void reorder(enum tg_event_order order)
{
  config.event_handler.order = order;
  tg_delivery_reconfigure(delivery, &config);
  end_turn();
}

static void the_order_may_change_at_any_time(void **state)
{
  (void)state;
  put(1);
  put(2);
  put(3);
  answer_later(find("1.7.3"), 429, 1000);
  put(4);
  reorder(TG_ORDERED_BY_SHARD);
  OPEN("1.7.1", "1.7.2", "1.7.4");
  put(5);
  take("1.7.1");
  take("1.7.4");
  take("1.7.2");
  assert_int_equal(open_posts, 0); /* it is to wait */
  advance(1000);
  OPEN("1.7.3");
  put(6);
  reorder(TG_ORDERED_BY_GUILD);
  OPEN("1.7.3");
  take("1.7.3");
  OPEN("1.7.5", "1.7.6");
}

/* Its turns are not waited for, when the handler is down. */
static void nor_does_a_handler_that_is_down_keep_it(void **state)
{
  (void)state;
  for (int guild = 1; guild <= 8; guild++)
    put(guild);
  for (int i = 0; i < 8; i++)
    answer(i, 503);
  end_turn();
  assert_int_equal(open_posts, 0);
  reorder(TG_ORDERED_BY_SHARD);
  advance(3000);
  OPEN("1.7.1");
  take("1.7.1");
  OPEN("1.7.2");
}

static void what_is_taken_back_is_sent_again(void **state)
{
  (void)state;
  put(1);
  put(2);
  put(2);
  answer_later(find("1.7.2"), 429, 1000);
  tg_delivery_withhold(delivery, 1);
  assert_true(tg_delivery_is_busy(delivery, 1));
  tg_delivery_take_back(delivery, 1);
  assert_false(tg_delivery_is_busy(delivery, 1));
  assert_int_equal(open_posts, 0);
  tg_delivery_go_on(delivery, 1);
  put(3);
  advance(1);
  OPEN("1.7.1", "1.7.2", "1.7.4");
}

static void a_kill_brings_again_what_was_ahead(void **state)
{
  (void)state;
  put(1);
  put(2);
  put(3);
  put(2);
  take("1.7.2");
  take("1.7.3");
  take("1.7.4");
  restart();
  OPEN("1.7.1", "1.7.2", "1.7.3");
  take("1.7.1");
  take("1.7.2");
  take("1.7.3");
  take("1.7.4");
  restart();
  assert_int_equal(open_posts, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end_logged)
  const struct CMUnitTest tests[] = {
      TEST(guilds_do_not_wait_for_each_other),
      TEST(there_are_in_flight_of_them_at_most),
      TEST(one_that_waits_for_its_retry_has_no_place_among_them),
      TEST(what_is_ahead_of_a_marker_is_acked_behind_it),
      TEST(once_the_marker_is_taken_it_is_done),
      TEST(nothing_passes_a_marker),
      TEST(the_order_may_change_at_any_time),
      TEST(nor_does_a_handler_that_is_down_keep_it),
      TEST(what_is_taken_back_is_sent_again),
      TEST(a_kill_brings_again_what_was_ahead),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
