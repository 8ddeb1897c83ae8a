/* What follows from one phase to the next. Looked at every now and then: nothing hangs on a single message
 * that a worker, or this process, may not live to see. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/reshard/reshard_impl.h"

#include <stdlib.h>
#include <string.h>

enum {
  PREPARE_PATIENCE = 120000, /* ms until all workers are there and know of the new set */
  REGROUP_TIME = 2000,       /* ms for a worker to close its shards, and to deliver what is on its way */
};

bool tg_reshard_enter(struct tg_reshard *reshard, enum tg_reshard_phase phase)
{
  struct tg_error error;
  struct tg_reshard_record record = reshard->record;
  record.phase = phase;
  if (!tg_reshard_record_write(reshard->env->state_dir, &record, &error)) {
    if (!reshard->stuck)
      tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, error.message)),
                  "resharding stays at \"%s\" until it can be written how it goes on",
                  tg_reshard_phase_name(reshard->record.phase));
    reshard->stuck = true;
    return false;
  }
  reshard->stuck = false;
  reshard->record.phase = phase;
  reshard->phase_at = tg_now();
  tg_log(TG_DEBUG, TG_NO_SHARD, "resharding: %s", tg_reshard_phase_name(phase));
  return true;
}

/* ---- preparing: the workers ---- */

static bool has_classes(const struct tg_reshard *reshard, int worker)
{
  for (int i = 0; i < reshard->deal.classes; i++) {
    if (reshard->deal.workers[i] == worker)
      return true;
  }
  return false;
}

struct preparation {
  struct tg_reshard *reshard;
  uint64_t run;
  int worker;
};

static void on_prepared(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct preparation preparation = *(struct preparation *)ctx;
  free(ctx);
  struct tg_reshard *reshard = preparation.reshard;
  int worker = preparation.worker;
  if (preparation.run != reshard->run || reshard->told[worker] != TG_RESHARD_ASKED)
    return;
  reshard->told[worker] = error ? TG_RESHARD_UNTOLD : TG_RESHARD_TOLD;
  reshard->tell_at[worker] = tg_now() + tg_patience(TG_RESHARD_BEAT);
  if (error && strcmp(error->code, "closed") != 0 && reshard->record.phase == TG_RESHARD_PREPARING)
    tg_reshard_abort(reshard, true, "worker %d: %s", worker, error->message);
  else if (error)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker), TG_TEXT(REASON, error->message)),
                "a worker could not prepare the new set of shards; it is asked again");
}

static void tell_worker(struct tg_reshard *reshard, int worker)
{
  const struct tg_set_name *next = &reshard->record.next;
  struct tg_ipc *line = tg_workers_line(reshard->options.workers, worker);
  json_t *classes = json_array();
  for (int i = 0; i < reshard->deal.classes; i++) {
    if (reshard->deal.workers[i] == worker)
      json_array_append_new(classes, json_integer(i));
  }
  struct preparation *preparation = tg_alloc(sizeof *preparation);
  *preparation = (struct preparation){reshard, reshard->run, worker};
  reshard->told[worker] = TG_RESHARD_ASKED;
  tg_ask(line, TG_RESHARD_ASK, on_prepared, preparation, prepare_set, .side = next->side,
         .total_shards = next->total, .epoch = (int64_t)reshard->record.epoch, .classes = classes);
  json_decref(classes);
}

bool tg_reshard_tell_workers(struct tg_reshard *reshard, tg_ms now)
{
  bool all = true;
  for (int worker = 0; worker < tg_workers_count(reshard->options.workers); worker++) {
    if (reshard->told[worker] == TG_RESHARD_UNTOLD && now >= reshard->tell_at[worker] &&
        tg_workers_up(reshard->options.workers, worker))
      tell_worker(reshard, worker);
    if (has_classes(reshard, worker))
      all = all && reshard->told[worker] == TG_RESHARD_TOLD;
  }
  return all;
}

void tg_reshard_worker_ready(struct tg_reshard *reshard, int worker)
{
  reshard->told[worker] = TG_RESHARD_UNTOLD;
  if (reshard->record.phase >= TG_RESHARD_PREPARING)
    tell_worker(reshard, worker);
  else if (reshard->recorded) /* it may find files of the set that is over */
    tg_reshard_drop_step(reshard);
}

void tg_reshard_worker_gone(struct tg_reshard *reshard, int worker)
{
  reshard->told[worker] = TG_RESHARD_UNTOLD;
  reshard->drop_told[worker] = false;
  tg_reshard_classes_unknown(reshard, worker);
}

