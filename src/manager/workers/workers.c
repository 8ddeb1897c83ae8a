/* Worker processes: spawning, watching, restarting. */

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "config/environment.h"
#include "manager/arguments.h"
#include "manager/workers/deaths.h"
#include "manager/workers/workers_impl.h"
#include "shared/poison.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  RESTART_BASE = 250, /* ms, doubling */
  RESTART_CAP = 30000,
  HEALTHY = 60000,       /* ms up until earlier failures are forgiven */
  LOAD_PATIENCE = 10000, /* ms on top of the script's own time to load */
  EXIT_PATIENCE = 2000,  /* ms between the end of the line and the end of the process */
  STALL = 3000,          /* ms late: then it was us who stood still */
};

static int count_shards(const struct tg_managed_worker *worker)
{
  return tg_shard_set_count_of(&worker->workers->env->shards, worker->id);
}

bool tg_worker_has_shards(const struct tg_managed_worker *worker)
{
  return count_shards(worker) > 0 || tg_shard_set_count_of(&worker->workers->env->next, worker->id) > 0;
}

void tg_worker_shoot(struct tg_managed_worker *worker, const char *why)
{
  if (!worker->process || worker->shot_for)
    return;
  worker->shot_for = why;
  tg_child_kill(worker->process, SIGKILL);
}

/* ---- the end of a process ---- */

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

static void call_handle_exit(struct tg_managed_worker *worker, const char *reason, bool use_default)
{
  struct tg_calls *calls = worker->workers->env->calls;
  json_t *args = json_pack("[i, s]", worker->id, reason);
  if (use_default)
    tg_call_default(calls, TG_METHOD_manager_handle_worker_exit, args, ignore_reply, NULL);
  else
    tg_call(calls, TG_METHOD_manager_handle_worker_exit, args, ignore_reply, NULL);
  json_decref(args);
}

static void mourn(struct tg_managed_worker *worker, int64_t status, int number)
{
  const struct tg_workers_options *options = &worker->workers->options;
  char reason[160];
  describe_exit(worker, status, number, reason, sizeof reason);
  if (status == TG_EXIT_CONFIG && number == 0 && !worker->was_ready &&
      options->events->refused(options->ctx, worker->id))
    return;
  tg_log_with(TG_ERROR, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(WORKER, worker->id), TG_TEXT(REASON, reason),
                      TG_TEXT_IF(number != 0, SCRIPT, options->script_path),
                      TG_NUMBER(SHARDS, count_shards(worker))),
              "a worker has ended; its shards go on when it is back");
  tg_deaths_look(worker->id, worker->shot_for || number != SIGKILL, worker->stats);
  if (worker->ready_at && tg_now() - worker->ready_at >= tg_patience(HEALTHY))
    worker->failures = 0;
  worker->failures++;
  call_handle_exit(worker, reason, false);
}

static void on_ended(void *owner, int64_t status, int number)
{
  struct tg_managed_worker *worker = owner;
  struct tg_workers *workers = worker->workers;
  worker->process = NULL;
  tg_figures_worker_gone(worker);
  tg_ipc_free(worker->ipc);
  worker->ipc = NULL;
  worker->state = TG_WORKER_DOWN;
  worker->cut_at = 0;
  workers->options.events->gone(workers->options.ctx, worker->id);
  if (!workers->env->stopping && worker->move != TG_WORKER_ENDS)
    mourn(worker, status, number);
  worker->shot_for = NULL;
  worker->ready_at = 0;
  tg_regroup_look(workers);
}

/* ---- the default of handle_worker_exit ---- */

static void on_restart(uv_timer_t *timer)
{
  struct tg_managed_worker *worker = timer->data;
  if (!worker->process && worker->move != TG_WORKER_ENDS && !worker->workers->env->stopping &&
      !worker->workers->starts_none)
    tg_worker_start(worker);
}

static void exit_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_workers *workers = room;
  struct tg_args args = {list, "handle_worker_exit", reply, ctx};
  int id;
  if (!tg_arg_int(&args, 0, "worker_id", 0, workers->count - 1, &id))
    return;
  struct tg_managed_worker *worker = &workers->list[id];
  if (!worker->process && worker->wanted && worker->move != TG_WORKER_ENDS &&
      !uv_is_active((uv_handle_t *)worker->restart) && !workers->env->stopping) {
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

static void not_spawned(struct tg_managed_worker *worker, const char *why)
{
  tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id), TG_TEXT(REASON, why)),
              "a worker cannot be started");
  worker->failures++;
  call_handle_exit(worker, why, true);
}

