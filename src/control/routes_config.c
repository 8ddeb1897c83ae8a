/* GET /config: the configuration that runs, key by key, and where each value comes from. GET, POST
 * /log-level: the one of its values that can be changed without a reload. */

#include "base/log.h"
#include "base/log_line.h"
#include "base/suggest.h"
#include "base/url_parts.h"
#include "config/config_options.h"
#include "control/routes.h"
#include "manager/status.h"

#include <stdlib.h>
#include <string.h>

struct value_listing {
  const struct tg_config *config;
  json_t *values;
  const char *wanted; /* a key, or what several begin with; NULL: all */
};

/* "queue" is wanted: "queue.sync" is. */
static bool is_wanted(const struct value_listing *listing, const char *key)
{
  size_t length = listing->wanted ? strlen(listing->wanted) : 0;
  return length == 0 || (strncmp(key, listing->wanted, length) == 0 && (key[length] == '.' || !key[length]));
}

static void add(struct value_listing *listing, const char *key, const json_t *value)
{
  const json_t *source = json_object_get(listing->config->sources, key);
  const json_t *file = json_object_get(listing->config->secret_files, key);
  if (!is_wanted(listing, key))
    return;
  json_t *row = json_pack("{s:s, s:o, s:s}", "key", key, "value",
                          value ? json_incref((json_t *)value) : json_null(), "from", "default");
  json_object_update(row, (json_t *)source);
  if (strcmp(key, "log.level") == 0 && tg_log_asked_level() != TG_LOG_AS_CONFIGURED) {
    json_object_clear(row);
    json_object_update_new(row, json_pack("{s:s, s:s, s:s}", "key", key, "value",
                                          tg_log_level_name(tg_log_get_level()), "from", "command"));
  }
  if (file)
    json_object_set(row, "file", (json_t *)file);
  json_array_append_new(listing->values, row);
}

static void add_sinks(struct value_listing *listing, const json_t *sinks)
{
  const char *name;
  json_t *sink;
  json_object_foreach((json_t *)sinks, name, sink)
  {
    for (size_t i = 0; i < tg_sink_option_count; i++) {
      const json_t *value = tg_schema_find(sink, tg_sink_options[i].path);
      struct tg_buf key = {0};
      tg_buf_printf(&key, "sinks.%s.%s", name, tg_sink_options[i].path);
      if (value) /* others say nothing of a sink of its kind */
        add(listing, key.data, value);
      tg_buf_free(&key);
    }
  }
}

static void add_plugins(struct value_listing *listing, const json_t *plugins)
{
  const char *name;
  json_t *plugin;
  json_object_foreach((json_t *)plugins, name, plugin)
  {
    struct tg_buf key = {0};
    tg_buf_printf(&key, "plugins.%s", name);
    add(listing, key.data, plugin);
    tg_buf_free(&key);
  }
}

static void add_all(struct value_listing *listing)
{
  json_t *all = tg_config_to_json(listing->config);
  for (size_t i = 0; i < tg_config_option_count; i++) {
    const struct tg_option *option = &tg_config_options[i];
    const json_t *value = tg_schema_find(all, option->path);
    if (option->kind == TG_OPTION_MAP)
      add_sinks(listing, value);
    else if (strcmp(option->path, "plugins") == 0)
      add_plugins(listing, value);
    else
      add(listing, option->path, value);
  }
  json_decref(all);
}

/* ?key=, "" without one. */
static char *read_wanted(const char *query)
{
  struct tg_span name, value;
  struct tg_buf wanted = {0};
  tg_buf_puts(&wanted, "");
  while (tg_query_next(&query, &name, &value))
    if (name.length == 3 && memcmp(name.at, "key", 3) == 0 && wanted.length == 0)
      tg_url_decode(&wanted, value.at, value.length, true);
  return tg_buf_take(&wanted);
}

static void refuse(struct tg_request *request, const char *wanted)
{
  const char *meant = tg_suggest(wanted, tg_config_keys, tg_config_option_count);
  if (meant)
    tg_respond_error(request, 404, "there is no key \"%s\"; did you mean \"%s\"?", wanted, meant);
  else
    tg_respond_error(request, 404, "there is no key \"%s\", and none that begins so", wanted);
}

void tg_route_config(struct tg_request *request)
{
  struct tg_manager *manager = request->manager;
  char *wanted = read_wanted(request->query);
  struct value_listing listing = {tg_gateway_config(manager), json_array(), wanted};
  const json_t *waiting = tg_gateway_needs_restart(manager);
  struct tg_gateway_status status;
  tg_gateway_status(manager, &status);
  add_all(&listing);
  if (*wanted && json_array_size(listing.values) == 0) {
    json_decref(listing.values);
    refuse(request, wanted);
  } else {
    tg_respond_json(request, 200,
                    json_pack("{s:s?, s:i, s:o, s:o}", "script", tg_gateway_script(manager), "generation",
                              status.generation, "values", listing.values, "needsRestart",
                              waiting ? json_copy((json_t *)waiting) : json_array()));
  }
  free(wanted);
}

/* ---- the log level ---- */

void tg_route_log_level(struct tg_request *request)
{
  enum tg_log_level configured = tg_gateway_config(request->manager)->log.level;
  tg_respond_json(request, 200,
                  json_pack("{s:s, s:s}", "level", tg_log_level_name(tg_log_get_level()), "configured",
                            tg_log_level_name(configured)));
}

/* {"level": "debug"}, or null: as configured. */
void tg_route_ask_log_level(struct tg_request *request)
{
  const json_t *given = json_object_get(request->json, "level");
  const char *name = json_string_value(given);
  enum tg_log_level level;
  if (json_is_null(given))
    tg_manager_ask_log_level(request->manager, TG_LOG_AS_CONFIGURED);
  else if (name && tg_log_level_parse(name, &level))
    tg_manager_ask_log_level(request->manager, (int)level);
  else {
    tg_respond_error(request, 400,
                     "expected {\"level\": \"debug\"}, or info, warn, error; null: as configured");
    return;
  }
  tg_route_log_level(request);
}
