#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proto/shard_ref.h"
#include "shared/shard_table.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];

static int make_directory(void **state)
{
  (void)state;
  strcpy(directory, "/tmp/tidegate-table-XXXXXX");
  return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
  (void)state;
  for (int side = 0; side < TG_SIDES; side++)
    tg_shard_table_remove(directory, side);
  return rmdir(directory);
}

static struct tg_session sample(void)
{
  struct tg_session session = {.epoch = 7, .sequence = 42, .seen_at = 1000};
  strcpy(session.id, "0123456789abcdef");
  strcpy(session.resume_url, "wss://resume.example");
  return session;
}

static void sessions_outlive_the_process(void **state)
{
  (void)state;
  struct tg_error error = {0};
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 4, 99, 0, &error);
  assert_non_null(table);
  struct tg_session session = sample(), found;
  assert_false(tg_session_load(tg_shard_table_row(table, 2), &found));
  tg_session_store(tg_shard_table_row(table, 2), &session);
  tg_shard_table_close(table);

  table = tg_shard_table_open(directory, 0, 4, 99, 0, &error);
  assert_true(tg_session_load(tg_shard_table_row(table, 2), &found));
  assert_string_equal(found.id, session.id);
  assert_string_equal(found.resume_url, session.resume_url);
  assert_int_equal(found.epoch, 7);
  assert_int_equal(found.sequence, 42);
  assert_false(tg_session_load(tg_shard_table_row(table, 1), &found));
  tg_shard_table_close(table);
}

static void the_durable_sequence_is_where_to_resume(void **state)
{
  (void)state;
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 1, 1, 0, NULL);
  struct tg_shard_row *row = tg_shard_table_row(table, 0);
  struct tg_session session = sample(), found;
  tg_session_store(row, &session);
  atomic_store(&row->durable_sequence, 50);
  assert_true(tg_session_load(row, &found));
  assert_int_equal(found.sequence, 50);
  tg_session_forget(row);
  assert_false(tg_session_load(row, &found));
  assert_int_equal(found.epoch, 7);
  tg_shard_table_close(table);
}

/* Whoever has the shard next begins there: it may be less than is true, but not more. */
static void what_is_owed_is_of_one_epoch(void **state)
{
  (void)state;
  struct tg_shard_row row = {0};
  uint64_t epoch, sequence;
  tg_row_owed(&row, &epoch, &sequence);
  assert_int_equal(epoch, 0);
  tg_row_set_owed(&row, 7, 42);
  tg_row_owed(&row, &epoch, &sequence);
  assert_int_equal(epoch, 7);
  assert_int_equal(sequence, 42);
  tg_row_set_owed(&row, 7, 43);
  tg_row_set_owed(&row, 8, 0);
  tg_row_owed(&row, &epoch, &sequence);
  assert_int_equal(epoch, 8);
  assert_int_equal(sequence, 0);
}

static void another_bot_starts_empty(void **state)
{
  (void)state;
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 2, 1, 0, NULL);
  struct tg_session session = sample(), found;
  tg_session_store(tg_shard_table_row(table, 0), &session);
  tg_shard_table_close(table);
  table = tg_shard_table_open(directory, 0, 2, 2, 0, NULL);
  assert_false(tg_session_load(tg_shard_table_row(table, 0), &found));
  tg_shard_table_close(table);
}

/* The bot drops what it knows by (shard, epoch, s): a lower epoch would be dropped whole. */
static void epochs_go_on_in_an_empty_table(void **state)
{
  (void)state;
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 2, 1, 0, NULL);
  struct tg_session session = sample(), found;
  tg_session_store(tg_shard_table_row(table, 1), &session);
  tg_shard_table_close(table);
  table = tg_shard_table_open(directory, 0, 3, 2, 0, NULL);
  for (int i = 0; i < 3; i++) {
    assert_false(tg_session_load(tg_shard_table_row(table, i), &found));
    assert_int_equal(found.epoch, 7);
  }
  tg_shard_table_close(table);
}

