/* Logs that were left behind: found, drained by one or by several, removed. */

#include "event_log_fixture.h"

#include "event_log/log_cursor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

struct taker {
  struct log_test *test;
  int lowest;
};

/* Three shards with ten events each, in a log of that name. */
static void leave_log(struct log_test *test, const char *name)
{
  char directory[200];
  snprintf(directory, sizeof directory, "%s/%s", test->parent, name);
  test->options.directory = directory;
  log_open(test);
  for (uint64_t sequence = 1; sequence <= 10; sequence++)
    for (int shard = 0; shard < 3; shard++)
      put(test, shard, sequence);
  flush(test);
  tg_event_log_close(test->log);
  test->log = NULL;
  test->options.directory = test->directory;
}

static bool takes(void *ctx, int shard_id) { return shard_id >= ((struct taker *)ctx)->lowest; }
static bool takes_others(void *ctx, int shard_id) { return shard_id < ((struct taker *)ctx)->lowest; }

static void drains_and_removes(void **state)
{
  struct log_test *test = *state;
  leave_log(test, "worker-0");
  test->options.mode = TG_LOG_DRAIN;
  log_open(test);
  for (int shard = 0; shard < 3; shard++)
    expect_waiting(test, shard, 1, 1, 10);
  struct tg_span part = {"x", 1};
  struct tg_log_event event = {.epoch = 1, .sequence = 11, .kind = TG_LOG_EVENT, .parts = &part, .part_count = 1};
  assert_int_equal(tg_event_log_append(test->log, &event, &test->error), 0);
  assert_string_equal(test->error.code, "misuse");
  for (int shard = 0; shard < 3; shard++)
    ack(test, shard, 10);
  assert_int_equal(count_segments(test), 0); /* the only one to drain it: room comes back at once */
  assert_true(tg_event_log_remove(test->log, NULL, NULL, &test->error));
  test->log = NULL;
  assert_int_equal(access(test->directory, F_OK), -1);
  assert_null(tg_event_log_open(&test->options, &test->error));
  assert_string_equal(test->error.code, "missing");
}

static void is_not_removed_while_something_waits(void **state)
{
  struct log_test *test = *state;
  leave_log(test, "worker-0");
  test->options.mode = TG_LOG_DRAIN;
  log_open(test);
  ack(test, 0, 10);
  ack(test, 1, 10);
  assert_false(tg_event_log_remove(test->log, NULL, NULL, &test->error));
  assert_string_equal(test->error.code, "waiting");
  log_open(test);
  expect_waiting(test, 0, 1, 11, 10);
  expect_waiting(test, 2, 1, 1, 10);
}

static bool has_told_of_shard_2(void *ctx, const struct tg_event_log *log)
{
  uint64_t epoch, sequence;
  assert_true(tg_event_log_last(log, 2, &epoch, &sequence));
  assert_true(epoch == 1 && sequence == 10);
  return *(bool *)ctx;
}

/* Whoever drains it may have had other shards of it only. */
static void the_owner_is_asked_for_all_of_its_shards(void **state)
{
  struct log_test *test = *state;
  struct taker taker = {test, 1};
  bool may_go = false;
  leave_log(test, "worker-0");
  test->options.mode = TG_LOG_DRAIN;
  log_open(test);
  for (int shard = 0; shard < 3; shard++)
    ack(test, shard, 10);
  struct tg_event_log_options options = {
      .directory = test->directory, .mode = TG_LOG_DRAIN, .wanted = takes_others, .reader = "worker-1", .ctx = &taker};
  for (int tries = 0; tries < 2; tries++) {
    assert_false(tg_event_log_remove(test->log, has_told_of_shard_2, &may_go, &test->error));
    assert_string_equal(test->error.code, "waiting");
    test->log = tg_event_log_open(&options, &test->error);
    assert_non_null(test->log);
  }
  may_go = true;
  assert_true(tg_event_log_remove(test->log, has_told_of_shard_2, &may_go, &test->error));
  test->log = NULL;
}

