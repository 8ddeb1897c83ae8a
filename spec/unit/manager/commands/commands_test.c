/* gateway.manager: its methods, their arguments, and overrides of them. */

#include "manager/internal.h"
#include "unit/manager/fixture.h"

#define GUILD "820588789004115970" /* shard 1 of 4 */

static void expect_error(enum tg_method method, json_t *args, const char *code, const char *words)
{
  struct reply reply = call(method, args);
  assert_string_equal(reply.error.code, code);
  if (words)
    assert_non_null(strstr(reply.error.message, words));
  assert_null(reply.value);
}

static void expect_true(enum tg_method method, json_t *args)
{
  struct reply reply = call(method, args);
  assert_string_equal(reply.error.code, "");
  assert_true(json_is_true(reply.value));
  json_decref(reply.value);
}

static int expect_number(enum tg_method method, json_t *args)
{
  struct reply reply = call(method, args);
  assert_string_equal(reply.error.code, "");
  assert_true(json_is_integer(reply.value));
  int number = (int)json_integer_value(reply.value);
  json_decref(reply.value);
  return number;
}

static void begin_plain(void)
{
  begin("plain");
  wait_for(shards_up() == 4);
}

static void numbers_are_calculated(void **state)
{
  (void)state;
  begin_plain();
  assert_int_equal(expect_number(TG_METHOD_manager_calculate_total_shards, NULL), 4);
  json_t *info = json_pack("[{s:s, s:i, s:{s:i, s:i, s:i, s:i}}]", "url", "wss://x", "shards", 161,
                           "session_start_limit", "total", 2000, "remaining", 1999, "reset_after", 0,
                           "max_concurrency", 16);
  assert_int_equal(expect_number(TG_METHOD_manager_calculate_total_shards, info), 176);
  assert_int_equal(expect_number(TG_METHOD_manager_calculate_worker_id, json_pack("[i]", 3)), 1);
  assert_int_equal(expect_number(TG_METHOD_manager_calculate_worker_id, json_pack("[f]", 1.0)), 0);
  assert_int_equal(expect_number(TG_METHOD_manager_calculate_shard_id, json_pack("[s]", GUILD)), 1);
  assert_int_equal(expect_number(TG_METHOD_manager_calculate_shard_id, json_pack("[s, i]", GUILD, 1)), 0);
  stop(true);
}

static void wrong_arguments_are_named(void **state)
{
  (void)state;
  begin_plain();
  expect_error(TG_METHOD_manager_calculate_worker_id, NULL, "bad_argument", "shard_id");
  expect_error(TG_METHOD_manager_calculate_worker_id, json_pack("[s]", "x"), "bad_argument",
               "integer, not a string");
  expect_error(TG_METHOD_manager_calculate_worker_id, json_pack("[f]", 1.5), "bad_argument", "integer");
  expect_error(TG_METHOD_manager_calculate_worker_id, json_pack("[i]", 4), "no_shard", "0 to 3");
  expect_error(TG_METHOD_manager_calculate_shard_id, json_pack("[s]", "12x"), "bad_argument", "guild_id");
  expect_error(TG_METHOD_manager_calculate_shard_id, json_pack("[f]", 8.2e17), "bad_argument",
               "string of digits");
  expect_error(TG_METHOD_manager_calculate_shard_id, json_pack("[s, i]", GUILD, 0), "bad_argument", "total");
  expect_error(TG_METHOD_manager_calculate_total_shards, json_pack("[{s:i}]", "shards", 0), "bad_argument",
               "url");
  expect_error(TG_METHOD_manager_send_payload, json_pack("[i]", 0), "bad_argument", "payload");
  expect_error(TG_METHOD_manager_send_payload, json_pack("[i, {s:i, s:{}}]", 0, "op", 2, "d"), "bad_payload",
               NULL);
  expect_error(TG_METHOD_manager_send_payload, json_pack("[i, {}, {s:s}]", 0, "priority", "urgent"),
               "bad_argument", "priority");
  expect_error(TG_METHOD_manager_tell_worker_to_identify, json_pack("[i, i, i]", 1, 0, 0), "bad_argument",
               "belongs to worker 0");
  expect_error(TG_METHOD_manager_request_identify, json_pack("[i]", -1), "bad_argument", "shard_id");
  expect_error(TG_METHOD_manager_edit_bot_status, json_pack("[{s:s}]", "status", "sleepy"), "bad_argument",
               "presence");
  expect_error(TG_METHOD_manager_join_voice_channel, json_pack("[s]", GUILD), "bad_argument", "channel_id");
  expect_error(TG_METHOD_manager_join_voice_channel, json_pack("[s, s, {s:i}]", GUILD, GUILD, "self_mute", 1),
               "bad_argument", "self_mute");
  expect_error(TG_METHOD_manager_request_soundboard_sounds, json_pack("[[]]"), "bad_argument", "guild_ids");
  expect_error(TG_METHOD_manager_shutdown, json_pack("[i]", 3), "bad_argument", "code");
  expect_error(TG_METHOD_manager_handle_worker_exit, json_pack("[i]", 9), "bad_argument", "worker_id");
  expect_error(TG_METHOD_manager_reshard, NULL, "bad_argument", "total_shards");
  expect_error(TG_METHOD_shard_connect, NULL, "bad_argument", NULL);
  assert_int_equal(shards_up(), 4);
  stop(true);
}

