/* UTF-8: what is whole, what is put in place of the rest, where text may be cut. */

#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define FFFD "\xEF\xBF\xBD"

/* Each also behind and in front of text that is long enough to be looked at by
 * eight bytes. */
static void check(const char *text, size_t length, const char *mended)
{
  static const char *const around[] = {"", "x", "sixteen letters!", "\xC3\xBC"};
  for (size_t i = 0; i < 16; i++) {
    const char *before = around[i % 4], *behind = around[i / 4];
    struct tg_buf given = {0}, expected = {0}, got = {0};
    tg_buf_puts(&given, before);
    tg_buf_append(&given, text, length);
    tg_buf_puts(&given, behind);
    tg_buf_printf(&expected, "%s%s%s", before, mended, behind);
    size_t replaced = tg_utf8_mend(&got, given.data, given.length);
    assert_int_equal(got.length, expected.length);
    assert_memory_equal(got.data, expected.data, got.length);
    bool whole = length == strlen(mended) && memcmp(text, mended, length) == 0;
    assert_int_equal(tg_utf8_valid(given.data, given.length) == given.length, whole);
    assert_int_equal(replaced == 0, whole);
    assert_int_equal(tg_utf8_valid(got.data, got.length), got.length);
    tg_buf_free(&given);
    tg_buf_free(&expected);
    tg_buf_free(&got);
  }
}

static void whole_text_stays(void **state)
{
  (void)state;
  static const char *const whole[] = {
      "plain ascii, long enough",
      "\x7F",
      "\xC2\x80",
      "\xDF\xBF",
      "\xE0\xA0\x80",
      "\xED\x9F\xBF",
      "\xEE\x80\x80",
      "\xEF\xBF\xBF",
      "\xF0\x90\x80\x80",
      "\xF4\x8F\xBF\xBF",
      "\xE2\x82\xAC",
      FFFD,
      "\xF0\x9F\x8C\x8A",
  };
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
    check(whole[i], strlen(whole[i]), whole[i]);
}

/* Of a sequence that was cut short one U+FFFD, of bytes that could never become
 * a code point one each: as browsers do it. */
static void torn_text_is_mended(void **state)
{
  (void)state;
  static const struct {
    const char *text, *mended;
  } torn[] = {
      {"\x80", FFFD},
      {"\xFF", FFFD},
      {"\xC0\x80", FFFD FFFD},
      {"\xC3", FFFD},
      {"a\xC3", "a" FFFD},
      {"\xC3(", FFFD "("},
      {"\xE2\x82", FFFD},
      {"\xE2(\x82", FFFD "(" FFFD},
      {"\xE0\x9F\xBF", FFFD FFFD FFFD},
      {"\xED\xA0\x80", FFFD FFFD FFFD},
      {"\xED\xA0\xBD\xED\xB8\x80", FFFD FFFD FFFD FFFD FFFD FFFD},
      {"\xF0\x9F\x8C", FFFD},
      {"\xF0\x9F\x8C\xF0\x9F\x8C\x8A", FFFD "\xF0\x9F\x8C\x8A"},
      {"\xF0\x8F\xBF\xBF", FFFD FFFD FFFD FFFD},
      {"\xF4\x90\x80\x80", FFFD FFFD FFFD FFFD},
      {"\xF5\x80\x80\x80", FFFD FFFD FFFD FFFD},
      {"M\xFC"
       "nchen",
       "M" FFFD "nchen"},
  };
  for (size_t i = 0; i < sizeof torn / sizeof *torn; i++) {
    /* What begins a sequence is looked at alone: the letters around it end it. */
    struct tg_buf got = {0};
    assert_true(tg_utf8_mend(&got, torn[i].text, strlen(torn[i].text)) > 0);
    assert_int_equal(got.length, strlen(torn[i].mended));
    assert_memory_equal(got.data, torn[i].mended, got.length);
    tg_buf_free(&got);
    check(torn[i].text, strlen(torn[i].text), torn[i].mended);
  }
  struct tg_buf got = {0};
  assert_int_equal(tg_utf8_mend(&got, "a\0\xFF", 3), 1); /* a NUL is a letter like others */
  assert_int_equal(got.length, 5);
  assert_memory_equal(got.data, "a\0" FFFD, 5);
  tg_buf_free(&got);
}

static void cuts_between_code_points(void **state)
{
  (void)state;
  static const char text[] = "a\xC3\xBC\xE2\x82\xAC\xF0\x9F\x8C\x8Az"; /* 1 2 3 4 1 bytes */
  static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
  for (size_t most = 0; most < sizeof expected / sizeof *expected; most++)
    assert_int_equal(tg_utf8_cut(text, sizeof text - 1, most), expected[most]);
  assert_int_equal(tg_utf8_cut("", 0, 5), 0);
  assert_int_equal(tg_utf8_cut("\x80\x80\x80\x80\x80\x80", 6, 3), 3); /* no text: cut where it stands */
  assert_int_equal(tg_utf8_cut("abc\xE2(", 5, 4), 4);
}

static void json_is_made_of_any_text(void **state)
{
  (void)state;
  json_t *good = tg_json_text("\xC3\xBC"), *bad = tg_json_text("a\xFF");
  assert_string_equal(json_string_value(good), "\xC3\xBC");
  assert_string_equal(json_string_value(bad), "a" FFFD);
  json_decref(good);
  json_decref(bad);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_text_stays),
      cmocka_unit_test(torn_text_is_mended),
      cmocka_unit_test(cuts_between_code_points),
      cmocka_unit_test(json_is_made_of_any_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