static void several_drain_one_log(void **state)
{
  struct log_test *test = *state;
  struct taker taker = {test, 1};
  struct tg_event_log_options options = {
      .directory = test->directory, .mode = TG_LOG_DRAIN, .wanted = takes, .reader = "worker-1", .ctx = &taker};
  leave_log(test, "worker-0");
  struct tg_event_log *one = tg_event_log_open(&options, &test->error);
  options.wanted = takes_others;
  options.reader = "worker-0";
  struct tg_event_log *other = tg_event_log_open(&options, &test->error);
  assert_non_null(one);
  assert_non_null(other);
  assert_null(tg_event_log_open(&test->options, &test->error)); /* nobody writes meanwhile */
  assert_string_equal(test->error.code, "locked");

  test->log = one;
  assert_int_equal(first_of(test, 0), 0);
  expect_waiting(test, 1, 1, 1, 10);
  ack(test, 1, 10);
  ack(test, 2, 4);
  tg_event_log_close(one); /* killed, say */
  test->log = other;
  expect_waiting(test, 0, 1, 1, 10);
  assert_int_equal(first_of(test, 1), 0);
  ack(test, 0, 10);
  assert_false(tg_event_log_remove(other, NULL, NULL, &test->error));
  assert_string_equal(test->error.code, "waiting");

  taker.lowest = 2; /* with another number of workers */
  options.wanted = takes;
  options.reader = "worker-2";
  test->log = tg_event_log_open(&options, &test->error);
  assert_non_null(test->log);
  expect_waiting(test, 2, 1, 5, 10);
  ack(test, 2, 6);
  assert_true(tg_event_log_remove(test->log, NULL, NULL, &test->error));
  test->log = NULL;
  assert_int_equal(access(test->directory, F_OK), -1);
}

static void the_last_one_removes_it(void **state)
{
  struct log_test *test = *state;
  struct taker taker = {test, 1};
  struct tg_event_log_options options = {
      .directory = test->directory, .mode = TG_LOG_DRAIN, .wanted = takes, .reader = "worker-1", .ctx = &taker};
  leave_log(test, "worker-0");
  struct tg_event_log *one = tg_event_log_open(&options, &test->error);
  options.wanted = takes_others;
  options.reader = "worker-0";
  struct tg_event_log *other = tg_event_log_open(&options, &test->error);
  test->log = one;
  ack(test, 1, 10);
  ack(test, 2, 10);
  test->log = other;
  ack(test, 0, 10);
  assert_false(tg_event_log_remove(one, NULL, NULL, &test->error));
  assert_string_equal(test->error.code, "locked");
  assert_true(tg_event_log_remove(other, NULL, NULL, &test->error));
  test->log = NULL;
}

/* Two readers have all; the second one, a process of its own, is killed at a system call of its removal.
 * False: there are not so many. */
static bool killed_while_removing(struct log_test *test, int which)
{
  struct taker taker = {test, 1};
  struct tg_event_log_options options = {.directory = test->directory,
                                         .mode = TG_LOG_DRAIN,
                                         .wanted = takes,
                                         .reader = "worker-1",
                                         .ctx = &taker};
  int status;
  leave_log(test, "worker-0");
  test->log = tg_event_log_open(&options, &test->error);
  ack(test, 1, 10);
  ack(test, 2, 10);
  tg_event_log_close(test->log);
  options.wanted = takes_others;
  options.reader = "worker-0";
  test->log = tg_event_log_open(&options, &test->error);
  ack(test, 0, 10);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    _exit(tg_event_log_remove(test->log, NULL, NULL, &test->error) ? 0 : 1);
  }
  tg_event_log_close(test->log);
  test->log = NULL;
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

/* Nothing that was delivered is taken for lost by whoever finds the rest. */
static void whoever_is_killed_while_removing_loses_nothing(void **state)
{
  struct log_test *test = *state;
  int which = 0;
  for (bool killed = true; killed; which++) {
    killed = killed_while_removing(test, which);
    struct tg_event_log_options rest = {
        .directory = test->directory, .mode = TG_LOG_DRAIN, .on_gap = note_gap, .ctx = test};
    struct tg_event_log *log = tg_event_log_open(&rest, &test->error);
    struct tg_log_figures figures = {0};
    if (log)
      tg_event_log_figures(log, &figures);
    tg_event_log_close(log);
    if (test->gap_count > 0 || figures.events > 0)
      fail_msg("killed at call %d: %d gaps, %d events wait", which, test->gap_count, (int)figures.events);
    remove_tree(test->directory);
  }
  assert_in_range(which, 20, 10000); /* it was killed in the middle of it */
}

