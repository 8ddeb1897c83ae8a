#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "shared/stats.h"

#include <stdio.h>
#include <string.h>

static int set_up(void **state)
{
  (void)state;
  memset(&tg_stats()->recent, 0, sizeof tg_stats()->recent);
  tg_log_set_level(TG_DEBUG); /* nothing is held back */
  tg_recent_begin();
  return 0;
}

static int tear_down(void **state)
{
  (void)state;
  tg_log_set_watcher(NULL);
  return 0;
}

static void only_warnings_and_errors_are_kept_with_their_fields_and_without_secrets(void **state)
{
  (void)state;
  const struct tg_recent *recent = &tg_stats()->recent;
  struct tg_recent_line line;
  tg_log_secret("open sesame");
  tg_log(TG_INFO, 1, "not this");
  tg_log_with(TG_WARN, 2, TG_WITH(TG_NUMBER(CODE, 4000)), "the word is open sesame");
  tg_log(TG_ERROR, TG_NO_SHARD, "an error\nand its traceback");
  assert_int_equal(atomic_load(&recent->count), 2);
  assert_true(tg_recent_read(recent, 0, &line));
  assert_int_equal(line.level, TG_WARN);
  assert_int_equal(line.shard_id, 2);
  assert_true(line.at > 0);
  assert_string_equal(line.text, "the word is *** code=4000");
  assert_true(tg_recent_read(recent, 1, &line));
  assert_int_equal(line.level, TG_ERROR);
  assert_int_equal(line.shard_id, TG_NO_SHARD);
  assert_string_equal(line.text, "an error\nand its traceback");
  assert_false(tg_recent_read(recent, 2, &line));
}

static void the_oldest_go(void **state)
{
  (void)state;
  const struct tg_recent *recent = &tg_stats()->recent;
  struct tg_recent_line line;
  for (int i = 0; i < TG_RECENT_LINES + 5; i++)
    tg_log(TG_WARN, i, "warning %d", i);
  assert_true(tg_recent_read(recent, 4, &line));
  assert_string_equal(line.text, "warning 104");
  assert_true(tg_recent_read(recent, 5, &line));
  assert_string_equal(line.text, "warning 5");
}

static void long_ones_are_cut_between_letters(void **state)
{
  (void)state;
  struct tg_recent_line line;
  char text[TG_RECENT_TEXT + 100];
  for (size_t i = 0; i + 2 < sizeof text; i += 2)
    memcpy(text + i, "\xc3\xa4", 3);
  tg_log(TG_WARN, TG_NO_SHARD, "x%s", text);
  assert_true(tg_recent_read(&tg_stats()->recent, 0, &line));
  assert_int_equal(strlen(line.text), TG_RECENT_TEXT - 1);
  assert_string_equal(line.text + TG_RECENT_TEXT - 3, "\xc3\xa4");
}

/* A script may have scribbled over the page, and a process may die anywhere. */
static void what_is_broken_is_not_believed(void **state)
{
  (void)state;
  struct tg_recent *recent = &tg_stats()->recent;
  struct tg_recent_line line;
  tg_log(TG_WARN, 1, "half of it");
  atomic_fetch_add(&recent->list[0].guard, 1);
  assert_false(tg_recent_read(recent, 0, &line));
  atomic_fetch_add(&recent->list[0].guard, 1);
  memset(recent->list[0].text, 'x', TG_RECENT_TEXT);
  recent->list[0].text[7] = '\xff';
  recent->list[0].level = 99;
  assert_true(tg_recent_read(recent, 0, &line));
  assert_string_equal(line.text, "xxxxxxx");
  assert_int_equal(line.level, TG_WARN);
  /* The next process goes on where one died in the middle of a line. */
  atomic_store(&recent->list[1].guard, 7);
  tg_log(TG_WARN, 2, "the next");
  assert_true(tg_recent_read(recent, 1, &line));
  assert_string_equal(line.text, "the next");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(only_warnings_and_errors_are_kept_with_their_fields_and_without_secrets,
                                      set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_oldest_go, set_up, tear_down),
      cmocka_unit_test_setup_teardown(long_ones_are_cut_between_letters, set_up, tear_down),
      cmocka_unit_test_setup_teardown(what_is_broken_is_not_believed, set_up, tear_down),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
