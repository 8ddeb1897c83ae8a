#include "cli/advice.h"
#include "cli/cli.h"
#include "cli/image.h"
#include "cli/init.h"
#include "cli/options.h"
#include "cli/process.h"
#include "cli/proxies.h"
#include "cli/service.h"
#include "cli/succession.h"
#include "cli/watch.h"

#include "base/error.h"
#include "base/log.h"
#include "base/log_writer.h"
#include "base/program.h"
#include "control/control.h"
#include "manager/lock.h"
#include "manager/manager.h"
#include "manager/status.h"
#include "net/stream.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

struct run {
  struct tg_succession succession; /* first: its callbacks get the run */
  struct tg_process process;
  struct tg_service service;
  struct tg_manager *manager;
  struct tg_control *control;
  uv_signal_t reload, upgrade, terminate, interrupt;
  struct tg_file_watch watch;
  struct tg_problems warned;
};

static void on_reloaded(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)ctx, (void)value, (void)error; /* the manager has logged how it went */
}

static void on_tried(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)ctx, (void)value, (void)error; /* likewise */
}

static void reconfigure(void *ctx, const struct tg_config *config)
{
  struct run *run = ctx;
  tg_manager_reconfigure(run->manager, config);
  tg_control_reconfigure(run->control, config);
  tg_advice_log(config, run->process.script, &run->warned);
}

static void on_news(void *ctx, enum tg_manager_news news)
{
  struct run *run = ctx;
  tg_service_news(&run->service, news);
}

static void on_exit_of_manager(void *ctx, int exit_code)
{
  struct run *run = ctx;
  tg_process_exit(&run->process, exit_code);
}

static void on_signal(uv_signal_t *handle, int number)
{
  struct run *run = handle->data;
  if (number == SIGHUP) {
    tg_manager_reload(run->manager, on_reloaded, NULL);
    return;
  }
  if (number == SIGUSR2) {
    tg_manager_upgrade(run->manager, on_tried, NULL);
    return;
  }
  /* In a cluster sessions are not one host's to end. */
  bool keep = number == SIGTERM || tg_gateway_config(run->manager)->cluster.url;
  tg_log(TG_INFO, TG_NO_SHARD, keep ? "stopping; the sessions are kept for the next start"
                                    : "stopping; the sessions are ended");
  tg_manager_stop(run->manager, keep, TG_EXIT_OK);
}

static void listen_to_signal(struct run *run, uv_signal_t *handle, int number)
{
  uv_signal_init(&run->process.loop, handle);
  handle->data = run;
  uv_signal_start(handle, on_signal, number);
}

static void on_file_changed(void *ctx, const char *path)
{
  struct run *run = ctx;
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TOLD(PATH, path)), "%s has changed: reloading", path);
  tg_manager_reload(run->manager, on_reloaded, NULL);
}

static int start(struct run *run, const char *script, bool watch)
{
  struct tg_process *process = &run->process;
  const struct tg_config *config = tg_script_config(process->script);
  struct tg_error error;
  if (!tg_advice_certificates(config, &error) || !tg_proxies_fit(process->proxies, config, &error)) {
    tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
    return TG_EXIT_CONFIG;
  }
  tg_advice_log(config, process->script, &run->warned);
  tg_proxies_log(process->proxies, config);
  struct tg_manager_options options = {
      .loop = &process->loop,
      .config = config,
      .hooks = tg_script_hooks(process->script),
      .http = process->http,
      .proxies = process->proxies,
      .reload = process->reload,
      .script_path = script,
      .successor = &run->succession.of_manager,
      .progress = tg_process_on_terminal(),
      .on_exit = on_exit_of_manager,
      .on_news = on_news,
      .ctx = run,
  };
  run->manager = tg_manager_new(&options, &error);
  if (!run->manager) {
    tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
    return tg_state_dir_exit(&error);
  }
  if (!tg_control_start(&run->control, &process->loop, run->manager, options.config,
                        tg_succession_control(&run->succession), &error)) {
    tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
    return TG_EXIT_CONFIG;
  }
  tg_succession_listens();
  process->reconfigure = reconfigure;
  process->reconfigure_ctx = run;
  tg_script_attach_manager(process->script, run->manager);
  listen_to_signal(run, &run->reload, SIGHUP);
  listen_to_signal(run, &run->upgrade, SIGUSR2);
  listen_to_signal(run, &run->terminate, SIGTERM);
  listen_to_signal(run, &run->interrupt, SIGINT);
  tg_image_listen();
  if (watch && (script || json_object_size(config->plugins) > 0))
    tg_file_watch_start(&run->watch, &process->loop, process->script, on_file_changed, run);
  else if (watch)
    tg_log(TG_WARN, TG_NO_SHARD, "--watch without a script or plugins has nothing to look at");
  if (run->succession.handed)
    tg_service_goes_on(&run->service);
  tg_service_attach(&run->service, &process->loop, run->manager);
  tg_script_started(process->script);
  tg_manager_start(run->manager);
  return tg_process_run(process);
}

int tg_cli_run(int argc, char **argv)
{
  tg_program_serves();
  bool watch = false, candidate = false;
  const char *script = NULL;
  int exit_code;
  const struct tg_cli_option options[] = {
      {"--watch", &watch, NULL}, {"--candidate", &candidate, NULL}, {NULL, NULL, NULL}};
  if (tg_cli_options(argc, argv, options, TG_HELP_RUN, &script, 1, &exit_code) < 0)
    return exit_code;
  if (candidate)
    return tg_candidate_run(script);
  tg_process_keeps_secrets(); /* process 1, which stays, too */
  bool contained = tg_init_if_first();
  tg_log_writer_start(STDERR_FILENO);
  prctl(PR_SET_NAME, "tidegate");
  signal(SIGHUP, SIG_IGN); /* one that comes too early for a reload must not end the program */
  struct run run = {.succession = {.manager = &run.manager, .control = &run.control}};
  bool whole = tg_succession_begin(&run.succession, contained);
  tg_succession_attach_stats(&run.succession);
  tg_service_begin(&run.service);
  exit_code = tg_process_begin(&run.process, TG_ROLE_MANAGER, 0, script, -1, false);
  if (exit_code == TG_EXIT_OK)
    exit_code = whole ? start(&run, script, watch) : TG_EXIT_FAILED;
  else
    tg_advice_log(NULL, NULL, &run.warned);
  tg_succession_fails(exit_code);
  tg_service_end(&run.service);
  tg_control_close(run.control);
  tg_manager_free(run.manager);
  tg_control_free(run.control);
  tg_process_end(&run.process);
  tg_problems_free(&run.warned);
  tg_succession_end(&run.succession);
  return exit_code;
}
