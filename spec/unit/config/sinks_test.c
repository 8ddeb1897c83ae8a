/* The tables in `sinks`: their keys, their mistakes by full paths, what is shown of them, what a reload may
 * change. */

#include "base/buf.h"
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

static const char *no_environment(const char *name)
{
  (void)name;
  return NULL;
}

/* `sinks`: the JSON of the table, in ' for ". */
static bool load_among(const char *more, const char *sinks, struct tg_config *config,
                       struct tg_problems *problems)
{
  struct tg_buf text = {0};
  json_error_t error;
  tg_buf_printf(&text, "{'token':'t','intents':1,%s'sinks':%s}", more, sinks);
  for (size_t i = 0; i < text.length; i++)
    if (text.data[i] == '\'')
      text.data[i] = '"';
  json_t *given = json_loads(text.data, 0, &error);
  if (!given)
    fail_msg("%s: %s", text.data, error.text);
  bool good = tg_config_load(given, no_environment, config, problems);
  json_decref(given);
  tg_buf_free(&text);
  return good;
}

static struct tg_config load(const char *sinks)
{
  struct tg_config config;
  struct tg_problems problems;
  if (!load_among("", sinks, &config, &problems))
    fail_msg("%s: %s", sinks, problems.items[0]);
  return config;
}

static void assert_refused(const char *sinks, const char *said)
{
  struct tg_config config;
  struct tg_problems problems;
  if (load_among("", sinks, &config, &problems))
    fail_msg("%s is taken", sinks);
  if (problems.count != 1 || strncmp(problems.items[0], said, strlen(said)) != 0)
    fail_msg("%s: %d: %s, instead of %s", sinks, problems.count, problems.items[0], said);
  assert_null(config.sinks);
  assert_int_equal(config.sink_count, 0);
  tg_problems_free(&problems);
}

/* What is shown, as text with ' for ". */
static char *shown(const struct tg_config *config, bool to_scripts)
{
  json_t *all = to_scripts ? tg_config_for_scripts(config) : tg_config_to_json(config);
  char *text = json_dumps(json_object_get(all, "sinks"), JSON_COMPACT | JSON_SORT_KEYS);
  for (char *at = text; *at; at++)
    if (*at == '"')
      *at = '\'';
  json_decref(all);
  return text;
}

static void none_is_an_empty_table(void **state)
{
  (void)state;
  static const char *const none[] = {"{}", "[]", "null", "{'stats':null}"};
  for (int i = 0; i < 4; i++) {
    struct tg_config config = load(none[i]);
    char *text = shown(&config, false);
    assert_string_equal(text, "{}");
    assert_null(config.sinks);
    assert_null(tg_config_sink(&config, "stats"));
    free(text);
    tg_config_free(&config);
  }
}

