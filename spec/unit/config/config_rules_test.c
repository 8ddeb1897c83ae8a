/* The configuration's rules that go beyond one key and one type: what is
 * required, intents, combinations, secrets, what needs a restart. */

#include "config/config.h"
#include "proto/intents.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
  (const char *const[]) { __VA_ARGS__, NULL }

static bool load(const char *given, const char *const *env, struct tg_config *config,
                 struct tg_problems *problems)
{
  json_t *json = given ? json_loads(given, 0, NULL) : NULL;
  if (given)
    assert_non_null(json);
  the_env = env;
  bool good = tg_config_load(json, look_up, config, problems);
  json_decref(json);
  return good;
}

static struct tg_config expect(const char *given, const char *const *env)
{
  struct tg_config config;
  struct tg_problems problems;
  if (!load(given, env, &config, &problems))
    fail_msg("%s: %s", given, problems.items[0]);
  return config;
}

/* The problems must be these, in this order. */
static void expect_problems(const char *given, const char *const *env, const char *const *expected)
{
  struct tg_config config;
  struct tg_problems problems;
  if (load(given, env, &config, &problems))
    fail_msg("accepted: %s", given);
  int count = 0;
  for (; expected[count]; count++) {
    if (count >= problems.count ||
        strncmp(problems.items[count], expected[count], strlen(expected[count])) != 0)
      fail_msg("%d: %s", count, count < problems.count ? problems.items[count] : "missing");
  }
  assert_int_equal(problems.count, count);
  tg_problems_free(&problems);
}

#define PROBLEMS(...)                                                                                        \
  (const char *const[]) { __VA_ARGS__, NULL }

static void environment_alone_is_enough(void **state)
{
  (void)state;
  struct tg_config config = expect(NULL, ENV("DISCORD_TOKEN", "FAKE.TOKEN", "INTENTS", "513"));
  assert_string_equal(config.token, "FAKE.TOKEN");
  assert_string_equal(config.rest.authorization, "Bot FAKE.TOKEN");
  assert_int_equal(config.intents, 513);
  assert_int_equal(config.last_shard_id, -1);
  assert_int_equal(config.transport_compression, TG_COMPRESSION_ZLIB);
  tg_config_free(&config);
  tg_config_free(&config); /* twice does no harm */
}

static void what_is_required(void **state)
{
  (void)state;
  expect_problems(NULL, NULL,
                  PROBLEMS("token: is required; set DISCORD_TOKEN", "intents: is required; set intents"));
  expect_problems("{}", ENV("DISCORD_TOKEN", "", "INTENTS", ""),
                  PROBLEMS("token: is required", "intents: is required"));
  expect_problems("[]", NULL, PROBLEMS("token: is required", "intents: is required"));
  expect_problems("[1]", ENV("DISCORD_TOKEN", "t", "INTENTS", "1"),
                  PROBLEMS("expected a table of options, got a list"));
}

static void tokens(void **state)
{
  (void)state;
  static const char *const good[] = {"abc.def-_", "Bot abc.def-_"};
  for (int i = 0; i < 2; i++) {
    struct tg_config config = expect("{\"intents\":0}", ENV("DISCORD_TOKEN", good[i]));
    assert_string_equal(config.token, "abc.def-_");
    assert_string_equal(config.rest.authorization, "Bot abc.def-_");
    tg_config_free(&config);
  }
  static const char *const bad[] = {" ", "abc ", "abc\n", "\"abc\"", "Bot  abc", "a\tb"};
  for (int i = 0; i < 6; i++)
    expect_problems("{\"intents\":0}", ENV("DISCORD_TOKEN", bad[i]),
                    PROBLEMS("token (environment variable DISCORD_TOKEN): has white space, quotes"));
  expect_problems("{\"intents\":0}", ENV("DISCORD_TOKEN", "Bot "),
                  PROBLEMS("token (environment variable DISCORD_TOKEN): is empty"));
  expect_problems("{\"intents\":0,\"token\":\"\"}", ENV("DISCORD_TOKEN", "abc"), PROBLEMS("token: is empty"));
  expect_problems("{\"intents\":0,\"token\":5}", NULL, PROBLEMS("token: expected a string, got a number"));
}

