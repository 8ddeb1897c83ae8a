#include "proto/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Scans a copy that ends where its memory ends, so that the sanitizer sees any
 * byte read behind it. */
static bool scan_exact(const char *text, size_t length, struct tg_envelope *envelope)
{
  char *copy = malloc(length ? length : 1);
  memcpy(copy, text, length);
  bool good = tg_envelope_scan(copy, length, envelope);
  if (good && envelope->name.at)
    assert_true(envelope->name.at >= copy && envelope->name.at + envelope->name.length <= copy + length);
  if (good && envelope->data.at)
    assert_true(envelope->data.at >= copy && envelope->data.at + envelope->data.length <= copy + length);
  free(copy);
  return good;
}

static void assert_span(struct tg_span span, const char *text)
{
  assert_non_null(span.at);
  assert_int_equal(span.length, strlen(text));
  assert_memory_equal(span.at, text, span.length);
}

static void expect(const char *text, int op, int64_t sequence, const char *name, const char *data)
{
  struct tg_envelope envelope;
  if (!tg_envelope_scan(text, strlen(text), &envelope))
    fail_msg("refused: %s", text);
  assert_int_equal(envelope.op, op);
  assert_int_equal(envelope.has_sequence, sequence >= 0);
  if (sequence >= 0)
    assert_int_equal(envelope.sequence, sequence);
  if (name)
    assert_span(envelope.name, name);
  else
    assert_null(envelope.name.at);
  if (data)
    assert_span(envelope.data, data);
  else
    assert_null(envelope.data.at);
}

static void expect_refused(const char *text)
{
  struct tg_envelope envelope;
  if (tg_envelope_scan(text, strlen(text), &envelope))
    fail_msg("accepted: %s", text);
}

static const char dispatch[] =
    "{\"t\":\"MESSAGE_CREATE\",\"s\":57,\"op\":0,\"d\":{\"id\":\"1539998278660268047\",\"t\":\"WRONG\",\"s\":"
    "1,\"op\":9,"
    "\"content\":\"a \\\"quoted\\\" } ] { [ \\\\\",\"mentions\":[{\"d\":[]},[[]]],\"author\":{\"bot\":false,"
    "\"username\":\"\\u00e4\\\\\\\"}\"},\"empty\":{},\"n\":-1.5e+3,\"nothing\":null}}";

static void reads_the_order_discord_writes(void **state)
{
  (void)state;
  const char *data = strstr(dispatch, "\"d\":") + 4;
  struct tg_envelope envelope;
  assert_true(tg_envelope_scan(dispatch, sizeof dispatch - 1, &envelope));
  assert_int_equal(envelope.op, 0);
  assert_true(envelope.has_sequence);
  assert_int_equal(envelope.sequence, 57);
  assert_span(envelope.name, "MESSAGE_CREATE");
  assert_ptr_equal(envelope.data.at, data);
  assert_int_equal(envelope.data.length, strlen(data) - 1);
}

static void reads_control_messages(void **state)
{
  (void)state;
  expect("{\"op\":11}", 11, -1, NULL, NULL);
  expect("{\"op\":11,\"d\":null,\"s\":null,\"t\":null}", 11, -1, NULL, "null");
  expect(
      "{\"t\":null,\"s\":null,\"op\":10,\"d\":{\"heartbeat_interval\":41250,\"_trace\":[\"[\\\"a\\\"]\"]}}",
      10, -1, NULL, "{\"heartbeat_interval\":41250,\"_trace\":[\"[\\\"a\\\"]\"]}");
  expect("{\"op\":9,\"d\":false}", 9, -1, NULL, "false");
  expect("{\"op\":9,\"d\":true}", 9, -1, NULL, "true");
  expect("{\"op\":1,\"d\":251}", 1, -1, NULL, "251");
  expect("{\"op\":7,\"d\":null}", 7, -1, NULL, "null");
  expect("{\"t\":\"PRESENCES_REPLACE\",\"s\":9,\"op\":0,\"d\":[]}", 0, 9, "PRESENCES_REPLACE", "[]");
  expect("{\"t\":\"X\",\"s\":90494461,\"op\":0,\"d\":\"text\"}", 0, 90494461, "X", "\"text\"");
}