static void each_has_its_defaults(void **state)
{
  (void)state;
  struct tg_config config = load("{'stats':{'url':'http://a'},'script':[],'feed':{'url':'redis://r'},"
                                 "'djs':{'url':'rediss://r/3','layout':'discordjs'}}");
  char *text = shown(&config, false);
  assert_string_equal(
      text,
#define QUEUE                                                                                                \
  "'queue':{'disk_bytes':1073741824,'drop_first':['TYPING_START','PRESENCE_UPDATE'],'durability':'log',"     \
  "'max_age':86400000,'memory_bytes':16777216,'sync':'none'}"
#define HTTP(in_flight, order)                                                                               \
  "'batch':false,'events':['all'],'format':'seed','guild_loaded':false," in_flight                           \
  "'markers':false," order QUEUE ",'signing_secrets':[],'timeout':10000"
      "{'djs':{'commands_group':'tidegate','events':['all'],'layout':'discordjs','markers':false,"
      "'max_length':100000,'prefix':'tidegate'," QUEUE ",'replicas':0,'settle':2000,'url':'rediss://r/3'},"
      "'feed':{'events':['all'],'layout':'tidegate','markers':true,'max_length':100000,'prefix':'tidegate'"
      "," QUEUE ",'replicas':0,'settle':2000,'url':'redis://r'},"
      "'script':{" HTTP("", "") ",'urls':[]},"
                                "'stats':{" HTTP("'in_flight':32,",
                                                 "'order':'shard',") ",'url':'http://a'}}");
  free(text);
  assert_int_equal(config.sink_count, 4);
  for (int i = 1; i < config.sink_count; i++) /* sorted, whatever the order they came in */
    assert_true(strcmp(config.sinks[i - 1].name, config.sinks[i].name) < 0);
  const struct tg_sink_config *feed = tg_config_sink(&config, "feed"),
                              *stats = tg_config_sink(&config, "stats");
  assert_string_equal(feed->handler.urls.items[0], "redis://r");
  assert_true(feed->handler.batch.events == TG_BATCH_EVENTS && stats->handler.batch.events == 0);
  assert_null(tg_config_sink(&config, "bot"));
  tg_config_free(&config);
  assert_null(config.sinks);
  assert_int_equal(config.sink_count, 0);
}

