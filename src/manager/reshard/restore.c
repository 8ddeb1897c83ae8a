/* What a start finds: which total holds, and whether the last run was in the middle of going over to another.
 */

#include "base/buf.h"
#include "base/log.h"
#include "manager/reshard/reshard_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- what is left of the last run ---- */

/* Why it cannot go on; NULL: it can. */
static const char *reason_to_drop(const struct tg_reshard *reshard)
{
  const struct tg_config *config = reshard->env->config;
  const struct tg_reshard_record *record = &reshard->record;
  if (config->total_shards != record->configured_total)
    return "the option total_shards has changed";
  if (config->intents != record->intents && !config->cluster.url) /* other hosts may go on with the change */
    return "the intents have changed";
  if (config->first_shard_id > 0 || config->last_shard_id >= 0)
    return "this gateway has a part of the shards now";
  if (config->cluster.url && !record->change)
    return "hosts of a cluster share the shards now";
  if (!config->cluster.url && record->change)
    return "this gateway was a host of a cluster, and is none now";
  return NULL;
}

/* All guilds have gone over: what is left to do needs no sessions. */
static bool has_gone_over(const struct tg_reshard_record *record)
{
  return record->phase == TG_RESHARD_SETTLING || record->phase == TG_RESHARD_CLOSING;
}

static void drop(struct tg_reshard *reshard, const char *why)
{
  struct tg_reshard_record *record = &reshard->record;
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, why)),
              "resharding from %d to %d, in which the last run was, does not go on", record->current.total,
              record->next.total);
  if (has_gone_over(record))
    record->current = record->next;
  free(record->deal);
  record->deal = NULL;
  record->classes = 0;
  record->next = (struct tg_set_name){0};
  record->phase = TG_RESHARD_NONE;
  record->change = 0;
  reshard->dropped = true;
}

bool tg_reshard_restore(struct tg_reshard *reshard, struct tg_error *error)
{
  struct tg_manager_env *env = reshard->env;
  struct tg_error problem;
  struct tg_reshard_record *record = &reshard->record;
  reshard->recorded = tg_reshard_record_read(env->state_dir, env->bot, record, &problem);
  if (!reshard->recorded && strcmp(problem.code, "missing") != 0)
    return tg_fail(error, problem.code,
                   "%s. It says how many shards this bot has, which is not guessed. Remove the file, and set "
                   "total_shards to the number of shards that it had",
                   problem.message);
  record->bot = env->bot;
  const char *why = record->phase == TG_RESHARD_NONE ? NULL : reason_to_drop(reshard);
  if (why)
    drop(reshard, why);
  return true;
}

int tg_reshard_side(const struct tg_reshard *reshard)
{
  return reshard->record.current.side;
}

int tg_reshard_total(const struct tg_reshard *reshard)
{
  bool holds = reshard->recorded && reshard->record.configured_total == reshard->env->config->total_shards;
  return holds ? reshard->record.current.total : 0;
}

int tg_reshard_worker(const struct tg_reshard *reshard, int shard_id)
{
  const struct tg_reshard_record *record = &reshard->record;
  return record->phase == TG_RESHARD_NONE ? -1 : record->deal[shard_id % record->classes];
}

/* ---- a host of a cluster ---- */

void tg_reshard_past(const struct tg_reshard *reshard, struct tg_member_past *past)
{
  const struct tg_reshard_record *record = &reshard->record;
  *past = (struct tg_member_past){.side = record->current.side,
                                  .total = tg_reshard_total(reshard),
                                  .next = record->next.total,
                                  .before = record->before,
                                  .change = record->change,
                                  .ended = record->ended,
                                  .done = record->done};
}

/* Of how many shards this host has something. */
static int total_kept(const struct tg_reshard *reshard)
{
  const struct tg_manager_env *env = reshard->env;
  return tg_shard_table_peek(env->state_dir, reshard->record.current.side, env->bot_with_intents);
}

/* A change has come to its end without this host. */
static void take_end(struct tg_reshard *reshard, int total, uint64_t change)
{
  struct tg_reshard_record *record = &reshard->record;
  int had = total_kept(reshard);
  bool took_part =
      record->phase != TG_RESHARD_NONE && record->change == change && record->next.total == total;
  int other = 1 - record->current.side;
  record->done = change;
  if (change > record->ended)
    record->ended = change;
  reshard->joined_anew = reshard->recorded = true;
  if (!took_part && (had == 0 || had == total))
    return;
  if (!took_part)
    tg_shard_table_remove(reshard->env->state_dir, other); /* of another change */
  record->before = had;
  record->current = (struct tg_set_name){other, total};
  reshard->from = had;
  tg_log(TG_INFO, TG_NO_SHARD, "the cluster has gone over from %d to %d shards meanwhile", had, total);
}

