/* JSON text becomes the MessagePack that @msgpack/msgpack of npm makes of the same
 * value, and comes back as it was; what is no JSON, or no MessagePack, is refused. */

#include "base/msgpack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct tg_span span_of(const char *text)
{
  return (struct tg_span){text, strlen(text)};
}

static void put_hex(struct tg_buf *out, struct tg_span bytes)
{
  for (size_t i = 0; i < bytes.length; i++)
    tg_buf_printf(out, "%02x", (unsigned char)bytes.at[i]);
}

static struct tg_span from_hex(const char *hex, char *bytes)
{
  size_t length = strlen(hex) / 2;
  for (size_t i = 0; i < length; i++) {
    unsigned byte;
    assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
    bytes[i] = (char)byte;
  }
  return (struct tg_span){bytes, length};
}

/* A copy that ends where the text does: who reads further is seen by sanitizers. */
static bool put(struct tg_buf *out, const char *json)
{
  size_t length = strlen(json);
  char *copy = malloc(length > 0 ? length : 1);
  memcpy(copy, json, length);
  bool is_json = tg_msgpack_put_json(out, (struct tg_span){copy, length});
  free(copy);
  return is_json;
}

static void check(const char *json, const char *hex)
{
  struct tg_buf out = {0}, shown = {0};
  tg_buf_puts(&out, "x"); /* what stands there stays */
  if (!put(&out, json))
    fail_msg("refused: %s", json);
  put_hex(&shown, (struct tg_span){out.data + 1, out.length - 1});
  tg_buf_append(&shown, "", 1);
  assert_string_equal(shown.data, hex);
  assert_int_equal(out.data[0], 'x');
  tg_buf_free(&out);
  tg_buf_free(&shown);
}

/* ---- writing ---- */

