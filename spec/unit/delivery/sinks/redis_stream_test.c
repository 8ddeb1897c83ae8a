/* Streams in Redis: names, and what of them may go. */

#include "unit/delivery/sinks/redis_replies.h"

#include "delivery/sinks/redis_stream.h"

static struct tg_redis_stream stream;
static struct tg_buf out;
static struct tg_error error;

static int begin(void **state)
{
  (void)state;
  stream = (struct tg_redis_stream){.server = "redis://r", .key = tg_redis_stream_key("tidegate", 16, 3)};
  out = (struct tg_buf){0};
  error = (struct tg_error){0};
  return 0;
}

static int end(void **state)
{
  (void)state;
  free(stream.key);
  tg_buf_free(&out);
  return 0;
}

static void assert_written(const char *expected)
{
  char *words = words_in(&out);
  assert_string_equal(words, expected);
  free(words);
  out.length = 0;
}

static void assert_id(struct tg_redis_id id, uint64_t epoch, uint64_t sequence)
{
  assert_int_equal(id.epoch, epoch);
  assert_int_equal(id.sequence, sequence);
}

/* One group of XINFO GROUPS. */
#define GROUP(name, pending, last, lag)                                                                      \
  "*12\r\n$4\r\nname\r\n$3\r\n" name "\r\n$9\r\nconsumers\r\n:1\r\n$7\r\npending\r\n:" pending               \
  "\r\n$17\r\nlast-delivered-id\r\n" last "\r\n$12\r\nentries-read\r\n:1\r\n$3\r\nlag\r\n" lag "\r\n"

static int take_groups(const char *text)
{
  int count;
  const struct tg_redis_reply *replies = replies_in(text, &count);
  assert_int_equal(count, TG_REDIS_LOOK);
  return tg_redis_stream_take_groups(&stream, replies, &out, &error);
}

static bool take_pending(const char *text)
{
  int count;
  const struct tg_redis_reply *replies = replies_in(text, &count);
  return tg_redis_stream_take_pending(&stream, replies, count, &error);
}

static bool take_trimmed(const char *text)
{
  int count;
  return tg_redis_stream_take_trimmed(&stream, replies_in(text, &count), &error);
}

