/* A host of a cluster while the bot goes over from one shard to two: what it keeps back until all hosts know
 * that its class has switched, and how classes come from other hosts and go to them (delivery/reshard/
 * shared_seats.c). */

#include "unit/delivery/reshard/shared_seats_world.h"

/* --- kept back -------------------------------------------------------------------------------- */

static void nothing_that_is_taken_over_is_sent_before_all_know(void **state)
{
  (void)state;
  switch_in_the_middle();
  message(NEW, 0, 4, 102);
  answer_everything();
  assert_keys("0.7.1");
  published();
  answer_everything();
  assert_keys("0.7.1 0.8.1 1.9.1 0.8.3 0.8.4");
  published(); /* said again */
  message(NEW, 0, 5, 103);
  answer_everything();
  assert_keys("0.7.1 0.8.1 1.9.1 0.8.3 0.8.4 0.8.5");
}

/* Else whoever gets the class, and resumes the old shard, would not be sent it again. */
static void the_old_session_stands_at_the_switch_until_then(void **state)
{
  (void)state;
  switch_in_the_middle();
  message(OLD, 0, 2, 101); /* what the new shard has taken over */
  message(NEW, 0, 4, 102);
  message(OLD, 0, 3, 102);
  show(OLD, 0, 4, "PRESENCE_UPDATE", "{\"user\":{\"id\":\"1\"},\"guild_id\":\"8388608\"}"); /* ahead */
  advance(1000);
  assert_int_equal(durable_of(&rows[0]), 1);
  assert_int_equal(owed_of(&rows[0]), 1);
  uint64_t durable;
  assert_true(tg_delivery_durable(delivery, 0, &durable));
  assert_int_equal(durable, 1);
  published();
  answer_everything();
  advance(1000);
  assert_int_equal(durable_of(&rows[0]), 3);
}

static void a_type_in_which_the_sides_differ_does_not_move_it_either(void **state)
{
  (void)state;
  overlap();
  for (int i = 0; i < 60; i++) { /* only the old shard shows these */
    char presence[96];
    snprintf(presence, sizeof presence, "{\"user\":{\"id\":\"%d\"},\"guild_id\":\"8388608\"}", i);
    show(OLD, 0, 1 + 2 * (uint64_t)i, "PRESENCE_UPDATE", presence);
    message(OLD, 0, 2 + 2 * (uint64_t)i, 1000 + i);
    message(NEW, 0, 2 + (uint64_t)i, 1000 + i);
    answer_everything();
    advance(1000);
  }
  overlap();
  answer_everything();
  switch_over(false);
  assert_int_equal(durable_of(&rows[0]), 120);
  show(OLD, 0, 121, "PRESENCE_UPDATE", "{\"user\":{\"id\":\"99\"},\"guild_id\":\"8388608\"}");
  advance(1000);
  assert_int_equal(durable_of(&rows[0]), 120);
  assert_int_equal(owed_of(&rows[0]), 120);
  published();
  answer_everything();
}

/* READY waits, but what came behind it is dealt with: another host must not ask for it again. */
static void the_new_ones_owe_what_they_have_taken_over_alone(void **state)
{
  (void)state;
  switch_in_the_middle();
  message(NEW, 0, 4, 102);
  advance(2000);
  assert_int_equal(owed_of(&new_rows[0]), 2);
  assert_int_equal(owed_of(&new_rows[1]), 1);
  published();
  answer_everything();
  advance(2000);
  assert_int_equal(owed_of(&new_rows[0]), 4);
}

static void its_epochs_stay_if_they_are_above(void **state)
{
  (void)state;
  switch_in_the_middle();
  assert_int_equal(new_rows[0].session.epoch, 8);
  assert_int_equal(new_rows[1].session.epoch, 9);
}

static void and_rise_if_not(void **state)
{
  (void)state;
  epoch_of[OLD][0] = 30;
  put_session(&rows[0], "other", 30);
  tg_delivery_session_lost(delivery, 0);
  tg_delivery_new_session(delivery, 0, 30);
  show(OLD, 0, 1, "READY", "{\"guilds\":[]}");
  advance(1000);
  overlap();
  switch_over(false);
  assert_true(new_rows[0].session.epoch > 30);
  assert_true(new_rows[1].session.epoch > 30);
  published();
  answer_everything();
}

