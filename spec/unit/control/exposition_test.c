#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "control/exposition.h"

#include <math.h>
#include <stdlib.h>

static struct tg_buf text;

static int empty(void **state)
{
  (void)state;
  tg_buf_free(&text);
  text = (struct tg_buf){0};
  return 0;
}

static void assert_text(const char *expected)
{
  char *got = tg_buf_take(&text);
  assert_string_equal(got, expected);
  free(got);
}

static void a_family_has_one_head(void **state)
{
  (void)state;
  struct tg_exposition out = {.out = &text};
  tg_family(&out, "a_total", "counter", "Counts.");
  tg_sample_uint(&out, 0);
  tg_family(&out, "without_samples", "gauge", "Nothing.");
  tg_family(&out, "b", "gauge", "Levels.");
  tg_label_int(&out, "shard", 12);
  tg_label(&out, "name", "x");
  tg_sample_uint(&out, UINT64_MAX);
  tg_labels(&out, "");
  tg_sample_double(&out, -1.5);
  tg_labels(&out, "a=\"1\"");
  tg_label_int(&out, "b", -7);
  tg_sample_ms(&out, 1);
  assert_text("# HELP a_total Counts.\n# TYPE a_total counter\na_total 0\n"
              "# HELP b Levels.\n# TYPE b gauge\n"
              "b{shard=\"12\",name=\"x\"} 18446744073709551615\nb -1.5\nb{a=\"1\",b=\"-7\"} 0.001\n");
}

static void texts_are_escaped(void **state)
{
  (void)state;
  struct tg_exposition out = {.out = &text};
  tg_family(&out, "a", "gauge", "A \"quoted\"\nback\\slash.");
  tg_label(&out, "x", "a\"b\\c\nd");
  tg_label(&out, "y", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x8c\x8a|\xff|\xc3|\xed\xa0\x80|\xc0\x80");
  tg_sample_uint(&out, 1);
  assert_text("# HELP a A \"quoted\"\\nback\\\\slash.\n# TYPE a gauge\n"
              "a{x=\"a\\\"b\\\\c\\nd\",y=\"\xc3\xbc\xe2\x82\xac\xf0\x9f\x8c\x8a|\xef\xbf\xbd|\xef\xbf\xbd|"
              "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd\"} 1\n");
}

static void numbers_are_exact(void **state)
{
  (void)state;
  static const struct {
    int64_t ms;
    const char *expected;
  } cases[] = {{0, "0"},          {1, "0.001"}, {10, "0.01"},       {100, "0.1"}, {1000, "1"},
               {1234, "1.234"}, {-5, "-0.005"}, {1795383987099, "1795383987.099"}};
  struct tg_exposition out = {.out = &text};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    empty(NULL);
    tg_family(&out, "a", "gauge", "");
    tg_sample_ms(&out, cases[i].ms);
    struct tg_buf expected = {0};
    tg_buf_printf(&expected, "# HELP a \n# TYPE a gauge\na %s\n", cases[i].expected);
    char *line = tg_buf_take(&expected);
    assert_text(line);
    free(line);
  }
  tg_family(&out, "a", "gauge", "");
  out.begun = true;
  tg_sample_double(&out, NAN);
  tg_sample_double(&out, INFINITY);
  tg_sample_double(&out, -INFINITY);
  tg_sample_double(&out, 3);
  tg_sample_double(&out, 0.1);
  tg_sample_double(&out, 1e300);
  assert_text("a NaN\na +Inf\na -Inf\na 3\na 0.1\na 1e+300\n");
}

static void histograms_are_cumulative(void **state)
{
  (void)state;
  struct tg_exposition out = {.out = &text};
  static const double limits[] = {0.5, 10};
  static const uint64_t counts[] = {1, 0, 2};
  tg_family(&out, "h", "histogram", "H.");
  tg_histogram(&out, "a=\"1\"", limits, counts, 2, 30.25);
  tg_histogram(&out, "", limits, counts, 0, 0);
  assert_text("# HELP h H.\n# TYPE h histogram\n"
              "h_bucket{a=\"1\",le=\"0.5\"} 1\nh_bucket{a=\"1\",le=\"10\"} 1\nh_bucket{a=\"1\",le=\"+Inf\"} 3\n"
              "h_sum{a=\"1\"} 30.25\nh_count{a=\"1\"} 3\n"
              "h_bucket{le=\"+Inf\"} 1\nh_sum 0\nh_count 1\n");
}

int main(void)
{
#define TEXT_TEST(name) cmocka_unit_test_setup_teardown(name, empty, empty)
  const struct CMUnitTest tests[] = {
      TEXT_TEST(a_family_has_one_head),
      TEXT_TEST(texts_are_escaped),
      TEXT_TEST(numbers_are_exact),
      TEXT_TEST(histograms_are_cumulative),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
