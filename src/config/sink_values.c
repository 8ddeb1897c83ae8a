#include "config/sink_values.h"

#include "base/address.h"
#include "config/handler_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HTTP = 1 << TG_SINK_HTTP, SCRIPT = 1 << TG_SINK_SCRIPT, REDIS = 1 << TG_SINK_REDIS };

enum { KEY_SIZE = TG_SINK_PATH_SIZE + 8, REDIS_NAME_MAX = 128 };

/* The keys that not all kinds have; and what is said of one where it means nothing. */
static const struct {
  const char *key;
  unsigned kinds;
  const char *why;
} keys[] = {
    {"format", HTTP | SCRIPT, "entries of a Redis stream have fields of their own; see layout"},
    {"authorization", HTTP | SCRIPT, "a Redis takes user and password from the URL"},
    {"timeout", HTTP | SCRIPT, "a Redis has 3 s for each answer"},
    {"batch", HTTP | SCRIPT, "a Redis always gets batches"},
    {"order", HTTP, "a Redis stream and a script get each shard's events in their order"},
    {"in_flight", HTTP, "a Redis stream and a script get each shard's events in their order"},
    {"headers", HTTP | SCRIPT, "a Redis gets no requests of HTTP"},
    {"signing_secrets", HTTP | SCRIPT, "a Redis gets no requests of HTTP"},
    {"guild_loaded", HTTP | SCRIPT, "entries of a Redis stream have fields of their own"},
    {"prefix", REDIS, NULL},
    {"layout", REDIS, NULL},
    {"max_length", REDIS, NULL},
    {"replicas", REDIS, NULL},
    {"settle", REDIS, NULL},
    {"commands_group", REDIS, NULL},
};

enum { KEY_COUNT = sizeof keys / sizeof keys[0] };

enum tg_sink_kind tg_sink_kind(const struct tg_handler_config *handler)
{
  if (handler->urls.count == 0)
    return TG_SINK_SCRIPT;
  return tg_url_is_redis(handler->urls.items[0]) ? TG_SINK_REDIS : TG_SINK_HTTP;
}

const char *tg_check_sink_name(const char *name)
{
  static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
  enum { LONGEST = 32 };
  size_t length = strlen(name);
  if (strcmp(name, "bot") == 0)
    return "is the sink that event_handler configures; take another name";
  if (length == 0 || length > LONGEST || strspn(name, letters) < length || strchr("_-", name[0]))
    return "is no name of a sink: up to 32 lower-case letters, digits, _ and -, a letter or a digit first";
  return NULL;
}

const char *tg_check_redis_name(const char *text)
{
  if (text[strcspn(text, " \t")])
    return "must not contain blanks";
  return strlen(text) > REDIS_NAME_MAX ? "is too long; 128 bytes are taken" : NULL;
}

void tg_read_sink_url(const struct tg_reader *reader, const json_t *value, void *field)
{
  struct tg_strings *urls = field;
  char *url = tg_schema_text(reader, 0, value);
  if (url)
    tg_strings_add(urls, url);
  free(url);
}

json_t *tg_write_sink_url(const void *field)
{
  const struct tg_strings *urls = field;
  return urls->count == 1 ? json_string(urls->items[0]) : NULL;
}

static unsigned kinds_of(const char *key)
{
  for (int i = 0; i < KEY_COUNT; i++)
    if (strcmp(keys[i].key, key) == 0)
      return keys[i].kinds;
  return HTTP | SCRIPT | REDIS;
}

bool tg_sink_has(const void *entry, const char *key)
{
  const struct tg_sink_config *sink = entry;
  if (strcmp(key, "urls") == 0)
    return sink->handler.urls.count != 1; /* url says it */
  if (strcmp(key, "commands_group") == 0 && sink->redis.layout == TG_LAYOUT_OWN)
    return false;
  return kinds_of(key) >> tg_sink_kind(&sink->handler) & 1;
}

/* ---- what cannot be ---- */

/* Whether what the sink is was given, and is no text of a URL. */
static bool is_unknown(const char *path, const struct tg_problems *problems)
{
  char url[KEY_SIZE], urls[KEY_SIZE];
  snprintf(url, sizeof url, "%s.url", path);
  snprintf(urls, sizeof urls, "%s.urls", path);
  return tg_problem_is_with(problems, url) || tg_problem_is_with(problems, urls);
}

static void check_urls(const char *path, const json_t *given, const struct tg_strings *urls,
                       struct tg_problems *problems)
{
  if (tg_schema_find(given, "url") && tg_schema_find(given, "urls"))
    tg_problem_add(problems, "%s.url: stands beside urls; write one or the other", path);
  for (int i = 1; i < urls->count; i++)
    if (tg_url_is_redis(urls->items[i]) != tg_url_is_redis(urls->items[0]))
      tg_problem_add(problems,
                     "%s.urls[%d]: is of another kind than urls[1]; a sink is of one kind, and what goes to "
                     "both needs two sinks",
                     path, i + 1);
}

static void check_keys(const char *path, const json_t *given, const struct tg_sink_config *sink,
                       struct tg_problems *problems)
{
  enum tg_sink_kind kind = tg_sink_kind(&sink->handler);
  for (int i = 0; i < KEY_COUNT; i++) {
    if (keys[i].kinds >> kind & 1 || !tg_schema_find(given, keys[i].key))
      continue;
    if (keys[i].why)
      tg_problem_add(problems, "%s.%s: means nothing here: %s", path, keys[i].key, keys[i].why);
    else
      tg_problem_add(problems, "%s.%s: means nothing here: it is of Redis, and this sink has %s", path,
                     keys[i].key, kind == TG_SINK_SCRIPT ? "no URL" : "URLs of http");
  }
  if (kind != TG_SINK_REDIS)
    return;
  bool own = sink->redis.layout == TG_LAYOUT_OWN;
  if (own && tg_schema_find(given, "commands_group"))
    tg_problem_add(problems, "%s.commands_group: means nothing here: commands come with layout \"discordjs\"",
                   path);
  if (!own && sink->handler.markers)
    tg_problem_add(problems, "%s.markers: means nothing here: layout \"discordjs\" has no place for markers",
                   path);
}

void tg_finish_sink(const char *path, const json_t *given, void *entry, struct tg_problems *problems)
{
  struct tg_sink_config *sink = entry;
  check_urls(path, given, &sink->handler.urls, problems);
  tg_check_handler(path, &sink->handler, &sink->queue, problems);
  if (is_unknown(path, problems))
    return;
  check_keys(path, given, sink, problems);
  if (tg_sink_kind(&sink->handler) != TG_SINK_REDIS)
    return;
  sink->handler.batch = TG_BATCH_USUAL;
  if (!tg_schema_find(given, "markers"))
    sink->handler.markers = sink->redis.layout == TG_LAYOUT_OWN;
}
