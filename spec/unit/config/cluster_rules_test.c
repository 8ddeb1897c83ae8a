/* The keys of `cluster`: what cannot stand beside them, what follows where they say nothing, and that the
 * password in the URL is seen by nobody. */

#include "config/config.h"
#include "config/config_options.h"
#include "config/config_warnings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const *the_env; /* name, value, ..., NULL */

static const char *look_up(const char *name)
{
  for (const char *const *at = the_env; at && *at; at += 2) {
    if (strcmp(at[0], name) == 0)
      return at[1];
  }
  return NULL;
}

#define ENV(...)                                                                                             \
  (const char *const[])                                                                                      \
  {                                                                                                          \
    __VA_ARGS__, NULL                                                                                        \
  }

/* `keys` stand beside token and intents. */
static bool load(const char *keys, const char *const *env, struct tg_config *config,
                 struct tg_problems *problems)
{
  char text[512];
  snprintf(text, sizeof text, "{\"token\":\"t\",\"intents\":1%s%s}", *keys ? "," : "", keys);
  json_t *given = json_loads(text, 0, NULL);
  assert_non_null(given);
  the_env = env;
  bool good = tg_config_load(given, look_up, config, problems);
  json_decref(given);
  return good;
}

static struct tg_config expect(const char *keys, const char *const *env)
{
  struct tg_config config;
  struct tg_problems problems;
  if (!load(keys, env, &config, &problems))
    fail_msg("%s: %s", keys, problems.items[0]);
  return config;
}

#define CLUSTER "\"cluster\":{\"url\":\"redis://h\",\"host\":\"gw-1\"}"

static void three_keys_are_all(void **state)
{
  (void)state;
  struct tg_config config =
      expect("\"cluster\":{\"url\":\"redis://h\",\"name\":\"ferry\",\"host\":\"gw-1\"}", NULL);
  assert_string_equal(config.cluster.url, "redis://h");
  assert_string_equal(config.cluster.name, "ferry");
  assert_string_equal(config.cluster.host, "gw-1");
  tg_config_free(&config);
  config = expect("", ENV("TIDEGATE_CLUSTER", "redis://h", "TIDEGATE_CLUSTER_NAME", "ferry",
                          "TIDEGATE_CLUSTER_HOST", "gw-1"));
  assert_string_equal(config.cluster.url, "redis://h");
  assert_string_equal(config.cluster.name, "ferry");
  assert_string_equal(config.cluster.host, "gw-1");
  tg_config_free(&config);
}

static void the_url_alone_is_enough(void **state)
{
  (void)state;
  char machine[256] = "";
  assert_int_equal(gethostname(machine, sizeof machine - 1), 0);
  struct tg_config config = expect("\"cluster\":{\"url\":\"redis://h\"}", NULL);
  assert_string_equal(config.cluster.name, "bot");
  assert_string_equal(config.cluster.host, machine);
  tg_config_free(&config);
}

static void nothing_is_made_up_without_it(void **state)
{
  (void)state;
  struct tg_config config = expect("", NULL);
  assert_null(config.cluster.url);
  assert_null(config.cluster.name);
  assert_null(config.cluster.host);
  json_t *shown = tg_config_to_json(&config);
  assert_null(tg_schema_find(shown, "cluster.name"));
  json_decref(shown);
  tg_config_free(&config);
}

