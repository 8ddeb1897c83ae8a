/* The layout of discord.js' brokers in Redis: what is written, how far it is marked, and what the replies
 * mean. */

#include "unit/delivery/sinks/redis_replies.h"

#include "delivery/sinks/redis_layout.h"
#include "proto/event_types.h"

static const struct tg_redis_layout_kind *const layout = &tg_redis_discordjs_layout;

static struct tg_redis_config config;
static struct tg_redis_stream streams[4];
static int stream_count;
static struct tg_redis_place place;
static struct tg_stored events[TG_BATCH_EVENTS];
static struct tg_redis_batch batch;
static struct tg_buf out;
static struct tg_answer answer;

static struct tg_redis_stream *stream_of(struct tg_redis_carrier *carrier, struct tg_span key)
{
  (void)carrier;
  for (int i = 0; i < stream_count; i++)
    if (strlen(streams[i].key) == key.length && memcmp(streams[i].key, key.at, key.length) == 0)
      return &streams[i];
  streams[stream_count].key = tg_strndup(key.at, key.length);
  return &streams[stream_count++];
}

static struct tg_redis_stream *stream(const char *key)
{
  return stream_of(NULL, (struct tg_span){key, strlen(key)});
}

static int begin(void **state)
{
  (void)state;
  config = (struct tg_redis_config){.prefix = (char *)"tidegate", .max_length = 1000};
  place = (struct tg_redis_place){.config = &config,
                                  .shard_id = 3,
                                  .total_shards = 16,
                                  .epoch = 7,
                                  .server = "redis://r",
                                  .asked = true,
                                  .stream_of = stream_of};
  memset(streams, 0, sizeof streams);
  stream("TYPING_START")->known = stream("READY")->known = true;
  batch = (struct tg_redis_batch){.events = events};
  answer = (struct tg_answer){.retry_after = -1};
  out = (struct tg_buf){0};
  return 0;
}

static int end(void **state)
{
  (void)state;
  while (stream_count > 0)
    free(streams[--stream_count].key);
  tg_buf_free(&out);
  return 0;
}

static struct tg_stored *add(uint64_t epoch, uint64_t sequence, const char *message)
{
  struct tg_stored *event = &events[batch.count++];
  *event = (struct tg_stored){.shard_id = 3, .total_shards = 16, .epoch = epoch, .sequence = sequence};
  event->message = (struct tg_span){message, strlen(message)};
  return event;
}

static void assert_written(const char *expected)
{
  char *words = words_in(&out);
  assert_string_equal(words, expected);
  free(words);
  out.length = 0;
}

static void assert_asks(int replies, const char *expected)
{
  assert_int_equal(layout->ask(&place, &batch, &out), replies);
  assert_written(expected);
}

static enum tg_redis_step learn(const char *text)
{
  int count;
  const struct tg_redis_reply *replies = replies_in(text, &count);
  return layout->learn(&place, &batch, replies, count, &answer);
}

static enum tg_redis_step judge(const char *text)
{
  int count;
  const struct tg_redis_reply *replies = replies_in(text, &count);
  return layout->judge(&place, replies, count, &answer);
}

static void assert_id(struct tg_redis_id id, uint64_t epoch, uint64_t sequence)
{
  assert_int_equal(id.epoch, epoch);
  assert_int_equal(id.sequence, sequence);
}

#define TYPING "{\"t\":\"TYPING_START\",\"s\":2,\"op\":0,\"d\":{}}"
#define READY "{\"op\":11,\"t\":\"READY\"}"
#define READY_DATA "\x82\xa7shardId\x03\xa7payload\x82\xa2op\x0b\xa1t\xa5READY"
#define TYPING_PACKED                                                                                        \
  "\x82\xa7shardId\x03\xa7payload\x84\xa1t\xacTYPING_START\xa1s\x02\xa2op\x00\xa1"                           \
  "d\x80"
#define XADD(type) "XADD " type " MAXLEN ~ 1000 * data "
#define HGET "HGET tidegate:marks 16:3"
#define INFO(length, groups) "*4\r\n$6\r\nlength\r\n:" #length "\r\n$6\r\ngroups\r\n:" #groups "\r\n"

