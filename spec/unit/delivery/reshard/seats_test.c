/* A worker while its bot goes over from one shard to two: lanes, logs and gates of both sets (delivery/reshard/
 * seats.h). Which events are the same is class_test.c's. */

#include "unit/delivery/logged_world.h"
#include "unit/delivery/reshard/seats_world.h"

static void take_seats(void)
{
  static const int numbers[] = {0};
  const struct tg_delivery_classes classes = {.from = 1, .to = 2, .old_side = OLD, .numbers = numbers, .count = 1};
  tg_delivery_add_side(delivery, NEW, (struct tg_shard_table *)new_rows, 0);
  tg_delivery_take_seats(delivery, &classes);
}

static int begin_change(void **state)
{
  begin_logged(state);
  memset(new_rows, 0, sizeof new_rows);
  next_rows = new_rows;
  epoch_of[OLD][0] = OLD_EPOCH;
  put_session(&rows[0], "old", OLD_EPOCH);
  take_seats();
  ready(0);
  ready(1);
  advance(1000);
  return 0;
}

static int end_change(void **state)
{
  char path[128];
  snprintf(path, sizeof path, "%s/reshard.0", state_dir);
  remove(path);
  return end_logged(state);
}

static void a_new_shard_sends_nothing_and_what_both_show_is_sent_once(void **state)
{
  (void)state;
  message(OLD, 0, 1, 100);
  message(NEW, 0, 2, 100);
  message(NEW, 0, 3, 101); /* ahead of the old one: held */
  message(OLD, 0, 2, 101);
  answer_everything();
  assert_keys("0.7.1 0.7.2");
  uint64_t durable;
  assert_true(tg_delivery_durable(delivery, tg_ref_of(0, NEW), &durable));
  assert_int_equal(durable, 3);
}

static void what_is_held_is_not_durable(void **state)
{
  (void)state;
  uint64_t durable;
  message(NEW, 0, 2, 100);
  message(NEW, 0, 3, 101);
  assert_true(tg_delivery_durable(delivery, tg_ref_of(0, NEW), &durable));
  assert_int_equal(durable, 1);
  assert_int_equal(atomic_load(&new_rows[0].durable_sequence), 1);
  message(OLD, 0, 1, 100);
  assert_true(tg_delivery_durable(delivery, tg_ref_of(0, NEW), &durable));
  assert_int_equal(durable, 2);
}

static void it_is_not_switched_before_both_have_run_side_by_side(void **state)
{
  (void)state;
  struct tg_error error = {0};
  assert_false(tg_delivery_switch(delivery, 0, false, &error));
  assert_string_equal(error.code, "not_ready");
}

static void after_the_switch_what_was_held_goes_behind_what_the_old_shard_had(void **state)
{
  (void)state;
  overlap();
  message(OLD, 0, 1, 100);
  message(NEW, 0, 2, 100);
  message(NEW, 0, 3, 101);
  message(NEW, 1, 2, 102);
  assert_int_equal(open_posts, 1); /* the old shard's, which is not answered */
  switch_over(false);
  assert_int_equal(open_posts, 1);
  answer_everything();
  message(OLD, 0, 2, 101); /* late, and known */
  message(OLD, 0, 3, 102);
  epoch_of[NEW][1] = new_rows[1].session.epoch;
  message(NEW, 1, 3, 103);
  message(OLD, 0, 4, 103);
  answer_everything();
  /* READY of each new shard came under the epoch that it had then; all of the class are raised at the switch. */
  assert_keys("0.7.1 0.8.1 1.9.1 0.10.3 1.10.2 1.10.3");
}

static void back_it_goes_with_higher_epochs(void **state)
{
  (void)state;
  overlap();
  switch_over(false);
  answer_everything();
  epoch_of[NEW][0] = new_rows[0].session.epoch;
  message(NEW, 0, 2, 100);
  message(OLD, 0, 1, 100);
  message(OLD, 0, 2, 101); /* held */
  answer_everything();
  message(NEW, 0, 3, 101);
  answer_everything();
  overlap();
  int before = post_count;
  message(OLD, 0, 3, 102);
  switch_over(true);
  answer_everything();
  assert_true(rows[0].session.epoch > epoch_of[NEW][0]);
  char key[64];
  snprintf(key, sizeof key, "0.%d.3", (int)rows[0].session.epoch);
  assert_int_equal(post_count, before + 1);
  assert_string_equal(posts[before].key, key);
}

static void after_a_kill_the_file_says_who_rules(void **state)
{
  (void)state;
  overlap();
  message(OLD, 0, 1, 100);
  message(NEW, 0, 2, 100);
  message(NEW, 0, 3, 101);
  switch_over(false);
  answer_everything();
  int before = post_count;
  epoch_of[NEW][0] = new_rows[0].session.epoch;
  restart();
  take_seats();
  struct tg_event event;
  char text[] = "{\"t\":\"MESSAGE_CREATE\",\"s\":4,\"op\":0,\"d\":{\"id\":\"104\",\"guild_id\":\"8388608\"}}";
  make_event(&event, 0, 4, text);
  event.side = NEW;
  event.epoch = epoch_of[NEW][0];
  tg_delivery_event(delivery, NULL, &event);
  end_turn();
  answer_everything();
  assert_int_equal(post_count, before + 1);
}

static void a_full_disk_puts_it_off(void **state)
{
  (void)state;
  struct tg_error error = {0};
  overlap();
  config.state_dir = (char *)"/proc/nowhere";
  assert_false(tg_delivery_switch(delivery, 0, false, &error));
  assert_string_equal(error.code, "disk");
  config.state_dir = state_dir;
  message(OLD, 0, 1, 100);
  answer_everything();
  assert_keys("0.7.1");
}

