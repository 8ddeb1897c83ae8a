/* The steady clock over restarts of the gateway and of the machine, whatever the wall clock is set to. */

#include "manager/steady.h"

#include "base/boot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* In the place of the real ones: what passes, what the wall shows, and which start of the machine it is. */
static const tg_ms HOUR = 3600000, DAY = 24 * 3600000, TODAY = 1772791200000;
static tg_ms passed, wall, ahead;
static char boot[TG_BOOT_SIZE];

tg_ms tg_now(void) { return passed; }
tg_ms tg_wall_clock(void) { return wall; }
tg_ms tg_steady_ahead(void) { return ahead; }
tg_ms tg_steady_clock(void) { return passed + ahead; }
void tg_steady_set_ahead(tg_ms by) { ahead = by; }
void tg_boot_name(char name[TG_BOOT_SIZE]) { memcpy(name, boot, TG_BOOT_SIZE); }

static void pass(tg_ms ms)
{
  passed += ms;
  wall += ms;
}

static void start_machine(const char *name, tg_ms shows)
{
  snprintf(boot, sizeof boot, "%s", name);
  passed = 5000;
  wall = shows;
}

struct test {
  char dir[64], file[80];
  struct tg_steady steady;
};

static int begin(void **state)
{
  struct test *test = calloc(1, sizeof *test);
  snprintf(test->dir, sizeof test->dir, "/tmp/tidegate-steady-XXXXXX");
  if (!mkdtemp(test->dir))
    return -1;
  snprintf(test->file, sizeof test->file, "%s/clock.json", test->dir);
  start_machine("first", TODAY);
  ahead = -1;
  tg_steady_begin(&test->steady, test->dir);
  *state = test;
  return 0;
}

static int end(void **state)
{
  struct test *test = *state;
  unlink(test->file);
  rmdir(test->dir);
  free(test);
  return 0;
}

/* As after kill -9: nothing was said at the end. */
static tg_ms start_gateway(struct test *test)
{
  ahead = -1;
  tg_steady_begin(&test->steady, test->dir);
  return tg_steady_clock();
}

static void begins_as_the_wall_clock(void **state)
{
  (void)state;
  assert_int_equal(tg_steady_clock(), TODAY);
  pass(HOUR);
  assert_int_equal(tg_steady_clock(), TODAY + HOUR);
}

static void counts_on_when_the_wall_clock_is_set(void **state)
{
  struct test *test = *state;
  static const tg_ms steps[] = {3 * DAY, -3 * DAY, -TODAY, 500};
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    tg_ms before = tg_steady_clock();
    wall += steps[i];
    for (int look = 0; look < 3; look++)
      tg_steady_look(&test->steady);
    assert_int_equal(tg_steady_clock(), before);
    pass(HOUR);
    assert_int_equal(start_gateway(test), before + HOUR);
    wall += steps[i]; /* while no gateway runs */
    pass(HOUR);
    assert_int_equal(start_gateway(test), before + 2 * HOUR);
  }
}

static void tells_whether_the_machine_was_started_anew(void **state)
{
  struct test *test = *state;
  assert_false(test->steady.rebooted); /* nothing is known */
  start_gateway(test);
  assert_false(test->steady.rebooted);
  start_machine("second", TODAY + HOUR);
  start_gateway(test);
  assert_true(test->steady.rebooted);
  start_gateway(test);
  assert_false(test->steady.rebooted);
}

static void keeps_its_distance_from_the_wall_clock_over_a_start_of_the_machine(void **state)
{
  struct test *test = *state;
  start_machine("second", TODAY + DAY);
  assert_int_equal(start_gateway(test), TODAY + DAY);
  wall += 3 * DAY; /* it was wrong, and so it was before */
  tg_steady_look(&test->steady);
  start_machine("third", TODAY + 3 * DAY + 2 * DAY);
  assert_int_equal(start_gateway(test), TODAY + 2 * DAY);
}

static void never_goes_back(void **state)
{
  struct test *test = *state;
  pass(HOUR);
  tg_steady_look(&test->steady); /* is noted once an hour */
  start_machine("second", 60000); /* nobody has set it yet */
  tg_ms began = start_gateway(test);
  assert_in_range(began, TODAY + HOUR + 1, TODAY + HOUR + 60000);
  wall = TODAY + 2 * DAY; /* somebody has */
  tg_steady_look(&test->steady);
  assert_int_equal(tg_steady_clock(), began);
  pass(DAY);
  tg_steady_end(&test->steady);
  start_machine("third", 60000); /* and again */
  assert_in_range(start_gateway(test), began + DAY + 1, began + DAY + 60000);
}

static void machines_of_one_name_whose_clock_begins_anew_are_told_apart(void **state)
{
  struct test *test = *state;
  pass(DAY);
  tg_steady_end(&test->steady);
  start_machine("first", TODAY + 2 * DAY); /* a container that was given another monotonic clock */
  assert_int_equal(start_gateway(test), TODAY + 2 * DAY);
  start_machine("", TODAY + 3 * DAY); /* a system that does not name its starts */
  assert_int_equal(start_gateway(test), TODAY + 3 * DAY);
  start_machine("", TODAY + 4 * DAY);
  assert_int_equal(start_gateway(test), TODAY + 4 * DAY);
}

#define FIGURES(ahead, steady, distance)                                                                     \
  "{\"boot\":\"first\",\"ahead\":" ahead ",\"steady\":" steady ",\"wallDistance\":" distance "}"

/* Or says what cannot be. */
static void begins_anew_when_the_file_is_lost(void **state)
{
  struct test *test = *state;
  static const char *const contents[] = {"", "{}", "[1]", "{\"boot\":\"first\",\"ahead\":\"soon\"}",
                                         FIGURES("9223372036854775807", "9223372036854775807", "0"),
                                         FIGURES("0", "-9223372036854775808", "0"),
                                         FIGURES("0", "0", "-9223372036854775808")};
  for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
    FILE *file = fopen(test->file, "w");
    fputs(contents[i], file);
    fclose(file);
    wall += DAY;
    assert_int_equal(start_gateway(test), wall);
  }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      CASE(begins_as_the_wall_clock),
      CASE(counts_on_when_the_wall_clock_is_set),
      CASE(tells_whether_the_machine_was_started_anew),
      CASE(keeps_its_distance_from_the_wall_clock_over_a_start_of_the_machine),
      CASE(never_goes_back),
      CASE(machines_of_one_name_whose_clock_begins_anew_are_told_apart),
      CASE(begins_anew_when_the_file_is_lost),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
