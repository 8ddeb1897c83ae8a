#include "config/config_warnings.h"

#include "base/address.h"
#include "base/buf.h"
#include "base/suggest.h"
#include "base/url_parts.h"
#include "config/config_options.h"
#include "config/environment.h"
#include "config/handler_rules.h"
#include "config/handler_values.h"
#include "config/plugin_values.h"
#include "proto/event_names.h"
#include "proto/intents.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
  IDENTIFY_WINDOW = 5000,  /* ms in which Discord takes one identify a bucket */
  HANG_NOTICED_BY = 20000, /* ms: half of the usual heartbeat interval */
  SECRET_LENGTH = 16,      /* characters: what a machine far away cannot try out */
  VARIABLES_MAX = 128,
};

static void warn_intents(const struct tg_config *config, struct tg_problems *warnings)
{
  uint64_t unknown = config->intents & ~(uint64_t)TG_INTENTS_ALL;
  char names[TG_INTENTS_TEXT];
  tg_intents_format(unknown, names, sizeof names);
  if (unknown)
    tg_problem_add(warnings,
                   "intents: %" PRIu64 " has %s, which no intent has that this version knows; Discord closes "
                   "with 4013 if it knows none either",
                   config->intents, names);
  uint64_t optional = config->optional_intents;
  tg_intents_format(optional & ~config->intents, names, sizeof names);
  if (names[0])
    tg_problem_add(warnings, "optional_intents: intents has no %s, so that nobody asks for it", names);
  tg_intents_format(optional & config->intents & ~(uint64_t)TG_INTENTS_PRIVILEGED, names, sizeof names);
  if (names[0])
    tg_problem_add(warnings,
                   "optional_intents: %s: Discord only refuses the privileged guild_members, guild_presences "
                   "and message_content",
                   names);
}

void tg_config_warn_delay(const struct tg_config *config, const char *gateway_url,
                          struct tg_problems *warnings)
{
  tg_ms delay = config->spawn_shard_delay;
  if (delay == 0 || (delay < IDENTIFY_WINDOW && (!gateway_url || tg_url_is_discord(gateway_url))))
    tg_problem_add(warnings,
                   "spawn_shard_delay: %" PRId64 " ms is too short; Discord refuses a second identify of a "
                   "bucket within %d ms, and counts it nevertheless",
                   delay, IDENTIFY_WINDOW);
}

void tg_config_warn_resharding(const struct tg_config *config, struct tg_problems *warnings)
{
  int first = config->first_shard_id, last = config->last_shard_id, total = config->total_shards;
  bool part = first > 0 || (last >= 0 && last != total - 1);
  if (config->resharding.enabled && part)
    tg_problem_add(
        warnings,
        "resharding: this gateway has a part of the bot's shards (first_shard_id, last_shard_id), so "
        "that it cannot go over to more shards by itself when the bot grows; resharding.enabled = "
        "false says that this is known");
}

/* The secret of a proxy, such as a bot's environment may have, would be shown to Discord. */
static void warn_rest(const struct tg_config *config, struct tg_problems *warnings)
{
  const char *given = config->rest.authorization;
  if (given && strncmp(given, "Bot ", 4) != 0 && tg_url_is_discord(config->rest.url))
    tg_problem_add(warnings,
                   "rest.authorization: is no \"Bot <token>\", and rest.url is Discord, which takes "
                   "nothing else; leave it out (REST_AUTHORIZATION, too), or set rest.url to the "
                   "proxy that it is for");
}

static void warn_script(const struct tg_config *config, struct tg_problems *warnings)
{
  if (config->script.kill_after > HANG_NOTICED_BY)
    tg_problem_add(warnings,
                   "script.kill_after: %" PRId64 " ms is so long that a worker that hangs misses heartbeats, "
                   "and Discord ends its sessions; %d ms are safe",
                   config->script.kill_after, HANG_NOTICED_BY);
}

/* `where`: what other machines can reach, or NULL: they reach nothing where the
 * secret would help. Words as "Bearer" before it are no part of it. */
static void warn_secret(const char *key, const char *secret, const char *where, struct tg_problems *warnings)
{
  if (!secret || !where)
    return;
  const char *blank = strrchr(secret, ' ');
  size_t length = strlen(blank ? blank + 1 : secret);
  if (length < SECRET_LENGTH)
    tg_problem_add(warnings,
                   "%s: a secret of %zu character%s can be guessed, and %s is not on this machine alone; "
                   "take %d or more, such as `openssl rand -hex 16` makes",
                   key, length, length == 1 ? "" : "s", where, SECRET_LENGTH);
}

static bool leads_away(const struct tg_strings *urls)
{
  for (int i = 0; i < urls->count; i++)
    if (!tg_url_is_loopback(urls->items[i]))
      return true;
  return false;
}

