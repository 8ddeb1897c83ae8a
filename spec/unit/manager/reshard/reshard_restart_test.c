/* Going over while the manager or a worker dies, and what a start makes of what it finds. */

#include "reshard_fixture.h"

#include "delivery/reshard/skip_file.h"

/* ---- deaths ---- */

static void wait_for_phase(const char *phase)
{
  wait_for(phase_is(phase));
}

/* The manager is gone, and its workers with it, in each of the phases. */
static void a_start_goes_on_where_the_last_run_was(void **state)
{
  (void)state;
  static const char *const phases[] = {"preparing", "identifying", "matching", "switching", "settling"};
  static const char *const brakes[] = {NULL, "slow", "unready", NULL, "unsettled"};
  for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
    if (brakes[i])
      mark(brakes[i], true);
    begin_resharding();
    wait_for_phase(phases[i]);
    end();
    if (brakes[i])
      mark(brakes[i], false);
    begin_up();
    assert_int_equal(how().from, OLD);
    wait_for(has_ended("done"));
    assert_all_went_over();
    assert_true(next_identifies() <= NEW + 1); /* one may have been on its way */
    stop(true);
    static const char *const files[] = {"journal", "shards.1", "resharding.json", "identify.json"};
    for (size_t k = 0; k < sizeof files / sizeof *files; k++)
      mark(files[k], false);
    for (int class = 0; class < CLASSES; class ++)
      mark(file_of(class), false);
  }
}

static void a_worker_that_dies_is_told_again(void **state)
{
  (void)state;
  mark("unsettled", true);
  begin_resharding();
  wait_for(phase_is("settling"));
  struct tg_worker_status status;
  tg_gateway_worker(fixture.manager, 0, &status);
  mark("unsettled", false);
  kill(status.pid, SIGKILL);
  wait_for(journal_count("prepare", 0) == 2);
  tg_gateway_worker(fixture.manager, 1, &status);
  kill(status.pid, SIGKILL);
  wait_for(has_ended("done"));
  assert_all_went_over();
  assert_int_equal(next_identifies(), NEW);
  assert_int_equal(told.switched, CLASSES);
  stop(true);
}

/* The next start cannot know from its workers alone which classes have switched. */
static void a_start_that_is_to_undo_it_takes_classes_back(void **state)
{
  (void)state;
  struct tg_skip_list list = {.from = OLD, .to = NEW, .ruling = 1};
  struct tg_error error;
  mark("unsettled", true);
  begin_resharding();
  wait_for(phase_is("settling"));
  end();
  for (list.number = 0; list.number < CLASSES; list.number++)
    tg_skip_file_close(tg_skip_file_make(fixture.dir, &list, &error));
  begin_up();
  assert_int_equal(how().by_state[TG_CLASS_SWITCHED], CLASSES);
  assert_true(json_is_true(abort_it().value));
  wait_for(has_ended("aborted"));
  for (int class = 0; class < CLASSES; class ++)
    assert_int_equal(journal_count("back", class), 1);
  assert_int_equal(journal_count("early", -1), 0);
  assert_record(0, OLD);
  stop(true);
}

static void other_intents_drop_the_new_set(void **state)
{
  (void)state;
  mark("unready", true);
  begin_resharding();
  wait_for(phase_is("matching"));
  stop(true);
  struct tg_reshard_record record = read_record();
  struct tg_error error;
  record.intents++;
  assert_true(tg_reshard_record_write(fixture.dir, &record, &error));
  tg_reshard_record_free(&record);
  begin_up();
  assert_false(how().running);
  assert_int_equal(total_shards(), OLD);
  assert_record(0, OLD);
  assert_false(marked("shards.1"));
  stop(true);
}

static void the_option_wins_when_it_changes(void **state)
{
  (void)state;
  begin_resharding();
  wait_for(has_ended("done"));
  stop(true);
  fixture.config.total_shards = 2;
  begin_up();
  assert_int_equal(total_shards(), 2);
  assert_record(1, 2);
  stop(true);
  begin_up(); /* and holds */
  assert_int_equal(total_shards(), 2);
  stop(true);
}

static void a_damaged_record_is_not_guessed_at(void **state)
{
  (void)state;
  begin_resharding();
  wait_for(has_ended("done"));
  stop(true);
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/resharding.json", fixture.dir);
  assert_int_equal(truncate(path, 40), 0);
  begin("plain");
  wait_for(fixture.exits == 1);
  assert_int_equal(fixture.exit_code, TG_EXIT_CONFIG);
  assert_int_equal(journal_count("identify", -1), OLD + NEW);
  end();
}

static void sessions_that_end_leave_one_set(void **state)
{
  (void)state;
  mark("unready", true);
  begin_resharding();
  wait_for(phase_is("matching"));
  stop(false);
  assert_record(0, OLD);
}

static int run_all(void)
{
  const struct CMUnitTest tests[] = {
      RESHARD_TEST(a_start_goes_on_where_the_last_run_was),
      RESHARD_TEST(a_worker_that_dies_is_told_again),
      RESHARD_TEST(other_intents_drop_the_new_set),
      RESHARD_TEST(the_option_wins_when_it_changes),
      RESHARD_TEST(a_damaged_record_is_not_guessed_at),
      RESHARD_TEST(sessions_that_end_leave_one_set),
      RESHARD_TEST(a_start_that_is_to_undo_it_takes_classes_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
  return run(argc, argv, run_all);
}
