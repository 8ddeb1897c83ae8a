/* The log after deaths and damage: what is there is delivered, what is not is
 * reported, and nothing crashes. */

#include "event_log_fixture.h"

#include "event_log/log_cursor.h"
#include "event_log/log_format.h"

#include <fcntl.h>

/* Shards 0 and 1 take turns; returns the positions of shard 0's events. */
static void fill(struct log_test *test, int count, tg_log_position *positions)
{
  log_open(test);
  for (int i = 1; i <= count; i++) {
    positions[i] = put(test, 0, (uint64_t)i);
    put(test, 1, (uint64_t)i);
  }
  flush(test);
}

static void a_torn_tail_is_cut(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[21];
  char path[128], byte = 'T';
  fill(test, 20, at);
  tg_event_log_close(test->log);
  test->log = NULL;
  path_of(test, segment_of(at[20]), path);
  assert_int_equal(truncate(path, offset_of(at[20]) + 60), 0); /* in the middle of its payload */
  log_reopen(test);
  expect_waiting(test, 0, 1, 1, 19);
  expect_waiting(test, 1, 1, 1, 19);
  assert_int_equal(test->gap_count, 2); /* the cursor knew of more: no kill does that */
  expect_gap(&test->gaps[0], 0, 1, 20, 20, 0, TG_LOSS_DAMAGED);
  assert_int_equal(test->gaps[0].before, 0);
  uint64_t epoch, sequence;
  assert_true(tg_event_log_last(test->log, 0, &epoch, &sequence));
  assert_int_equal(sequence, 19); /* so the shard resumes from here */
  put(test, 0, 20);
  put(test, 1, 20);
  flush(test);
  ack(test, 0, 19);
  tg_event_log_told(test->log, 0);
  ack(test, 0, 1);
  ack(test, 1, 20);
  log_reopen(test);
  assert_int_equal(test->gap_count, 0);
  assert_int_equal(count_waiting(test), 0);

  /* The rest of a write that was torn. */
  tg_log_position last = put(test, 0, 21);
  flush(test);
  tg_event_log_close(test->log);
  test->log = NULL;
  for (off_t offset = 400; offset < 3000; offset += 100)
    scribble(test, segment_of(last), offset_of(last) + offset, &byte, 1);
  log_reopen(test);
  expect_waiting(test, 0, 1, 21, 21);
  assert_int_equal(test->gap_count, 0);
}

static void a_damaged_record_costs_itself_alone(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[101];
  char rubbish[32];
  memset(rubbish, 0xee, sizeof rubbish);
  fill(test, 100, at);
  scribble(test, segment_of(at[50]), offset_of(at[50]) + 70, rubbish, 3); /* its payload */
  scribble(test, segment_of(at[60]), offset_of(at[60]), rubbish, 32);     /* its header, with the length */
  log_reopen(test);
  assert_int_equal(count_waiting(test), 198);
  assert_int_equal(test->gap_count, 2);
  expect_gap(&test->gaps[0], 0, 1, 50, 50, 0, TG_LOSS_DAMAGED);
  assert_int_equal(test->gaps[0].before, at[51]);
  expect_gap(&test->gaps[1], 0, 1, 60, 60, 0, TG_LOSS_DAMAGED);
  expect_waiting(test, 1, 1, 1, 100);
  ack(test, 0, 49);
  log_reopen(test);
  assert_int_equal(test->gap_count, 2);
  ack(test, 0, 1);
  log_reopen(test); /* the first is behind us */
  assert_int_equal(test->gap_count, 1);
  expect_gap(&test->gaps[0], 0, 1, 60, 60, 0, TG_LOSS_DAMAGED);
}

static void a_zeroed_page_is_no_end(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[101];
  char zeros[4096] = {0};
  fill(test, 100, at);
  scribble(test, segment_of(at[1]), 8192, zeros, sizeof zeros);
  log_reopen(test);
  assert_int_equal(test->gap_count, 2);
  for (int i = 0; i < 2; i++) {
    const struct tg_log_gap *gap = &test->gaps[i];
    uint64_t lost = gap->to - gap->from + 1;
    assert_true(gap->from > 1 && gap->to < 100 && lost > 5 && lost < 50);
    struct tg_log_figures figures;
    tg_event_log_shard_figures(test->log, gap->shard_id, &figures);
    assert_int_equal(figures.events, 100 - lost);
  }
}

