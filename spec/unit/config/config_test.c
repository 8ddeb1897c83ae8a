/* Every key: its default, its variable, that the script wins over it, and what
 * is said of a value of a wrong type. */

#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VARIABLES_MAX = 4 };

static struct {
  const char *name, *value;
} the_env[VARIABLES_MAX];

static const char *look_up(const char *name)
{
  for (int i = 0; i < VARIABLES_MAX; i++) {
    if (the_env[i].name && strcmp(the_env[i].name, name) == 0)
      return the_env[i].value;
  }
  return NULL;
}

static void clear_env(void)
{
  memset(the_env, 0, sizeof the_env);
}

static void set_env(const char *name, const char *value)
{
  for (int i = 0; i < VARIABLES_MAX; i++) {
    if (!the_env[i].name) {
      the_env[i].name = name;
      the_env[i].value = value;
      return;
    }
  }
  fail_msg("too many variables");
}

/* {a = {b = value}} for "a.b"; `value` is JSON text. */
static json_t *nested(const char *path, const char *value)
{
  const char *dot = strrchr(path, '.');
  json_t *object = json_pack("{s:o}", dot ? dot + 1 : path, json_loads(value, JSON_DECODE_ANY, NULL));
  while (dot) {
    char name[64];
    const char *end = dot, *start = end;
    while (start > path && start[-1] != '.')
      start--;
    snprintf(name, sizeof name, "%.*s", (int)(end - start), start);
    object = json_pack("{s:o}", name, object);
    dot = start > path ? start - 1 : NULL;
  }
  return object;
}

static json_t *member(const json_t *object, const char *path)
{
  char copy[96];
  snprintf(copy, sizeof copy, "%s", path);
  json_t *value = (json_t *)object;
  for (char *rest = copy, *name; (name = strsep(&rest, ".")) != NULL;)
    value = json_object_get(value, name);
  return value;
}

/* What is required, so that the rest can be looked at alone. */
static void add_required(json_t *given)
{
  if (!json_object_get(given, "token"))
    json_object_set_new(given, "token", json_string("FAKE.TOKEN"));
  if (!json_object_get(given, "intents"))
    json_object_set_new(given, "intents", json_integer(1));
  static const char *const of_cluster[][2] = {{"cluster.name", "TIDEGATE_CLUSTER_NAME"},
                                              {"cluster.host", "TIDEGATE_CLUSTER_HOST"}};
  for (int i = 0; i < 2; i++) {
    json_t *value = member(given, of_cluster[i][0]);
    if ((!value || json_is_null(value)) && !*(look_up(of_cluster[i][1]) ?: ""))
      continue;
    json_t *url = nested("cluster.url", "\"redis://h\"");
    json_object_update_recursive(given, url);
    json_decref(url);
  }
}

/* Loads `given` (stolen), expects success, and compares one key of the result. */
static void expect_shown(json_t *given, const char *path, const char *expected)
{
  struct tg_config config;
  struct tg_problems problems;
  if (!tg_config_load(given, look_up, &config, &problems))
    fail_msg("%s: %s", path, problems.items[0]);
  json_t *shown = tg_config_to_json(&config);
  json_t *got = member(shown, path);
  json_t *want = expected ? json_loads(expected, JSON_DECODE_ANY, NULL) : NULL;
  if (want ? !got || !json_equal(got, want) : got != NULL) {
    char *text = got ? json_dumps(got, JSON_ENCODE_ANY) : strdup("nothing");
    fail_msg("%s: %s instead of %s", path, text, expected ? expected : "nothing");
  }
  json_decref(want);
  json_decref(shown);
  json_decref(given);
  tg_config_free(&config);
  tg_problems_free(&problems);
}

/* Loads `given` (stolen), expects one problem that starts with `start` and has `word` in it. */
static void expect_problem(json_t *given, const char *start, const char *word)
{
  struct tg_config config;
  struct tg_problems problems;
  if (tg_config_load(given, look_up, &config, &problems))
    fail_msg("%s was accepted", start);
  if (problems.count != 1 || strncmp(problems.items[0], start, strlen(start)) != 0 ||
      !strstr(problems.items[0], word))
    fail_msg("%d, instead of %s ... %s: %s", problems.count, start, word, problems.items[0]);
  assert_null(config.token);
  assert_null(config.state_dir);
  json_decref(given);
  tg_problems_free(&problems);
}

