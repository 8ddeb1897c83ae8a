/* Worker processes: spawning, watching, restarting. */

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "config/environment.h"
#include "manager/internal.h"
#include "shared/poison.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  WORKER_FD = 3,
  STATS_FD = 4,
  POISON_FD = 5,
  SOURCES_FD = 6,
  RESTART_BASE = 250, /* ms, doubling */
  RESTART_CAP = 30000,
  HEALTHY = 60000,       /* ms up until earlier failures are forgiven */
  LOAD_PATIENCE = 10000, /* ms on top of the script's own time to load */
  EXIT_PATIENCE = 2000,  /* ms between the end of the line and the end of the process */
  STALL = 3000,          /* ms late: then it was us who stood still */
};

static void spawn(struct tg_managed_worker *worker);

static void free_handle(uv_handle_t *handle)
{
  free(handle);
}

struct tg_managed_worker *tg_worker_of_shard(struct tg_manager *manager, const struct tg_managed_shard *shard)
{
  return &manager->workers[shard->worker_id];
}

static int count_shards(const struct tg_managed_worker *worker)
{
  int count = 0;
  for (int i = 0; i < tg_manager_shard_count(worker->manager); i++)
    count += worker->manager->shards[i].worker_id == worker->id;
  return count;
}

/* ---- the end of a process ---- */

/* What its shards were about to do is void; the table keeps their sessions. */
static void forget_shards(struct tg_managed_worker *worker, const char *why)
{
  struct tg_manager *manager = worker->manager;
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    struct tg_managed_shard *shard = &manager->shards[i];
    if (shard->worker_id != worker->id)
      continue;
    struct tg_shard_row *row = tg_shard_table_row(manager->table, shard->id);
    atomic_store(&row->state, shard->told ? TG_SHARD_DISCONNECTED : TG_SHARD_OFFLINE);
    atomic_store(&row->rtt, -1);
    shard->told = false;
    shard->still_since = 0;
    tg_slots_gone(manager, shard, why);
    tg_waiters_end(&shard->start_waiters, "worker_exit", why);
  }
}

static void describe_exit(const struct tg_managed_worker *worker, int64_t status, int number, char *text,
                          size_t size)
{
  if (worker->shot_for)
    snprintf(text, size, "killed: %s", worker->shot_for);
  else if (number != 0)
    snprintf(text, size, "signal %d, %s", number, strsignal(number));
  else
    snprintf(text, size, "exit code %lld", (long long)status);
}

static void ignore_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)ctx, (void)value, (void)error;
}

static void mourn(struct tg_managed_worker *worker, int64_t status, int number)
{
  struct tg_manager *manager = worker->manager;
  char reason[160];
  describe_exit(worker, status, number, reason, sizeof reason);
  if (status == TG_EXIT_CONFIG && number == 0 && !worker->was_ready && manager->phase <= TG_MANAGER_LOADING) {
    tg_manager_fail(manager, TG_EXIT_CONFIG,
                    "worker %d could not begin; its own lines above say why", worker->id);
    return;
  }
  tg_log_with(TG_ERROR, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(WORKER, worker->id), TG_TEXT(REASON, reason),
                      TG_TEXT_IF(number != 0, SCRIPT, manager->script_path),
                      TG_NUMBER(SHARDS, count_shards(worker))),
              "a worker has ended; its shards go on when it is back");
  tg_deaths_look(manager, worker->id, worker->shot_for || number != SIGKILL);
  if (worker->ready_at && tg_now() - worker->ready_at >= tg_patience(HEALTHY))
    worker->failures = 0;
  worker->failures++;
  json_t *args = json_pack("[i, s]", worker->id, reason);
  tg_manager_call(manager, TG_METHOD_manager_handle_worker_exit, args, ignore_reply, NULL);
  json_decref(args);
}

static void on_exit_of_process(uv_process_t *process, int64_t status, int number)
{
  struct tg_managed_worker *worker = process->data;
  uv_close((uv_handle_t *)process, free_handle);
  if (!worker)
    return; /* the manager is gone */
  struct tg_manager *manager = worker->manager;
  worker->process = NULL;
  tg_figures_worker_gone(worker);
  tg_ipc_free(worker->ipc);
  worker->ipc = NULL;
  worker->state = TG_WORKER_DOWN;
  worker->cut_at = 0;
  if (!tg_manager_stopping(manager)) {
    forget_shards(worker, "its worker has ended");
    tg_members_worker_gone(manager, worker->id);
    mourn(worker, status, number);
    tg_slots_pump(manager);
  }
  worker->shot_for = NULL;
  worker->ready_at = 0;
  if (tg_manager_stopping(manager))
    tg_stop_worker_gone(manager);
}

void tg_worker_shoot(struct tg_managed_worker *worker, const char *why)
{
  if (!worker->process || worker->shot_for)
    return;
  worker->shot_for = why;
  uv_process_kill(worker->process, SIGKILL);
}

/* ---- the default of handle_worker_exit ---- */

