/* Redis' protocol: commands as they are written, replies as they are read, whatever comes instead of them. */

#include "net/resp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static bool says(struct tg_span span, const char *text)
{
  return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

#define assert_says(span, text)                                                                              \
  do {                                                                                                       \
    if (!says(span, text))                                                                                   \
      fail_msg("\"%.*s\" is not \"%s\"", (int)(span).length, (span).at, text);                               \
  } while (0)

static int setup(void **state)
{
  *state = tg_resp_reader_new();
  return 0;
}

static int teardown(void **state)
{
  tg_resp_reader_free(*state);
  return 0;
}

/* ---- writing ---- */

static void writes_commands(void **state)
{
  (void)state;
  struct tg_buf out = {0};
  tg_resp_begin(&out, 4);
  tg_resp_string(&out, "SET");
  tg_resp_text(&out, "a\r\n\0b", 5);
  tg_resp_text(&out, NULL, 0);
  tg_resp_number(&out, 1234567890);
  static const char expected[] = "*4\r\n$3\r\nSET\r\n$5\r\na\r\n\0b\r\n$0\r\n\r\n$10\r\n1234567890\r\n";
  assert_int_equal(out.length, sizeof expected - 1);
  assert_memory_equal(out.data, expected, out.length);
  tg_buf_free(&out);
}

static void writes_numbers_to_their_ends(void **state)
{
  (void)state;
  static const struct {
    int64_t number;
    const char *text;
  } rows[] = {{0, "$1\r\n0\r\n"},
              {-1, "$2\r\n-1\r\n"},
              {INT64_MAX, "$19\r\n9223372036854775807\r\n"},
              {INT64_MIN, "$20\r\n-9223372036854775808\r\n"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_buf out = {0};
    tg_resp_number(&out, rows[i].number);
    assert_int_equal(out.length, strlen(rows[i].text));
    assert_memory_equal(out.data, rows[i].text, out.length);
    tg_buf_free(&out);
  }
}

/* ---- reading ---- */

static void feed(struct tg_resp_reader *reader, const char *bytes, size_t length)
{
  struct tg_error error = {0};
  if (!tg_resp_feed(reader, bytes, length, &error))
    fail_msg("%s", error.message);
}

static struct tg_redis_reply next(struct tg_resp_reader *reader)
{
  struct tg_error error = {0};
  struct tg_redis_reply reply;
  int result = tg_resp_next(reader, &reply, &error);
  if (result != 1)
    fail_msg("%d: %s", result, error.message);
  return reply;
}

static const char everything[] = "+OK\r\n"
                                 "-WRONGTYPE no\r\n"
                                 ":-42\r\n"
                                 "$5\r\na\r\n\0b\r\n"
                                 "$0\r\n\r\n"
                                 "$-1\r\n"
                                 "*-1\r\n"
                                 "*0\r\n"
                                 "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n$-1\r\n+last\r\n";

static void check_everything(const struct tg_redis_reply *replies)
{
  assert_int_equal(replies[0].kind, TG_REDIS_STATUS);
  assert_says(replies[0].text, "OK");
  assert_int_equal(replies[1].kind, TG_REDIS_ERROR);
  assert_says(replies[1].text, "WRONGTYPE no");
  assert_int_equal(replies[2].kind, TG_REDIS_INTEGER);
  assert_int_equal(replies[2].integer, -42);
  assert_int_equal(replies[3].kind, TG_REDIS_TEXT);
  assert_int_equal(replies[3].text.length, 5);
  assert_memory_equal(replies[3].text.at, "a\r\n\0b", 5);
  assert_int_equal(replies[4].kind, TG_REDIS_TEXT);
  assert_int_equal(replies[4].text.length, 0);
  assert_int_equal(replies[5].kind, TG_REDIS_NIL);
  assert_int_equal(replies[6].kind, TG_REDIS_NIL);
  assert_int_equal(replies[7].kind, TG_REDIS_ARRAY);
  assert_int_equal(replies[7].count, 0);
  const struct tg_redis_reply *list = &replies[8];
  assert_int_equal(list->kind, TG_REDIS_ARRAY);
  assert_int_equal(list->count, 3);
  assert_int_equal(list->items[0].integer, 1);
  assert_int_equal(list->items[1].kind, TG_REDIS_ARRAY);
  assert_int_equal(list->items[1].count, 2);
  assert_says(list->items[1].items[0].text, "x");
  assert_int_equal(list->items[1].items[1].kind, TG_REDIS_NIL);
  assert_says(list->items[2].text, "last");
}

enum { REPLIES = 9 };

/* Replies stand until the reset, however many come behind them, and in however many pieces. */
static void reads_replies_in_pieces_of_any_size(void **state)
{
  struct tg_resp_reader *reader = *state;
  for (size_t piece = 1; piece <= sizeof everything - 1; piece++) {
    struct tg_redis_reply replies[REPLIES], one;
    int count = 0;
    struct tg_error error;
    for (size_t at = 0; at < sizeof everything - 1; at += piece) {
      size_t left = sizeof everything - 1 - at;
      char *copy = malloc(piece); /* so that whoever keeps pointers into it is found out */
      memcpy(copy, everything + at, left < piece ? left : piece);
      feed(reader, copy, left < piece ? left : piece);
      free(copy);
      while (tg_resp_next(reader, &one, &error) == 1) {
        assert_true(count < REPLIES);
        replies[count++] = one;
      }
    }
    assert_int_equal(count, REPLIES);
    check_everything(replies);
    tg_resp_reset(reader);
  }
}

static void keeps_large_texts_and_many_parts(void **state)
{
  struct tg_resp_reader *reader = *state;
  struct tg_buf bytes = {0};
  enum { PARTS = 1000, SIZE = 3000 };
  tg_buf_printf(&bytes, "*%d\r\n", PARTS);
  for (int i = 0; i < PARTS; i++) {
    tg_buf_printf(&bytes, "$%d\r\n", SIZE);
    memset(tg_buf_reserve(&bytes, SIZE), 'a' + i % 26, SIZE);
    bytes.length += SIZE;
    tg_buf_puts(&bytes, "\r\n");
  }
  for (int round = 0; round < 3; round++) {
    feed(reader, bytes.data, bytes.length);
    struct tg_redis_reply list = next(reader);
    assert_int_equal(list.count, PARTS);
    for (int i = 0; i < PARTS; i++) {
      assert_int_equal(list.items[i].text.length, SIZE);
      assert_int_equal(list.items[i].text.at[0], 'a' + i % 26);
      assert_int_equal(list.items[i].text.at[SIZE - 1], 'a' + i % 26);
    }
    tg_resp_reset(reader);
  }
  tg_buf_free(&bytes);
}

/* ---- what is no reply ---- */

static void assert_no_reply(struct tg_resp_reader *reader, const char *words)
{
  struct tg_error error = {0};
  struct tg_redis_reply reply;
  assert_int_equal(tg_resp_next(reader, &reply, &error), -1);
  assert_string_equal(error.code, "protocol");
  if (!strstr(error.message, words))
    fail_msg("\"%s\" does not say \"%s\"", error.message, words);
  /* Nothing is read any more, also if it were a reply. */
  assert_false(tg_resp_feed(reader, "+OK\r\n", 5, &error));
  assert_int_equal(tg_resp_next(reader, &reply, &error), -1);
}

static void names_what_is_no_redis(void **state)
{
  (void)state;
  static const struct {
    const char *bytes, *words;
  } rows[] = {
      {"HTTP/1.1 400 Bad Request\r\nServer: x\r\n", "no Redis: it begins with \"HTTP/1.1 400 Bad Request\""},
      {"220 mail.example ESMTP\r\n", "begins with \"220 mail.example ESMTP\""},
      {"\x15\x03\x03\x02\x02\x46", "in TLS: the URL of such a port begins with rediss://"},
      {"\x01\x02\x7f", "begins with \"???\""},
      {":12x\r\n", "begins with \":12x\""},
      {"$-2\r\n", "begins with \"$-2\""},
      {"*-2\r\n", "begins with \"*-2\""},
      {"$99999999999999999999\r\n", "begins with \"$99999999999999999999\""},
      {"*1\r\n*1\r\n*1\r\n*1\r\n?\r\n", "begins with \"*1\""},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_resp_reader *reader = tg_resp_reader_new();
    feed(reader, rows[i].bytes, strlen(rows[i].bytes));
    assert_no_reply(reader, rows[i].words);
    tg_resp_reader_free(reader);
  }
}

static void ends_at_garbage_behind_a_reply(void **state)
{
  struct tg_resp_reader *reader = *state;
  feed(reader, "+OK\r\nrubbish\r\n", 14);
  assert_says(next(reader).text, "OK");
  assert_no_reply(reader, "what it sends is no answer");
}

static void refuses_more_parts_than_it_takes(void **state)
{
  struct tg_resp_reader *reader = *state;
  feed(reader, "*2147483647\r\n", 13);
  assert_no_reply(reader, "more than 262144 parts");
}

static void refuses_nested_parts_that_are_too_many(void **state)
{
  struct tg_resp_reader *reader = *state;
  static const char half[] = "*200000\r\n";
  feed(reader, half, sizeof half - 1);
  feed(reader, half, sizeof half - 1);
  assert_no_reply(reader, "more than 262144 parts");
}

static void refuses_arrays_in_arrays_without_end(void **state)
{
  struct tg_resp_reader *reader = *state;
  struct tg_error error;
  struct tg_redis_reply reply;
  for (int depth = 0; depth < TG_RESP_DEPTH_MAX; depth++) {
    feed(reader, "*1\r\n", 4);
    assert_int_equal(tg_resp_next(reader, &reply, &error), 0);
  }
  feed(reader, "*1\r\n", 4);
  assert_no_reply(reader, "more than 7 lists in each other");
}

/* As it comes, in pieces: no more is kept than the bound. */
static bool feed_without_end(struct tg_resp_reader *reader, const char *head, struct tg_error *error)
{
  static char piece[64 * 1024];
  struct tg_redis_reply reply;
  memset(piece, 'x', sizeof piece);
  feed(reader, head, strlen(head));
  for (int i = 0; i < TG_RESP_BYTES_MAX / (int)sizeof piece + 2; i++) {
    if (!tg_resp_feed(reader, piece, sizeof piece, error))
      return false;
    assert_int_equal(tg_resp_next(reader, &reply, error), 0);
  }
  return true;
}

static void refuses_texts_of_gigabytes(void **state)
{
  struct tg_error error = {0};
  assert_false(feed_without_end(*state, "$4000000000\r\n", &error));
  assert_string_equal(error.code, "protocol");
  assert_non_null(strstr(error.message, "larger than 16 MiB"));
}

static void refuses_a_line_without_end(void **state)
{
  struct tg_error error = {0};
  assert_false(feed_without_end(*state, "+", &error));
  assert_non_null(strstr(error.message, "larger than 16 MiB"));
}

/* Each part is small; together they are not. */
static void refuses_many_texts_that_are_too_large_together(void **state)
{
  struct tg_resp_reader *reader = *state;
  enum { SIZE = 1024 * 1024 };
  struct tg_error error = {0};
  struct tg_redis_reply reply;
  struct tg_buf part = {0};
  tg_buf_printf(&part, "$%d\r\n", SIZE);
  memset(tg_buf_reserve(&part, SIZE), 'x', SIZE);
  part.length += SIZE;
  tg_buf_puts(&part, "\r\n");
  feed(reader, "*100\r\n", 6);
  int result = 0, parts = 0;
  for (; result == 0 && parts < 100; parts++) {
    feed(reader, part.data, part.length);
    result = tg_resp_next(reader, &reply, &error);
  }
  assert_int_equal(result, -1);
  assert_int_equal(parts, TG_RESP_BYTES_MAX / SIZE + 1);
  assert_non_null(strstr(error.message, "larger than 16 MiB"));
  tg_buf_free(&part);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(writes_commands),
      TEST(writes_numbers_to_their_ends),
      TEST(reads_replies_in_pieces_of_any_size),
      TEST(keeps_large_texts_and_many_parts),
      TEST(names_what_is_no_redis),
      TEST(ends_at_garbage_behind_a_reply),
      TEST(refuses_more_parts_than_it_takes),
      TEST(refuses_nested_parts_that_are_too_many),
      TEST(refuses_arrays_in_arrays_without_end),
      TEST(refuses_texts_of_gigabytes),
      TEST(refuses_a_line_without_end),
      TEST(refuses_many_texts_that_are_too_large_together),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
