/* What is shown of a resharding: the JSON of GET /reshard, and metrics. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/resharding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tg_resharding_status status;

static int begin(void **state)
{
  (void)state;
  status = (struct tg_resharding_status){.eta = -1};
  return 0;
}

static void run_from_4_to_8(void)
{
  status.running = true;
  status.from = 4;
  status.to = 8;
  status.phase = "switching";
  status.began = tg_now();
  status.up = 8;
  status.classes = 4;
  status.by_state[TG_CLASS_READY] = 1;
  status.by_state[TG_CLASS_SWITCHED] = 3;
}

/* Without what time decides. */
static void assert_json(json_t *json, const char *expected)
{
  json_t *running = json_object_get(json, "running");
  if (json_is_object(running)) {
    json_int_t duration = json_integer_value(json_object_get(running, "duration"));
    assert_true(duration >= 0 && duration < 60000);
    json_object_del(running, "duration");
  }
  char *text = json_dumps(json, JSON_COMPACT);
  assert_string_equal(text, expected);
  free(text);
  json_decref(json);
}

static void nothing_runs(void **state)
{
  (void)state;
  assert_json(tg_resharding_json(&status), "{\"running\":null,\"planned\":null,\"last\":null}");
  json_t *running = tg_resharding_running_json(&status);
  assert_true(json_is_null(running));
}

static void one_runs(void **state)
{
  (void)state;
  run_from_4_to_8();
  assert_json(
      tg_resharding_json(&status),
      "{\"running\":{\"from\":4,\"to\":8,\"phase\":\"switching\",\"eta\":null,\"up\":8,\"classes\":4,"
      "\"byState\":{\"ready\":1,\"switched\":3},\"waitsFor\":null,\"held\":{\"events\":0,\"bytes\":0},"
      "\"unmatched\":{},\"cut\":[]},\"planned\":null,\"last\":null}");
}

static void one_that_hosts_share(void **state)
{
  (void)state;
  run_from_4_to_8();
  status.is_shared = true;
  memcpy(status.everywhere, (const int[]){4, 3, 1, 0}, sizeof status.everywhere);
  json_t *running = tg_resharding_running_json(&status);
  char *text = json_dumps(json_object_get(running, "everywhere"), JSON_COMPACT);
  assert_string_equal(text, "{\"up\":4,\"switched\":3,\"settled\":1,\"closed\":0}");
  free(text);
  json_decref(running);
}

static void one_runs_with_all_there_is_to_say(void **state)
{
  (void)state;
  run_from_4_to_8();
  status.eta = 42000;
  status.held_events = 12;
  status.held_bytes = 3456;
  status.unmatched = json_pack("{s:i}", "PRESENCE_UPDATE", 3);
  status.cut = json_pack("[s]", "PRESENCE_UPDATE");
  strcpy(status.waits_for, "class 2: a guild that is unavailable");
  json_t *json = tg_resharding_json(&status);
  json_object_clear(status.unmatched); /* they are copied */
  json_array_clear(status.cut);
  assert_json(
      json, "{\"running\":{\"from\":4,\"to\":8,\"phase\":\"switching\",\"eta\":42000,\"up\":8,\"classes\":4,"
            "\"byState\":{\"ready\":1,\"switched\":3},"
            "\"waitsFor\":\"class 2: a guild that is unavailable\","
            "\"held\":{\"events\":12,\"bytes\":3456},\"unmatched\":{\"PRESENCE_UPDATE\":3},"
            "\"cut\":[\"PRESENCE_UPDATE\"]},\"planned\":null,\"last\":null}");
  json_decref(status.unmatched);
  json_decref(status.cut);
}

static void what_was_and_what_is_wanted(void **state)
{
  (void)state;
  status.planned = 16;
  strcpy(status.planned_waits_for, "identifies: 10 are left, 17 are needed");
  status.last.result = "aborted";
  strcpy(status.last.reason, "asked for");
  status.last.from = 4;
  status.last.to = 8;
  status.last.identifies = 9;
  status.last.began = 1000;
  status.last.ended = 61000;
  assert_json(
      tg_resharding_json(&status),
      "{\"running\":null,\"planned\":{\"to\":16,\"waitsFor\":\"identifies: 10 are left, 17 are needed\"},"
      "\"last\":{\"result\":\"aborted\",\"reason\":\"asked for\",\"from\":4,\"to\":8,\"identifies\":9,"
      "\"duration\":60000}}");
}

