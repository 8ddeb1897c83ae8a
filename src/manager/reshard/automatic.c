/* Whether more shards are needed: looked at every resharding.check_interval, through the methods
 * resharding_needed and reshard. What is wanted and has no room yet waits. */

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "manager/reshard/reshard_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t tg_reshard_guilds(const struct tg_reshard *reshard)
{
  const struct tg_shard_set *shards = tg_current_set(reshard->env);
  uint64_t guilds = 0;
  int held = tg_shard_set_count_held(shards);
  for (int i = 0; i < shards->count; i++)
    if (shards->list[i].held)
      guilds += atomic_load(&tg_shard_row_of(&shards->list[i])->guilds);
  return held > 0 ? guilds * (uint64_t)shards->count / (uint64_t)held : 0; /* other hosts' are as full */
}

bool tg_reshard_has_room(const struct tg_reshard *reshard, int to, struct tg_error *error)
{
  struct tg_identify_status status;
  tg_slots_status(reshard->options.slots, &status);
  if (!status.held_back && tg_check_budget(status.remaining, status.reserve, to))
    return true;
  char until[TG_HUMAN_SIZE];
  tg_human_moment(tg_wall_clock() + status.reset_after, until, sizeof until);
  return tg_fail(
      error, "budget",
      "%d shards take about %d identifies, and of %d a day %d are left, %d of which are the reserve "
      "(resharding.identify_reserve)%s%s",
      to, tg_check_identifies(to), status.total, status.remaining, status.reserve,
      status.reset_after > 0 ? "; the day of identifies ends at " : "", status.reset_after > 0 ? until : "");
}

/* ---- the default of resharding_needed ---- */

void tg_reshard_needed_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_reshard *reshard = room;
  const struct tg_manager_env *env = reshard->env;
  (void)list;
  if (env->shards.count == 0) {
    tg_reply_error(reply, ctx, "not_ready", "the shards are not known yet");
    return;
  }
  if (tg_reshard_runs(reshard)) {
    tg_reply_value(reply, ctx, NULL);
    return;
  }
  char why[TG_ERROR_MESSAGE_SIZE + 200];
  int *owners = tg_calloc((size_t)env->shards.count, sizeof *owners);
  for (int i = 0; i < env->shards.count; i++)
    owners[i] = env->shards.list[i].worker_id;
  struct tg_check_facts facts = {
      env->config, env->info, &env->shards.range, owners, tg_reshard_guilds(reshard), reshard->check.refused};
  why[0] = '\0';
  int total = tg_check_total(&facts, why, sizeof why);
  free(owners);
  if (why[0])
    tg_log(total > 0 ? TG_INFO : TG_WARN, TG_NO_SHARD, "more shards are needed: %s", why);
  tg_reply_value(reply, ctx, total > 0 ? json_integer(total) : NULL);
}

/* ---- the check ---- */

/* A shard was refused, and nothing helps: what the last word is. */
static void give_up_if_refused(struct tg_reshard *reshard, const char *why)
{
  if (!reshard->check.refused || reshard->env->stopping)
    return;
  reshard->check.refused = false;
  reshard->options.events->helpless(reshard->options.ctx, why);
}

static void put_off(struct tg_reshard *reshard, const char *why)
{
  struct tg_identify_status status;
  tg_slots_status(reshard->options.slots, &status);
  if (strcmp(reshard->check.waits_for, why) != 0)
    tg_log(TG_WARN, TG_NO_SHARD, "resharding to %d waits: %s", reshard->check.planned, why);
  snprintf(reshard->check.waits_for, sizeof reshard->check.waits_for, "%s", why);
  tg_ms again = tg_now() + status.reset_after + tg_patience(TG_RESHARD_BEAT);
  if (status.reset_after > 0 && again < reshard->check.at)
    reshard->check.at = again;
}

/* It may begin later as it is. In a cluster also when hosts are at peace again. */
static bool is_for_later(const struct tg_reshard *reshard, const struct tg_error *error)
{
  static const char *const always[] = {"budget", "rest_away"};
  static const char *const of_hosts[] = {"not_ready", "redis_away", "not_leader"};
  for (size_t i = 0; i < sizeof always / sizeof *always; i++)
    if (strcmp(error->code, always[i]) == 0)
      return true;
  for (size_t i = 0; reshard->options.member && i < sizeof of_hosts / sizeof *of_hosts; i++)
    if (strcmp(error->code, of_hosts[i]) == 0)
      return true;
  return false;
}

static void on_begun(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_reshard *reshard = ctx;
  reshard->check.asking = false;
  if (reshard->env->stopping)
    return;
  if (json_is_false(value)) {
    put_off(reshard, "for gateway.manager:reshard of the script, which has put it off");
  } else if (error && is_for_later(reshard, error)) {
    put_off(reshard, error->message);
  } else if (error) {
    tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, error->message)),
                "resharding to %d is needed, but could not begin", reshard->check.planned);
    reshard->check.planned = 0;
    give_up_if_refused(reshard, error->message);
  } else {
    reshard->check.planned = 0;
  }
}

static void on_needed(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_reshard *reshard = ctx;
  int total = json_is_number(value) ? (int)json_number_value(value) : 0;
  if (reshard->env->stopping || error || total <= 0 || tg_reshard_runs(reshard)) {
    reshard->check.asking = false;
    reshard->check.planned = 0;
    if (error && !reshard->env->stopping)
      tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, error->message)),
                  "whether more shards are needed could not be found out");
    if (!error && total <= 0)
      give_up_if_refused(reshard, "no other number of shards is possible");
    return;
  }
  if (reshard->check.planned != total)
    reshard->check.waits_for[0] = '\0';
  reshard->check.planned = total;
  json_t *args = json_pack("[{s:i, s:b}]", "total_shards", total, "automatic", 1);
  tg_call(reshard->env->calls, TG_METHOD_manager_reshard, args, on_begun, reshard);
  json_decref(args);
}

static bool is_wanted(const struct tg_reshard *reshard)
{
  return reshard->env->config->resharding.enabled && !tg_reshard_runs(reshard) && tg_reshard_leads(reshard) &&
         tg_spawn_all_up(reshard->options.spawner);
}

void tg_reshard_check(struct tg_reshard *reshard, tg_ms now)
{
  if (reshard->check.asking) {
    if (!reshard->check.refreshed)
      return;
    reshard->check.refreshed = false;
    tg_call(reshard->env->calls, TG_METHOD_manager_resharding_needed, NULL, on_needed, reshard);
    return;
  }
  if (!reshard->check.at)
    reshard->check.at = now + reshard->env->config->resharding.check_interval;
  if (!reshard->env->config->resharding.enabled && !tg_reshard_runs(reshard))
    give_up_if_refused(reshard, "resharding.enabled is false");
  if (now < reshard->check.at || !is_wanted(reshard))
    return;
  reshard->check.at = now + reshard->env->config->resharding.check_interval;
  reshard->check.asking = true;
  tg_fetch_refresh(reshard->options.fetch);
}

void tg_reshard_check_refreshed(struct tg_reshard *reshard)
{
  reshard->check.refreshed = reshard->check.asking;
}
