/* The own layout in Redis: what is written, and what the replies to it mean. */

#include "unit/delivery/sinks/redis_replies.h"

#include "delivery/sinks/redis_layout.h"
#include "proto/event_types.h"

static const struct tg_redis_layout_kind *const layout = &tg_redis_own_layout;

static struct tg_redis_config config;
static struct tg_redis_stream stream;
static struct tg_redis_place place;
static struct tg_stored events[8];
static struct tg_redis_batch batch;
static struct tg_buf out;
static struct tg_answer answer;

static int begin(void **state)
{
  (void)state;
  config = (struct tg_redis_config){.prefix = (char *)"tidegate", .max_length = 1000};
  stream = (struct tg_redis_stream){.key = (char *)"tidegate:16:3", .set = (char *)"tidegate:streams"};
  place = (struct tg_redis_place){.config = &config, .shard_id = 3, .total_shards = 16, .epoch = 7, .server = "redis://r", .stream = &stream};
  place.asked = place.listed = true;
  batch = (struct tg_redis_batch){.events = events};
  answer = (struct tg_answer){.retry_after = -1};
  out = (struct tg_buf){0};
  return 0;
}

static int end(void **state)
{
  (void)state;
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

static void add_gap(uint64_t epoch, uint64_t sequence, const char *text)
{
  add(epoch, sequence, text)->marker = TG_MARKER_GAP;
}

static void assert_written(const char *expected)
{
  char *words = words_in(&out);
  assert_string_equal(words, expected);
  free(words);
  out.length = 0;
}

static void assert_writes(int replies, const char *expected)
{
  assert_int_equal(layout->write(&place, &batch, &out), replies);
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

#define TYPING "{\"t\":\"TYPING_START\",\"s\":2,\"op\":0,\"d\":{\"guild_id\":\"81\"}}"
#define OWN "XADD tidegate:16:3 MAXLEN ~ 1000 "

/* --- writing -------------------------------------------------------------------- */

static void one_event_needs_no_transaction(void **state)
{
  (void)state;
  add(7, 2, TYPING);
  assert_writes(1, OWN "7-2 t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.7.2");
  assert_int_equal(judge("$3\r\n7-2\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_DELIVERED);
  assert_id(place.accepted, 7, 2);
  assert_int_equal(stream.length, 1);
}

static void several_are_one_transaction(void **state)
{
  (void)state;
  add(7, 2, TYPING);
  add(7, 4, "{\"d\":null,\"t\":\"RESUMED\",\"s\":4,\"op\":0}");
  assert_writes(4, "MULTI | " OWN "7-2 t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.7.2 | " OWN
                   "7-4 t RESUMED g  d null shard 3 key 3.7.4 | EXEC");
  assert_int_equal(judge("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n7-2\r\n$3\r\n7-4\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_DELIVERED);
  assert_id(place.accepted, 7, 4);
  assert_int_equal(stream.length, 2);
}

static void a_guild_has_its_id_and_its_kind(void **state)
{
  (void)state;
  struct tg_stored *event = add(7, 2, "{\"t\":\"GUILD_CREATE\",\"s\":2,\"op\":0,\"d\":{\"id\":\"82\"}}");
  event->type = TG_EVENT_GUILD_CREATE;
  event->guild_create = TG_GUILD_JOINED;
  add(7, 3, TYPING)->deferred = true;
  layout->write(&place, &batch, &out);
  assert_written("MULTI | " OWN "7-2 t GUILD_CREATE g 82 d {\"id\":\"82\"} shard 3 key 3.7.2 guildCreate joined | " OWN
                 "7-3 t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.7.3 deferred 1 | EXEC");
}

static void where_groups_read_nothing_is_trimmed_in_writing(void **state)
{
  (void)state;
  stream.groups = 1;
  add(7, 2, TYPING);
  assert_writes(1, "XADD tidegate:16:3 7-2 t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.7.2");
}

static void what_is_there_is_not_written(void **state)
{
  (void)state;
  place.last = (struct tg_redis_id){7, 3};
  add(6, 900, TYPING);
  add(7, 3, TYPING);
  add(7, 4, TYPING);
  assert_writes(1, OWN "7-4 t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.7.4");
  place.last = (struct tg_redis_id){7, 4};
  assert_writes(1, "PING");
  assert_int_equal(judge("+PONG\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_DELIVERED);
  assert_id(place.accepted, 7, 4);
  assert_int_equal(stream.length, 0);
}

static void texts_may_hold_anything(void **state)
{
  (void)state;
  add(7, 2, "{\"t\":\"A\\u0042\",\"s\":2,\"op\":0,\"d\":\"\r\n$3\"}");
  assert_int_equal(layout->write(&place, &batch, &out), 1);
  static const char expected[] = "$1\r\nt\r\n$2\r\nAB\r\n$1\r\ng\r\n$0\r\n\r\n$1\r\nd\r\n$6\r\n\"\r\n$3\"\r\n";
  assert_non_null(memmem(out.data, out.length, expected, sizeof expected - 1));
}

/* --- markers ---------------------------------------------------------------------- */

#define GAP " shard 3 key 3.7.gap-"

static void a_gap_stands_at_its_end(void **state)
{
  (void)state;
  add_gap(7, 9, "{\"from\":4,\"to\":9,\"count\":6,\"reason\":\"overflow\"}");
  assert_writes(1, OWN "7-9 marker gap d {\"from\":4,\"to\":9,\"count\":6,\"reason\":\"overflow\"}" GAP "9");
}

static void a_gap_never_shuts_out_what_comes_behind_it(void **state)
{
  (void)state;
  place.last = (struct tg_redis_id){7, 3};
  add_gap(7, 9, "{\"from\":4,\"to\":9,\"reason\":\"overflow\"}");
  add(7, 8, TYPING);
  assert_int_equal(layout->write(&place, &batch, &out), 4);
  assert_written("MULTI | " OWN "7-7 marker gap d {\"from\":4,\"to\":9,\"reason\":\"overflow\"}" GAP "9 | " OWN
                 "7-8 t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.7.8 | EXEC");
  place.last = (struct tg_redis_id){7, 7}; /* its place is taken */
  assert_writes(1, OWN "7-8 t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.7.8");
}

static void what_waits_behind_the_batch_counts_too(void **state)
{
  (void)state;
  batch.next = (struct tg_redis_id){7, 6};
  add_gap(7, 3, "{\"from\":4,\"reason\":\"log_damaged\"}");
  assert_writes(1, OWN "7-5 marker gap d {\"from\":4,\"reason\":\"log_damaged\"}" GAP "3");
}

static void a_lost_session_ends_below_the_next(void **state)
{
  (void)state;
  place.last = (struct tg_redis_id){7, 3};
  add_gap(7, 3, "{\"from\":4,\"reason\":\"session_lost\"}");
  add(9, 1, TYPING);
  layout->write(&place, &batch, &out);
  assert_written("MULTI | " OWN "8-0 marker gap d {\"from\":4,\"reason\":\"session_lost\"}" GAP "3 | " OWN
                 "9-1 t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.9.1 | EXEC");
  place.asked = false;
  assert_int_equal(learn("*6\r\n$6\r\nlength\r\n:9\r\n$17\r\nlast-generated-id\r\n$3\r\n8-0\r\n$6\r\ngroups\r\n:0\r\n"),
                   TG_REDIS_WRITE); /* nobody else's */
}

static void guilds_that_go_over_are_told_at_their_place(void **state)
{
  (void)state;
  struct tg_stored *event = add(7, 4, "{\"from\":[1,8],\"to\":[3,16],\"guilds\":[\"81\"]}");
  event->marker = TG_MARKER_HANDOVER;
  assert_writes(1, OWN "7-4 marker resharding d {\"from\":[1,8],\"to\":[3,16],\"guilds\":[\"81\"]} shard 3 key "
                       "3.7.resharding-1-4");
}

/* --- asking ------------------------------------------------------------------------ */

#define INFO(length, last, groups)                                                                           \
  "*8\r\n$6\r\nlength\r\n:" length "\r\n$17\r\nlast-generated-id\r\n" last "\r\n$6\r\ngroups\r\n:" groups    \
  "\r\n$11\r\nfirst-entry\r\n*-1\r\n"
#define FIRST "+OK\r\n+QUEUED\r\n+QUEUED\r\n"

static int begin_unasked(void **state)
{
  begin(state);
  place.asked = place.listed = false;
  add(7, 43, TYPING);
  return 0;
}

static void a_new_connection_asks_once(void **state)
{
  (void)state;
  assert_int_equal(layout->ask(&place, &batch, &out), 4);
  assert_written("MULTI | SADD tidegate:streams tidegate:16:3 | XINFO STREAM tidegate:16:3 | EXEC");
  assert_int_equal(learn(FIRST "*2\r\n:1\r\n" INFO("12", "$4\r\n7-42", "1")), TG_REDIS_WRITE);
  assert_id(place.last, 7, 42);
  assert_int_equal(stream.length, 12);
  assert_int_equal(stream.groups, 1);
  assert_int_equal(layout->ask(&place, &batch, &out), 0);
}

static void a_stream_that_is_not_there_is_empty(void **state)
{
  (void)state;
  assert_int_equal(learn(FIRST "*2\r\n:1\r\n-ERR no such key\r\n"), TG_REDIS_WRITE);
  assert_true(tg_redis_id_is_none(place.last));
  assert_true(place.asked);
}

static void later_it_asks_for_the_stream_alone(void **state)
{
  (void)state;
  place.listed = true;
  assert_int_equal(layout->ask(&place, &batch, &out), 1);
  assert_written("XINFO STREAM tidegate:16:3");
  assert_int_equal(learn(INFO("12", "$4\r\n7-42", "0")), TG_REDIS_WRITE);
}

static void what_redis_has_lost_is_told(void **state)
{
  (void)state;
  place.accepted = (struct tg_redis_id){7, 42};
  assert_int_equal(learn(FIRST "*2\r\n:1\r\n" INFO("12", "$4\r\n7-30", "0")), TG_REDIS_LOST);
  assert_int_equal(answer.outcome, TG_OUTCOME_CANCELLED);
  assert_string_equal(answer.error.message, "the stream tidegate:16:3 ends at 7-30, and has taken events up to 7-42");
  assert_id(place.accepted, 7, 30);
  place.accepted = (struct tg_redis_id){7, 42};
  assert_int_equal(learn("-ERR no such key\r\n"), TG_REDIS_LOST);
  assert_id(place.accepted, 0, 0);
}

static void a_later_session_than_ours_is_a_conflict(void **state)
{
  (void)state;
  assert_int_equal(learn(FIRST "*2\r\n:1\r\n" INFO("12", "$3\r\n8-1", "0")), TG_REDIS_HOLD);
  assert_int_equal(answer.outcome, TG_OUTCOME_SLOW_DOWN);
  assert_true(answer.retry_after > 0);
  assert_string_equal(answer.error.code, "conflict");
  assert_string_equal(answer.error.message, "the stream tidegate:16:3 ends at 8-1, of a later session than this gateway "
                                            "has had (7): somebody else writes to it");
  assert_non_null(answer.advice);
  assert_int_equal(layout->ask(&place, &batch, &out), 1); /* again, before anything is written */
  place.epoch = 8;                                        /* that session is ours by now */
  assert_int_equal(learn(INFO("12", "$3\r\n8-1", "0")), TG_REDIS_WRITE);
}

static void at_max_length_its_groups_are_waited_for(void **state)
{
  (void)state;
  assert_int_equal(learn(FIRST "*2\r\n:1\r\n" INFO("1000", "$4\r\n7-42", "1")), TG_REDIS_FULL);
  assert_int_equal(answer.outcome, TG_OUTCOME_SLOW_DOWN);
  assert_int_equal(layout->ask(&place, &batch, &out), 1); /* until there is room */
  assert_int_equal(learn(INFO("999", "$4\r\n7-42", "1")), TG_REDIS_WRITE);
  assert_int_equal(learn(INFO("1000", "$4\r\n7-42", "0")), TG_REDIS_WRITE);
}

static void what_is_not_allowed_is_found_before_anything_is_written(void **state)
{
  (void)state;
  const char *refusals[] = {
      "-NOPERM no multi\r\n:1\r\n*0\r\n-ERR EXEC without MULTI\r\n",
      "+OK\r\n-NOPERM no sadd\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of previous errors.\r\n",
      "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n-NOPERM no xinfo\r\n",
  };
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    assert_int_equal(learn(refusals[i]), TG_REDIS_END);
    assert_int_equal(answer.outcome, TG_OUTCOME_MISCONFIGURED);
    assert_string_equal(answer.error.code, "auth");
    assert_false(place.asked);
  }
  assert_int_equal(learn(FIRST "*2\r\n:1\r\n-WRONGTYPE Operation against a key\r\n"), TG_REDIS_HOLD);
  assert_int_equal(answer.outcome, TG_OUTCOME_SLOW_DOWN);
}

static void an_answer_of_another_kind_is_no_stream(void **state)
{
  (void)state;
  assert_int_equal(learn(FIRST "*2\r\n:1\r\n*2\r\n$6\r\nlength\r\n:1\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_MISCONFIGURED);
  assert_int_equal(learn(FIRST "*-1\r\n"), TG_REDIS_END);
}

/* --- replies to a batch -------------------------------------------------------------- */

static int begin_batch(void **state)
{
  begin(state);
  add(7, 2, TYPING);
  add(7, 3, TYPING);
  layout->write(&place, &batch, &out);
  return 0;
}

static void what_is_refused_is_not_there(void **state)
{
  (void)state;
  const struct {
    const char *text, *code;
    enum tg_outcome expected;
  } rows[] = {
      {"+OK\r\n-OOM command not allowed\r\n-OOM command not allowed\r\n-EXECABORT Transaction discarded because of "
       "previous errors.\r\n",
       "oom", TG_OUTCOME_BUSY},
      {"+OK\r\n+QUEUED\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of: OOM command not allowed\r\n", "oom",
       TG_OUTCOME_BUSY},
      {"-LOADING Redis is loading\r\n-LOADING Redis is loading\r\n-LOADING Redis is loading\r\n-LOADING Redis\r\n",
       "loading", TG_OUTCOME_BUSY},
      {"+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n", "err", TG_OUTCOME_RETRY},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    assert_int_equal(judge(rows[i].text), TG_REDIS_END);
    assert_int_equal(answer.outcome, rows[i].expected);
    assert_string_equal(answer.error.code, rows[i].code);
    assert_true(tg_redis_id_is_none(place.accepted));
    assert_false(place.asked);
  }
}

static void a_key_of_another_type_holds_its_lane_alone(void **state)
{
  (void)state;
  assert_int_equal(judge("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n-WRONGTYPE Operation\r\n-WRONGTYPE Operation\r\n"),
                   TG_REDIS_HOLD);
  assert_int_equal(answer.outcome, TG_OUTCOME_SLOW_DOWN);
  assert_non_null(answer.advice);
}

static void where_somebody_else_has_written_it_asks_again(void **state)
{
  (void)state;
  assert_int_equal(judge("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n-ERR The ID specified in XADD is equal or smaller than the "
                         "target stream top item\r\n$3\r\n7-3\r\n"),
                   TG_REDIS_ASK);
  assert_false(place.asked);
}

static int begin_replicated(void **state)
{
  begin(state);
  config.replicas = 2;
  add(7, 2, TYPING);
  return 0;
}

static void replicas_are_waited_for(void **state)
{
  (void)state;
  assert_int_equal(layout->write(&place, &batch, &out), 2);
  assert_written(OWN "7-2 t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.7.2 | WAIT 2 500");
  assert_int_equal(judge("$3\r\n7-2\r\n:1\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_BUSY);
  assert_string_equal(answer.error.message, "after 500 ms 1 of 2 replicas have it");
  assert_true(tg_redis_id_is_none(place.accepted));
  assert_writes(2, "PING | WAIT 2 500"); /* it is there: only they are missing */
  assert_int_equal(judge("+PONG\r\n:3\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_DELIVERED);
  assert_id(place.accepted, 7, 2);
}

#define OF(setup, test) cmocka_unit_test_setup_teardown(test, setup, end)

/* --- what is left of a shard that another host has ------------------------------------ */

static int begin_late(void **state)
{
  begin(state);
  stream.key = (char *)"tidegate:16:3:late";
  place.late = true;
  place.epoch = 0; /* it has no session */
  place.asked = place.listed = false;
  return 0;
}

#define LATE "XADD tidegate:16:3:late MAXLEN ~ 1000 * "

/* Whatever its stream has, and whatever is older than that. */
static void late_ones_have_a_stream_of_their_own(void **state)
{
  (void)state;
  add(7, 2, TYPING);
  add_gap(7, 4, "{\"from\":3,\"to\":4,\"count\":2,\"reason\":\"expired\"}");
  assert_int_equal(layout->ask(&place, &batch, &out), 4);
  assert_written("MULTI | SADD tidegate:streams tidegate:16:3:late | XINFO STREAM tidegate:16:3:late | EXEC");
  assert_int_equal(
      learn("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n*6\r\n$17\r\nlast-generated-id\r\n$15\r\n"
            "1700000000000-5\r\n$6\r\nlength\r\n:1\r\n$6\r\ngroups\r\n:0\r\n"),
      TG_REDIS_WRITE);
  assert_writes(4, "MULTI | " LATE "t TYPING_START g 81 d {\"guild_id\":\"81\"} shard 3 key 3.7.2 late 1 | " LATE
                   "marker gap d {\"from\":3,\"to\":4,\"count\":2,\"reason\":\"expired\"} shard 3 "
                   "key 3.7.gap-4 late 1 | EXEC");
  assert_int_equal(judge("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n9-2\r\n$3\r\n9-3\r\n"), TG_REDIS_END);
  assert_int_equal(answer.outcome, TG_OUTCOME_DELIVERED);
  assert_id(place.accepted, 0, 0); /* nobody looks whether Redis has lost it */
  assert_int_equal(stream.length, 3);
}

static void late_ones_are_bounded_as_others(void **state)
{
  (void)state;
  add(7, 2, TYPING);
  stream.groups = 1;
  stream.length = 1000;
  place.asked = place.listed = true;
  assert_int_equal(layout->ask(&place, &batch, &out), 1);
  assert_written("XINFO STREAM tidegate:16:3:late");
  assert_int_equal(learn("*6\r\n$17\r\nlast-generated-id\r\n$3\r\n9-5\r\n$6\r\nlength\r\n:1000\r\n"
                         "$6\r\ngroups\r\n:1\r\n"),
                   TG_REDIS_FULL);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      OF(begin_late, late_ones_have_a_stream_of_their_own),
      OF(begin_late, late_ones_are_bounded_as_others),
      OF(begin, one_event_needs_no_transaction),
      OF(begin, several_are_one_transaction),
      OF(begin, a_guild_has_its_id_and_its_kind),
      OF(begin, where_groups_read_nothing_is_trimmed_in_writing),
      OF(begin, what_is_there_is_not_written),
      OF(begin, texts_may_hold_anything),
      OF(begin, a_gap_stands_at_its_end),
      OF(begin, a_gap_never_shuts_out_what_comes_behind_it),
      OF(begin, what_waits_behind_the_batch_counts_too),
      OF(begin, a_lost_session_ends_below_the_next),
      OF(begin, guilds_that_go_over_are_told_at_their_place),
      OF(begin_unasked, a_new_connection_asks_once),
      OF(begin_unasked, a_stream_that_is_not_there_is_empty),
      OF(begin_unasked, later_it_asks_for_the_stream_alone),
      OF(begin_unasked, what_redis_has_lost_is_told),
      OF(begin_unasked, a_later_session_than_ours_is_a_conflict),
      OF(begin_unasked, at_max_length_its_groups_are_waited_for),
      OF(begin_unasked, what_is_not_allowed_is_found_before_anything_is_written),
      OF(begin_unasked, an_answer_of_another_kind_is_no_stream),
      OF(begin_batch, what_is_refused_is_not_there),
      OF(begin_batch, a_key_of_another_type_holds_its_lane_alone),
      OF(begin_batch, where_somebody_else_has_written_it_asks_again),
      OF(begin_replicated, replicas_are_waited_for),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
