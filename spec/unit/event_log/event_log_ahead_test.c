/* Records that are done in front of others of their shard: what they took is given back, and after a kill
 * none of them counts as lost. */

#include "event_log_fixture.h"

enum { EVENTS = 3000 };

static void fill(struct log_test *test, int shard, uint64_t from, uint64_t to)
{
  for (uint64_t sequence = from; sequence <= to; sequence++) {
    put(test, shard, sequence);
    if (sequence % 50 == 0)
      flush(test);
  }
  flush(test);
}

/* All but the first, which waits. */
static void ack_others(struct log_test *test, int shard)
{
  tg_log_position first = first_of(test, shard), next;
  while ((next = tg_event_log_next(test->log, shard, first, NULL)) != 0)
    tg_event_log_ack(test->log, shard, next);
}

static uint64_t on_disk(const struct log_test *test)
{
  return tg_event_log_disk(test->log);
}

/* What a kill leaves: nothing is done in front of the first, but what is not there any more. */
static void assert_whole(struct log_test *test, uint64_t most)
{
  assert_int_equal(test->gap_count, 0);
  expect_record(test, 0, first_of(test, 0), 1, 1);
  assert_true(count_waiting(test) < most);
}

static void their_room_is_given_back(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  fill(test, 0, 1, EVENTS);
  uint64_t before = on_disk(test);
  assert_true(count_segments(test) > 8);
  ack_others(test, 0);
  assert_true(on_disk(test) < before / 2);
  assert_int_equal(count_waiting(test), 1);
}

static void none_of_them_is_lost_after_a_kill(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  fill(test, 0, 1, EVENTS);
  ack_others(test, 0);
  for (int kills = 0; kills < 3; kills++) {
    log_reopen(test);
    assert_whole(test, EVENTS / 4);
    fill(test, 0, EVENTS + 1 + 10 * kills, EVENTS + 10 + 10 * kills);
  }
  ack_others(test, 0);
  ack(test, 0, 1);
  assert_int_equal(count_waiting(test), 0);
  assert_true(tg_event_log_settled(test->log));
  assert_true(count_segments(test) <= 2);
}

static void nor_the_last_of_a_shard(void **state)
{
  struct log_test *test = *state;
  uint64_t epoch, sequence;
  log_open(test);
  fill(test, 0, 1, EVENTS);
  ack_others(test, 0);
  fill(test, 1, 1, 800); /* what comes later is of others */
  ack(test, 1, 800);
  log_reopen(test);
  assert_whole(test, EVENTS / 4);
  assert_true(tg_event_log_last(test->log, 0, &epoch, &sequence));
  assert_int_equal(epoch, 1);
  assert_int_equal(sequence, EVENTS);
}

static void of_a_file_that_is_missing_they_are(void **state)
{
  struct log_test *test = *state;
  char path[128];
  log_open(test);
  fill(test, 0, 1, EVENTS);
  tg_log_position third = first_of(test, 0);
  while (segment_of(third) < segment_of(first_of(test, 0)) + 2)
    third = tg_event_log_next(test->log, 0, third, NULL);
  path_of(test, segment_of(third), path);
  ack(test, 0, 1);
  assert_int_equal(unlink(path), 0);
  log_reopen(test);
  assert_int_equal(test->gap_count, 1);
  assert_int_equal(test->gaps[0].reason, TG_LOSS_DAMAGED);
}

static void a_shard_that_is_not_in_a_file_does_not_keep_it(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  put(test, 1, 1);
  fill(test, 0, 1, EVENTS);
  ack(test, 0, EVENTS);
  assert_true(count_segments(test) <= 3);
}

/* They are not taken for the oldest, of which there would be no end. */
static void a_full_log_drops_what_waits(void **state)
{
  struct log_test *test = *state;
  test->options.disk_bytes = 16 * SEGMENT;
  log_open(test);
  fill(test, 0, 1, EVENTS);
  ack_others(test, 0);
  for (uint64_t sequence = EVENTS + 1; test->gap_count == 0; sequence++) {
    assert_true(sequence < 8 * EVENTS);
    put(test, 0, sequence);
    flush(test);
  }
  expect_gap(&test->gaps[0], 0, 1, 1, test->gaps[0].to, test->gaps[0].count, TG_LOSS_OVERFLOW);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(their_room_is_given_back, log_begin, log_end),
      cmocka_unit_test_setup_teardown(none_of_them_is_lost_after_a_kill, log_begin, log_end),
      cmocka_unit_test_setup_teardown(nor_the_last_of_a_shard, log_begin, log_end),
      cmocka_unit_test_setup_teardown(of_a_file_that_is_missing_they_are, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_shard_that_is_not_in_a_file_does_not_keep_it, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_full_log_drops_what_waits, log_begin, log_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
