/* Processes: those that were started here, and those that were there before this program. */

#include "manager/workers/child.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct end {
  int times;
  int64_t status;
  int number;
};

static uv_loop_t loop;

static void on_ended(void *owner, int64_t status, int number)
{
  struct end *end = owner;
  *end = (struct end){end->times + 1, status, number};
}

static int setup(void **state)
{
  (void)state;
  return uv_loop_init(&loop);
}

static int teardown(void **state)
{
  (void)state;
  uv_run(&loop, UV_RUN_DEFAULT);
  return uv_loop_close(&loop);
}

static void wait_for(const struct end *end)
{
  while (end->times == 0)
    uv_run(&loop, UV_RUN_ONCE);
}

static pid_t fork_one(int exit_code)
{
  pid_t pid = fork();
  if (pid == 0 && exit_code < 0)
    for (;;)
      pause();
  if (pid == 0)
    _exit(exit_code);
  return pid;
}

static void one_that_was_there_is_heard_of_when_it_ends(void **state)
{
  (void)state;
  struct end end = {0};
  pid_t pid = fork_one(-1);
  struct tg_child *child = tg_child_adopt(&loop, pid, on_ended, &end);
  assert_int_equal(tg_child_pid(child), pid);
  uv_run(&loop, UV_RUN_NOWAIT);
  assert_int_equal(end.times, 0);
  tg_child_kill(child, SIGKILL);
  wait_for(&end);
  assert_int_equal(end.number, SIGKILL);
  assert_int_equal(end.times, 1);
}

/* Between two programs nobody heard its SIGCHLD. */
static void so_is_one_that_has_ended_before(void **state)
{
  (void)state;
  struct end end = {0};
  siginfo_t info;
  pid_t pid = fork_one(7);
  assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
  tg_child_adopt(&loop, pid, on_ended, &end);
  wait_for(&end);
  assert_int_equal(end.status, 7);
  assert_int_equal(end.number, 0);
}

static void one_that_is_not_ours_counts_as_gone(void **state)
{
  (void)state;
  struct end end = {0};
  pid_t pid = fork_one(0);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  tg_child_adopt(&loop, pid, on_ended, &end);
  wait_for(&end);
  assert_int_equal(end.number, SIGKILL);
}

static void one_that_is_started_does_not_disturb_one_that_was_there(void **state)
{
  (void)state;
  struct end started = {0}, adopted = {0};
  int failed;
  const char *words[] = {"sh", "-c", "exit 3", NULL};
  uv_process_options_t options = {.file = "/bin/sh", .args = (char **)words};
  struct tg_child *other = tg_child_adopt(&loop, fork_one(-1), on_ended, &adopted);
  assert_non_null(tg_child_start(&loop, &options, on_ended, &started, &failed));
  wait_for(&started);
  assert_int_equal(started.status, 3);
  assert_int_equal(adopted.times, 0);
  tg_child_kill(other, SIGTERM);
  wait_for(&adopted);
  assert_int_equal(adopted.number, SIGTERM);
}

static void nobody_is_told_of_one_that_is_forgotten(void **state)
{
  (void)state;
  struct end end = {0};
  int failed;
  const char *words[] = {"sh", "-c", "exit 3", NULL};
  uv_process_options_t options = {.file = "/bin/sh", .args = (char **)words};
  tg_child_forget(tg_child_start(&loop, &options, on_ended, &end, &failed));
  pid_t pid = fork_one(0);
  tg_child_forget(tg_child_adopt(&loop, pid, on_ended, &end));
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(end.times, 0);
  while (waitpid(-1, NULL, 0) > 0) {
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(one_that_was_there_is_heard_of_when_it_ends, setup, teardown),
      cmocka_unit_test_setup_teardown(so_is_one_that_has_ended_before, setup, teardown),
      cmocka_unit_test_setup_teardown(one_that_is_not_ours_counts_as_gone, setup, teardown),
      cmocka_unit_test_setup_teardown(one_that_is_started_does_not_disturb_one_that_was_there, setup,
                                      teardown),
      cmocka_unit_test_setup_teardown(nobody_is_told_of_one_that_is_forgotten, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
