/* URLs and targets of requests, taken apart: escapes, queries, and what is secret. */

#include "base/url_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void escapes_are_undone(void **state)
{
  (void)state;
  struct {
    const char *text;
    bool plus;
    const char *expected; /* NULL: refused */
    size_t length;
  } rows[] = {
      {"", false, "", 0},
      {"stats", false, "stats", 5},
      {"a+b", false, "a+b", 3},
      {"a+b%2B", true, "a b+", 4},
      {"%2f%2F%c3%A9", false, "//\xc3\xa9", 4},
      {"%00x", false, "\0x", 2},
      {"%ff", false, "\xff", 1},
      {"%25zz", false, "%zz", 3},
      {"%", false, NULL, 0},
      {"%2", false, NULL, 0},
      {"a%2g", false, NULL, 0},
      {"%g2", false, NULL, 0},
      {"%+2", true, NULL, 0},
      {"%@1", false, NULL, 0},
      {"% 1", false, NULL, 0},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_buf out = {0};
    bool good = tg_url_decode(&out, rows[i].text, strlen(rows[i].text), rows[i].plus);
    assert_int_equal(good, rows[i].expected != NULL);
    if (good) {
      assert_int_equal(out.length, rows[i].length);
      assert_memory_equal(out.length > 0 ? out.data : "", rows[i].expected, rows[i].length);
    }
    tg_buf_free(&out);
  }
}

/* Nothing is read beyond the length. */
static void a_text_may_end_anywhere(void **state)
{
  (void)state;
  struct tg_buf out = {0};
  assert_false(tg_url_decode(&out, "%41", 2, false));
  assert_true(tg_url_decode(&out, "ab%41", 2, false));
  assert_int_equal(out.length, 2);
  tg_buf_free(&out);
}

static void queries_have_names_and_values(void **state)
{
  (void)state;
  struct {
    const char *query, *expected;
  } rows[] = {
      {"", ""},       {"&&", ""},           {"a=1&b=2", "[a|1][b|2]"}, {"flag", "[flag|]"},    {"=x", "[|x]"},
      {"a=", "[a|]"}, {"a=b=c", "[a|b=c]"}, {"&a=1&&b&", "[a|1][b|]"}, {"a=%26+", "[a|%26+]"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_buf out = {0};
    struct tg_span name, value;
    tg_buf_printf(&out, "%s", "");
    for (const char *at = rows[i].query; tg_query_next(&at, &name, &value);)
      tg_buf_printf(&out, "[%.*s|%.*s]", (int)name.length, name.at, (int)value.length, value.at);
    char *text = tg_buf_take(&out);
    assert_string_equal(text, rows[i].expected);
    free(text);
  }
}

static void what_may_be_seen_and_what_not(void **state)
{
  (void)state;
  static const struct {
    const char *url, *public, *password; /* password NULL: none */
  } rows[] = {
      {"http://user:secret@bot:8081/events?key=secret", "http://bot:8081/events", "secret"},
      {"https://bot/@x:y@z", "https://bot/@x:y@z", NULL},
      {"https:?/secret@bot://x", "https:", NULL},
      {"https://user@bot", "https://bot", NULL},
      {"https://user:@bot", "https://bot", NULL},
      {"http+unix:///run/a@b:/events?x", "http+unix:///run/a@b:/events", NULL},
      {"redis://user:se:cret@r:6379/1", "redis://r:6379/1", "se:cret"},
      {"redis://:secret@[::1]", "redis://[::1]", "secret"},
      {"REDISS://:se/cr?et@r/1", "REDISS://r/1", "se/cr?et"}, /* refused, but who knows where it is shown before */
      {"redis+unix://:secret@/run/r?db=12&x=secret", "redis+unix:///run/r?db=12", "secret"},
      {"redis+unix:///run/r?x=secret", "redis+unix:///run/r", NULL},
      {"user:secret@bot/events", "bot/events", "secret"}, /* no URL, but who knows what was meant */
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    size_t length;
    char *public = tg_url_public(rows[i].url);
    const char *password = tg_url_password(rows[i].url, &length);
    assert_string_equal(public, rows[i].public);
    if (!rows[i].password != !password || (password && length != strlen(rows[i].password)))
      fail_msg("%s: %s", rows[i].url, password ? password : "none");
    if (password)
      assert_memory_equal(password, rows[i].password, length);
    free(public);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(escapes_are_undone),
      cmocka_unit_test(a_text_may_end_anywhere),
      cmocka_unit_test(queries_have_names_and_values),
      cmocka_unit_test(what_may_be_seen_and_what_not),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
