/* What sinks have left that are not configured any more. */

#include "manager/left_sinks.h"

#include "base/log.h"
#include "event_log/event_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { DAY = 86400000, PULSES = 8 };

static char state_dir[64];
static struct tg_sink_config configured = {.name = (char *)"kept"};
static struct tg_config config;
static struct tg_manager_env env;
static struct tg_left_sinks *left;
static struct tg_left_sink list[8];

static int begin(void **state)
{
  (void)state;
  tg_log_set_level(TG_ERROR);
  snprintf(state_dir, sizeof state_dir, "/tmp/tidegate-left-XXXXXX");
  if (!mkdtemp(state_dir))
    return -1;
  config = (struct tg_config){.queue.max_age = DAY, .sinks = &configured, .sink_count = 1};
  env = (struct tg_manager_env){.config = &config, .state_dir = state_dir};
  left = tg_left_sinks_new(&env);
  return 0;
}

static int end(void **state)
{
  (void)state;
  char command[128];
  tg_left_sinks_free(left);
  snprintf(command, sizeof command, "rm -rf %s", state_dir);
  return system(command);
}

static void pulses(void)
{
  for (int i = 0; i < PULSES; i++)
    tg_left_sinks_look(left);
}

/* The next look around is one of the next pulse, as after a reload. */
static void look_anew(void)
{
  tg_left_sinks_reloading(left, true);
  tg_left_sinks_reloading(left, false);
  pulses();
}

static bool is_there(const char *name)
{
  char path[128];
  snprintf(path, sizeof path, "%s/sinks/%s", state_dir, name);
  return access(path, F_OK) == 0;
}

/* Events of that age in a log of a sink; it stays open. */
static struct tg_event_log *put(const char *sink, const char *worker, int events, tg_ms age)
{
  struct tg_error error = {0};
  char directory[160];
  snprintf(directory, sizeof directory, "%s/sinks/%s/%s", state_dir, sink, worker);
  struct tg_event_log *log = tg_event_log_open(
      &(struct tg_event_log_options){.directory = directory, .small_segment = 65536}, &error);
  if (!log)
    fail_msg("%s", error.message);
  for (int i = 1; i <= events; i++) {
    struct tg_span part = {"0123456789", 10};
    struct tg_log_event event = {.shard_id = i % 2,
                                 .epoch = 7,
                                 .sequence = (uint64_t)i,
                                 .at = tg_steady_clock() - age,
                                 .kind = TG_LOG_EVENT,
                                 .parts = &part,
                                 .part_count = 1};
    assert_true(tg_event_log_append(log, &event, &error) != 0);
  }
  assert_true(tg_event_log_flush(log, &error));
  return log;
}

static void leave(const char *sink, const char *worker, int events, tg_ms age)
{
  tg_event_log_close(put(sink, worker, events, age));
}

static int count(void) { return tg_left_sinks_list(left, list, 8); }

static void are_listed_by_name_with_all_their_logs(void **state)
{
  (void)state;
  pulses();
  assert_int_equal(count(), 0); /* there is no directory at all */
  leave("old", "worker-0.1-1", 3, 0);
  leave("old", "worker-1.1-2", 4, 0);
  leave("copy", "worker-0.1-1", 2, 0);
  leave("kept", "worker-0.1-1", 5, 0);
  leave("NoName", "worker-0.1-1", 5, 0);
  assert_int_equal(count(), 0);
  look_anew();
  assert_int_equal(count(), 2);
  assert_string_equal(list[0].name, "copy");
  assert_int_equal(list[0].events, 2);
  assert_int_equal(list[0].bytes, 20);
  assert_string_equal(list[1].name, "old");
  assert_int_equal(list[1].events, 7);
  assert_int_equal(list[1].bytes, 70);
  assert_int_equal(tg_left_sinks_list(left, list, 1), 2); /* how many there are */
  assert_true(is_there("NoName")); /* whosever that is */
}