static void on_message(void *ctx, const char *type, const json_t *json)
{
  struct tg_managed_worker *worker = ctx;
  const struct tg_workers_options *options = &worker->workers->options;
  struct tg_message message;
  struct tg_error error;
  worker->heard_at = tg_now();
  if (worker->foreign)
    return;
  if (tg_message_read(type, json, &message, &error)) {
    options->events->message(options->ctx, (struct tg_worker_process){worker->id, worker->incarnation},
                             &message);
    return;
  }
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id)),
              "a message of a worker was not understood: %s", error.message);
  tg_ipc_answer(worker->ipc, message.nonce, NULL, &error);
}

static void on_closed(void *ctx)
{
  struct tg_managed_worker *worker = ctx;
  tg_ipc_free(worker->ipc);
  worker->ipc = NULL;
  worker->cut_at = tg_now(); /* the end of its process says more */
  if (worker->state == TG_WORKER_READY)
    worker->state = TG_WORKER_DOWN;
}

static void say_start(struct tg_managed_worker *worker)
{
  const struct tg_workers *workers = worker->workers;
  const struct tg_manager_env *env = workers->env;
  json_t *owners = json_array();
  for (int i = 0; i < env->shards.count; i++)
    json_array_append_new(owners, json_integer(env->shards.list[i].worker_id));
  tg_say(worker->ipc, secrets, .environment = tg_environment_hidden());
  tg_say(worker->ipc, start, .side = env->shards.side, .total_shards = env->shards.range.total,
         .next_total = env->next.count > 0 ? env->next.range.total : 0, .gateway_url = env->info->url,
         .generation = workers->generation, .stamp = env->stamp, .steady_ahead = tg_steady_ahead(),
         .first_shard = env->shards.range.first, .owners = owners, .moved = workers->moved,
         .clustered = env->clustered);
  json_decref(owners);
}

static const struct tg_ipc_callbacks of_line = {.on_message = on_message, .on_closed = on_closed};

void tg_worker_start(struct tg_managed_worker *worker)
{
  int fds[2];
  struct tg_error error;
  if (!worker->stats && !(worker->stats = tg_stats_make(&worker->stats_fd, &error))) {
    not_spawned(worker, error.message);
    return;
  }
  tg_deaths_look(worker->id, false, worker->stats); /* of the last gateway, or while it stopped */
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    not_spawned(worker, strerror(errno));
    return;
  }
  int failed = tg_worker_spawn_process(worker, fds[1], on_ended);
  close(fds[1]);
  if (failed != 0) {
    close(fds[0]);
    not_spawned(worker, uv_strerror(failed));
    return;
  }
  worker->incarnation++;
  worker->state = TG_WORKER_LOADING;
  worker->started_at = worker->heard_at = tg_now();
  worker->ready_at = worker->cut_at = 0;
  worker->generation = worker->workers->generation;
  worker->prepared = 0;
  worker->adopted = worker->foreign = false;
  worker->ipc = tg_ipc_new(worker->workers->env->loop, fds[0], &of_line, worker);
  if (worker->ipc)
    say_start(worker);
  else
    tg_worker_shoot(worker, "no line to it");
}

void tg_worker_adopt(struct tg_managed_worker *worker, int pid, int line)
{
  worker->process = tg_child_adopt(worker->workers->env->loop, pid, on_ended, worker);
  worker->adopted = true;
  worker->state = TG_WORKER_READY;
  worker->heard_at = tg_now();
  worker->ipc = tg_ipc_new(worker->workers->env->loop, line, &of_line, worker);
  if (!worker->ipc)
    tg_worker_shoot(worker, "no line to it");
}

void tg_workers_make(struct tg_workers *workers, int count)
{
  workers->list = tg_calloc((size_t)count, sizeof *workers->list);
  workers->count = count;
  for (int i = 0; i < count; i++) {
    struct tg_managed_worker *worker = &workers->list[i];
    worker->workers = workers;
    worker->id = i;
    worker->restart = tg_timer_new(workers->env->loop, worker);
    worker->wanted = tg_worker_has_shards(worker);
  }
}

