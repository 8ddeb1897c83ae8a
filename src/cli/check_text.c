#include "cli/check_text.h"
#include "cli/check_config.h"
#include "cli/check_plugins.h"
#include "cli/check_table.h"

#include "base/buf.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the script has set up ---- */

static bool same_events(const json_t *item, const json_t *other)
{
  const json_t *mine = json_object_get(item, "events"), *its = json_object_get(other, "events");
  return (!mine && !its) || json_equal(mine, its);
}

static bool contains(const json_t *list, const json_t *item)
{
  size_t i;
  json_t *other;
  json_array_foreach((json_t *)list, i, other)
  {
    if (strcmp(tg_check_text_at(item, "where"), tg_check_text_at(other, "where")) == 0 &&
        same_events(item, other) &&
        strcmp(tg_check_text_at(item, "sink"), tg_check_text_at(other, "sink")) == 0 &&
        strcmp(tg_check_text_at(item, "method"), tg_check_text_at(other, "method")) == 0)
      return true;
  }
  return false;
}

/* A method counts where the gateway asks for it; elsewhere it is never called. */
static void print_overrides(const json_t *manager, const json_t *worker)
{
  const struct {
    const json_t *own, *other;
    const char *name, *elsewhere;
  } roles[] = {{manager, worker, "manager", "only assigned in the workers: never called"},
               {worker, manager, "workers", "only assigned in the manager: never called"}};
  struct tg_check_table table = {0};
  for (int i = 0; i < 2; i++) {
    const json_t *own = json_object_get(roles[i].own, "overrides");
    const json_t *other = json_object_get(roles[i].other, "overrides");
    size_t k;
    json_t *item;
    json_array_foreach((json_t *)own, k, item)
    {
      bool used = json_is_true(json_object_get(item, "used"));
      if (!used && contains(other, item))
        continue; /* told with the role that calls it */
      struct tg_buf name = {0};
      const char *sink = tg_check_text_at(item, "sink");
      if (*sink)
        tg_buf_printf(&name, "gateway.sink(\"%s\").deliver", sink);
      else
        tg_buf_printf(&name, "gateway.%s:%s", tg_check_text_at(item, "table"),
                      tg_check_text_at(item, "method"));
      if (!used)
        tg_buf_printf(&name, " (%s)", roles[1 - i].elsewhere);
      char *words = tg_buf_take(&name);
      tg_check_row(&table, tg_check_text_at(item, "where"), used ? roles[i].name : "", words);
      free(words);
    }
  }
  tg_check_rows_print(&table, "Overridden methods");
}

static char *event_names(const json_t *item)
{
  struct tg_buf names = {0};
  const json_t *priority = json_object_get(item, "priority");
  size_t i;
  json_t *event;
  json_array_foreach(json_object_get(item, "events"), i, event)
  {
    const char *topic = json_string_value(json_object_get(event, "broadcast"));
    tg_buf_puts(&names, i > 0 ? ", " : "");
    if (topic)
      tg_buf_printf(&names, "broadcasts of \"%s\"", topic);
    else
      tg_buf_puts(&names, json_is_string(event) ? json_string_value(event) : "?");
  }
  if (json_integer_value(priority) != 0)
    tg_buf_printf(&names, " (priority %lld)", (long long)json_integer_value(priority));
  if (json_object_get(item, "ordered"))
    tg_buf_printf(&names, " (in order of each %s)", tg_check_text_at(item, "ordered"));
  if (json_object_get(item, "concurrency"))
    tg_buf_printf(&names, " (%d at once)", (int)json_integer_value(json_object_get(item, "concurrency")));
  return tg_buf_take(&names);
}

static void print_filters(const json_t *worker)
{
  struct tg_check_table table = {0};
  size_t i;
  json_t *item;
  json_array_foreach(json_object_get(worker, "filters"), i, item)
  {
    char *names = event_names(item);
    const char *rule = "asks a function";
    if (json_is_true(json_object_get(item, "compiled")))
      rule = json_is_true(json_object_get(item, "rule")) ? "lets pass, compiled" : "drops, compiled";
    tg_check_row(&table, tg_check_text_at(item, "where"), rule, names);
    free(names);
  }
  tg_check_rows_print(&table, "Filters");
}

