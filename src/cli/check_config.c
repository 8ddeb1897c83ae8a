#include "cli/check_config.h"

#include "base/buf.h"
#include "cli/check_table.h"
#include "cli/config_text.h"
#include "config/config.h"
#include "config/config_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const json_t *at_path(const json_t *object, const char *path)
{
  for (const char *dot; object && (dot = strchr(path, '.')); path = dot + 1) {
    char *key = tg_strndup(path, (size_t)(dot - path));
    object = json_object_get(object, key);
    free(key);
  }
  return json_object_get(object, path);
}

/* The environment without our own variables: what the defaults depend on. */
static const char *plain_environment(const char *name)
{
  char own[TG_VARIABLE_NAME];
  for (size_t i = 0; tg_config_variable(i, own); i++) {
    if (strcmp(own, name) == 0)
      return NULL;
  }
  return getenv(name);
}

/* A sink's URLs say of what kind it is, and with its layout which keys it has. */
static json_t *bare_sinks(const json_t *sinks)
{
  static const char *const kept[] = {"url", "urls", "layout"};
  json_t *bare = json_object(), *sink;
  const char *name;
  json_object_foreach((json_t *)sinks, name, sink)
  {
    json_t *keys = json_object();
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
      if (json_object_get(sink, kept[i]))
        json_object_set(keys, kept[i], json_object_get(sink, kept[i]));
    json_object_set_new(bare, name, keys);
  }
  return bare;
}

/* What holds if nobody says more than that there are these sinks. */
static json_t *defaults(const json_t *sinks)
{
  struct tg_config config = {0};
  struct tg_problems problems = {0};
  json_t *given = json_pack("{s:s, s:i, s:o}", "token", "none", "intents", 0, "sinks", bare_sinks(sinks));
  json_t *result = NULL;
  if (tg_config_load(given, plain_environment, &config, &problems)) {
    result = tg_config_to_json(&config);
    tg_config_free(&config);
  }
  tg_problems_free(&problems);
  json_decref(given);
  return result;
}

struct printing {
  struct tg_check_table told, usual; /* what somebody has said, and what holds without */
  const json_t *secret_files;
};

/* `value` NULL: there is none. `otherwise`: what it would be by default. */
static void add(struct printing *printing, const struct tg_option *option, const char *path, bool always,
                const json_t *value, const json_t *otherwise)
{
  struct tg_buf text = {0};
  if (!value)
    return;
  tg_config_text(option, value, &text);
  const char *file = json_string_value(json_object_get(printing->secret_files, path));
  if (file)
    tg_buf_printf(&text, " from %s", file);
  char *words = tg_buf_take(&text);
  bool told = file || always || !json_equal(value, otherwise);
  tg_check_row(told ? &printing->told : &printing->usual, path, "", words);
  free(words);
}

static void add_sinks(struct printing *printing, const json_t *sinks, const json_t *usual)
{
  const char *name;
  json_t *sink;
  json_object_foreach((json_t *)sinks, name, sink)
  {
    const json_t *otherwise = json_object_get(usual, name);
    for (size_t i = 0; i < tg_sink_option_count; i++) {
      const char *key = tg_sink_options[i].path;
      struct tg_buf path = {0};
      tg_buf_printf(&path, "sinks.%s.%s", name, key);
      add(printing, &tg_sink_options[i], path.data, strncmp(key, "url", 3) == 0, at_path(sink, key),
          at_path(otherwise, key));
      tg_buf_free(&path);
    }
  }
}

void tg_check_print_config(const json_t *configuration, const json_t *secret_files)
{
  json_t *usual = defaults(json_object_get(configuration, "sinks"));
  struct printing printing = {.secret_files = secret_files};
  for (size_t i = 0; i < tg_config_option_count; i++) {
    const struct tg_option *option = &tg_config_options[i];
    const json_t *value = at_path(configuration, option->path), *otherwise = at_path(usual, option->path);
    bool required = strcmp(option->path, "token") == 0 || strcmp(option->path, "intents") == 0;
    if (option->kind == TG_OPTION_MAP)
      add_sinks(&printing, value, otherwise);
    else
      add(&printing, option, option->path, required, value, otherwise);
  }
  json_decref(usual);
  tg_check_rows_print(&printing.told, "Configuration");
  tg_check_rows_print(&printing.usual, "By default");
}