static void warn_secrets(const struct tg_config *config, struct tg_problems *warnings)
{
  const char *listen = config->control.listen;
  warn_secret("control.authorization", config->control.authorization,
              tg_listen_is_loopback(listen) ? NULL : "the control API", warnings);
  warn_secret("event_handler.authorization", config->event_handler.authorization,
              leads_away(&config->event_handler.urls) ? "the event handler" : NULL, warnings);
}

static void warn_event_names(const char *key, const struct tg_strings *names, struct tg_problems *warnings)
{
  for (int i = 0; i < names->count; i++) {
    const char *name = names->items[i];
    const char *meant = tg_event_name_suggest(name);
    if (!tg_event_name_is_documented(name))
      tg_problem_add(warnings, "%s[%d]: no event that this version knows is called %s%s%s%s", key, i + 1,
                     name, meant ? "; did you mean " : "", meant ? meant : "", meant ? "?" : "");
  }
}

static bool is_plain_http(const char *url)
{
  return strncasecmp(url, "http://", 7) == 0 && !tg_url_is_loopback(url);
}

/* `path`: "event_handler", or "sinks.stats". */
static void warn_handler(const char *path, const struct tg_handler_config *handler,
                         struct tg_problems *warnings)
{
  char events[TG_SINK_PATH_SIZE + 8];
  snprintf(events, sizeof events, "%s.events", path);
  if (handler->guild_loaded && handler->format != TG_FORMAT_DISCORDENO)
    tg_problem_add(warnings, "%s.guild_loaded: means something with %s.format \"discordeno\" alone", path,
                   path);
  for (int i = 0; i < handler->urls.count && handler->format == TG_FORMAT_CHAT_SDK; i++)
    if (is_plain_http(handler->urls.items[i]))
      tg_problem_add(warnings,
                     "%s.urls[%d]: is not https://, and with %s.format \"chat-sdk\" the bot's token goes "
                     "there with each request, to be read by all in between",
                     path, i + 1, path);
  if (!tg_handler_takes_all(handler))
    warn_event_names(events, &handler->events, warnings);
}

static void warn_express(const struct tg_config *config, struct tg_problems *warnings)
{
  if (config->interaction.express && !tg_handler_takes(&config->event_handler, "INTERACTION_CREATE"))
    tg_problem_add(warnings, "interaction.express: does nothing, because event_handler.events leaves "
                             "INTERACTION_CREATE out");
}

/* ---- sinks ---- */

/* Which of its keys goes with each request, and is secret; NULL: none. */
static const char *secret_key(const struct tg_handler_config *handler)
{
  struct tg_strings secrets = {0};
  tg_header_secrets(&handler->headers, &secrets);
  bool in_headers = secrets.count > 0;
  tg_strings_free(&secrets);
  return handler->authorization ? "authorization" : in_headers ? "headers" : NULL;
}

/* A secret that is to be read by all between here and there; `secret`: the key of one beside the URL, or
 * NULL. */
static void warn_plain_url(const char *path, const char *url, const char *secret,
                           struct tg_problems *warnings)
{
  size_t length;
  bool redis = strncasecmp(url, "redis://", 8) == 0 && !tg_url_is_loopback(url);
  const char *what = tg_url_password(url, &length) ? "the password in it" : redis ? NULL : secret;
  char *shown = tg_url_public(url);
  if (what && (redis || is_plain_http(url)))
    tg_problem_add(warnings,
                   "%s: %s is not %s, so that %s is to be read by all between here and there: fine on "
                   "a network of your own alone",
                   path, shown, redis ? "rediss://" : "https://", what);
  free(shown);
}

static void warn_sink(const struct tg_sink_config *sink, struct tg_problems *warnings)
{
  char path[TG_SINK_PATH_SIZE], key[TG_SINK_PATH_SIZE + 24];
  snprintf(path, sizeof path, "sinks.%s", sink->name);
  warn_handler(path, &sink->handler, warnings);
  for (int i = 0; i < sink->handler.urls.count; i++)
    warn_plain_url(path, sink->handler.urls.items[i], secret_key(&sink->handler), warnings);
  snprintf(key, sizeof key, "%s.authorization", path);
  warn_secret(key, sink->handler.authorization, leads_away(&sink->handler.urls) ? "the sink" : NULL,
              warnings);
  snprintf(key, sizeof key, "%s.queue.drop_first", path);
  warn_event_names(key, &sink->queue.drop_first, warnings);
}

static void warn_storm(const struct tg_storm_rules *rules, struct tg_problems *warnings)
{
  for (int i = 0; i < rules->count; i++) {
    const struct tg_strings *events = &rules->list[i].events;
    char key[48];
    snprintf(key, sizeof key, "storm.rules[%d].events", i + 1);
    if (strcmp(events->items[0], TG_ALL_EVENTS) != 0)
      warn_event_names(key, events, warnings);
  }
}