/* ---- metrics ---- */

static char *metrics(void)
{
  struct tg_buf text = {0};
  struct tg_exposition exposition = {.out = &text};
  tg_resharding_metrics(&exposition, &status);
  return tg_buf_take(&text);
}

static void assert_line(const char *text, const char *line)
{
  char whole[160];
  snprintf(whole, sizeof whole, "\n%s\n", line);
  if (!strstr(text, whole))
    fail_msg("no line \"%s\" in\n%s", line, text);
}

static void metrics_without_one(void **state)
{
  (void)state;
  status.done = 3;
  status.failed = 1;
  status.identifies = 40;
  char *text = metrics();
  assert_line(text, "tidegate_resharding_running 0");
  assert_line(text, "tidegate_resharding_planned_shards 0");
  assert_line(text, "tidegate_reshardings_total{result=\"done\"} 3");
  assert_line(text, "tidegate_reshardings_total{result=\"aborted\"} 0");
  assert_line(text, "tidegate_reshardings_total{result=\"failed\"} 1");
  assert_line(text, "tidegate_resharding_identifies_total 40");
  static const char *const gone[] = {"_classes",   "_from", "_to_", "_up",   "_held",
                                     "_unmatched", "_cut",  "_eta", "_start"};
  for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) {
    char name[64];
    snprintf(name, sizeof name, "tidegate_resharding%s", gone[i]);
    assert_null(strstr(text, name));
  }
  free(text);
}

static void metrics_of_one_that_runs(void **state)
{
  (void)state;
  run_from_4_to_8();
  status.held_events = 12;
  status.held_bytes = 3456;
  status.unmatched = json_pack("{s:i, s:i}", "PRESENCE_UPDATE", 3, "TYPING_START", 1);
  status.cut = json_pack("[s]", "PRESENCE_UPDATE");
  char *text = metrics();
  assert_null(strstr(text, "tidegate_resharding_eta_seconds"));
  assert_null(strstr(text, "tidegate_resharding_cluster_classes"));
  assert_line(text, "tidegate_resharding_running 1");
  assert_line(text, "tidegate_resharding_from_shards 4");
  assert_line(text, "tidegate_resharding_to_shards 8");
  assert_line(text, "tidegate_resharding_shards_up 8");
  assert_line(text, "tidegate_resharding_classes{state=\"waiting\"} 0");
  assert_line(text, "tidegate_resharding_classes{state=\"ready\"} 1");
  assert_line(text, "tidegate_resharding_classes{state=\"switched\"} 3");
  assert_line(text, "tidegate_resharding_held_events 12");
  assert_line(text, "tidegate_resharding_held_bytes 3456");
  assert_line(text, "tidegate_resharding_unmatched_total{type=\"PRESENCE_UPDATE\"} 3");
  assert_line(text, "tidegate_resharding_unmatched_total{type=\"TYPING_START\"} 1");
  assert_line(text, "tidegate_resharding_cut{type=\"PRESENCE_UPDATE\"} 1");
  assert_non_null(strstr(text, "\ntidegate_resharding_start_time_seconds "));
  free(text);
  json_decref(status.unmatched);
  json_decref(status.cut);
  status.unmatched = status.cut = NULL;
  status.eta = 1500;
  status.is_shared = true;
  status.everywhere[1] = 3;
  text = metrics();
  assert_line(text, "tidegate_resharding_eta_seconds 1.5");
  assert_line(text, "tidegate_resharding_cluster_classes{step=\"up\"} 0");
  assert_line(text, "tidegate_resharding_cluster_classes{step=\"switched\"} 3");
  assert_null(strstr(text, "tidegate_resharding_unmatched_total"));
  free(text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(nothing_runs, begin),
      cmocka_unit_test_setup(one_runs, begin),
      cmocka_unit_test_setup(one_that_hosts_share, begin),
      cmocka_unit_test_setup(one_runs_with_all_there_is_to_say, begin),
      cmocka_unit_test_setup(what_was_and_what_is_wanted, begin),
      cmocka_unit_test_setup(metrics_without_one, begin),
      cmocka_unit_test_setup(metrics_of_one_that_runs, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
