/* URLs as they are configured and as they may be logged; Retry-After among headers. */

#include "net/http_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static void retry_after_texts(void **state)
{
  (void)state;
  struct {
    const char *headers;
    tg_ms expected;
  } rows[] = {
      {"", -1},
      {"HTTP/1.1 503 X\r\nServer: x\r\n", -1},
      {"HTTP/1.1 503 X\r\nretry-after: 3\r\n\r\n", 3000},
      {"Retry-After: 0\r\n", 0},
      {"Retry-After:12\r\n", 12000},
      {"Retry-After: 1.2501\r\n", 1251},
      {"Retry-After: soon\r\n", -1},
      {"Retry-After: -5\r\n", -1},
      {"Retry-After: 5 apples\r\n", -1},
      {"Retry-After: Thu, 01 Jan 1970 00:16:40 GMT\r\n", 900000},
      {"Retry-After: Thu, 01 Jan 1970 00:00:10 GMT\r\n", 0},
      {"X-Retry-After: 9\r\n", -1},
      /* By the clock of the sender, however ours is set. */
      {"Retry-After: Fri, 06 Mar 2026 10:00:07 GMT\r\nDate: Fri, 06 Mar 2026 10:00:00 GMT\r\n", 7000},
      {"Date: Fri, 06 Mar 2026 10:00:00 GMT\r\nRetry-After: Fri, 06 Mar 2026 09:00:00 GMT\r\n", 0},
      {"Date: yesterday\r\nRetry-After: Thu, 01 Jan 1970 00:16:40 GMT\r\n", 900000},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    assert_int_equal(tg_http_retry_after(rows[i].headers, 100000), rows[i].expected);
}

static void where_it_leads_hides_secrets(void **state)
{
  (void)state;
  struct tg_http_url url;
  assert_true(tg_http_url_parse("http://user:secret@bot.example:8081/x?key=secret", &url, NULL));
  assert_string_equal(url.where, "http://bot.example:8081");
  tg_http_url_free(&url);
  assert_true(tg_http_url_parse("http+unix:///run/bot.sock", &url, NULL));
  assert_string_equal(url.socket_path, "/run/bot.sock");
  assert_string_equal(url.url, "http://localhost/");
  tg_http_url_free(&url);
}

static void parts_of_paths_lead_nowhere_else(void **state)
{
  (void)state;
  const struct {
    struct tg_span part;
    const char *expected; /* NULL: refused */
  } rows[] = {
      {{"aW50-._~=:+x", 12}, "http://a/aW50-._~=:+x"},
      {{"a/../b", 6}, "http://a/a%2F..%2Fb"},
      {{"a?b#c%2e", 8}, "http://a/a%3Fb%23c%252e"},
      {{"a\0\r\n \xe9", 6}, "http://a/a%00%0D%0A%20%E9"},
      {{"...", 3}, "http://a/..."},
      {{"..", 2}, NULL},
      {{".", 1}, NULL},
      {{"", 0}, NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_buf url = {0};
    tg_buf_puts(&url, "http://a");
    assert_int_equal(tg_http_path_add(&url, rows[i].part), rows[i].expected != NULL);
    char *text = tg_buf_take(&url);
    assert_string_equal(text, rows[i].expected ? rows[i].expected : "http://a");
    free(text);
  }
}

static void reasons(void **state)
{
  (void)state;
  assert_string_equal(tg_http_reason(200), "OK");
  assert_string_equal(tg_http_reason(431), "Request Header Fields Too Large");
  assert_string_equal(tg_http_reason(299), "Unknown");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(retry_after_texts),
      cmocka_unit_test(where_it_leads_hides_secrets),
      cmocka_unit_test(parts_of_paths_lead_nowhere_else),
      cmocka_unit_test(reasons),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