static void commands_reach_the_shard(void **state)
{
  (void)state;
  begin_plain();
  expect_true(TG_METHOD_manager_send_payload, some_payload(3));
  assert_int_equal(journal_count("payload", 31), 1);
  expect_true(TG_METHOD_manager_join_voice_channel, json_pack("[s, s]", GUILD, "820588826329227274"));
  expect_true(TG_METHOD_manager_leave_voice_channel, json_pack("[s]", GUILD));
  assert_int_equal(journal_count("payload", 4), 2);
  /* Two guilds of shard 1, one of shard 0: a frame a shard. */
  expect_true(TG_METHOD_manager_request_soundboard_sounds,
              json_pack("[[s, s, s]]", GUILD, "820588789004115971", "5"));
  assert_int_equal(journal_count("payload", 31), 3);
  stop(true);
}

static void presences_are_kept_for_later_starts(void **state)
{
  (void)state;
  begin_plain();
  expect_true(TG_METHOD_manager_edit_bot_status, json_pack("[{s:s}]", "status", "idle"));
  assert_int_equal(journal_count("presence", -1), 4);
  expect_true(TG_METHOD_manager_edit_shard_status, json_pack("[i, {s:s}]", 2, "status", "dnd"));
  assert_int_equal(journal_count("presence", 2), 2);
  mark("die", true);
  expect_true(TG_METHOD_manager_send_payload, some_payload(0)); /* by the next one */
  wait_for(journal_count("presence", 0) == 2 && journal_count("presence", 1) == 2);
  expect_true(TG_METHOD_manager_edit_bot_status, NULL);
  assert_int_equal(journal_count("no-presence", -1), 4);
  stop(true);
}

static void a_command_waits_for_its_worker(void **state)
{
  (void)state;
  begin_plain();
  mark("die", true);
  struct reply replies[3] = {0};
  for (int i = 0; i < 3; i++) { /* the first dies with the worker, the others are in its line or wait */
    json_t *args = some_payload(1);
    tg_manager_call(fixture.manager, TG_METHOD_manager_send_payload, args, on_reply, &replies[i]);
    json_decref(args);
  }
  wait_for(replies[0].count && replies[1].count && replies[2].count);
  for (int i = 0; i < 3; i++) {
    assert_string_equal(replies[i].error.code, "");
    json_decref(replies[i].value);
  }
  assert_int_equal(journal_count("payload", 31), 3);
  /* One that is never up does not keep it for ever. */
  expect_true(TG_METHOD_manager_kill, json_pack("[i]", 1));
  json_t *late = some_payload(1);
  json_array_append_new(late, json_pack("{s:i}", "timeout", 100));
  expect_error(TG_METHOD_manager_send_payload, late, "timeout", "it is Offline");
  stop(true);
}

static void a_command_that_kills_its_worker_is_given_up(void **state)
{
  (void)state;
  begin_plain();
  mark("deadly", true);
  expect_error(TG_METHOD_manager_send_payload, some_payload(0), "closed", NULL);
  mark("deadly", false);
  wait_for(shards_up() == 4);
  assert_int_equal(journal_count("resume", 0), 2);
  stop(true);
}

static void commands_that_wait_hear_of_the_end(void **state)
{
  (void)state;
  begin_plain();
  expect_true(TG_METHOD_manager_kill, json_pack("[i]", 1));
  struct reply waits = {0};
  json_t *args = some_payload(1);
  tg_manager_call(fixture.manager, TG_METHOD_manager_send_payload, args, on_reply, &waits);
  tg_manager_stop(fixture.manager, true, 0);
  assert_string_equal(waits.error.code, "stopping");
  struct reply late = {0};
  tg_manager_call(fixture.manager, TG_METHOD_manager_send_payload, args, on_reply, &late);
  assert_string_equal(late.error.code, "stopping");
  json_decref(args);
  stop(true);
}