/* ---- variables ---- */

struct variables {
  char texts[VARIABLES_MAX][TG_VARIABLE_NAME];
  const char *names[VARIABLES_MAX];
  size_t count;
};

static void list_variables(struct variables *own)
{
  while (own->count < VARIABLES_MAX && tg_config_variable(own->count, own->texts[own->count])) {
    own->names[own->count] = own->texts[own->count];
    own->count++;
  }
}

static bool is_set(char *const *environment, const char *name)
{
  size_t length = strlen(name);
  for (; *environment; environment++)
    if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
      return (*environment)[length + 1] != '\0';
  return json_object_get(tg_environment_hidden(), name);
}

static bool is_ours(const struct variables *own, const char *name)
{
  for (size_t i = 0; i < own->count; i++)
    if (strcmp(own->names[i], name) == 0)
      return true;
  return strcmp(name, "TIDEGATE_HURRY") == 0 || strcmp(name, "TIDEGATE_CORE_DUMPS") == 0;
}

/* What Kubernetes and Docker set for a service that is called tidegate. */
static bool is_of_a_service(const char *name)
{
  size_t length = strlen(name);
  return strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") || strstr(name, "_PORT_") ||
         (length > 5 && strcmp(name + length - 5, "_PORT") == 0);
}

/* One or two letters differ, but not the first: TEST_URL is nobody's REST_URL. */
static bool is_near(const char *name, const char *own)
{
  return tolower((unsigned char)name[0]) == tolower((unsigned char)own[0]) &&
         tg_suggest_distance(name, own) <= 2;
}

/* TIDEGATE_CLUSTER_URL means TIDEGATE_CLUSTER, although TIDEGATE_CLUSTER_FILE takes as few letters. */
static const char *begins_with(const struct variables *own, const char *name)
{
  const char *longest = NULL;
  for (size_t i = 0; i < own->count; i++) {
    size_t length = strlen(own->names[i]);
    if (strncmp(name, own->names[i], length) == 0 && name[length] == '_' &&
        (!longest || length > strlen(longest)))
      longest = own->names[i];
  }
  return longest;
}

static const char *meant_by(const struct variables *own, const char *name)
{
  const char *meant = tg_suggest(name, own->names, own->count), *beginning = begins_with(own, name);
  return beginning && !(meant && is_near(name, meant)) ? beginning : meant;
}

static void warn_variable(const struct variables *own, char *const *environment, const char *name,
                          struct tg_problems *warnings)
{
  const char *meant = meant_by(own, name);
  bool prefixed = strncmp(name, "TIDEGATE_", strlen("TIDEGATE_")) == 0 && !is_of_a_service(name);
  bool near = meant && is_near(name, meant) && !is_set(environment, meant);
  if (is_ours(own, name) || tg_is_plugin_variable(name) || (!prefixed && !near))
    return;
  if (meant)
    tg_problem_add(warnings, "environment variable %s: it means nothing here; did you mean %s?", name, meant);
  else
    tg_problem_add(warnings, "environment variable %s: it means nothing here", name);
}

static void warn_environment(char *const *environment, struct tg_problems *warnings)
{
  struct variables own = {.count = 0};
  list_variables(&own);
  for (char *const *at = environment; *at; at++) {
    size_t length = strcspn(*at, "=");
    char name[TG_VARIABLE_NAME];
    if (length == 0 || length >= sizeof name || !(*at)[length] || !(*at)[length + 1])
      continue;
    snprintf(name, sizeof name, "%.*s", (int)length, *at);
    warn_variable(&own, environment, name, warnings);
  }
}

/* An object without members: no plugin at all is named. */
static void warn_plugins(const struct tg_config *config, char *const *environment,
                         struct tg_problems *warnings)
{
  json_t *none = json_object();
  const json_t *named = config->plugins ? config->plugins : none;
  tg_plugins_warn(config->plugins_of_script ? NULL : named, environment, warnings);
  json_decref(none);
}

struct tg_problems tg_config_warnings(const struct tg_config *config, char *const *environment)
{
  struct tg_problems warnings = {0};
  if (config) {
    warn_intents(config, &warnings);
    warn_rest(config, &warnings);
    warn_script(config, &warnings);
    warn_secrets(config, &warnings);
    warn_event_names("queue.drop_first", &config->queue.drop_first, &warnings);
    warn_handler("event_handler", &config->event_handler, &warnings);
    warn_express(config, &warnings);
    warn_storm(&config->storm.rules, &warnings);
    for (int i = 0; i < config->sink_count; i++)
      warn_sink(&config->sinks[i], &warnings);
    if (config->cluster.url)
      warn_plain_url("cluster.url", config->cluster.url, NULL, &warnings);
  }
  warn_environment(environment, &warnings);
  if (config)
    warn_plugins(config, environment, &warnings);
  return warnings;
}
