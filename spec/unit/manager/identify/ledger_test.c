/* The ledger of identifies: what survives a restart, and what is counted. */

#include "manager/identify/ledger.h"

#include "manager/state_file.h"

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

enum { SPACING = 5300, HOUR = 3600000, BOT = 77, OTHER_BOT = 78 };

static const tg_ms now = 1770000000000; /* some day of 2026 */
static char dir[64];

static int set_up(void **state)
{
  (void)state;
  strcpy(dir, "/tmp/tidegate-ledger-XXXXXX");
  return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
  (void)state;
  char path[128];
  snprintf(path, sizeof path, "%s/identify.json", dir);
  unlink(path);
  return rmdir(dir);
}

static void put_file(const char *text)
{
  char path[128];
  snprintf(path, sizeof path, "%s/identify.json", dir);
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  fputs(text, file);
  fclose(file);
}

static void a_new_ledger_knows_nothing(void **state)
{
  (void)state;
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 1, now);
  assert_true(tg_ledger_rest(ledger, 0, SPACING, now) == 0);
  tg_ledger_set_limit(ledger, 1000, 996, 4 * HOUR, now);
  assert_int_equal(tg_ledger_remaining(ledger, now), 996);
  assert_int_equal(tg_ledger_allowance(ledger, 10, now), 896);
  assert_true(tg_ledger_reset_at(ledger) == now + 4 * HOUR);
  tg_ledger_close(ledger);
}

static void a_restart_keeps_count_and_spacing(void **state)
{
  (void)state;
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 16, now);
  tg_ledger_set_limit(ledger, 1000, 1000, 0, now);
  for (int i = 0; i < 7; i++)
    tg_ledger_take(ledger, i, now + i, now + i);
  tg_ledger_close(ledger);

  ledger = tg_ledger_open(dir, BOT, 16, now + 1000);
  assert_int_equal(tg_ledger_remaining(ledger, now + 1000), 993);
  assert_true(tg_ledger_rest(ledger, 6, SPACING, now + 1000) == SPACING - 994);
  assert_true(tg_ledger_rest(ledger, 7, SPACING, now + 1000) == 0);
  assert_true(tg_ledger_rest(ledger, 6, SPACING, now + 10000) == 0);
  tg_ledger_take(ledger, 8, now + 1000, now + 1400);
  assert_true(tg_ledger_rest(ledger, 8, SPACING, now + 1000) == SPACING + 400);
  tg_ledger_give_back(ledger, 8);
  assert_true(tg_ledger_rest(ledger, 8, SPACING, now + 1000) == 0);
  /* Discord's answer may lag behind (or come from a cache): the higher count holds. */
  tg_ledger_set_limit(ledger, 1000, 1000, 0, now + 1000);
  assert_int_equal(tg_ledger_remaining(ledger, now + 1000), 993);
  tg_ledger_set_limit(ledger, 1000, 500, 20 * HOUR, now + 1000);
  assert_int_equal(tg_ledger_remaining(ledger, now + 1000), 500);
  tg_ledger_close(ledger);
}

static void a_crash_loop_meets_the_reserve(void **state)
{
  (void)state;
  int identifies = 0;
  for (int start = 0; start < 2000; start++) { /* each start spends one and dies */
    struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 1, now + start * 6000);
    tg_ledger_set_limit(ledger, 100, 100, 0, now + start * 6000); /* as configured: never counts down */
    if (tg_ledger_allowance(ledger, 10, now + start * 6000) > 0) {
      tg_ledger_take(ledger, 0, now + start * 6000, now + start * 6000);
      identifies++;
    }
    tg_ledger_close(ledger);
  }
  assert_int_equal(identifies, 90);
}

static void what_is_saved_outlives_a_crash(void **state)
{
  (void)state;
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 2, now), *next;
  tg_ledger_take(ledger, 0, now, now);
  tg_ledger_take(ledger, 1, now, now);
  tg_ledger_save(ledger);
  tg_ledger_give_back(ledger, 1);
  next = tg_ledger_open(dir, BOT, 2, now);
  assert_int_equal(tg_ledger_remaining(next, now), 998); /* one too many, never one too few */
  assert_true(tg_ledger_rest(next, 0, SPACING, now) == SPACING);
  tg_ledger_close(next);
  tg_ledger_close(ledger);
}

static void unused_grants_are_given_back(void **state)
{
  (void)state;
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 1, now);
  tg_ledger_take(ledger, 0, now - 60000, now - 60000);
  tg_ledger_take(ledger, 0, now, now);
  assert_int_equal(tg_ledger_remaining(ledger, now), 998);
  tg_ledger_give_back(ledger, 0);
  tg_ledger_close(ledger);
  ledger = tg_ledger_open(dir, BOT, 1, now);
  assert_int_equal(tg_ledger_remaining(ledger, now), 999);
  assert_true(tg_ledger_rest(ledger, 0, SPACING, now) == 0);
  tg_ledger_close(ledger);
}

static void the_reserve_is_kept_until_the_window_ends(void **state)
{
  (void)state;
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 1, now);
  tg_ledger_set_limit(ledger, 1000, 101, HOUR, now);
  assert_int_equal(tg_ledger_allowance(ledger, 10, now), 1);
  tg_ledger_take(ledger, 0, now, now);
  assert_int_equal(tg_ledger_allowance(ledger, 10, now), 0);
  tg_ledger_set_limit(ledger, 1000, 0, HOUR, now);
  assert_int_equal(tg_ledger_allowance(ledger, 10, now), 0);
  assert_int_equal(tg_ledger_allowance(ledger, 10, now + HOUR - 1), 0);
  assert_int_equal(tg_ledger_allowance(ledger, 10, now + HOUR), 900);
  tg_ledger_take(ledger, 0, now + HOUR, now + HOUR);
  assert_true(tg_ledger_reset_at(ledger) == now + 25 * HOUR);
  assert_int_equal(tg_ledger_remaining(ledger, now + HOUR), 999);
  tg_ledger_close(ledger);
}