static void on_ended(void *ctx)
{
  struct tg_reshard *reshard = ctx;
  tg_shard_set_deal(&reshard->env->shards, reshard->deal.workers, reshard->deal.classes);
}

static void on_regrouped(void *ctx)
{
  (void)ctx; /* prepare() sees it */
}

/* Shards go to the workers of their classes, which resume them. */
static void regroup(struct tg_reshard *reshard)
{
  struct tg_shard_set *shards = &reshard->env->shards;
  const struct tg_regroup regroup = {
      .ended = on_ended, .done = on_regrouped, .ctx = reshard, .patience = REGROUP_TIME, .moves = true};
  bool affected[TG_MAX_WORKERS] = {false};
  int *owners = tg_calloc((size_t)shards->count, sizeof *owners);
  for (int i = 0; i < shards->count; i++)
    owners[i] = shards->list[i].worker_id;
  for (int worker = 0; worker < tg_workers_count(reshard->options.workers); worker++)
    affected[worker] = tg_deal_affects(&reshard->deal, owners, worker);
  free(owners);
  reshard->regrouped = true;
  tg_workers_regroup(reshard->options.workers, affected, &regroup);
}

static void prepare(struct tg_reshard *reshard, tg_ms now)
{
  const struct tg_shard_set *shards = &reshard->env->shards;
  if (reshard->deal.regroup && !reshard->regrouped) {
    regroup(reshard);
    return;
  }
  if (tg_workers_regrouping(reshard->options.workers))
    return;
  bool all_told = tg_reshard_tell_workers(reshard, now);
  bool waits = reshard->regrouped && tg_shard_set_count_up(shards) < shards->count;
  if (now - reshard->phase_at >= tg_patience(PREPARE_PATIENCE) && !all_told)
    tg_reshard_abort(reshard, true, "not all workers were there to prepare the new set of shards");
  else if (all_told && (!waits || now - reshard->phase_at >= tg_patience(PREPARE_PATIENCE)))
    tg_reshard_enter(reshard, TG_RESHARD_IDENTIFYING);
}

/* ---- identifying: the new shards ---- */

static bool has_session(const struct tg_managed_shard *shard)
{
  struct tg_session session;
  return tg_session_load(tg_shard_row_of(shard), &session);
}

int tg_reshard_up(const struct tg_reshard *reshard)
{
  return tg_shard_set_count_up(&reshard->env->next);
}

/* Guilds of many shards at once would keep live events waiting in their worker. */
static bool still_loads(const struct tg_reshard *reshard, const struct tg_managed_shard *shard, tg_ms now)
{
  const struct tg_reshard_class *class = &reshard->classes[shard->id % reshard->deal.classes];
  tg_ms since = now - reshard->ready_at[shard->id];
  if (!shard->was_up)
    return true;
  if (since >= tg_patience(TG_RESHARD_LOADING))
    return false;
  return class->loading >= 0 ? class->loading > 0 || since < tg_patience(TG_RESHARD_BEAT)
                             : class->state == TG_CLASS_LOADING || since < tg_patience(TG_RESHARD_BEAT);
}

/* Of one alone Discord's refusal of the number costs one identify. */
static bool first_is_there(const struct tg_shard_set *next)
{
  for (int i = 0; i < next->count; i++) {
    if (next->list[i].was_up || has_session(&next->list[i]))
      return true;
  }
  return false;
}

static void start_shard(struct tg_reshard *reshard, struct tg_managed_shard *shard)
{
  if (reshard->told[shard->worker_id] == TG_RESHARD_TOLD)
    tg_spawn_take(reshard->options.spawner, shard);
}

bool tg_reshard_start_shards(struct tg_reshard *reshard, tg_ms now)
{
  struct tg_shard_set *next = &reshard->env->next;
  bool busy[TG_MAX_WORKERS] = {false}, all = true;
  if (!tg_spawn_begun(reshard->options.spawner))
    return false;
  for (int i = 0; i < next->count; i++) {
    const struct tg_managed_shard *shard = &next->list[i];
    if (shard->was_up && !reshard->ready_at[i])
      reshard->ready_at[i] = now;
    all = all && (shard->was_up || !shard->held);
    busy[shard->worker_id] = busy[shard->worker_id] || (shard->wanted && still_loads(reshard, shard, now));
  }
  if (all)
    return true;
  bool alone = !reshard->options.member && !first_is_there(next); /* in a cluster Redis sees to it */
  for (int i = 0; i < next->count && !(alone && i > 0); i++) {
    struct tg_managed_shard *shard = &next->list[i];
    bool resumes = !shard->wanted && has_session(shard);
    if (shard->wanted || !shard->held || (!resumes && busy[shard->worker_id]))
      continue;
    start_shard(reshard, shard);
    busy[shard->worker_id] = busy[shard->worker_id] || !resumes;
  }
  return false;
}