/* --- writing -------------------------------------------------------------------- */

static void an_event_is_written_with_its_mark(void **state)
{
  (void)state;
  add(7, 2, TYPING);
  assert_asks(0, "");
  assert_int_equal(layout->write(&place, &batch, &out), 4);
  /* The packed bytes have NULs, at which words end. */
  static const char packed[] = TYPING_PACKED;
  char bulk[128];
  int head = snprintf(bulk, sizeof bulk, "\r\n$4\r\ndata\r\n$%zu\r\n", sizeof packed - 1);
  char *at = memmem(out.data, out.length, bulk, (size_t)head);
  assert_non_null(at);
  assert_memory_equal(at + head, packed, sizeof packed - 1);
  assert_memory_equal(at + head + sizeof packed - 1, "\r\n$3\r\nkey\r\n$5\r\n3.7.2\r\n", 22);
  static const char begins[] =
      "*1\r\n$5\r\nMULTI\r\n*10\r\n$4\r\nXADD\r\n$12\r\nTYPING_START\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n"
      "$4\r\n1000\r\n$1\r\n*\r\n$4\r\ndata\r\n";
  assert_memory_equal(out.data, begins, sizeof begins - 1);
  static const char ends[] =
      "*4\r\n$4\r\nHSET\r\n$14\r\ntidegate:marks\r\n$4\r\n16:3\r\n$3\r\n7-2\r\n*1\r\n$4\r\nEXEC\r\n";
  assert_memory_equal(out.data + out.length - (sizeof ends - 1), ends, sizeof ends - 1);
  assert_int_equal(judge("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n9-0\r\n:1\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_DELIVERED);
  assert_id(place.accepted, 7, 2);
  assert_int_equal(stream("TYPING_START")->length, 1);
}

static void each_type_has_its_stream(void **state)
{
  (void)state;
  add(7, 2, READY)->guild_create = TG_GUILD_JOINED;
  add(7, 4, "{\"op\":11,\"t\":\"TYP\\u0049NG_START\"}")->deferred = true;
  assert_int_equal(layout->write(&place, &batch, &out), 5);
  assert_written("MULTI | " XADD("READY") READY_DATA " key 3.7.2 guildCreate joined | " XADD(
      "TYPING_START") "\x82\xa7shardId\x03\xa7payload\x82\xa2op\x0b\xa1t\xacTYPING_START key 3.7.4 deferred "
                      "1 | "
                      "HSET tidegate:marks 16:3 7-4 | EXEC");
}

static void where_groups_read_nothing_is_trimmed_in_writing(void **state)
{
  (void)state;
  stream("READY")->groups = 1;
  add(7, 2, READY);
  assert_int_equal(layout->write(&place, &batch, &out), 4);
  assert_written("MULTI | XADD READY * data " READY_DATA " key 3.7.2 | "
                 "HSET tidegate:marks 16:3 7-2 | EXEC");
}

static void what_is_there_is_not_written(void **state)
{
  (void)state;
  place.last = (struct tg_redis_id){7, 3};
  add(6, 900, READY);
  add(7, 3, READY);
  assert_int_equal(layout->write(&place, &batch, &out), 1);
  assert_written("PING");
  assert_int_equal(judge("+PONG\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_DELIVERED);
  assert_id(place.accepted, 7, 3);
  add(7, 4, READY);
  assert_int_equal(layout->write(&place, &batch, &out), 4);
  assert_written("MULTI | " XADD("READY") READY_DATA " key 3.7.4 | "
                                                     "HSET tidegate:marks 16:3 7-4 | EXEC");
}

static void markers_are_passed_by(void **state)
{
  (void)state;
  add(7, 9, "{\"from\":4,\"to\":9}")->marker = TG_MARKER_GAP;
  assert_asks(0, "");
  assert_int_equal(layout->write(&place, &batch, &out), 1);
  assert_written("PING");
}

static void what_is_no_json_stays_text(void **state)
{
  (void)state;
  add(7, 2, "{\"op\":0,\"t\":\"READY\",\"d\":[1}}");
  assert_int_equal(layout->write(&place, &batch, &out), 4);
  char *words = words_in(&out);
  assert_non_null(strstr(words, "\xa7payload\xbc{\"op\":0,\"t\":\"READY\",\"d\":[1}} key 3.7.2"));
  free(words);
}

static void replicas_are_waited_for(void **state)
{
  (void)state;
  config.replicas = 1;
  add(7, 2, READY);
  assert_int_equal(layout->write(&place, &batch, &out), 5);
  assert_int_equal(judge("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n9-0\r\n:1\r\n:0\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_BUSY);
  assert_id(place.accepted, 0, 0);
  out.length = 0; /* it is there: once more only to hear of replicas */
  assert_int_equal(layout->write(&place, &batch, &out), 2);
  assert_written("PING | WAIT 1 500");
  assert_int_equal(judge("+PONG\r\n:1\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_DELIVERED);
  assert_id(place.accepted, 7, 2);
}

/* --- asking ------------------------------------------------------------------------ */

static void a_new_connection_asks_for_mark_and_streams(void **state)
{
  (void)state;
  place.asked = false;
  add(7, 2, TYPING);
  add(7, 3, READY);
  add(7, 4, TYPING);
  assert_asks(3, HGET " | XINFO STREAM TYPING_START | XINFO STREAM READY");
  assert_int_equal(learn("$3\r\n7-3\r\n" INFO(5, 1) "-ERR no such key\r\n"), TG_REDIS_WRITE);
  assert_int_equal(stream("TYPING_START")->length, 5);
  assert_int_equal(stream("TYPING_START")->groups, 1);
  assert_int_equal(stream("READY")->length, 0);
  assert_int_equal(layout->write(&place, &batch, &out),
                   4); /* what it had taken before it broke is not sent again */
  char *words = words_in(&out);
  assert_null(strstr(words, "3.7.3"));
  assert_non_null(strstr(words, "XADD TYPING_START * data"));
  free(words);
}

static void a_shard_without_a_mark_begins(void **state)
{
  (void)state;
  place.asked = false;
  assert_asks(1, HGET);
  assert_int_equal(learn("$-1\r\n"), TG_REDIS_WRITE);
  assert_id(place.last, 0, 0);
}

static void a_type_that_is_new_is_asked_for(void **state)
{
  (void)state;
  add(7, 2, "{\"t\":\"RESUMED\",\"op\":0}");
  add(7, 3, TYPING);
  assert_asks(1, "XINFO STREAM RESUMED");
  assert_int_equal(learn("-ERR no such key\r\n"), TG_REDIS_WRITE);
  assert_asks(0, "");
}

static void a_mark_of_a_later_session_is_a_conflict(void **state)
{
  (void)state;
  place.asked = false;
  assert_asks(1, HGET);
  assert_int_equal(learn("$3\r\n8-1\r\n"), TG_REDIS_HOLD);
  assert_string_equal(answer.error.code, "conflict");
  assert_non_null(strstr(answer.error.message, "tidegate:marks has 8-1 for shard 3 of 16"));
  assert_non_null(answer.advice);
  assert_false(place.asked);
}

static void a_mark_that_went_back_is_a_loss(void **state)
{
  (void)state;
  place.asked = false;
  place.accepted = place.last = (struct tg_redis_id){7, 40};
  assert_asks(1, HGET);
  assert_int_equal(learn("$4\r\n7-31\r\n"), TG_REDIS_LOST);
  assert_id(place.accepted, 7, 31);
}

static void a_full_stream_holds_the_shard(void **state)
{
  (void)state;
  stream("READY")->groups = 1;
  stream("READY")->length = 1000;
  add(7, 2, TYPING);
  add(7, 3, READY);
  assert_asks(1, "XINFO STREAM READY");
  assert_int_equal(learn(INFO(1000, 2)), TG_REDIS_FULL);
  assert_int_equal(answer.outcome, TG_OUTCOME_SLOW_DOWN);
  assert_ptr_equal(place.stream, stream("READY"));
  assert_asks(1, "XINFO STREAM READY");
  assert_int_equal(learn(INFO(999, 2)), TG_REDIS_WRITE);
}

/* --- refusals ------------------------------------------------------------------------ */

static void refusals_are_told(void **state)
{
  (void)state;
  add(7, 2, TYPING);
  place.asked = false;
  assert_asks(2, HGET " | XINFO STREAM TYPING_START");
  assert_int_equal(learn("-WRONGTYPE Operation\r\n" INFO(0, 0)), TG_REDIS_HOLD);
  assert_asks(2, HGET " | XINFO STREAM TYPING_START");
  assert_int_equal(learn("$3\r\n7-1\r\n-WRONGTYPE Operation\r\n"), TG_REDIS_HOLD);
  assert_asks(2, HGET " | XINFO STREAM TYPING_START");
  assert_int_equal(learn("$3\r\nx-1\r\n" INFO(0, 0)), TG_REDIS_END);
  assert_int_not_equal(answer.outcome, TG_OUTCOME_DELIVERED);
}

static void a_batch_that_is_refused_is_not_there(void **state)
{
  (void)state;
  add(7, 2, TYPING);
  layout->write(&place, &batch, &out);
  assert_int_equal(
      judge("+OK\r\n-OOM command not allowed\r\n-OOM command not allowed\r\n-EXECABORT Transaction\r\n"),
      TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_BUSY);
  assert_id(place.last, 0, 0);
  assert_false(place.asked);
}

static void one_that_failed_inside_is_written_again_when_that_is_a_stream(void **state)
{
  (void)state;
  add(7, 2, TYPING);
  add(7, 3, READY);
  layout->write(&place, &batch, &out);
  out.length = 0;
  assert_int_equal(
      judge("+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$3\r\n9-0\r\n-WRONGTYPE Operation\r\n:0\r\n"),
      TG_REDIS_HOLD);
  assert_asks(2, "XINFO STREAM TYPING_START | XINFO STREAM READY");
  assert_int_equal(learn(INFO(1, 0) "-WRONGTYPE Operation\r\n"), TG_REDIS_HOLD);
  place.asked = true;
  assert_asks(2, "XINFO STREAM TYPING_START | XINFO STREAM READY");
  assert_int_equal(learn(INFO(1, 0) "-ERR no such key\r\n"), TG_REDIS_WRITE);
  assert_int_equal(layout->write(&place, &batch, &out), 5);
}

/* Another host goes on with the shard, and moves its mark. */
static void late_ones_are_written_beside_the_mark(void **state)
{
  (void)state;
  place.late = true;
  place.epoch = 0;
  place.asked = false;
  add(7, 2, READY);
  add(7, 3, "{\"op\":0,\"t\":\"READY\",\"d\":1}")->marker = TG_MARKER_GAP;
  assert_asks(1, "XINFO STREAM READY");
  assert_int_equal(learn(INFO(5, 0)), TG_REDIS_WRITE);
  assert_int_equal(layout->write(&place, &batch, &out), 3);
  assert_written("MULTI | " XADD("READY") READY_DATA " key 3.7.2 late 1 | EXEC");
  assert_int_equal(judge("+OK\r\n+QUEUED\r\n*1\r\n$3\r\n9-0\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_DELIVERED);
  assert_id(place.accepted, 0, 0);
  assert_asks(0, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
  const struct CMUnitTest tests[] = {
      TEST(late_ones_are_written_beside_the_mark),
      TEST(an_event_is_written_with_its_mark),
      TEST(each_type_has_its_stream),
      TEST(where_groups_read_nothing_is_trimmed_in_writing),
      TEST(what_is_there_is_not_written),
      TEST(markers_are_passed_by),
      TEST(what_is_no_json_stays_text),
      TEST(replicas_are_waited_for),
      TEST(a_new_connection_asks_for_mark_and_streams),
      TEST(a_shard_without_a_mark_begins),
      TEST(a_type_that_is_new_is_asked_for),
      TEST(a_mark_of_a_later_session_is_a_conflict),
      TEST(a_mark_that_went_back_is_a_loss),
      TEST(a_full_stream_holds_the_shard),
      TEST(refusals_are_told),
      TEST(a_batch_that_is_refused_is_not_there),
      TEST(one_that_failed_inside_is_written_again_when_that_is_a_stream),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