static void damage_while_it_runs_is_noticed(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[11];
  struct tg_log_record record;
  fill(test, 10, at);
  scribble(test, segment_of(at[4]), offset_of(at[4]) + 60, "#", 1);
  expect_record(test, 0, at[3], 1, 3);
  assert_false(tg_event_log_read(test->log, 0, at[4], &record, &test->error));
  assert_string_equal(test->error.code, "log_damaged");
  expect_record(test, 0, at[5], 1, 5);
  tg_event_log_ack(test->log, 0, at[4]);
  assert_int_equal(count_waiting(test), 19);
}

static void a_missing_segment_is_reported_by_shard(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[1001];
  char path[128];
  fill(test, 1000, at);
  uint32_t victim = segment_of(at[1]) + 1;
  uint64_t from = 1, to;
  while (segment_of(at[from]) < victim)
    from++;
  for (to = from; segment_of(at[to + 1]) == victim; to++)
    ;
  path_of(test, victim, path);
  assert_int_equal(unlink(path), 0);
  log_reopen(test);
  assert_int_equal(test->gap_count, 2);
  bool first = test->gaps[0].shard_id == 0;
  expect_gap(&test->gaps[!first], 0, 1, from, to, 0, TG_LOSS_DAMAGED);
  assert_int_equal(test->gaps[!first].before, at[to + 1]);
  assert_int_equal(tg_event_log_next(test->log, 0, at[from - 1], NULL), at[to + 1]);
}

static void all_segments_missing_is_a_gap_too(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[101];
  char path[128];
  fill(test, 100, at);
  ack(test, 0, 30);
  path_of(test, segment_of(at[1]), path);
  assert_int_equal(unlink(path), 0);
  log_reopen(test);
  assert_int_equal(test->gap_count, 2);
  expect_gap(&test->gaps[0], 0, 1, 31, 100, 0, TG_LOSS_DAMAGED);
  assert_int_equal(segment_of(put(test, 0, 101)), segment_of(at[1]) + 1); /* positions are not used twice */
  flush(test);
  tg_event_log_told(test->log, 0);
  tg_event_log_told(test->log, 1);
  log_reopen(test);
  assert_int_equal(test->gap_count, 1); /* shard 0's marker was not followed by an ack yet */
  ack(test, 0, 1);
  log_reopen(test);
  assert_int_equal(test->gap_count, 0);
}

static void empty_and_foreign_files_do_no_harm(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[11];
  char path[128], other[200];
  fill(test, 10, at);
  path_of(test, segment_of(at[1]) + 1, path); /* killed between making it and taking its room */
  close(open(path, O_CREAT | O_WRONLY, 0600));
  snprintf(other, sizeof other, "%s/0000000099.segment.bak", test->directory);
  close(open(other, O_CREAT | O_WRONLY, 0600));
  snprintf(other, sizeof other, "%s/9999999999.segment", test->directory); /* no number of ours */
  close(open(other, O_CREAT | O_WRONLY, 0600));
  scribble(test, segment_of(at[1]), 0, "nonsense", 8); /* the header says nothing any more, the records do */
  log_reopen(test);
  expect_waiting(test, 0, 1, 1, 10);
  expect_waiting(test, 1, 1, 1, 10);
  assert_int_equal(test->gap_count, 0);
  assert_int_equal(access(path, F_OK), -1);
}

static void a_block_in_the_wrong_place_is_no_record(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[11];
  char path[128], other[128], command[300];
  fill(test, 10, at);
  ack(test, 0, 10);
  path_of(test, segment_of(at[1]), path);
  path_of(test, segment_of(at[1]) + 1, other);
  snprintf(command, sizeof command, "cp '%s' '%s'", path, other);
  assert_int_equal(system(command), 0);
  log_reopen(test);
  assert_int_equal(first_of(test, 0), 0);
  expect_waiting(test, 1, 1, 1, 10);
  assert_int_equal(test->gap_count, 0);
}