static void a_process_that_dies_in_between_keeps_it_back_too(void **state)
{
  (void)state;
  switch_in_the_middle();
  message(OLD, 0, 2, 101);
  restart_host();
  message(NEW, 0, 4, 102);
  message(OLD, 0, 2, 101); /* the old shard resumes from the switch */
  message(OLD, 0, 3, 102);
  answer_everything();
  advance(1000);
  assert_keys("0.7.1");
  assert_int_equal(durable_of(&rows[0]), 1);
  assert_int_equal(owed_of(&rows[0]), 1);
  published();
  answer_everything();
  assert_keys("0.7.1 0.8.1 1.9.1 0.8.3 0.8.4");
  advance(90000); /* that 101 is the same was known to the dead one alone */
  assert_int_equal(durable_of(&rows[0]), 3);
}

static void one_that_dies_afterwards_needs_no_word(void **state)
{
  (void)state;
  switch_in_the_middle();
  published();
  restart_host();
  answer_everything();
  const char *last = posts[post_count - 1].key;
  assert_string_equal(last, "0.8.3");
}

static void it_does_not_go_back_by_itself(void **state)
{
  (void)state;
  switch_in_the_middle();
  published();
  answer_everything();
  overlap();
  int before = post_count;
  message(OLD, 0, 2, 101);
  message(OLD, 0, 3, 102); /* held */
  atomic_store(&new_rows[0].state, TG_SHARD_CONNECTING);
  tg_delivery_session_lost(delivery, tg_ref_of(0, NEW));
  advance(60000);
  answer_everything();
  assert_int_equal(post_count, before);
  assert_string_equal(told.state, "settled");
}

/* --- what others are told ----------------------------------------------------------------------- */

static void it_is_told_when_the_old_shard_owes_nothing_any_more(void **state)
{
  (void)state;
  overlap();
  message(OLD, 0, 1, 100);
  message(NEW, 0, 2, 100);
  switch_over(false);
  assert_string_equal(told.state, "switched");
  assert_false(told.through);
  assert_non_null(told.file);
  answer_everything();
  advance(2000);
  assert_true(told.through);
}

static void the_file_is_told_again_when_it_changes(void **state)
{
  (void)state;
  overlap();
  message(OLD, 0, 1, 100);
  answer_everything();
  switch_over(false);
  published();
  answer_everything();
  advance(2000);
  char *first = told.file;
  told.file = NULL;
  advance(5000);
  assert_null(told.file);
  message(NEW, 0, 2, 100); /* what the old one has delivered */
  advance(2000);
  assert_non_null(told.file);
  assert_string_not_equal(told.file, first);
  free(first);
}

/* Who resumes from behind the copy would wait for it, and take an equal event for it. */
static void a_copy_that_is_dropped_counts_when_the_file_has_gone_before(void **state)
{
  (void)state;
  overlap();
  message(OLD, 0, 1, 100);
  answer_everything();
  switch_over(false);
  published();
  answer_everything();
  advance(2000);
  message(NEW, 0, 2, 100);
  message(NEW, 0, 3, 101);
  answer_everything();
  assert_int_equal(durable_of(&new_rows[0]), 1);
  assert_int_equal(owed_of(&new_rows[0]), 1);
  int before = told.count;
  advance(900);
  assert_true(told.count > before);
  assert_int_equal(durable_of(&new_rows[0]), 1);
  advance(2000);
  assert_int_equal(durable_of(&new_rows[0]), 3);
  assert_int_equal(owed_of(&new_rows[0]), 3);
}

static void nothing_is_said_of_a_class_that_is_not_here(void **state)
{
  (void)state;
  switch_in_the_middle();
  hold_row(&rows[0], false);
  hold_row(&new_rows[0], false);
  hold_row(&new_rows[1], false);
  int before = told.count;
  advance(5000);
  assert_int_equal(told.count, before);
  assert_true(has_file());
  for (int i = 0; i < 3; i++) {
    tg_delivery_leave(delivery, i ? tg_ref_of(i - 1, NEW) : 0, NULL, NULL);
    advance(0);
  }
  assert_false(has_file());
  advance(5000);
  assert_int_equal(told.count, before);
}

/* --- it comes from another host --------------------------------------------------------------------- */

/* The host is gone, and this one gets its class, with its new shards from there on. `side`: of this host, of
 * the old shards. */
