/* The end: workers close their shards and deliver what they hold, or are
 * killed when their time is up. */

#include "base/log.h"
#include "base/timer.h"
#include "manager/internal.h"
#include "shared/poison.h"

#include <stdarg.h>
#include <stdio.h>

enum {
  WORKER_TIME = 8000, /* ms a worker has to stop */
  KILL_TIME = 10000,  /* ms until it is killed */
  HURRY_TIME = 500,   /* the same, asked twice */
  HURRY_KILL_TIME = 1500,
  LEAVE_TIME = 240000,   /* ms for shards to go to other hosts */
  LEAVE_PATIENCE = 4000, /* without one that goes: what is left cannot, while the bot is down for one */
  LEAVE_LOOK = 50,
};

static void on_timer(uv_timer_t *timer);
static void end(struct tg_manager *manager, bool keep_sessions, int exit_code);

static void arm(struct tg_manager *manager, tg_ms wait)
{
  tg_timer_start(manager->end_timer, on_timer, wait);
}

static void finish(struct tg_manager *manager)
{
  manager->phase = TG_MANAGER_OVER;
  for (int i = 0; i < tg_all_shards(&manager->env); i++) {
    struct tg_shard_row *row = tg_shard_row_of(tg_any_shard(&manager->env, i));
    if (!manager->keep_sessions)
      tg_session_forget(row); /* those of workers that could not do it themselves */
    atomic_store(&row->state, TG_SHARD_OFFLINE);
  }
  tg_poison_forgive(); /* who stops and starts it looks after the script */
  uv_timer_stop(manager->pulse);
  manager->options.on_exit(manager->options.ctx, manager->exit_code);
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_manager *manager = timer->data;
  if (tg_workers_running(manager->workers) == 0) {
    finish(manager);
    return;
  }
  tg_workers_kill_late(manager->workers);
}

void tg_stop_worker_gone(struct tg_manager *manager)
{
  if (manager->phase == TG_MANAGER_STOPPING && tg_workers_running(manager->workers) == 0)
    arm(manager, 0); /* not from inside whatever led here */
}

/* ---- shards go to other hosts first ---- */

static bool has_others(const struct tg_manager *manager)
{
  return manager->member && manager->phase == TG_MANAGER_RUNNING && tg_member_is_connected(manager->member) &&
         tg_member_has_others(manager->member);
}

static void on_leaving(uv_timer_t *timer)
{
  struct tg_manager *manager = timer->data;
  int count = tg_member_count(manager->member);
  if (count < manager->leaving_shards)
    manager->leave_until = tg_now() + LEAVE_PATIENCE;
  manager->leaving_shards = count;
  if (manager->leave_until > manager->leave_latest)
    manager->leave_until = manager->leave_latest;
  if (count == 0 || !has_others(manager) || tg_now() >= manager->leave_until)
    end(manager, true, manager->exit_code);
  else
    tg_timer_start(timer, on_leaving, LEAVE_LOOK);
}

static bool may_leave(const struct tg_manager *manager, bool keep_sessions)
{
  return keep_sessions && !manager->leaving && has_others(manager) && tg_member_count(manager->member) > 0;
}

void tg_manager_stop(struct tg_manager *manager, bool keep_sessions, int exit_code)
{
  if (exit_code == TG_EXIT_OK && may_leave(manager, keep_sessions)) {
    tg_log(TG_INFO, TG_NO_SHARD,
           "other hosts of the cluster take this one's shards first (stop it again to end at once)");
    manager->leaving = true;
    manager->leaving_shards = tg_member_count(manager->member);
    manager->leave_until = tg_now() + LEAVE_PATIENCE;
    manager->leave_latest = tg_now() + LEAVE_TIME;
    tg_member_drain(manager->member, false);
    tg_timer_start(manager->end_timer, on_leaving, LEAVE_LOOK);
    return;
  }
  end(manager, keep_sessions, exit_code);
}

static void end(struct tg_manager *manager, bool keep_sessions, int exit_code)
{
  if (manager->phase == TG_MANAGER_OVER)
    return;
  if (manager->phase == TG_MANAGER_STOPPING) {
    tg_log(TG_INFO, TG_NO_SHARD, "asked twice to stop: hurrying");
    manager->keep_sessions = manager->keep_sessions && keep_sessions;
    tg_workers_stop(manager->workers, manager->keep_sessions, tg_now() + HURRY_TIME);
    if (tg_workers_running(manager->workers) > 0)
      arm(manager, HURRY_KILL_TIME);
    return;
  }
  manager->phase = TG_MANAGER_STOPPING;
  manager->env.stopping = true;
  manager->keep_sessions = keep_sessions;
  manager->exit_code = exit_code;
  tg_manager_tell(manager, TG_MANAGER_IS_STOPPING);
  tg_upgrade_end(manager->upgrade);
  tg_progress_end();
  if (manager->member)
    tg_member_stop(manager->member);
  tg_post_end(manager->env.post);
  tg_shared_presences_end(manager->shared_presences);
  tg_fetch_cancel(manager->fetch);
  tg_optional_end(manager->optional);
  tg_deaf_end(manager->deaf);
  tg_reshard_end(manager->reshard, keep_sessions);
  tg_reloads_end(manager->reloads);
  tg_slots_end(manager->slots, "the gateway is stopping");
  tg_spawner_end(manager->spawner, "the gateway is stopping");
  tg_members_end(manager->members);
  tg_redis_commands_stop(manager->redis_commands);
  tg_sendings_stop(manager->sendings);
  tg_workers_stop(manager->workers, manager->keep_sessions, tg_now() + WORKER_TIME);
  arm(manager, tg_workers_running(manager->workers) > 0 ? KILL_TIME : 0);
}

void tg_manager_fail(struct tg_manager *manager, int exit_code, const char *format, ...)
{
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  if (manager->env.stopping)
    return;
  tg_log(TG_ERROR, TG_NO_SHARD, "%s", text);
  tg_manager_stop(manager, true, exit_code);
}
