/* Going over: what workers are told and in which order, what is refused, and what is undone. */

#include "reshard_fixture.h"

static void a_bot_goes_over_and_stays(void **state)
{
  (void)state;
  begin_up();
  struct reply reply = reshard(NEW);
  assert_int_equal(json_integer_value(json_object_get(reply.value, "from")), OLD);
  assert_int_equal(json_integer_value(json_object_get(reply.value, "to")), NEW);
  assert_int_equal(json_integer_value(json_object_get(reply.value, "identifies")), NEW + 1);
  json_decref(reply.value);
  wait_for(has_ended("done"));
  assert_all_went_over();
  assert_int_equal(next_identifies(), NEW);
  assert_int_equal(how().last.identifies, NEW);
  assert_int_equal(how().identifies, NEW);
  assert_int_equal(how().done, 1);
  assert_int_equal(told.started, 1);
  assert_int_equal(told.switched, CLASSES);
  assert_int_equal(told.done, 1);
  stop(true);
  begin_up(); /* the option says nothing, and Discord still recommends four */
  assert_int_equal(total_shards(), NEW);
  for (int id = 0; id < NEW; id++)
    assert_int_equal(journal_count("resume", tg_ref_of(id, 1)), 1);
  assert_int_equal(next_identifies(), NEW);
  stop(true);
}

static void it_goes_back_to_the_other_side(void **state)
{
  (void)state;
  begin_resharding();
  wait_for(has_ended("done"));
  for (int class = 0; class < CLASSES; class ++)
    mark(file_of(class), false);
  struct reply reply = reshard(4);
  if (reply.error.code[0])
    fail_msg("%s", reply.error.message);
  json_decref(reply.value);
  wait_for(how().last.to == 4 && has_ended("done"));
  assert_int_equal(total_shards(), 4);
  assert_record(0, 4);
  assert_true(marked("shards"));
  assert_false(marked("shards.1"));
  stop(true);
}

static void the_first_identifies_alone(void **state)
{
  (void)state;
  mark("4010", true);
  begin_resharding();
  wait_for(has_ended("failed"));
  assert_int_equal(next_identifies(), 1);
  assert_non_null(strstr(how().last.reason, "4010"));
  assert_int_equal(told.failed, 1);
  assert_record(0, OLD);
  assert_false(marked("shards.1"));
  assert_int_equal(total_shards(), OLD);
  assert_true(all_up());
  stop(true);
}

/* So are the intents that the old shards go on with. */
static void whatever_new_shards_are_refused_for_undoes_it(void **state)
{
  (void)state;
  mark("4014", true);
  begin_resharding();
  wait_for(has_ended("failed"));
  assert_non_null(strstr(how().last.reason, "4014"));
  assert_int_equal(fixture.exits, 0);
  assert_true(all_up());
  stop(true);
}

/* Its session is lost while the bot goes over, and that fails: there is no way on then. */
static void a_refused_shard_ends_it_all_when_nothing_helps(void **state)
{
  (void)state;
  mark("unready", true);
  begin_resharding();
  wait_for(phase_is("matching"));
  mark("4011", true);
  mark("lose", true);
  wait_for(!all_up() && journal_count("identify", 0) == 2);
  assert_int_equal(fixture.exits, 0);
  abort_it();
  wait_for(fixture.exits == 1);
  assert_int_equal(fixture.exit_code, TG_EXIT_CONFIG);
  end();
}

static void no_class_switches_before_all_are_up(void **state)
{
  (void)state;
  begin_up();
  json_decref(reshard(NEW).value);
  while (journal_count("switch", -1) == 0) {
    struct tg_reshard_record record;
    struct tg_error error;
    if (tg_reshard_record_read(fixture.dir, tg_identity_bot(TEST_TOKEN, 0), &record, &error) &&
        record.phase >= TG_RESHARD_SWITCHING)
      assert_int_equal(how().up, NEW);
    tg_reshard_record_free(&record);
    uv_run(&fixture.loop, UV_RUN_ONCE);
  }
  assert_int_equal(how().up, NEW);
  assert_true(phase_is("switching")); /* which was written before the first was told to */
  wait_for(has_ended("done"));
  stop(true);
}

/* ---- refused ---- */

static void assert_refused(int total, const char *code, const char *text)
{
  struct reply reply = reshard(total);
  assert_string_equal(reply.error.code, code);
  if (!strstr(reply.error.message, text))
    fail_msg("\"%s\" is not in \"%s\"", text, reply.error.message);
  assert_false(marked("resharding.json"));
}

static void what_makes_no_sense_changes_nothing(void **state)
{
  (void)state;
  begin("plain");
  wait_for(fixture.manager->env.shards.count == OLD);
  assert_refused(NEW, "not_ready", "not all up yet");
  wait_for(all_up());
  assert_refused(OLD, "bad_argument", "4 shards already");
  assert_refused(0, "bad_argument", "not 0");
  assert_refused(5, "bad_argument", "9 sessions"); /* shards_per_worker is 2 */
  assert_string_equal(abort_it().error.code, "no_resharding");
  stop(true);
}

static void the_budget_has_to_have_room(void **state)
{
  (void)state;
  fixture.config.resharding.identify_reserve = 0;
  begin_up();
  struct tg_gateway_info *info = (struct tg_gateway_info *)fixture.manager->env.info;
  info->total = 1000;
  info->remaining = 8; /* nine are needed */
  info->reset_after = 3600000;
  tg_slots_info_changed(fixture.manager->slots);
  assert_refused(NEW, "budget", "8 shards take about 9 identifies");
  stop(true);
}