static void an_epoch_follows_the_last_one_or_is_the_time(void **state)
{
  (void)state;
  enum { IN_2026 = 1767225600 };
  static const struct {
    uint64_t last;
    tg_ms now;
    uint64_t next;
  } rows[] = {
      {0, 1790000000999, 1790000000}, {7, 1790000000999, 8},   {1790000000, 1780000000000, 1790000001},
      {0, 0, IN_2026},                {0, 4294967296, IN_2026}, /* a clock that began at 1970 */
      {0, 4102444800000, IN_2026},    {0, -1000, IN_2026},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    assert_int_equal(tg_next_epoch(rows[i].last, rows[i].now), rows[i].next);
}

static void ids_of_any_length_are_kept(void **state)
{
  (void)state;
  static const size_t lengths[] = {1, 126, 127, 128, 129, 500, TG_SESSION_ID_MAX - 1};
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 1, 1, 0, NULL);
  struct tg_session session = sample(), found;
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    memset(session.id, 0, sizeof session.id);
    memset(session.id, 'a' + (int)i, lengths[i]);
    tg_session_store(tg_shard_table_row(table, 0), &session);
    tg_shard_table_close(table);
    table = tg_shard_table_open(directory, 0, 1, 1, 0, NULL);
    assert_true(tg_session_load(tg_shard_table_row(table, 0), &found));
    assert_string_equal(found.id, session.id);
    assert_string_equal(found.resume_url, session.resume_url);
  }
  session = sample(); /* nothing is left of a longer one */
  tg_session_store(tg_shard_table_row(table, 0), &session);
  assert_true(tg_session_load(tg_shard_table_row(table, 0), &found));
  assert_string_equal(found.id, session.id);
  tg_shard_table_close(table);
}

/* As earlier versions wrote it: rows of 1024 bytes behind a header of 4096. */
static void write_first_table(int total, uint64_t identity, uint64_t bot)
{
  struct {
    char magic[8];
    uint32_t version, row_size;
    uint64_t bot, identity;
    int32_t total;
  } header = {"tg-shard", 1, 1024, bot, identity, total};
  struct {
    uint32_t guard, gap;
    char id[128], resume_url[256];
    uint64_t epoch, sequence;
    int64_t seen_at;
    int32_t state, worker_id, rtt;
    uint32_t unheard;
    uint64_t durable_sequence;
  } row = {.guard = 2, .id = "of-before", .resume_url = "wss://resume.example", .rtt = -1};
  char path[128], *file = calloc(1, 4096 + (size_t)total * 1024);
  memcpy(file, &header, sizeof header);
  for (int i = 0; i < total; i++) {
    row.epoch = 70 + (uint64_t)i;
    row.durable_sequence = row.sequence = 1000 + (uint64_t)i;
    memcpy(file + 4096 + i * 1024, &row, sizeof row);
  }
  snprintf(path, sizeof path, "%s/shards", directory);
  FILE *out = fopen(path, "w");
  assert_int_equal(fwrite(file, 4096 + (size_t)total * 1024, 1, out), 1);
  fclose(out);
  free(file);
}

static void a_table_of_shorter_rows_goes_on(void **state)
{
  (void)state;
  uint64_t bot = tg_identity_bot("token", 513), identity = tg_identity(bot, 3);
  write_first_table(3, identity, bot);
  assert_int_equal(tg_shard_table_peek(directory, 0, bot), 3);
  for (int round = 0; round < 2; round++) {
    struct tg_shard_table *table = tg_shard_table_open(directory, 0, 3, identity, 0, NULL);
    for (int i = 0; i < 3; i++) {
      struct tg_session found;
      assert_true(tg_session_load(tg_shard_table_row(table, i), &found));
      assert_string_equal(found.id, "of-before");
      assert_int_equal(found.epoch, 70 + i);
      assert_int_equal(found.sequence, 1000 + i);
      assert_int_equal(tg_shard_table_row(table, i)->rtt, -1);
    }
    tg_shard_table_close(table);
    assert_int_equal(tg_shard_table_peek(directory, 0, bot), 3);
  }
}

static void epochs_of_a_table_of_shorter_rows_go_on(void **state)
{
  (void)state;
  write_first_table(3, 1, 1);
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 4, 2, 0, NULL);
  struct tg_session found;
  assert_false(tg_session_load(tg_shard_table_row(table, 3), &found));
  assert_int_equal(found.epoch, 72);
  tg_shard_table_close(table);
}

/* kill -9 in the middle of a write leaves the guard odd. */
static void a_half_written_session_is_not_used(void **state)
{
  (void)state;
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 1, 1, 0, NULL);
  struct tg_shard_row *row = tg_shard_table_row(table, 0);
  struct tg_session session = sample(), found;
  tg_session_store(row, &session);
  atomic_fetch_or(&row->session_guard, 1);
  assert_false(tg_session_load(row, &found));
  tg_session_store(row, &session);
  assert_true(tg_session_load(row, &found));
  tg_shard_table_close(table);
}

