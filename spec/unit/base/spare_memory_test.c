#include "base/spare_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MB = 1024 * 1024 };

/* A look at a process with so much of it resident, and so much used and free in its heap, all in megabytes.
 */
static bool look(struct tg_spare_memory *spare, size_t resident, size_t used, size_t unused)
{
  const struct tg_memory_use use = {resident * MB, used * MB, unused * MB};
  return !tg_spare_memory_is_little(spare, use.resident) && tg_spare_memory_note(spare, &use);
}

static struct tg_spare_memory begun(void)
{
  struct tg_spare_memory spare = {0};
  assert_false(look(&spare, 7, 4, 0));
  return spare;
}

static void what_a_backlog_leaves_goes_back_once(void **state)
{
  (void)state;
  struct tg_spare_memory spare = begun();
  for (int i = 0; i < 3; i++)
    assert_false(look(&spare, 53, 50, 0));
  assert_false(look(&spare, 53, 4, 46));
  assert_true(look(&spare, 53, 4, 46));
  tg_spare_memory_returned(&spare, 7 * MB, 4 * MB);
  for (int i = 0; i < 3; i++)
    assert_false(look(&spare, 7, 4, 46));
}

static void what_is_used_again_at_once_stays(void **state)
{
  (void)state;
  struct tg_spare_memory spare = begun();
  for (int i = 0; i < 4; i++) {
    assert_false(look(&spare, 53, 4, 46));
    assert_false(look(&spare, 53, 50, 0));
  }
}

static void what_cannot_be_had_back_is_not_asked_for_again(void **state)
{
  (void)state;
  struct tg_spare_memory spare = begun();
  assert_false(look(&spare, 13, 4, 6));
  assert_true(look(&spare, 13, 4, 6));
  tg_spare_memory_returned(&spare, 13 * MB, 4 * MB);
  for (int i = 0; i < 4; i++)
    assert_false(look(&spare, 13, 4, 6));
  assert_false(look(&spare, 23, 4, 16));
  assert_true(look(&spare, 23, 4, 16));
}

static void what_has_gone_back_and_is_taken_again_goes_back_again(void **state)
{
  (void)state;
  struct tg_spare_memory spare = begun();
  tg_spare_memory_returned(&spare, 7 * MB, 4 * MB);
  assert_false(look(&spare, 53, 50, 0));
  assert_false(look(&spare, 53, 4, 46));
  assert_true(look(&spare, 53, 4, 46));
}

static void what_is_taken_slowly_goes_back_as_it_is(void **state)
{
  (void)state;
  struct tg_spare_memory spare = begun();
  assert_false(look(&spare, 73, 70, 0));
  assert_false(look(&spare, 73, 60, 10));
  assert_true(look(&spare, 73, 50, 20));
  tg_spare_memory_returned(&spare, 53 * MB, 50 * MB);
  assert_false(look(&spare, 53, 40, 30));
  assert_true(look(&spare, 53, 4, 66));
}

static void what_is_touched_late_is_looked_for_once(void **state)
{
  (void)state;
  struct tg_spare_memory spare = begun();
  assert_false(look(&spare, 13, 24, 3)); /* 14 of these are not there yet */
  assert_false(look(&spare, 27, 24, 3));
  assert_true(look(&spare, 27, 24, 3));
  tg_spare_memory_returned(&spare, 27 * MB, 24 * MB);
  for (int i = 0; i < 3; i++)
    assert_false(look(&spare, 27, 24, 3));
}

static void growth_that_is_used_is_not_spare(void **state)
{
  (void)state;
  struct tg_spare_memory spare = begun();
  for (int i = 0; i < 3; i++)
    assert_false(look(&spare, 67, 64, 3)); /* little beside what is used */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_a_backlog_leaves_goes_back_once),
      cmocka_unit_test(what_is_used_again_at_once_stays),
      cmocka_unit_test(what_cannot_be_had_back_is_not_asked_for_again),
      cmocka_unit_test(what_has_gone_back_and_is_taken_again_goes_back_again),
      cmocka_unit_test(what_is_taken_slowly_goes_back_as_it_is),
      cmocka_unit_test(what_is_touched_late_is_looked_for_once),
      cmocka_unit_test(growth_that_is_used_is_not_spare),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
