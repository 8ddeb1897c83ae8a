#include "config/config_sources.h"

#include "base/buf.h"
#include "config/config.h"
#include "config/config_options.h"
#include "config/plugin_values.h"
#include "config/secret.h"

#include <stdlib.h>
#include <string.h>

typedef const char *env_lookup(const char *name);

static bool is_set(env_lookup *env, const char *name)
{
  const char *value = name ? env(name) : NULL;
  return value && *value;
}

static void note_script(json_t *sources, const char *path)
{
  json_object_set_new(sources, path, json_pack("{s:s}", "from", "script"));
}

static void note_variable(json_t *sources, const char *path, const char *name)
{
  json_object_set_new(sources, path, json_pack("{s:s, s:s}", "from", "environment", "variable", name));
}

/* What stands in a file is led to by another variable. */
static void note_option(json_t *sources, const struct tg_option *option, const json_t *given, env_lookup *env)
{
  char named_by[TG_SECRET_NAME];
  if (tg_schema_find(given, option->path)) {
    note_script(sources, option->path);
  } else if (is_set(env, option->env)) {
    note_variable(sources, option->path, option->env);
  } else if (tg_option_has_file(option)) {
    char *path = tg_secret_path(option->env, env, named_by);
    if (path)
      note_variable(sources, option->path, named_by);
    free(path);
  }
}

/* Only scripts have sinks. */
static void note_sinks(json_t *sources, const json_t *given, const struct tg_config *config)
{
  for (int i = 0; i < config->sink_count; i++) {
    const char *name = config->sinks[i].name;
    const json_t *sink = json_object_get(tg_schema_find(given, "sinks"), name);
    for (size_t k = 0; k < tg_sink_option_count; k++) {
      struct tg_buf path = {0};
      tg_buf_printf(&path, "sinks.%s.%s", name, tg_sink_options[k].path);
      if (tg_schema_find(sink, tg_sink_options[k].path))
        note_script(sources, path.data);
      tg_buf_free(&path);
    }
  }
}

/* Where the environment names plugins, it may configure each. */
static void note_plugins(json_t *sources, env_lookup *env, const struct tg_config *config)
{
  const char *name;
  json_t *plugin;
  json_object_foreach(config->plugins, name, plugin)
  {
    char variable[TG_PLUGIN_VARIABLE_SIZE];
    struct tg_buf path = {0};
    tg_buf_printf(&path, "plugins.%s", name);
    tg_plugin_variable(name, variable);
    if (config->plugins_of_script)
      note_script(sources, path.data);
    else
      note_variable(sources, path.data, is_set(env, variable) ? variable : "TIDEGATE_PLUGINS");
    tg_buf_free(&path);
  }
}

/* Its default is what others have told us of the system. */
static void note_state_dir(json_t *sources, env_lookup *env)
{
  const char *xdg = env("XDG_STATE_HOME");
  if (json_object_get(sources, "state_dir"))
    return;
  if (is_set(env, "STATE_DIRECTORY"))
    note_variable(sources, "state_dir", "STATE_DIRECTORY");
  else if (xdg && *xdg == '/')
    note_variable(sources, "state_dir", "XDG_STATE_HOME");
}

json_t *tg_config_sources_find(const json_t *given, env_lookup *env, const struct tg_config *config)
{
  json_t *sources = json_object();
  for (size_t i = 0; i < tg_config_option_count; i++)
    note_option(sources, &tg_config_options[i], given, env);
  note_sinks(sources, given, config);
  note_plugins(sources, env, config);
  note_state_dir(sources, env);
  return sources;
}

static void put(json_t *object, const char *key, json_t *value)
{
  if (value)
    json_object_set_new(object, key, value);
  else
    json_object_del(object, key);
}

static void swap(json_t *a, json_t *b, const char *key)
{
  json_t *of_a = json_incref(json_object_get(a, key)), *of_b = json_incref(json_object_get(b, key));
  put(a, key, of_b);
  put(b, key, of_a);
}

void tg_config_sources_swap(struct tg_config *a, struct tg_config *b, const struct tg_problems *keys)
{
  for (int i = 0; i < keys->count; i++) {
    swap(a->sources, b->sources, keys->items[i]);
    swap(a->secret_files, b->secret_files, keys->items[i]);
  }
}