/* Whether these come in workers alone. */
static bool is_workers_own(const json_t *item)
{
  static const char *const elsewhere[] = {"load", "unload", "reload", "resharding"};
  size_t i;
  json_t *event;
  json_array_foreach(json_object_get(item, "events"), i, event)
  {
    if (!json_is_string(event))
      return false;
    for (size_t k = 0; k < sizeof elsewhere / sizeof *elsewhere; k++) {
      if (strcmp(elsewhere[k], json_string_value(event)) == 0)
        return false;
    }
  }
  return true;
}

static void add_handler(struct tg_check_table *table, const json_t *item, const char *role,
                        const char *remark)
{
  char *names = event_names(item);
  struct tg_buf words = {0};
  tg_buf_printf(&words, "%s%s", names, remark);
  char *text = tg_buf_take(&words);
  tg_check_row(table, tg_check_text_at(item, "where"), role, text);
  free(text);
  free(names);
}

static void print_handlers(const json_t *manager, const json_t *worker)
{
  const json_t *in_manager = json_object_get(manager, "handlers");
  const json_t *in_worker = json_object_get(worker, "handlers");
  struct tg_check_table table = {0};
  size_t i;
  json_t *item;
  json_array_foreach((json_t *)in_worker, i, item)
  {
    bool both = !is_workers_own(item) && contains(in_manager, item);
    add_handler(&table, item, both ? "both" : "workers", "");
  }
  json_array_foreach((json_t *)in_manager, i, item)
  {
    if (contains(in_worker, item))
      continue;
    bool in_vain = is_workers_own(item);
    add_handler(&table, item, in_vain ? "" : "manager",
                in_vain ? " (only registered in the manager: never called)" : "");
  }
  tg_check_rows_print(&table, "Handlers");
}

static void add_paths(struct tg_check_table *table, const char *what, const char *paths)
{
  while (*paths) {
    size_t length = strcspn(paths, ";");
    char *path = tg_strndup(paths, length);
    tg_check_row(table, what, "", path);
    free(path);
    paths += length + (paths[length] == ';');
    what = "";
  }
}

/* What is reached how, where the environment names a proxy. */
static void print_proxies(const json_t *routes)
{
  struct tg_check_table table = {0};
  size_t i;
  json_t *route;
  json_array_foreach((json_t *)routes, i, route)
  {
    const char *proxy = tg_check_text_at(route, "proxy");
    struct tg_buf how = {0};
    if (*proxy)
      tg_buf_printf(&how, "over %s (%s)", proxy, tg_check_text_at(route, "variable"));
    else
      tg_buf_puts(&how, "directly");
    char *words = tg_buf_take(&how);
    tg_check_row(&table, tg_check_text_at(route, "what"), tg_check_text_at(route, "url"), words);
    free(words);
  }
  tg_check_rows_print(&table, "Proxies of the environment");
}

void tg_check_print(const json_t *configuration, const json_t *secret_files, const json_t *proxies,
                    const json_t *plugins, const json_t *manager, const json_t *worker)
{
  const char *script = tg_check_text_at(worker, "script");
  if (*script)
    printf("%s loads in the manager and in the workers.\n", script);
  else
    puts("No script: the environment alone configures the gateway.");
  tg_check_print_config(configuration, secret_files);
  print_proxies(proxies);
  tg_check_print_plugins(plugins);
  print_overrides(manager, worker);
  print_filters(worker);
  print_handlers(manager, worker);
  struct tg_check_table paths = {0};
  add_paths(&paths, "Lua", tg_check_text_at(worker, "path"));
  add_paths(&paths, "C", tg_check_text_at(worker, "cpath"));
  tg_check_rows_print(&paths, "Where modules are looked for");
}
