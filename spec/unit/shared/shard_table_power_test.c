/* The shard table when the power fails (unit/base/power_disk.h): at any moment it opens, with sessions that
 * were stored at one time or another, each of them whole. */

#include "unit/base/power_disk.h"

#include "base/log.h"
#include "shared/shard_table.h"

#include <errno.h>

enum { CUTS = 1000, SHARDS = 9 };

static struct disk *disk;

/* All of a session follows from its epoch. */
static struct tg_session session_of(int shard, uint64_t epoch)
{
  struct tg_session session = {.epoch = epoch, .sequence = epoch * 7};
  snprintf(session.id, sizeof session.id, "%d-%032d", shard, (int)epoch);
  snprintf(session.resume_url, sizeof session.resume_url, "wss://%d.example", (int)epoch);
  return session;
}

static void expect_session(struct tg_shard_table *table, int shard, uint64_t last)
{
  struct tg_session found, expected;
  if (!tg_session_load(tg_shard_table_row(table, shard), &found))
    return;
  assert_true(found.epoch >= 1 && found.epoch <= last);
  expected = session_of(shard, found.epoch);
  assert_string_equal(found.id, expected.id);
  assert_string_equal(found.resume_url, expected.resume_url);
  assert_int_equal(found.sequence, expected.sequence);
}

static void cut(const uint64_t *epochs)
{
  struct tg_error error;
  assert_int_equal(mkdir(disk->image, 0700), 0);
  disk_look(disk);
  if (disk_random(disk, 4) == 0)
    disk_write_back(disk);
  disk_cut(disk, disk->image);
  struct tg_shard_table *table = tg_shard_table_open(disk->image, 0, SHARDS, 4711, 0, &error);
  if (!table)
    fail_msg("%s", error.message);
  for (int shard = 0; shard < SHARDS; shard++)
    expect_session(table, shard, epochs[shard]);
  tg_shard_table_close(table);
  tg_shard_table_remove(disk->image, 0);
  assert_int_equal(rmdir(disk->image), 0);
}

static void has_whole_sessions(void **state)
{
  (void)state;
  struct tg_error error;
  uint64_t epochs[SHARDS] = {0};
  struct tg_shard_table *table = tg_shard_table_open(disk->own, 0, SHARDS, 4711, 0, &error);
  assert_non_null(table);
  for (int i = 0; i < CUTS; i++) {
    for (int times = (int)disk_random(disk, 20); times > 0; times--) {
      int shard = (int)disk_random(disk, SHARDS);
      struct tg_session session = session_of(shard, ++epochs[shard]);
      tg_session_store(tg_shard_table_row(table, shard), &session);
    }
    cut(epochs);
  }
  tg_shard_table_close(table);
}

static int begin(void **state)
{
  (void)state;
  tg_log_set_level(TG_ERROR); /* tables that were not written yet are damaged ones */
  disk = disk_new("table");
  return 0;
}

static int end(void **state)
{
  (void)state;
  tg_shard_table_remove(disk->own, 0);
  int left = disk_remove(disk);
  disk_free(disk);
  return left;
}

int main(void)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(has_whole_sessions, begin, end)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
