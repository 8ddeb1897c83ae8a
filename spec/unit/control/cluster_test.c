/* What is shown of the cluster: the JSON of /status and of GET /cluster, and metrics. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/cluster.h"

#include <stdlib.h>
#include <string.h>

static struct tg_cluster_host hosts[] = {
    {.name = "gw-2", .digest = "d1", .shards = 20, .age = 300},
    {.name = "gw-1", .digest = "d1", .shards = 19, .age = 0}, /* it has 22, as it knows itself */
    {.name = "gw-3", .digest = "d2", .shards = 1, .draining = true, .age = 900},
};
static struct tg_cluster_view view;
static struct tg_cluster_status status;

static int begin(void **state)
{
  (void)state;
  view = (struct tg_cluster_view){.leader = "gw-2",
                                  .total = 43,
                                  .held = 22,
                                  .unsure = 1,
                                  .free = 2,
                                  .target = 22,
                                  .budget = {1000, 16, 958, 3600000},
                                  .holes = 3,
                                  .quiet = 250,
                                  .moves = 5,
                                  .lost_leases = 7,
                                  .beat = 4,
                                  .hosts = hosts,
                                  .host_count = 3};
  status = (struct tg_cluster_status){.name = "ferry",
                                      .host = "gw-1",
                                      .up = true,
                                      .joined = true,
                                      .has_others = true,
                                      .queued = 12,
                                      .view = &view};
  return 0;
}

static void assert_text(json_t *json, const char *path, const char *expected)
{
  json_t *value = json;
  char copy[64];
  snprintf(copy, sizeof copy, "%s", path);
  for (char *rest = copy, *name; (name = strsep(&rest, ".")) != NULL;)
    value = json_is_array(value) ? json_array_get(value, (size_t)atoi(name)) : json_object_get(value, name);
  char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS) : strdup("nothing");
  if (strcmp(text, expected) != 0)
    fail_msg("%s: %s instead of %s", path, text, expected);
  free(text);
}

static void all_that_is_at_hand(void **state)
{
  (void)state;
  json_t *json = tg_cluster_json(&status, "rediss://user:hunter2@redis.test/1");
  assert_text(json, "name", "\"ferry\"");
  assert_text(json, "host", "\"gw-1\"");
  assert_text(json, "leader", "\"gw-2\"");
  assert_text(json, "engine", "{\"beat\":4,\"up\":true,\"url\":\"rediss://redis.test/1\"}");
  assert_text(json, "shards", "{\"free\":2,\"held\":22,\"total\":43,\"unsure\":1}");
  assert_text(
      json, "budget",
      "{\"heldBack\":null,\"maxConcurrency\":16,\"remaining\":958,\"resetAfter\":3600000,\"total\":1000}");
  assert_text(json, "holes", "3");
  assert_text(json, "quiet", "250");
  assert_text(json, "queued", "12");
  assert_text(json, "moves", "5");
  assert_text(json, "lostLeases", "7");
  assert_text(json, "draining", "false");
  assert_text(json, "othersTake", "true");
  assert_text(json, "resharding", "null");
  json_decref(json);
}

static void a_number_of_shards_that_is_being_changed(void **state)
{
  (void)state;
  view.to = 86;
  memcpy(view.classes, (const int[]){43, 9, 2, 0}, sizeof view.classes);
  json_t *json = tg_cluster_json(&status, "redis://h");
  assert_text(json, "resharding", "{\"closed\":0,\"settled\":2,\"switched\":9,\"to\":86,\"up\":43}");
  json_decref(json);
}

/* By name; and 43 shards are 22 for each of two that share them. */
static void each_host_with_what_it_aims_at(void **state)
{
  (void)state;
  json_t *json = tg_cluster_json(&status, "redis://h");
  assert_text(json, "hosts.0",
              "{\"age\":0,\"digest\":\"d1\",\"draining\":false,\"name\":\"gw-1\",\"shards\":22,"
              "\"target\":22}");
  assert_text(json, "hosts.1.name", "\"gw-2\"");
  assert_text(json, "hosts.1.target", "22");
  assert_text(json, "hosts.2",
              "{\"age\":900,\"digest\":\"d2\",\"draining\":true,\"name\":\"gw-3\",\"shards\":1,"
              "\"target\":0}");
  json_decref(json);
}

static void what_is_not_known_yet_is_null(void **state)
{
  (void)state;
  view = (struct tg_cluster_view){.away = true};
  status.up = status.joined = false;
  json_t *json = tg_cluster_json(&status, "redis://h");
  assert_text(json, "leader", "null");
  assert_text(json, "engine", "{\"beat\":null,\"up\":false,\"url\":\"redis://h\"}");
  assert_text(json, "shards", "{\"free\":null,\"held\":0,\"total\":null,\"unsure\":0}");
  assert_text(json, "hosts", "[]");
  assert_text(json, "quiet", "null");
  assert_text(
      json, "budget",
      "{\"heldBack\":null,\"maxConcurrency\":null,\"remaining\":null,\"resetAfter\":null,\"total\":null}");
  view.budget = (struct tg_cluster_budget_view){1000, 16, -1, 3600000};
  status.joined = true;
  json_decref(json);
  json = tg_cluster_json(&status, "redis://h");
  assert_text(json, "budget.remaining", "null");
  assert_text(json, "budget.total", "1000");
  json_decref(json);
}