static void a_set_that_is_given_up_leaves_nothing(void **state)
{
  (void)state;
  tg_delivery_drop_side(delivery, NEW);
  message(OLD, 0, 1, 100);
  answer_everything();
  assert_keys("0.7.1");
  restart();
  advance(1000);
  answer_everything();
  assert_keys("0.7.1");
}

static void again(int side, uint64_t sequence)
{
  show(side, 0, sequence, "CHANNEL_UPDATE", "{\"id\":\"5\",\"guild_id\":\"8388608\"}");
}

/* Else the copy of each would be taken for that of the one before, and one would be missing after the switch.
 */
static void of_equal_events_one_without_a_copy_does_not_wait_for_ever(void **state)
{
  (void)state;
  again(OLD, 1); /* the new shard was not there yet when Discord sent it */
  for (uint64_t i = 0; i < 30; i++) {
    advance(1000);
    again(NEW, 2 + 2 * i);
    again(OLD, 2 + 2 * i);
    message(OLD, 0, 3 + 2 * i, 100 + (int)i);
    message(NEW, 0, 3 + 2 * i, 100 + (int)i);
    answer_everything();
  }
  switch_over(false);
  answer_everything();
  int before = post_count;
  epoch_of[NEW][0] = new_rows[0].session.epoch;
  again(NEW, 62);
  answer_everything();
  again(OLD, 62);
  answer_everything();
  assert_int_equal(post_count, before + 1);
}

/* The process ends in the middle, and the next one knows of the old set alone. */
static void next_without(void)
{
  end_process();
  next_process();
  tg_delivery_end_strays(delivery);
  tg_delivery_end_strays(delivery); /* as it is told to start one shard after the other */
  advance(0);
  end_turn();
}

static void what_a_set_that_is_over_has_left_goes_first(void **state)
{
  (void)state;
  overlap();
  message(OLD, 0, 1, 100);
  answer_everything();
  switch_over(false); /* READY of both new shards is under way */
  int before = post_count;
  next_without();
  message(OLD, 0, 2, 101);
  assert_int_equal(post_count, before + 2);
  answer_everything();
  assert_string_equal(posts[before].key, "0.8.1");
  assert_string_equal(posts[before + 1].key, "1.9.1");
  assert_string_equal(posts[before + 2].key, "0.7.2");
  delivered_without_row = 2;
}

static void what_a_set_has_left_that_never_delivered_is_dropped(void **state)
{
  (void)state;
  message(OLD, 0, 1, 100);
  next_without();
  answer_everything();
  for (int i = 0; i < post_count; i++)
    assert_string_equal(posts[i].key, "0.7.1");
}

static void a_set_is_not_over_while_something_of_it_waits(void **state)
{
  (void)state;
  assert_false(tg_delivery_side_waits(delivery, NEW, UINT64_MAX)); /* READY, which nobody is to have */
  overlap();
  switch_over(false);
  assert_true(tg_delivery_side_waits(delivery, NEW, UINT64_MAX));
  answer_everything();
  assert_false(tg_delivery_side_waits(delivery, NEW, UINT64_MAX));
}

static void what_waits_of_a_set_when_a_process_starts_again_is_its_own(void **state)
{
  (void)state;
  end_process();
  next_process();
  assert_false(tg_delivery_side_waits(delivery, NEW, OLD_EPOCH)); /* what the set began above */
  assert_true(tg_delivery_side_waits(delivery, NEW, UINT64_MAX)); /* READY */
}

static void what_begins_on_shards_that_deliver_no_more_is_nothing_for_the_bot(void **state)
{
  (void)state;
  overlap();
  switch_over(false);
  answer_everything();
  int before = post_count;
  show(OLD, 0, 1, "RESUMED", "{}");
  epoch_of[OLD][0] = tg_delivery_last_epoch(delivery, tg_ref_of(0, OLD)) + 1;
  show(OLD, 0, 1, "READY", "{\"guilds\":[]}");
  answer_everything();
  assert_int_equal(post_count, before);
  uint64_t durable;
  assert_true(tg_delivery_durable(delivery, tg_ref_of(0, OLD), &durable));
  assert_int_equal(durable, 1);
}

#define CHANGE(test) cmocka_unit_test_setup_teardown(test, begin_change, end_change)

int main(void)
{
  const struct CMUnitTest tests[] = {
      CHANGE(a_new_shard_sends_nothing_and_what_both_show_is_sent_once),
      CHANGE(what_is_held_is_not_durable),
      CHANGE(it_is_not_switched_before_both_have_run_side_by_side),
      CHANGE(after_the_switch_what_was_held_goes_behind_what_the_old_shard_had),
      CHANGE(back_it_goes_with_higher_epochs),
      CHANGE(after_a_kill_the_file_says_who_rules),
      CHANGE(a_full_disk_puts_it_off),
      CHANGE(a_set_that_is_given_up_leaves_nothing),
      CHANGE(of_equal_events_one_without_a_copy_does_not_wait_for_ever),
      CHANGE(what_a_set_that_is_over_has_left_goes_first),
      CHANGE(what_a_set_has_left_that_never_delivered_is_dropped),
      CHANGE(a_set_is_not_over_while_something_of_it_waits),
      CHANGE(what_waits_of_a_set_when_a_process_starts_again_is_its_own),
      CHANGE(what_begins_on_shards_that_deliver_no_more_is_nothing_for_the_bot),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
