/* One gateway a state directory. */

#include "manager/lock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void the_second_is_refused_and_told_the_pid(void **state)
{
  (void)state;
  char base[] = "/tmp/tidegate-lock-XXXXXX", dir[128], path[160], pid[32];
  assert_non_null(mkdtemp(base));
  snprintf(dir, sizeof dir, "%s/deep/state", base);
  snprintf(path, sizeof path, "%s/lock", dir);

  struct tg_error error = {0};
  int first = tg_lock_state_dir(dir, &error);
  assert_true(first >= 0);
  struct stat status;
  assert_int_equal(stat(dir, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0700);

  assert_int_equal(tg_lock_state_dir(dir, &error), -1);
  assert_string_equal(error.code, "locked");
  snprintf(pid, sizeof pid, "(pid %ld)", (long)getpid());
  assert_non_null(strstr(error.message, pid));
  assert_non_null(strstr(error.message, dir));

  close(first); /* the lock goes with its holder, not with the file */
  int second = tg_lock_state_dir(dir, &error);
  assert_true(second >= 0);
  close(second);

  unlink(path);
  rmdir(dir);
  snprintf(dir, sizeof dir, "%s/deep", base);
  rmdir(dir);
  assert_int_equal(rmdir(base), 0);
}

static void a_directory_that_cannot_be_made_is_named(void **state)
{
  (void)state;
  struct tg_error error = {0};
  assert_int_equal(tg_lock_state_dir("/dev/null/state", &error), -1);
  assert_string_equal(error.code, "state_dir");
  assert_non_null(strstr(error.message, "/dev/null"));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_second_is_refused_and_told_the_pid),
      cmocka_unit_test(a_directory_that_cannot_be_made_is_named),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