static void the_earlier_end_of_the_window_holds(void **state)
{
  (void)state;
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 1, now);
  tg_ledger_take(ledger, 0, now, now); /* by itself: a day */
  tg_ledger_set_limit(ledger, 1000, 900, 2 * HOUR, now);
  assert_true(tg_ledger_reset_at(ledger) == now + 2 * HOUR);
  tg_ledger_set_limit(ledger, 1000, 900, 2 * HOUR, now + HOUR); /* an answer that does not count down */
  assert_true(tg_ledger_reset_at(ledger) == now + 2 * HOUR);
  tg_ledger_close(ledger);
}

static void a_damaged_file_costs_one_spacing(void **state)
{
  (void)state;
  static const char *const texts[] = {"", "{\"bot\":", "[1,2]", "\0\0\0"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    put_file(texts[i]);
    struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 2, now);
    assert_true(tg_ledger_rest(ledger, 1, SPACING, now) == SPACING);
    tg_ledger_set_limit(ledger, 1000, 700, HOUR, now);
    assert_int_equal(tg_ledger_remaining(ledger, now), 700);
    tg_ledger_close(ledger);
  }
}

static void odd_values_do_no_harm(void **state)
{
  (void)state;
  put_file("{\"bot\":\"000000000000004d\",\"total\":\"x\",\"used\":-5,\"resetAt\":1e99,\"buckets\":{}}");
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 2, now);
  assert_int_equal(tg_ledger_remaining(ledger, now), 1000);
  tg_ledger_close(ledger);
  /* A clock that was set back: neither spacing nor window grow beyond their measure. */
  put_file("{\"bot\":\"000000000000004d\",\"total\":1000,\"used\":990,\"resetAt\":1990000000000,"
           "\"buckets\":[1990000000000,0]}");
  ledger = tg_ledger_open(dir, BOT, 2, now);
  assert_true(tg_ledger_rest(ledger, 0, SPACING, now) == SPACING + 1000); /* a grant counts from its end */
  assert_true(tg_ledger_reset_at(ledger) == now + 24 * HOUR);
  assert_true(tg_ledger_rest(ledger, 0, SPACING, now + HOUR) == 0); /* ... and not until the time it said */
  tg_ledger_close(ledger);
  /* Numbers that cannot be reckoned with. */
  put_file("{\"bot\":\"000000000000004d\",\"total\":2147483647,\"used\":2147483647,"
           "\"resetAt\":-9223372036854775808,\"buckets\":[9223372036854775807,-9223372036854775808]}");
  ledger = tg_ledger_open(dir, BOT, 2, now);
  assert_true(tg_ledger_rest(ledger, 0, SPACING, now) == SPACING + 1000);
  assert_true(tg_ledger_rest(ledger, 1, SPACING, now) == 0);
  tg_ledger_take(ledger, 1, now, now);
  assert_int_equal(tg_ledger_remaining(ledger, now), 999);
  tg_ledger_close(ledger);
}

static void another_bot_has_its_own(void **state)
{
  (void)state;
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 1, now);
  tg_ledger_take(ledger, 0, now, now);
  tg_ledger_close(ledger);
  ledger = tg_ledger_open(dir, OTHER_BOT, 1, now);
  assert_int_equal(tg_ledger_remaining(ledger, now), 1000);
  assert_true(tg_ledger_rest(ledger, 0, SPACING, now) == 0);
  tg_ledger_close(ledger);
}

static void other_buckets_than_before_all_wait(void **state)
{
  (void)state;
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 2, now);
  tg_ledger_take(ledger, 1, now, now);
  tg_ledger_close(ledger);
  ledger = tg_ledger_open(dir, BOT, 16, now + 300);
  for (int i = 0; i < 16; i++)
    assert_true(tg_ledger_rest(ledger, i, SPACING, now + 300) == SPACING - 300);
  tg_ledger_close(ledger);
}

static void the_file_is_for_its_owner_alone(void **state)
{
  (void)state;
  struct tg_ledger *ledger = tg_ledger_open(dir, BOT, 1, now);
  tg_ledger_take(ledger, 0, now, now);
  tg_ledger_close(ledger);
  char path[128];
  snprintf(path, sizeof path, "%s/identify.json", dir);
  struct stat status;
  assert_int_equal(stat(path, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0600);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
  const struct CMUnitTest tests[] = {
      TEST(what_is_saved_outlives_a_crash),
      TEST(a_restart_keeps_count_and_spacing),
      TEST(a_crash_loop_meets_the_reserve),
      TEST(unused_grants_are_given_back),
      TEST(the_reserve_is_kept_until_the_window_ends),
      TEST(the_earlier_end_of_the_window_holds),
      TEST(a_damaged_file_costs_one_spacing),
      TEST(odd_values_do_no_harm),
      TEST(another_bot_has_its_own),
      TEST(other_buckets_than_before_all_wait),
      TEST(the_file_is_for_its_owner_alone),
      TEST(a_new_ledger_knows_nothing),
  };
#undef TEST
  return cmocka_run_group_tests(tests, NULL, NULL);
}
