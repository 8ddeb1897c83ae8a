/* batch, of event_handler and of sinks: false, true, or limits. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *nothing(const char *name)
{
  (void)name;
  return NULL;
}

static bool load(const char *handler, struct tg_config *config, struct tg_problems *problems)
{
  char text[512];
  snprintf(text, sizeof text, "{\"token\":\"MTIz.x.y\",\"intents\":1,\"event_handler\":{%s}}", handler);
  json_t *given = json_loads(text, 0, NULL);
  assert_non_null(given);
  *problems = (struct tg_problems){0};
  bool ok = tg_config_load(given, nothing, config, problems);
  json_decref(given);
  return ok;
}

/* ... and shows it as `shown`. */
static void assert_taken(const char *batch, int events, uint64_t bytes, tg_ms linger, const char *shown)
{
  char handler[256];
  struct tg_config config;
  struct tg_problems problems;
  snprintf(handler, sizeof handler, "\"batch\":%s", batch);
  if (!load(handler, &config, &problems))
    fail_msg("%s: %s", batch, problems.items[0]);
  assert_int_equal(config.event_handler.batch.events, events);
  assert_int_equal(config.event_handler.batch.bytes, bytes);
  assert_int_equal(config.event_handler.batch.linger, linger);
  json_t *all = tg_config_to_json(&config);
  char *text = json_dumps(json_object_get(json_object_get(all, "event_handler"), "batch"),
                          JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
  assert_string_equal(text, shown);
  free(text);
  json_decref(all);
  tg_config_free(&config);
}

static void what_may_be_said(void **state)
{
  (void)state;
  assert_taken("null", 0, 0, 0, "false");
  assert_taken("false", 0, 0, 0, "false");
  assert_taken("true", 64, 262144, 0, "true");
  assert_taken("{}", 64, 262144, 0, "true");
  assert_taken("{\"events\":64}", 64, 262144, 0, "true");
  assert_taken("{\"linger\":50}", 64, 262144, 50, "{\"bytes\":262144,\"events\":64,\"linger\":50}");
  assert_taken("{\"events\":1,\"bytes\":1024,\"linger\":60000}", 1, 1024, 60000,
               "{\"bytes\":1024,\"events\":1,\"linger\":60000}");
  assert_taken("{\"events\":10000,\"bytes\":67108864}", 10000, 67108864, 0,
               "{\"bytes\":67108864,\"events\":10000,\"linger\":0}");
}

static void what_may_not(void **state)
{
  (void)state;
  static const char *const rows[][2] = {
      {"\"batch\":64",
       "event_handler.batch: expected true, false or a table like { events = 64, bytes = 262144, "
       "linger = 0 }, got 64"},
      {"\"batch\":[64]", "event_handler.batch: expected true, false or a table"},
      {"\"batch\":{\"event\":5}",
       "event_handler.batch.event: unknown key; did you mean event_handler.batch.events?"},
      {"\"batch\":{\"events\":0}",
       "event_handler.batch.events: expected a whole number from 1 to 10000, got 0"},
      {"\"batch\":{\"events\":10001}", "event_handler.batch.events: expected a whole number from 1 to 10000"},
      {"\"batch\":{\"bytes\":1023}",
       "event_handler.batch.bytes: expected a whole number of bytes from 1024 to"},
      {"\"batch\":{\"bytes\":\"1MiB\"}", "event_handler.batch.bytes: expected a whole number of bytes from"},
      {"\"batch\":{\"linger\":-1}",
       "event_handler.batch.linger: expected a whole number of milliseconds from 0 to"},
      {"\"batch\":{\"linger\":60001}", "event_handler.batch.linger: expected a whole number of milliseconds"},
      {"\"batch\":{},\"format\":\"chat-sdk\"", "event_handler.batch: must be false with"},
      {"\"batch\":{\"linger\":5000}},\"queue\":{\"max_age\":5000",
       "event_handler.batch.linger: 5000 ms are not less than queue.max_age, 5000 ms"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_config config;
    struct tg_problems problems;
    assert_false(load(rows[i][0], &config, &problems));
    if (problems.count != 1 || strncmp(problems.items[0], rows[i][1], strlen(rows[i][1])) != 0)
      fail_msg("%s: %d problems: %s", rows[i][0], problems.count, problems.items[0]);
    tg_problems_free(&problems);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(what_may_be_said),
      cmocka_unit_test(what_may_not),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
