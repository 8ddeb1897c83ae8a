/* The end: workers close their shards and deliver what they hold, or are
 * killed when their time is up. */

#include "base/log.h"
#include "base/timer.h"
#include "manager/internal.h"
#include "shared/poison.h"

#include <stdlib.h>

enum {
  WORKER_TIME = 8000, /* ms a worker has to stop */
  KILL_TIME = 10000,  /* ms until it is killed */
  HURRY_TIME = 500,   /* the same, asked twice */
  HURRY_KILL_TIME = 1500,
};

static void arm(struct tg_manager *manager, tg_ms wait)
{
  tg_timer_start(&manager->end_timer, tg_stop_on_timer, wait);
}

static void tell_to_stop(struct tg_manager *manager, tg_ms deadline)
{
  for (int i = 0; i < manager->worker_count; i++) {
    struct tg_managed_worker *worker = &manager->workers[i];
    if (worker->restart)
      uv_timer_stop(worker->restart);
    if (!worker->process)
      continue;
    if (worker->ipc && worker->state == TG_WORKER_READY)
      tg_say(worker->ipc, stop, .keep_sessions = manager->keep_sessions, .deadline = deadline);
    else if (worker->state == TG_WORKER_LOADING)
      tg_worker_shoot(worker, "the gateway stops, and it has not begun");
  }
}

static void forget_sessions(struct tg_manager *manager)
{
  for (int i = 0; i < tg_manager_shard_count(manager); i++)
    tg_session_forget(tg_shard_table_row(manager->table, manager->shards[i].id));
}

static void finish(struct tg_manager *manager)
{
  manager->phase = TG_MANAGER_OVER;
  if (manager->table && !manager->keep_sessions)
    forget_sessions(manager); /* those of workers that could not do it themselves */
  for (int i = 0; i < tg_manager_shard_count(manager); i++)
    atomic_store(&tg_shard_table_row(manager->table, manager->shards[i].id)->state, TG_SHARD_OFFLINE);
  tg_poison_forgive(); /* who stops and starts it looks after the script */
  uv_timer_stop(&manager->pulse);
  manager->options.on_exit(manager->options.ctx, manager->exit_code);
}

void tg_stop_on_timer(uv_timer_t *timer)
{
  struct tg_manager *manager = timer->data;
  if (tg_workers_running(manager) == 0) {
    finish(manager);
    return;
  }
  for (int i = 0; i < manager->worker_count; i++) {
    struct tg_managed_worker *worker = &manager->workers[i];
    if (!worker->process || worker->shot_for)
      continue;
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id)),
                "a worker did not stop in time: it is killed");
    tg_worker_shoot(worker, "it did not stop in time");
  }
}

void tg_stop_worker_gone(struct tg_manager *manager)
{
  if (manager->phase == TG_MANAGER_STOPPING && tg_workers_running(manager) == 0)
    arm(manager, 0); /* not from inside whatever led here */
}

void tg_manager_stop(struct tg_manager *manager, bool keep_sessions, int exit_code)
{
  if (manager->phase == TG_MANAGER_OVER)
    return;
  if (manager->phase == TG_MANAGER_STOPPING) {
    tg_log(TG_INFO, TG_NO_SHARD, "asked twice to stop: hurrying");
    manager->keep_sessions = manager->keep_sessions && keep_sessions;
    tell_to_stop(manager, tg_now() + HURRY_TIME);
    if (tg_workers_running(manager) > 0)
      arm(manager, HURRY_KILL_TIME);
    return;
  }
  manager->phase = TG_MANAGER_STOPPING;
  manager->keep_sessions = keep_sessions;
  manager->exit_code = exit_code;
  tg_manager_tell(manager, TG_MANAGER_IS_STOPPING);
  tg_progress_end(manager);
  tg_fetch_cancel(manager);
  tg_reload_end(manager);
  tg_slots_end(manager, "the gateway is stopping");
  for (int i = 0; i < tg_manager_shard_count(manager); i++)
    tg_waiters_end(&manager->shards[i].start_waiters, "stopping", "the gateway is stopping");
  tg_waiters_end(&manager->spawn_waiters, "stopping", "the gateway is stopping");
  tg_members_end(manager);
  tg_sendings_stop(manager);
  tell_to_stop(manager, tg_now() + WORKER_TIME);
  arm(manager, tg_workers_running(manager) > 0 ? KILL_TIME : 0);
}