/* Else a third one, which is about to take over what waits for its shards, would find it in use. */
static void it_is_looked_through_beside_the_others(void **state)
{
  struct log_test *test = *state;
  struct taker taker = {test, 1};
  struct tg_event_log_options options = {
      .directory = test->directory, .mode = TG_LOG_DRAIN, .wanted = takes, .reader = "worker-1", .ctx = &taker};
  leave_log(test, "worker-0");
  struct tg_event_log *one = tg_event_log_open(&options, &test->error);
  options.wanted = takes_others;
  options.reader = "worker-0";
  struct tg_event_log *other = tg_event_log_open(&options, &test->error);
  assert_false(tg_event_log_remove(one, NULL, NULL, &test->error));
  assert_string_equal(test->error.code, "waiting");
  test->log = other;
  expect_waiting(test, 0, 1, 1, 10);
}

static void its_writer_takes_over_what_others_delivered(void **state)
{
  struct log_test *test = *state;
  struct taker taker = {test, 1};
  struct tg_event_log_options options = {
      .directory = test->directory, .mode = TG_LOG_DRAIN, .wanted = takes, .reader = "worker-1", .ctx = &taker};
  char cursor[200];
  leave_log(test, "worker-0");
  test->log = tg_event_log_open(&options, &test->error);
  ack(test, 1, 10);
  ack(test, 2, 7);
  log_reopen(test);
  expect_waiting(test, 0, 1, 1, 10);
  expect_waiting(test, 1, 1, 11, 10);
  expect_waiting(test, 2, 1, 8, 10);
  snprintf(cursor, sizeof cursor, "%s/cursor.worker-1", test->directory);
  assert_int_equal(access(cursor, F_OK), -1);
  log_reopen(test);
  expect_waiting(test, 2, 1, 8, 10);
  assert_int_equal(test->gap_count, 0);
}

static void logs_are_listed_oldest_first(void **state)
{
  struct log_test *test = *state;
  char path[200];
  assert_null(tg_event_log_list(test->parent));
  const char *order[] = {"worker-9", "worker-0", "worker-5"};
  for (int i = 0; i < 3; i++) {
    leave_log(test, order[i]);
    for (tg_ms before = tg_steady_clock(); tg_steady_clock() == before;)
      ; /* their age is told in milliseconds */
  }
  snprintf(path, sizeof path, "%s/no-log", test->parent);
  assert_int_equal(mkdir(path, 0700), 0);
  char **names = tg_event_log_list(test->parent);
  assert_non_null(names);
  for (int i = 0; i < 3; i++)
    assert_string_equal(names[i], order[i]);
  assert_null(names[3]);
  tg_event_log_list_free(names);
  assert_null(tg_event_log_list("/nowhere"));
}