static void json_becomes_what_others_make_of_it(void **state)
{
  (void)state;
  static const struct {
    const char *json, *hex;
  } rows[] = {
      {"null", "c0"},
      {"true", "c3"},
      {"false", "c2"},
      {"0", "00"},
      {"127", "7f"},
      {"128", "cc80"},
      {"255", "ccff"},
      {"256", "cd0100"},
      {"65535", "cdffff"},
      {"65536", "ce00010000"},
      {"4294967295", "ceffffffff"},
      {"4294967296", "cf0000000100000000"},
      {"9007199254740991", "cf001fffffffffffff"},
      {"-1", "ff"},
      {"-32", "e0"},
      {"-33", "d0df"},
      {"-128", "d080"},
      {"-129", "d1ff7f"},
      {"-32768", "d18000"},
      {"-32769", "d2ffff7fff"},
      {"-2147483648", "d280000000"},
      {"-2147483649", "d3ffffffff7fffffff"},
      {"-9007199254740991", "d3ffe0000000000001"},
      {"-0", "00"},
      {"1.0", "01"},
      {"1e3", "cd03e8"},
      {"-2.50e1", "e7"},
      {"0.5", "cb3fe0000000000000"},
      {"1.5E-7", "cb3e8421f5f40d8376"},
      {"123456789.125", "cb419d6f3454800000"},
      {"1e+300", "cb7e37e43c8800759c"},
      {"1e400", "cb7ff0000000000000"},
      {"-1e400", "cbfff0000000000000"},
      {"\"\"", "a0"},
      {"\"a\"", "a161"},
      {"\"0123456789012345678901234567890\"",
       "bf30313233343536373839303132333435363738393031323334353637383930"},
      {"\"01234567890123456789012345678901\"",
       "d9203031323334353637383930313233343536373839303132333435363738393031"},
      {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a8225c2f080c0a0d09"},
      {"\"\\u0000\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "ac007fc280dfbfe0a080efbfbf"},
      {"\"\\ud83d\\ude00 and \\uD83D\\uDE00\"", "adf09f988020616e6420f09f9880"},
      {"\"gr\xC3\xBCn \xF0\x9F\x8C\x8A\"", "aa6772c3bc6e20f09f8c8a"},
      {"\"gr\xC3\xBCn\\n\xF0\x9F\x8C\x8A\"", "aa6772c3bc6e0af09f8c8a"},
      {"[]", "90"},
      {"{}", "80"},
      {"[1,2,3]", "93010203"},
      {"{\"a\":1,\"b\":[true,null,{}]}", "82a16101a16293c3c080"},
      {" { \"t\" : \"X\" , \"s\" : 1 } \n", "82a174a158a17301"},
      {"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]", "9f0102030405060708090a0b0c0d0e0f"},
      {"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", "dc00100102030405060708090a0b0c0d0e0f10"},
      {"\"1099511627776000001\"", "b331303939353131363237373736303030303031"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    check(rows[i].json, rows[i].hex);
}

/* Where JavaScript has nothing but doubles, others have all bits of a whole number. */
static void whole_numbers_stay_whole(void **state)
{
  (void)state;
  check("1099511627776000001", "cf0f42400000000001");
  check("9223372036854775808", "cf8000000000000000");
  check("18446744073709551615", "cfffffffffffffffff");
  check("-9223372036854775808", "d38000000000000000");
  check("18446744073709551616", "cb43f0000000000000");
  check("-9223372036854775809", "cbc3e0000000000000");
}

static void torn_text_is_mended(void **state)
{
  (void)state;
  check("\"a\xFF\"", "a461efbfbd");
  check("\"\xE2\x82\"", "a3efbfbd");
  check("\"\\n\xE2\x82\\n\"", "a50aefbfbd0a");
  check("\"\\ud83d\"", "a3efbfbd");
  check("\"\\ud83dx\"", "a4efbfbd78");
  check("\"\\ude00\\ud83d\"", "a6efbfbdefbfbd");
  check("\"\\ud83d\\ud83d\\ude00\"", "a7efbfbdf09f9880");
}

/* The first byte that is not plain stands at each place of the eight that are looked
 * at together, and behind each length. */
static void texts_of_all_lengths(void **state)
{
  (void)state;
  static const char *const ends[] = {"", "\\n", "\xC3\xBC", "\x7F", "\\u20ac"};
  static const char *const meant[] = {"", "\n", "\xC3\xBC", "\x7F", "\xE2\x82\xAC"};
  for (size_t length = 0; length < 300; length++) {
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
      struct tg_buf json = {0}, out = {0}, expected = {0};
      tg_buf_puts(&json, "\"");
      for (size_t j = 0; j < length; j++) {
        tg_buf_append(&json, &"abcdefghijklmno"[j % 15], 1);
        tg_buf_append(&expected, &"abcdefghijklmno"[j % 15], 1);
      }
      tg_buf_printf(&json, "%sz\"", ends[i]);
      tg_buf_printf(&expected, "%sz", meant[i]);
      assert_true(tg_msgpack_put_json(&out, (struct tg_span){json.data, json.length}));
      size_t head = expected.length < 32 ? 1 : expected.length < 256 ? 2 : 3;
      assert_int_equal(out.length, head + expected.length);
      assert_memory_equal(out.data + head, expected.data, expected.length);
      tg_buf_free(&json);
      tg_buf_free(&out);
      tg_buf_free(&expected);
    }
  }
}

/* Heads of 3 and 5 bytes push what they stand before. */
static void large_containers(void **state)
{
  (void)state;
  static const size_t counts[] = {15, 16, 65535, 65536, 70000};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    for (int is_map = 0; is_map < 2; is_map++) {
      struct tg_buf json = {0}, out = {0};
      tg_buf_puts(&json, is_map ? "[7,{" : "[7,[");
      for (size_t j = 0; j < counts[i]; j++)
        tg_buf_printf(&json, is_map ? "%s\"k%zu\":%zu" : "%s[\"k%zu\",%zu]", j ? "," : "", j, j);
      tg_buf_puts(&json, is_map ? "},8]" : "],8]");
      assert_true(tg_msgpack_put_json(&out, (struct tg_span){json.data, json.length}));
      struct tg_error error = {0};
      json_t *back = tg_msgpack_read((struct tg_span){out.data, out.length}, &error);
      json_t *same = json_loadb(json.data, json.length, 0, NULL);
      assert_true(back && same && json_equal(back, same));
      json_decref(back);
      json_decref(same);
      tg_buf_free(&json);
      tg_buf_free(&out);
    }
  }
}

static void by_hand(void **state)
{
  (void)state;
  struct tg_buf out = {0}, shown = {0};
  tg_msgpack_put_map(&out, 2);
  tg_msgpack_put_text(&out, "shardId", 7);
  tg_msgpack_put_int(&out, -200);
  tg_msgpack_put_map(&out, 16);
  tg_msgpack_put_map(&out, 65536);
  put_hex(&shown, (struct tg_span){out.data, out.length});
  tg_buf_append(&shown, "", 1);
  assert_string_equal(shown.data, "82a77368617264496"
                                  "4d1ff38de0010df00010000");
  tg_buf_free(&out);
  tg_buf_free(&shown);
}

static void what_is_no_json_is_refused(void **state)
{
  (void)state;
  static const char *const texts[] = {
      "",
      " ",
      "nul",
      "nulll",
      "tru",
      "False",
      "NaN",
      "Infinity",
      "-",
      "+1",
      "01",
      "-01",
      ".5",
      "1.",
      "1.e2",
      "1e",
      "1e+",
      "0x10",
      "1_000",
      "--1",
      "1 2",
      "1,",
      "\"",
      "\"abc",
      "\"\\",
      "\"\\\"",
      "\"\\x41\"",
      "\"\\u12\"",
      "\"\\u12g4\"",
      "\"\\u+123\"",
      "\"\\ud83d\\",
      "\"\\ud83d\\u\"",
      "\"\\ud83d\\uzzzz\"",
      "\"a\nb\"",
      "\"\\0\"",
      "\"a\tb\\n\"",
      "\"\x01\"",
      "'a'",
      "[",
      "]",
      "[1",
      "[1,",
      "[1,]",
      "[,1]",
      "[1 2]",
      "[1}",
      "[]]",
      "{",
      "}",
      "{\"a\"",
      "{\"a\":",
      "{\"a\":1",
      "{\"a\":1,",
      "{\"a\":1,}",
      "{a:1}",
      "{1:1}",
      "{\"a\" 1}",
      "{\"a\":}",
      "{\"a\":1]",
      "{} {}",
      "[1]x",
      "// no",
      "[1,/* no */2]",
  };
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    struct tg_buf out = {0};
    tg_buf_puts(&out, "stays");
    if (put(&out, texts[i]))
      fail_msg("taken: %s", texts[i]);
    assert_int_equal(out.length, 5);
    assert_memory_equal(out.data, "stays", 5);
    tg_buf_free(&out);
  }
}

static void depth_has_a_bound(void **state)
{
  (void)state;
  static const struct {
    size_t depth;
    bool fits;
  } rows[] = {{TG_MSGPACK_DEPTH, true}, {TG_MSGPACK_DEPTH + 1, false}, {1000000, false}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    size_t depth = rows[i].depth;
    struct tg_buf out = {0};
    char *json = malloc(2 * depth);
    memset(json, '[', depth);
    memset(json + depth, ']', depth);
    assert_int_equal(tg_msgpack_put_json(&out, (struct tg_span){json, 2 * depth}), rows[i].fits);
    struct tg_error error = {0};
    memset(json, 0x91, depth);
    json[depth] = (char)0xC0;
    json_t *value = tg_msgpack_read((struct tg_span){json, depth + 1}, &error);
    assert_int_equal(value != NULL, rows[i].fits);
    json_decref(value);
    free(json);
    tg_buf_free(&out);
  }
}

/* A number of a million digits is a number, and does not take for ever. */
static void huge_numbers(void **state)
{
  (void)state;
  enum { DIGITS = 1000000 };
  char *json = malloc(DIGITS + 3);
  memset(json, '9', DIGITS);
  struct tg_buf out = {0};
  assert_true(tg_msgpack_put_json(&out, (struct tg_span){json, DIGITS}));
  assert_int_equal(out.length, 9);
  assert_memory_equal(out.data, "\xCB\x7F\xF0\0\0\0\0\0\0", 9);
  json[0] = '0';
  json[1] = '.';
  out.length = 0;
  assert_true(tg_msgpack_put_json(&out, (struct tg_span){json, DIGITS}));
  assert_int_equal((unsigned char)out.data[0], 0x01);
  free(json);
  tg_buf_free(&out);
}

/* ---- reading ---- */

static void check_read(const char *hex, const char *json)
{
  char bytes[512];
  struct tg_error error = {0};
  struct tg_span span = from_hex(hex, bytes);
  char *copy = malloc(span.length > 0 ? span.length : 1);
  memcpy(copy, span.at, span.length);
  json_t *value = tg_msgpack_read((struct tg_span){copy, span.length}, &error);
  if (!value)
    fail_msg("%s: %s", hex, error.message);
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  assert_string_equal(text, json);
  free(text);
  free(copy);
  json_decref(value);
}

static void messagepack_is_read(void **state)
{
  (void)state;
  static const struct {
    const char *hex, *json;
  } rows[] = {
      {"c0", "null"},
      {"c2", "false"},
      {"c3", "true"},
      {"00", "0"},
      {"7f", "127"},
      {"e0", "-32"},
      {"ff", "-1"},
      {"ccff", "255"},
      {"cdffff", "65535"},
      {"ceffffffff", "4294967295"},
      {"cf0f42400000000001", "1099511627776000001"},
      {"cf7fffffffffffffff", "9223372036854775807"},
      {"d080", "-128"},
      {"d18000", "-32768"},
      {"d280000000", "-2147483648"},
      {"d38000000000000000", "-9223372036854775808"},
      {"d30000000000000001", "1"},
      {"ca3f000000", "0.5"},
      {"ca40400000", "3"},
      {"cb4008000000000000", "3"},
      {"cb3fe0000000000000", "0.5"},
      {"a0", "\"\""},
      {"d900", "\"\""},
      {"da000161", "\"a\""},
      {"db0000000161", "\"a\""},
      {"a26100", "\"a\\u0000\""},
      {"90", "[]"},
      {"dc0000", "[]"},
      {"dd00000001c0", "[null]"},
      {"80", "{}"},
      {"de0001d90161c3", "{\"a\":true}"},
      {"df00000001a16180", "{\"a\":{}}"},
      {"82a77368617264496402a77061796c6f616482a26f7003a16480",
       "{\"shardId\":2,\"payload\":{\"op\":3,\"d\":{}}}"},
      {"82a16101a16102", "{\"a\":2}"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    check_read(rows[i].hex, rows[i].json);
}

static void what_is_no_value_is_refused(void **state)
{
  (void)state;
  static const struct {
    const char *hex, *why;
  } rows[] = {
      {"", "ends in the middle"},
      {"cc", "ends in the middle"},
      {"cd00", "ends in the middle"},
      {"d3ff", "ends in the middle"},
      {"ca0000", "ends in the middle"},
      {"a2", "ends in the middle"},
      {"a261", "ends in the middle"},
      {"d9", "ends in the middle"},
      {"dbffffffff61", "ends in the middle"},
      {"91", "ends in the middle"},
      {"ddffffffff", "ends in the middle"},
      {"ddffffffffc0c0c0", "ends in the middle"},
      {"dc00", "ends in the middle"},
      {"81", "is no text, or is torn"},
      {"dfffffffff", "is no text, or is torn"},
      {"81a1", "is no text, or is torn"},
      {"81a161", "ends in the middle"},
      {"8101c0", "is no text"},
      {"81c0c0", "is no text"},
      {"81c40161c0", "is no text"},
      {"81a26100c0", "NUL"},
      {"81a1ffc0", "key of a map is not UTF-8"},
      {"a1ff", "a text is not UTF-8"},
      {"a3eda080", "a text is not UTF-8"},
      {"cf8000000000000000", "too large"},
      {"cb7ff0000000000000", "not finite"},
      {"cb7ff8000000000000", "not finite"},
      {"caff800000", "not finite"},
      {"c1", "JSON does not know"},
      {"c40161", "JSON does not know"},
      {"c7010561", "JSON does not know"},
      {"d6ff00000000", "JSON does not know"},
      {"c0c0", "behind its end"},
      {"9000", "behind its end"},
      {"7b7d", "behind its end"}, /* JSON in its place */
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char bytes[64];
    struct tg_error error = {0};
    struct tg_span span = from_hex(rows[i].hex, bytes);
    char *copy = malloc(span.length > 0 ? span.length : 1);
    memcpy(copy, span.at, span.length);
    if (tg_msgpack_read((struct tg_span){copy, span.length}, &error))
      fail_msg("taken: %s", rows[i].hex);
    assert_string_equal(error.code, "bad_msgpack");
    if (!strstr(error.message, rows[i].why))
      fail_msg("%s: %s", rows[i].hex, error.message);
    free(copy);
  }
}

static void what_is_written_is_read(void **state)
{
  (void)state;
  const char *message =
      "{\"t\":\"MESSAGE_CREATE\",\"s\":17,\"op\":0,\"d\":{\"id\":\"1099511627776000001\",\"content\":"
      "\"gr\xC3\xBCn "
      "\\\"\\u20ac\\\" "
      "\xF0\x9F\x8C\x8A\",\"tts\":false,\"embeds\":[],\"nonce\":null,\"type\":0,\"member\":{\"roles\":"
      "[\"1\",\"2\"],\"deaf\":false},\"ratio\":0.25}}";
  struct tg_buf out = {0};
  assert_true(tg_msgpack_put_json(&out, span_of(message)));
  struct tg_error error = {0};
  json_t *back = tg_msgpack_read((struct tg_span){out.data, out.length}, &error);
  json_t *same = json_loads(message, 0, NULL);
  assert_true(back && same && json_equal(back, same));
  json_decref(back);
  json_decref(same);
  tg_buf_free(&out);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(json_becomes_what_others_make_of_it),
      cmocka_unit_test(whole_numbers_stay_whole),
      cmocka_unit_test(torn_text_is_mended),
      cmocka_unit_test(texts_of_all_lengths),
      cmocka_unit_test(large_containers),
      cmocka_unit_test(by_hand),
      cmocka_unit_test(what_is_no_json_is_refused),
      cmocka_unit_test(depth_has_a_bound),
      cmocka_unit_test(huge_numbers),
      cmocka_unit_test(messagepack_is_read),
      cmocka_unit_test(what_is_no_value_is_refused),
      cmocka_unit_test(what_is_written_is_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