void tg_workers_start(struct tg_workers *workers, int count)
{
  tg_workers_make(workers, count);
  for (int i = 0; i < count && !workers->env->stopping; i++) {
    if (workers->list[i].wanted)
      tg_worker_start(&workers->list[i]);
  }
  for (int i = count; i < TG_MAX_WORKERS; i++)
    tg_deaths_look(i, false, NULL); /* there were more */
}

/* ---- watching ---- */

static void watch(struct tg_managed_worker *worker, tg_ms now)
{
  const struct tg_config *config = worker->workers->env->config;
  tg_ms kill_after = config->script.kill_after;
  if (!worker->process || worker->shot_for)
    return;
  if (worker->killed_at && now > worker->killed_at) {
    tg_worker_shoot(worker, "it did not end in time for its shards to go elsewhere");
  } else if (worker->cut_at) {
    if (now - worker->cut_at > EXIT_PATIENCE)
      tg_worker_shoot(worker, "it closed its line to the manager, but did not end");
  } else if (worker->state == TG_WORKER_LOADING) {
    if (now - worker->started_at > kill_after + config->script.load_budget + LOAD_PATIENCE) {
      tg_log_with(TG_ERROR, TG_NO_SHARD,
                  TG_WITH(TG_NUMBER(WORKER, worker->id),
                          TG_TEXT(SCRIPT, worker->workers->options.script_path),
                          TG_NUMBER(DURATION, now - worker->started_at)),
                  "a worker does not finish loading its script: it is killed");
      tg_worker_shoot(worker, "it did not finish loading its script");
    }
  } else if (worker->state == TG_WORKER_READY && now - worker->heard_at > kill_after) {
    tg_log_with(TG_ERROR, TG_NO_SHARD,
                TG_WITH(TG_NUMBER(WORKER, worker->id), TG_TEXT(SCRIPT, worker->workers->options.script_path),
                        TG_NUMBER(DURATION, now - worker->heard_at)),
                "the loop of a worker has not turned for longer than script.kill_after: a call of the script "
                "that does not return? It is killed; its shards resume");
    tg_worker_shoot(worker, "its loop did not turn");
  }
}

void tg_workers_watch(struct tg_workers *workers, tg_ms now)
{
  /* Was this process itself stopped? Then what workers said still waits to be read. */
  bool stalled = workers->watched_at && now - workers->watched_at > STALL;
  workers->watched_at = now;
  for (int i = 0; i < workers->count; i++) {
    struct tg_managed_worker *worker = &workers->list[i];
    if (stalled)
      worker->heard_at = worker->started_at = now;
    else
      watch(worker, now);
  }
}

/* ---- stopping ---- */

void tg_workers_stop(struct tg_workers *workers, bool keep_sessions, tg_ms deadline)
{
  for (int i = 0; i < workers->count; i++) {
    struct tg_managed_worker *worker = &workers->list[i];
    uv_timer_stop(worker->restart);
    if (!worker->process)
      continue;
    if (worker->ipc && worker->state == TG_WORKER_READY)
      tg_say(worker->ipc, stop, .keep_sessions = keep_sessions, .deadline = deadline);
    else if (worker->state == TG_WORKER_LOADING)
      tg_worker_shoot(worker, "the gateway stops, and it has not begun");
  }
}

void tg_workers_kill_late(struct tg_workers *workers)
{
  for (int i = 0; i < workers->count; i++) {
    struct tg_managed_worker *worker = &workers->list[i];
    if (!worker->process || worker->shot_for)
      continue;
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id)),
                "a worker did not stop in time: it is killed");
    tg_worker_shoot(worker, "it did not stop in time");
  }
}

/* ---- how they are ---- */

int tg_workers_count(const struct tg_workers *workers)
{
  return workers->count;
}

bool tg_workers_loading(const struct tg_workers *workers)
{
  for (int i = 0; i < workers->count; i++) {
    if (workers->list[i].wanted && workers->list[i].state != TG_WORKER_READY)
      return true;
  }
  return false;
}

int tg_workers_running(const struct tg_workers *workers)
{
  int running = 0;
  for (int i = 0; i < workers->count; i++)
    running += workers->list[i].process != NULL;
  return running;
}