static void ids_are_read_and_compared(void **state)
{
  (void)state;
  struct tg_redis_id id, other = {7, 43};
  char text[TG_REDIS_ID_SIZE];
  assert_true(tg_redis_id_read((struct tg_span){"7-42", 4}, &id));
  assert_id(id, 7, 42);
  assert_true(tg_redis_id_compare(id, other) < 0);
  assert_true(tg_redis_id_compare((struct tg_redis_id){8, 0}, other) > 0);
  assert_int_equal(tg_redis_id_compare(other, other), 0);
  assert_int_equal(tg_redis_id_write(text, other), 4);
  assert_string_equal(text, "7-43");
  const char *bad[] = {"", "7", "7-", "-7", "7-x", "7-1-2", "18446744073709551616-1", "\"7\"-1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(tg_redis_id_read((struct tg_span){bad[i], strlen(bad[i])}, &id));
  assert_true(tg_redis_id_is_none((struct tg_redis_id){0, 0}));
}

static void a_stream_is_named_by_shard_and_number_of_shards(void **state)
{
  (void)state;
  assert_string_equal(stream.key, "tidegate:16:3");
  char *streams = tg_redis_streams_key("tidegate");
  assert_string_equal(streams, "tidegate:streams");
  free(streams);
}

static void a_look_asks_for_length_and_groups(void **state)
{
  (void)state;
  tg_redis_stream_look(&stream, &out);
  assert_written("XLEN tidegate:16:3 | XINFO GROUPS tidegate:16:3");
}

static void without_groups_nothing_is_trimmed(void **state)
{
  (void)state;
  assert_int_equal(take_groups(":17\r\n*0\r\n"), 0);
  assert_int_equal(stream.length, 17);
  assert_int_equal(stream.groups, 0);
  assert_false(tg_redis_stream_trim(&stream, &out));
  assert_int_equal(take_groups(":0\r\n-ERR no such key\r\n"), 0);
  assert_false(tg_redis_stream_trim(&stream, &out));
}

static void what_every_group_has_acknowledged_goes(void **state)
{
  (void)state;
  assert_int_equal(take_groups(":90\r\n*2\r\n" GROUP("one", "0", "$4\r\n7-50", ":40") GROUP(
                       "two", "0", "$4\r\n7-80", ":10")),
                   0);
  assert_true(tg_redis_stream_trim(&stream, &out));
  assert_written("XTRIM tidegate:16:3 MINID ~ 7-51 LIMIT 10000");
  assert_string_equal(stream.slowest, "one");
  assert_int_equal(stream.unread, 40);
  assert_false(take_trimmed(":50\r\n"));
  assert_int_equal(stream.length, 40);
  assert_int_equal(take_groups(":40\r\n*2\r\n" GROUP("one", "0", "$4\r\n7-50", ":40") GROUP(
                       "two", "0", "$4\r\n7-80", ":10")),
                   0);
  assert_false(tg_redis_stream_trim(&stream, &out)); /* nobody has gone on */
}

static void what_is_pending_stays(void **state)
{
  (void)state;
  assert_int_equal(take_groups(":90\r\n*3\r\n" GROUP("one", "2", "$4\r\n7-50", ":40") GROUP(
                       "two", "0", "$4\r\n7-80", ":10") GROUP("six", "70", "$4\r\n7-85", "$-1")),
                   2);
  assert_written("XPENDING tidegate:16:3 one | XPENDING tidegate:16:3 six");
  assert_string_equal(stream.slowest, "six");
  assert_int_equal(stream.unread, 0);
  assert_int_equal(stream.pending, 70);
  assert_true(take_pending("*4\r\n:2\r\n$4\r\n7-49\r\n$4\r\n7-50\r\n*0\r\n"
                           "*4\r\n:70\r\n$4\r\n7-16\r\n$4\r\n7-85\r\n*0\r\n"));
  assert_true(tg_redis_stream_trim(&stream, &out));
  assert_written("XTRIM tidegate:16:3 MINID ~ 7-16 LIMIT 10000");
}

static void what_was_acknowledged_meanwhile_keeps_nothing(void **state)
{
  (void)state;
  assert_int_equal(take_groups(":90\r\n*1\r\n" GROUP("one", "2", "$4\r\n7-50", ":40")), 1);
  out.length = 0;
  assert_true(take_pending("*4\r\n:0\r\n$-1\r\n$-1\r\n*-1\r\n"));
  assert_true(tg_redis_stream_trim(&stream, &out));
  assert_written("XTRIM tidegate:16:3 MINID ~ 7-51 LIMIT 10000");
}

static void a_group_that_has_read_nothing_keeps_all(void **state)
{
  (void)state;
  assert_int_equal(take_groups(":90\r\n*2\r\n" GROUP("one", "0", "$4\r\n7-50", ":40") GROUP(
                       "new", "0", "$3\r\n0-0", ":90")),
                   0);
  assert_true(tg_redis_stream_trim(&stream, &out));
  assert_written("XTRIM tidegate:16:3 MINID ~ 0-1 LIMIT 10000");
}

static void a_group_that_has_gone_keeps_nothing(void **state)
{
  (void)state;
  take_groups(":90\r\n*2\r\n" GROUP("one", "2", "$4\r\n7-50", ":40") GROUP("two", "3", "$4\r\n7-80", ":10"));
  out.length = 0;
  assert_true(take_pending("-NOGROUP No such key or consumer group\r\n*4\r\n:3\r\n$4\r\n7-70\r\n$4\r\n7-80\r\n*0\r\n"));
  assert_true(tg_redis_stream_trim(&stream, &out));
  assert_written("XTRIM tidegate:16:3 MINID ~ 7-51 LIMIT 10000"); /* it was read up to there a moment ago */
}

static void much_is_trimmed_piece_by_piece(void **state)
{
  (void)state;
  take_groups(":25000\r\n*1\r\n" GROUP("one", "0", "$7\r\n7-24000", ":1000"));
  assert_true(tg_redis_stream_trim(&stream, &out));
  assert_true(take_trimmed(":10000\r\n"));
  assert_true(tg_redis_stream_trim(&stream, &out));
  assert_true(take_trimmed(":10002\r\n"));
  assert_true(tg_redis_stream_trim(&stream, &out));
  assert_false(take_trimmed(":3990\r\n"));
  assert_false(tg_redis_stream_trim(&stream, &out));
  assert_int_equal(stream.length, 25000 - 10000 - 10002 - 3990);
}

static void refusals_are_told(void **state)
{
  (void)state;
  assert_int_equal(take_groups(":1\r\n-NOPERM this user has no permissions\r\n"), -1);
  assert_string_equal(error.code, "auth");
  assert_int_equal(take_groups(":1\r\n*1\r\n*2\r\n$4\r\nname\r\n$3\r\none\r\n"), -1);
  assert_int_equal(out.length, 0);
  assert_false(take_pending("-LOADING Redis is loading\r\n"));
  assert_string_equal(error.code, "loading");
  assert_false(take_trimmed("-NOPERM this user has no permissions\r\n"));
  assert_string_equal(error.code, "auth");
}

static void it_is_full_only_where_groups_want_it(void **state)
{
  (void)state;
  stream.length = 100;
  assert_false(tg_redis_stream_is_full(&stream, 100));
  stream.groups = 1;
  assert_true(tg_redis_stream_is_full(&stream, 100));
  assert_false(tg_redis_stream_is_full(&stream, 101));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(ids_are_read_and_compared, begin, end),
      cmocka_unit_test_setup_teardown(a_stream_is_named_by_shard_and_number_of_shards, begin, end),
      cmocka_unit_test_setup_teardown(a_look_asks_for_length_and_groups, begin, end),
      cmocka_unit_test_setup_teardown(without_groups_nothing_is_trimmed, begin, end),
      cmocka_unit_test_setup_teardown(what_every_group_has_acknowledged_goes, begin, end),
      cmocka_unit_test_setup_teardown(what_is_pending_stays, begin, end),
      cmocka_unit_test_setup_teardown(what_was_acknowledged_meanwhile_keeps_nothing, begin, end),
      cmocka_unit_test_setup_teardown(a_group_that_has_read_nothing_keeps_all, begin, end),
      cmocka_unit_test_setup_teardown(a_group_that_has_gone_keeps_nothing, begin, end),
      cmocka_unit_test_setup_teardown(much_is_trimmed_piece_by_piece, begin, end),
      cmocka_unit_test_setup_teardown(refusals_are_told, begin, end),
      cmocka_unit_test_setup_teardown(it_is_full_only_where_groups_want_it, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