static const struct row {
  const char *path;
  const char *fallback; /* the default, as JSON; NULL: absent */
  const char *value;    /* a good one from the script */
  const char *env;      /* NULL: none */
  const char *env_text, *env_value;
  const char *bad, *word; /* a bad one, and a word of what is said of it */
  const char *bad_env;
} rows[] = {
    {"optional_intents", NULL, "2", NULL, NULL, NULL, "true", "a list of names", NULL},
    {"rest.url", "\"https://discord.com/api/v10\"", "\"http://127.0.0.1:9/api\"", "REST_URL",
     "https://proxy/api", "\"https://proxy/api\"", "5", "expected a string, got 5", "ftp://x"},
    {"rest.authorization", "\"***\"", "\"Bearer x\"", "REST_AUTHORIZATION", "Bot y", "\"***\"", "true",
     "a string", "two\nlines"},
    {"gateway_bot.url", NULL, "\"ws://127.0.0.1:5\"", "GATEWAY_URL", "wss://gateway.discord.gg",
     "\"wss://gateway.discord.gg\"", "\"https://x\"", "wss:// or ws://", "gateway.discord.gg"},
    {"gateway_bot.shards", NULL, "4", NULL, NULL, NULL, "0", "from 1 to", NULL},
    {"gateway_bot.session_start_limit.total", NULL, "1000", NULL, NULL, NULL, "\"many\"", "a whole number",
     NULL},
    {"gateway_bot.session_start_limit.remaining", NULL, "996", NULL, NULL, NULL, "-1", "from 0 to", NULL},
    {"gateway_bot.session_start_limit.reset_after", NULL, "14400000", NULL, NULL, NULL, "1.5", "milliseconds",
     NULL},
    {"gateway_bot.session_start_limit.max_concurrency", NULL, "16", NULL, NULL, NULL, "0", "from 1 to", NULL},
    {"total_shards", NULL, "16", "TOTAL_SHARDS", " 32\n", "32", "\"16\"", "a whole number from 1 to", "many"},
    {"first_shard_id", "0", "3", "FIRST_SHARD_ID", "4", "4", "-1", "from 0 to", "4x"},
    {"last_shard_id", NULL, "3", "LAST_SHARD_ID", "0", "0", "{}", "got an empty table", "-3"},
    {"shards_per_worker", "25", "10", "SHARDS_PER_WORKER", "100", "100", "0", "from 1 to", "0"},
    {"total_workers", NULL, "2", "TOTAL_WORKERS", "8", "8", "5000", "from 1 to", "1e9"},
    {"spread_shards_in_round_robin", "false", "true", NULL, NULL, NULL, "1", "true or false", NULL},
    {"spawn_shard_delay", "5300", "6000", "SPAWN_SHARD_DELAY", "0", "0", "\"5s\"", "milliseconds", "5s"},
    {"transport_compression", "\"zlib-stream\"", "false", "TRANSPORT_COMPRESSION", "zstd-stream",
     "\"zstd-stream\"", "true", "\"zlib-stream\", \"zstd-stream\" or false", "gzip"},
    {"presence", NULL, "{\"status\":\"idle\"}", NULL, NULL, NULL, "\"idle\"", "a table", NULL},
    {"properties.os", "\"linux\"", "\"plan9\"", NULL, NULL, NULL, "\"\"", "is empty", NULL},
    {"properties.browser", "\"tidegate\"", "\"b\"", NULL, NULL, NULL, "7", "a string", NULL},
    {"properties.device", "\"tidegate\"", "\"d\"", NULL, NULL, NULL, "[]", "a string", NULL},
    {"large_threshold", "50", "250", NULL, NULL, NULL, "251", "from 50 to 250, got 251", NULL},
    {"capabilities", NULL, "32768", NULL, NULL, NULL, "-1", "from 0 to", NULL},
    {"event_handler.urls", "[]", "[\"http://a\",\"https://b/x\",\"http+unix:///run/bot.sock:/events\"]",
     "EVENT_HANDLER_URL", " http://a ,\thttp://b\nhttp://c,", "[\"http://a\",\"http://b\",\"http://c\"]", "5",
     "a list of strings", "localhost:80"},
    {"event_handler.authorization", NULL, "\"secret\"", "EVENT_HANDLER_SECRET_KEY", "secret", "\"***\"", "5",
     "a string", "a\rb"},
    {"event_handler.timeout", "10000", "2500", NULL, NULL, NULL, "0", "milliseconds", NULL},
    {"event_handler.batch", "false", "true", NULL, NULL, NULL, "64",
     "true, false or a table like { events = 64, bytes = 262144, linger = 0 }, got 64", NULL},
    {"event_handler.order", "\"shard\"", "\"guild\"", NULL, NULL, NULL, "\"channel\"",
     "one of \"shard\", \"guild\"", NULL},
    {"event_handler.in_flight", "32", "128", NULL, NULL, NULL, "129", "from 1 to 128, got 129", NULL},
    {"event_handler.markers", "false", "true", NULL, NULL, NULL, "\"yes\"", "true or false, got \"yes\"",
     NULL},
    {"event_handler.format", "\"seed\"", "\"discordeno\"", "EVENT_HANDLER_FORMAT", "cloudevents",
     "\"cloudevents\"", "\"json\"", "one of \"seed\", \"discordeno\", \"chat-sdk\", \"cloudevents\"", "xml"},
    {"event_handler.guild_loaded", "false", "true", NULL, NULL, NULL, "1", "true or false", NULL},
    {"event_handler.headers", NULL, "{\"X-Key\":\"abcdef\"}", "EVENT_HANDLER_HEADERS", "X-Key: uvwxyz\n",
     "{\"X-Key\":\"***\"}", "\"X-Key: a\"", "a table of names and values", "X-Key"},
    {"event_handler.signing_secrets", "[]", "[\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]",
     "EVENT_HANDLER_SIGNING_SECRETS", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "[\"***\"]",
     "[\"whsec_dG9vIHNob3J0\"]", "24 to 64 bytes in base64", "nobase64!"},
    {"event_handler.events", "[\"all\"]", "[\"MESSAGE_CREATE\",\"NEW_SINCE\"]", NULL, NULL, NULL,
     "[\"message_create\"]", "in capitals", NULL},
    {"queue.memory_bytes", "67108864", "1048576", NULL, NULL, NULL, "-1", "of bytes", NULL},
    {"queue.disk_bytes", "1073741824", "10485760", NULL, NULL, NULL, "\"1G\"", "of bytes", NULL},
    {"queue.max_age", "86400000", "60000", NULL, NULL, NULL, "5", "milliseconds", NULL},
    {"queue.durability", "\"log\"", "\"memory\"", NULL, NULL, NULL, "\"disk\"", "\"log\", \"memory\"", NULL},
    {"queue.sync", "\"none\"", "\"interval\"", NULL, NULL, NULL, "true", "\"none\", \"interval\", \"batch\"",
     NULL},
    {"queue.drop_first", "[\"TYPING_START\",\"PRESENCE_UPDATE\"]", "[\"TYPING_START\"]", NULL, NULL, NULL,
     "[\"typing_start\"]", "in capitals", NULL},
    {"sinks", "{}", "{}", NULL, NULL, NULL, "[\"http://a\"]", "a table of sinks by their names", NULL},
    {"interaction.grace", "1500", "2000", NULL, NULL, NULL, "3000", "to 2900", NULL},
    {"interaction.fallback", "true", "false", NULL, NULL, NULL, "0", "true or false", NULL},
    {"interaction.express", "false", "true", NULL, NULL, NULL, "0", "true or false", NULL},
    {"message_updates", "\"content\"", "\"all\"", NULL, NULL, NULL, "\"none\"", "\"content\", \"all\"", NULL},
    {"storm.rules", "[]",
     "[{\"events\":[\"TYPING_START\"],\"per\":\"user\",\"rate\":5,\"burst\":20,\"keep\":\"none\"}]", NULL,
     NULL, NULL, "\"TYPING_START\"", "a list of rules, each a table", NULL},
    {"storm.self_updates", "true", "false", NULL, NULL, NULL, "0", "true or false", NULL},
    {"resharding.enabled", "true", "false", NULL, NULL, NULL, "\"no\"", "true or false", NULL},
    {"resharding.shards_full_percentage", "80", "90", NULL, NULL, NULL, "101", "from 1 to 100", NULL},
    {"resharding.check_interval", "28800000", "60000", NULL, NULL, NULL, "1", "milliseconds", NULL},
    {"resharding.identify_reserve", "10", "20", NULL, NULL, NULL, "100", "from 0 to 90", NULL},
    {"resharding.voice", "\"move\"", "\"wait\"", NULL, NULL, NULL, "\"keep\"", "one of \"move\", \"wait\"",
     NULL},
    {"deaf_after", "600000", "0", NULL, NULL, NULL, "-1", "milliseconds", NULL},
    {"control.listen", "\"127.0.0.1:8377\"", "\"[::1]:80\"", "TIDEGATE_CONTROL", "localhost:0",
     "\"localhost:0\"", "8377", "a string", "127.0.0.1"},
    {"control.authorization", NULL, "\"secret\"", "TIDEGATE_CONTROL_SECRET", "secret", "\"***\"", "\"\"",
     "is empty", "a\nb"},
    {"cluster.url", NULL, "\"redis://10.0.0.1\"", "TIDEGATE_CLUSTER", "redis+unix:///run/redis.sock",
     "\"redis+unix:///run/redis.sock\"", "\"http://10.0.0.1\"", "redis://", "10.0.0.1:6379"},
    {"cluster.name", NULL, "\"ferry\"", "TIDEGATE_CLUSTER_NAME", "ferry.2", "\"ferry.2\"", "\"two words\"",
     "up to 64 letters", "{ferry}"},
    {"cluster.host", NULL, "\"gw-1\"", "TIDEGATE_CLUSTER_HOST", "gw_2", "\"gw_2\"", "5", "a string", "gw:1"},
    {"state_dir", "\"/var/lib/tidegate\"", "\"/srv/tidegate\"", "TIDEGATE_STATE_DIR", "/tmp/t", "\"/tmp/t\"",
     "5", "a string", NULL},
    {"script.inline_budget", "5", "10", NULL, NULL, NULL, "0", "milliseconds", NULL},
    {"script.slice_budget", "50", "100", NULL, NULL, NULL, "[]", "milliseconds", NULL},
    {"script.load_budget", "500", "1000", NULL, NULL, NULL, "0", "milliseconds", NULL},
    {"script.kill_after", "10000", "5000", NULL, NULL, NULL, "1", "milliseconds", NULL},
    {"script.memory", "67108864", "134217728", NULL, NULL, NULL, "1024", "of bytes", NULL},
    {"script.secrets", "false", "true", NULL, NULL, NULL, "1", "true or false", NULL},
    {"rocks_trees", "[\"/var/lib/tidegate/rocks\",\"/usr/local\",\"/usr\"]",
     "[\"/usr/local\",\"/opt/rocks\"]", "TIDEGATE_ROCKS_TREES", "/a,/b /c", "[\"/a\",\"/b\",\"/c\"]", "[1]",
     "a string", "/my rocks"},
    {"plugins", NULL, "{\"drop-bots\":{\"word\":1}}", "TIDEGATE_PLUGINS", "drop-bots",
     "{\"drop-bots\":\"***\"}", "[5]", "a table of plugins", "Drop"},
    {"log.level", "\"info\"", "\"debug\"", "LOG_LEVEL", "WARN", "\"warn\"", "\"loud\"", "\"debug\", \"info\"",
     "loud"},
    {"log.format", "\"text\"", "\"json\"", "LOG_FORMAT", "JSON", "\"json\"", "\"xml\"", "\"text\", \"json\"",
     "xml"},
    {"tls.ca_file", NULL, "\"/etc/ca.pem\"", "TIDEGATE_CA_FILE", "/ca.pem", "\"/ca.pem\"", "5", "a string",
     NULL},
};

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