/* What is waited for by the budget is not the new shards' fault. */
static void watch_deadline(struct tg_reshard *reshard, tg_ms now)
{
  if (!reshard->deadline)
    reshard->deadline = now + 2 * tg_reshard_estimate(reshard, reshard->env->next.count);
  if (tg_slots_held_back(reshard->options.slots) || !tg_spawn_all_up(reshard->options.spawner))
    reshard->deadline += now - reshard->looked_at;
  if (now >= reshard->deadline)
    tg_reshard_abort(reshard, true, "only %d of %d new shards were up in time", tg_reshard_up(reshard),
                     reshard->to);
}

static void identify(struct tg_reshard *reshard, tg_ms now)
{
  if (tg_reshard_start_shards(reshard, now))
    tg_reshard_enter(reshard, TG_RESHARD_MATCHING);
  else
    watch_deadline(reshard, now);
}

/* ---- the classes ---- */

static void match(struct tg_reshard *reshard)
{
  for (int i = 0; i < reshard->deal.classes; i++) {
    if (reshard->classes[i].state >= TG_CLASS_READY || reshard->classes[i].lost >= 0) {
      tg_reshard_enter(reshard, TG_RESHARD_SWITCHING); /* before the first is told to */
      return;
    }
  }
}

static void switch_classes(struct tg_reshard *reshard, tg_ms now)
{
  reshard->settled_at = 0;
  if (tg_reshard_switched(reshard) == reshard->deal.classes)
    tg_reshard_enter(reshard, TG_RESHARD_SETTLING);
  else
    tg_reshard_switch_some(reshard, now);
}

static void settle(struct tg_reshard *reshard, tg_ms now)
{
  bool settled = true;
  for (int i = 0; i < reshard->deal.classes; i++)
    settled = settled && reshard->classes[i].state >= TG_CLASS_SETTLED;
  if (tg_reshard_switched(reshard) < reshard->deal.classes)
    tg_reshard_enter(reshard, TG_RESHARD_SWITCHING); /* one has gone back by itself */
  else if (!settled)
    reshard->settled_at = 0;
  else if (!reshard->settled_at)
    reshard->settled_at = now;
  else if (now - reshard->settled_at >= tg_patience(TG_RESHARD_SETTLED))
    tg_reshard_enter(reshard, TG_RESHARD_CLOSING);
}

/* ---- all of it ---- */

static void step_phase(struct tg_reshard *reshard, tg_ms now)
{
  switch (reshard->record.phase) {
  case TG_RESHARD_NONE:
    if (reshard->dropping >= 0)
      tg_reshard_drop_step(reshard);
    break;
  case TG_RESHARD_WAITING:
    break;
  case TG_RESHARD_PREPARING:
    prepare(reshard, now);
    break;
  case TG_RESHARD_IDENTIFYING:
    identify(reshard, now);
    break;
  case TG_RESHARD_MATCHING:
    match(reshard);
    break;
  case TG_RESHARD_SWITCHING:
    switch_classes(reshard, now);
    break;
  case TG_RESHARD_SETTLING:
    settle(reshard, now);
    break;
  case TG_RESHARD_CLOSING:
    reshard->env->next_is_current = true;
    if (tg_reshard_close_some(reshard, now))
      tg_reshard_finish(reshard);
    break;
  case TG_RESHARD_ABORTING:
    if (!tg_workers_regrouping(reshard->options.workers) && tg_reshard_switch_back(reshard, now))
      tg_reshard_drop_next(reshard);
    break;
  }
}

void tg_reshard_step(struct tg_reshard *reshard, tg_ms now)
{
  enum tg_reshard_phase phase = reshard->record.phase;
  bool aborts = reshard->abort_reason[0] && phase != TG_RESHARD_NONE && phase != TG_RESHARD_ABORTING;
  if (phase > TG_RESHARD_PREPARING)
    tg_reshard_tell_workers(reshard, now);
  /* After a start of the gateway in the middle. To go back, what rules has to run. */
  if (phase > TG_RESHARD_IDENTIFYING && (phase < TG_RESHARD_ABORTING || tg_reshard_switched(reshard) > 0))
    tg_reshard_start_shards(reshard, now);
  if (!aborts || tg_reshard_enter(reshard, TG_RESHARD_ABORTING))
    step_phase(reshard, now);
  reshard->looked_at = now;
}
