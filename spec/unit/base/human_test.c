#include "base/human.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void durations_have_two_units(void **state)
{
  (void)state;
  static const struct {
    tg_ms duration;
    const char *text;
  } cases[] = {
      {0, "0 ms"},           {999, "999 ms"},          {1000, "1 s"},          {59999, "59 s"},
      {60000, "1 min 0 s"},  {3599999, "59 min 59 s"}, {3600000, "1 h 0 min"}, {86399999, "23 h 59 min"},
      {90000000, "1 d 1 h"},
  };
  char text[TG_HUMAN_SIZE];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tg_human_duration(cases[i].duration, text, sizeof text);
    assert_string_equal(text, cases[i].text);
  }
  tg_human_seconds(1, text, sizeof text);
  assert_string_equal(text, "1 s");
  tg_human_seconds(59001, text, sizeof text);
  assert_string_equal(text, "1 min 0 s");
}

static void sizes_have_a_fraction(void **state)
{
  (void)state;
  static const struct {
    uint64_t bytes;
    const char *text;
  } cases[] = {
      {0, "0 bytes"},
      {1023, "1023 bytes"},
      {1024, "1.0 KiB"},
      {1048575, "1.0 MiB"},
      {3355443, "3.2 MiB"},
      {UINT64_C(5) << 40, "5.0 TiB"},
      {UINT64_MAX, "16777216.0 TiB"},
  };
  char text[TG_HUMAN_SIZE];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tg_human_bytes(cases[i].bytes, text, sizeof text);
    assert_string_equal(text, cases[i].text);
  }
}

static void counts_are_grouped(void **state)
{
  (void)state;
  static const struct {
    int64_t count;
    const char *text;
  } cases[] = {
      {0, "0"},
      {999, "999"},
      {1000, "1,000"},
      {1234567, "1,234,567"},
      {-1, "-1"},
      {-123456, "-123,456"},
      {INT64_MIN, "-9,223,372,036,854,775,808"},
  };
  char text[TG_HUMAN_SIZE];
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tg_human_count(cases[i].count, text, sizeof text);
    assert_string_equal(text, cases[i].text);
  }
}

static void moments(void **state)
{
  (void)state;
  char text[TG_HUMAN_SIZE];
  tg_human_moment(INT64_C(1772600767999), text, sizeof text);
  assert_string_equal(text, "2026-03-04 05:06:07 UTC");
  tg_human_moment(0, text, sizeof text);
  assert_string_equal(text, "1970-01-01 00:00:00 UTC");
  tg_human_moment(INT64_MAX, text, sizeof text);
  assert_string_equal(text, "292278994-08-17 07:12:55 UTC");
}

static void check_safe(const char *given, bool lines, const char *expected)
{
  struct tg_buf out = {0};
  tg_human_safe(&out, given, lines);
  char *text = tg_buf_take(&out);
  assert_string_equal(text, expected);
  free(text);
}

static void foreign_text_cannot_act(void **state)
{
  (void)state;
  check_safe("", false, "");
  check_safe("Gr\xc3\xbc\xc3\x9f dich, \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x8c\x8a", false,
             "Gr\xc3\xbc\xc3\x9f dich, \xe6\x9d\xb1\xe4\xba\xac \xf0\x9f\x8c\x8a");
  check_safe("\x1b[2J\r\n\t\x7f", false, "\\u001b[2J\\u000d\\u000a\\u0009\\u007f");
  check_safe("a\n\tb\r\x1b", true, "a\n\tb\\u000d\\u001b");
  check_safe("\xc2\x9b"
             "2J",
             false, "\\u009b2J"); /* CSI in one character */
  check_safe("\xe2\x80\xae"
             "abc",
             false,
             "\\u202e"
             "abc"); /* from right to left */
  check_safe("\x9b\xff\xe2\x80", false, "\\u009b\\u00ff\\u00e2\\u0080");
  check_safe("\xc0\x9b", false, "\\u00c0\\u009b"); /* longer than it has to be */
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(durations_have_two_units),
      cmocka_unit_test(sizes_have_a_fraction),
      cmocka_unit_test(counts_are_grouped),
      cmocka_unit_test(moments),
      cmocka_unit_test(foreign_text_cannot_act),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