static void move_to_another_host(const char *text, uint64_t from_0, uint64_t from_1)
{
  struct tg_error error = {0};
  struct tg_shard_row there[2] = {new_rows[0], new_rows[1]};
  uint64_t from[2] = {from_0, from_1};
  end_process();
  forget_disk();
  memset(rows, 0, sizeof rows);
  memset(new_rows, 0, sizeof new_rows);
  begin_process();
  take_seats();
  advance(1000);
  if (!tg_delivery_class_comes(delivery, 0, text, &error))
    fail_msg("%s", error.message);
  for (int i = 0; i < 2; i++) {
    put_session(&new_rows[i], "new", there[i].session.epoch);
    atomic_store(&new_rows[i].durable_sequence, from[i]);
    hold_row(&new_rows[i], true);
  }
  for (int i = 0; i < 2; i++) {
    tg_shard_ref ref = tg_ref_of(i, !old_side);
    tg_delivery_shard_comes(delivery, ref);
    tg_delivery_adopt_session(delivery, ref, new_rows[i].session.epoch, from[i]);
  }
  told.count = 0;
  end_turn();
}

static void switched_elsewhere(int side_here)
{
  overlap();
  message(OLD, 0, 1, 100);
  message(OLD, 0, 2, 101);
  message(OLD, 0, 3, 102);
  answer_everything();
  switch_over(false);
  published();
  answer_everything();
  message(NEW, 0, 2, 100);
  message(NEW, 0, 3, 101);
  advance(2000);
  delivered_without_row = of_all_sinks(offsetof(struct tg_stats_sink, delivered));
  int before = post_count;
  old_side = side_here;
  epoch_of[!side_here][0] = new_rows[0].session.epoch;
  epoch_of[!side_here][1] = new_rows[1].session.epoch;
  move_to_another_host(told.file, 2, 1); /* that host's row said so: 101 is shown again */
  message(!side_here, 0, 3, 101);
  message(!side_here, 0, 4, 102);
  message(!side_here, 0, 5, 103);
  answer_everything();
  assert_int_equal(post_count, before + 1);
  assert_string_equal(posts[before].key, "0.8.5");
}

static void what_was_delivered_there_is_not_delivered_again(void **state)
{
  (void)state;
  switched_elsewhere(OLD);
}

static void also_where_sides_have_changed_places(void **state)
{
  (void)state;
  switched_elsewhere(NEW);
}

static void it_settles_without_the_old_shard(void **state)
{
  (void)state;
  switched_elsewhere(OLD);
  advance(60000);
  assert_string_equal(told.state, "settled");
  assert_true(told.through);
}

static void what_had_not_switched_begins_anew(void **state)
{
  (void)state;
  struct tg_error error = {0};
  switch_in_the_middle();
  published();
  answer_everything();
  for (int i = 0; i < 3; i++) {
    hold_row(i ? &new_rows[i - 1] : &rows[0], false);
    tg_delivery_leave(delivery, i ? tg_ref_of(i - 1, NEW) : 0, NULL, NULL);
    advance(0);
  }
  assert_true(tg_delivery_class_comes(delivery, 0, "", &error));
  hold_row(&rows[0], true);
  atomic_store(&rows[0].durable_sequence, 1);
  tg_delivery_shard_comes(delivery, 0);
  tg_delivery_adopt_session(delivery, 0, OLD_EPOCH, 1);
  int before = post_count;
  message(OLD, 0, 2, 101);
  answer_everything();
  assert_int_equal(post_count, before + 1);
  assert_string_equal(posts[before].key, "0.7.2");
}

static void a_text_that_is_none_is_refused(void **state)
{
  (void)state;
  struct tg_error error = {0};
  assert_false(tg_delivery_class_comes(delivery, 0, "", &error)); /* its shards run here */
  assert_string_equal(error.code, "not_ready");
  assert_false(tg_delivery_class_comes(delivery, 1, "", &error));
  assert_string_equal(error.code, "no_class");
  hold_row(&rows[0], false);
  hold_row(&new_rows[0], false);
  hold_row(&new_rows[1], false);
  for (int i = 0; i < 3; i++) {
    tg_delivery_leave(delivery, i ? tg_ref_of(i - 1, NEW) : 0, NULL, NULL);
    advance(0);
  }
  static const char *const texts[] = {"?", "AAAA", "dGctc2tpcAA="};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    assert_false(tg_delivery_class_comes(delivery, 0, texts[i], &error));
    assert_string_equal(error.code, "bad_text");
  }
}