/* They begin with the gateway; what the next start needs stays. */
static void counters_are_cleared(void **state)
{
  (void)state;
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 2, 7, 0, NULL);
  struct tg_shard_row *row = tg_shard_table_row(table, 1);
  _Atomic uint64_t *const counters[] = {&row->received, &row->filtered,   &row->delivered,  &row->retried,
                                        &row->dropped,  &row->dead,       &row->replayed,   &row->gaps,
                                        &row->resumes,  &row->reconnects, &row->identifies, &row->recovered};
  enum { COUNTERS = sizeof counters / sizeof counters[0] };
  for (int i = 0; i < COUNTERS; i++)
    atomic_store(counters[i], 5);
  atomic_store(&row->closes[tg_close_place(4000)], 5);
  atomic_store(&row->guilds, 5);
  atomic_store(&row->unheard, 5);
  atomic_store(&row->handled_epoch, 5);
  atomic_store(&row->handled_sequence, 5);
  atomic_store(&row->delivered_sequence, 5);
  struct tg_session session = {.id = "abc", .epoch = 5, .sequence = 5}, found;
  tg_session_store(row, &session);
  tg_shard_table_clear_counters(table);
  for (int i = 0; i < COUNTERS; i++)
    assert_int_equal(atomic_load(counters[i]), 0);
  for (int place = 0; place < TG_CLOSE_CODES; place++)
    assert_int_equal(atomic_load(&row->closes[place]), 0);
  assert_int_equal(atomic_load(&row->guilds), 5);
  assert_int_equal(atomic_load(&row->unheard), 5);
  assert_int_equal(atomic_load(&row->handled_epoch), 5);
  assert_int_equal(atomic_load(&row->handled_sequence), 5);
  assert_int_equal(atomic_load(&row->delivered_sequence), 5);
  assert_true(tg_session_load(row, &found));
  assert_int_equal(found.sequence, 5);
  tg_shard_table_close(table);
}

static void peek_knows_whose_table_it_is(void **state)
{
  (void)state;
  uint64_t bot = tg_identity_bot("token", 513);
  assert_int_equal(tg_shard_table_peek(directory, 0, bot), 0);
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 32, tg_identity(bot, 32), 0, NULL);
  tg_shard_table_set_bot(table, bot);
  tg_shard_table_close(table);
  assert_int_equal(tg_shard_table_peek(directory, 0, bot), 32);
  assert_int_equal(tg_shard_table_peek(directory, 0, tg_identity_bot("token", 1)), 0);
}

static void garbage_in_the_file_is_replaced(void **state)
{
  (void)state;
  char path[128];
  snprintf(path, sizeof path, "%s/shards", directory);
  FILE *file = fopen(path, "w");
  for (int i = 0; i < 5000; i++)
    fputc(i * 31, file);
  fclose(file);
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 3, 5, 0, NULL);
  struct tg_session found;
  assert_non_null(table);
  assert_int_equal(tg_shard_table_total(table), 3);
  assert_false(tg_session_load(tg_shard_table_row(table, 2), &found));
  tg_shard_table_close(table);
}

static void spoil(long offset, const void *bytes, size_t length)
{
  char path[128];
  snprintf(path, sizeof path, "%s/shards", directory);
  FILE *file = fopen(path, "r+");
  assert_int_equal(fseek(file, offset, SEEK_SET), 0);
  assert_int_equal(fwrite(bytes, length, 1, file), 1);
  fclose(file);
}

/* The manager takes so many shards from it, and makes room for them. */
static void more_shards_than_there_are_rows_are_not_believed(void **state)
{
  (void)state;
  const int32_t totals[] = {4, 1000000, INT32_MAX, -1, INT32_MIN};
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 3, 5, 0, NULL);
  tg_shard_table_set_bot(table, 9);
  tg_shard_table_close(table);
  assert_int_equal(tg_shard_table_peek(directory, 0, 9), 3);
  for (size_t i = 0; i < sizeof totals / sizeof *totals; i++) {
    enum { TOTAL = 32 };
    spoil(TOTAL, &totals[i], sizeof totals[i]);
    assert_int_equal(tg_shard_table_peek(directory, 0, 9), 0);
  }
}

static void an_epoch_that_cannot_be_is_none(void **state)
{
  (void)state;
  const uint64_t epochs[] = {UINT64_MAX, UINT32_MAX};
  for (size_t i = 0; i < 2; i++) {
    struct tg_shard_table *table = tg_shard_table_open(directory, 0, 2, 5, 0, NULL);
    struct tg_session session = sample(), found;
    tg_session_store(tg_shard_table_row(table, 0), &session);
    session.epoch = epochs[i];
    tg_session_store(tg_shard_table_row(table, 1), &session);
    assert_true(tg_session_load(tg_shard_table_row(table, 0), &found));
    assert_false(tg_session_load(tg_shard_table_row(table, 1), &found));
    assert_int_equal(found.epoch, 0);
    assert_string_equal(found.resume_url, "");
    tg_shard_table_close(table);
    table = tg_shard_table_open(directory, 0, 2, 6, 0, NULL); /* it does not go on in another bot's table */
    tg_session_load(tg_shard_table_row(table, 1), &found);
    assert_int_equal(found.epoch, 7);
    tg_shard_table_close(table);
  }
}

