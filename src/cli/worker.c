#include "cli/cli.h"
#include "cli/options.h"
#include "cli/process.h"

#include "base/error.h"
#include "base/log.h"
#include "base/log_writer.h"
#include "base/program.h"
#include "config/environment.h"
#include "shared/poison.h"
#include "shared/stats.h"
#include "worker/messages.h"
#include "worker/worker.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Queues fill and drain in bursts: memory that goes back to the kernel between
 * two of them comes back as new pages, which cost more than the events. */
static void keep_some_memory(void) { mallopt(M_TRIM_THRESHOLD, 32 * 1024 * 1024); }

/* The manager speaks for the terminal and for systemd: signals to the whole
 * process group are its business. If it dies, so does the worker:
 * by the kernel's word or, should that have come too early, at the end of the
 * line. */
static void follow_the_manager(void)
{
  signal(SIGINT, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NAME, "tidegate-worker");
}

/* The first that the manager says. Should it be gone, the line tells of it again. */
static void take_secrets(int fd)
{
  json_t *json = tg_ipc_receive(fd);
  struct tg_message message;
  if (tg_message_read("secrets", json, &message, NULL))
    tg_environment_give(message.secrets.environment);
  json_decref(json);
}

/* Before the script loads, which may count, too. Without the page the worker
 * does its work all the same. */
static void attach_stats(int fd)
{
  struct tg_error error;
  if (fd >= 0 && !tg_stats_attach(fd, &error))
    tg_log(TG_WARN, TG_NO_SHARD, "%s: this worker is missing from the metrics", error.message);
}

/* Likewise: loading may be its end. */
static void attach_poison(int fd, int worker_id)
{
  struct tg_error error;
  if (fd >= 0 && !tg_poison_attach(fd, worker_id, &error))
    tg_log(TG_WARN, TG_NO_SHARD, "%s: what ends this worker may end the next one, too", error.message);
}

static void reconfigure(void *ctx, const struct tg_config *config) { tg_worker_reconfigure(ctx, config); }

int tg_cli_worker(int argc, char **argv)
{
  tg_program_serves();
  tg_process_keeps_secrets();
  follow_the_manager();
  tg_log_writer_start(STDERR_FILENO);
  const char *id = "0", *fd = "3", *stats = "-1", *poison = "-1", *sources = "-1", *script = NULL;
  bool bare = false;
  const struct tg_cli_option options[] = {{"--id", NULL, &id},
                                          {"--fd", NULL, &fd},
                                          {"--stats", NULL, &stats},
                                          {"--poison", NULL, &poison},
                                          {"--sources", NULL, &sources},
                                          {"--bare", &bare, NULL},
                                          {NULL, NULL, NULL}};
  int exit_code;
  if (tg_cli_options(argc, argv, options, "tidegate worker: run by the manager, not by people\n", &script, 1,
                      &exit_code) < 0)
    return exit_code;
  take_secrets(atoi(fd));
  keep_some_memory();
  int worker_id = atoi(id);
  attach_stats(atoi(stats));
  attach_poison(atoi(poison), worker_id);

  struct tg_process process;
  struct tg_worker *worker = NULL;
  exit_code = tg_process_begin(&process, TG_ROLE_WORKER, worker_id, script, atoi(sources), bare);
  if (exit_code == TG_EXIT_OK) {
    struct tg_worker_options worker_options = {
        .loop = &process.loop,
        .config = tg_script_config(process.script),
        .hooks = tg_script_hooks(process.script),
        .http = process.http,
        .proxies = process.proxies,
        .reload = process.reload,
        .manager_fd = atoi(fd),
        .worker_id = worker_id,
        .on_exit = tg_process_exit,
        .ctx = &process,
    };
    struct tg_error error;
    worker = tg_worker_new(&worker_options, &error);
    if (!worker) {
      tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
      exit_code = TG_EXIT_CONFIG;
    }
  }
  if (worker) {
    process.reconfigure = reconfigure;
    process.reconfigure_ctx = worker;
    tg_script_attach_worker(process.script, worker);
    tg_script_started(process.script);
    exit_code = tg_process_run(&process);
  }
  tg_worker_free(worker);
  tg_process_end(&process);
  return exit_code;
}