static void reads_any_order(void **state)
{
  (void)state;
  static const char *const members[] = {"\"t\":\"A_B\"", "\"s\":7", "\"op\":0",
                                        "\"d\":{\"s\":[1,{\"op\":3}]}"};
  for (int order = 0; order < 4 * 4 * 4 * 4; order++) {
    int at[] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6 & 3};
    int met = 1 << at[0] | 1 << at[1] | 1 << at[2] | 1 << at[3];
    if (met != 15)
      continue;
    char text[160];
    snprintf(text, sizeof text, "{%s,%s,%s,%s}", members[at[0]], members[at[1]], members[at[2]],
             members[at[3]]);
    expect(text, 0, 7, "A_B", "{\"s\":[1,{\"op\":3}]}");
  }
}

static void passes_over_other_members_and_space(void **state)
{
  (void)state;
  expect(" \r\n\t{ \"_trace\" : [ \"}\" ] , \"op\" : 0 ,\n\"s\":\t3 , \"t\" : \"T\" , \"x\" : {\"op\":5} , "
         "\"d\" : [ ] } \n",
         0, 3, "T", "[ ]");
}

static void first_of_equal_keys_wins(void **state)
{
  (void)state;
  expect("{\"op\":0,\"op\":9,\"s\":1,\"s\":2,\"t\":\"A\",\"t\":\"B\",\"d\":1,\"d\":2}", 0, 1, "A", "1");
  /* Also when the first one is of no use. */
  expect("{\"op\":0,\"s\":null,\"s\":2,\"t\":null,\"t\":\"B\"}", 0, -1, NULL, NULL);
  expect_refused("{\"op\":null,\"op\":9}");
}

/* Whatever Discord calls an event: what it stands for is not lost over its name. */
static void reads_odd_names(void **state)
{
  (void)state;
  char long_name[301] = {0}, long_text[320], escaped[320];
  memset(long_name, 'N', 300);
  snprintf(long_text, sizeof long_text, "\"%s\"", long_name);
  snprintf(escaped, sizeof escaped, "\"\\u0041%s\"", long_name);
  const struct {
    const char *t, *name;
  } rows[] = {
      {"\"MESSAGE_CREATE\"", "MESSAGE_CREATE"},
      {"\"\"", ""},
      {"null", ""},
      {"5", ""},
      {"{\"a\":1}", ""},
      {"\"message_create\"", "message_create"},
      {"\"NACHRICHT_\xc3\xa4\"", "NACHRICHT_\xc3\xa4"},
      {"\"MESSAGE\\u005fCREATE\"", "MESSAGE_CREATE"},
      {"\"A\\/\\\"\\n\"", "A/\"\n"},
      {"\"A\\q\"", "A\\q"}, /* no JSON: as it stands */
      {long_text, long_name},
      {escaped, NULL}, /* too long for the buffer: as it stands */
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char text[400], buffer[256];
    struct tg_envelope envelope;
    snprintf(text, sizeof text, "{\"op\":0,\"s\":7,\"t\":%s}", rows[i].t);
    assert_true(tg_envelope_scan(text, strlen(text), &envelope));
    struct tg_span name = tg_envelope_name(&envelope, buffer, sizeof buffer);
    assert_non_null(name.at);
    if (rows[i].name)
      assert_span(name, rows[i].name);
    else
      assert_int_equal(name.length, strlen(rows[i].t) - 2);
    assert_int_equal(envelope.sequence, 7);
  }
}

static void takes_only_whole_numbers(void **state)
{
  (void)state;
  struct tg_envelope envelope;
  static const char largest[] = "{\"op\":0,\"s\":18446744073709551615}";
  assert_true(tg_envelope_scan(largest, sizeof largest - 1, &envelope));
  assert_true(envelope.has_sequence);
  assert_true(envelope.sequence == UINT64_MAX);
  static const char larger[] = "{\"op\":0,\"s\":18446744073709551616}";
  assert_true(tg_envelope_scan(larger, sizeof larger - 1, &envelope));
  assert_true(envelope.has_sequence);
  assert_true(envelope.sequence == UINT64_MAX);
  expect("{\"op\":0,\"s\":\"12\"}", 0, -1, NULL, NULL);
  expect("{\"op\":0,\"s\":-1}", 0, -1, NULL, NULL);
  expect("{\"op\":0,\"s\":1.5}", 0, -1, NULL, NULL);
  expect("{\"op\":0,\"s\":1e30}", 0, -1, NULL, NULL);
  expect("{\"op\":0,\"s\":4294967296}", 0, INT64_C(4294967296), NULL, NULL);
}