static bool is_secret(const struct row *row)
{
  return row->env_value && strstr(row->env_value, "***") != NULL;
}

static json_t *required(void)
{
  json_t *given = json_object();
  add_required(given);
  return given;
}

static json_t *with(const char *path, const char *value)
{
  json_t *given = nested(path, value);
  add_required(given);
  return given;
}

static void every_key_is_in_the_table(void **state)
{
  (void)state;
  assert_string_equal(tg_config_keys[0], "token");
  assert_string_equal(tg_config_keys[1], "intents");
  for (int i = 0; i < ROW_COUNT; i++)
    assert_string_equal(tg_config_keys[i + 2], rows[i].path);
  assert_null(tg_config_keys[ROW_COUNT + 2]);
}

static void defaults(void **state)
{
  (void)state;
  for (int i = 0; i < ROW_COUNT; i++) {
    clear_env();
    expect_shown(required(), rows[i].path, rows[i].fallback);
    if (rows[i].env) /* empty is as if unset */
      set_env(rows[i].env, "");
    expect_shown(required(), rows[i].path, rows[i].fallback);
    expect_shown(with(rows[i].path, "null"), rows[i].path, rows[i].fallback);
  }
}

static void scripts_set(void **state)
{
  (void)state;
  clear_env();
  for (int i = 0; i < ROW_COUNT; i++)
    expect_shown(with(rows[i].path, rows[i].value), rows[i].path,
                 is_secret(&rows[i]) ? rows[i].env_value : rows[i].value);
}

