#include "cli/plugin_list.h"

#include "cli/check_plugins.h"
#include "cli/table.h"

#include "base/error.h"
#include "script/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct listing {
  json_t *manager, *worker; /* what the script sets up in each; NULL: it cannot be loaded */
  json_t *installed;
  char *not_loaded, *not_seen; /* why; NULL: it is */
};

/* The first one is told. */
static void keep(char **kept, char *problem)
{
  if (*kept)
    free(problem);
  else
    *kept = problem;
}

static void look(struct listing *listing, enum tg_role role, const char *path, const char *tree)
{
  uv_loop_t loop;
  uv_loop_init(&loop);
  struct tg_script *script = tg_script_new(role, &loop, 0);
  char *problem = NULL;
  json_t *described = tg_script_load(script, path, &problem) ? tg_script_describe(script) : NULL;
  keep(&listing->not_loaded, problem);
  if (role == TG_ROLE_MANAGER) {
    listing->manager = described;
  } else {
    listing->worker = described;
    listing->installed = tg_script_installed(script, tree, &listing->not_seen);
  }
  tg_script_free(script);
  for (int i = 0; i < 100 && uv_loop_close(&loop) == UV_EBUSY; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
}

static const char *text_at(const json_t *object, const char *key)
{
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static void print_installed(const json_t *plugins)
{
  struct tg_table table = {0};
  tg_table_column(&table, "Plugin", false);
  tg_table_column(&table, "Version", false);
  tg_table_column(&table, "From", false);
  for (size_t i = 0; i < json_array_size(plugins); i++) {
    const json_t *one = json_array_get(plugins, i);
    tg_table_cell(&table, TG_PLAIN, "%s", text_at(one, "plugin"));
    tg_table_cell(&table, TG_PLAIN, "%s", text_at(one, "version"));
    tg_table_cell(&table, TG_PLAIN, "%s", text_at(one, "from"));
  }
  if (json_array_size(plugins) > 0)
    tg_table_print(&table, stdout);
  else
    puts("There are none.");
}

static void print_text(const struct listing *listing, const json_t *used)
{
  if (listing->installed)
    print_installed(json_object_get(listing->installed, "plugins"));
  if (json_array_size(used) > 0)
    tg_check_print_plugins(used);
}

static void print_json(const struct listing *listing, const json_t *used)
{
  json_t *all = json_pack("{s:O?, s:O?, s:O?}", "installed", json_object_get(listing->installed, "plugins"),
                          "problems", json_object_get(listing->installed, "problems"), "plugins", used);
  char *text = json_dumps(all, JSON_INDENT(2));
  puts(text);
  free(text);
  json_decref(all);
}

static void print_problem(const char *problem)
{
  if (problem)
    fprintf(stderr, "tidegate plugin: %s\n", problem);
}

int tg_plugin_list(const char *script, const char *tree, bool as_json)
{
  struct listing listing = {0};
  look(&listing, TG_ROLE_MANAGER, script, tree);
  look(&listing, TG_ROLE_WORKER, script, tree);
  bool loaded = listing.manager && listing.worker;
  json_t *used = loaded ? tg_check_plugins(listing.manager, listing.worker) : NULL;
  if (as_json)
    print_json(&listing, used);
  else
    print_text(&listing, used);
  fflush(stdout);
  if (script) /* without one, nobody has asked for a load */
    print_problem(listing.not_loaded);
  print_problem(listing.not_seen);
  bool good = listing.installed && (!script || loaded);
  json_decref(used);
  json_decref(listing.manager);
  json_decref(listing.worker);
  json_decref(listing.installed);
  free(listing.not_loaded);
  free(listing.not_seen);
  return good ? TG_EXIT_OK : TG_EXIT_FAILED;
}