static void on_restart(uv_timer_t *timer)
{
  struct tg_managed_worker *worker = timer->data;
  if (!worker->process && !tg_manager_stopping(worker->manager))
    spawn(worker);
}

void tg_workers_exit_default(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply,
                             void *ctx)
{
  struct tg_args args = {list, "handle_worker_exit", reply, ctx};
  int id;
  if (!tg_arg_int(&args, 0, "worker_id", 0, manager->worker_count - 1, &id))
    return;
  struct tg_managed_worker *worker = &manager->workers[id];
  if (!worker->process && worker->wanted && !uv_is_active((uv_handle_t *)worker->restart) &&
      !tg_manager_stopping(manager)) {
    int doublings = worker->failures > 1 ? worker->failures - 1 : 0;
    tg_ms delay = doublings < 10 ? (tg_ms)RESTART_BASE << doublings : RESTART_CAP;
    delay = tg_patience(delay < RESTART_CAP ? delay : RESTART_CAP);
    tg_log_with(TG_INFO, TG_NO_SHARD,
                TG_WITH(TG_NUMBER(WORKER, id), TG_NUMBER(ATTEMPT, worker->failures), TG_NUMBER(DELAY, delay)),
                "a worker is started again");
    tg_timer_start(worker->restart, on_restart, delay);
  }
  tg_reply_value(reply, ctx, json_true());
}

/* ---- spawning ---- */

static uv_stdio_container_t inherited(int fd)
{
  if (fd < 0)
    return (uv_stdio_container_t){.flags = UV_IGNORE};
  return (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = fd};
}

struct words {
  const char *at[20];
  int count;
};

static void add(struct words *words, const char *option, const char *value)
{
  words->at[words->count++] = option;
  if (value)
    words->at[words->count++] = value;
}

static int spawn_process(struct tg_managed_worker *worker, int fd, int sources)
{
  char id[16], numbers[SOURCES_FD + 1][4];
  int poison = tg_poison_fd();
  snprintf(id, sizeof id, "%d", worker->id);
  for (int i = WORKER_FD; i <= SOURCES_FD; i++)
    snprintf(numbers[i], sizeof numbers[i], "%d", i);
  struct words words = {{"tidegate", "worker"}, 2};
  add(&words, "--id", id);
  add(&words, "--fd", numbers[WORKER_FD]);
  add(&words, "--stats", numbers[STATS_FD]);
  if (poison >= 0)
    add(&words, "--poison", numbers[POISON_FD]);
  if (sources >= 0)
    add(&words, "--sources", numbers[SOURCES_FD]);
  if (tg_poison_load_is_off() && sources >= 0)
    add(&words, "--bare", NULL);
  if (worker->manager->script_path)
    add(&words, "--", worker->manager->script_path);
  uv_stdio_container_t stdio[] = {
      {.flags = UV_IGNORE},
      inherited(STDOUT_FILENO),
      inherited(STDERR_FILENO),
      [WORKER_FD] = inherited(fd),
      [STATS_FD] = inherited(worker->stats_fd),
      [POISON_FD] = inherited(poison),
      [SOURCES_FD] = inherited(sources),
  };
  uv_process_options_t options = {
      .file = "/proc/self/exe", /* this binary, even if its file was replaced meanwhile */
      .args = (char **)words.at,
      .exit_cb = on_exit_of_process,
      .stdio = stdio,
      .stdio_count = SOURCES_FD + 1,
  };
  uv_process_t *process = tg_calloc(1, sizeof *process);
  process->data = worker;
  int failed = uv_spawn(worker->manager->loop, process, &options);
  if (failed == 0) {
    worker->process = process;
    return 0;
  }
  process->data = NULL;
  uv_close((uv_handle_t *)process, free_handle);
  return failed;
}

static void not_spawned(struct tg_managed_worker *worker, const char *why)
{
  tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id), TG_TEXT(REASON, why)),
              "a worker cannot be started");
  worker->failures++;
  json_t *args = json_pack("[i, s]", worker->id, why);
  tg_manager_call_default(worker->manager, TG_METHOD_manager_handle_worker_exit, args, ignore_reply, NULL);
  json_decref(args);
}