static void variables_fill_in(void **state)
{
  (void)state;
  for (int i = 0; i < ROW_COUNT; i++) {
    if (!rows[i].env)
      continue;
    clear_env();
    set_env(rows[i].env, rows[i].env_text);
    expect_shown(required(), rows[i].path, rows[i].env_value);
    expect_shown(with(rows[i].path, rows[i].value), rows[i].path,
                 is_secret(&rows[i]) ? rows[i].env_value : rows[i].value);
  }
}

static void wrong_values_are_named(void **state)
{
  (void)state;
  char start[160];
  for (int i = 0; i < ROW_COUNT; i++) {
    clear_env();
    expect_problem(with(rows[i].path, rows[i].bad), rows[i].path, rows[i].word);
    if (!rows[i].bad_env)
      continue;
    set_env(rows[i].env, rows[i].bad_env);
    snprintf(start, sizeof start, " (environment variable %s): ", rows[i].env);
    expect_problem(required(), rows[i].path, start);
    /* A variable that the script overrules is not looked at. */
    expect_shown(with(rows[i].path, rows[i].value), rows[i].path,
                 is_secret(&rows[i]) ? rows[i].env_value : rows[i].value);
  }
}

static void misspelt_keys_are_refused(void **state)
{
  (void)state;
  clear_env();
  for (int i = 0; i < ROW_COUNT; i++) {
    char misspelt[96], start[128];
    snprintf(misspelt, sizeof misspelt, "%sx", rows[i].path);
    snprintf(start, sizeof start, "%s: unknown key; did you mean %s?", misspelt, rows[i].path);
    expect_problem(with(misspelt, "1"), start, "");
  }
  expect_problem(with("tokne", "\"secret\""), "tokne: unknown key; did you mean token?", "");
  expect_problem(with("event_handlers.urls", "[]"),
                 "event_handlers: unknown key; did you mean event_handler?", "");
  expect_problem(with("listen", "1"), "listen: unknown key; did you mean control.listen?", "");
  expect_problem(with("script.intents", "1"), "script.intents: unknown key; intents belongs at the top level",
                 "");
  expect_problem(with("banana", "{}"), "banana: unknown key", "");
  json_t *dotted = required();
  json_object_set_new(dotted, "log.level", json_string("info"));
  expect_problem(dotted, "log.level: unknown key; write a table inside a table: log = { level = ... }", "");
}