static void a_killed_shard_stays_down_until_told(void **state)
{
  (void)state;
  begin_plain();
  expect_true(TG_METHOD_manager_kill, json_pack("[i]", 1));
  assert_int_equal(journal_count("kill", 1), 1);
  assert_int_equal(shards_up(), 3);
  mark("die", true);
  expect_true(TG_METHOD_manager_send_payload, some_payload(0)); /* by the next one */
  wait_for(journal_count("resume", 0) == 1);
  assert_int_equal(shards_up(), 3);
  expect_true(TG_METHOD_manager_tell_worker_to_identify, json_pack("[i, i, i]", 0, 1, 1));
  assert_int_equal(shards_up(), 4);
  stop(true);
}

static void shutdown_ends_the_gateway(void **state)
{
  (void)state;
  begin_plain();
  expect_true(TG_METHOD_manager_shutdown, json_pack("[i, s]", 4000, "moving house"));
  wait_for(fixture.exits == 1);
  assert_int_equal(journal_count("keep", -1), 2);
  end();
  begin_plain();
  expect_true(TG_METHOD_manager_shutdown, NULL);
  wait_for(fixture.exits == 1);
  assert_int_equal(journal_count("end", -1), 2);
  assert_int_equal(fixture.exit_code, 0);
}

static void other_programs_get_slots(void **state)
{
  (void)state;
  begin_plain();
  tg_ms began = tg_now();
  expect_true(TG_METHOD_manager_request_identify, json_pack("[i]", 100));
  expect_true(TG_METHOD_manager_request_identify, json_pack("[i]", 104)); /* the same bucket */
  assert_true(tg_now() - began >= 300);
  stop(true);
}

/* ---- request_members ---- */

static json_t *members_args(int count)
{
  json_t *ids = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(ids, json_sprintf("%d", 1000 + i));
  return json_pack("[s, {s:o}]", GUILD, "user_ids", ids);
}

static void members_come_in_parts_and_chunks(void **state)
{
  (void)state;
  begin_plain();
  struct reply reply = call(TG_METHOD_manager_request_members, members_args(250));
  assert_string_equal(reply.error.code, "");
  assert_int_equal(json_array_size(json_object_get(reply.value, "members")),
                   250); /* what came twice counts once */
  assert_int_equal(json_array_size(json_object_get(reply.value, "not_found")), 6);
  json_decref(reply.value);
  assert_int_equal(journal_count("members", 100), 2);
  assert_int_equal(journal_count("members", 50), 1);
  stop(true);
}

static void members_obey_rate_limited(void **state)
{
  (void)state;
  begin_plain();
  mark("limited", true);
  tg_ms began = tg_now();
  struct reply reply = call(TG_METHOD_manager_request_members, members_args(3));
  assert_string_equal(reply.error.code, "");
  assert_true(tg_now() - began >= 200);
  assert_int_equal(json_array_size(json_object_get(reply.value, "members")), 3);
  json_decref(reply.value);
  assert_int_equal(journal_count("members", 3), 2);
  stop(true);
}

/* The nonce that a worker has been given. */
static void read_nonce(char nonce[64])
{
  char path[PATH_MAX], line[64];
  snprintf(path, sizeof path, "%s/journal", getenv("TG_TEST_DIR"));
  FILE *journal = fopen(path, "r");
  while (fgets(line, sizeof line, journal)) {
    if (strchr(line, '-'))
      sscanf(line, "%63s", nonce);
  }
  fclose(journal);
}

static void members_without_an_end_are_not_kept(void **state)
{
  (void)state;
  enum { SIZE = 4 << 20 };
  char nonce[64] = "", *member = tg_alloc(SIZE);
  struct reply reply = {0};
  begin_plain();
  mark("mute", true);
  json_t *args = members_args(3);
  tg_manager_call(fixture.manager, TG_METHOD_manager_request_members, args, on_reply, &reply);
  json_decref(args);
  wait_for(journal_count("members", 3) == 1);
  wait_for((read_nonce(nonce), nonce[0] != '\0'));
  memset(member, 'x', SIZE);
  json_t *data =
      json_pack("{s:[s#], s:i, s:s}", "members", member, SIZE, "chunk_count", 100000, "nonce", nonce);
  for (int i = 0; i < 128; i++) { /* these have 512 MiB, and some */
    assert_int_equal(reply.count, 0);
    json_object_set_new(data, "chunk_index", json_integer(i));
    tg_members_chunk(fixture.manager->members, data);
  }
  assert_string_equal(reply.error.code, "too_large");
  json_decref(data);
  free(member);
  stop(true);
}

