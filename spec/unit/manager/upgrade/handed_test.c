/* What one program hands on to the next: JSON, and descriptors, which both have at once. */

#include "manager/upgrade/handed.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void what_is_written_is_read_again_and_again(void **state)
{
  (void)state;
  json_t *given = json_pack("{s:s, s:[i, n]}", "name", "\xc3\xa4", "list", 7);
  int fd = tg_handed_write(given);
  assert_true(fd >= 0);
  assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  for (int i = 0; i < 2; i++) { /* the program before, too, should the next one fail */
    json_t *read = tg_handed_read(fd);
    assert_true(json_equal(given, read));
    json_decref(read);
  }
  json_decref(given);
  close(fd);
}

static void what_is_no_state_is_none(void **state)
{
  (void)state;
  int ends[2];
  assert_null(tg_handed_read(-1));
  assert_int_equal(pipe(ends), 0);
  assert_null(tg_handed_read(ends[0]));
  close(ends[0]);
  close(ends[1]);
}

static void descriptors_are_found_wherever_they_stand(void **state)
{
  (void)state;
  json_t *inner = json_object(), *whole = json_object(), *list = json_array();
  tg_handed_put_fd(inner, "line", 41);
  tg_handed_put_fd(inner, "none", -1);
  json_object_set_new(inner, "pid", json_integer(42));
  json_array_append_new(list, inner);
  json_object_set_new(whole, "workers", list);
  tg_handed_put_fd(whole, "lock", 43);
  int count, *fds = tg_handed_fds(whole, &count);
  assert_int_equal(count, 2);
  assert_int_equal(fds[0] + fds[1], 41 + 43);
  free(fds);
  json_decref(whole);
}

/* The program that takes over closes its own, and the one before still has the other. */
static void a_reader_gets_a_copy(void **state)
{
  (void)state;
  int ends[2];
  char byte = 0;
  json_t *json = json_object();
  assert_int_equal(pipe(ends), 0);
  tg_handed_put_fd(json, "end", ends[1]);
  int copy = tg_handed_fd(json, "end");
  assert_true(copy > STDERR_FILENO && copy != ends[1]);
  assert_int_equal(fcntl(copy, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  assert_int_equal(write(copy, "x", 1), 1);
  close(copy);
  assert_int_equal(read(ends[0], &byte, 1), 1);
  assert_int_equal(write(ends[1], "y", 1), 1);
  assert_int_equal(tg_handed_fd(json, "other"), -1);
  json_decref(json);
  close(ends[0]);
  close(ends[1]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_is_written_is_read_again_and_again),
      cmocka_unit_test(what_is_no_state_is_none),
      cmocka_unit_test(descriptors_are_found_wherever_they_stand),
      cmocka_unit_test(a_reader_gets_a_copy),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