static void tables_must_be_tables(void **state)
{
  (void)state;
  clear_env();
  expect_problem(with("event_handler", "\"http://a\""), "event_handler: expected a table, got a string", "");
  expect_problem(with("gateway_bot.session_start_limit", "1000"),
                 "gateway_bot.session_start_limit: expected a table, got a number", "");
  expect_shown(with("event_handler", "[]"), "event_handler.urls", "[]"); /* an empty Lua table */
  expect_shown(with("rocks_trees", "{}"), "rocks_trees", "[]");
}

static void numbers_of_scripts_may_be_doubles(void **state)
{
  (void)state;
  clear_env();
  expect_shown(with("total_shards", "16.0"), "total_shards", "16");
  expect_shown(with("queue.disk_bytes", "4294967296.0"), "queue.disk_bytes", "4294967296");
  expect_problem(with("total_shards", "16.5"), "total_shards: ", "got 16.5");
  expect_problem(with("total_shards", "1e300"), "total_shards: ", "from 1 to");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_key_is_in_the_table),
      cmocka_unit_test(defaults),
      cmocka_unit_test(scripts_set),
      cmocka_unit_test(variables_fill_in),
      cmocka_unit_test(wrong_values_are_named),
      cmocka_unit_test(misspelt_keys_are_refused),
      cmocka_unit_test(tables_must_be_tables),
      cmocka_unit_test(numbers_of_scripts_may_be_doubles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