/* Whatever the clock was when they were made. */
static void logs_with_numbers_are_listed_by_them(void **state)
{
  struct log_test *test = *state;
  const char *order[] = {"worker-2.1767225600000-9", "worker-1.5-1767225600000", "worker-0.4-1767225600001"};
  for (int i = 2; i >= 0; i--)
    leave_log(test, order[i]);
  char **names = tg_event_log_list(test->parent);
  assert_non_null(names);
  for (int i = 0; i < 3; i++)
    assert_string_equal(names[i], order[i]);
  tg_event_log_list_free(names);
  assert_int_equal(tg_event_log_number("worker-3.7-12"), 12);
  const char *none[] = {"worker-3", "worker-3.7", "worker-3.7-", "worker-3.7-12x", "worker-3.7-99999999999999999999"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    assert_int_equal(tg_event_log_number(none[i]), -1);
}

/* What a process leaves that was killed while it made or removed its log. */
static void remains_are_found_and_removed(void **state)
{
  struct log_test *test = *state;
  const char *const remains[] = {NULL, "lock", "cursor.worker-3", "cursor.next", "0000000001.segment"};
  const size_t count = sizeof remains / sizeof *remains;
  char path[200];
  for (size_t i = 0; i < count; i++) {
    snprintf(path, sizeof path, "%s/worker-%zu", test->parent, i);
    assert_int_equal(mkdir(path, 0700), 0);
    if (!remains[i])
      continue;
    snprintf(path, sizeof path, "%s/worker-%zu/%s", test->parent, i, remains[i]);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    close(fd);
  }
  char **names = tg_event_log_list(test->parent);
  assert_non_null(names);
  test->options.mode = TG_LOG_DRAIN;
  test->options.directory = path;
  for (size_t i = 0; i < count; i++) {
    assert_non_null(names[i]);
    snprintf(path, sizeof path, "%s/%s", test->parent, names[i]);
    log_open(test);
    assert_true(tg_event_log_remove(test->log, NULL, NULL, &test->error));
    test->log = NULL;
    assert_int_equal(access(path, F_OK), -1);
  }
  assert_null(names[count]);
  tg_event_log_list_free(names);
  assert_null(tg_event_log_list(test->parent));
}

static void what_is_of_others_is_no_log(void **state)
{
  struct log_test *test = *state;
  char path[200];
  snprintf(path, sizeof path, "%s/worker-7", test->parent);
  assert_int_equal(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s/worker-7/notes.txt", test->parent);
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  assert_true(fd >= 0);
  close(fd);
  assert_null(tg_event_log_list(test->parent));
}

/* Makes or opens its cursor again and again, until it is killed. */
static void open_for_ever(int directory_fd, const char *directory)
{
  for (int i = 0;; i++) {
    struct tg_log_cursor cursor;
    if (i % 2 == 0)
      unlinkat(directory_fd, "cursor.worker-1", 0);
    if (tg_log_cursor_open(&cursor, directory_fd, directory, "cursor.worker-1", NULL))
      tg_log_cursor_close(&cursor);
  }
}

static void nothing(void *ctx, const struct tg_log_state *state) { (void)ctx, (void)state; }

/* Who reads it at any moment must not think that the machine was restarted: he would take what is missing for
 * delivered, and tell nobody. */
static void a_cursor_names_its_boot_from_the_first_moment(void **state)
{
  struct log_test *test = *state;
  int fd = open(test->parent, O_RDONLY | O_DIRECTORY);
  pid_t child = fork();
  if (child == 0)
    open_for_ever(fd, test->parent);
  bool rebooted = false;
  int found = 0;
  for (int i = 0; !rebooted && i < 1000000 && found < 20000; i++)
    found += tg_log_cursor_scan(fd, "cursor.worker-1", nothing, NULL, &rebooted);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  close(fd);
  assert_int_equal(found, 20000);
  assert_false(rebooted);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(drains_and_removes, log_begin, log_end),
      cmocka_unit_test_setup_teardown(is_not_removed_while_something_waits, log_begin, log_end),
      cmocka_unit_test_setup_teardown(the_owner_is_asked_for_all_of_its_shards, log_begin, log_end),
      cmocka_unit_test_setup_teardown(several_drain_one_log, log_begin, log_end),
      cmocka_unit_test_setup_teardown(the_last_one_removes_it, log_begin, log_end),
      cmocka_unit_test_setup_teardown(it_is_looked_through_beside_the_others, log_begin, log_end),
      cmocka_unit_test_setup_teardown(whoever_is_killed_while_removing_loses_nothing, log_begin, log_end),
      cmocka_unit_test_setup_teardown(its_writer_takes_over_what_others_delivered, log_begin, log_end),
      cmocka_unit_test_setup_teardown(logs_are_listed_oldest_first, log_begin, log_end),
      cmocka_unit_test_setup_teardown(logs_with_numbers_are_listed_by_them, log_begin, log_end),
      cmocka_unit_test_setup_teardown(remains_are_found_and_removed, log_begin, log_end),
      cmocka_unit_test_setup_teardown(what_is_of_others_is_no_log, log_begin, log_end),
      cmocka_unit_test_setup_teardown(a_cursor_names_its_boot_from_the_first_moment, log_begin, log_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