static void every_key_is_read(void **state)
{
  (void)state;
  static const struct {
    const char *url, *key, *given, *shown; /* shown NULL: as given */
  } rows[] = {
      {"http://a", "events", "'events':['MESSAGE_CREATE']", NULL},
      {"http://a", "queue", "'queue':{'memory_bytes':4096}", "'memory_bytes':4096,"},
      {"http://a", "queue", "'queue':{'disk_bytes':8192}", "'disk_bytes':8192,"},
      {"http://a", "queue", "'queue':{'max_age':60000}", "'max_age':60000,"},
      {"http://a", "queue", "'queue':{'durability':'none'}", "'durability':'none',"},
      {"http://a", "queue", "'queue':{'durability':'memory'}", "'durability':'memory',"},
      {"http://a", "queue", "'queue':{'sync':'batch'}", "'sync':'batch'}"},
      {"http://a", "queue", "'queue':{'drop_first':['RESUMED']}", "'drop_first':['RESUMED'],"},
      {"http://a", "format", "'format':'cloudevents'", NULL},
      {"http://a", "authorization", "'authorization':'s-e-c-r-e-t'", "'authorization':'***'"},
      {"http://a", "timeout", "'timeout':5", NULL},
      {"http://a", "batch", "'batch':true", NULL},
      {"http://a", "order", "'order':'guild'", NULL},
      {"http://a", "in_flight", "'in_flight':8", NULL},
      {"http://a", "markers", "'markers':true", NULL},
      {"http://a", "headers", "'headers':{'X-Key':'abcdef'}", "'headers':{'X-Key':'***'}"},
      {"http://a", "signing_secrets", "'signing_secrets':['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']",
       "'signing_secrets':['***']"},
      {"http://a", "guild_loaded", "'guild_loaded':true", NULL},
      {"redis://a", "prefix", "'prefix':'bot'", NULL},
      {"redis://a", "layout", "'layout':'discordjs'", NULL},
      {"redis://a", "max_length", "'max_length':5000000000.0", "from 1000 to 1000000000"},
      {"redis://a", "max_length", "'max_length':50000.0", "'max_length':50000"},
      {"redis://a", "replicas", "'replicas':2", NULL},
      {"redis://a", "settle", "'settle':0", NULL},
      {"redis://a", "markers", "'markers':false", NULL},
      {"redis://a", "commands_group", "'layout':'discordjs','commands_group':'g'", "'commands_group':'g'"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_config config;
    struct tg_problems problems;
    char sinks[200];
    snprintf(sinks, sizeof sinks, "{'x':{'url':'%s',%s}}", rows[i].url, rows[i].given);
    const char *expected = rows[i].shown ? rows[i].shown : rows[i].given;
    bool good = load_among("", sinks, &config, &problems);
    char *text = good ? shown(&config, false) : strdup(problems.items[0]);
    if (!strstr(text, expected))
      fail_msg("%s: %s", sinks, text);
    free(text);
    tg_config_free(&config);
    tg_problems_free(&problems);
  }
}

/* No key is without a word where it is wrong: the whole table, and not only what somebody thought of. */
static void every_wrong_value_is_named_by_its_path(void **state)
{
  (void)state;
  for (size_t i = 0; i < tg_sink_option_count; i++) {
    const char *path = tg_sink_options[i].path, *dot = strchr(path, '.');
    char sinks[200], said[100];
    bool redis = strstr("prefix layout max_length replicas settle commands_group", path) != NULL;
    const char *url = strncmp(path, "url", 3) == 0 ? "" : redis ? "'url':'redis://a'," : "'url':'http://a',";
    const char *more = strcmp(path, "commands_group") == 0 ? "'layout':'discordjs'," : "";
    bool may_be_true = tg_sink_options[i].kind == TG_OPTION_BOOL || strcmp(path, "batch") == 0;
    const char *bad = may_be_true ? "5" : "true";
    if (dot)
      snprintf(sinks, sizeof sinks, "{'x':{%s%s'%.*s':{'%s':%s}}}", url, more, (int)(dot - path), path,
               dot + 1, bad);
    else
      snprintf(sinks, sizeof sinks, "{'x':{%s%s'%s':%s}}", url, more, path, bad);
    snprintf(said, sizeof said, "sinks.x.%s: expected ", path);
    assert_refused(sinks, said);
  }
}

static void mistakes_are_named(void **state)
{
  (void)state;
  static const char *const rows[][2] = {
      {"5", "sinks: expected a table of sinks by their names, got a number"},
      {"['http://a']", "sinks: expected a table of sinks by their names, got a list"},
      {"{'url':'http://a'}", "sinks.url: expected a table, the sink of that name, got a string"},
      {"{'bot':{}}", "sinks.bot: is the sink that event_handler configures; take another name"},
      {"{'Stats':{}}", "sinks.Stats: is no name of a sink: up to 32 lower-case letters, digits, _ and -"},
      {"{'-a':{}}", "sinks.-a: is no name of a sink"},
      {"{'':{}}", "sinks[\"\"]: is no name of a sink"},
      {"{'a.b':{}}", "sinks[\"a.b\"]: is no name of a sink"},
      {"{'a\\n':{}}", "sinks[\"a?\"]: is no name of a sink"},
      {"{'a23456789012345678901234567890123':{}}", "sinks.a23456789012345678901234567890123: is no name"},
      {"{'a1':{},'a2':{},'a3':{},'a4':{},'a5':{},'a6':{},'a7':{},'a8':{},'a9':{}}",
       "sinks.a9: is one sink too many; 8 are taken"},
      {"{'x':{'queue':{'memory_bytes':1}}}",
       "sinks.x.queue.memory_bytes: expected a whole number of bytes from 4096 to "},
      {"{'x':{'queue':5}}", "sinks.x.queue: expected a table, got a number"},
      {"{'x':{'events':[]}}", "sinks.x.events: names no event"},
      {"{'x':{'events':['all','MESSAGE_CREATE']}}", "sinks.x.events: has \"all\" and other names"},
      {"{'x':{'events':['MESAGE_CREATE']}}",
       "sinks.x.events[1]: there is no \"MESAGE_CREATE\"; did you mean MESSAGE_CREATE?"},
      {"{'x':{'url':'http://a','format':'chat-sdk','batch':true}}",
       "sinks.x.batch: must be false with sinks.x.format \"chat-sdk\""},
      {"{'x':{'order':'guild'}}", "sinks.x.order: means nothing here: a Redis stream and a script get each"},
      {"{'x':{'url':'redis://a','in_flight':8}}", "sinks.x.in_flight: means nothing here: a Redis stream"},
      {"{'x':{'url':'http://a','order':'guild','batch':{'linger':5}}}",
       "sinks.x.batch.linger: must be 0 with sinks.x.order \"guild\""},
      {"{'x':{'url':'http://a','headers':{'Host':'b'}}}",
       "sinks.x.headers[\"Host\"]: is set by the gateway itself"},
      {"{'x':{'url':'http://127.0.0.1:8377/events'}}",
       "sinks.x.urls[1]: leads to 127.0.0.1:8377, this gateway's own control.listen"},
      {"{'x':{'url':'redis://a','prefix':'a b'}}", "sinks.x.prefix: must not contain blanks"},
      /* keys that are misspelt, or stand elsewhere */
      {"{'x':{'ulr':'http://a'}}", "sinks.x.ulr: unknown key; did you mean sinks.x.url?"},
      {"{'x':{'queue':{'memory':1}}}", "sinks.x.queue.memory: unknown key"},
      {"{'x':{'queue':{'durabilty':'log'}}}",
       "sinks.x.queue.durabilty: unknown key; did you mean sinks.x.queue.durability?"},
      {"{'x':{'durability':'log'}}",
       "sinks.x.durability: unknown key; did you mean sinks.x.queue.durability?"},
      {"{'x':{'queue':{'events':'all'}}}", "sinks.x.queue.events: unknown key; did you mean sinks.x.events?"},
      {"{'x':{'queue.sync':'none'}}",
       "sinks.x.queue.sync: unknown key; write a table inside a table: queue = { sync = ... }"},
      {"{'x':{'grace':5}}", "sinks.x.grace: unknown key"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    assert_refused(rows[i][0], rows[i][1]);
}

static void urls_are_checked_by_their_schemes(void **state)
{
  (void)state;
  static const char *const rows[][2] = {
      {"{'x':{'url':'nats://a'}}",
       "sinks.x.url: expected a URL that starts with http://, https://, http+unix"},
      {"{'x':{'url':''}}", "sinks.x.url: is empty"},
      {"{'x':{'url':['http://a']}}", "sinks.x.url: expected a string, got a list"},
      {"{'x':{'url':'http://a','urls':['http://b']}}",
       "sinks.x.url: stands beside urls; write one or the other"},
      {"{'x':{'url':'http://a,http://b'}}", "sinks.x.url: holds more than one URL"},
      {"{'x':{'urls':['http://a','http://b:x']}}", "sinks.x.urls[2]: has no valid port"},
      {"{'x':{'urls':['http://a','redis://b']}}",
       "sinks.x.urls[2]: is of another kind than urls[1]; a sink is of one kind"},
      {"{'x':{'url':'redis://a:0'}}", "sinks.x.url: has no valid port"},
      {"{'x':{'url':'redis://a/first'}}", "sinks.x.url: expected the number of a database"},
      /* what is wrong with a URL is all that is said, whatever the other keys are */
      {"{'x':{'url':'redis://:pa ss@a','layout':'tidegate'}}", "sinks.x.url: must not contain blanks"},
      {"{'x':{'urls':['rediss://a:x','redis://b'],'layout':'discordjs'}}",
       "sinks.x.urls[1]: has no valid port"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    assert_refused(rows[i][0], rows[i][1]);
  struct tg_config config = load("{'x':{'urls':'http://a http+unix:///b'},'y':{'urls':['redis://a']}}");
  assert_int_equal(tg_config_sink(&config, "x")->handler.urls.count, 2);
  assert_int_equal(tg_config_sink(&config, "y")->handler.urls.count, 1);
  tg_config_free(&config);
}

static void keys_of_other_kinds_are_refused(void **state)
{
  (void)state;
  static const char *const of_http[] = {"format':'seed",
                                        "authorization':'abcdef",
                                        "timeout':1,'events':'all",
                                        "batch':true,'events':'all",
                                        "headers':{},'events':'all",
                                        "signing_secrets':[],'events':'all",
                                        "guild_loaded':false,'events':'all"};
  static const char *const of_redis[] = {"prefix':'a",
                                         "layout':'tidegate",
                                         "max_length':5000,'events':'all",
                                         "replicas':1,'events':'all",
                                         "settle':1,'events':'all",
                                         "commands_group':'a"};
  static const char *const others[] = {"", "'url':'http://a',", "'urls':['http+unix:///a'],"};
  char sinks[200], said[120];
  for (size_t i = 0; i < sizeof of_http / sizeof of_http[0]; i++) {
    snprintf(sinks, sizeof sinks, "{'x':{'url':'redis://a','%s'}}", of_http[i]);
    snprintf(said, sizeof said, "sinks.x.%.*s: means nothing here: ", (int)strcspn(of_http[i], "'"),
             of_http[i]);
    assert_refused(sinks, said);
  }
  for (size_t i = 0; i < sizeof of_redis / sizeof of_redis[0]; i++) {
    for (int k = 0; k < 3; k++) {
      snprintf(sinks, sizeof sinks, "{'x':{%s'%s'}}", others[k], of_redis[i]);
      snprintf(said, sizeof said, "sinks.x.%.*s: means nothing here: it is of Redis, and this sink has %s",
               (int)strcspn(of_redis[i], "'"), of_redis[i], k == 0 ? "no URL" : "URLs of http");
      assert_refused(sinks, said);
    }
  }
  assert_refused("{'x':{'url':'redis://a','commands_group':'a'}}",
                 "sinks.x.commands_group: means nothing here: commands come with layout \"discordjs\"");
  assert_refused("{'x':{'url':'redis://a','layout':'discordjs','markers':true}}",
                 "sinks.x.markers: means nothing here: layout \"discordjs\"");
}

static bool holds(const struct tg_strings *strings, const char *text)
{
  for (int i = 0; i < strings->count; i++)
    if (strcmp(strings->items[i], text) == 0)
      return true;
  return false;
}

/* Of sinks and of everything else that has a URL. */
static void passwords_of_urls_are_seen_nowhere(void **state)
{
  (void)state;
  static const char *const secrets[] = {"hunter-1", "hunter-2", "hunter%2F3", "hunter/3", "hunter-4",
                                        "hunter-5", "hunter-6", "hunter-7",   "hunter-8"};
  struct tg_config config;
  struct tg_problems problems;
  assert_true(
      load_among("'rest':{'url':'http://me:hunter-1@proxy/api'},"
                 "'event_handler':{'urls':['http://h','http://me:hunter-2@bot/events?key=hunter-9']},",
                 "{'a':{'url':'redis://me:hunter%2F3@r:6379/1'},"
                 "'b':{'urls':['rediss://:hunter-4@r','rediss://:hunter-5@r/2']},"
                 "'c':{'url':'redis+unix://:hunter-6@/run/redis.sock?db=3'},"
                 "'d':{'url':'redis+unix://me:hunter-7@/run/redis.sock?db=4'},"
                 "'e':{'url':'https://h','authorization':'hunter-8'}}",
                 &config, &problems));
  struct tg_strings masked = tg_config_secrets(&config);
  for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
    if (!holds(&masked, secrets[i]))
      fail_msg("%s is not masked", secrets[i]);
  json_t *all = tg_config_to_json(&config);
  char *text = json_dumps(all, 0), *to_scripts = shown(&config, true);
  assert_null(strstr(text, "hunter"));
  assert_null(strstr(text, "me:"));
  assert_null(strstr(to_scripts, "hunter"));
  assert_non_null(strstr(text, "redis://r:6379/1"));
  assert_non_null(strstr(text, "\"http://bot/events\""));
  assert_non_null(strstr(to_scripts, "['rediss://r','rediss://r/2']"));
  assert_non_null(strstr(to_scripts, "'redis+unix:///run/redis.sock?db=3'"));
  assert_non_null(strstr(to_scripts, "'redis+unix:///run/redis.sock?db=4'"));
  free(text);
  free(to_scripts);
  json_decref(all);
  tg_strings_free(&masked);
  tg_config_free(&config);
}

static void scripts_see_secrets_if_they_may(void **state)
{
  (void)state;
  struct tg_config config;
  struct tg_problems problems;
  assert_true(
      load_among("'script':{'secrets':true},", "{'a':{'url':'redis://:hunter-1@r'}}", &config, &problems));
  char *text = shown(&config, true);
  assert_non_null(strstr(text, "redis://:hunter-1@r"));
  free(text);
  tg_config_free(&config);
}

/* The path of a new file with that text. */
static char *file_with(const char *text)
{
  char *path = strdup("/tmp/tidegate-sinks-XXXXXX");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  close(fd);
  return path;
}

static void secrets_may_stand_in_files(void **state)
{
  (void)state;
  char *url = file_with("rediss://me:hunter-1@r/1\n"), *words = file_with("hunter-2\n");
  char *key = file_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), *bad = file_with("redis://:hunter-3@\n");
  char sinks[400];
  snprintf(sinks, sizeof sinks,
           "{'a':{'url':{'file':'%s'}},"
           "'b':{'urls':['https://h',{'file':'%s'}]}}",
           url, bad);
  assert_refused(sinks, "sinks.b.urls[2]: has no valid host name");
  snprintf(sinks, sizeof sinks,
           "{'a':{'url':{'file':'%s'}},"
           "'b':{'url':'https://h','authorization':{'file':'%s'},'signing_secrets':[{'file':'%s'}]}}",
           url, words, key);
  struct tg_config config = load(sinks);
  assert_string_equal(config.sinks[0].handler.urls.items[0], "rediss://me:hunter-1@r/1");
  assert_string_equal(config.sinks[1].handler.authorization, "hunter-2");
  assert_string_equal(config.sinks[1].handler.signing_secrets.items[0],
                      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  assert_string_equal(json_string_value(json_object_get(config.secret_files, "sinks.a.url")), url);
  assert_string_equal(json_string_value(json_object_get(config.secret_files, "sinks.b.authorization")),
                      words);
  assert_string_equal(json_string_value(json_object_get(config.secret_files, "sinks.b.signing_secrets")),
                      key);
  tg_config_free(&config);
  char *paths[] = {url, words, key, bad};
  for (int i = 0; i < 4; i++) {
    unlink(paths[i]);
    free(paths[i]);
  }
  assert_refused("{'a':{'url':{'file':'/nowhere/at/all'}}}", "sinks.a.url: cannot read /nowhere/at/all: ");
  assert_refused("{'a':{'url':{'path':'/x'}}}", "sinks.a.url: expected a string, or { file = \"/path\" }");
  assert_refused("{'a':{'format':{'file':'/x'}}}", "sinks.a.format: expected one of");
}

static void what_a_reload_may_change(void **state)
{
  (void)state;
  static const struct {
    const char *before, *after, *restart; /* NULL: nothing */
  } rows[] = {
      {"{}", "{'a':{'url':'http://a','queue':{'durability':'none'}}}", NULL},
      {"{'a':{'url':'http://a','queue':{'durability':'none'}}}", "{}", NULL},
      {"{'a':{'queue':{'durability':'none'}}}", "{'b':{'queue':{'durability':'log'}}}", NULL},
      {"{'a':{'url':'http://a'}}",
       "{'a':{'url':'redis://b','layout':'discordjs','events':['READY'],'queue':{'memory_bytes':4096}}}",
       NULL},
      {"{'b':{'queue':{'durability':'none'}}}", "{'a':{'url':'http://a'},'b':{}}",
       "sinks.b.queue.durability"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_config before = load(rows[i].before), after = load(rows[i].after);
    struct tg_problems paths = tg_config_needs_restart(&before, &after);
    assert_int_equal(paths.count, rows[i].restart != NULL);
    if (rows[i].restart)
      assert_string_equal(paths.items[0], rows[i].restart);
    tg_problems_free(&paths);
    tg_config_carry_over(&before, &after);
    if (rows[i].restart) {
      assert_int_equal(tg_config_sink(&after, "b")->queue.durability, TG_DURABILITY_NONE);
      paths = tg_config_needs_restart(&after, &before); /* and is told again at the next reload */
      assert_int_equal(paths.count, 1);
      tg_problems_free(&paths);
    }
    tg_config_free(&before);
    tg_config_free(&after);
  }
}

static void strange_ones_are_warned_of(void **state)
{
  (void)state;
  static const struct {
    const char *sinks, *said; /* NULL: nothing */
  } rows[] = {
      {"{'a':{'url':'redis://:hunter-1-hunter-1@127.0.0.1'},'b':{'url':'redis://r'},'c':{}}", NULL},
      {"{'a':{'url':'rediss://:hunter-1@r'},'b':{'url':'redis+unix://:abcdef@/r'}}", NULL},
      {"{'a':{'url':'redis://me:hunter-1@r:6379/1'}}",
       "sinks.a: redis://r:6379/1 is not rediss://, so that the password in it is to be read"},
      {"{'a':{'url':'http://h','authorization':'sixteen-letters!'}}",
       "sinks.a: http://h is not https://, so that authorization is to be read"},
      {"{'a':{'url':'http://h','headers':{'X-Api-Key':'abcdef'}}}",
       "sinks.a: http://h is not https://, so that headers is to be read"},
      {"{'a':{'url':'http://h','headers':{'X-Environment':'production'}}}", NULL},
      {"{'a':{'url':'http://localhost','authorization':'s'},'b':{'url':'http://h'}}", NULL},
      {"{'a':{'url':'https://h','authorization':'short'}}",
       "sinks.a.authorization: a secret of 5 characters"},
      {"{'a':{'guild_loaded':true}}", "sinks.a.guild_loaded: means something with sinks.a.format"},
      {"{'a':{'url':'http://h','format':'chat-sdk'}}", "sinks.a.urls[1]: is not https://, and with"},
      {"{'a':{'events':['NEW_SINCE']}}", "sinks.a.events[1]: no event that this version knows"},
      {"{'a':{'queue':{'drop_first':['NEW_SINCE']}}}", "sinks.a.queue.drop_first[1]: no event that this"},
  };
  char *none[] = {NULL};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct tg_config config = load(rows[i].sinks);
    struct tg_problems said = tg_config_warnings(&config, none);
    if (said.count != (rows[i].said != NULL))
      fail_msg("%s: %d: %s", rows[i].sinks, said.count, said.count ? said.items[0] : "nothing");
    if (rows[i].said && strncmp(said.items[0], rows[i].said, strlen(rows[i].said)) != 0)
      fail_msg("%s: %s", rows[i].sinks, said.items[0]);
    tg_problems_free(&said);
    tg_config_free(&config);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(none_is_an_empty_table),
      cmocka_unit_test(each_has_its_defaults),
      cmocka_unit_test(every_key_is_read),
      cmocka_unit_test(every_wrong_value_is_named_by_its_path),
      cmocka_unit_test(mistakes_are_named),
      cmocka_unit_test(urls_are_checked_by_their_schemes),
      cmocka_unit_test(keys_of_other_kinds_are_refused),
      cmocka_unit_test(passwords_of_urls_are_seen_nowhere),
      cmocka_unit_test(scripts_see_secrets_if_they_may),
      cmocka_unit_test(secrets_may_stand_in_files),
      cmocka_unit_test(what_a_reload_may_change),
      cmocka_unit_test(strange_ones_are_warned_of),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
