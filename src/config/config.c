#include "config/config.h"

#include "base/address.h"
#include "base/buf.h"
#include "config/cluster_rules.h"
#include "config/config_options.h"
#include "config/config_sources.h"
#include "config/config_values.h"
#include "config/handler_rules.h"
#include "config/handler_values.h"
#include "config/plugin_values.h"
#include "config/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef const char *env_lookup(const char *name);

static const char *variable(env_lookup *env, const char *name)
{
  const char *value = env(name);
  return value && *value ? value : NULL;
}

static void check_required(const struct tg_config *config, struct tg_problems *problems)
{
  if (!config->token && !tg_problem_is_with(problems, "token"))
    tg_problem_add(problems,
                   "token: is required; set DISCORD_TOKEN in the environment, or DISCORD_TOKEN_FILE to the "
                   "path of a file that holds it, or token in gateway.configure");
  if (config->intents == TG_INTENTS_UNSET)
    tg_problem_add(problems,
                   "intents: is required; set intents in gateway.configure, for example { \"guilds\", "
                   "\"guild_messages\" }, or INTENTS in the environment");
}

static void check_combinations(const struct tg_config *config, struct tg_problems *problems)
{
  int first = config->first_shard_id, last = config->last_shard_id, total = config->total_shards;
  if (last >= 0 && first > last)
    tg_problem_add(problems, "first_shard_id: %d is greater than last_shard_id, %d", first, last);
  if (total > 0 && first >= total)
    tg_problem_add(problems, "first_shard_id: must be below total_shards, %d; got %d", total, first);
  if (total > 0 && last >= total)
    tg_problem_add(problems, "last_shard_id: must be below total_shards, %d; got %d", total, last);
  if (config->gateway_bot.total > 0 && config->gateway_bot.remaining > config->gateway_bot.total)
    tg_problem_add(problems, "gateway_bot.session_start_limit.remaining: %d is greater than total, %d",
                   config->gateway_bot.remaining, config->gateway_bot.total);
  if (!tg_listen_is_loopback(config->control.listen) && !config->control.authorization &&
      !tg_problem_is_with(problems, "control.authorization"))
    tg_problem_add(
        problems,
        "control.authorization: is required because control.listen, %s, can be reached from other machines; "
        "set it, or TIDEGATE_CONTROL_SECRET",
        config->control.listen);
}

static void check_takers(const struct tg_config *config, struct tg_problems *problems)
{
  const char *listen = config->control.listen;
  tg_check_handler("event_handler", &config->event_handler, &config->queue, problems);
  tg_check_handler_urls("event_handler", &config->event_handler, listen, problems);
  for (int i = 0; i < config->sink_count; i++) {
    char path[TG_SINK_PATH_SIZE];
    snprintf(path, sizeof path, "sinks.%s", config->sinks[i].name);
    tg_check_handler_urls(path, &config->sinks[i].handler, listen, problems);
  }
}

/* Where state goes when nobody says: what systemd made for the service, else
 * the user's own state directory. */
static char *default_state_dir(env_lookup *env)
{
  struct tg_buf path = {0};
  const char *service = variable(env, "STATE_DIRECTORY");
  const char *xdg = variable(env, "XDG_STATE_HOME");
  const char *home = variable(env, "HOME");
  if (service)
    tg_buf_append(&path, service, strcspn(service, ":"));
  else if (xdg && xdg[0] == '/')
    tg_buf_printf(&path, "%s/tidegate", xdg);
  else if (home)
    tg_buf_printf(&path, "%s/.local/state/tidegate", home);
  else
    tg_buf_puts(&path, "/var/lib/tidegate");
  return tg_buf_take(&path);
}

char *tg_config_state_dir(env_lookup *env)
{
  const char *given = variable(env, "TIDEGATE_STATE_DIR");
  return given ? tg_strdup(given) : default_state_dir(env);
}

static struct tg_strings default_trees(const char *state_dir)
{
  struct tg_buf own = {0};
  struct tg_strings trees = {0};
  tg_buf_printf(&own, "%s/rocks", state_dir);
  if (!strpbrk(own.data, TG_TREE_FORBIDDEN))
    tg_strings_add(&trees, own.data);
  tg_strings_add(&trees, "/usr/local");
  tg_strings_add(&trees, "/usr");
  tg_buf_free(&own);
  return trees;
}

struct tg_strings tg_config_rocks_trees(env_lookup *env)
{
  struct tg_strings trees = {0};
  const char *given = variable(env, "TIDEGATE_ROCKS_TREES");
  if (given) {
    tg_strings_split(&trees, given, TG_LIST_SEPARATORS);
    return trees;
  }
  char *state_dir = tg_config_state_dir(env);
  trees = default_trees(state_dir);
  free(state_dir);
  return trees;
}

static char *usual_authorization(const char *token)
{
  struct tg_buf text = {0};
  tg_buf_printf(&text, "Bot %s", token);
  return tg_buf_take(&text);
}

