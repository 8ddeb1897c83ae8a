#include "cli/process.h"

#include "base/log.h"
#include "base/program.h"
#include "config/config_options.h"
#include "config/environment.h"
#include "shared/loop_lag.h"
#include "shared/recent.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

void tg_process_keeps_secrets(void)
{
  tg_program_keeps_secrets();
  tg_environment_hide();
}

static void follow_log_settings(const struct tg_config *config)
{
  tg_log_set_level(config->log.level);
  tg_log_set_json(config->log.json);
}

bool tg_process_on_terminal(void)
{
  const char *kind = getenv("TERM");
  return isatty(STDERR_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

/* systemd names the device and inode of the stream that leads to its journal. A
 * child whose standard error was led elsewhere has the variable, too. */
static bool on_journal(void)
{
  const char *stream = getenv("JOURNAL_STREAM");
  struct stat status;
  unsigned long long device, inode;
  return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &status) == 0 &&
         status.st_dev == device && status.st_ino == inode;
}

/* Until the configuration is known the environment decides, so that its own
 * errors come in the wanted form. */
static void first_log_settings(enum tg_role role, int worker_id)
{
  bool manager = role == TG_ROLE_MANAGER;
  tg_log_set_role(manager ? "manager" : "worker", manager ? -1 : worker_id);
  tg_log_set_terminal(tg_process_on_terminal());
  tg_log_set_journal(on_journal());
  for (size_t i = 0; i < tg_config_option_count; i++)
    if (tg_config_options[i].secret && tg_config_options[i].env)
      tg_log_secret(tg_environment(tg_config_options[i].env));
  const char *format = getenv("LOG_FORMAT");
  tg_log_set_json(format && strcmp(format, "json") == 0);
  tg_recent_begin();
}

/* Each shard is a socket: ask for as many as the system allows. */
static void raise_file_limit(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

static bool prepare(void *ctx, char **problem)
{
  struct tg_process *process = ctx;
  return tg_script_prepare(process->script, problem);
}

static void commit(void *ctx, int generation)
{
  struct tg_process *process = ctx;
  tg_script_commit(process->script, generation);
  const struct tg_config *config = tg_script_config(process->script);
  follow_log_settings(config);
  if (process->reconfigure)
    process->reconfigure(process->reconfigure_ctx, config);
}

static void abort_reload(void *ctx)
{
  struct tg_process *process = ctx;
  tg_script_abort(process->script);
}

static int sources(void *ctx) { return tg_script_sources(((struct tg_process *)ctx)->script); }
static json_t *files(void *ctx) { return tg_script_files(((struct tg_process *)ctx)->script); }

static void note_files(void *ctx, int generation, const json_t *list)
{
  tg_script_note_files(((struct tg_process *)ctx)->script, generation, list);
}

static uint64_t sum(void *ctx) { return tg_script_sum(((struct tg_process *)ctx)->script); }

/* As they stand in the variable, and as they go to the proxy. */
static void mask_logins(const struct tg_proxies *proxies)
{
  const struct tg_proxy *proxy;
  for (int i = 0; (proxy = tg_proxy_at(proxies, i)) != NULL; i++) {
    if (!proxy->login)
      continue;
    const char *password = strchr(proxy->login, ':');
    tg_log_secret(proxy->login);
    tg_log_secret(password ? password + 1 : NULL);
    tg_log_secret(proxy->authorization);
  }
}

int tg_process_begin(struct tg_process *process, enum tg_role role, int worker_id, const char *script_path,
                     int sources_fd, bool bare)
{
  memset(process, 0, sizeof *process);
  first_log_settings(role, worker_id);
  raise_file_limit();
  uv_loop_init(&process->loop);
  tg_loop_lag_watch(&process->loop);
  process->script = tg_script_new(role, &process->loop, worker_id);
  if (sources_fd >= 0)
    tg_script_give_sources(process->script, sources_fd);
  if (bare)
    tg_script_go_without(process->script);
  process->reload = (struct tg_reload){process, prepare,    commit, abort_reload, sources,
                                       files,   note_files, sum};
  char *problem = NULL;
  if (!tg_script_load(process->script, script_path, &problem)) {
    tg_log(TG_ERROR, TG_NO_SHARD, "%s", problem ? problem : "the script cannot be loaded");
    free(problem);
    return TG_EXIT_CONFIG;
  }
  const struct tg_config *config = tg_script_config(process->script);
  follow_log_settings(config);
  struct tg_error error;
  process->proxies = tg_proxies_read(tg_environment, &error);
  if (!process->proxies) {
    tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
    return TG_EXIT_CONFIG;
  }
  mask_logins(process->proxies);
  struct tg_http_options options = {.ca_file = config->tls.ca_file, .proxies = process->proxies};
  process->http = tg_http_new(&process->loop, &options);
  process->script_http = tg_http_new(&process->loop, &options);
  tg_script_attach_http(process->script, process->script_http);
  return TG_EXIT_OK;
}

void tg_process_exit(void *ctx, int exit_code)
{
  struct tg_process *process = ctx;
  process->exit_code = exit_code;
  process->over = true;
  uv_stop(&process->loop);
}

int tg_process_run(struct tg_process *process)
{
  tg_loop_lag_begin();
  while (!process->over && uv_run(&process->loop, UV_RUN_DEFAULT) != 0) {
  }
  tg_log_flush();
  tg_script_stop(process->script); /* what its handlers look at is still there */
  return process->exit_code;
}

static void close_handle(uv_handle_t *handle, void *ctx)
{
  (void)ctx;
  if (!uv_is_closing(handle))
    uv_close(handle, NULL);
}

void tg_process_end(struct tg_process *process)
{
  if (process->script)
    tg_script_free(process->script);
  tg_http_free(process->script_http);
  tg_http_free(process->http);
  tg_proxies_free(process->proxies);
  uv_walk(&process->loop, close_handle, NULL);
  for (int i = 0; i < 100 && uv_loop_close(&process->loop) == UV_EBUSY; i++)
    uv_run(&process->loop, UV_RUN_NOWAIT);
}
