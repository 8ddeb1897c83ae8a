/* The end of a resharding: by the new set or by the old one. The record says so first; then the gateway goes
 * on with one set, and workers are told to forget the other. */

#include "base/buf.h"
#include "base/log.h"
#include "delivery/reshard/skip_file.h"
#include "manager/reshard/reshard_impl.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tg_reshard_abort(struct tg_reshard *reshard, bool failed, const char *format, ...)
{
  va_list args;
  if (reshard->abort_reason[0])
    return;
  va_start(args, format);
  vsnprintf(reshard->abort_reason, sizeof reshard->abort_reason, format, args);
  va_end(args);
  if (reshard->options.member) { /* it is not this host's to decide */
    snprintf(reshard->abort_wanted, sizeof reshard->abort_wanted, "%s", reshard->abort_reason);
    reshard->abort_reason[0] = '\0';
    return;
  }
  reshard->failed = failed;
  tg_log_with(failed ? TG_ERROR : TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, reshard->abort_reason)),
              "resharding from %d to %d is undone: the %d shards go on", reshard->from, reshard->to,
              reshard->from);
}

/* ---- the record ---- */

uint64_t tg_reshard_highest_epoch(const struct tg_reshard *reshard)
{
  const struct tg_manager_env *env = reshard->env;
  uint64_t so_far = reshard->record.epoch;
  for (int i = 0; i < tg_all_shards(env); i++) {
    struct tg_session session;
    tg_session_load(tg_shard_row_of(tg_any_shard(env, i)), &session);
    if (session.epoch > so_far)
      so_far = session.epoch;
  }
  return so_far;
}

static bool write_record(struct tg_reshard *reshard, const struct tg_reshard_record *record)
{
  struct tg_error error;
  if (tg_reshard_record_write(reshard->env->state_dir, record, &error)) {
    reshard->stuck = false;
    return true;
  }
  if (!reshard->stuck)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, error.message)),
                "resharding waits until it can be written how it has ended");
  reshard->stuck = true;
  return false;
}

/* From now on a start knows of one set. False: it could not be written. In a cluster that is what holds,
 * whether it is written or not: a start hears it from the others. */
static bool write_end(struct tg_reshard *reshard, struct tg_set_name current)
{
  const struct tg_reshard_record *record = &reshard->record;
  bool gone_over = record->next.total > 0 && current.side == record->next.side;
  struct tg_reshard_record ended = {.current = current,
                                    .configured_total = reshard->env->config->total_shards,
                                    .bot = record->bot,
                                    .epoch = tg_reshard_highest_epoch(reshard),
                                    .ended = record->ended,
                                    .done = record->done,
                                    .before = gone_over ? record->current.total : record->before};
  reshard->unwritten = !write_record(reshard, &ended);
  if (reshard->unwritten && !reshard->options.member)
    return false;
  tg_reshard_record_free(&reshard->record);
  reshard->record = ended;
  return true;
}

void tg_reshard_write_again(struct tg_reshard *reshard)
{
  if (reshard->unwritten)
    reshard->unwritten = !write_record(reshard, &reshard->record);
}

/* ---- the workers forget a set ---- */

static void clear_run(struct tg_reshard *reshard)
{
  tg_reshard_free_classes(reshard);
  tg_deal_free(&reshard->deal);
  free(reshard->ready_at);
  free(reshard->ruled);
  reshard->ready_at = NULL;
  reshard->ruled = NULL;
  reshard->env->ruled_by_next = NULL;
  reshard->env->classes = 0;
  reshard->env->next_is_current = false;
}

void tg_reshard_drop(struct tg_reshard *reshard, int side)
{
  reshard->dropping = side;
  memset(reshard->drop_told, 0, sizeof reshard->drop_told);
  tg_reshard_drop_step(reshard);
}

static void on_all_dropped(struct tg_reshard *reshard)
{
  bool aborted = reshard->env->next.count > 0;
  int side = reshard->dropping;
  if (reshard->is_quiet) {
    tg_member_forget_old(reshard->options.member);
    tg_shard_table_remove(reshard->env->state_dir, side);
    reshard->dropping = -1;
    reshard->is_quiet = false;
    return;
  }
  char reason[sizeof reshard->abort_reason];
  if (aborted)
    reshard->options.events->drop_next(reshard->options.ctx);
  tg_shard_table_remove(reshard->env->state_dir, side);
  reshard->dropping = -1;
  memcpy(reason, reshard->abort_reason, sizeof reason);
  reshard->abort_reason[0] = '\0';
  tg_reshard_tell_over(reshard, !aborted ? "done" : reshard->failed ? "failed" : "aborted", reason);
  if (aborted && reshard->check.refused)
    reshard->check.at = tg_now(); /* another number has to help */
  else if (!aborted)
    reshard->check.refused = false;
}

