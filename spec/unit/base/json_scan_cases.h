/* The cases of the JSON scan, run twice: as the machine's instructions have it
 * (json_scan_test.c) and as the portable loop has it (json_scan_portable_test.c). */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What tg_json_skip_value() does with brackets, a byte at a time. In text that
 * is JSON a backslash stands only inside of strings. */
static const char *skip_slowly(const char *at, const char *end)
{
  size_t depth = 0;
  bool in_string = false, escaped = false;
  for (; at < end; at++) {
    bool plain = !escaped;
    escaped = plain && *at == '\\';
    if (*at == '"' && plain)
      in_string = !in_string;
    else if (in_string)
      continue;
    else if (*at == '{' || *at == '[')
      depth++;
    else if ((*at == '}' || *at == ']') && --depth == 0)
      return at + 1;
  }
  return NULL;
}

static void agrees_with_the_slow_way(void **state)
{
  (void)state;
  static const char alphabet[] = "{}[]\"\"\"\\\\aaaaaaaa:, 1;K\x9b\xdb";
  uint64_t seed = 88172645463325252;
  int found = 0;
  for (int round = 0; round < 60000; round++) {
    char bytes[300];
    size_t length = 1;
    bytes[0] = round % 2 ? '{' : '[';
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    size_t wanted = (seed >> 33) % (sizeof bytes - 1) + 1;
    /* Some texts have few brackets, so that the end lies behind many blocks. */
    size_t letters = round % 3 ? sizeof alphabet - 1 : 16;
    for (; length < wanted; length++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      bytes[length] = alphabet[round % 3 == 0 ? 8 + (seed >> 33) % letters % 18 : (seed >> 33) % letters];
    }
    char *exact = malloc(length);
    memcpy(exact, bytes, length);
    const char *expected = skip_slowly(exact, exact + length);
    const char *got = tg_json_skip_value(exact, exact + length);
    found += got != NULL;
    if (got != expected)
      fail_msg("round %d: %td instead of %td of %zu: %.*s", round, got ? got - exact : -1,
               expected ? expected - exact : -1, length, (int)length, exact);
    free(exact);
  }
  assert_true(found > 10000);
}

static void skips_values(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    int length; /* -1: no value */
  } cases[] = {
      {"1,", 1},
      {"-1.5e+3}", 7},
      {"true]", 4},
      {"null", 4},
      {"\"\"", 2},
      {"\"a\\\"b\",", 6},
      {"\"\\\\\"x", 4},
      {"\"open", -1},
      {"\"\\\"", -1},
      {"{}", 2},
      {"[]]", 2},
      {"{\"}\":1}x", 7},
      {"[\"[\",{\"a\":[]}]", 14},
      {"", -1},
      {",", -1},
      {"}", -1},
      {"[[]", -1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const char *text = cases[i].text;
    const char *behind = tg_json_skip_value(text, text + strlen(text));
    if (cases[i].length < 0 ? behind != NULL : behind != text + cases[i].length)
      fail_msg("%s: %td", text, behind ? behind - text : -1);
  }
}

static void nests_deeper_than_any_stack(void **state)
{
  (void)state;
  enum { DEPTH = 1000000 };
  char *text = calloc(2, DEPTH);
  memset(text, '[', DEPTH);
  memset(text + DEPTH, ']', DEPTH);
  assert_ptr_equal(tg_json_skip_value(text, text + 2 * DEPTH), text + 2 * DEPTH);
  assert_null(tg_json_skip_value(text, text + 2 * DEPTH - 1));
  free(text);
}

static void finds_keys(void **state)
{
  (void)state;
  static const char text[] =
      " { \"a\" : {\"id\":\"1\"} , \"id\":\"42\",\"id\":\"43\", \"i\":[1, \"two\" ,{\"id\":3}],\"z\":null}";
  const char *end = text + sizeof text - 1;
  struct tg_span value = {0};
  uint64_t number;
  assert_true(tg_json_find(text, end, "id", &value));
  assert_true(tg_json_uint(value, &number));
  assert_int_equal(number, 42);
  assert_true(tg_json_find(text, end, "z", &value));
  assert_true(tg_json_is(value, "null"));
  assert_false(tg_json_find(text, end, "two", &value));
  assert_false(tg_json_find(text, end, "", &value));

  static const char *const elements[] = {"1", "\"two\"", "{\"id\":3}"};
  struct tg_span array, element;
  assert_true(tg_json_find(text, end, "i", &array));
  const char *at = NULL;
  for (int i = 0; i < 3; i++) {
    assert_true(tg_json_next(array, &at, &element));
    assert_true(tg_json_is(element, elements[i]));
  }
  assert_false(tg_json_next(array, &at, &element));

  for (size_t length = 0; length < sizeof text - 1; length++) {
    char *exact = calloc(length + 1, 1);
    memcpy(exact, text, length);
    tg_json_find(exact, exact + length, "z", &value);
    free(exact);
  }
}

static void reads_numbers(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    bool good;
    uint64_t number;
  } cases[] = {
      {"0", true, 0},     {"18446744073709551615", true, UINT64_MAX},
      {"\"7\"", true, 7}, {"18446744073709551616", false, 0},
      {"-1", false, 0},   {"1.0", false, 0},
      {"\"\"", false, 0}, {"\"1", false, 0},
      {"null", false, 0}, {"1e3", false, 0},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    uint64_t number = 0;
    struct tg_span value = {cases[i].text, strlen(cases[i].text)};
    if (tg_json_uint(value, &number) != cases[i].good || number != cases[i].number)
      fail_msg("%s", cases[i].text);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_the_slow_way),
      cmocka_unit_test(skips_values),
      cmocka_unit_test(nests_deeper_than_any_stack),
      cmocka_unit_test(finds_keys),
      cmocka_unit_test(reads_numbers),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
