/* The log when the power fails: at a thousand moments for each setting of queue.sync, in the middle of
 * whatever the log does, a directory is made as it may be found then (unit/base/power_disk.h), and opened as by the
 * next start.
 *
 * What was synced is all there, but for what was delivered. Of the rest anything may be missing, but what
 * comes is whole, in order, and what is missing in front of something that came is told; Discord sends again
 * what is behind the last of it. And what is written from then on is found by the start after that. */

#include "event_log_fixture.h"
#include "unit/base/power_disk.h"

#include "base/boot.h"

#include <errno.h>

enum { CUTS = 1000, SHARDS = 4, BEHIND = 20, LAST = 200000 };

/* Of one shard, by sequences. */
struct truth {
  uint64_t put, synced, acked;
};

static struct disk *disk; /* NULL: nothing is watched */
static struct truth truths[SHARDS];
static char image[96], boot[TG_BOOT_SIZE] = "first boot";
static int cuts, reboots;
static bool cutting;
static uint64_t lost, repeated, told; /* for people */

void tg_boot_name(char name[TG_BOOT_SIZE])
{
  memcpy(name, boot, TG_BOOT_SIZE);
}

/* ---- the next start ---- */

static bool is_told(const struct log_test *test, int shard, uint64_t sequence)
{
  for (int i = 0; i < test->gap_count; i++) {
    const struct tg_log_gap *gap = &test->gaps[i];
    if (gap->shard_id == shard && (gap->from == 0 || gap->from <= sequence) &&
        (gap->to == 0 || sequence <= gap->to))
      return true;
  }
  return false;
}

static void expect_no_loss(const struct log_test *test, int shard, uint64_t from, uint64_t to)
{
  const struct truth *truth = &truths[shard];
  for (uint64_t missing = from; missing < to; missing++) {
    if (missing <= truth->acked)
      continue;
    if (missing <= truth->synced)
      fail_msg("cut %d: shard %d: %d was synced (up to %d), and is gone", cuts, shard, (int)missing,
               (int)truth->synced);
    if (!is_told(test, shard, missing))
      fail_msg("cut %d: shard %d: %d is missing, and nobody is told", cuts, shard, (int)missing);
    told++;
  }
}

/* All that waits is in order and whole. Returns the last of it, 0: nothing. */
static uint64_t check_waiting(struct log_test *test, int shard)
{
  struct tg_log_entry entry;
  tg_log_position position = 0;
  uint64_t last = 0;
  while ((position = tg_event_log_next(test->log, shard, position, &entry)) != 0) {
    if (entry.sequence <= last)
      fail_msg("cut %d: shard %d: %d comes after %d", cuts, shard, (int)entry.sequence, (int)last);
    expect_record(test, shard, position, 1, entry.sequence);
    expect_no_loss(test, shard, last + 1, entry.sequence);
    repeated += entry.sequence <= truths[shard].acked;
    last = entry.sequence;
  }
  return last;
}

static void check_shard(struct log_test *test, int shard, uint64_t *next)
{
  const struct truth *truth = &truths[shard];
  uint64_t epoch = 0, last = 0, waits = check_waiting(test, shard);
  tg_event_log_last(test->log, shard, &epoch, &last);
  assert_true(last >= waits && last <= truth->put);
  if (last < truth->synced && truth->acked < truth->synced)
    fail_msg("cut %d: shard %d: the log ends with %d, and %d was synced", cuts, shard, (int)last,
             (int)truth->synced);
  expect_no_loss(test, shard, waits + 1, last + 1);
  lost += truth->put - (last > truth->acked ? last : truth->acked);
  *next = last + 1;
}

/* The log goes on, and the start after this one finds what came then. */
static void check_what_follows(struct log_test *test, const uint64_t next[SHARDS])
{
  uint64_t waiting = count_waiting(test);
  for (int i = 0; i < 3; i++)
    for (int shard = 0; shard < SHARDS; shard++)
      put(test, shard, next[shard] + (uint64_t)i);
  flush(test);
  log_reopen(test);
  assert_int_equal(count_waiting(test), waiting + 3 * SHARDS);
  for (int shard = 0; shard < SHARDS; shard++)
    assert_int_equal(check_waiting(test, shard), next[shard] + 2);
}

