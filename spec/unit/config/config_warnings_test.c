/* What is allowed, but most likely not meant. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "config/config_warnings.h"

#include <stdio.h>
#include <string.h>

static const char *no_environment(const char *name)
{
  (void)name;
  return NULL;
}

/* What stands beside the token. */
static struct tg_config load(const char *rest)
{
  char text[200];
  struct tg_config config;
  struct tg_problems problems;
  snprintf(text, sizeof text, "{\"token\":\"t\",%s}", rest);
  json_t *given = json_loads(text, 0, NULL);
  assert_true(tg_config_load(given, no_environment, &config, &problems));
  json_decref(given);
  return config;
}

#define CONTROL(listen, secret)                                                                              \
  "\"intents\":1,\"control\":{\"listen\":\"" listen "\",\"authorization\":\"" secret "\"}"
#define HANDLER(url, secret)                                                                                 \
  "\"intents\":1,\"event_handler\":{\"urls\":[\"" url "\"],\"authorization\":\"" secret "\"}"

static void settings(void **state)
{
  (void)state;
  static const struct {
    const char *given; /* beside the token */
    const char *said;  /* NULL: nothing */
  } rows[] = {
      {"\"intents\":53608447", NULL},
      {"\"intents\":131585", "intents: 131585 has bit 17, "},
      {"\"intents\":4503599627370497", "intents: 4503599627370497 has bit 52, "},
      {"\"intents\":33027,\"optional_intents\":[\"guild_members\",\"message_content\"]", NULL},
      {"\"intents\":1,\"optional_intents\":[\"guild_members\"]",
       "optional_intents: intents has no guild_members, so that nobody asks for it"},
      {"\"intents\":3,\"optional_intents\":[\"guilds\",\"guild_members\"]",
       "optional_intents: guilds: Discord only refuses the privileged guild_members"},
      {"\"intents\":1,\"rest\":{\"authorization\":\"of a proxy\"}",
       "rest.authorization: is no \"Bot <token>\", and rest.url is Discord"},
      {"\"intents\":1,\"rest\":{\"authorization\":\"Bot t\"}", NULL},
      {"\"intents\":1,\"rest\":{\"authorization\":\"of a proxy\",\"url\":\"http://proxy/v10\"}", NULL},
      {"\"intents\":1,\"script\":{\"kill_after\":20000}", NULL},
      {"\"intents\":1,\"script\":{\"kill_after\":20001}", "script.kill_after: 20001 ms is so long"},
      {"\"intents\":1,\"queue\":{\"drop_first\":[\"TYPING_START\",\"FERRY_CREATE\"]}",
       "queue.drop_first[2]: no event that this version knows is called FERRY_CREATE"},
      {"\"intents\":1,\"queue\":{\"drop_first\":[\"TYPINGS_STARTED\"]}", "; did you mean TYPING_START?"},
      {"\"intents\":1,\"storm\":{\"rules\":[{\"events\":\"all\",\"rate\":1}]}", NULL},
      {"\"intents\":1,\"storm\":{\"rules\":[{\"events\":[\"FERRY_CREATE\"],\"rate\":1}]}",
       "storm.rules[1].events[1]: no event that this version knows is called FERRY_CREATE"},
      {CONTROL("0.0.0.0:1", "fifteen-letters"),
       "control.authorization: a secret of 15 characters can be guessed"},
      {CONTROL("0.0.0.0:1", "Bearer 7"), "control.authorization: a secret of 1 character can"},
      {CONTROL("0.0.0.0:1", "sixteen-letters!"), NULL},
      {CONTROL("127.0.0.1:1", "word"), NULL},
      {CONTROL("unix:/run/a", "word"), NULL},
      {HANDLER("http://10.0.0.1", "word"), "event_handler.authorization: a secret of 4 characters can"},
      {HANDLER("http://127.0.0.1@bot/", "word"), "event_handler.authorization: "},
      {HANDLER("http://127.evil.example", "word"), "event_handler.authorization: "},
      {HANDLER("http://user:word@[::1]:1/@bot", "word"), NULL},
      {HANDLER("https://localhost", "word"), NULL},
      {HANDLER("http+unix:///run/bot", "word"), NULL},
      {"\"intents\":1,\"event_handler\":{\"guild_loaded\":true}",
       "event_handler.guild_loaded: means something"},
      {"\"intents\":1,\"event_handler\":{\"guild_loaded\":true,\"format\":\"discordeno\"}", NULL},
      {"\"intents\":1,\"event_handler\":{\"urls\":[\"http://10.0.0.1\"],\"format\":\"chat-sdk\"}",
       "event_handler.urls[1]: is not https://"},
      {"\"intents\":1,\"event_handler\":{\"urls\":[\"http://10.0.0.1\"],\"format\":\"discordeno\"}", NULL},
      {"\"intents\":1,\"event_handler\":{\"urls\":[\"https://bot\",\"http://"
       "[::1]\"],\"format\":\"chat-sdk\"}",
       NULL},
      {"\"intents\":1,\"event_handler\":{\"events\":[\"READY\",\"FERRY_CREATE\"]}",
       "event_handler.events[2]: no event that this version knows is called FERRY_CREATE"},
      {"\"intents\":1,\"event_handler\":{\"events\":\"all\"}", NULL},
      {"\"intents\":1,\"interaction\":{\"express\":true},\"event_handler\":{\"events\":[\"READY\"]}",
       "interaction.express: does nothing"},
      {"\"intents\":1,\"interaction\":{\"express\":true}", NULL},
  };
  char *environment[] = {NULL};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_config config = load(rows[i].given);
    struct tg_problems warnings = tg_config_warnings(&config, environment);
    if (warnings.count != (rows[i].said != NULL) ||
        (rows[i].said && !strstr(warnings.items[0], rows[i].said)))
      fail_msg("%s: %s", rows[i].given, warnings.count ? warnings.items[0] : "nothing");
    tg_problems_free(&warnings);
    tg_config_free(&config);
  }
}