/* As many rows as the header says have to be in the file. */
static void write_header(uint32_t row_size, int32_t total, off_t size)
{
  struct {
    char magic[8];
    uint32_t version, row_size;
    uint64_t bot, identity;
    int32_t total;
  } header = {"tg-shard", 1, row_size, 5, 9, total};
  char path[128];
  snprintf(path, sizeof path, "%s/shards", directory);
  FILE *out = fopen(path, "w");
  assert_int_equal(fwrite(&header, sizeof header, 1, out), 1);
  assert_int_equal(fflush(out), 0);
  assert_int_equal(ftruncate(fileno(out), size), 0);
  fclose(out);
}

static void a_header_that_says_too_much_is_not_believed(void **state)
{
  (void)state;
  static const struct {
    uint32_t row_size;
    int32_t total;
    off_t size;
    int peeked;
  } rows[] = {
      {2048, 4, 4096 + 4 * 2048, 4},
      {2048, 4, 4096 + 4 * 2048 - 1, 0},
      {1024, 4, 4096 + 4 * 1024, 4},
      {1024, 5, 4096 + 4 * 1024, 0},
      {2048, 0, 4096, 0},
      {2048, -1, 1 << 20, 0},
      {2048, 65535, 4096 + 65535 * 2048, 65535},
      {2048, 65536, 4096 + 65536 * 2048, 0},
      {2048, INT32_MAX, 8192, 0},
      {2048, INT32_MAX, 4096 + (off_t)INT32_MAX * 2048, 0}, /* a hole of 4 TB */
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_error error = {0};
    write_header(rows[i].row_size, rows[i].total, rows[i].size);
    assert_int_equal(tg_shard_table_peek(directory, 0, 5), rows[i].peeked);
    struct tg_shard_table *table = tg_shard_table_open(directory, 0, 4, 9, 0, &error);
    assert_non_null(table);
    assert_int_equal(tg_shard_table_total(table), 4);
    assert_int_equal(atomic_load(&tg_shard_table_row(table, 3)->guilds), 0);
    tg_shard_table_close(table);
  }
}

static void links_are_neither_followed_nor_cut(void **state)
{
  (void)state;
  struct tg_error error = {0};
  struct stat status;
  char path[128], victim[128];
  snprintf(victim, sizeof victim, "%s/victim", directory);
  FILE *out = fopen(victim, "w");
  assert_int_equal(fputs("precious", out), 1);
  fclose(out);
  snprintf(path, sizeof path, "%s/shards", directory);
  assert_int_equal(symlink("victim", path), 0);
  assert_int_equal(tg_shard_table_peek(directory, 0, 5), 0);
  assert_null(tg_shard_table_open(directory, 0, 4, 9, 0, &error));
  assert_non_null(strstr(error.message, "symbolic link"));
  unlink(path);
  /* Neither when a table of shorter rows is written anew. */
  snprintf(path, sizeof path, "%s/shards.new", directory);
  assert_int_equal(symlink("victim", path), 0);
  write_first_table(3, 9, 5);
  struct tg_shard_table *table = tg_shard_table_open(directory, 0, 3, 9, 0, &error);
  assert_non_null(table);
  tg_shard_table_close(table);
  assert_int_equal(stat(victim, &status), 0);
  assert_int_equal(status.st_size, strlen("precious"));
  unlink(victim);
}

/* ---- two sets of shards ---- */

static uint64_t epoch_of(struct tg_shard_table *table, int row)
{
  struct tg_session session;
  tg_session_load(tg_shard_table_row(table, row), &session);
  return session.epoch;
}

static void put_session(int side, uint64_t epoch)
{
  struct tg_shard_table *table = tg_shard_table_open(directory, side, 2, 10 + (uint64_t)side, 0, NULL);
  struct tg_session session = sample();
  session.epoch = epoch;
  tg_session_store(tg_shard_table_row(table, 1), &session);
  tg_shard_table_set_bot(table, 5);
  tg_shard_table_close(table);
}

