#include "config/plugin_values.h"

#include "base/buf.h"
#include "base/suggest.h"
#include "config/environment.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char prefix[] = "TIDEGATE_PLUGIN_";
static const char what_names_have[] = "lower-case letters, digits and -, a letter first";

enum { NAME_MAX_LENGTH = TG_PLUGIN_VARIABLE_SIZE - sizeof prefix };

bool tg_is_plugin_name(const char *name)
{
  size_t length = strlen(name);
  return islower((unsigned char)name[0]) && length <= NAME_MAX_LENGTH &&
         strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

void tg_plugin_variable(const char *name, char variable[TG_PLUGIN_VARIABLE_SIZE])
{
  snprintf(variable, TG_PLUGIN_VARIABLE_SIZE, "%s%.*s", prefix, (int)NAME_MAX_LENGTH, name);
  for (char *at = variable + strlen(prefix); *at; at++)
    *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
}

bool tg_is_plugin_variable(const char *variable)
{
  return strncmp(variable, prefix, strlen(prefix)) == 0 && variable[strlen(prefix)];
}

/* The plugin whose variable it would be. */
static void plugin_of(const char *variable, char name[TG_PLUGIN_VARIABLE_SIZE])
{
  snprintf(name, TG_PLUGIN_VARIABLE_SIZE, "%s", variable + strlen(prefix));
  for (char *at = name; *at; at++)
    *at = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
}

/* ---- reading ---- */

/* null says nothing, as everywhere in the configuration. */
static void drop_nulls(json_t *value)
{
  const char *key;
  void *next;
  json_t *member;
  for (size_t i = 0; i < json_array_size(value); i++)
    drop_nulls(json_array_get(value, i));
  json_object_foreach_safe(value, next, key, member)
  {
    if (json_is_null(member))
      json_object_del(value, key);
    else
      drop_nulls(member);
  }
}

static void read_names(const struct tg_reader *reader, const char *text, json_t *plugins)
{
  struct tg_strings names = {0};
  tg_strings_split(&names, text, TG_LIST_SEPARATORS);
  for (int i = 0; i < names.count; i++) {
    const char *name = names.items[i];
    if (!tg_is_plugin_name(name))
      tg_problem(reader, (size_t)i + 1, "\"%.60s\" is no name of a plugin: %s", name, what_names_have);
    else if (json_object_get(plugins, name))
      tg_problem(reader, (size_t)i + 1, "%s stands there twice", name);
    else
      json_object_set_new(plugins, name, json_object());
  }
  tg_strings_free(&names);
}

/* A table of a script: an empty one may have come as a list. */
static void read_table(const struct tg_reader *reader, const json_t *value, json_t *plugins)
{
  const char *name;
  json_t *config;
  json_object_foreach((json_t *)value, name, config)
  {
    bool empty_list = json_is_array(config) && json_array_size(config) == 0;
    if (!tg_is_plugin_name(name))
      tg_problem(reader, 0, "\"%.60s\" is no name of a plugin: %s", name, what_names_have);
    else if (json_is_object(config) || empty_list)
      json_object_set_new(plugins, name, empty_list ? json_object() : json_deep_copy(config));
    else if (!json_is_null(config))
      tg_problem_add(reader->problems, "%s.%s: expected a table, the plugin's configuration, got %s",
                     reader->path, name, tg_json_kind(config));
  }
  drop_nulls(plugins);
}

void tg_read_plugins(const struct tg_reader *reader, const json_t *value, void *field)
{
  json_t **plugins = field;
  json_decref(*plugins);
  *plugins = json_object();
  if (reader->variable)
    read_names(reader, json_string_value(value), *plugins);
  else if (json_is_object(value) || (json_is_array(value) && json_array_size(value) == 0))
    read_table(reader, value, *plugins);
  else
    tg_problem(reader, 0, "expected a table of plugins by their names, { [\"drop-bots\"] = { ... } }, got %s",
               tg_json_kind(value));
}

json_t *tg_write_plugins(const void *field)
{
  const char *name;
  json_t *config, *masked = json_copy(*(json_t *const *)field);
  json_object_foreach(masked, name, config) json_object_set_new(masked, name, json_string("***"));
  return masked;
}

/* Nothing of the text is told: secrets may be in it. */
static json_t *read_configuration(const char *name, const char *variable, const char *text,
                                  struct tg_problems *problems)
{
  json_error_t error;
  json_t *config = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
  if (json_is_object(config))
    return config;
  if (config)
    tg_problem_add(problems,
                   "plugins.%s (environment variable %s): expected a JSON object, {\"key\": value}, got %s",
                   name, variable, tg_json_kind(config));
  else
    tg_problem_add(problems,
                   "plugins.%s (environment variable %s): expected a JSON object, {\"key\": value}; it is no "
                   "JSON from line %d, column %d on",
                   name, variable, error.line, error.column);
  json_decref(config);
  return NULL;
}

void tg_plugins_configure(json_t *plugins, const char *(*env)(const char *name), struct tg_problems *problems)
{
  const char *name;
  json_t *empty;
  json_object_foreach(plugins, name, empty)
  {
    char variable[TG_PLUGIN_VARIABLE_SIZE];
    tg_plugin_variable(name, variable);
    const char *text = env(variable);
    json_t *config = text && *text ? read_configuration(name, variable, text, problems) : NULL;
    drop_nulls(config);
    if (config)
      json_object_set_new(plugins, name, config);
  }
}

/* ---- warnings ---- */

/* The one of the list whose variable was meant, or NULL. */
static const char *meant(const json_t *plugins, const char *plugin)
{
  size_t count = 0;
  const char *name, **names = tg_calloc(json_object_size(plugins) + 1, sizeof *names);
  json_t *config;
  json_object_foreach((json_t *)plugins, name, config) names[count++] = name;
  name = tg_suggest(plugin, names, count);
  free(names);
  return name;
}

static void warn(const json_t *plugins, const char *variable, struct tg_problems *warnings)
{
  char plugin[TG_PLUGIN_VARIABLE_SIZE], right[TG_PLUGIN_VARIABLE_SIZE] = "", again[TG_PLUGIN_VARIABLE_SIZE];
  plugin_of(variable, plugin);
  tg_plugin_variable(plugin, again);
  if (json_object_get(plugins, plugin) && strcmp(again, variable) == 0)
    return;
  const char *near = meant(plugins, plugin);
  if (near)
    tg_plugin_variable(near, right);
  if (!plugins)
    tg_problem_add(warnings,
                   "environment variable %s: it means nothing here, because plugins in gateway.configure "
                   "stands in the place of TIDEGATE_PLUGINS",
                   variable);
  else
    tg_problem_add(warnings, "environment variable %s: TIDEGATE_PLUGINS names no plugin '%s'%s%s%s", variable,
                   plugin, near ? "; did you mean " : "", right, near ? "?" : "");
}

void tg_plugins_warn(const json_t *plugins, char *const *environment, struct tg_problems *warnings)
{
  const char *name;
  json_t *text;
  for (; *environment; environment++) {
    size_t length = strcspn(*environment, "=");
    char *variable = tg_strndup(*environment, length);
    bool says_something = (*environment)[length] && (*environment)[length + 1];
    if (says_something && tg_is_plugin_variable(variable))
      warn(plugins, variable, warnings);
    free(variable);
  }
  json_object_foreach(tg_environment_hidden(), name, text)
  {
    if (tg_is_plugin_variable(name))
      warn(plugins, name, warnings);
  }
}