static void resharding(void **state)
{
  (void)state;
  static const char part[] = "resharding: this gateway has a part of the bot's shards (first_shard_id, ";
  static const struct {
    const char *given, *said;
  } rows[] = {
      {"\"intents\":1,\"total_shards\":8,\"first_shard_id\":4", part},
      {"\"intents\":1,\"total_shards\":8,\"first_shard_id\":4,\"resharding\":{\"enabled\":false}", NULL},
      {"\"intents\":1,\"total_shards\":8,\"last_shard_id\":3", part},
      {"\"intents\":1,\"total_shards\":8,\"first_shard_id\":0,\"last_shard_id\":7", NULL},
      {"\"intents\":1,\"total_shards\":8", NULL},
      {"\"intents\":1", NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_config config = load(rows[i].given);
    struct tg_problems warnings = {0};
    tg_config_warn_resharding(&config, &warnings);
    if (warnings.count != (rows[i].said != NULL) ||
        (rows[i].said && !strstr(warnings.items[0], rows[i].said)))
      fail_msg("%s: %s", rows[i].given, warnings.count ? warnings.items[0] : "nothing");
    tg_problems_free(&warnings);
    tg_config_free(&config);
  }
}

static void variables(void **state)
{
  (void)state;
  static const struct {
    const char *set, *too; /* what else is set */
    const char *meant;     /* NULL: nothing is said; "": of no name of ours */
  } rows[] = {
      {"TIDEGATE_CONTROLL=x", NULL, "TIDEGATE_CONTROL"},
      {"TIDEGATE_CONTROLL=x", "TIDEGATE_CONTROL=y", "TIDEGATE_CONTROL"},
      {"TIDEGATE_STATEDIR=x", NULL, "TIDEGATE_STATE_DIR"},
      {"TIDEGATE_WORKERS=4", NULL, ""},
      {"TIDEGATE_CLUSTER_URL=x", NULL, "TIDEGATE_CLUSTER"},
      {"TIDEGATE_CLUSTER_HSOT=x", NULL, "TIDEGATE_CLUSTER_HOST"},
      {"EVENT_HANDLER_URLS=x", NULL, "EVENT_HANDLER_URL"},
      {"EVENT_HANDLER_URLS=x", "EVENT_HANDLER_URL=y", NULL},
      {"EVENT_HANDLER_URLS=x", "EVENT_HANDLER_URL=", "EVENT_HANDLER_URL"},
      {"EVENT_HANDLR_URL=x", NULL, "EVENT_HANDLER_URL"},
      {"DISCORD_TOKN=x", NULL, "DISCORD_TOKEN"},
      {"DISCORD_TOKEN_FIEL=x", NULL, "DISCORD_TOKEN_FILE"},
      {"DISCORDTOKEN=x", NULL, "DISCORD_TOKEN"},
      {"discord_token=x", NULL, "DISCORD_TOKEN"},
      {"INTENT=x", NULL, "INTENTS"},
      {"SHARDS_PER_WORKERS=x", NULL, "SHARDS_PER_WORKER"},

      {"DISCORD_TOKEN=x", NULL, NULL},
      {"DISCORD_TOKEN_FILE=x", NULL, NULL},
      {"TIDEGATE_HURRY=2", NULL, NULL},
      {"TIDEGATE_CONTROLL=", NULL, NULL},
      {"TEST_URL=x", NULL, NULL},
      {"BEST_URL=x", NULL, NULL},
      {"LOG_FILE=x", NULL, NULL},
      {"LOG_DIR=x", NULL, NULL},
      {"DISCORD_CLIENT_ID=x", NULL, NULL},
      {"DISCORD_TOKEN_2=x", "DISCORD_TOKEN=y", NULL},
      {"TOTAL_MEMORY=x", NULL, NULL},
      {"HOME=/root", NULL, NULL},
      {"TIDEGATE_SERVICE_HOST=10.0.0.1", NULL, NULL}, /* Kubernetes, of a service called tidegate */
      {"TIDEGATE_SERVICE_PORT_HTTP=8377", NULL, NULL},
      {"TIDEGATE_PORT=tcp://10.0.0.1:8377", NULL, NULL},
      {"TIDEGATE_PORT_8377_TCP_ADDR=10.0.0.1", NULL, NULL},
      {"no variable", NULL, NULL},
      {"=", NULL, NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char *environment[] = {(char *)rows[i].set, (char *)rows[i].too, NULL}, said[200] = "";
    struct tg_problems warnings = tg_config_warnings(NULL, environment);
    const char *meant = rows[i].meant;
    if (meant)
      snprintf(said, sizeof said, "environment variable %.*s: it means nothing here%s%s%s",
               (int)strcspn(rows[i].set, "="), rows[i].set, *meant ? "; did you mean " : "", meant,
               *meant ? "?" : "");
    if (warnings.count != (meant != NULL) || (meant && strcmp(warnings.items[0], said) != 0))
      fail_msg("%s: %s", rows[i].set, warnings.count ? warnings.items[0] : "nothing");
    tg_problems_free(&warnings);
  }
}

static void delays(void **state)
{
  (void)state;
  static const struct {
    int delay;
    const char *url;
    bool said;
  } rows[] = {
      {0, NULL, true},
      {0, "ws://127.0.0.1:1", true},
      {4999, NULL, true},
      {4999, "wss://gateway.discord.gg", true},
      {4999, "ws://127.0.0.1:1", false},
      {5000, NULL, false},
      {5300, "wss://gateway.discord.gg", false},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_config config = {.spawn_shard_delay = rows[i].delay};
    struct tg_problems warnings = {0};
    tg_config_warn_delay(&config, rows[i].url, &warnings);
    if (warnings.count != rows[i].said)
      fail_msg("row %zu", i);
    tg_problems_free(&warnings);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(settings),
      cmocka_unit_test(resharding),
      cmocka_unit_test(variables),
      cmocka_unit_test(delays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