static void intents(void **state)
{
  (void)state;
  static const struct {
    const char *given, *env;
    uint64_t expected;
  } good[] = {
      {"{\"intents\":513}", NULL, 513},
      {"{\"intents\":513.0}", NULL, 513},
      {"{\"intents\":0}", "513", 0},
      {"{\"intents\":[]}", NULL, 0},
      {"{\"intents\":{}}", NULL, 0},
      {"{\"intents\":[\"guilds\",\"GUILD_MESSAGES\"]}", "1", 513},
      {"{\"intents\":\"guilds,guild_messages\"}", NULL, 513},
      {"{\"intents\":\"513\"}", NULL, 513},
      {"{}", "guilds, guild_messages", 513},
      {"{}", "Guilds,GuildMessages,", 513},
      {"{}", "53608447", TG_INTENTS_ALL},
      {"{}", "guilds guild_messages", 513},
      {"{}", " guilds\tguild_messages\n", 513},
      {"{}", "guilds\r\nguild_messages\r\n", 513},
      {"{}", "GUILDS | GUILD_MESSAGES", 513},
      {"{}", "guilds|guild_messages", 513},
      {"{}", "guilds , guild_messages", 513},
      {"{}", " 513\n", 513},
      {"{\"intents\":\"guilds guild_messages\"}", NULL, 513},
      {"{}", "GUILD_BANS GUILD_EMOJIS_AND_STICKERS", 12},
  };
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    struct tg_config config = expect(good[i].given, ENV("DISCORD_TOKEN", "t", "INTENTS", good[i].env));
    assert_int_equal(config.intents, good[i].expected);
    tg_config_free(&config);
  }
  static const char *const bad[][2] = {
      {"{\"intents\":true}", "intents: expected a list of names"},
      {"{\"intents\":{\"guilds\":true}}", "intents: expected a list of names"},
      {"{\"intents\":-1}", "intents: expected a whole number"},
      {"{\"intents\":1.5}", "intents: expected a whole number"},
      {"{\"intents\":1e19}", "intents: expected a whole number"},
      {"{\"intents\":\"\"}", "intents: names no intent"},
      {"{\"intents\":\",\"}", "intents: names no intent"},
      {"{\"intents\":\"99999999999999999999\"}", "intents: expected a number below"},
      {"{\"intents\":[\"guilds\",5]}", "intents[2]: expected a name"},
      {"{\"intents\":[\"guilds\",\"guild_mesages\"]}",
       "intents[2]: no intent is called \"guild_mesages\"; did you mean guild_messages?"},
      {"{\"intents\":[\"guilds guild_messages\"]}",
       "intents[1]: \"guilds guild_messages\" is more than one name"},
      {"{\"intents\":\"guilds;guild_messages\"}",
       "intents[1]: no intent is called \"guilds;guild_messages\""},
      {"{\"intents\":\"1 guilds\"}", "intents[1]: no intent is called \"1\""},
      {"{\"intents\":[\"everything\"]}",
       "intents[1]: no intent is called \"everything\"; they are named like"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    expect_problems(bad[i][0], ENV("DISCORD_TOKEN", "t"), PROBLEMS(bad[i][1]));
  expect_problems(
      "{}", ENV("DISCORD_TOKEN", "t", "INTENTS", "guilds,guild_mesages"),
      PROBLEMS("intents[2] (environment variable INTENTS): no intent is called \"guild_mesages\""));
}

static void event_names(void **state)
{
  (void)state;
  const char *const *env = ENV("DISCORD_TOKEN", "t", "INTENTS", "1");
  expect_problems("{\"queue\":{\"drop_first\":[\"TYPING_START\",\"TYPING_STRAT\",\"FERRY_CREATE\"]}}", env,
                  PROBLEMS("queue.drop_first[2]: there is no \"TYPING_STRAT\"; did you mean TYPING_START?"));
}

static void combinations(void **state)
{
  (void)state;
  const char *const *env = ENV("DISCORD_TOKEN", "t", "INTENTS", "1");
  expect_problems("{\"first_shard_id\":3,\"last_shard_id\":2}", env,
                  PROBLEMS("first_shard_id: 3 is greater than last_shard_id, 2"));
  expect_problems("{\"total_shards\":4,\"last_shard_id\":4}", env,
                  PROBLEMS("last_shard_id: must be below total_shards, 4; got 4"));
  expect_problems("{\"total_shards\":4,\"first_shard_id\":4}", env,
                  PROBLEMS("first_shard_id: must be below"));
  expect_problems("{\"gateway_bot\":{\"session_start_limit\":{\"total\":10,\"remaining\":11}}}", env,
                  PROBLEMS("gateway_bot.session_start_limit.remaining: 11 is greater than total, 10"));
  struct tg_config config = expect("{\"total_shards\":4,\"first_shard_id\":3,\"last_shard_id\":3}", env);
  tg_config_free(&config);
}

static void control_off_loopback_needs_a_secret(void **state)
{
  (void)state;
  static const char *const outside[] = {"0.0.0.0:8377", "[::]:8377", "10.0.0.1:80", "gateway.example:80",
                                        "127.example:80"};
  static const char *const inside[] = {"127.0.0.1:8377", "127.1.2.3:1", "localhost:8377",
                                       "[::1]:8377",     "unix:/run/x/s", "off"};
  for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
    const char *const *env = ENV("DISCORD_TOKEN", "t", "INTENTS", "1", "TIDEGATE_CONTROL", outside[i]);
    expect_problems("{}", env, PROBLEMS("control.authorization: is required because control.listen"));
    struct tg_config config = expect("{\"control\":{\"authorization\":\"s\"}}", env);
    tg_config_free(&config);
  }
  for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
    struct tg_config config =
        expect("{}", ENV("DISCORD_TOKEN", "t", "INTENTS", "1", "TIDEGATE_CONTROL", inside[i]));
    assert_string_equal(config.control.listen, inside[i]);
    tg_config_free(&config);
  }
  static const char *const bad[] = {"8377",        ":8377",           "localhost", "localhost:",
                                    "localhost:x", "localhost:65536", "::1:8377",  "local host:1",
                                    "unix:",       "unix:/",          "unix:run"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    expect_problems(
        "{}", ENV("DISCORD_TOKEN", "t", "INTENTS", "1", "TIDEGATE_CONTROL", bad[i]),
        PROBLEMS("control.listen (environment variable TIDEGATE_CONTROL): expected an address and a port"));
}