static void members_limited_without_a_nonce_fail_at_once(void **state)
{
  (void)state;
  begin_plain();
  mark("limited without nonce", true);
  tg_ms began = tg_now();
  expect_error(TG_METHOD_manager_request_members, members_args(3), "rate_limited", GUILD);
  assert_true(tg_now() - began < 20000);
  stop(true);
}

static void members_are_checked_and_end_in_time(void **state)
{
  (void)state;
  begin_plain();
  fixture.config.intents = 1; /* without guild_members Discord would never answer */
  expect_error(TG_METHOD_manager_request_members, json_pack("[s]", GUILD), "bad_argument", "guild_members");
  expect_error(TG_METHOD_manager_request_members, json_pack("[s, {s:[s]}]", GUILD, "users_ids", "1"),
               "bad_argument", "user_ids");
  expect_error(TG_METHOD_manager_request_members,
               json_pack("[s, {s:[s], s:s}]", GUILD, "user_ids", "1", "query", "a"), "bad_argument",
               "not both");
  expect_error(TG_METHOD_manager_request_members, json_pack("[s, {s:[s]}]", GUILD, "user_ids", "a"),
               "bad_argument", "user_ids[1]");
  expect_error(TG_METHOD_manager_request_members,
               json_pack("[s, {s:s, s:b}]", GUILD, "query", "a", "presences", 1), "bad_argument",
               "guild_presences");
  mark("mute", true);
  expect_error(TG_METHOD_manager_request_members,
               json_pack("[s, {s:s, s:i}]", GUILD, "query", "a", "timeout", 1000), "timeout", GUILD);
  mark("die", true);
  expect_error(TG_METHOD_manager_request_members, members_args(1), "closed", GUILD);
  mark("mute", false);
  stop(true);
}

/* ---- overrides ---- */

static struct {
  int calls[TG_METHOD_COUNT];
  json_t *last_args;
  bool fails, refuses;
  int64_t number;
  tg_hook_reply *reply;
  void *ctx;
} script;

static bool fake_call(struct tg_script *unused, enum tg_method method, const struct tg_value *args, int count,
                      struct tg_value *result)
{
  (void)unused, (void)args, (void)count;
  script.calls[method]++;
  if (script.fails)
    return false;
  if (tg_methods[method].result == TG_INT)
    *result = tg_value_int(script.number);
  return true;
}

static void fake_start(struct tg_script *unused, enum tg_method method, const struct tg_value *args,
                       int count, tg_hook_reply *reply, void *ctx)
{
  (void)unused, (void)args, (void)count;
  script.calls[method]++;
  struct tg_value refusal = {.kind = TG_FAILURE, .string = {"no", 2}}, nil = {.kind = TG_NIL};
  if (script.fails) {
    reply(ctx, false, NULL);
  } else if (script.refuses) {
    reply(ctx, true, &refusal);
  } else if (method == TG_METHOD_manager_send_payload) { /* waits */
    script.reply = reply;
    script.ctx = ctx;
  } else {
    reply(ctx, true, &nil);
  }
}

static void override(enum tg_method method)
{
  fixture.hooks.call = fake_call;
  fixture.hooks.start = fake_start;
  fixture.hooks.method[method] = (struct tg_override *)&script;
}

static void an_override_assigns_workers(void **state)
{
  (void)state;
  memset(&script, 0, sizeof script);
  script.number = 3;
  override(TG_METHOD_manager_calculate_worker_id);
  begin_plain();
  struct reply info = call(TG_METHOD_manager_get_shard_info, NULL);
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(json_integer_value(json_object_get(json_array_get(info.value, i), "worker_id")), 3);
  json_decref(info.value);
  assert_int_equal(script.calls[TG_METHOD_manager_calculate_worker_id], 4);
  stop(true);
}

static void a_wrong_result_falls_back(void **state)
{
  (void)state;
  memset(&script, 0, sizeof script);
  script.number = -5;
  override(TG_METHOD_manager_calculate_worker_id);
  override(TG_METHOD_manager_calculate_total_shards);
  override(TG_METHOD_manager_prepare_buckets); /* nil */
  begin_plain();
  stop(true);
}

