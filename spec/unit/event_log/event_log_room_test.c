/* Room in the log that is made by choice, before the bound makes it. */

#include "event_log_fixture.h"

static int begin(void **state)
{
  log_begin(state);
  struct log_test *test = *state;
  test->options.disk_bytes = 8 * SEGMENT;
  return 0;
}

static uint64_t disk(const struct log_test *test) { return tg_event_log_disk(test->log); }

/* Appends until the log wants room; returns the last sequence. */
static uint64_t fill(struct log_test *test, uint64_t sequence)
{
  while (tg_event_log_wants_room(test->log, 1000) == 0) {
    put(test, (int)(sequence % 4), sequence / 4 + 1);
    sequence++;
    if (sequence % 10 == 0)
      flush(test);
    assert_true(sequence < 100000);
  }
  return sequence;
}

static void says_in_time_that_room_is_wanted(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  uint64_t end = fill(test, 0);
  assert_true(end > 1000);
  assert_int_equal(test->gap_count, 0);
  assert_true(disk(test) <= 8 * SEGMENT);
  uint32_t segment = tg_event_log_wants_room(test->log, 1000);
  for (int i = 0; i < 10; i++)
    assert_int_equal(segment, segment_of(put(test, 0, end + (uint64_t)i)));
  flush(test); /* nobody has dropped anything: the oldest go */
  assert_true(test->gap_count > 0);
  assert_int_equal(tg_event_log_wants_room(test->log, 0), 0);
}

static void never_without_a_bound(void **state)
{
  struct log_test *test = *state;
  test->options.disk_bytes = 0;
  log_open(test);
  for (uint64_t sequence = 1; sequence < 5000; sequence++) {
    put(test, 0, sequence);
    assert_int_equal(tg_event_log_wants_room(test->log, 1 << 20), 0);
  }
}

static void what_was_dropped_gives_its_room_back(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  uint64_t end = fill(test, 0), before = disk(test);
  /* The first half goes, but one of each 100: no segment is empty. */
  for (int shard = 0; shard < 4; shard++) {
    tg_log_position position = 0;
    struct tg_log_entry entry;
    while ((position = tg_event_log_next(test->log, shard, position, &entry)) != 0 && entry.sequence < end / 8)
      if (entry.sequence % 100 != 1)
        tg_event_log_drop(test->log, shard, position, TG_LOSS_OVERFLOW);
  }
  assert_true(disk(test) > before * 3 / 4);
  tg_event_log_reclaim(test->log);
  assert_true(disk(test) < before * 3 / 4);
  assert_int_equal(tg_event_log_wants_room(test->log, 1000), 0);
  for (int shard = 0; shard < 4; shard++) {
    tg_log_position first = first_of(test, shard);
    expect_record(test, shard, first, 1, 1);
    expect_record(test, shard, tg_event_log_next(test->log, shard, first, NULL), 1, 101);
  }
  for (int i = 0; i < 100; i++)
    put(test, 2, end + (uint64_t)i);
  flush(test);
  assert_int_equal(test->gap_count, 0); /* the bound had nothing to do */
  uint64_t waiting = count_waiting(test);
  log_reopen(test);
  assert_int_equal(count_waiting(test), waiting);
}

static int begin_large(void **state)
{
  log_begin(state);
  struct log_test *test = *state;
  test->options.disk_bytes = 0;
  test->options.large_segment = 16 * SEGMENT;
  return 0;
}

static void a_large_segment_goes_when_it_is_drained(void **state)
{
  struct log_test *test = *state;
  uint64_t sequence = 0, acked = 0;
  log_open(test);
  while (disk(test) < 16 * SEGMENT) { /* a backlog has begun a large one */
    put(test, 0, ++sequence);
    flush(test);
    assert_true(sequence < 100000);
  }
  for (int i = 0; i < 2000; i++) {
    put(test, 0, ++sequence);
    flush(test);
  }
  for (; acked + 1 < sequence; acked++)
    tg_event_log_ack(test->log, 0, first_of(test, 0));
  tg_event_log_shrink(test->log);
  assert_true(disk(test) >= 16 * SEGMENT); /* something waits in it */
  tg_event_log_ack(test->log, 0, first_of(test, 0));
  put(test, 0, ++sequence);
  tg_event_log_ack(test->log, 0, first_of(test, 0));
  tg_event_log_shrink(test->log); /* not before it is flushed */
  assert_true(disk(test) >= 16 * SEGMENT);
  flush(test);
  tg_event_log_shrink(test->log);
  assert_true(disk(test) <= SEGMENT);
  assert_int_equal(count_segments(test), 1);
  /* It goes on, and a new process finds nothing missing. */
  uint32_t segment = segment_of(put(test, 0, ++sequence));
  flush(test);
  tg_event_log_shrink(test->log);
  assert_int_equal(segment_of(put(test, 0, ++sequence)), segment);
  flush(test);
  log_reopen(test);
  assert_int_equal(test->gap_count, 0);
  expect_waiting(test, 0, 1, sequence - 1, sequence);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(says_in_time_that_room_is_wanted, begin, log_end),
      cmocka_unit_test_setup_teardown(never_without_a_bound, begin, log_end),
      cmocka_unit_test_setup_teardown(what_was_dropped_gives_its_room_back, begin, log_end),
      cmocka_unit_test_setup_teardown(a_large_segment_goes_when_it_is_drained, begin_large, log_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
