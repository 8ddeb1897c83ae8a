/* The life of the manager: starts, deaths, restarts, the end. */

#include "fixture.h"

static void shards_identify_once_and_resume_after_a_restart(void **state)
{
  (void)state;
  begin("plain");
  wait_for(fixture.manager && shards_up() == 4);
  assert_int_equal(journal_count("identify", -1), 4);
  struct reply info = call(TG_METHOD_manager_get_shard_info, NULL);
  json_t *third = json_array_get(info.value, 2);
  assert_int_equal(json_integer_value(json_object_get(third, "shard_id")), 2);
  assert_int_equal(json_integer_value(json_object_get(third, "worker_id")), 1);
  assert_string_equal(json_string_value(json_object_get(third, "session_id")), "session-2");
  json_decref(info.value);
  stop(true);
  assert_int_equal(journal_count("keep", -1), 2);

  begin("plain");
  wait_for(shards_up() == 4);
  assert_int_equal(journal_count("identify", -1), 4);
  assert_int_equal(journal_count("resume", -1), 4);
  stop(false);
  assert_int_equal(journal_count("end", -1), 2);

  begin("plain"); /* the sessions were ended: all identify */
  wait_for(shards_up() == 4);
  assert_int_equal(journal_count("identify", -1), 8);
  stop(true);
}

static void a_restart_keeps_the_number_of_its_sessions(void **state)
{
  (void)state;
  begin("plain");
  wait_for(shards_up() == 4);
  stop(true);
  fixture.config.gateway_bot.shards = 6; /* the bot has grown */
  begin("plain");
  wait_for(journal_count("resume", -1) == 4);
  assert_int_equal(journal_count("identify", -1), 4);
  stop(false);
  begin("plain");
  wait_for(shards_up() == 6);
  stop(true);
}

static void two_gateways_do_not_share_a_state_directory(void **state)
{
  (void)state;
  begin("plain");
  struct tg_error error = {0};
  assert_null(make_manager("plain", &error));
  assert_string_equal(error.code, "locked");
  stop(true);
}

static void a_worker_that_dies_comes_back_and_resumes(void **state)
{
  (void)state;
  begin("plain");
  wait_for(shards_up() == 4);
  mark("die", true);
  struct reply reply = call(TG_METHOD_manager_send_payload, some_payload(0));
  assert_string_equal(reply.error.code, ""); /* sent by the next one */
  json_decref(reply.value);
  assert_int_equal(journal_count("payload", 31), 1);
  wait_for(journal_count("resume", 0) == 1 && journal_count("resume", 1) == 1);
  wait_for(shards_up() == 4);
  assert_int_equal(journal_count("identify", -1), 4);
  assert_int_equal(journal_count("resume", -1), 2); /* the other worker did not notice */
  stop(true);
}

static void a_worker_that_hangs_is_killed(void **state)
{
  (void)state;
  begin("plain");
  wait_for(shards_up() == 4);
  mark("hang", true);
  struct reply reply = {0};
  json_t *args = some_payload(2);
  tg_manager_call(fixture.manager, TG_METHOD_manager_send_payload, args, on_reply, &reply);
  json_decref(args);
  wait_for(reply.count == 1);
  assert_string_equal(reply.error.code, "");
  json_decref(reply.value);
  wait_for(journal_count("resume", 2) == 1 && journal_count("resume", 3) == 1);
  stop(true);
}

static void a_script_that_does_not_load_ends_the_start(void **state)
{
  (void)state;
  begin("refuse");
  wait_for(fixture.exits == 1);
  assert_int_equal(fixture.exit_code, 78);
}

static void a_fatal_close_ends_all_with_78(void **state)
{
  (void)state;
  setenv("TG_TEST_CODE", "4014", 1);
  begin("plain");
  wait_for(shards_up() == 4);
  stop(true);
  begin("fatal");
  wait_for(fixture.exits == 1);
  end();
  assert_int_equal(fixture.exit_code, 78);
  begin("plain"); /* the sessions of the others were kept */
  wait_for(shards_up() == 4);
  assert_int_equal(journal_count("identify", -1), 5);
  stop(true);

  setenv("TG_TEST_CODE", "4004", 1);
  begin("fatal");
  wait_for(fixture.exits == 1);
  end();
  assert_int_equal(fixture.exit_code, 78);
  begin("plain"); /* with the token all sessions were gone */
  wait_for(shards_up() == 4);
  assert_int_equal(journal_count("identify", -1), 9);
  stop(true);
}

