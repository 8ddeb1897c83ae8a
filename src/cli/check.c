#include "cli/advice.h"
#include "cli/check_plugins.h"
#include "cli/check_text.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/process.h"
#include "cli/proxies.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/utf8.h"
#include "config/config_warnings.h"
#include "config/environment.h"
#include "script/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* NULL: it cannot be loaded. */
static json_t *warnings_about(const struct tg_script *script)
{
  const struct tg_config *config = script ? tg_script_config(script) : NULL;
  struct tg_problems warnings = tg_config_warnings(config, environ);
  if (script) {
    tg_config_warn_delay(config, config->gateway_bot.url, &warnings);
    tg_config_warn_resharding(config, &warnings);
    tg_script_warn(script, &warnings);
  }
  json_t *list = json_array();
  for (int i = 0; i < warnings.count; i++)
    json_array_append_new(list, tg_json_text(warnings.items[i]));
  tg_problems_free(&warnings);
  return list;
}

static json_t *describe_script(struct tg_script *script, char **problem)
{
  const struct tg_config *config = tg_script_config(script);
  struct tg_error error;
  struct tg_proxies *proxies = tg_proxies_read(tg_environment, &error);
  if (!proxies || !tg_proxies_fit(proxies, config, &error) || !tg_advice_certificates(config, &error)) {
    *problem = tg_strdup(error.message);
    tg_proxies_free(proxies);
    return NULL;
  }
  json_t *routes = tg_proxies_routes(proxies, config);
  tg_proxies_free(proxies);
  return json_pack("{s:o, s:o, s:O, s:o, s:o}", "script", tg_script_describe(script), "configuration",
                   tg_config_to_json(config), "secretFiles", config->secret_files, "warnings",
                   warnings_about(script), "proxies", routes);
}

/* What the script makes of one role; NULL: it cannot run, `problem` says why. */
static json_t *describe(enum tg_role role, const char *path, char **problem)
{
  uv_loop_t loop;
  uv_loop_init(&loop);
  struct tg_script *script = tg_script_new(role, &loop, 0);
  json_t *result = tg_script_load(script, path, problem) ? describe_script(script, problem) : NULL;
  tg_script_free(script);
  for (int i = 0; i < 100 && uv_loop_close(&loop) == UV_EBUSY; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
  return result;
}

/* Most are the same; of plugins each role has those about its own methods. */
static void add_warnings(json_t *warnings, const json_t *others)
{
  size_t known = json_array_size(warnings);
  for (size_t i = 0; i < json_array_size(others); i++) {
    json_t *other = json_array_get(others, i);
    size_t k = 0;
    while (k < known && !json_equal(json_array_get(warnings, k), other))
      k++;
    if (k == known)
      json_array_append(warnings, other);
  }
}

static void put_json(json_t *value)
{
  char *text = json_dumps(value, JSON_INDENT(2));
  puts(text);
  free(text);
  json_decref(value);
}

static void print_json(const json_t *worker, const json_t *manager)
{
  put_json(json_pack(
      "{s:O, s:O, s:O, s:O, s:o, s:O, s:O}", "configuration", json_object_get(worker, "configuration"),
      "secretFiles", json_object_get(worker, "secretFiles"), "warnings", json_object_get(worker, "warnings"),
      "proxies", json_object_get(worker, "proxies"), "plugins",
      tg_check_plugins(json_object_get(manager, "script"), json_object_get(worker, "script")), "worker",
      json_object_get(worker, "script"), "manager", json_object_get(manager, "script")));
}

static void print_text(const json_t *worker, const json_t *manager)
{
  const json_t *in_manager = json_object_get(manager, "script"),
               *in_worker = json_object_get(worker, "script");
  json_t *plugins = tg_check_plugins(in_manager, in_worker);
  tg_check_print(json_object_get(worker, "configuration"), json_object_get(worker, "secretFiles"),
                 json_object_get(worker, "proxies"), plugins, in_manager, in_worker);
  json_decref(plugins);
  if (json_array_size(json_object_get(worker, "warnings")) > 0)
    puts("");
  fflush(stdout);
}

static void print_warnings(const json_t *warnings)
{
  size_t i;
  json_t *warning;
  json_array_foreach((json_t *)warnings, i, warning)
  {
    fprintf(stderr, "tidegate check: warning: %s\n", json_string_value(warning));
  }
}

static void print_problem(const char *problem, bool as_json)
{
  json_t *warnings = warnings_about(NULL);
  if (as_json) {
    put_json(json_pack("{s:s, s:O}", "problem", problem, "warnings", warnings));
  } else {
    fprintf(stderr, "tidegate check: %s\n", problem);
    print_warnings(warnings);
  }
  json_decref(warnings);
}

int tg_cli_check(int argc, char **argv)
{
  bool as_json = false;
  const char *path = NULL;
  int exit_code;
  const struct tg_cli_option options[] = {{"--json", &as_json, NULL}, {NULL, NULL, NULL}};
  if (tg_cli_options(argc, argv, options, TG_HELP_CHECK, &path, 1, &exit_code) < 0)
    return exit_code;
  tg_process_keeps_secrets();

  char *problem = NULL;
  json_t *manager = describe(TG_ROLE_MANAGER, path, &problem);
  json_t *worker = manager ? describe(TG_ROLE_WORKER, path, &problem) : NULL;
  if (worker)
    add_warnings(json_object_get(worker, "warnings"), json_object_get(manager, "warnings"));
  if (!worker) {
    print_problem(problem ? problem : "the script cannot be loaded", as_json);
  } else if (as_json) {
    print_json(worker, manager);
  } else {
    print_text(worker, manager);
    print_warnings(json_object_get(worker, "warnings"));
  }
  exit_code = worker ? TG_EXIT_OK : TG_EXIT_FAILED;
  free(problem);
  json_decref(manager);
  json_decref(worker);
  return exit_code;
}