static void one_at_a_time(void **state)
{
  (void)state;
  mark("slow", true);
  begin_resharding();
  struct reply reply = reshard(2);
  assert_string_equal(reply.error.code, "resharding_running");
  assert_non_null(strstr(reply.error.message, "from 4 to 8"));
  abort_it();
  wait_for(has_ended("aborted"));
  stop(true);
}

/* ---- undone ---- */

static void an_early_abort_drops_the_new_set(void **state)
{
  (void)state;
  mark("unready", true);
  begin_resharding();
  wait_for(phase_is("matching"));
  assert_true(json_is_true(abort_it().value));
  wait_for(has_ended("aborted"));
  assert_int_equal(journal_count("drop", 1), 2);
  assert_int_equal(journal_count("back", -1), 0);
  assert_record(0, OLD);
  assert_false(marked("shards.1"));
  assert_int_equal(total_shards(), OLD);
  assert_true(all_up());
  assert_int_equal(told.aborted, 1);
  assert_string_equal(abort_it().error.code, "no_resharding");
  stop(true);
}

static void a_late_abort_takes_classes_back(void **state)
{
  (void)state;
  mark("unsettled", true);
  begin_resharding();
  wait_for(phase_is("settling"));
  assert_int_equal(how().by_state[TG_CLASS_SWITCHED], CLASSES);
  assert_true(json_is_true(abort_it().value));
  wait_for(has_ended("aborted"));
  for (int class = 0; class < CLASSES; class ++)
    assert_int_equal(journal_count("back", class), 1);
  assert_int_equal(journal_count("drop", 1), 2);
  assert_int_equal(journal_count("early", -1), 0);
  assert_record(0, OLD);
  assert_int_equal(total_shards(), OLD);
  assert_true(all_up());
  stop(true);
}

/* What has gone over would wait for a session of that shard for ever. */
static void nothing_goes_back_to_a_shard_that_is_refused(void **state)
{
  (void)state;
  mark("unsettled", true);
  begin_resharding();
  wait_for(phase_is("settling"));
  assert_true(tg_reshard_fatal(fixture.manager->reshard, &fixture.manager->env.shards.list[1], 4011));
  assert_string_equal(abort_it().error.code, "too_late");
  assert_true(phase_is("settling"));
  stop(true);
}

static void a_worker_without_room_undoes_it(void **state)
{
  (void)state;
  mark("full", true);
  begin_resharding();
  wait_for(has_ended("failed"));
  assert_non_null(strstr(how().last.reason, "shards.1 cannot be written"));
  assert_int_equal(next_identifies(), 0);
  assert_record(0, OLD);
  stop(true);
}

static void it_does_not_wait_for_ever(void **state)
{
  (void)state;
  mark("slow", true);
  begin_resharding();
  wait_for(phase_is("identifying"));
  wait_for(has_ended("failed"));
  assert_non_null(strstr(how().last.reason, "0 of 8 new shards were up in time"));
  assert_true(all_up());
  stop(true);
}

/* Of six shards class 0 has 0, 2, 4, and of the four 0 and 2, which are in two workers. */
static void old_shards_of_a_class_gather_in_one_worker(void **state)
{
  (void)state;
  begin_up();
  struct reply reply = reshard(6);
  assert_string_equal(reply.error.code, "");
  json_decref(reply.value);
  wait_for(has_ended("done"));
  for (int id = 0; id < OLD; id++) {
    assert_int_equal(journal_count("identify", id), 1);
    assert_int_equal(journal_count("resume", id), 1);
  }
  assert_int_equal(journal_count("identify", -1), OLD + 6);
  for (int id = 0; id < 6; id++) {
    assert_int_equal(tg_gateway_set(fixture.manager, 0)->list[id].worker_id, id % 2);
  }
  assert_record(1, 6);
  assert_true(all_up());
  stop(true);
}

/* Their workers are on their way to others. */
static void it_is_undone_while_shards_move(void **state)
{
  (void)state;
  begin_up();
  json_decref(reshard(6).value);
  wait_for(tg_workers_regrouping(fixture.manager->workers));
  abort_it();
  wait_for(has_ended("aborted"));
  wait_for(all_up());
  assert_int_equal(total_shards(), OLD);
  assert_int_equal(journal_count("identify", -1), OLD);
  assert_record(0, OLD);
  stop(true);
}

static int run_all(void)
{
  const struct CMUnitTest tests[] = {
      RESHARD_TEST(a_bot_goes_over_and_stays),
      RESHARD_TEST(it_goes_back_to_the_other_side),
      RESHARD_TEST(the_first_identifies_alone),
      RESHARD_TEST(whatever_new_shards_are_refused_for_undoes_it),
      RESHARD_TEST(a_refused_shard_ends_it_all_when_nothing_helps),
      RESHARD_TEST(no_class_switches_before_all_are_up),
      RESHARD_TEST(what_makes_no_sense_changes_nothing),
      RESHARD_TEST(the_budget_has_to_have_room),
      RESHARD_TEST(one_at_a_time),
      RESHARD_TEST(an_early_abort_drops_the_new_set),
      RESHARD_TEST(a_late_abort_takes_classes_back),
      RESHARD_TEST(nothing_goes_back_to_a_shard_that_is_refused),
      RESHARD_TEST(a_worker_without_room_undoes_it),
      RESHARD_TEST(it_does_not_wait_for_ever),
      RESHARD_TEST(old_shards_of_a_class_gather_in_one_worker),
      RESHARD_TEST(it_is_undone_while_shards_move),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
  return run(argc, argv, run_all);
}