bool tg_workers_up(const struct tg_workers *workers, int worker)
{
  return tg_workers_line(workers, worker) != NULL;
}

bool tg_workers_is_adopted(const struct tg_workers *workers, int worker)
{
  return workers->list[worker].process && workers->list[worker].adopted;
}

int tg_workers_generation(const struct tg_workers *workers)
{
  return workers->generation;
}

int tg_workers_generation_of(const struct tg_workers *workers, int worker)
{
  return workers->list[worker].generation;
}

static const char *state_name(const struct tg_managed_worker *worker)
{
  if (worker->workers->env->stopping)
    return worker->process ? "running" : "stopped";
  if (!worker->wanted)
    return "stopped";
  if (worker->state == TG_WORKER_READY)
    return "running";
  return worker->was_ready || !worker->process ? "restarting" : "starting";
}

void tg_workers_status(const struct tg_workers *workers, int id, struct tg_worker_status *status)
{
  const struct tg_managed_worker *worker = &workers->list[id];
  *status = (struct tg_worker_status){
      .pid = worker->process ? tg_child_pid(worker->process) : 0,
      .state = state_name(worker),
      .shards = tg_shard_set_count_held_of(&worker->workers->env->shards, worker->id),
      .restarts = worker->incarnation > 1 ? (int)worker->incarnation - 1 : 0,
      .generation = worker->generation,
  };
}

/* ---- their lines ---- */

struct tg_ipc *tg_workers_line(const struct tg_workers *workers, int id)
{
  const struct tg_managed_worker *worker = id < workers->count ? &workers->list[id] : NULL;
  return worker && worker->state == TG_WORKER_READY && !worker->foreign ? worker->ipc : NULL;
}

struct tg_ipc *tg_workers_line_of(const struct tg_workers *workers, struct tg_worker_process process)
{
  if (process.worker >= workers->count)
    return NULL;
  const struct tg_managed_worker *worker = &workers->list[process.worker];
  return worker->incarnation == process.incarnation ? worker->ipc : NULL;
}

void tg_workers_tell_all(const struct tg_workers *workers, const struct tg_message *message, int except)
{
  for (int i = 0; i < workers->count; i++) {
    if (i != except && workers->list[i].ipc && !workers->list[i].foreign)
      tg_message_send(workers->list[i].ipc, message);
  }
}

void tg_workers_heard_hello(struct tg_workers *workers, int id, int generation)
{
  struct tg_managed_worker *worker = &workers->list[id];
  worker->state = TG_WORKER_READY;
  worker->was_ready = true;
  worker->ready_at = tg_now();
  worker->generation = generation;
  tg_log_with(TG_DEBUG, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, id), TG_NUMBER(GENERATION, generation)),
              "a worker is ready");
  if (worker->move == TG_WORKER_BEGINS)
    worker->move = TG_WORKER_STAYS;
  tg_regroup_look(workers);
}

void tg_workers_heard_stopped(struct tg_workers *workers, int id)
{
  workers->list[id].state = TG_WORKER_STOPPED;
}

/* ---- life ---- */

struct tg_workers *tg_workers_new(const struct tg_workers_options *options)
{
  static const struct tg_default defaults[] = {
      {TG_METHOD_manager_handle_worker_exit, exit_default},
  };
  struct tg_workers *workers = tg_calloc(1, sizeof *workers);
  workers->options = *options;
  workers->env = options->env;
  workers->generation = 1;
  tg_calls_offer(options->env->calls, defaults, 1, workers);
  return workers;
}

void tg_workers_end(struct tg_workers *workers)
{
  for (int i = 0; i < workers->count; i++) {
    struct tg_managed_worker *worker = &workers->list[i];
    if (worker->process) {
      tg_child_kill(worker->process, SIGKILL);
      tg_child_forget(worker->process);
    }
    tg_ipc_free(worker->ipc);
    worker->ipc = NULL;
    if (worker->stats) {
      tg_stats_unmap(worker->stats);
      close(worker->stats_fd);
    }
    tg_timer_free(worker->restart);
  }
  free(workers->list);
  workers->list = NULL;
  workers->count = 0;
}

void tg_workers_free(struct tg_workers *workers)
{
  free(workers);
}