static void a_failing_override_runs_the_default(void **state)
{
  (void)state;
  memset(&script, 0, sizeof script);
  script.fails = true;
  for (int method = TG_METHOD_manager_calculate_total_shards; method <= TG_METHOD_manager_handle_worker_exit;
       method++)
    override((enum tg_method)method);
  begin_plain();
  assert_int_equal(script.calls[TG_METHOD_manager_spawn_shards], 1);
  expect_true(TG_METHOD_manager_spawn_shards, NULL); /* nothing is left to start */
  assert_int_equal(script.calls[TG_METHOD_manager_tell_worker_to_identify], 4);
  assert_int_equal(script.calls[TG_METHOD_manager_request_identify], 4);
  expect_true(TG_METHOD_manager_send_payload, some_payload(3));
  mark("die", true);
  expect_true(TG_METHOD_manager_send_payload, some_payload(0)); /* by the next one */
  wait_for(journal_count("resume", -1) == 2);
  assert_int_equal(script.calls[TG_METHOD_manager_handle_worker_exit], 1);
  stop(true);
}

static void a_refused_slot_is_asked_of_the_scheduler(void **state)
{
  (void)state;
  memset(&script, 0, sizeof script);
  script.refuses = true;
  override(TG_METHOD_manager_request_identify);
  begin_plain();
  assert_int_equal(journal_count("identify", -1), 4);
  stop(true);
}

static void a_script_may_grant_slots_itself(void **state)
{
  (void)state;
  memset(&script, 0, sizeof script);
  fixture.config.gateway_bot.max_concurrency = 1;
  fixture.config.spawn_shard_delay = 60000;
  override(TG_METHOD_manager_request_identify); /* says yes at once */
  begin("plain");
  wait_for(journal_count("identify", -1) == 4); /* without waiting for the spacing */
  stop(true);
}

static void a_start_that_the_script_declines_is_left_alone(void **state)
{
  (void)state;
  memset(&script, 0, sizeof script);
  override(TG_METHOD_manager_tell_worker_to_identify); /* does nothing */
  begin("plain");
  wait_for(script.calls[TG_METHOD_manager_tell_worker_to_identify] == 4);
  assert_int_equal(shards_up(), 0);
  struct reply reply = {0};
  json_t *args = json_pack("[i, i, i]", 0, 0, 0);
  tg_manager_call_default(fixture.manager, TG_METHOD_manager_tell_worker_to_identify, args, on_reply, &reply);
  json_decref(args);
  wait_for(reply.count == 1);
  assert_true(json_is_true(reply.value));
  json_decref(reply.value);
  assert_int_equal(shards_up(), 1);
  stop(true);
}

static void an_override_may_answer_after_the_end(void **state)
{
  (void)state;
  memset(&script, 0, sizeof script);
  override(TG_METHOD_manager_send_payload);
  begin_plain();
  struct reply reply = {0};
  json_t *args = some_payload(0);
  tg_manager_call(fixture.manager, TG_METHOD_manager_send_payload, args, on_reply, &reply);
  json_decref(args);
  assert_int_equal(reply.count, 0);
  stop(true);
  assert_int_equal(reply.count, 1);
  assert_string_equal(reply.error.code, "cancelled");
  struct tg_value nil = {.kind = TG_NIL};
  script.reply(script.ctx, true, &nil); /* nobody is there to hear it */
}

int main(int argc, char **argv)
{
  if (argc > 1 && strcmp(argv[1], "worker") == 0)
    return play_worker(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  const struct CMUnitTest tests[] = {
      MANAGER_TEST(numbers_are_calculated),
      MANAGER_TEST(wrong_arguments_are_named),
      MANAGER_TEST(commands_reach_the_shard),
      MANAGER_TEST(presences_are_kept_for_later_starts),
      MANAGER_TEST(a_command_waits_for_its_worker),
      MANAGER_TEST(a_command_that_kills_its_worker_is_given_up),
      MANAGER_TEST(commands_that_wait_hear_of_the_end),
      MANAGER_TEST(a_killed_shard_stays_down_until_told),
      MANAGER_TEST(shutdown_ends_the_gateway),
      MANAGER_TEST(other_programs_get_slots),
      MANAGER_TEST(members_come_in_parts_and_chunks),
      MANAGER_TEST(members_without_an_end_are_not_kept),
      MANAGER_TEST(members_obey_rate_limited),
      MANAGER_TEST(members_limited_without_a_nonce_fail_at_once),
      MANAGER_TEST(members_are_checked_and_end_in_time),
      MANAGER_TEST(an_override_assigns_workers),
      MANAGER_TEST(a_wrong_result_falls_back),
      MANAGER_TEST(a_failing_override_runs_the_default),
      MANAGER_TEST(a_refused_slot_is_asked_of_the_scheduler),
      MANAGER_TEST(a_script_may_grant_slots_itself),
      MANAGER_TEST(a_start_that_the_script_declines_is_left_alone),
      MANAGER_TEST(an_override_may_answer_after_the_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