static void unused_grants_are_asked_for_again(void **state)
{
  (void)state;
  begin("unused");
  wait_for(shards_up() == 4);
  assert_int_equal(journal_count("unused", -1), 4);
  assert_int_equal(journal_count("identify", -1), 4);
  stop(true);
}

static void the_ledger_counts_identifies_over_starts(void **state)
{
  (void)state;
  fixture.config.gateway_bot.total = 10;
  fixture.config.gateway_bot.remaining = 10;
  fixture.config.resharding.identify_reserve = 30;
  begin("plain");
  wait_for(shards_up() == 4);
  stop(false);
  begin("plain"); /* 6 left, 3 of them in reserve */
  wait_for(shards_up() == 3);
  tg_ms until = tg_now() + 1000;
  wait_for(tg_now() > until);
  assert_int_equal(shards_up(), 3);
  assert_int_equal(journal_count("identify", -1), 7);
  stop(true);
}

static void one_bucket_paces_the_start(void **state)
{
  (void)state;
  fixture.config.gateway_bot.max_concurrency = 1;
  tg_ms began = tg_now();
  begin("plain");
  wait_for(shards_up() == 4);
  assert_true(tg_now() - began >= 3 * 300);
  stop(true);
}

static void a_stuck_worker_is_killed_when_asked_twice(void **state)
{
  (void)state;
  begin("stuck");
  wait_for(shards_up() == 4);
  tg_manager_stop(fixture.manager, true, 0);
  tg_manager_stop(fixture.manager, true, 0);
  wait_for(fixture.exits == 1);
  assert_int_equal(fixture.exit_code, 0);
}

static void without_gateway_information_the_start_fails_with_69(void **state)
{
  (void)state;
  fixture.config.gateway_bot.url = NULL; /* and there is no HTTP client here */
  begin("plain");
  wait_for(fixture.exits == 1);
  assert_int_equal(fixture.exit_code, 69);
}

static void a_range_that_does_not_fit_is_refused(void **state)
{
  (void)state;
  fixture.config.first_shard_id = 2;
  fixture.config.last_shard_id = 4;
  begin("plain");
  wait_for(fixture.exits == 1);
  assert_int_equal(fixture.exit_code, 78);
}

static void a_range_of_the_shards_starts_alone(void **state)
{
  (void)state;
  fixture.config.first_shard_id = 1;
  fixture.config.last_shard_id = 2;
  begin("plain");
  wait_for(shards_up() == 2);
  assert_int_equal(journal_count("identify", 0), 0);
  assert_int_equal(journal_count("identify", 1), 1);
  assert_int_equal(journal_count("identify", 2), 1);
  assert_int_equal(journal_count("identify", 3), 0);
  stop(true);
}

static void may_be_stopped_at_any_moment(void **state)
{
  (void)state;
  for (int turns = 0; turns < 60; turns += 6) {
    begin("plain");
    for (int i = 0; i < turns; i++)
      uv_run(&fixture.loop, UV_RUN_ONCE);
    stop(true);
  }
}

/* ---- reload ---- */

static void a_reload_commits_everywhere(void **state)
{
  (void)state;
  begin("plain");
  wait_for(shards_up() == 4);
  fixture.next_config = fixture.config;
  fixture.next_config.intents = 3;
  struct reply reply = {0};
  tg_manager_reload(fixture.manager, on_reply, &reply);
  wait_for(reply.count == 1);
  assert_string_equal(reply.error.code, "");
  assert_int_equal(json_integer_value(json_object_get(reply.value, "generation")), 2);
  const json_t *keys = json_object_get(reply.value, "needs_restart");
  assert_int_equal(json_array_size(keys), 1);
  assert_string_equal(json_string_value(json_array_get(keys, 0)), "intents");
  json_decref(reply.value);
  assert_int_equal(fixture.committed, 1);
  assert_int_equal(fixture.generation, 2);
  assert_int_equal(journal_count("commit_reload", -1), 2);
  assert_int_equal(journal_count("abort_reload", -1), 0);
  struct reply info = call(TG_METHOD_manager_get_shard_info, NULL);
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(json_integer_value(json_object_get(json_array_get(info.value, i), "generation")), 2);
  json_decref(info.value);
  /* A worker that restarts later gets the same generation. */
  mark("die", true);
  struct reply sent = call(TG_METHOD_manager_send_payload, some_payload(0));
  assert_string_equal(sent.error.code, "");
  json_decref(sent.value);
  wait_for(shards_up() == 4);
  info = call(TG_METHOD_manager_get_shard_info, NULL);
  assert_int_equal(json_integer_value(json_object_get(json_array_get(info.value, 0), "generation")), 2);
  json_decref(info.value);
  assert_int_equal(journal_count("commit_reload", -1), 2);
  stop(true);
}