struct dropping {
  struct tg_reshard *reshard;
  int worker, side;
};

bool tg_reshard_all_dropped(const struct tg_reshard *reshard)
{
  struct tg_workers *workers = reshard->options.workers;
  for (int worker = 0; reshard->recorded && worker < tg_workers_count(workers); worker++)
    if (!reshard->drop_told[worker] || !tg_workers_line(workers, worker))
      return false;
  return reshard->drop_asked == 0;
}

static void on_dropped(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct dropping dropping = *(struct dropping *)ctx;
  free(ctx);
  struct tg_reshard *reshard = dropping.reshard;
  reshard->drop_asked--;
  if (error)
    reshard->drop_told[dropping.worker] = false;
  /* A worker that starts again goes by these files until nothing waits any more. */
  if (reshard->record.phase == TG_RESHARD_NONE && tg_reshard_all_dropped(reshard))
    tg_skip_files_remove(reshard->env->state_dir);
  if (error && strcmp(error->code, "closed") != 0)
    tg_log_with(TG_WARN, TG_NO_SHARD,
                TG_WITH(TG_NUMBER(WORKER, dropping.worker), TG_TEXT(REASON, error->message)),
                "a worker could not clear up after a set of shards");
}

/* Tells the workers that are there, once each: those that come later are told then. */
void tg_reshard_drop_step(struct tg_reshard *reshard)
{
  struct tg_workers *workers = reshard->options.workers;
  int side = reshard->dropping >= 0 ? reshard->dropping : 1 - reshard->record.current.side;
  if (reshard->is_quiet && tg_member_has_old(reshard->options.member))
    return; /* other hosts may still ask for what it has of them */
  for (int worker = 0; worker < tg_workers_count(workers); worker++) {
    struct tg_ipc *line = tg_workers_line(workers, worker);
    if (!line || reshard->drop_told[worker])
      continue;
    struct dropping *dropping = tg_alloc(sizeof *dropping);
    *dropping = (struct dropping){reshard, worker, side};
    reshard->drop_told[worker] = true;
    reshard->drop_asked++;
    tg_ask(line, TG_RESHARD_LONG_ASK, on_dropped, dropping, drop_set, .side = side);
  }
  if (reshard->dropping >= 0 && reshard->drop_asked == 0 && !reshard->env->stopping)
    on_all_dropped(reshard);
}

/* ---- the two ends ---- */

void tg_reshard_give_up(struct tg_reshard *reshard)
{
  enum tg_reshard_phase phase = reshard->record.phase;
  bool gone_over = phase == TG_RESHARD_SETTLING || phase == TG_RESHARD_CLOSING;
  write_end(reshard, gone_over ? reshard->record.next : reshard->record.current);
}

void tg_reshard_forget_total(struct tg_reshard *reshard)
{
  if (reshard->recorded)
    write_end(reshard, (struct tg_set_name){reshard->env->shards.side, 0});
}

void tg_reshard_drop_next(struct tg_reshard *reshard)
{
  struct tg_shard_set *next = &reshard->env->next;
  int side = next->side;
  if (!write_end(reshard, reshard->record.current))
    return;
  for (int i = 0; i < next->count; i++)
    tg_spawn_killed(reshard->options.spawner, &next->list[i]);
  clear_run(reshard);
  tg_reshard_drop(reshard, side);
}

void tg_reshard_finish(struct tg_reshard *reshard)
{
  struct tg_manager_env *env = reshard->env;
  bool in_cluster = reshard->options.member != NULL;
  int side = env->shards.side;
  if (!write_end(reshard, reshard->record.next))
    return;
  tg_reshard_note_cut(reshard);
  clear_run(reshard);
  reshard->options.events->take_next(reshard->options.ctx);
  reshard->is_quiet = in_cluster;
  if (in_cluster) {
    reshard->check.refused = false;
    tg_reshard_tell_over(reshard, "done", "");
  }
  tg_reshard_drop(reshard, side);
}
