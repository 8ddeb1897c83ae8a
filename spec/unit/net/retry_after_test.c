/* Retry-After: seconds, the three forms of a date, and what is neither. */

#include "net/retry_after.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const tg_ms wall = 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */

static void reads_what_servers_send(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    tg_ms expected;
  } rows[] = {
      {"0", 0},
      {"3", 3000},
      {"1.2501", 1251},
      {"86400", 86400000},
      {"1000000000000", TG_RETRY_AFTER_MOST},
      {"99999999999999999999999999", TG_RETRY_AFTER_MOST},
      {"Sun, 06 Nov 1994 08:50:37 GMT", 60000},
      {"Sunday, 06-Nov-94 08:50:37 GMT", 60000},
      {"Sun Nov  6 08:50:37 1994", 60000},
      {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
      {"Sun, 06 Nov 1994 08:00:00 GMT", 0},
      {"Fri, 31 Dec 9999 23:59:59 GMT", TG_RETRY_AFTER_MOST},
      {"", -1},
      {"-5", -1},
      {"NaN", -1},
      {"inf", -1},
      {"1e3", -1},
      {"0x10", -1},
      {"1.2.3", -1},
      {"5 apples", -1},
      {"soon", -1},
      {"Sun, 06 Nov 1994 08:50:37 CET", -1},
      {"Sun, 06 Nov 1994 08:50:37 GMT, or later", -1},
      {"Sunday, the sixth of November nineteen hundred and ninety-four, in the morning", -1},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tg_ms wait = tg_read_retry_after(rows[i].text, strlen(rows[i].text), wall);
    if (wait != rows[i].expected)
      fail_msg("\"%s\" is read as %lld", rows[i].text, (long long)wait);
  }
}

static void reads_dates_and_nothing_else_as_such(void **state)
{
  (void)state;
  static const char *const dates[] = {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
                                      "Sun Nov  6 08:49:37 1994"};
  for (size_t i = 0; i < sizeof dates / sizeof *dates; i++)
    assert_int_equal(tg_read_http_date(dates[i], strlen(dates[i])), wall);
  assert_int_equal(tg_read_http_date("784111777", 9), -1);
  assert_int_equal(tg_read_http_date("", 0), -1);
}

static void reads_no_further_than_it_may(void **state)
{
  (void)state;
  assert_int_equal(tg_read_retry_after("123", 2, wall), 12000);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_what_servers_send),
      cmocka_unit_test(reads_dates_and_nothing_else_as_such),
      cmocka_unit_test(reads_no_further_than_it_may),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
