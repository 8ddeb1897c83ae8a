/* Workers that end, and start again: for shards that go from one to another, or for a new program. A worker
 * learns at its start which are its own; and what a process has left in its log is taken over by whoever
 * opens it once that process is gone. So all that give or get shards end, keeping the sessions, before the
 * first of them starts again. */

#include "base/log.h"
#include "manager/workers/workers_impl.h"

enum { KILL_TIME = 1000 /* ms on top of what it has to end, until it is killed */ };

static bool any(const struct tg_workers *workers, enum tg_worker_move move)
{
  for (int i = 0; i < workers->count; i++)
    if (workers->list[i].move == move)
      return true;
  return false;
}

static void end(struct tg_managed_worker *worker, tg_ms until)
{
  worker->move = TG_WORKER_ENDS;
  uv_timer_stop(worker->restart);
  if (!worker->process)
    return;
  worker->killed_at = until + KILL_TIME;
  if (worker->ipc && worker->state == TG_WORKER_READY)
    tg_say(worker->ipc, stop, .keep_sessions = true, .deadline = until);
  else
    tg_worker_shoot(worker, "it gets other shards, and has not begun");
  worker->state = TG_WORKER_STOPPED; /* nothing is sent to it any more */
}

static void begin(struct tg_managed_worker *worker)
{
  worker->wanted = tg_worker_has_shards(worker);
  worker->move = worker->wanted ? TG_WORKER_BEGINS : TG_WORKER_STAYS;
  worker->killed_at = 0;
  if (worker->wanted)
    tg_worker_start(worker);
}

void tg_regroup_look(struct tg_workers *workers)
{
  struct tg_regroup *regroup = &workers->regroup;
  if (workers->env->stopping || !regroup->done)
    return;
  for (int i = 0; i < workers->count; i++)
    if (workers->list[i].move == TG_WORKER_ENDS && workers->list[i].process)
      return;
  if (any(workers, TG_WORKER_ENDS)) {
    workers->moved = workers->moved || regroup->moves;
    regroup->ended(regroup->ctx);
    for (int i = 0; i < workers->count; i++)
      if (workers->list[i].move == TG_WORKER_ENDS)
        begin(&workers->list[i]);
  }
  if (!any(workers, TG_WORKER_BEGINS)) {
    void (*done)(void *ctx) = regroup->done;
    regroup->done = NULL;
    done(regroup->ctx);
  }
}

void tg_workers_regroup(struct tg_workers *workers, const bool *affected, const struct tg_regroup *regroup)
{
  int count = 0;
  tg_ms now = tg_now();
  workers->regroup = *regroup;
  for (int i = 0; i < workers->count; i++) {
    count += affected[i];
    if (affected[i])
      end(&workers->list[i], now + regroup->patience);
  }
  if (regroup->moves)
    tg_log(TG_INFO, TG_NO_SHARD,
           "%d workers end and start again, since shards go from one to another; all "
           "sessions are resumed",
           count);
  tg_regroup_look(workers);
}

void tg_workers_break_off(struct tg_workers *workers)
{
  static const char why[] = "the program before takes over again, and it has not begun";
  workers->regroup.done = NULL;
  workers->starts_none = true;
  for (int i = 0; i < workers->count; i++) {
    struct tg_managed_worker *worker = &workers->list[i];
    worker->move = TG_WORKER_STAYS;
    uv_timer_stop(worker->restart);
    if (worker->process && worker->state != TG_WORKER_READY)
      tg_worker_shoot(worker, why);
  }
}

bool tg_workers_regrouping(const struct tg_workers *workers)
{
  return workers->regroup.done != NULL;
}