static void note_secret_files(struct tg_config *config, const json_t *given, env_lookup *env)
{
  config->secret_files = json_object();
  tg_schema_files(tg_config_options, tg_config_option_count, given, config->secret_files);
  for (size_t i = 0; i < tg_config_option_count; i++) {
    const struct tg_option *option = &tg_config_options[i];
    char named_by[TG_SECRET_NAME];
    if (!tg_option_has_file(option) || tg_schema_find(given, option->path) || variable(env, option->env))
      continue;
    char *path = tg_secret_path(option->env, env, named_by);
    if (path)
      json_object_set_new(config->secret_files, option->path, json_string(path));
    free(path);
  }
}

static void cut_slashes(char *url)
{
  for (size_t length = url ? strlen(url) : 0; length > 0 && url[length - 1] == '/';)
    url[--length] = '\0';
}

static void fill_computed(struct tg_config *config, const json_t *given, env_lookup *env)
{
  if (config->token && !config->rest.authorization)
    config->rest.authorization = usual_authorization(config->token);
  if (!config->state_dir)
    config->state_dir = default_state_dir(env);
  if (!tg_schema_find(given, "rocks_trees") && !variable(env, "TIDEGATE_ROCKS_TREES"))
    config->rocks_trees = default_trees(config->state_dir);
  cut_slashes(config->rest.url);
}

bool tg_config_load(const json_t *given, env_lookup *env, struct tg_config *config,
                    struct tg_problems *problems)
{
  *config = (struct tg_config){.intents = TG_INTENTS_UNSET};
  *problems = (struct tg_problems){0};
  tg_schema_read(tg_config_options, tg_config_option_count, given, env, config, problems);
  config->plugins_of_script = tg_schema_find(given, "plugins");
  if (!config->plugins_of_script)
    tg_plugins_configure(config->plugins, env, problems);
  check_required(config, problems);
  check_combinations(config, problems);
  check_takers(config, problems);
  tg_finish_cluster(given, env, config, problems);
  fill_computed(config, given, env);
  note_secret_files(config, given, env);
  config->sources = tg_config_sources_find(given, env, config);
  if (problems->count == 0)
    return true;
  tg_config_free(config);
  return false;
}

void tg_config_free(struct tg_config *config)
{
  tg_schema_release(tg_config_options, tg_config_option_count, config);
  json_decref(config->secret_files);
  json_decref(config->sources);
  *config = (struct tg_config){0};
}

json_t *tg_config_to_json(const struct tg_config *config)
{
  return tg_schema_write(tg_config_options, tg_config_option_count, config, TG_SECRETS_MASKED);
}

json_t *tg_config_for_scripts(const struct tg_config *config)
{
  return tg_schema_write(tg_config_options, tg_config_option_count, config,
                         config->script.secrets ? TG_SECRETS_SHOWN : TG_SECRETS_NAMED);
}

const char *tg_config_secret(const struct tg_config *config, const struct tg_option *option)
{
  if (option->composed)
    return NULL;
  return *(char *const *)((const char *)config + option->offset);
}

const struct tg_sink_config *tg_config_sink(const struct tg_config *config, const char *name)
{
  for (int i = 0; i < config->sink_count; i++)
    if (strcmp(config->sinks[i].name, name) == 0)
      return &config->sinks[i];
  return NULL;
}

void tg_config_bot_id(const struct tg_config *config, char id[TG_BOT_ID_SIZE])
{
  size_t length = config->token ? strcspn(config->token, ".") : 0;
  unsigned char text[TG_BOT_ID_SIZE + 16] = {0};
  int got = length < 32 ? tg_base64_decode(text, sizeof text, config->token, length) : -1;
  bool digits = got > 0 && got < TG_BOT_ID_SIZE && strspn((char *)text, "0123456789") == (size_t)got;
  snprintf(id, TG_BOT_ID_SIZE, "%.*s", digits ? got : 0, (char *)text);
}

struct tg_strings tg_config_secrets(const struct tg_config *config)
{
  struct tg_strings secrets = {0};
  tg_schema_secrets(tg_config_options, tg_config_option_count, config, &secrets);
  return secrets;
}

struct tg_problems tg_config_needs_restart(const struct tg_config *old, const struct tg_config *new_config)
{
  struct tg_problems keys = {0};
  tg_schema_needs_restart(tg_config_options, tg_config_option_count, old, new_config, &keys);
  return keys;
}

void tg_config_carry_over(struct tg_config *running, struct tg_config *next)
{
  char *usual = usual_authorization(next->token);
  bool is_usual = strcmp(next->rest.authorization, usual) == 0;
  free(usual);
  struct tg_problems changed = tg_config_needs_restart(running, next);
  tg_config_sources_swap(running, next, &changed);
  tg_problems_free(&changed);
  tg_schema_carry_over(tg_config_options, tg_config_option_count, running, next);
  if (!is_usual)
    return;
  free(next->rest.authorization);
  next->rest.authorization = usual_authorization(next->token);
}