static void what_cannot_be(void **state)
{
  (void)state;
  static const struct {
    const char *keys, *problem; /* NULL: there is none */
  } rows[] = {
      {CLUSTER ",\"total_shards\":8", NULL},
      {CLUSTER ",\"total_shards\":8,\"first_shard_id\":0,\"last_shard_id\":7", NULL},
      {CLUSTER ",\"total_shards\":8,\"first_shard_id\":4", "first_shard_id: cannot stand beside cluster.url"},
      {CLUSTER ",\"total_shards\":8,\"first_shard_id\":4,\"last_shard_id\":7",
       "first_shard_id: cannot stand"},
      {CLUSTER ",\"total_shards\":8,\"last_shard_id\":3", "last_shard_id: cannot stand beside cluster.url"},
      {CLUSTER ",\"last_shard_id\":3", "last_shard_id: cannot stand beside cluster.url"},
      {CLUSTER ",\"identify\":{\"url\":\"http://b\"}", "identify: there is no broker of identifies any more"},
      {"\"identify\":{\"url\":\"http://b\"}", "identify: there is no broker of identifies any more"},
      {"\"identify\":1", "identify: there is no broker of identifies any more"},
      {CLUSTER ",\"queue\":{\"durability\":\"memory\"}",
       "queue.durability: must be \"log\" beside cluster.url"},
      {CLUSTER ",\"sinks\":{\"s\":{\"url\":\"redis://h\",\"queue\":{\"durability\":\"none\"}}}", NULL},
      {"\"cluster\":{\"name\":\"ferry\"}", "cluster.name: is set, but cluster.url is not"},
      {"\"cluster\":{\"host\":\"gw-1\"}", "cluster.host: is set, but cluster.url is not"},
      {"\"cluster\":{\"url\":\"http://h\",\"host\":\"gw-1\"}",
       "cluster.url: expected a URL that starts with"},
      {"\"cluster\":{\"url\":\"redis://h,redis://i\",\"host\":\"gw-1\"}",
       "cluster.url: holds more than one URL, but the hosts meet in one Redis"},
      {"\"cluster\":{\"url\":\"redis://h\",\"host\":\"\"}", "cluster.host: is empty"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct tg_config config;
    struct tg_problems problems;
    bool good = load(rows[i].keys, NULL, &config, &problems);
    if (good != !rows[i].problem || problems.count != (rows[i].problem != NULL) ||
        (rows[i].problem && strncmp(problems.items[0], rows[i].problem, strlen(rows[i].problem)) != 0))
      fail_msg("%s: %s", rows[i].keys, problems.count > 0 ? problems.items[0] : "accepted");
    tg_problems_free(&problems);
    tg_config_free(&config);
  }
}

/* A variable that was misspelt must not leave each host with all shards. */
static void variables_of_a_host_alone_are_refused(void **state)
{
  (void)state;
  struct tg_config config;
  struct tg_problems problems;
  assert_false(
      load("", ENV("TIDEGATE_CLUSTER", "", "TIDEGATE_CLUSTER_NAME", "ferry", "TIDEGATE_CLUSTER_HOST", "gw-1"),
           &config, &problems));
  assert_int_equal(problems.count, 2);
  assert_non_null(strstr(problems.items[0], "cluster.name: is set, but cluster.url is not"));
  assert_non_null(strstr(problems.items[1], "cluster.host: is set, but cluster.url is not"));
  tg_problems_free(&problems);
  config = expect("", ENV("TIDEGATE_CLUSTER_NAME", "", "TIDEGATE_CLUSTER_HOST", ""));
  tg_config_free(&config);
}

/* Each host would identify at its own pace, and all together too fast. */
static void who_has_a_broker_is_told_what_takes_its_place(void **state)
{
  (void)state;
  struct tg_config config;
  struct tg_problems problems;
  const char *const *env = ENV("TIDEGATE_IDENTIFY_URL", "http://10.0.0.1:8377");
  assert_false(load("\"total_shards\":8,\"first_shard_id\":4", env, &config, &problems));
  assert_int_equal(problems.count, 1);
  assert_string_equal(
      problems.items[0],
      "TIDEGATE_IDENTIFY_URL: there is no broker of identifies any more: gateway hosts share the "
      "shards of a bot, and its identifies, by a cluster. Set cluster.url, or TIDEGATE_CLUSTER, on "
      "each of them to the same Redis, and leave first_shard_id and last_shard_id out");
  tg_problems_free(&problems);
  config = expect("", ENV("TIDEGATE_IDENTIFY_URL", ""));
  tg_config_free(&config);
}

static void names(void **state)
{
  (void)state;
  char longest[66] = "";
  memset(longest, 'a', 64);
  static const char *const good[] = {"bot", "gw-1", "Gw_2.example", "0", "-"};
  static const char *const bad[] = {"a b", "gw:1", "{bot}", "b\xc3\xb6t", "a*", "a/b"};
  const struct tg_option *option = tg_config_options;
  while (strcmp(option->path, "cluster.name") != 0)
    option++;
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    assert_null(option->check(good[i]));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_non_null(option->check(bad[i]));
  assert_null(option->check(longest));
  longest[64] = 'a';
  assert_non_null(option->check(longest));
}

static void the_password_is_seen_by_nobody(void **state)
{
  (void)state;
  struct tg_config config =
      expect("\"cluster\":{\"url\":\"rediss://user:hunter%402@h:1/2\",\"host\":\"a\"}", NULL);
  json_t *forms[] = {tg_config_to_json(&config), tg_config_for_scripts(&config)};
  for (int i = 0; i < 2; i++) {
    assert_string_equal(json_string_value(tg_schema_find(forms[i], "cluster.url")), "rediss://h:1/2");
    json_decref(forms[i]);
  }
  struct tg_strings secrets = tg_config_secrets(&config);
  int found = 0;
  for (int i = 0; i < secrets.count; i++)
    found += strcmp(secrets.items[i], "hunter%402") == 0 || strcmp(secrets.items[i], "hunter@2") == 0;
  assert_int_equal(found, 2);
  tg_strings_free(&secrets);
  tg_config_free(&config);
}

static void the_url_may_stand_in_a_file(void **state)
{
  (void)state;
  char path[] = "/tmp/cluster-url-XXXXXX", keys[128];
  int fd = mkstemp(path);
  assert_int_equal(write(fd, "redis://:hunter2@h\n", 19), 19);
  close(fd);
  snprintf(keys, sizeof keys, "\"cluster\":{\"url\":{\"file\":\"%s\"},\"host\":\"a\"}", path);
  struct tg_config by_script = expect(keys, NULL);
  struct tg_config by_variable = expect("", ENV("TIDEGATE_CLUSTER_FILE", path));
  const struct tg_config *both[] = {&by_script, &by_variable};
  for (int i = 0; i < 2; i++) {
    assert_string_equal(both[i]->cluster.url, "redis://:hunter2@h");
    assert_string_equal(json_string_value(json_object_get(both[i]->secret_files, "cluster.url")), path);
  }
  unlink(path);
  tg_config_free(&by_script);
  tg_config_free(&by_variable);
}

static void it_needs_a_restart(void **state)
{
  (void)state;
  struct tg_config old = expect("", NULL), next = expect(CLUSTER, NULL);
  struct tg_problems keys = tg_config_needs_restart(&old, &next);
  static const char *const expected[] = {"cluster.url", "cluster.name", "cluster.host"};
  assert_int_equal(keys.count, 3);
  for (int i = 0; i < 3; i++)
    assert_string_equal(keys.items[i], expected[i]);
  tg_config_carry_over(&old, &next);
  assert_null(next.cluster.url);
  tg_problems_free(&keys);
  tg_config_free(&old);
  tg_config_free(&next);
}

static void a_password_without_tls_is_told(void **state)
{
  (void)state;
  static const struct {
    const char *url;
    bool told;
  } rows[] = {
      {"redis://:hunter2@10.0.0.1", true},
      {"rediss://:hunter2@10.0.0.1", false},
      {"redis://10.0.0.1", false},
      {"redis://:hunter2@127.0.0.1", false},
      {"redis+unix://:hunter2@/run/r", false},
  };
  char *environment[] = {NULL};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char keys[128];
    snprintf(keys, sizeof keys, "\"cluster\":{\"url\":\"%s\",\"host\":\"a\"}", rows[i].url);
    struct tg_config config = expect(keys, NULL);
    struct tg_problems warnings = tg_config_warnings(&config, environment);
    assert_int_equal(warnings.count, rows[i].told);
    if (rows[i].told) {
      assert_non_null(strstr(warnings.items[0], "cluster.url: redis://10.0.0.1 is not rediss://"));
      assert_null(strstr(warnings.items[0], "hunter2"));
    }
    tg_problems_free(&warnings);
    tg_config_free(&config);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(three_keys_are_all),
      cmocka_unit_test(the_url_alone_is_enough),
      cmocka_unit_test(nothing_is_made_up_without_it),
      cmocka_unit_test(what_cannot_be),
      cmocka_unit_test(variables_of_a_host_alone_are_refused),
      cmocka_unit_test(who_has_a_broker_is_told_what_takes_its_place),
      cmocka_unit_test(names),
      cmocka_unit_test(the_password_is_seen_by_nobody),
      cmocka_unit_test(the_url_may_stand_in_a_file),
      cmocka_unit_test(it_needs_a_restart),
      cmocka_unit_test(a_password_without_tls_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
