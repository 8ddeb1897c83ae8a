/* The log: appending, reading back, acks, bounds, and a disk that refuses. */

#include "event_log_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

/* In the place of libc's: a disk that is full or broken on demand. */
static int write_error;
static off_t largest_file; /* 0: no limit */

int posix_fallocate(int fd, off_t offset, off_t length)
{
  if (largest_file > 0 && length > largest_file)
    return ENOSPC;
  return fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
  if (write_error) {
    errno = write_error;
    return -1;
  }
  return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

static int begin(void **state)
{
  write_error = 0;
  largest_file = 0;
  return log_begin(state);
}

static void a_record_is_read_as_it_was_appended(void **state)
{
  struct log_test *test = *state;
  struct tg_log_entry entry;
  log_open(test);
  tg_log_position event = put_as(test, 3, 7, 41, TG_LOG_EVENT, TG_LOG_KEEP, 1700000001234);
  tg_log_position marker = put_as(test, 3, 7, 42, TG_LOG_MARKER, 0, 1700000002000);
  for (int turn = 0; turn < 2; turn++) { /* out of the buffer, then out of the file */
    struct tg_log_record record;
    assert_true(tg_event_log_read(test->log, 3, event, &record, &test->error));
    assert_int_equal(record.at, 1700000001234);
    assert_int_equal(record.kind, TG_LOG_EVENT);
    assert_int_equal(record.flags, TG_LOG_KEEP);
    assert_int_equal(record.marks, 0);
    expect_record(test, 3, event, 7, 41);
    expect_record(test, 3, marker, 7, 42);
    flush(test);
  }
  assert_int_equal(tg_event_log_next(test->log, 3, 0, &entry), event);
  assert_int_equal(entry.at, 1700000001000);
  assert_int_equal(entry.kind, TG_LOG_EVENT);
  assert_int_equal(entry.flags, TG_LOG_KEEP);
  assert_int_equal(tg_event_log_next(test->log, 3, event, &entry), marker);
  assert_int_equal(entry.kind, TG_LOG_MARKER);
  assert_int_equal(entry.flags, 0);
  assert_int_equal(tg_event_log_next(test->log, 3, marker, &entry), 0);
  assert_int_equal(tg_event_log_next(test->log, 4, 0, &entry), 0);
}

/* What is kept is in front of what was dropped behind it: a gap does not span it. */
static void gaps_end_at_what_is_kept(void **state)
{
  struct log_test *test = *state;
  test->options.disk_bytes = 8 * SEGMENT;
  log_open(test);
  put(test, 0, 1);
  put_as(test, 0, 1, 2, TG_LOG_EVENT, TG_LOG_KEEP, 1700000000000);
  for (uint64_t sequence = 3; test->gap_count == 0; sequence++) {
    put(test, 0, sequence);
    flush(test);
  }
  assert_true(test->gap_count >= 2);
  expect_gap(&test->gaps[0], 0, 1, 1, 1, 1, TG_LOSS_OVERFLOW);
  assert_int_equal(test->gaps[0].before, first_of(test, 0));
  expect_gap(&test->gaps[1], 0, 1, 3, test->gaps[1].to, test->gaps[1].to - 2, TG_LOSS_OVERFLOW);
}

static void only_a_flush_makes_durable(void **state)
{
  struct log_test *test = *state;
  uint64_t epoch, sequence;
  log_open(test);
  put(test, 0, 1);
  assert_true(tg_event_log_unflushed(test->log));
  flush(test);
  assert_false(tg_event_log_unflushed(test->log));
  put(test, 0, 2);
  log_reopen(test);
  expect_waiting(test, 0, 1, 1, 1);
  assert_true(tg_event_log_last(test->log, 0, &epoch, &sequence));
  assert_int_equal(sequence, 1);
  assert_false(tg_event_log_last(test->log, 1, &epoch, &sequence));
  assert_int_equal(test->gap_count, 0);
}

static void shards_go_at_their_own_pace(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  for (uint64_t sequence = 1; sequence <= 900; sequence++)
    for (int shard = 0; shard < 3; shard++)
      put(test, shard, sequence);
  flush(test);
  assert_true(count_segments(test) > 5);
  ack(test, 0, 900);
  ack(test, 1, 500);
  log_reopen(test);
  expect_waiting(test, 0, 1, 1, 0);
  expect_waiting(test, 1, 1, 501, 900);
  expect_waiting(test, 2, 1, 1, 900);
  assert_int_equal(test->gap_count, 0);
  struct tg_log_figures figures;
  tg_event_log_shard_figures(test->log, 1, &figures);
  assert_int_equal(figures.events, 400);
  assert_int_equal(figures.oldest_at, 1700000000000);
  assert_int_equal(count_waiting(test), 1300);
  ack(test, 1, 400);
  ack(test, 2, 900);
  assert_int_equal(count_segments(test), 1);
  log_reopen(test);
  assert_int_equal(count_waiting(test), 0);
  assert_int_equal(test->gap_count, 0);
}

static void a_segment_goes_as_soon_as_nothing_in_it_waits(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  put(test, 0, 1); /* is never acked */
  uint64_t sequence = 0;
  while (count_segments(test) < 6)
    put(test, 1, ++sequence);
  flush(test);
  ack(test, 1, (int)sequence - 1);
  assert_true(count_segments(test) <= 3);
  log_reopen(test);
  expect_waiting(test, 0, 1, 1, 1);
  expect_waiting(test, 1, 1, sequence, sequence);
  assert_int_equal(test->gap_count, 0);
  ack(test, 1, 1);
  log_reopen(test);
  log_reopen(test); /* of the shard's events only the oldest is still in a file */
  uint64_t epoch, last;
  assert_true(tg_event_log_last(test->log, 1, &epoch, &last));
  assert_int_equal(last, sequence);
}

static void acks_out_of_order_wait_for_those_before(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[6];
  log_open(test);
  for (uint64_t sequence = 1; sequence <= 5; sequence++)
    at[sequence] = put(test, 0, sequence);
  flush(test);
  tg_event_log_ack(test->log, 0, at[3]);
  tg_event_log_ack(test->log, 0, at[3]);
  tg_event_log_ack(test->log, 0, at[3] + 8); /* there is no such record */
  tg_event_log_ack(test->log, 9, at[3]);
  assert_false(tg_event_log_waits(test->log, 0, at[3]));
  assert_true(tg_event_log_waits(test->log, 0, at[4]));
  assert_int_equal(count_waiting(test), 4);
  assert_int_equal(tg_event_log_next(test->log, 0, at[2], NULL), at[4]);
  struct tg_log_record record;
  assert_false(tg_event_log_read(test->log, 1, at[4], &record, &test->error));
  assert_string_equal(test->error.code, "log_damaged");
  log_reopen(test);
  expect_waiting(test, 0, 1, 1, 5); /* the third comes again: the cursor is a line, not a list */
  for (int i = 3; i > 0; i--)
    tg_event_log_ack(test->log, 0, at[i]);
  log_reopen(test);
  expect_waiting(test, 0, 1, 4, 5);
}

static void a_record_larger_than_a_segment_has_one_of_its_own(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  put(test, 0, 1);
  size_t length = 3 << 20;
  char *body = malloc(length);
  for (size_t i = 0; i < length; i++)
    body[i] = (char)(i * 7 + i / 251);
  struct tg_span part = {body, length};
  struct tg_log_event event = {.shard_id = 0, .epoch = 1, .sequence = 2, .kind = TG_LOG_EVENT, .parts = &part,
                               .part_count = 1};
  tg_log_position position = tg_event_log_append(test->log, &event, &test->error);
  assert_true(position != 0);
  put(test, 0, 3);
  flush(test);
  log_reopen(test);
  struct tg_log_record record;
  assert_true(tg_event_log_read(test->log, 0, position, &record, &test->error));
  assert_int_equal(record.payload.length, length);
  assert_memory_equal(record.payload.at, body, length);
  assert_int_equal(count_waiting(test), 3);
  free(body);

  part.length = (size_t)TG_LOG_PAYLOAD_MAX + 1;
  assert_int_equal(tg_event_log_append(test->log, &event, &test->error), 0);
  assert_string_equal(test->error.code, "too_large");
  part.length = 0;
  assert_int_equal(tg_event_log_append(test->log, &event, &test->error), 0);
}

static void marks_outlive_the_process(void **state)
{
  struct log_test *test = *state;
  struct tg_log_record record;
  log_open(test);
  tg_log_position first = put(test, 0, 1);
  assert_true(tg_event_log_mark(test->log, first, 1, &test->error)); /* in the buffer */
  flush(test);
  tg_log_position second = put(test, 0, 2);
  flush(test);
  expect_record(test, 0, second, 1, 2);
  assert_true(tg_event_log_mark(test->log, second, 0x12, &test->error)); /* in the file */
  assert_true(tg_event_log_read(test->log, 0, second, &record, &test->error));
  assert_int_equal(record.marks, 0x12);
  log_reopen(test);
  assert_true(tg_event_log_read(test->log, 0, first, &record, &test->error));
  assert_int_equal(record.marks, 1);
  assert_true(tg_event_log_read(test->log, 0, second, &record, &test->error));
  assert_int_equal(record.marks, 0x12);
  expect_waiting(test, 0, 1, 1, 2);
  assert_false(tg_event_log_mark(test->log, second + (1ull << 40), 1, &test->error));
  assert_false(tg_event_log_mark(test->log, second, TG_LOG_MARKS_MAX + 1, &test->error));
}

static void segments_grow_with_the_backlog(void **state)
{
  struct log_test *test = *state;
  struct tg_log_figures figures;
  test->options.large_segment = 4 * SEGMENT;
  log_open(test);
  for (uint64_t sequence = 1; sequence <= 2000; sequence++) { /* the handler keeps up */
    put(test, 0, sequence);
    flush(test);
    ack(test, 0, 1);
    tg_event_log_figures(test->log, &figures);
    assert_true(figures.disk_bytes <= 3 * SEGMENT);
  }
  uint64_t sequence = 2000, before = 0;
  for (int segment = 0; segment < 4; segment++) { /* it does not */
    before = segment_of(put(test, 0, ++sequence));
    while (segment_of(put(test, 0, ++sequence)) == before)
      ;
    flush(test);
  }
  char path[128];
  struct stat status;
  path_of(test, (uint32_t)before, path);
  assert_int_equal(stat(path, &status), 0);
  assert_true(status.st_size > 3 * SEGMENT && status.st_size <= 4 * SEGMENT);
}

static void the_next_segment_is_made_ready_in_time(void **state)
{
  struct log_test *test = *state;
  char path[128];
  log_open(test);
  tg_log_position position = put(test, 0, 1);
  path_of(test, segment_of(position) + 1, path);
  for (uint64_t sequence = 2; offset_of(position) < SEGMENT / 2; sequence++) {
    position = put(test, 0, sequence);
    flush(test);
  }
  assert_int_equal(access(path, F_OK), -1);
  for (uint64_t sequence = 500; offset_of(position) < SEGMENT * 7 / 8; sequence++) {
    position = put(test, 0, sequence);
    flush(test);
  }
  assert_int_equal(access(path, F_OK), 0);
}

static void at_the_bound_the_oldest_go_and_are_reported(void **state)
{
  struct log_test *test = *state;
  test->options.disk_bytes = 8 * SEGMENT;
  log_open(test);
  tg_log_position kept = put_as(test, 1, 1, 1, TG_LOG_EVENT, TG_LOG_KEEP, 1700000000000);
  for (uint64_t sequence = 1; test->gap_count < 3; sequence++) {
    put(test, 0, sequence);
    flush(test);
    struct tg_log_figures figures;
    tg_event_log_figures(test->log, &figures);
    assert_true(figures.disk_bytes <= 8 * SEGMENT);
  }
  uint64_t next = 1;
  for (int i = 0; i < 3; i++) {
    expect_gap(&test->gaps[i], 0, 1, next, test->gaps[i].to, test->gaps[i].to - next + 1, TG_LOSS_OVERFLOW);
    next = test->gaps[i].to + 1;
  }
  struct tg_log_entry entry;
  assert_int_equal(tg_event_log_next(test->log, 0, 0, &entry), test->gaps[2].before);
  assert_int_equal(entry.sequence, next);
  expect_record(test, 1, kept, 1, 1); /* its segment went, it did not */
  log_reopen(test);
  assert_int_equal(test->gap_count, 1); /* nobody has been told */
  expect_gap(&test->gaps[0], 0, 1, 1, next - 1, next - 1, TG_LOSS_OVERFLOW);
  assert_int_equal(test->gaps[0].before, first_of(test, 0));
  expect_record(test, 1, kept, 1, 1);
  ack(test, 1, 1);
  tg_event_log_told(test->log, 0);
  ack(test, 0, 1);
  log_reopen(test);
  assert_int_equal(test->gap_count, 0);
}

static void what_is_kept_goes_when_nothing_else_is_left(void **state)
{
  struct log_test *test = *state;
  test->options.disk_bytes = 8 * SEGMENT;
  log_open(test);
  uint64_t sequence = 0;
  while (test->gap_count == 0) {
    put_as(test, 0, 1, ++sequence, TG_LOG_EVENT, TG_LOG_KEEP, 1700000000000);
    flush(test);
    assert_true(sequence < 10000);
  }
  expect_gap(&test->gaps[0], 0, 1, 1, test->gaps[0].to, test->gaps[0].to, TG_LOSS_OVERFLOW);
  assert_true(test->gaps[0].to < sequence / 2);
  expect_waiting(test, 0, 1, test->gaps[0].to + 1, sequence);
}

static void a_gap_is_reported_for_each_epoch(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  for (uint64_t sequence = 11; sequence <= 15; sequence++)
    put(test, 0, sequence);
  for (uint64_t sequence = 1; sequence <= 3; sequence++)
    put_as(test, 0, 2, sequence, TG_LOG_EVENT, 0, 1700000000000);
  while (count_segments(test) < 2)
    put(test, 1, 1);
  flush(test);
  assert_true(tg_event_log_drop_oldest(test->log, TG_LOSS_OVERFLOW));
  assert_int_equal(test->gap_count, 3);
  expect_gap(&test->gaps[0], 0, 1, 11, 15, 5, TG_LOSS_OVERFLOW);
  expect_gap(&test->gaps[1], 0, 2, 1, 3, 3, TG_LOSS_OVERFLOW);
  assert_int_equal(test->gaps[0].before, 0);
  assert_int_equal(test->gaps[2].shard_id, 1);
  assert_false(tg_event_log_drop_oldest(test->log, TG_LOSS_OVERFLOW)); /* only the one being written is left */
  log_reopen(test);
  assert_int_equal(test->gap_count, 3); /* again, as far as the cursor knows it */
  assert_int_equal(test->gaps[0].shard_id, 1);
  expect_gap(&test->gaps[1], 0, 1, 11, 0, 8, TG_LOSS_OVERFLOW);
  expect_gap(&test->gaps[2], 0, 2, 1, 3, 0, TG_LOSS_OVERFLOW);
  tg_event_log_told(test->log, 0);
  ack(test, 1, 1);
  log_reopen(test);
  assert_int_equal(test->gap_count, 0);
}

/* A log that another one went before does not begin at 1, nor do its gaps. */
static void a_gap_begins_where_the_log_does(void **state)
{
  struct log_test *test = *state;
  test->options.disk_bytes = 8 * SEGMENT;
  log_open(test);
  for (uint64_t sequence = 172; test->gap_count == 0; sequence++) {
    put(test, 0, sequence);
    flush(test);
  }
  uint64_t to = test->gaps[test->gap_count - 1].to;
  log_reopen(test);
  assert_int_equal(test->gap_count, 1);
  expect_gap(&test->gaps[0], 0, 1, 172, to, to - 171, TG_LOSS_OVERFLOW);
}

static void a_policy_drops_single_records(void **state)
{
  struct log_test *test = *state;
  tg_log_position at[7];
  log_open(test);
  for (uint64_t sequence = 1; sequence <= 6; sequence++)
    at[sequence] = put(test, 0, sequence);
  flush(test);
  tg_event_log_drop(test->log, 0, at[1], TG_LOSS_OVERFLOW);
  tg_event_log_drop(test->log, 0, at[3], TG_LOSS_OVERFLOW);
  assert_int_equal(test->gap_count, 0); /* he who drops knows it */
  assert_int_equal(count_waiting(test), 4);
  tg_event_log_told(test->log, 0);
  tg_event_log_ack(test->log, 0, at[2]);
  log_reopen(test);
  expect_waiting(test, 0, 1, 3, 6); /* of the third nobody was told yet */
  tg_event_log_drop(test->log, 0, at[3], TG_LOSS_OVERFLOW);
  tg_event_log_told(test->log, 0);
  log_reopen(test);
  expect_waiting(test, 0, 1, 4, 6);
}

static void what_is_too_old_goes(void **state)
{
  struct log_test *test = *state;
  test->options.max_age = 60000;
  log_open(test);
  for (uint64_t sequence = 1; sequence <= 10; sequence++)
    put_as(test, 0, 1, sequence, TG_LOG_EVENT, sequence == 2 ? TG_LOG_KEEP : 0, 1700000000000 + (tg_ms)sequence * 10000);
  flush(test);
  assert_int_equal(tg_event_log_expire(test->log, 1700000060000), 0);
  assert_int_equal(tg_event_log_expire(test->log, 1700000060000 + 45000), 4);
  assert_int_equal(test->gap_count, 1);
  expect_gap(&test->gaps[0], 0, 1, 1, 4, 4, TG_LOSS_EXPIRED);
  expect_waiting(test, 0, 1, 5, 10);
  test->options.max_age = 0;
  log_reopen(test);
  assert_int_equal(tg_event_log_expire(test->log, INT64_MAX), 0);
}

static void a_full_disk_refuses_and_keeps_what_it_has(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  uint64_t sequence = 0;
  while (count_segments(test) < 4)
    put(test, 0, ++sequence);
  flush(test);
  uint64_t before = first_of(test, 0);
  largest_file = SEGMENT - 1; /* no new segment */
  struct tg_error error = {0};
  char body[BODY] = "x";
  struct tg_span part = {body, sizeof body};
  struct tg_log_event event = {.shard_id = 0, .epoch = 1, .kind = TG_LOG_EVENT, .parts = &part, .part_count = 1};
  for (event.sequence = sequence + 1; tg_event_log_append(test->log, &event, &error); event.sequence++)
    ;
  assert_string_equal(error.code, "disk_full");
  assert_non_null(strstr(error.message, "queue.disk_bytes"));
  assert_int_equal(test->gap_count, 0);
  assert_int_equal(first_of(test, 0), before);
  flush(test); /* what was appended before is safe */
  assert_true(tg_event_log_drop_oldest(test->log, TG_LOSS_DISK_FULL)); /* the caller sees no other way */
  assert_int_equal(test->gap_count, 1);
  assert_int_equal(test->gaps[0].reason, TG_LOSS_DISK_FULL);
  assert_int_equal(test->gaps[0].from, 1);
  assert_true(first_of(test, 0) > before);
  largest_file = 0;
  log_reopen(test);
  struct tg_log_entry entry = {0};
  for (tg_log_position at = 0; (at = tg_event_log_next(test->log, 0, at, &entry)) != 0;)
    ;
  assert_int_equal(entry.sequence, event.sequence - 1);
  put(test, 0, event.sequence);
}

static void a_failed_write_is_tried_again(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  put(test, 0, 1);
  flush(test);
  tg_log_position position = put(test, 0, 2);
  write_error = EIO;
  assert_false(tg_event_log_flush(test->log, &test->error));
  assert_string_equal(test->error.code, "disk");
  assert_true(tg_event_log_unflushed(test->log));
  expect_record(test, 0, position, 1, 2); /* still in memory */
  put(test, 0, 3);
  write_error = 0;
  flush(test);
  log_reopen(test);
  expect_waiting(test, 0, 1, 1, 3);
  assert_int_equal(test->gap_count, 0);
}

static void a_directory_that_cannot_be_used_is_refused(void **state)
{
  struct log_test *test = *state;
  test->options.directory = "/dev/null/log";
  assert_null(tg_event_log_open(&test->options, &test->error));
  assert_string_equal(test->error.code, "disk");
  assert_non_null(strstr(test->error.message, "/dev/null/log"));
  test->options.directory = test->directory;
  largest_file = 100;
  assert_null(tg_event_log_open(&test->options, &test->error));
  assert_string_equal(test->error.code, "disk_full");
  largest_file = 0;
  write_error = EROFS;
  assert_null(tg_event_log_open(&test->options, &test->error));
  assert_string_equal(test->error.code, "disk");
  write_error = 0;
  log_open(test);
}

static void one_writer_at_a_time(void **state)
{
  struct log_test *test = *state;
  char pid[32];
  snprintf(pid, sizeof pid, "pid %ld", (long)getpid());
  log_open(test);
  assert_null(tg_event_log_open(&test->options, &test->error));
  assert_string_equal(test->error.code, "locked");
  assert_non_null(strstr(test->error.message, pid));
  log_reopen(test);
}

static void on_synced(void *ctx, bool ok, tg_log_position through, const struct tg_error *error)
{
  assert_true(ok);
  assert_string_equal(error->code, "");
  *(tg_log_position *)ctx = through;
}

static void syncs_in_a_thread(void **state)
{
  struct log_test *test = *state;
  uv_loop_t loop;
  uv_loop_init(&loop);
  log_open(test);
  tg_log_position first = put(test, 0, 1), synced[3] = {0};
  flush(test);
  tg_event_log_sync(test->log, &loop, on_synced, &synced[0]);
  tg_log_position second = put(test, 0, 2);
  flush(test);
  tg_event_log_sync(test->log, &loop, on_synced, &synced[1]); /* these two share one */
  tg_event_log_sync(test->log, &loop, on_synced, &synced[2]);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_true(synced[0] >= first && synced[0] < second);
  assert_true(synced[1] >= second && synced[1] == synced[2]);
  put(test, 0, 3);
  assert_true(tg_event_log_sync_now(test->log, &test->error));
  assert_false(tg_event_log_unflushed(test->log));
  synced[0] = 0;
  tg_event_log_sync(test->log, &loop, on_synced, &synced[0]);
  tg_event_log_sync(test->log, &loop, on_synced, &synced[0]);
  log_reopen(test); /* closed in the middle: nobody is called */
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(synced[0], 0);
  assert_int_equal(uv_loop_close(&loop), 0);
}

static void walks_its_shards(void **state)
{
  struct log_test *test = *state;
  log_open(test);
  for (int shard = 0; shard < 200; shard++) /* more than the first cursor has places for */
    put(test, shard * 1000, 1);
  flush(test);
  for (int shard = 0; shard < 200; shard += 2)
    ack(test, shard * 1000, 1);
  log_reopen(test);
  bool seen[200] = {false};
  int shard;
  for (int i = 0; (shard = tg_event_log_shard_at(test->log, i)) >= 0; i++)
    seen[shard / 1000] = true;
  for (int i = 0; i < 200; i++) {
    assert_true(seen[i]);
    expect_waiting(test, i * 1000, 1, i % 2 ? 1 : 2, 1);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_record_is_read_as_it_was_appended, begin, log_end),
      cmocka_unit_test_setup_teardown(only_a_flush_makes_durable, begin, log_end),
      cmocka_unit_test_setup_teardown(gaps_end_at_what_is_kept, begin, log_end),
      cmocka_unit_test_setup_teardown(shards_go_at_their_own_pace, begin, log_end),
      cmocka_unit_test_setup_teardown(a_segment_goes_as_soon_as_nothing_in_it_waits, begin, log_end),
      cmocka_unit_test_setup_teardown(acks_out_of_order_wait_for_those_before, begin, log_end),
      cmocka_unit_test_setup_teardown(a_record_larger_than_a_segment_has_one_of_its_own, begin, log_end),
      cmocka_unit_test_setup_teardown(marks_outlive_the_process, begin, log_end),
      cmocka_unit_test_setup_teardown(segments_grow_with_the_backlog, begin, log_end),
      cmocka_unit_test_setup_teardown(the_next_segment_is_made_ready_in_time, begin, log_end),
      cmocka_unit_test_setup_teardown(at_the_bound_the_oldest_go_and_are_reported, begin, log_end),
      cmocka_unit_test_setup_teardown(what_is_kept_goes_when_nothing_else_is_left, begin, log_end),
      cmocka_unit_test_setup_teardown(a_gap_is_reported_for_each_epoch, begin, log_end),
      cmocka_unit_test_setup_teardown(a_gap_begins_where_the_log_does, begin, log_end),
      cmocka_unit_test_setup_teardown(a_policy_drops_single_records, begin, log_end),
      cmocka_unit_test_setup_teardown(what_is_too_old_goes, begin, log_end),
      cmocka_unit_test_setup_teardown(a_full_disk_refuses_and_keeps_what_it_has, begin, log_end),
      cmocka_unit_test_setup_teardown(a_failed_write_is_tried_again, begin, log_end),
      cmocka_unit_test_setup_teardown(a_directory_that_cannot_be_used_is_refused, begin, log_end),
      cmocka_unit_test_setup_teardown(one_writer_at_a_time, begin, log_end),
      cmocka_unit_test_setup_teardown(syncs_in_a_thread, begin, log_end),
      cmocka_unit_test_setup_teardown(walks_its_shards, begin, log_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