static void a_reload_that_one_refuses_changes_nothing(void **state)
{
  (void)state;
  begin("plain");
  wait_for(shards_up() == 4);
  mark("broken", true);
  struct reply reply = {0};
  tg_manager_reload(fixture.manager, on_reply, &reply);
  wait_for(reply.count == 1);
  assert_string_equal(reply.error.code, "reload_failed");
  assert_non_null(strstr(reply.error.message, "worker 1: bot.lua:3: boom"));
  const char *problem = json_string_value(json_object_get(reply.value, "problem"));
  assert_non_null(strstr(problem, "stack traceback"));
  json_decref(reply.value);
  assert_int_equal(fixture.committed, 0);
  assert_int_equal(fixture.aborted, 1);
  wait_for(journal_count("abort_reload", 0) == 1);
  assert_int_equal(journal_count("commit_reload", -1), 0);

  mark("broken", false);
  fixture.own_script_broken = true;
  struct reply again = {0};
  tg_manager_reload(fixture.manager, on_reply, &again);
  wait_for(again.count == 1);
  assert_string_equal(again.error.code, "reload_failed");
  assert_non_null(strstr(again.error.message, "manager: bot.lua:1: no"));
  json_decref(again.value);
  assert_int_equal(fixture.aborted, 1);
  assert_int_equal(journal_count("prepare_reload", -1), 2); /* no worker was asked this time */
  stop(true);
}

static void reloads_at_once_follow_each_other(void **state)
{
  (void)state;
  begin("plain");
  wait_for(shards_up() == 4);
  struct reply replies[3] = {0};
  for (int i = 0; i < 3; i++)
    tg_manager_reload(fixture.manager, on_reply, &replies[i]);
  wait_for(replies[0].count && replies[1].count && replies[2].count);
  assert_int_equal(fixture.committed, 2); /* the second answers both that came meanwhile */
  for (int i = 0; i < 3; i++)
    json_decref(replies[i].value);
  struct reply last = {0};
  tg_manager_reload(fixture.manager, on_reply, &last);
  stop(true);
  assert_int_equal(last.count, 1);
  assert_string_equal(last.error.code, "stopping");
}

int main(int argc, char **argv)
{
  if (argc > 1 && strcmp(argv[1], "worker") == 0)
    return play_worker(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  setenv("TIDEGATE_HURRY", "50", 1);
  const struct CMUnitTest tests[] = {
      MANAGER_TEST(shards_identify_once_and_resume_after_a_restart),
      MANAGER_TEST(a_restart_keeps_the_number_of_its_sessions),
      MANAGER_TEST(two_gateways_do_not_share_a_state_directory),
      MANAGER_TEST(a_worker_that_dies_comes_back_and_resumes),
      MANAGER_TEST(a_worker_that_hangs_is_killed),
      MANAGER_TEST(a_script_that_does_not_load_ends_the_start),
      MANAGER_TEST(a_fatal_close_ends_all_with_78),
      MANAGER_TEST(unused_grants_are_asked_for_again),
      MANAGER_TEST(the_ledger_counts_identifies_over_starts),
      MANAGER_TEST(one_bucket_paces_the_start),
      MANAGER_TEST(a_stuck_worker_is_killed_when_asked_twice),
      MANAGER_TEST(without_gateway_information_the_start_fails_with_69),
      MANAGER_TEST(a_range_that_does_not_fit_is_refused),
      MANAGER_TEST(a_range_of_the_shards_starts_alone),
      MANAGER_TEST(may_be_stopped_at_any_moment),
      MANAGER_TEST(a_reload_commits_everywhere),
      MANAGER_TEST(a_reload_that_one_refuses_changes_nothing),
      MANAGER_TEST(reloads_at_once_follow_each_other),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
