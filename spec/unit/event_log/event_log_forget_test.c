/* Logs that nobody wants any more: forgotten all at once, whenever the process dies. */

#include "event_log_fixture.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

enum { LOGS = 2, EVENTS = 10 };

static char parent[70], hidden[70]; /* the directory of the logs, and its hidden name */

static int begin(void **state)
{
  log_begin(state);
  const struct log_test *test = *state;
  snprintf(parent, sizeof parent, "%s/copy", test->parent);
  snprintf(hidden, sizeof hidden, "%s/.copy", test->parent);
  return 0;
}

static bool is_there(const char *path) { return access(path, F_OK) == 0; }

static void open_one(struct log_test *test, int which)
{
  snprintf(test->directory, sizeof test->directory, "%.60s/worker-%d", parent, which);
  log_open(test);
}

static void leave_logs(struct log_test *test)
{
  test->options.mode = TG_LOG_WRITE;
  for (int which = 0; which < LOGS; which++) {
    open_one(test, which);
    for (uint64_t sequence = 1; sequence <= EVENTS; sequence++)
      put(test, 0, sequence);
    flush(test);
    tg_event_log_close(test->log);
    test->log = NULL;
  }
  test->options.mode = TG_LOG_DRAIN;
}

static void expect_all(struct log_test *test)
{
  for (int which = 0; which < LOGS; which++) {
    open_one(test, which);
    expect_waiting(test, 0, 1, 1, EVENTS);
    tg_event_log_close(test->log);
    test->log = NULL;
  }
  assert_int_equal(test->gap_count, 0);
}

static void goes_whatever_waits(void **state)
{
  struct log_test *test = *state;
  leave_logs(test);
  assert_true(tg_event_logs_forget(parent, &test->error));
  assert_false(is_there(parent) || is_there(hidden));
  assert_false(tg_event_logs_forget(parent, &test->error));
  assert_string_equal(test->error.code, "missing");
}

static void stays_whole_while_somebody_has_one(void **state)
{
  struct log_test *test = *state;
  leave_logs(test);
  open_one(test, LOGS - 1);
  assert_false(tg_event_logs_forget(parent, &test->error));
  assert_string_equal(test->error.code, "locked");
  tg_event_log_close(test->log);
  test->log = NULL;
  expect_all(test);
  assert_true(tg_event_logs_forget(parent, &test->error));
  assert_false(is_there(parent) || is_there(hidden));
}

static void what_is_no_log_is_not_touched(void **state)
{
  struct log_test *test = *state;
  char path[120];
  leave_logs(test);
  snprintf(path, sizeof path, "%s/notes", parent);
  assert_int_equal(mkdir(path, 0700), 0);
  tg_log_set_level(TG_ERROR + 1);
  assert_true(tg_event_logs_forget(parent, &test->error));
  assert_false(is_there(parent));
  snprintf(path, sizeof path, "%s/notes", hidden);
  assert_true(is_there(path));
  snprintf(path, sizeof path, "%s/worker-0", hidden);
  assert_false(is_there(path));
}

/* Forgets, and is killed before or after one of its calls of the system. False: it was done before. */
static bool killed_while_forgetting(struct log_test *test, int which)
{
  int status;
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    raise(SIGSTOP);
    _exit(tg_event_logs_forget(parent, &test->error) ? 0 : 1);
  }
  assert_int_equal(waitpid(child, &status, 0), child);
  for (int stops = 0; stops < 2 * which + 1 && WIFSTOPPED(status); stops++) {
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

static void is_there_whole_or_gone_whenever_the_process_is_killed(void **state)
{
  struct log_test *test = *state;
  int which = 0, stayed = 0, left = 0;
  for (bool killed = true; killed; which++) {
    leave_logs(test);
    killed = killed_while_forgetting(test, which);
    if (is_there(parent)) {
      stayed++;
      assert_false(is_there(hidden));
      expect_all(test);
      remove_tree(parent);
    } else {
      left += is_there(hidden);
      tg_event_logs_tidy(test->parent);
      assert_false(is_there(hidden));
    }
  }
  assert_true(stayed > 5 && left > 5); /* it was killed on both sides of that moment */
}

static void what_a_killed_process_left_does_not_stand_in_the_way(void **state)
{
  struct log_test *test = *state;
  leave_logs(test);
  assert_int_equal(rename(parent, hidden), 0);
  leave_logs(test);
  assert_true(tg_event_logs_forget(parent, &test->error));
  assert_false(is_there(parent) || is_there(hidden));
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, begin, log_end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_DIR(goes_whatever_waits),
      IN_DIR(stays_whole_while_somebody_has_one),
      IN_DIR(what_is_no_log_is_not_touched),
      IN_DIR(is_there_whole_or_gone_whenever_the_process_is_killed),
      IN_DIR(what_a_killed_process_left_does_not_stand_in_the_way),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