/* Its READY was another host's: which guilds it has is told by their events. */
static void a_guild_that_only_the_old_shard_has_is_waited_for(void **state)
{
  (void)state;
  show(NEW, 0, 2, "GUILD_DELETE", "{\"id\":\"8388608\",\"unavailable\":true}");
  message(OLD, 0, 1, 100);
  advance(60000);
  assert_string_equal(told.state, "loading");
  show(NEW, 0, 3, "GUILD_CREATE", "{\"id\":\"8388608\",\"unavailable\":false}");
  advance(90000);
  assert_string_equal(told.state, "ready");
  answer_everything();
}

/* --- it is taken back --------------------------------------------------------------------------------- */

static int resumed;

static void on_again(void *ctx, tg_shard_ref ref)
{
  (void)ctx;
  assert_int_equal(ref, 0);
  resumed++;
}

static void taken_back_it_is_as_if_it_had_never_switched(void **state)
{
  (void)state;
  struct tg_error error = {0};
  switch_in_the_middle();
  message(OLD, 0, 2, 101);
  message(NEW, 0, 4, 102);
  message(OLD, 0, 3, 102);
  answer_everything();
  resumed = 0;
  assert_true(tg_delivery_switch_undone(delivery, 0, on_again, NULL, &error));
  assert_int_equal(resumed, 1);
  assert_false(has_file());
  assert_false(tg_delivery_side_waits(delivery, NEW, UINT64_MAX));
  message(OLD, 0, 2, 101); /* again, from the switch on */
  message(OLD, 0, 3, 102);
  answer_everything();
  assert_keys("0.7.1 0.7.2 0.7.3");
  tg_delivery_drop_side(delivery, NEW);
  answer_everything();
  assert_keys("0.7.1 0.7.2 0.7.3");
}

static void not_when_all_know(void **state)
{
  (void)state;
  struct tg_error error = {0};
  switch_in_the_middle();
  published();
  assert_false(tg_delivery_switch_undone(delivery, 0, on_again, NULL, &error));
  assert_string_equal(error.code, "published");
  answer_everything();
}

/* The bot goes over, and this host is not there for the end of it. */
static void what_it_kept_back_is_left_when_it_comes_back_too_late(void **state)
{
  (void)state;
  switch_in_the_middle();
  answer_everything();
  end_process();
  begin_process();
  tg_delivery_end_strays(delivery); /* there is one set */
  advance(1000);
  answer_everything();
  assert_keys("0.7.1");
  tg_delivery_void_side(delivery, NEW);
  take_seats();
  assert_false(tg_delivery_side_waits(delivery, NEW, UINT64_MAX));
}

#define CHANGE(test) cmocka_unit_test_setup_teardown(test, begin_change, end_change)

int main(void)
{
  const struct CMUnitTest tests[] = {
      CHANGE(nothing_that_is_taken_over_is_sent_before_all_know),
      CHANGE(the_old_session_stands_at_the_switch_until_then),
      CHANGE(a_type_in_which_the_sides_differ_does_not_move_it_either),
      CHANGE(the_new_ones_owe_what_they_have_taken_over_alone),
      CHANGE(its_epochs_stay_if_they_are_above),
      CHANGE(and_rise_if_not),
      CHANGE(a_process_that_dies_in_between_keeps_it_back_too),
      CHANGE(one_that_dies_afterwards_needs_no_word),
      CHANGE(it_does_not_go_back_by_itself),
      CHANGE(it_is_told_when_the_old_shard_owes_nothing_any_more),
      CHANGE(the_file_is_told_again_when_it_changes),
      CHANGE(a_copy_that_is_dropped_counts_when_the_file_has_gone_before),
      CHANGE(nothing_is_said_of_a_class_that_is_not_here),
      CHANGE(what_was_delivered_there_is_not_delivered_again),
      CHANGE(also_where_sides_have_changed_places),
      CHANGE(it_settles_without_the_old_shard),
      CHANGE(what_had_not_switched_begins_anew),
      CHANGE(a_text_that_is_none_is_refused),
      CHANGE(a_guild_that_only_the_old_shard_has_is_waited_for),
      CHANGE(taken_back_it_is_as_if_it_had_never_switched),
      CHANGE(not_when_all_know),
      CHANGE(what_it_kept_back_is_left_when_it_comes_back_too_late),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