static void without_its_cursor_all_comes_again(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[1001];
  fill(test, 1000, at);
  ack(test, 0, 500);
  ack(test, 1, 500);
  scribble(test, 0, 0, "nonsense", 8);
  log_reopen(test);
  assert_int_equal(test->gap_count, 0);
  struct tg_log_entry entry;
  tg_log_position first = tg_event_log_next(test->log, 0, 0, &entry);
  assert_true(entry.sequence > 1 && entry.sequence <= 501);
  assert_true(segment_of(first) > segment_of(at[1]));
  expect_waiting(test, 0, 1, entry.sequence, 1000);
}

static void one_copy_of_a_place_is_enough(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[31];
  fill(test, 30, at);
  for (int copy = 0; copy < 2; copy++) {
    ack(test, 0, 10); /* the copies are written in turn */
    ack(test, 1, 10);
    uint64_t waiting = count_waiting(test);
    for (int place = 0; place < 2; place++)
      scribble(test, 0, 4096 + place * 128 + copy * 64 + 20, "####", 4);
    log_reopen(test);
    assert_int_equal(test->gap_count, 0);
    assert_true(count_waiting(test) >= waiting && count_waiting(test) <= waiting + 2);
    while (count_waiting(test) > waiting) /* the last ack of each, at most, was only there */
      ack(test, first_of(test, 0) < first_of(test, 1) ? 0 : 1, 1);
  }
}

/* After a power cut the cursor may be older than the removal of segments. */
static void a_reboot_explains_missing_files(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[1001];
  char cursor[200], saved[200], command[512];
  fill(test, 1000, at);
  snprintf(cursor, sizeof cursor, "%s/cursor", test->directory);
  snprintf(saved, sizeof saved, "%s/saved", test->parent);
  snprintf(command, sizeof command, "cp '%s' '%s'", cursor, saved);
  assert_int_equal(system(command), 0);
  ack(test, 0, 900);
  ack(test, 1, 900);
  tg_event_log_close(test->log);
  test->log = NULL;
  snprintf(command, sizeof command, "cp '%s' '%s'", saved, cursor);
  assert_int_equal(system(command), 0);
  log_reopen(test); /* in the same boot that cannot be: something was removed */
  assert_int_equal(test->gap_count, 2);
  assert_int_equal(test->gaps[0].from, 1);
  tg_event_log_close(test->log);
  test->log = NULL;
  assert_int_equal(system(command), 0);
  scribble(test, 0, 24, "another boot", 12);
  log_reopen(test);
  assert_int_equal(test->gap_count, 0);
  struct tg_log_entry entry;
  tg_event_log_next(test->log, 0, 0, &entry);
  assert_true(entry.sequence <= 901);
  expect_waiting(test, 0, 1, entry.sequence, 1000);
}

static void a_gap_over_two_sessions_is_two(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  put(test, 0, 5);
  tg_log_position lost = put(test, 0, 6);
  put_as(test, 0, 2, 1, TG_LOG_EVENT, 0, 1700000000000);
  tg_log_position next = put_as(test, 0, 2, 4, TG_LOG_EVENT, 0, 1700000000000);
  flush(test);
  char zeros[64] = {0};
  for (tg_log_position at = lost; at + sizeof zeros <= next; at += sizeof zeros)
    scribble(test, segment_of(at), offset_of(at), zeros, sizeof zeros);
  scribble(test, segment_of(lost), offset_of(next) - 64, zeros, sizeof zeros);
  log_reopen(test);
  assert_int_equal(test->gap_count, 2);
  expect_gap(&test->gaps[0], 0, 1, 6, 0, 0, TG_LOSS_DAMAGED);
  expect_gap(&test->gaps[1], 0, 2, 1, 3, 0, TG_LOSS_DAMAGED);
  assert_int_equal(test->gaps[1].before, next);
}

static void expect_first(struct log_test *test, int shard, uint64_t expected_epoch, uint64_t expected)
{
  uint64_t epoch, sequence;
  assert_true(tg_event_log_first(test->log, shard, &epoch, &sequence));
  assert_int_equal(epoch, expected_epoch);
  assert_int_equal(sequence, expected);
}