static void that_are_configured_again_are_no_more(void **state)
{
  (void)state;
  leave("old", "worker-0.1-1", 3, 0);
  pulses();
  assert_int_equal(count(), 1);
  configured.name = (char *)"old";
  look_anew();
  configured.name = (char *)"kept";
  assert_int_equal(count(), 0);
  assert_true(is_there("old"));
}

static void are_not_left_while_somebody_has_one_of_their_logs(void **state)
{
  (void)state;
  struct tg_error error = {0};
  leave("old", "worker-0.1-1", 3, 2 * DAY);
  struct tg_event_log *log = put("old", "worker-1.1-2", 1, 2 * DAY);
  pulses();
  assert_int_equal(count(), 0);
  assert_false(tg_left_sinks_forget(left, "old", &error));
  assert_string_equal(error.code, "sink_busy");
  assert_true(is_there("old/worker-0.1-1"));
  tg_event_log_close(log);
  config.queue.max_age = 3 * DAY;
  look_anew();
  assert_int_equal(count(), 1);
  assert_int_equal(list[0].events, 4);
}

static void that_have_nothing_waiting_go(void **state)
{
  (void)state;
  leave("empty", "worker-0.1-1", 0, 0);
  pulses();
  assert_int_equal(count(), 0);
  assert_false(is_there("empty"));
}

static void go_when_the_last_of_their_events_is_too_old(void **state)
{
  (void)state;
  leave("old", "worker-0.1-1", 3, 2 * DAY);
  leave("old", "worker-1.1-2", 1, DAY / 2);
  leave("older", "worker-0.1-1", 3, 2 * DAY);
  pulses();
  assert_int_equal(count(), 1);
  assert_string_equal(list[0].name, "old");
  assert_int_equal(list[0].events, 4);
  assert_false(is_there("older"));
  config.queue.max_age = DAY / 4; /* a reload */
  pulses();
  assert_int_equal(count(), 0);
  assert_false(is_there("old"));
}

static void are_forgotten_when_that_is_said(void **state)
{
  (void)state;
  struct tg_error error = {0};
  leave("old", "worker-0.1-1", 3, 0);
  leave("kept", "worker-0.1-1", 3, 0);
  pulses();
  assert_false(tg_left_sinks_forget(left, "kept", &error));
  assert_string_equal(error.code, "sink_configured");
  assert_false(tg_left_sinks_forget(left, "bot", &error));
  assert_string_equal(error.code, "sink_configured");
  assert_false(tg_left_sinks_forget(left, "../sinks/kept", &error));
  assert_string_equal(error.code, "no_sink");
  tg_left_sinks_reloading(left, true);
  assert_false(tg_left_sinks_forget(left, "old", &error));
  assert_string_equal(error.code, "reload_running");
  tg_left_sinks_reloading(left, false);
  assert_true(tg_left_sinks_forget(left, "old", &error));
  assert_int_equal(count(), 0);
  assert_false(is_there("old") || is_there(".old"));
  assert_false(tg_left_sinks_forget(left, "old", &error));
  assert_string_equal(error.code, "no_sink");
  assert_true(is_there("kept/worker-0.1-1"));
}

static void are_finished_with_when_that_was_cut_short(void **state)
{
  (void)state;
  char from[128], to[128];
  leave("old", "worker-0.1-1", 3, 0);
  snprintf(from, sizeof from, "%s/sinks/old", state_dir);
  snprintf(to, sizeof to, "%s/sinks/.old", state_dir);
  assert_int_equal(rename(from, to), 0);
  pulses();
  assert_int_equal(count(), 0);
  assert_false(is_there(".old"));
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
  const struct CMUnitTest tests[] = {
      IN_DIR(are_listed_by_name_with_all_their_logs),
      IN_DIR(that_are_configured_again_are_no_more),
      IN_DIR(are_not_left_while_somebody_has_one_of_their_logs),
      IN_DIR(that_have_nothing_waiting_go),
      IN_DIR(go_when_the_last_of_their_events_is_too_old),
      IN_DIR(are_forgotten_when_that_is_said),
      IN_DIR(are_finished_with_when_that_was_cut_short),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
