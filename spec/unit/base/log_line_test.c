#include "base/log_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct tg_log_line line(const char *text, const struct tg_log_field *fields)
{
  return (struct tg_log_line){TG_WARN, "worker", 2, 7, text, fields};
}

static void check_text(const struct tg_log_line *given, const char *time, const char *indent,
                       const char *expected)
{
  char out[TG_LOG_LINE_MAX];
  size_t length = tg_log_line_text(given, time, indent, out, sizeof out);
  out[length] = '\0';
  assert_string_equal(out, expected);
}

static void check_json(const struct tg_log_line *given, const char *expected)
{
  size_t length;
  char *out = tg_log_line_json(given, "now", &length);
  assert_int_equal(length, strlen(expected));
  assert_memory_equal(out, expected, length);
  free(out);
}

static void fields_follow_the_message(void **state)
{
  (void)state;
  struct tg_log_line given = line(
      "disconnected", TG_WITH(TG_NUMBER(CODE, 4000), TG_TEXT(REASON, "Unknown error"), TG_NUMBER(DELAY, -1)));
  check_text(&given, "now", "  ",
             "now warn  worker 2 shard 7: disconnected code=4000 reason=\"Unknown error\" delay=-1\n");
  check_json(&given,
             "{\"time\":\"now\",\"level\":\"warn\",\"role\":\"worker\",\"worker\":2,\"shard\":7,"
             "\"message\":\"disconnected\",\"code\":4000,\"reason\":\"Unknown error\",\"delay\":-1}\n");
}

static void scripts_name_their_own_fields(void **state)
{
  (void)state;
  const struct tg_log_field fields[] = {{.key = TG_KEY_NAMED, .name = "user", .text = "a b"},
                                        {.key = TG_KEY_NAMED, .name = "share", .text = "0.5", .plain = true},
                                        {.key = TG_KEY_NAMED, .name = "new", .text = "true", .plain = true},
                                        {.key = TG_KEY_NAMED, .name = "none", .text = ""},
                                        {.key = TG_KEY_NAMED, .name = "masked", .text = "***", .plain = true},
                                        {.key = TG_KEY_END}};
  struct tg_log_line given = line("m", fields);
  check_text(&given, "now", "  ",
             "now warn  worker 2 shard 7: m user=\"a b\" share=0.5 new=true none=\"\" masked=***\n");
  check_json(&given, "{\"time\":\"now\",\"level\":\"warn\",\"role\":\"worker\",\"worker\":2,\"shard\":7,"
                     "\"message\":\"m\",\"user\":\"a b\",\"share\":0.5,\"new\":true,\"none\":\"\","
                     "\"masked\":\"***\"}\n");
}

static void fields_stand_in_the_first_line(void **state)
{
  (void)state;
  struct tg_log_line given = line("it failed:\noh no\ntraceback", TG_WITH(TG_NUMBER(GENERATION, 3)));
  check_text(&given, NULL, "<3>  ",
             "warn  worker 2 shard 7: it failed: generation=3\n<3>  oh no\n<3>  traceback\n");
  char out[200];
  tg_log_line_message(&given, out, sizeof out);
  assert_string_equal(out, "it failed: generation=3\noh no\ntraceback");
}

static void what_is_told_is_in_json_alone(void **state)
{
  (void)state;
  struct tg_log_line given =
      line("a.lua has changed", TG_WITH(TG_TOLD(PATH, "a.lua"), TG_TOLD_NUMBER(EVENTS, 1)));
  check_text(&given, NULL, "", "warn  worker 2 shard 7: a.lua has changed\n");
  check_json(&given, "{\"time\":\"now\",\"level\":\"warn\",\"role\":\"worker\",\"worker\":2,\"shard\":7,"
                     "\"message\":\"a.lua has changed\",\"path\":\"a.lua\",\"events\":1}\n");
}

static void what_is_missing_is_left_out(void **state)
{
  (void)state;
  struct tg_log_line given = {TG_INFO,
                              "manager",
                              -1,
                              TG_NO_SHARD,
                              "m",
                              TG_WITH(TG_NONE, TG_TEXT(REASON, NULL), TG_TEXT(URL, ""),
                                      TG_NUMBER_IF(0, CODE, 1), TG_TEXT_IF(0, SCRIPT, "s"),
                                      TG_NUMBER(WORKER, 0))};
  check_text(&given, NULL, "", "info  manager: m worker=0\n");
  check_json(&given,
             "{\"time\":\"now\",\"level\":\"info\",\"role\":\"manager\",\"message\":\"m\",\"worker\":0}\n");
}

static void values_are_quoted_where_they_have_to_be(void **state)
{
  (void)state;
  static const char *const cases[][2] = {
      {"http://127.0.0.1:80/a", "http://127.0.0.1:80/a"},
      {"two words", "\"two words\""},
      {"a=b", "\"a=b\""},
      {"say \"a\\b\"", "\"say \\\"a\\\\b\\\"\""},
      {"line\nbreak", "\"line\\nbreak\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char out[200], expected[200];
    struct tg_log_line given = line("m", TG_WITH(TG_TEXT(REASON, cases[i][0])));
    tg_log_line_message(&given, out, sizeof out);
    snprintf(expected, sizeof expected, "m reason=%s", cases[i][1]);
    assert_string_equal(out, expected);
  }
}

static void long_lines_are_cut_with_their_newline(void **state)
{
  (void)state;
  char text[200], out[64];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  struct tg_log_line given = line(text, TG_WITH(TG_TEXT(REASON, text)));
  size_t length = tg_log_line_text(&given, NULL, "", out, sizeof out);
  assert_true(length < sizeof out);
  assert_int_equal(out[length - 1], '\n');
  assert_true(tg_log_line_message(&given, out, sizeof out) < sizeof out);
}

static void bytes_that_are_no_text_do_not_cost_the_line(void **state)
{
  (void)state;
  struct tg_log_line given = line("m", TG_WITH(TG_TEXT(REASON, "\xff torn \xe2\x82"), TG_NUMBER(CODE, 1)));
  check_json(&given, "{\"time\":\"now\",\"level\":\"warn\",\"role\":\"worker\",\"worker\":2,\"shard\":7,"
                     "\"message\":\"m\",\"reason\":\"\xef\xbf\xbd torn \xef\xbf\xbd\",\"code\":1}\n");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fields_follow_the_message),
      cmocka_unit_test(scripts_name_their_own_fields),
      cmocka_unit_test(fields_stand_in_the_first_line),
      cmocka_unit_test(what_is_told_is_in_json_alone),
      cmocka_unit_test(what_is_missing_is_left_out),
      cmocka_unit_test(values_are_quoted_where_they_have_to_be),
      cmocka_unit_test(long_lines_are_cut_with_their_newline),
      cmocka_unit_test(bytes_that_are_no_text_do_not_cost_the_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
