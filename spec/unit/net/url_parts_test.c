/* Targets of requests, taken apart: escapes and queries. */

#include "net/url_parts.h"

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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(escapes_are_undone),
      cmocka_unit_test(a_text_may_end_anywhere),
      cmocka_unit_test(queries_have_names_and_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
