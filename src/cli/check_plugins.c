#include "cli/check_plugins.h"

#include "base/buf.h"
#include "cli/check_table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- both roles ---- */

static bool has(const json_t *list, const json_t *item)
{
  for (size_t i = 0; i < json_array_size(list); i++) {
    if (json_equal(json_array_get(list, i), item))
      return true;
  }
  return false;
}

static void add_missing(json_t *list, const json_t *others)
{
  for (size_t i = 0; i < json_array_size(others); i++) {
    json_t *item = json_array_get(others, i);
    if (!has(list, item))
      json_array_append(list, item);
  }
}

static json_t *find(const json_t *list, const char *name)
{
  for (size_t i = 0; i < json_array_size(list); i++) {
    json_t *item = json_array_get(list, i);
    if (strcmp(tg_check_text_at(item, "name"), name) == 0)
      return item;
  }
  return NULL;
}

json_t *tg_check_plugins(const json_t *manager, const json_t *worker)
{
  json_t *merged = json_deep_copy(json_object_get(worker, "plugins"));
  const json_t *others = json_object_get(manager, "plugins");
  for (size_t i = 0; i < json_array_size(others); i++) {
    json_t *other = json_array_get(others, i), *mine = find(merged, tg_check_text_at(other, "name"));
    const char *key;
    json_t *value;
    if (!mine)
      json_array_append(merged, other); /* a script may load it in one role alone */
    json_object_foreach(other, key, value) add_missing(json_object_get(mine, key), value);
  }
  return merged;
}

/* ---- as text ---- */

static void add_line(struct tg_check_table *table, struct tg_buf *text)
{
  char *line = tg_buf_take(text);
  tg_check_row(table, "", "", line);
  free(line);
}

/* "overrides delivery:deliver, delivery:is_delivered" */
static void add_names(struct tg_check_table *table, const char *what, const json_t *names, const char *how)
{
  struct tg_buf text = {0};
  for (size_t i = 0; i < json_array_size(names); i++)
    tg_buf_printf(&text, "%s%s", i == 0 ? what : ", ", json_string_value(json_array_get(names, i)));
  if (text.length > 0) {
    tg_buf_puts(&text, how);
    add_line(table, &text);
  }
}

/* The events of filters or handlers, each once: of those that are `compiled`, or of those that are not. */
static void add_events(struct tg_check_table *table, const char *what, const json_t *items, bool compiled,
                       const char *how)
{
  json_t *events = json_array();
  for (size_t i = 0; i < json_array_size(items); i++) {
    const json_t *item = json_array_get(items, i);
    if (json_is_true(json_object_get(item, "compiled")) == compiled)
      add_missing(events, json_object_get(item, "events"));
  }
  add_names(table, what, events, how);
  json_decref(events);
}

/* What a filter costs an event is what it is made of. */
static void add_filters(struct tg_check_table *table, const json_t *filters)
{
  add_events(table, "filters ", filters, false, ": a function is asked for each");
  add_events(table, "filters ", filters, true, ": constant, at no cost");
}

static int by_text(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_configuration(struct tg_check_table *table, const json_t *config)
{
  const char *key, **keys = tg_calloc(json_object_size(config) + 1, sizeof *keys);
  size_t count = 0;
  json_t *value;
  json_object_foreach((json_t *)config, key, value) keys[count++] = key;
  qsort(keys, count, sizeof *keys, by_text);
  for (size_t i = 0; i < count; i++) {
    struct tg_buf text = {0};
    char *shown = json_dumps(json_object_get(config, keys[i]), JSON_ENCODE_ANY | JSON_SORT_KEYS);
    tg_buf_printf(&text, "%s = %s", keys[i], shown ? shown : "?");
    free(shown);
    add_line(table, &text);
  }
  free(keys);
}

static void add_plugin(struct tg_check_table *table, const json_t *plugin)
{
  const char *name = tg_check_text_at(plugin, "name"), *is = tg_check_text_at(plugin, "plugin");
  struct tg_buf version = {0}, place = {0};
  tg_buf_printf(&version, "%s", tg_check_text_at(plugin, "version"));
  if (strcmp(name, is) != 0)
    tg_buf_printf(&place, "%s, ", is);
  const char *from = tg_check_text_at(plugin, "from");
  tg_buf_printf(&place, "%s%s, priority %g", from[0] == '/' ? "from " : "", from,
                json_number_value(json_object_get(plugin, "priority")));
  tg_check_row(table, name, version.data, place.data);
  tg_buf_free(&version);
  tg_buf_free(&place);
  add_names(table, "overrides ", json_object_get(plugin, "overrides"), "");
  add_filters(table, json_object_get(plugin, "filters"));
  add_events(table, "listens to ", json_object_get(plugin, "handlers"), false, "");
  add_names(table, "answers ", json_object_get(plugin, "routes"), "");
  add_configuration(table, json_object_get(plugin, "config"));
}

void tg_check_print_plugins(const json_t *plugins)
{
  struct tg_check_table table = {0};
  for (size_t i = 0; i < json_array_size(plugins); i++)
    add_plugin(&table, json_array_get(plugins, i));
  tg_check_rows_print(&table, "Plugins");
}
