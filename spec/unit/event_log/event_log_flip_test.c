/* The log after bits have flipped in its files, at random: each record waits as it was appended, or a gap in
 * front of the next one names it. TG_FLIP_ROUNDS=20000 looks for longer; a round that fails names its number,
 * and TG_FLIP_FIRST=4711 begins with it. */

#include "unit/event_log/event_log_fixture.h"

#include "event_log/log_format.h"

#include <fcntl.h>

enum { SHARDS = 3, RECORDS = 400, ROUNDS = 150, GAPS_MAX = 4 * RECORDS };

struct written {
  tg_log_position position;
  uint64_t epoch, sequence;
  uint8_t marks;
};

static struct written written[SHARDS][RECORDS];
static int count[SHARDS], acked[SHARDS];
static struct tg_log_gap gaps[GAPS_MAX];
static int gap_count;
static uint32_t dice;

static void take_gap(void *ctx, const struct tg_log_gap *gap)
{
  (void)ctx;
  assert_true(gap_count < GAPS_MAX);
  gaps[gap_count++] = *gap;
}

static uint32_t below(uint32_t limit)
{
  dice ^= dice << 13;
  dice ^= dice >> 17;
  dice ^= dice << 5;
  return dice % limit;
}

/* Of one shard the sequences have holes, as filters make them. */
static void append_all(struct log_test *test)
{
  uint64_t epoch[SHARDS] = {1, 1, 1}, sequence[SHARDS] = {0};
  memset(count, 0, sizeof count);
  memset(acked, 0, sizeof acked);
  for (int i = 0; i < RECORDS; i++) {
    int shard = (int)below(SHARDS);
    if (below(100) == 0) {
      epoch[shard]++;
      sequence[shard] = 0;
    }
    sequence[shard] += 1 + (shard == 2 ? below(3) : 0);
    struct written *here = &written[shard][count[shard]++];
    *here = (struct written){.epoch = epoch[shard], .sequence = sequence[shard]};
    here->position = put_as(test, shard, here->epoch, here->sequence, TG_LOG_EVENT,
                            below(4) == 0 ? TG_LOG_KEEP : 0, 1700000000000);
    if (below(8) == 0)
      flush(test);
  }
  flush(test);
  for (int shard = 0; shard < SHARDS; shard++) {
    acked[shard] = (int)below((uint32_t)count[shard] / 2 + 1);
    ack(test, shard, acked[shard]);
    for (int i = acked[shard]; i < count[shard]; i++)
      if (below(8) == 0) {
        struct written *here = &written[shard][i];
        here->marks = (uint8_t)(1 + below(TG_LOG_MARKS_MAX));
        assert_true(tg_event_log_mark(test->log, here->position, here->marks, &test->error));
      }
  }
}

/* In one segment, of what is written there. */
static void flip(const struct log_test *test, uint32_t segment, int bits)
{
  char path[128], byte;
  struct stat status;
  path_of(test, segment, path);
  if (stat(path, &status) != 0)
    return;
  off_t end = TG_SEGMENT_HEADER;
  for (int shard = 0; shard < SHARDS; shard++)
    for (int i = 0; i < count[shard]; i++)
      if (segment_of(written[shard][i].position) == segment && offset_of(written[shard][i].position) >= end)
        end = offset_of(written[shard][i].position) + TG_RECORD_HEADER;
  int fd = open(path, O_RDWR);
  assert_true(fd >= 0);
  for (int i = 0; i < bits; i++) {
    off_t at = below((uint32_t)end);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (char)(1 << below(8));
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
  }
  close(fd);
}

/* A gap with an open end goes as far as the record that it is in front of: over a short session, too. */
static bool covers(const struct tg_log_gap *gap, const struct written *record)
{
  if (gap->to == 0 && gap->epoch < record->epoch)
    return true;
  return gap->epoch == record->epoch && gap->from <= record->sequence &&
         (gap->to == 0 || gap->to >= record->sequence);
}

static bool is_named(int shard, const struct written *record, tg_log_position next)
{
  for (int i = 0; i < gap_count; i++)
    if (gaps[i].shard_id == shard && gaps[i].before == next && covers(&gaps[i], record))
      return true;
  return false;
}

static void check(struct log_test *test, uint32_t round, int shard)
{
  tg_log_position next = tg_event_log_next(test->log, shard, 0, NULL);
  for (int i = acked[shard]; i < count[shard]; i++) {
    const struct written *here = &written[shard][i];
    if (here->position != next) {
      if (!is_named(shard, here, next))
        fail_msg("round %u: shard %d, epoch %d: %d is neither there nor named", round, shard,
                 (int)here->epoch, (int)here->sequence);
      continue;
    }
    struct tg_log_record record;
    expect_record(test, shard, next, here->epoch, here->sequence);
    assert_true(tg_event_log_read(test->log, shard, next, &record, &test->error));
    if (record.marks != here->marks && record.marks != 0)
      fail_msg("round %u: shard %d, epoch %d: %d has the marks %x, not %x", round, shard, (int)here->epoch,
               (int)here->sequence, record.marks, here->marks);
    next = tg_event_log_next(test->log, shard, next, NULL);
  }
  assert_int_equal(next, 0);
}

static void nothing_is_lost_in_silence(void **state)
{
  struct log_test *test = *state;
  const char *rounds = getenv("TG_FLIP_ROUNDS"), *first = getenv("TG_FLIP_FIRST");
  uint32_t from = first ? (uint32_t)atoi(first) : 1, to = from + (rounds ? (uint32_t)atoi(rounds) : ROUNDS);
  test->options.on_gap = take_gap;
  for (uint32_t round = from; round < to; round++) {
    dice = round * 2654435761u | 1;
    log_open(test);
    append_all(test);
    tg_event_log_close(test->log);
    for (uint32_t segment = 1; segment <= 3; segment++)
      flip(test, segment, (int)below(60));
    gap_count = 0;
    log_open(test);
    for (int shard = 0; shard < SHARDS; shard++)
      check(test, round, shard);
    tg_event_log_close(test->log);
    test->log = NULL;
    remove_tree(test->directory);
  }
}

/* A mark may say that an event is not to be delivered: no damage makes one. */
static void flipped_bits_make_no_marks(void **state)
{
  (void)state;
  for (unsigned marks = 0; marks <= TG_LOG_MARKS_MAX; marks++) {
    uint16_t stored = tg_marks_encode((uint8_t)marks);
    assert_int_equal(tg_marks_decode(stored), marks);
    for (int first = 0; first < 16; first++)
      for (int second = 0; second < 16; second++) {
        uint16_t flipped = stored ^ (uint16_t)(1u << first);
        assert_int_equal(tg_marks_decode(flipped), 0);
        if (second != first)
          assert_int_equal(tg_marks_decode(flipped ^ (uint16_t)(1u << second)), 0);
      }
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(flipped_bits_make_no_marks),
      cmocka_unit_test_setup_teardown(nothing_is_lost_in_silence, log_begin, log_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
