#pragma once

/* A log in a directory of its own, for units. Events carry a text that names
 * them, so that what is read back can be checked. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/log.h"
#include "event_log/event_log.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GAPS = 64, SEGMENT = 64 << 10, BODY = 1000 };

struct log_test {
  char parent[64], directory[80];
  struct tg_event_log_options options;
  struct tg_event_log *log;
  struct tg_error error;
  struct tg_log_gap gaps[GAPS];
  int gap_count;
};

static void note_gap(void *ctx, const struct tg_log_gap *gap)
{
  struct log_test *test = ctx;
  assert_true(test->gap_count < GAPS);
  test->gaps[test->gap_count++] = *gap;
}

static int log_begin(void **state)
{
  struct log_test *test = calloc(1, sizeof *test);
  tg_log_set_level(TG_ERROR);
  snprintf(test->parent, sizeof test->parent, "%s/tg-log-XXXXXX",
           access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  assert_non_null(mkdtemp(test->parent));
  snprintf(test->directory, sizeof test->directory, "%s/worker-0", test->parent);
  test->options = (struct tg_event_log_options){
      .directory = test->directory,
      .small_segment = SEGMENT,
      .large_segment = SEGMENT,
      .on_gap = note_gap,
      .ctx = test,
  };
  *state = test;
  return 0;
}

static void remove_tree(const char *path)
{
  DIR *walk = opendir(path);
  for (struct dirent *entry; walk && (entry = readdir(walk)) != NULL;) {
    char name[512];
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
    if (unlink(name) != 0)
      remove_tree(name);
  }
  if (walk)
    closedir(walk);
  rmdir(path);
}

static int log_end(void **state)
{
  struct log_test *test = *state;
  tg_event_log_close(test->log);
  remove_tree(test->parent);
  free(test);
  return 0;
}

static inline void log_open(struct log_test *test)
{
  test->log = tg_event_log_open(&test->options, &test->error);
  if (!test->log)
    fail_msg("%s", test->error.message);
}

static inline void log_reopen(struct log_test *test)
{
  tg_event_log_close(test->log);
  test->gap_count = 0;
  log_open(test);
}

/* The payload of an event: its name, and filling. */
static inline size_t make_body(char body[BODY], int shard, uint64_t epoch, uint64_t sequence)
{
  int length = snprintf(body, BODY, "shard %d epoch %d event %d ", shard, (int)epoch, (int)sequence);
  size_t total = (size_t)length + (size_t)(sequence * 37 + (uint64_t)shard) % 200;
  memset(body + length, 'a' + (int)(sequence % 26), total - (size_t)length);
  return total;
}

static inline tg_log_position put_as(struct log_test *test, int shard, uint64_t epoch, uint64_t sequence,
                                     enum tg_log_kind kind, uint8_t flags, tg_ms at)
{
  char body[BODY];
  size_t length = make_body(body, shard, epoch, sequence);
  struct tg_span parts[] = {{body, 5}, {body + 5, 0}, {body + 5, length - 5}};
  struct tg_log_event event = {
      .shard_id = shard,
      .epoch = epoch,
      .sequence = sequence,
      .at = at,
      .kind = kind,
      .flags = flags,
      .parts = parts,
      .part_count = 3,
  };
  tg_log_position position = tg_event_log_append(test->log, &event, &test->error);
  if (position == 0)
    fail_msg("%s", test->error.message);
  return position;
}

static inline tg_log_position put(struct log_test *test, int shard, uint64_t sequence)
{
  return put_as(test, shard, 1, sequence, TG_LOG_EVENT, 0, 1700000000000);
}

static inline void flush(struct log_test *test)
{
  if (!tg_event_log_flush(test->log, &test->error))
    fail_msg("%s", test->error.message);
}

/* Reads the record and checks that it is whole. */
static inline void expect_record(struct log_test *test, int shard, tg_log_position position, uint64_t epoch,
                                 uint64_t sequence)
{
  char body[BODY];
  size_t length = make_body(body, shard, epoch, sequence);
  struct tg_log_record record;
  if (!tg_event_log_read(test->log, shard, position, &record, &test->error))
    fail_msg("%s", test->error.message);
  assert_int_equal(record.position, position);
  assert_int_equal(record.shard_id, shard);
  assert_int_equal(record.epoch, epoch);
  assert_int_equal(record.sequence, sequence);
  assert_int_equal(record.payload.length, length);
  assert_memory_equal(record.payload.at, body, length);
}

/* What waits of the shard is exactly first..last of the epoch. */
static inline void expect_waiting(struct log_test *test, int shard, uint64_t epoch, uint64_t first, uint64_t last)
{
  struct tg_log_entry entry;
  tg_log_position position = 0;
  for (uint64_t sequence = first; sequence <= last; sequence++) {
    position = tg_event_log_next(test->log, shard, position, &entry);
    assert_true(position != 0);
    assert_int_equal(entry.epoch, epoch);
    assert_int_equal(entry.sequence, sequence);
    expect_record(test, shard, position, epoch, sequence);
  }
  assert_int_equal(tg_event_log_next(test->log, shard, position, &entry), 0);
}

static inline tg_log_position first_of(struct log_test *test, int shard)
{
  return tg_event_log_next(test->log, shard, 0, NULL);
}

/* Acks the first `count` records that wait. */
static inline void ack(struct log_test *test, int shard, int count)
{
  for (int i = 0; i < count; i++) {
    tg_log_position position = first_of(test, shard);
    assert_true(position != 0);
    tg_event_log_ack(test->log, shard, position);
  }
}

static inline void expect_gap(const struct tg_log_gap *gap, int shard, uint64_t epoch, uint64_t from, uint64_t to,
                              uint64_t count, enum tg_log_loss reason)
{
  assert_int_equal(gap->shard_id, shard);
  assert_int_equal(gap->epoch, epoch);
  assert_int_equal(gap->from, from);
  assert_int_equal(gap->to, to);
  assert_int_equal(gap->count, count);
  assert_string_equal(tg_log_loss_name(gap->reason), tg_log_loss_name(reason));
}

static inline void path_of(const struct log_test *test, uint32_t segment, char path[128])
{
  snprintf(path, 128, "%s/%010u.segment", test->directory, segment);
}

static inline int count_segments(const struct log_test *test)
{
  struct tg_log_figures figures;
  tg_event_log_figures(test->log, &figures);
  return figures.segments;
}

static inline uint64_t count_waiting(const struct log_test *test)
{
  struct tg_log_figures figures;
  tg_event_log_figures(test->log, &figures);
  return figures.events;
}

/* Writes over a segment (or with number 0 the cursor). */
static inline void scribble(const struct log_test *test, uint32_t segment, off_t offset, const void *bytes,
                            size_t length)
{
  char path[128];
  path_of(test, segment, path);
  if (segment == 0)
    snprintf(path, sizeof path, "%s/cursor", test->directory);
  FILE *file = fopen(path, "r+");
  assert_non_null(file);
  assert_int_equal(fseek(file, offset, SEEK_SET), 0);
  assert_int_equal(fwrite(bytes, 1, length, file), length);
  fclose(file);
}

static inline uint32_t segment_of(tg_log_position position) { return (uint32_t)(position >> 32); }
static inline off_t offset_of(tg_log_position position) { return (off_t)(position & UINT32_MAX); }
