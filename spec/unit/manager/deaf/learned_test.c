/* What is usual of shards, in its file. */

#include "manager/deaf/learned.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { BOT = 4711, FIRST = 8 };

static char directory[64];

static int make_directory(void **state)
{
  (void)state;
  snprintf(directory, sizeof directory, "/tmp/tg-learned-XXXXXX");
  return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
  char path[96];
  (void)state;
  snprintf(path, sizeof path, "%s/baseline.json", directory);
  unlink(path);
  return rmdir(directory);
}

static void write_two(void)
{
  struct tg_hearing *hearing = tg_hearing_new(2);
  tg_baseline_learn(tg_hearing_baseline(hearing, 0), 30, 1, 3);
  tg_baseline_learn_type(tg_hearing_baseline(hearing, 1), 2, 5, 0.5, 40);
  tg_baseline_learn(tg_hearing_baseline(hearing, 1), 31, 0.25, 9);
  tg_baseline_learn(tg_hearing_baseline(hearing, 2), 32, 1, 0);
  tg_learned_write(hearing, directory, BOT, FIRST);
  tg_hearing_free(hearing);
}

static int known_of(uint64_t bot, int first)
{
  struct tg_hearing *hearing = tg_hearing_new(2);
  tg_learned_read(hearing, directory, bot, first);
  int known = tg_hearing_known(hearing, 0) + 2 * tg_hearing_known(hearing, 1) + 4 * tg_hearing_known(hearing, 2);
  tg_hearing_free(hearing);
  return known;
}

static void is_read_as_it_was_written(void **state)
{
  (void)state;
  write_two();
  struct tg_hearing *hearing = tg_hearing_new(2);
  tg_learned_read(hearing, directory, BOT, FIRST);
  struct tg_usual usual = tg_baseline_expect(tg_hearing_baseline(hearing, 0), 30);
  assert_true(tg_usual_busy(usual) == 1);
  assert_int_equal(usual.longest, 3);
  usual = tg_baseline_expect_type(tg_hearing_baseline(hearing, 1), 2, 5);
  assert_true(tg_usual_busy(usual) > 0.49 && tg_usual_busy(usual) < 0.51);
  assert_int_equal(usual.longest, 40);
  assert_int_equal(known_of(BOT, FIRST), 7);
  tg_hearing_free(hearing);
}

static void of_another_bot_it_is_not_taken(void **state)
{
  (void)state;
  write_two();
  assert_int_equal(known_of(BOT + 1, FIRST), 0);
}

static void of_other_shards_only_what_is_theirs(void **state)
{
  (void)state;
  write_two();
  assert_int_equal(known_of(BOT, FIRST + 1), 1 + 4);
}

static void what_is_damaged_is_not_taken(void **state)
{
  struct tg_baseline baseline;
  struct tg_buf text = {0};
  (void)state;
  tg_baseline_write(&(struct tg_baseline){.week[3] = {200, 1}}, &text);
  char *good = tg_buf_take(&text);
  assert_true(tg_baseline_read(&baseline, good));
  assert_int_equal(tg_baseline_known(&baseline), 1);
  good[17] = 'x';
  assert_false(tg_baseline_read(&baseline, good));
  assert_int_equal(tg_baseline_known(&baseline), 0);
  good[17] = '0';
  good[strlen(good) - 1] = '\0';
  assert_false(tg_baseline_read(&baseline, good));
  free(good);
}

static void an_hour_never_seen_is_that_of_other_days(void **state)
{
  struct tg_baseline baseline = {0};
  (void)state;
  tg_baseline_learn(&baseline, 5, 0.8, 4);
  tg_baseline_learn(&baseline, 5 + TG_DAY_HOURS, 0.6, 2);
  struct tg_usual usual = tg_baseline_expect(&baseline, 5 + 3 * TG_DAY_HOURS);
  assert_true(tg_usual_busy(usual) > 0.59 && tg_usual_busy(usual) < 0.61);
  assert_int_equal(usual.longest, 4);
  assert_int_equal(tg_baseline_expect(&baseline, 9).busy, 0);
}

static void weeks_that_have_gone_by_count_less(void **state)
{
  struct tg_baseline baseline = {0};
  (void)state;
  tg_baseline_learn(&baseline, 5, 0.2, 200);
  for (int week = 0; week < 12; week++)
    tg_baseline_learn(&baseline, 5, 0.9, 2);
  assert_true(tg_usual_busy(baseline.week[5]) > 0.88);
  assert_in_range(baseline.week[5].longest, 2, 10);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(is_read_as_it_was_written, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(of_another_bot_it_is_not_taken, make_directory, remove_directory),
      cmocka_unit_test_setup_teardown(of_other_shards_only_what_is_theirs, make_directory, remove_directory),
      cmocka_unit_test(what_is_damaged_is_not_taken),
      cmocka_unit_test(an_hour_never_seen_is_that_of_other_days),
      cmocka_unit_test(weeks_that_have_gone_by_count_less),
  };
  return cmocka_run_group_tests_name("deaf/learned", tests, NULL, NULL);
}