void tg_reshard_joined(struct tg_reshard *reshard, int total, uint64_t change)
{
  struct tg_reshard_record *record = &reshard->record;
  bool is_over = change > record->done;
  if (is_over)
    take_end(reshard, total, change);
  if (record->phase != TG_RESHARD_NONE && (is_over || record->current.total != total)) {
    free(record->deal);
    record->deal = NULL;
    record->classes = 0;
    record->next = (struct tg_set_name){0};
    record->phase = TG_RESHARD_NONE;
    record->change = 0;
    reshard->joined_anew = true;
  }
}

/* ---- going on ---- */

static void adopt_deal(struct tg_reshard *reshard)
{
  const struct tg_reshard_record *record = &reshard->record;
  size_t size = (size_t)record->classes * sizeof *record->deal;
  reshard->deal =
      (struct tg_deal){.from = record->current.total, .to = record->next.total, .classes = record->classes};
  reshard->deal.workers = tg_alloc(size);
  memcpy(reshard->deal.workers, record->deal, size);
}

/* Shards of the other set may have delivered under the ids of these: sessions that begin now, and those that
 * are resumed though their guilds had gone over, come behind them. */
static void raise_epochs(const struct tg_reshard *reshard, uint64_t epoch)
{
  const struct tg_shard_set *shards = &reshard->env->shards;
  for (int i = 0; i < shards->count; i++) {
    struct tg_shard_row *row = tg_shard_row_of(&shards->list[i]);
    struct tg_session session;
    bool goes_on = tg_session_load(row, &session) && !reshard->dropped;
    if (!goes_on && session.epoch < epoch)
      tg_session_raise(row, epoch);
  }
}

static bool has_table_of(const struct tg_manager_env *env, int side, int total)
{
  return total > 0 && tg_shard_table_peek(env->state_dir, side, env->bot_with_intents) == total;
}

/* One set is left: the file says so, and nothing is of the other. */
static bool begin_alone(struct tg_reshard *reshard, struct tg_error *error)
{
  const struct tg_manager_env *env = reshard->env;
  struct tg_reshard_record *record = &reshard->record;
  struct tg_set_name current = {env->shards.side, env->shards.range.total};
  bool changed = reshard->dropped || reshard->joined_anew || current.total != record->current.total ||
                 record->configured_total != env->config->total_shards;
  if (!reshard->recorded)
    return true;
  record->current = current;
  record->configured_total = env->config->total_shards;
  uint64_t last = tg_shard_tables_last_epoch(env->state_dir);
  if (last > record->epoch)
    record->epoch = last;
  if (!env->clustered) /* else all hosts together count them */
    raise_epochs(reshard, record->epoch);
  if (changed) {
    if (!tg_reshard_record_write(env->state_dir, record, error))
      return false;
  }
  reshard->is_quiet = env->clustered && has_table_of(env, 1 - current.side, record->before);
  if (reshard->is_quiet)
    reshard->dropping = 1 - current.side; /* as soon as nothing is left of those shards */
  else
    tg_shard_table_remove(env->state_dir, 1 - current.side);
  return true;
}

bool tg_reshard_begin(struct tg_reshard *reshard, struct tg_error *error)
{
  struct tg_reshard_record *record = &reshard->record;
  if (record->phase == TG_RESHARD_NONE)
    return begin_alone(reshard, error);
  adopt_deal(reshard);
  if (!tg_reshard_make_next(reshard, error))
    return false;
  tg_ms ran = tg_steady_clock() - record->began;
  reshard->began = tg_now() - (ran > 0 ? ran : 0);
  /* Shards that are closed already have no sessions any more, and are to begin none. */
  reshard->env->next_is_current = record->phase == TG_RESHARD_CLOSING;
  if (record->phase == TG_RESHARD_ABORTING)
    strcpy(reshard->abort_reason, "aborted before the last stop");
  tg_log(TG_INFO, TG_NO_SHARD, "resharding from %d to %d goes on where the last run was: %s", reshard->from,
         reshard->to, tg_reshard_phase_name(record->phase));
  tg_reshard_arm(reshard);
  return true;
}