static void spawn(struct tg_managed_worker *worker)
{
  struct tg_manager *manager = worker->manager;
  int fds[2];
  struct tg_error error;
  if (!worker->stats && !(worker->stats = tg_stats_make(&worker->stats_fd, &error))) {
    not_spawned(worker, error.message);
    return;
  }
  tg_deaths_look(manager, worker->id, false); /* of the last gateway, or while it stopped */
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    not_spawned(worker, strerror(errno));
    return;
  }
  const struct tg_reload *reload = &manager->options.reload;
  int sources = reload->sources ? reload->sources(reload->ctx) : -1;
  int failed = spawn_process(worker, fds[1], sources);
  close(fds[1]);
  if (sources >= 0)
    close(sources);
  if (failed != 0) {
    close(fds[0]);
    not_spawned(worker, uv_strerror(failed));
    return;
  }
  worker->incarnation++;
  worker->state = TG_WORKER_LOADING;
  worker->started_at = worker->heard_at = tg_now();
  worker->ready_at = worker->cut_at = 0;
  worker->generation = manager->generation;
  worker->prepared = 0;
  worker->ipc = tg_ipc_new(manager->loop, fds[0], &tg_worker_callbacks, worker);
  if (!worker->ipc) {
    tg_worker_shoot(worker, "no line to it");
    return;
  }
  tg_say(worker->ipc, secrets, .environment = tg_environment_hidden());
  json_t *owners = json_array();
  for (int i = manager->range.first; i <= manager->range.last; i++)
    json_array_append_new(owners, json_integer(manager->shards[i - manager->range.first].worker_id));
  tg_say(worker->ipc, start, .total_shards = manager->range.total, .gateway_url = manager->info.url,
         .generation = manager->generation, .stamp = manager->stamp, .steady_ahead = tg_steady_ahead(),
         .first_shard = manager->range.first, .owners = owners);
  json_decref(owners);
}

void tg_workers_start(struct tg_manager *manager)
{
  for (int i = 0; i < manager->worker_count && !tg_manager_stopping(manager); i++) {
    struct tg_managed_worker *worker = &manager->workers[i];
    worker->manager = manager;
    worker->id = i;
    worker->restart = tg_calloc(1, sizeof *worker->restart);
    uv_timer_init(manager->loop, worker->restart);
    worker->restart->data = worker;
    worker->wanted = count_shards(worker) > 0;
    if (worker->wanted)
      spawn(worker);
  }
  for (int i = manager->worker_count; i < TG_MAX_WORKERS; i++)
    tg_deaths_look(manager, i, false); /* there were more */
}

/* ---- watching ---- */

static void watch(struct tg_managed_worker *worker, tg_ms now)
{
  const struct tg_config *config = worker->manager->config;
  tg_ms kill_after = config->script.kill_after;
  if (!worker->process || worker->shot_for)
    return;
  if (worker->cut_at) {
    if (now - worker->cut_at > EXIT_PATIENCE)
      tg_worker_shoot(worker, "it closed its line to the manager, but did not end");
  } else if (worker->state == TG_WORKER_LOADING) {
    if (now - worker->started_at > kill_after + config->script.load_budget + LOAD_PATIENCE) {
      tg_log_with(TG_ERROR, TG_NO_SHARD,
                  TG_WITH(TG_NUMBER(WORKER, worker->id), TG_TEXT(SCRIPT, worker->manager->script_path),
                          TG_NUMBER(DURATION, now - worker->started_at)),
                  "a worker does not finish loading its script: it is killed");
      tg_worker_shoot(worker, "it did not finish loading its script");
    }
  } else if (worker->state == TG_WORKER_READY && now - worker->heard_at > kill_after) {
    tg_log_with(TG_ERROR, TG_NO_SHARD,
                TG_WITH(TG_NUMBER(WORKER, worker->id), TG_TEXT(SCRIPT, worker->manager->script_path),
                        TG_NUMBER(DURATION, now - worker->heard_at)),
                "the loop of a worker has not turned for longer than script.kill_after: a call of the script "
                "that does not return? It is killed; its shards resume");
    tg_worker_shoot(worker, "its loop did not turn");
  }
}

void tg_workers_watch(struct tg_manager *manager, tg_ms now)
{
  /* Was this process itself stopped? Then what workers said still waits to be read. */
  bool stalled = manager->pulse_at && now - manager->pulse_at > STALL;
  for (int i = 0; i < manager->worker_count; i++) {
    struct tg_managed_worker *worker = &manager->workers[i];
    if (stalled)
      worker->heard_at = worker->started_at = now;
    else
      watch(worker, now);
  }
}

bool tg_workers_loading(const struct tg_manager *manager)
{
  for (int i = 0; i < manager->worker_count; i++) {
    if (manager->workers[i].wanted && manager->workers[i].state != TG_WORKER_READY)
      return true;
  }
  return false;
}

int tg_workers_running(const struct tg_manager *manager)
{
  int running = 0;
  for (int i = 0; i < manager->worker_count; i++)
    running += manager->workers[i].process != NULL;
  return running;
}

void tg_workers_free(struct tg_manager *manager)
{
  for (int i = 0; i < manager->worker_count; i++) {
    struct tg_managed_worker *worker = &manager->workers[i];
    if (worker->process) {
      uv_process_kill(worker->process, SIGKILL);
      worker->process->data = NULL;
    }
    tg_ipc_free(worker->ipc);
    worker->ipc = NULL;
    if (worker->stats) {
      tg_stats_unmap(worker->stats);
      close(worker->stats_fd);
    }
    if (worker->restart)
      uv_close((uv_handle_t *)worker->restart, free_handle);
  }
  free(manager->workers);
  manager->workers = NULL;
  manager->worker_count = 0;
}
