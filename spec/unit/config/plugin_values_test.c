/* Plugins in the configuration: their names and variables, and what is wrong with them. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config.h"
#include "config/config_warnings.h"
#include "config/plugin_values.h"

#include <string.h>

static const char *names, *one, *other;

static const char *environment(const char *name)
{
  static const struct {
    const char *name, **value;
  } variables[] = {
      {"TIDEGATE_PLUGINS", &names}, {"TIDEGATE_PLUGIN_DROP_BOTS", &one}, {"TIDEGATE_PLUGIN_ALERTS", &other}};
  for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
    if (strcmp(variables[i].name, name) == 0)
      return *variables[i].value;
  }
  return NULL;
}

static bool load(const char *plugins, struct tg_config *config, struct tg_problems *problems)
{
  json_t *given = json_pack("{s:s, s:i}", "token", "t", "intents", 0);
  if (plugins)
    json_object_set_new(given, "plugins", json_loads(plugins, JSON_DECODE_ANY, NULL));
  bool good = tg_config_load(given, environment, config, problems);
  json_decref(given);
  return good;
}

static void expect(const char *plugins, const char *expected)
{
  struct tg_config config;
  struct tg_problems problems;
  assert_true(load(plugins, &config, &problems));
  json_t *wanted = json_loads(expected, 0, NULL);
  assert_non_null(wanted);
  if (!json_equal(wanted, config.plugins))
    fail_msg("%s: %s", expected, json_dumps(config.plugins, 0));
  json_decref(wanted);
  tg_config_free(&config);
}

/* `said`: separated by line breaks. */
static void expect_problems(const char *plugins, const char *said)
{
  struct tg_config config;
  struct tg_problems problems;
  assert_false(load(plugins, &config, &problems));
  const char *at = said;
  for (int i = 0; i < problems.count; i++) {
    size_t length = strlen(problems.items[i]);
    if (strncmp(at, problems.items[i], length) != 0)
      fail_msg("%s\n%s", said, problems.items[i]);
    at += length + (at[length] == '\n');
  }
  assert_string_equal(at, "");
  tg_problems_free(&problems);
}

static void of_the_environment(void **state)
{
  (void)state;
  names = "drop-bots, alerts", one = "{\"a\":{\"b\":null,\"c\":[{\"d\":null}]},\"e\":null}", other = NULL;
  expect(NULL, "{\"drop-bots\":{\"a\":{\"c\":[{}]}},\"alerts\":{}}");
  other = "";
  expect(NULL, "{\"drop-bots\":{\"a\":{\"c\":[{}]}},\"alerts\":{}}");
  names = "drop-bots Alerts drop-bots alerts", one = "{\"url\": secret-word}", other = "[]";
  expect_problems(
      NULL, "plugins[2] (environment variable TIDEGATE_PLUGINS): \"Alerts\" is no name of a plugin: "
            "lower-case letters, digits and -, a letter first\n"
            "plugins[3] (environment variable TIDEGATE_PLUGINS): drop-bots stands there twice\n"
            "plugins.drop-bots (environment variable TIDEGATE_PLUGIN_DROP_BOTS): expected a JSON object, "
            "{\"key\": value}; it is no JSON from line 1, column 14 on\n"
            "plugins.alerts (environment variable TIDEGATE_PLUGIN_ALERTS): expected a JSON object, "
            "{\"key\": value}, got a list");
}

static void of_a_script(void **state)
{
  (void)state;
  names = "alerts", one = NULL, other = "no JSON";
  expect("{\"drop-bots\":{\"a\":null,\"b\":1},\"sample\":[],\"voice\":null}",
         "{\"drop-bots\":{\"b\":1},\"sample\":{}}");
  expect("[]", "{}");
  expect_problems(
      "{\"drop_bots\":{},\"alerts\":\"secret-word\"}",
      "plugins: \"drop_bots\" is no name of a plugin: lower-case letters, digits and -, a letter first\n"
      "plugins.alerts: expected a table, the plugin's configuration, got a string");
}

static void expect_warning(const char *plugins, const char *variable, const char *said)
{
  struct tg_config config;
  struct tg_problems problems;
  assert_true(load(plugins, &config, &problems));
  char *const set[] = {(char *)variable, NULL};
  struct tg_problems warnings = tg_config_warnings(&config, set);
  if (warnings.count != (said != NULL) || (said && strcmp(warnings.items[0], said) != 0))
    fail_msg("%s: %s", variable, warnings.count ? warnings.items[0] : "nothing");
  tg_problems_free(&warnings);
  tg_config_free(&config);
}

static void warnings(void **state)
{
  (void)state;
  names = "drop-bots,alerts", one = other = NULL;
  expect_warning(NULL, "TIDEGATE_PLUGIN_DROP_BOTS={}", NULL);
  expect_warning(NULL, "TIDEGATE_PLUGIN_SAMPLE=", NULL);
  expect_warning(NULL, "TIDEGATE_PLUGIN_SAMPLE={}",
                 "environment variable TIDEGATE_PLUGIN_SAMPLE: TIDEGATE_PLUGINS names no plugin 'sample'");
  expect_warning(
      NULL, "TIDEGATE_PLUGIN_DROP_BOT={}",
      "environment variable TIDEGATE_PLUGIN_DROP_BOT: TIDEGATE_PLUGINS names no plugin 'drop-bot'; did "
      "you mean TIDEGATE_PLUGIN_DROP_BOTS?");
  expect_warning(
      NULL, "TIDEGATE_PLUGIN_Alerts={}",
      "environment variable TIDEGATE_PLUGIN_Alerts: TIDEGATE_PLUGINS names no plugin 'alerts'; did you "
      "mean TIDEGATE_PLUGIN_ALERTS?");
  expect_warning("{\"alerts\":{}}", "TIDEGATE_PLUGIN_ALERTS={}",
                 "environment variable TIDEGATE_PLUGIN_ALERTS: it means nothing here, because plugins in "
                 "gateway.configure stands in the place of TIDEGATE_PLUGINS");
  names = NULL;
  expect_warning(NULL, "TIDEGATE_PLUGIN_ALERTS={}",
                 "environment variable TIDEGATE_PLUGIN_ALERTS: TIDEGATE_PLUGINS names no plugin 'alerts'");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(of_the_environment),
      cmocka_unit_test(of_a_script),
      cmocka_unit_test(warnings),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