static void start_again(void)
{
  struct log_test test = {0};
  uint64_t next[SHARDS], put_so_far[SHARDS];
  test.options = (struct tg_event_log_options){.directory = image,
                                               .small_segment = SEGMENT,
                                               .large_segment = SEGMENT,
                                               .on_gap = note_gap,
                                               .ctx = &test};
  log_open(&test);
  for (int shard = 0; shard < SHARDS; shard++)
    check_shard(&test, shard, &next[shard]);
  for (int shard = 0; shard < SHARDS; shard++) /* an earlier part of them is told of already */
    put_so_far[shard] = truths[shard].acked, truths[shard].acked = next[shard] - 1;
  check_what_follows(&test, next);
  for (int shard = 0; shard < SHARDS; shard++)
    truths[shard].acked = put_so_far[shard];
  tg_event_log_close(test.log);
}

static void cut(void)
{
  cutting = true;
  assert_int_equal(mkdir(image, 0700), 0);
  disk_cut(disk, image);
  snprintf(boot, sizeof boot, "boot %d", ++reboots);
  start_again();
  snprintf(boot, sizeof boot, "first boot");
  remove_tree(image);
  cuts++;
  cutting = false;
}

/* ---- what the log asks the kernel for ---- */

static void come_by(void)
{
  if (!disk || cutting)
    return;
  int code = errno;
  disk_look(disk);
  if (disk_random(disk, 30) == 0)
    disk_write_back(disk);
  if (cuts < CUTS && disk_random(disk, 3) == 0)
    cut();
  errno = code;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
  come_by();
  ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, at);
  come_by();
  return done;
}

int unlinkat(int directory, const char *name, int flags)
{
  come_by();
  int result = (int)syscall(SYS_unlinkat, directory, name, flags);
  come_by();
  return result;
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
  come_by();
  int result = (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, 0);
  come_by();
  return result;
}

int fdatasync(int fd)
{
  come_by();
  if (disk && !cutting)
    disk_synced(disk, fd);
  come_by();
  return 0;
}

/* ---- a worker's life ---- */

enum sync { NONE, INTERVAL, BATCH };

static void receive(struct log_test *test)
{
  int count = 1 + (int)disk_random(disk, 24);
  for (int i = 0; i < count; i++) {
    int shard = (int)disk_random(disk, SHARDS);
    put(test, shard, ++truths[shard].put);
  }
  flush(test);
}

static void sync_all(struct log_test *test)
{
  assert_true(tg_event_log_sync_now(test->log, &test->error));
  for (int shard = 0; shard < SHARDS; shard++)
    truths[shard].synced = truths[shard].put;
}

static void deliver(struct log_test *test)
{
  int shard = (int)disk_random(disk, SHARDS), count = (int)disk_random(disk, 40);
  struct tg_log_entry entry;
  for (tg_log_position position;
       count-- > 0 && (position = tg_event_log_next(test->log, shard, 0, &entry)) != 0;) {
    truths[shard].acked = entry.sequence;
    tg_event_log_ack(test->log, shard, position);
  }
}

static void lives_until(struct log_test *test, enum sync sync)
{
  bool down = false;
  for (int turn = 1; cuts < CUTS && truths[0].put < LAST; turn++) {
    receive(test);
    if (sync == BATCH || (sync == INTERVAL && turn % BEHIND == 0))
      sync_all(test);
    if (disk_random(disk, 100) == 0)
      down = !down; /* the bot: what waits becomes more than one segment, or nothing */
    for (int i = 0; i < 3 && !down; i++)
      deliver(test);
    if (disk_random(disk, 200) == 0)
      log_reopen(test); /* a worker's death, without a power cut */
  }
}

static void run(struct log_test *test, enum sync sync)
{
  disk = calloc(1, sizeof *disk);
  disk->directory = test->directory;
  disk->random = 4711 + (uint64_t)sync;
  snprintf(image, sizeof image, "%s/image", test->parent);
  memset(truths, 0, sizeof truths);
  cuts = 0;
  lost = repeated = told = 0;
  log_open(test);
  lives_until(test, sync);
  assert_int_equal(cuts, CUTS);
  print_message(
      "# %d cuts: %.1f events behind the last sync lost a cut, %.1f told as missing, %.1f come again\n", cuts,
      (double)lost / cuts, (double)told / cuts, (double)repeated / cuts);
  struct disk *seen = disk;
  disk = NULL;
  disk_free(seen);
}

static void without_sync(void **state)
{
  run(*state, NONE);
}
static void with_a_sync_now_and_then(void **state)
{
  run(*state, INTERVAL);
}

static void with_a_sync_each_turn(void **state)
{
  run(*state, BATCH);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(without_sync, log_begin, log_end),
      cmocka_unit_test_setup_teardown(with_a_sync_now_and_then, log_begin, log_end),
      cmocka_unit_test_setup_teardown(with_a_sync_each_turn, log_begin, log_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