static void each_side_has_its_own_table(void **state)
{
  (void)state;
  struct tg_session found;
  put_session(0, 7);
  put_session(1, 8);
  for (int side = 0; side < TG_SIDES; side++) {
    struct tg_shard_table *table =
        tg_shard_table_open(directory, side, 2, 10 + (uint64_t)side, 0, NULL);
    assert_true(tg_session_load(tg_shard_table_row(table, 1), &found));
    assert_int_equal(found.epoch, 7 + side);
    tg_shard_table_close(table);
    assert_int_equal(tg_shard_table_peek(directory, side, 5), 2);
  }
  tg_shard_table_remove(directory, 0);
  assert_int_equal(tg_shard_table_peek(directory, 0, 5), 0);
  assert_int_equal(tg_shard_table_peek(directory, 1, 5), 2);
}

/* Both sets have a shard 1, and a bot knows its events by its id and the epoch. */
static void epochs_go_on_above_those_of_both_sides(void **state)
{
  (void)state;
  for (int side = 0; side < TG_SIDES; side++) {
    put_session(!side, 20 + (uint64_t)side);
    struct tg_shard_table *table = tg_shard_table_open(directory, side, 3, 99, 0, NULL);
    assert_int_equal(epoch_of(table, 1), 20 + side);
    tg_shard_table_close(table);
    table = tg_shard_table_open(directory, side, 4, 99, 500, NULL); /* of a set that is gone */
    assert_int_equal(epoch_of(table, 3), 500);
    tg_shard_table_close(table);
    table = tg_shard_table_open(directory, side, 5, 99, 3, NULL);
    assert_int_equal(epoch_of(table, 0), 500);
    tg_shard_table_close(table);
    tg_shard_table_remove(directory, side);
  }
}

/* ---- killed while it makes the table ---- */

/* Kills a process that opens the table before its system call `which`. False: it made no more than that. */
static bool killed_at_call(int side, int which, uint64_t first_epoch)
{
  int status;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    _exit(tg_shard_table_open(directory, side, 4, 77, first_epoch, NULL) ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  for (int stops = 0; stops < 2 * which + 1 && WIFSTOPPED(status); stops++) { /* before and after each */
    assert_int_equal(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
  }
  if (!WIFSTOPPED(status)) {
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return false;
  }
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, &status, 0), child);
  return true;
}

static void whoever_is_killed_leaves_no_table_without_epochs(void **state)
{
  (void)state;
  for (int side = 0; side < TG_SIDES; side++) {
    int which = 0;
    for (bool killed = true; killed; which++) {
      tg_shard_table_remove(directory, side);
      put_session(side, 7);
      killed = killed_at_call(side, which, 1000);
      /* Of the other identity: it is only looked at, or made by whoever comes next. */
      struct tg_shard_table *table = tg_shard_table_open(directory, side, 4, 77, 0, NULL);
      for (int i = 0; i < 4; i++)
        assert_in_range(epoch_of(table, i), 7, 1000);
      tg_shard_table_close(table);
    }
    assert_in_range(which, 8, 1000); /* it was killed in the middle of it */
  }
}

int main(void)
{
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
  const struct CMUnitTest tests[] = {
      IN_DIRECTORY(sessions_outlive_the_process),
      IN_DIRECTORY(the_durable_sequence_is_where_to_resume),
      IN_DIRECTORY(another_bot_starts_empty),
      IN_DIRECTORY(a_half_written_session_is_not_used),
      IN_DIRECTORY(counters_are_cleared),            IN_DIRECTORY(peek_knows_whose_table_it_is),
      IN_DIRECTORY(garbage_in_the_file_is_replaced),
      IN_DIRECTORY(epochs_go_on_in_an_empty_table),
      IN_DIRECTORY(ids_of_any_length_are_kept),      IN_DIRECTORY(a_table_of_shorter_rows_goes_on),
      IN_DIRECTORY(epochs_of_a_table_of_shorter_rows_go_on),
      IN_DIRECTORY(more_shards_than_there_are_rows_are_not_believed),
      IN_DIRECTORY(an_epoch_that_cannot_be_is_none),
      IN_DIRECTORY(a_header_that_says_too_much_is_not_believed),
      IN_DIRECTORY(links_are_neither_followed_nor_cut),
      cmocka_unit_test(what_is_owed_is_of_one_epoch),
      cmocka_unit_test(an_epoch_follows_the_last_one_or_is_the_time),
      IN_DIRECTORY(each_side_has_its_own_table),
      IN_DIRECTORY(epochs_go_on_above_those_of_both_sides),
      IN_DIRECTORY(whoever_is_killed_leaves_no_table_without_epochs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
