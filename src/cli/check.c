#include "cli/cli.h"
#include "cli/options.h"

#include "base/error.h"
#include "script/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

/* What the script makes of one role; NULL: it does not load, `problem` says why. */
static json_t *describe(enum tg_role role, const char *path, char **problem)
{
  uv_loop_t loop;
  uv_loop_init(&loop);
  struct tg_script *script = tg_script_new(role, &loop, 0);
  json_t *result = NULL;
  if (tg_script_load(script, path, problem))
    result = json_pack("{s:o, s:o}", "script", tg_script_describe(script), "configuration",
                       tg_config_to_json(tg_script_config(script)));
  tg_script_free(script);
  for (int i = 0; i < 100 && uv_loop_close(&loop) == UV_EBUSY; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
  return result;
}

static void print_value(const char *path, const json_t *value)
{
  if (json_is_object(value) && json_object_size(value) > 0) {
    const char *key;
    json_t *child;
    json_object_foreach((json_t *)value, key, child) {
      char below[256];
      snprintf(below, sizeof below, "%s%s%s", path, path[0] ? "." : "", key);
      print_value(below, child);
    }
    return;
  }
  char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
  printf("  %-40s %s\n", path, text ? text : "");
  free(text);
}

static void print_text(const json_t *worker, const json_t *manager)
{
  puts("configuration (secrets are masked):");
  print_value("", json_object_get(worker, "configuration"));
  puts("\nin the workers:");
  print_value("", json_object_get(worker, "script"));
  puts("\nin the manager:");
  print_value("", json_object_get(manager, "script"));
}

static void print_json(const json_t *worker, const json_t *manager)
{
  json_t *all = json_pack("{s:O, s:O, s:O}", "configuration", json_object_get(worker, "configuration"),
                          "worker", json_object_get(worker, "script"), "manager",
                          json_object_get(manager, "script"));
  char *text = json_dumps(all, JSON_INDENT(2));
  puts(text);
  free(text);
  json_decref(all);
}

int tg_cli_check(int argc, char **argv)
{
  bool as_json = false;
  const char *path = NULL;
  int exit_code;
  const struct tg_cli_option options[] = {{"--json", &as_json, NULL}, {NULL, NULL, NULL}};
  if (tg_cli_options(argc, argv, options, TG_HELP_CHECK, &path, 1, &exit_code) < 0)
    return exit_code;

  char *problem = NULL;
  json_t *manager = describe(TG_ROLE_MANAGER, path, &problem);
  json_t *worker = manager ? describe(TG_ROLE_WORKER, path, &problem) : NULL;
  if (!worker) {
    if (as_json) {
      json_t *report = json_pack("{s:s}", "problem", problem ? problem : "the script cannot be loaded");
      char *text = json_dumps(report, JSON_INDENT(2));
      puts(text);
      free(text);
      json_decref(report);
    } else {
      fprintf(stderr, "tidegate check: %s\n", problem ? problem : "the script cannot be loaded");
    }
  } else if (as_json) {
    print_json(worker, manager);
  } else {
    print_text(worker, manager);
  }
  exit_code = worker ? TG_EXIT_OK : TG_EXIT_FAILED;
  free(problem);
  json_decref(manager);
  json_decref(worker);
  return exit_code;
}
