#include "config/config_warnings.h"

#include "base/address.h"
#include "base/buf.h"
#include "base/suggest.h"
#include "config/config_options.h"
#include "config/environment.h"
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
  if (!config->resharding.enabled || (!part && !config->identify.url))
    return;
  tg_problem_add(
      warnings,
      "resharding: this gateway %s, so that it cannot go over to more shards by itself when the bot "
      "grows; resharding.enabled = false says that this is known",
      part ? "has a part of the bot's shards (first_shard_id, last_shard_id)"
           : "shares the bot's shards with others (identify.url)");
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

static void warn_secrets(const struct tg_config *config, struct tg_problems *warnings)
{
  const char *listen = config->control.listen, *broker = config->identify.url, *handler = NULL;
  for (int i = 0; i < config->event_handler.urls.count && !handler; i++) {
    if (!tg_url_is_loopback(config->event_handler.urls.items[i]))
      handler = "the event handler";
  }
  warn_secret("control.authorization", config->control.authorization,
              tg_listen_is_loopback(listen) ? NULL : "the control API", warnings);
  warn_secret("event_handler.authorization", config->event_handler.authorization, handler, warnings);
  warn_secret("identify.authorization", config->identify.authorization,
              broker && !tg_url_is_loopback(broker) ? "the broker" : NULL, warnings);
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

static bool is_handled(const struct tg_config *config, const char *name)
{
  const struct tg_strings *events = &config->event_handler.events;
  for (int i = 0; i < events->count; i++)
    if (strcmp(events->items[i], name) == 0)
      return true;
  return tg_config_wants_all_events(config);
}

static void warn_handler(const struct tg_config *config, struct tg_problems *warnings)
{
  enum tg_event_format format = config->event_handler.format;
  if (config->event_handler.guild_loaded && format != TG_FORMAT_DISCORDENO)
    tg_problem_add(warnings, "event_handler.guild_loaded: means something with event_handler.format "
                             "\"discordeno\" alone");
  for (int i = 0; i < config->event_handler.urls.count && format == TG_FORMAT_CHAT_SDK; i++) {
    const char *url = config->event_handler.urls.items[i];
    if (strncasecmp(url, "http://", 7) == 0 && !tg_url_is_loopback(url))
      tg_problem_add(
          warnings,
          "event_handler.urls[%d]: is not https://, and with event_handler.format \"chat-sdk\" the "
          "bot's token goes there with each request, to be read by all in between",
          i + 1);
  }
  if (config->interaction.express && !is_handled(config, "INTERACTION_CREATE"))
    tg_problem_add(warnings, "interaction.express: does nothing, because event_handler.events leaves "
                             "INTERACTION_CREATE out");
  if (!tg_config_wants_all_events(config))
    warn_event_names("event_handler.events", &config->event_handler.events, warnings);
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

static void warn_variable(const struct variables *own, char *const *environment, const char *name,
                          struct tg_problems *warnings)
{
  const char *meant = tg_suggest(name, own->names, own->count);
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
    warn_handler(config, &warnings);
  }
  warn_environment(environment, &warnings);
  if (config)
    warn_plugins(config, environment, &warnings);
  return warnings;
}