static void state_directory(void **state)
{
  (void)state;
  static const char *const cases[][4] = {
      {NULL, NULL, NULL, "/var/lib/tidegate"},
      {NULL, NULL, "/home/u", "/home/u/.local/state/tidegate"},
      {NULL, "/x", "/home/u", "/x/tidegate"},
      {NULL, "relative", "/home/u", "/home/u/.local/state/tidegate"},
      {NULL, "", "/home/u", "/home/u/.local/state/tidegate"},
      {"/var/lib/gate:/var/lib/other", "/x", "/home/u", "/var/lib/gate"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct tg_config config =
        expect("{\"token\":\"t\",\"intents\":1}",
               ENV("STATE_DIRECTORY", cases[i][0], "XDG_STATE_HOME", cases[i][1], "HOME", cases[i][2]));
    assert_string_equal(config.state_dir, cases[i][3]);
    tg_config_free(&config);
  }
}

static void all_problems_at_once(void **state)
{
  (void)state;
  expect_problems(
      "{\"token\":\"a b\",\"intents\":[\"guilds\",\"x1\",\"y2\"],\"event_handler\":{\"urls\":[\"http://a\","
      "\"b\",5],\"url\":1},\"log\":{\"level\":1},\"first_shard_id\":2,\"last_shard_id\":1,\"nonsense\":{}}",
      ENV("LOG_FORMAT", "xml", "SHARDS_PER_WORKER", "x"),
      PROBLEMS("token: ", "intents[2]: ", "intents[3]: ",
               "shards_per_worker (environment variable SHARDS_PER_WORKER): ", "event_handler.urls[2]: ",
               "event_handler.urls[3]: ", "log.level: ", "log.format (environment variable LOG_FORMAT): ",
               "event_handler.url: unknown key", "nonsense: unknown key", "first_shard_id: "));
}

static void secrets_stay_secret(void **state)
{
  (void)state;
  struct tg_config config;
  struct tg_problems problems;
  assert_false(
      load("{\"token\":\"hunter2 x\",\"intents\":1,\"rest\":{\"authorization\":\"hunter2\\n\"},"
           "\"event_handler\":{\"authorization\":\"hunter2\\u0001\",\"urls\":[\"ftp://u:hunter2@h\"]},"
           "\"control\":{\"authorization\":\"hunter2\\r\"},\"tokn\":\"hunter2\"}",
           NULL, &config, &problems));
  assert_int_equal(problems.count, 6);
  for (int i = 0; i < problems.count; i++)
    assert_null(strstr(problems.items[i], "hunter2"));
  tg_problems_free(&problems);

  config =
      expect("{\"token\":\"hunter2\",\"intents\":1,\"rest\":{\"authorization\":\"hunter2\"},"
             "\"event_handler\":{\"authorization\":\"hunter2\"},\"control\":{\"authorization\":\"hunter2\"}}",
             NULL);
  json_t *shown = tg_config_to_json(&config);
  char *text = json_dumps(shown, 0);
  assert_null(strstr(text, "hunter2"));
  assert_string_equal(config.event_handler.authorization, "hunter2");
  free(text);
  json_decref(shown);
  tg_config_free(&config);
}

static void urls_lose_their_last_slashes(void **state)
{
  (void)state;
  struct tg_config config =
      expect("{\"token\":\"t\",\"intents\":1}", ENV("REST_URL", "http://127.0.0.1:9/api//"));
  assert_string_equal(config.rest.url, "http://127.0.0.1:9/api");
  tg_config_free(&config);
}

static void presence_is_a_copy(void **state)
{
  (void)state;
  json_t *given = json_pack("{s:s,s:i,s:{s:s}}", "token", "t", "intents", 1, "presence", "status", "idle");
  struct tg_config config;
  struct tg_problems problems;
  the_env = NULL;
  assert_true(tg_config_load(given, look_up, &config, &problems));
  json_object_set_new(json_object_get(given, "presence"), "status", json_string("dnd"));
  json_decref(given);
  assert_string_equal(json_string_value(json_object_get(config.presence, "status")), "idle");
  tg_config_free(&config);
}

static void what_is_shown_can_be_read_again(void **state)
{
  (void)state;
  struct tg_config config =
      expect("{\"token\":\"t\",\"intents\":[\"guilds\"],\"total_shards\":8,\"presence\":{\"afk\":true},"
             "\"transport_compression\":false,\"event_handler\":{\"urls\":[\"http://a\"]}}",
             NULL);
  json_t *shown = tg_config_to_json(&config);
  struct tg_config again;
  struct tg_problems problems;
  assert_true(tg_config_load(shown, look_up, &again, &problems));
  json_t *shown_again = tg_config_to_json(&again);
  assert_true(json_equal(shown, shown_again));
  json_decref(shown);
  json_decref(shown_again);
  tg_config_free(&again);
  tg_config_free(&config);
}

static void what_needs_a_restart(void **state)
{
  (void)state;
  struct tg_config old = expect("{\"token\":\"t\",\"intents\":1}", NULL);
  struct tg_config same =
      expect("{\"token\":\"Bot t\",\"intents\":[\"guilds\"],\"log\":{\"level\":\"debug\"},"
             "\"presence\":{},\"event_handler\":{\"urls\":[\"http://a\"]}}",
             NULL);
  struct tg_problems keys = tg_config_needs_restart(&old, &same);
  assert_int_equal(keys.count, 0);
  tg_problems_free(&keys);
  struct tg_config other =
      expect("{\"token\":\"u\",\"intents\":3,\"total_shards\":2,\"first_shard_id\":1,"
             "\"last_shard_id\":1,\"shards_per_worker\":1,\"state_dir\":\"/x\",\"control\":{"
             "\"listen\":\"127.0.0.1:1\"},\"gateway_bot\":{\"url\":\"ws://h\"}}",
             NULL);
  keys = tg_config_needs_restart(&old, &other);
  static const char *const expected[] = {
      "token",         "intents",           "gateway_bot.url", "total_shards", "first_shard_id",
      "last_shard_id", "shards_per_worker", "control.listen",  "state_dir"};
  assert_int_equal(keys.count, 9);
  for (int i = 0; i < 9; i++)
    assert_string_equal(keys.items[i], expected[i]);
  tg_problems_free(&keys);
  tg_config_free(&old);
  tg_config_free(&same);
  tg_config_free(&other);
}

static void what_needs_a_restart_stays(void **state)
{
  (void)state;
  struct tg_config running = expect("{\"token\":\"t\",\"intents\":1}", NULL);
  struct tg_config next =
      expect("{\"token\":\"u\",\"intents\":3,\"total_shards\":2,\"state_dir\":\"/x\",\"large_threshold\":77}", NULL);
  tg_config_carry_over(&running, &next);
  assert_string_equal(next.token, "t");
  assert_string_equal(next.rest.authorization, "Bot t");
  assert_int_equal(next.intents, 1);
  assert_int_equal(next.total_shards, 0);
  assert_string_not_equal(next.state_dir, "/x");
  assert_int_equal(next.large_threshold, 77);
  struct tg_problems keys = tg_config_needs_restart(&running, &next);
  assert_int_equal(keys.count, 4);
  tg_problems_free(&keys);
  struct tg_config own =
      expect("{\"token\":\"v\",\"intents\":1,\"rest\":{\"authorization\":\"Bearer w\"}}", NULL);
  tg_config_carry_over(&next, &own);
  assert_string_equal(own.token, "t");
  assert_string_equal(own.rest.authorization, "Bearer w");
  tg_config_free(&running);
  tg_config_free(&next);
  tg_config_free(&own);
}

static void long_and_odd_texts(void **state)
{
  (void)state;
  /* A quoted value is cut between characters: 39 bytes and a letter of two. */
  char given[256], level[64];
  memset(level, 'a', 39);
  strcpy(level + 39, "\xc3\xa4zzz");
  snprintf(given, sizeof given, "{\"log\":{\"level\":\"%s\"}}", level);
  struct tg_config config;
  struct tg_problems problems;
  assert_false(load(given, ENV("DISCORD_TOKEN", "t", "INTENTS", "1"), &config, &problems));
  json_t *text = json_string(problems.items[0]);
  assert_non_null(text);
  assert_null(strstr(problems.items[0], "zzz"));
  json_decref(text);
  tg_problems_free(&problems);
  expect_problems("{}", ENV("DISCORD_TOKEN", "t", "INTENTS", "1", "TIDEGATE_STATE_DIR", "/\xff"),
                  PROBLEMS("state_dir (environment variable TIDEGATE_STATE_DIR): is not UTF-8"));
}

static void events_do_not_go_to_the_gateway_itself(void **state)
{
  (void)state;
  static const char *const own[][2] = {
      {"127.0.0.1:8377", "http://127.0.0.1:8377"},
      {"127.0.0.1:8377", "http://127.0.0.1:8377/events"},
      {"unix:/run/t", "http+unix:///run/t:/"},
  };
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    expect_problems("{}",
                    ENV("DISCORD_TOKEN", "t", "INTENTS", "1", "TIDEGATE_CONTROL", own[i][0],
                        "EVENT_HANDLER_URL", own[i][1]),
                    PROBLEMS("event_handler.urls[1]: leads to"));
  struct tg_config config = expect("{}", ENV("DISCORD_TOKEN", "t", "INTENTS", "1", "TIDEGATE_CONTROL",
                                             "127.0.0.1:0", "EVENT_HANDLER_URL", "http://127.0.0.1:8377"));
  tg_config_free(&config);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(environment_alone_is_enough),
      cmocka_unit_test(what_is_required),
      cmocka_unit_test(tokens),
      cmocka_unit_test(intents),
      cmocka_unit_test(event_names),
      cmocka_unit_test(combinations),
      cmocka_unit_test(control_off_loopback_needs_a_secret),
      cmocka_unit_test(state_directory),
      cmocka_unit_test(all_problems_at_once),
      cmocka_unit_test(secrets_stay_secret),
      cmocka_unit_test(urls_lose_their_last_slashes),
      cmocka_unit_test(presence_is_a_copy),
      cmocka_unit_test(what_is_shown_can_be_read_again),
      cmocka_unit_test(what_needs_a_restart),
      cmocka_unit_test(what_needs_a_restart_stays),
      cmocka_unit_test(long_and_odd_texts),
      cmocka_unit_test(events_do_not_go_to_the_gateway_itself),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
