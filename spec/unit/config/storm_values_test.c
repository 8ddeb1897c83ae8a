/* storm: rules out of JSON, all that is wrong with them, and what they are called. */

#include "config/storm_values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct tg_storm_config storm;

/* All problems, one a line; "": none. */
static char *read_text(const char *text)
{
  static char found[4096];
  struct tg_problems problems;
  json_t *given = json_loads(text, 0, NULL);
  assert_non_null(given);
  bool fine = tg_storm_config_read(given, &storm, &problems);
  json_decref(given);
  found[0] = '\0';
  for (int i = 0; i < problems.count; i++) {
    strcat(found, problems.items[i]);
    strcat(found, "\n");
  }
  assert_int_equal(fine, problems.count == 0);
  tg_problems_free(&problems);
  return found;
}

static void rules_have_defaults(void **state)
{
  (void)state;
  assert_string_equal(
      read_text("{\"rules\":[{\"events\":[\"TYPING_START\",\"PRESENCE_UPDATE\"],\"rate\":2.5},"
                "{\"events\":\"all\",\"rate\":0.1,\"per\":\"type\",\"burst\":7}]}"),
      "");
  assert_int_equal(storm.rules.count, 2);
  assert_true(storm.self_updates);
  const struct tg_storm_rule *first = &storm.rules.list[0], *second = &storm.rules.list[1];
  assert_int_equal(first->events.count, 2);
  assert_int_equal(first->per, TG_STORM_PER_GUILD);
  assert_int_equal(first->keep, TG_STORM_KEEP_FIRST);
  assert_int_equal(first->burst, 3);
  assert_int_equal(second->burst, 7);
  assert_int_equal(second->per, TG_STORM_PER_TYPE);
  json_t *written = tg_storm_config_write(&storm);
  char *text = json_dumps(written, JSON_COMPACT | JSON_SORT_KEYS);
  assert_string_equal(
      text, "{\"rules\":[{\"burst\":3,\"events\":[\"TYPING_START\",\"PRESENCE_UPDATE\"],\"keep\":\"first\","
            "\"per\":\"guild\",\"rate\":2.5},{\"burst\":7,\"events\":[\"all\"],\"keep\":\"first\","
            "\"per\":\"type\",\"rate\":0.10000000000000001}],\"self_updates\":true}");
  free(text);
  json_decref(written);
  tg_storm_config_free(&storm);
}

static void no_rules_are_fine(void **state)
{
  (void)state;
  assert_string_equal(read_text("{}"), "");
  assert_string_equal(read_text("{\"rules\":{},\"self_updates\":false}"), ""); /* an empty table of Lua */
  assert_int_equal(storm.rules.count, 0);
  assert_false(storm.self_updates);
  tg_storm_config_free(&storm);
}

static void each_mistake_has_its_path(void **state)
{
  (void)state;
  char *found =
      read_text("{\"rules\":[{\"rate\":0,\"events\":[\"typing_start\"]},{\"events\":[]},5,"
                "{\"events\":[\"GUILD_CREATE\"],\"rate\":1,\"par\":\"guild\"},"
                "{\"events\":[\"all\",\"TYPING_START\"],\"rate\":1,\"per\":\"channel\"}],\"self\":1}");
  static const char *const expected[] = {
      "storm.rules[1].rate: expected a number of events a second, above 0 and up to 1000000, got 0\n",
      "storm.rules[1].events[1]: expected the name of a dispatch in capitals",
      "storm.rules[2].events: names no event\n",
      "storm.rules[2].rate: is required",
      "storm.rules[3]: expected a table like",
      "storm.rules[4].events[1]: no rule may drop READY, RESUMED, GUILD_CREATE or GUILD_DELETE",
      "storm.rules[4].par: ",
      "storm.rules[5].events: \"all\" stands beside others; write it alone\n",
      "storm.rules[5].per: expected one of \"guild\", \"user\", \"shard\", \"type\", got \"channel\"\n",
      "storm.self: ",
  };
  for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
    if (!strstr(found, expected[i]))
      fail_msg("\"%s\" is not in:\n%s", expected[i], found);
}

static void there_are_not_too_many(void **state)
{
  (void)state;
  char text[4096] = "{\"rules\":[";
  for (int i = 0; i <= TG_STORM_RULES_MAX; i++)
    strcat(text, i ? ",{\"events\":\"all\",\"rate\":1}" : "{\"events\":\"all\",\"rate\":1}");
  strcat(text, "]}");
  assert_string_equal(read_text(text), "storm.rules: there are 33 rules; 32 are allowed\n");
}

static void titles_tell_rules_apart(void **state)
{
  (void)state;
  char title[TG_STORM_TITLE_SIZE];
  assert_string_equal(
      read_text("{\"rules\":[{\"events\":\"all\",\"rate\":1},{\"events\":\"all\",\"rate\":9},"
                "{\"events\":[\"GUILD_SCHEDULED_EVENT_USER_ADD\",\"GUILD_SCHEDULED_EVENT_USER_REMOVE\","
                "\"GUILD_SCHEDULED_EVENT_UPDATE\"],\"rate\":1,\"per\":\"shard\"}]}"),
      "");
  tg_storm_title(&storm.rules, 0, title);
  assert_string_equal(title, "all per guild");
  tg_storm_title(&storm.rules, 1, title);
  assert_string_equal(title, "all per guild (2)");
  tg_storm_title(&storm.rules, 2, title);
  assert_string_equal(title, "GUILD_SCHEDULED_EVENT_USER_ADD,GUILD_SCHEDULED_EVENT_USER_REMOVE,"
                             "GUILD_SCHEDU... per shard");
  assert_true(strlen(title) < TG_STORM_TITLE_SIZE);
  tg_storm_config_free(&storm);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rules_have_defaults),       cmocka_unit_test(no_rules_are_fine),
      cmocka_unit_test(each_mistake_has_its_path), cmocka_unit_test(there_are_not_too_many),
      cmocka_unit_test(titles_tell_rules_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