static void identifies_that_are_held_back(void **state)
{
  (void)state;
  view.held_back = tg_boot_clock() + 60000;
  json_t *json = tg_cluster_json(&status, "redis://h");
  json_int_t left = json_integer_value(json_object_get(json_object_get(json, "budget"), "heldBack"));
  assert_true(left > 0 && left <= 60000);
  json_decref(json);
}

/* Numbers as the script writes them, which are doubles; and lists that are empty are objects there. */
static const char survey[] =
    "{\"now\":1000000.0,"
    "\"away\":[{\"name\":\"gw-0\",\"age\":90000.0}],"
    "\"holes\":[{\"host\":\"gw-0\",\"from_epoch\":5,\"from\":10,\"to_epoch\":5,\"to\":30,\"at\":940000.0},"
    "{\"host\":\"gw-0\",\"from_epoch\":5,\"from\":7,\"to_epoch\":5,\"to\":8,\"at\":950000.0},"
    "{\"host\":\"gw-1\",\"from_epoch\":5,\"from\":7,\"to_epoch\":6,\"to\":8,\"at\":999000.0},"
    "{\"host\":\"gw-9\",\"from_epoch\":5,\"from\":7,\"to_epoch\":5,\"to\":99999999999999,\"at\":999999.0}]}";

static void what_only_redis_knows(void **state)
{
  (void)state;
  json_t *json = tg_cluster_json(&status, "redis://h"), *answer = json_loads(survey, 0, NULL);
  assert_non_null(answer);
  tg_cluster_add_survey(json, answer);
  assert_text(json, "hosts.0.alive", "true");
  assert_text(json, "hosts.0.holes", "{\"count\":1,\"events\":null,\"oldest\":1000}");
  assert_text(json, "hosts.1.holes", "{\"count\":0,\"events\":0,\"oldest\":null}");
  assert_text(
      json, "hosts.3",
      "{\"age\":90000,\"alive\":false,\"digest\":null,\"draining\":false,"
      "\"holes\":{\"count\":2,\"events\":21,\"oldest\":60000},\"name\":\"gw-0\",\"shards\":0,\"target\":0}");
  assert_text(json, "hosts.4.name", "\"gw-9\"");
  assert_text(json, "hosts.4.age", "null");
  assert_text(json, "hosts.4.holes.events", "null");
  json_decref(answer);
  json_decref(json);
}

static void a_survey_of_nothing_is_taken(void **state)
{
  (void)state;
  static const char *const answers[] = {"{}", "{\"away\":{},\"holes\":{}}", "{\"away\":[{}],\"holes\":[5]}"};
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    json_t *json = tg_cluster_json(&status, "redis://h"), *answer = json_loads(answers[i], 0, NULL);
    tg_cluster_add_survey(json, answer);
    assert_text(json, "hosts.0.holes", "{\"count\":0,\"events\":0,\"oldest\":null}");
    json_decref(answer);
    json_decref(json);
  }
}

static bool has(const struct tg_buf *text, const char *line)
{
  return memmem(text->data, text->length, line, strlen(line)) != NULL;
}

static void metrics(void **state)
{
  (void)state;
  static const char *const lines[] = {
      "tidegate_cluster_up 1\n",
      "tidegate_cluster_hosts 3\n",
      "tidegate_cluster_shards 22\n",
      "tidegate_cluster_free_shards 2\n",
      "tidegate_cluster_holes 3\n",
      "tidegate_cluster_draining 0\n",
      "tidegate_cluster_moves_total 5\n",
      "tidegate_cluster_lost_leases_total 7\n",
      "tidegate_cluster_beat_seconds 0.004\n",
  };
  struct tg_buf text = {0};
  struct tg_exposition exposition = {.out = &text};
  tg_cluster_metrics(&exposition, &status);
  for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
    if (!has(&text, lines[i]))
      fail_msg("%s is not in\n%.*s", lines[i], (int)text.length, text.data);
  tg_buf_free(&text);
}

static void there_is_no_beat_before_the_first(void **state)
{
  (void)state;
  struct tg_buf text = {0};
  struct tg_exposition exposition = {.out = &text};
  status.joined = false;
  tg_cluster_metrics(&exposition, &status);
  assert_false(has(&text, "beat_seconds"));
  assert_true(has(&text, "tidegate_cluster_up 1\n"));
  tg_buf_free(&text);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(all_that_is_at_hand, begin),
      cmocka_unit_test_setup(a_number_of_shards_that_is_being_changed, begin),
      cmocka_unit_test_setup(each_host_with_what_it_aims_at, begin),
      cmocka_unit_test_setup(what_is_not_known_yet_is_null, begin),
      cmocka_unit_test_setup(identifies_that_are_held_back, begin),
      cmocka_unit_test_setup(what_only_redis_knows, begin),
      cmocka_unit_test_setup(a_survey_of_nothing_is_taken, begin),
      cmocka_unit_test_setup(metrics, begin),
      cmocka_unit_test_setup(there_is_no_beat_before_the_first, begin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
