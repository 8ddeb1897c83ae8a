#include "base/log.h"
#include "base/log_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct tg_log_limit limit;

static int begin(void **state)
{
  (void)state;
  memset(&limit, 0, sizeof limit);
  return 0;
}

static bool pass(const void *key, const char *text, tg_ms now)
{
  return tg_log_limit_pass(&limit, key, 2, 7, text, now);
}

static void a_burst_passes_and_the_rest_is_counted(void **state)
{
  (void)state;
  for (int i = 0; i < TG_LOG_BURST; i++)
    assert_true(pass("kind", "text", 1000 + i));
  assert_false(pass("kind", "text", 1100));
  assert_false(pass("kind", "the last", 1200));
  assert_null(tg_log_limit_over(&limit, 1000 + TG_LOG_WHILE - 1));
  const struct tg_line_kind *over = tg_log_limit_over(&limit, 1000 + TG_LOG_WHILE);
  assert_non_null(over);
  assert_int_equal(over->held, 2);
  assert_int_equal(over->level, 2);
  assert_int_equal(over->shard_id, 7);
  assert_string_equal(over->text, "the last");
  assert_null(tg_log_limit_over(&limit, 1000 + TG_LOG_WHILE));
  assert_true(pass("kind", "text", 1001 + TG_LOG_WHILE));
}

static void slow_lines_always_pass(void **state)
{
  (void)state;
  for (int i = 0; i < 1000; i++)
    assert_true(pass("kind", "text", (tg_ms)i * TG_LOG_WHILE / TG_LOG_BURST));
  assert_null(tg_log_limit_over(&limit, INT64_MAX));
}

static void processes_share_what_may_pass(void **state)
{
  (void)state;
  limit.processes = 10;
  for (int i = 0; i < TG_LOG_BURST / 10; i++)
    assert_true(pass("kind", "text", 1000));
  assert_false(pass("kind", "text", 1000));
  limit.processes = 1000; /* each of them says something */
  for (int i = 0; i < TG_LOG_BURST_LEAST; i++)
    assert_true(pass("another", "text", 1000));
  assert_false(pass("another", "text", 1000));
}

static void information_has_more_room(void **state)
{
  (void)state;
  for (int i = 0; i < TG_LOG_BURST_INFO; i++)
    assert_true(tg_log_limit_pass(&limit, "kind", TG_INFO, 7, "text", 1000));
  assert_false(tg_log_limit_pass(&limit, "kind", TG_INFO, 7, "text", 1000));
}

static void kinds_do_not_disturb_each_other(void **state)
{
  (void)state;
  static char keys[TG_LOG_KINDS * 3];
  for (int i = 0; i < TG_LOG_BURST + 1; i++)
    pass("kind", "text", 1000);
  for (size_t i = 0; i < sizeof keys; i++)
    assert_true(pass(&keys[i], "another", 1001 + (tg_ms)i));
  assert_false(pass("kind", "text", 1200));
  assert_int_equal(tg_log_limit_over(&limit, 1000 + TG_LOG_WHILE)->held, 2);
}

static void when_all_places_are_busy_lines_pass(void **state)
{
  (void)state;
  static char keys[TG_LOG_KINDS];
  for (size_t i = 0; i < sizeof keys; i++)
    for (int n = 0; n < TG_LOG_BURST + 1; n++)
      pass(&keys[i], "text", 1000);
  for (int n = 0; n < TG_LOG_BURST * 2; n++)
    assert_true(pass("one more", "text", 1000));
}

static void long_texts_are_cut_between_characters(void **state)
{
  (void)state;
  char text[1000] = "a";
  for (int i = 0; i < 400; i++)
    strcat(text, "\xc3\xa9");
  for (int i = 0; i < TG_LOG_BURST + 1; i++)
    pass("kind", text, 0);
  const char *kept = tg_log_limit_over(&limit, TG_LOG_WHILE)->text;
  assert_int_equal(strlen(kept), 299);
  assert_int_equal((unsigned char)kept[298], 0xa9);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(a_burst_passes_and_the_rest_is_counted, begin),
      cmocka_unit_test_setup(slow_lines_always_pass, begin),
      cmocka_unit_test_setup(processes_share_what_may_pass, begin),
      cmocka_unit_test_setup(information_has_more_room, begin),
      cmocka_unit_test_setup(kinds_do_not_disturb_each_other, begin),
      cmocka_unit_test_setup(when_all_places_are_busy_lines_pass, begin),
      cmocka_unit_test_setup(long_texts_are_cut_between_characters, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