static void refuses_what_is_no_message(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "",
      " ",
      "null",
      "[]",
      "[{\"op\":0}]",
      "{}",
      "{\"d\":1}",
      "{\"op\":\"0\"}",
      "{\"op\":-1}",
      "{\"op\":1.5}",
      "{\"op\":70000}",
      "{\"op\":0}}",
      "{\"op\":0} x",
      "{\"op\":0}{\"op\":1}",
      "{\"op\":0,}",
      "{,\"op\":0}",
      "{\"op\" 0}",
      "{\"op\":}",
      "{op:0}",
      "{\"op\":0,\"d\":}",
      "{\"op\":0 \"d\":1}",
      "{\"op\":0,\"d\":{}",
      "{\"op\":0,\"d\":\"}",
      "{\"op\":0,\"d\":\"\\\"}",
      "{\"op\":0,\"d\":[[]}",
      "<html>",
  };
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    expect_refused(texts[i]);
}

static void refuses_text_cut_anywhere(void **state)
{
  (void)state;
  struct tg_envelope envelope;
  for (size_t length = 0; length < sizeof dispatch - 1; length++) {
    if (scan_exact(dispatch, length, &envelope))
      fail_msg("accepted the first %zu bytes", length);
  }
  assert_true(scan_exact(dispatch, sizeof dispatch - 1, &envelope));
}

/* Moves strings with escapes over all places of a block of the fast scan. */
static void escapes_at_block_edges(void **state)
{
  (void)state;
  for (size_t pad = 0; pad < 150; pad++) {
    for (size_t slashes = 0; slashes < 70; slashes++) {
      char text[400];
      int length = snprintf(text, sizeof text, "{\"op\":0,\"d\":{\"%*s\":\"", (int)pad, "");
      for (size_t i = 0; i < slashes * 2; i++)
        text[length++] = '\\';
      length += snprintf(text + length, sizeof text - (size_t)length, "\\\"}]{[\",\"k\":[\"\\\\\"]}}");
      struct tg_envelope envelope;
      if (!scan_exact(text, (size_t)length, &envelope))
        fail_msg("refused: %s", text);
      assert_int_equal(envelope.data.length, (size_t)length - strlen("{\"op\":0,\"d\":}"));
      /* One backslash less, and the quote closes the string too early. */
      text[length - (int)strlen("\\\"}]{[\",\"k\":[\"\\\\\"]}}")] = 'x';
      scan_exact(text, (size_t)length, &envelope);
    }
  }
}

static uint64_t next_random(uint64_t *seed)
{
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

static void survives_random_bytes(void **state)
{
  (void)state;
  static const char alphabet[] = "{{{}}}[][]\"\"\"\"\\\\::,,, tsopd0123456789nulltruefalse\n\xff\x00";
  uint64_t seed = 20260820;
  for (int round = 0; round < 100000; round++) {
    char text[200];
    size_t length = next_random(&seed) % sizeof text;
    bool from_sample = round % 2 && length > 0;
    for (size_t i = 0; i < length; i++)
      text[i] = from_sample ? dispatch[i % (sizeof dispatch - 1)]
                            : alphabet[next_random(&seed) % (sizeof alphabet)];
    for (int change = 0; from_sample && change < 3; change++)
      text[next_random(&seed) % length] = alphabet[next_random(&seed) % (sizeof alphabet)];
    struct tg_envelope envelope;
    scan_exact(text, length, &envelope);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_the_order_discord_writes),
      cmocka_unit_test(reads_control_messages),
      cmocka_unit_test(reads_any_order),
      cmocka_unit_test(passes_over_other_members_and_space),
      cmocka_unit_test(first_of_equal_keys_wins),
      cmocka_unit_test(reads_odd_names),
      cmocka_unit_test(takes_only_whole_numbers),
      cmocka_unit_test(refuses_what_is_no_message),
      cmocka_unit_test(refuses_text_cut_anywhere),
      cmocka_unit_test(escapes_at_block_edges),
      cmocka_unit_test(survives_random_bytes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