/* Shard 0 begins with an event, shard 1 with a marker that tells of more than one. */
static void a_log_knows_with_what_it_begins(void **state)
{
  struct log_test *test = *state;
  uint64_t epoch, sequence;
  struct tg_span body = {"a marker", 8};
  struct tg_log_event marker = {.shard_id = 1, .epoch = 1, .sequence = 9, .from = 4, .kind = TG_LOG_MARKER};
  marker.parts = &body;
  marker.part_count = 1;
  log_open(test);
  assert_false(tg_event_log_first(test->log, 0, &epoch, &sequence));
  put(test, 0, 5);
  put(test, 0, 6);
  tg_log_position lost = tg_event_log_append(test->log, &marker, &test->error);
  put(test, 1, 10);
  flush(test);
  scribble(test, segment_of(lost), offset_of(lost) + TG_RECORD_HEADER, "#", 1);
  log_reopen(test);
  expect_first(test, 0, 1, 5);
  expect_first(test, 1, 1, 4);
  assert_int_equal(test->gap_count, 1);
  expect_gap(&test->gaps[0], 1, 1, 4, 9, 0, TG_LOSS_DAMAGED);
  ack(test, 0, 1);
  expect_first(test, 0, 1, 0);
}

static void segments_do_not_pile_up_with_starts(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  for (uint64_t sequence = 1; sequence <= 20; sequence++) {
    put(test, 0, sequence);
    flush(test);
    if (sequence != 7)
      ack(test, 0, sequence < 7);
    log_reopen(test);
  }
  struct tg_log_figures figures;
  tg_event_log_figures(test->log, &figures);
  assert_int_equal(figures.events, 14);
  assert_true(figures.disk_bytes < SEGMENT + 14 * 8192); /* each is cut to its end */
  for (int i = 0; i < 5; i++)
    log_reopen(test);
  assert_int_equal(count_segments(test), 15);
  expect_waiting(test, 0, 1, 7, 20);
  ack(test, 0, 14);
  assert_int_equal(count_segments(test), 1);
}

static void any_cut_leaves_the_records_before_it(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[21];
  fill(test, 20, at);
  tg_event_log_close(test->log);
  test->log = NULL;
  char path[128], copy[200];
  path_of(test, segment_of(at[1]), path);
  char bytes[16384];
  int fd = open(path, O_RDONLY);
  assert_int_equal(read(fd, bytes, sizeof bytes), sizeof bytes);
  close(fd);
  off_t end = offset_of(at[20]) + 400;
  for (off_t cut = end; cut >= 0; cut -= 7) {
    snprintf(copy, sizeof copy, "%s/cut-%d", test->parent, (int)cut);
    assert_int_equal(mkdir(copy, 0700), 0);
    snprintf(path, sizeof path, "%.80s/%010u.segment", copy, segment_of(at[1]));
    fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, bytes, (size_t)cut), cut);
    close(fd);
    test->options.directory = copy;
    log_reopen(test);
    uint64_t expected = 0;
    while (expected < 20 && offset_of(at[expected + 1]) < cut)
      expected++;
    struct tg_log_figures figures;
    tg_event_log_shard_figures(test->log, 0, &figures);
    assert_true(figures.events == expected || figures.events + 1 == expected);
    expect_waiting(test, 0, 1, 1, figures.events);
    tg_event_log_close(test->log);
    test->log = NULL;
    remove_tree(copy);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_torn_tail_is_cut, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_damaged_record_costs_itself_alone, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_zeroed_page_is_no_end, log_begin, log_end),
      cmocka_unit_test_setup_teardown(damage_while_it_runs_is_noticed, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_missing_segment_is_reported_by_shard, log_begin, log_end),
      cmocka_unit_test_setup_teardown(all_segments_missing_is_a_gap_too, log_begin, log_end),
      cmocka_unit_test_setup_teardown(empty_and_foreign_files_do_no_harm, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_block_in_the_wrong_place_is_no_record, log_begin, log_end),
      cmocka_unit_test_setup_teardown(without_its_cursor_all_comes_again, log_begin, log_end),
      cmocka_unit_test_setup_teardown(one_copy_of_a_place_is_enough, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_reboot_explains_missing_files, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_gap_over_two_sessions_is_two, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_log_knows_with_what_it_begins, log_begin, log_end),
      cmocka_unit_test_setup_teardown(segments_do_not_pile_up_with_starts, log_begin, log_end),
      cmocka_unit_test_setup_teardown(any_cut_leaves_the_records_before_it, log_begin, log_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
