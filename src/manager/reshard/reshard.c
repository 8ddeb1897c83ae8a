#include "manager/reshard/reshard.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "delivery/reshard/skip_file.h"
#include "manager/arguments.h"
#include "manager/reshard/reshard_impl.h"
#include "proto/close_code.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  DISCORD_PATIENCE = 60000, /* ms for an answer of Discord's, tries included */
  LEAST_DELAY = 100,        /* ms between two identifies, for the estimate */
};

static void on_timer(uv_timer_t *timer)
{
  tg_reshard_look(timer->data);
}

void tg_reshard_arm(struct tg_reshard *reshard)
{
  tg_ms beat = tg_patience(TG_RESHARD_TICK);
  if (tg_reshard_runs(reshard) && !reshard->env->stopping && !uv_is_active((uv_handle_t *)reshard->timer))
    uv_timer_start(reshard->timer, on_timer, (uint64_t)beat, (uint64_t)beat);
}

tg_ms tg_reshard_estimate(const struct tg_reshard *reshard, int shards)
{
  tg_ms delay = reshard->env->config->spawn_shard_delay;
  int together = reshard->env->info->max_concurrency, workers = 0;
  bool seen[TG_MAX_WORKERS] = {false};
  for (int i = 0; i < reshard->deal.classes; i++) {
    workers += !seen[reshard->deal.workers[i]];
    seen[reshard->deal.workers[i]] = true;
  }
  if (workers > 0 && together > workers)
    together = workers; /* one new shard a worker at a time */
  if (together < 1)
    together = 1;
  return ((shards + together - 1) / together) * (delay > LEAST_DELAY ? delay : LEAST_DELAY) +
         tg_patience(TG_RESHARD_MARGIN);
}

/* ---- the beginning ---- */

static void list_classes(struct tg_reshard *reshard)
{
  int count = reshard->deal.classes;
  reshard->classes = tg_calloc((size_t)count, sizeof *reshard->classes);
  reshard->ruled = tg_calloc((size_t)count, sizeof *reshard->ruled);
  reshard->ready_at = tg_calloc((size_t)reshard->record.next.total, sizeof *reshard->ready_at);
  for (int i = 0; i < count; i++)
    reshard->classes[i].loading = reshard->classes[i].lost = -1;
  reshard->env->ruled_by_next = reshard->ruled;
  reshard->env->classes = count;
  tg_reshard_find_states(reshard);
}

bool tg_reshard_make_next(struct tg_reshard *reshard, struct tg_error *error)
{
  const struct tg_reshard_record *record = &reshard->record;
  const struct tg_deal *deal = &reshard->deal;
  if (!reshard->options.events->make_next(reshard->options.ctx, record->next.total, record->epoch,
                                          deal->workers, deal->classes, error))
    return false;
  list_classes(reshard);
  reshard->run++;
  reshard->from = record->current.total;
  reshard->to = record->next.total;
  reshard->phase_at = reshard->looked_at = tg_now();
  reshard->deadline = reshard->next_switch_at = reshard->settled_at = 0;
  reshard->regrouped = reshard->first_switched = reshard->failed = false;
  reshard->identifies = reshard->shown_tenth = 0;
  reshard->abort_reason[0] = reshard->cut_types[0] = '\0';
  json_decref(reshard->cut);
  reshard->cut = NULL;
  memset(reshard->told, 0, sizeof reshard->told);
  memset(reshard->tell_at, 0, sizeof reshard->tell_at);
  return true;
}

/* The record says it first: after that a start knows of the new set. */
bool tg_reshard_begin_record(struct tg_reshard *reshard, int to, uint64_t change, struct tg_error *error)
{
  struct tg_manager_env *env = reshard->env;
  struct tg_reshard_record record = {.phase = TG_RESHARD_PREPARING,
                                     .current = {env->shards.side, env->shards.range.total},
                                     .next = {1 - env->shards.side, to},
                                     .configured_total = env->config->total_shards,
                                     .bot = env->bot,
                                     .intents = env->config->intents,
                                     .epoch = tg_reshard_highest_epoch(reshard),
                                     .began = tg_steady_clock(),
                                     .change = change,
                                     .ended = reshard->record.ended,
                                     .done = reshard->record.done,
                                     .before = reshard->record.before};
  int *owners = tg_calloc((size_t)env->shards.count, sizeof *owners);
  for (int i = 0; i < env->shards.count; i++)
    owners[i] = env->shards.list[i].worker_id;
  tg_deal_free(&reshard->deal);
  tg_deal_make(&reshard->deal, record.current.total, to, owners);
  free(owners);
  record.deal = reshard->deal.workers;
  record.classes = reshard->deal.classes;
  tg_shard_table_remove(env->state_dir, record.next.side); /* should there be something of old */
  tg_skip_files_remove(env->state_dir);
  if (!tg_reshard_record_write(env->state_dir, &record, error))
    return false;
  tg_reshard_record_free(&reshard->record);
  reshard->record = record;
  reshard->record.deal = tg_alloc((size_t)record.classes * sizeof *record.deal);
  memcpy(reshard->record.deal, record.deal, (size_t)record.classes * sizeof *record.deal);
  reshard->recorded = true;
  return true;
}

/* ---- who asks for one ---- */

void tg_reshard_answer_wish(struct tg_reshard *reshard, const struct tg_error *error)
{
  struct tg_reshard_wish wish = reshard->wish;
  int from = reshard->env->shards.range.total;
  reshard->wish = (struct tg_reshard_wish){0};
  if (error)
    wish.reply(wish.ctx, NULL, error);
  else
    tg_reply_value(wish.reply, wish.ctx,
                   json_pack("{s:i, s:i, s:i}", "from", from, "to", wish.to, "identifies",
                             tg_check_identifies(wish.to)));
}

/* Discord has said how many identifies are left. */
static void grant_wish(struct tg_reshard *reshard)
{
  struct tg_error error = {0};
  int to = reshard->wish.to;
  if (reshard->options.member) {
    tg_reshard_ask_to_begin(reshard);
    return;
  }
  if (!tg_reshard_has_room(reshard, to, &error)) {
    tg_reshard_answer_wish(reshard, &error);
    return;
  }
  if (!tg_reshard_begin_record(reshard, to, 0, &error)) {
    tg_reshard_answer_wish(reshard, &error);
    return;
  }
  reshard->began = tg_now();
  if (!tg_reshard_make_next(reshard, &error)) {
    tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
    tg_reshard_give_up(reshard);
    tg_reshard_answer_wish(reshard, &error);
    return;
  }
  reshard->check.planned = 0;
  tg_reshard_tell_started(reshard);
  tg_reshard_answer_wish(reshard, NULL);
  tg_reshard_arm(reshard);
}

static void refuse_without_discord(struct tg_reshard *reshard)
{
  struct tg_error error;
  char text[160];
  if (tg_fetch_is_put_off(reshard->options.fetch, text, sizeof text))
    tg_fail(&error, "rest_away", "Discord has to be asked how many identifies are left: %s", text);
  else
    tg_fail(&error, "rest_away",
            "Discord has to be asked how many identifies are left, and does not answer; nothing has changed");
  tg_reshard_answer_wish(reshard, &error);
}

void tg_reshard_refreshed(struct tg_reshard *reshard, bool anew)
{
  const struct tg_manager_env *env = reshard->env;
  bool configured =
      tg_gateway_info_configured(env->config) && !tg_hooked(env->hooks, TG_METHOD_manager_fetch_gateway_bot);
  tg_reshard_check_refreshed(reshard);
  if (reshard->wish.to == 0 || reshard->wish.answered)
    return;
  if (anew || configured)
    reshard->wish.answered = true; /* tg_reshard_look() goes on: not from inside of who asks */
  else
    refuse_without_discord(reshard);
}

static void refuse_before_the_last_is_over(struct tg_reshard *reshard)
{
  struct tg_error error;
  tg_fail(&error, "not_ready",
          "not all workers are up and have delivered what earlier shards have left; nothing has changed");
  tg_reshard_answer_wish(reshard, &error);
}

static void look_at_wish(struct tg_reshard *reshard, tg_ms now)
{
  if (reshard->wish.granted && now >= reshard->wish.until)
    tg_reshard_answer_wish(reshard, NULL);
  if (reshard->wish.asked)
    return; /* Redis answers, or the link to it ends */
  if (reshard->wish.answered && tg_reshard_all_dropped(reshard))
    grant_wish(reshard);
  else if (now >= reshard->wish.until && reshard->wish.answered)
    refuse_before_the_last_is_over(reshard);
  else if (now >= reshard->wish.until)
    refuse_without_discord(reshard);
}

static void refuse_second(const struct tg_reshard *reshard, tg_manager_reply *reply, void *ctx)
{
  int to = reshard->wish.to > 0 ? reshard->wish.to : reshard->to;
  int from = reshard->wish.to > 0 ? reshard->env->shards.range.total : reshard->from;
  tg_reply_error(
      reply, ctx, "resharding_running",
      "the bot goes over from %d to %d shards already (%s); one at a time: wait for its end, or abort it",
      from, to, tg_reshard_phase_name(tg_reshard_phase(reshard)));
}

static void refuse_without_lead(const struct tg_reshard *reshard, tg_manager_reply *reply, void *ctx)
{
  const char *leader = tg_member_view(reshard->options.member)->leader;
  if (leader)
    tg_reply_error(reply, ctx, "not_leader",
                   "the host \"%s\" leads the cluster, and this one does not: it begins there", leader);
  else
    tg_reply_error(reply, ctx, "not_ready", "it is not known yet which host leads the cluster");
}

void tg_reshard_ask(struct tg_reshard *reshard, int to, tg_manager_reply *reply, void *ctx)
{
  const struct tg_manager_env *env = reshard->env;
  struct tg_deal_wish wish = {env->config, &env->shards.range, to, tg_reshard_guilds(reshard)};
  struct tg_error error = {0};
  if (env->stopping) {
    tg_reply_error(reply, ctx, "stopping", "the gateway is stopping");
  } else if (env->upgrading) {
    tg_reply_error(reply, ctx, "upgrade_running", "an upgrade is under way; wait for its end");
  } else if (tg_reshard_runs(reshard)) {
    refuse_second(reshard, reply, ctx);
  } else if (!tg_spawn_all_up(reshard->options.spawner)) {
    tg_reply_error(reply, ctx, "not_ready", "the shards are not all up yet; wait until they are");
  } else if (!tg_deal_check(&wish, &error)) {
    reply(ctx, NULL, &error);
  } else if (!tg_reshard_leads(reshard)) {
    refuse_without_lead(reshard, reply, ctx);
  } else {
    reshard->wish = (struct tg_reshard_wish){
        .to = to, .until = tg_now() + tg_patience(DISCORD_PATIENCE), .reply = reply, .ctx = ctx};
    tg_reshard_arm(reshard);
    tg_fetch_refresh(reshard->options.fetch);
  }
}

static void abort_by_hand(struct tg_reshard *reshard, tg_manager_reply *reply, void *ctx)
{
  struct tg_error error;
  if (!tg_reshard_runs(reshard)) {
    tg_reply_error(reply, ctx, "no_resharding", "no resharding runs");
    return;
  }
  if (reshard->wish.to > 0) {
    tg_fail(&error, "cancelled", "aborted by request; nothing has changed");
    tg_reshard_answer_wish(reshard, &error);
  } else if (reshard->options.member) {
    tg_reshard_ask_to_abort(reshard, reply, ctx);
    return;
  } else if (reshard->env->next_is_current || reshard->record.phase == TG_RESHARD_CLOSING ||
             (reshard->dropping >= 0 && reshard->env->next.count == 0)) {
    tg_reply_error(
        reply, ctx, "too_late",
        "old shards are closing already: it cannot be undone any more. Back to %d shards is another "
        "resharding",
        reshard->from);
    return;
  } else if (reshard->check.refused && tg_reshard_switched(reshard) > 0) {
    tg_reply_error(reply, ctx, "too_late",
                   "Discord refuses a shard of the %d (4011): what has gone over cannot go back",
                   reshard->from);
    return;
  } else {
    tg_reshard_abort(reshard, false, "aborted by request");
  }
  tg_reply_value(reply, ctx, json_true());
}

static void reshard_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_reshard *reshard = room;
  struct tg_args args = {list, "reshard", reply, ctx};
  const json_t *info = json_array_get(list, 0), *total = json_object_get(info, "total_shards");
  bool aborts = json_is_true(json_object_get(info, "abort"));
  if (!aborts &&
      (!json_is_number(total) || json_number_value(total) != (double)(int)json_number_value(total)))
    tg_arg_bad(&args, "info (argument 1) has to be a table like {total_shards = 8} or {abort = true}");
  else if (tg_reshard_pass_on(reshard, list, !aborts, reply, ctx))
    return;
  else if (aborts)
    abort_by_hand(reshard, reply, ctx);
  else
    tg_reshard_ask(reshard, (int)json_number_value(total), reply, ctx);
}

static void on_switch_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  (void)room, (void)list;
  tg_reply_value(reply, ctx, json_true()); /* it is for scripts alone */
}

/* ---- what Discord says of shards ---- */

void tg_reshard_identified(struct tg_reshard *reshard, const struct tg_managed_shard *shard)
{
  bool counts = shard->set == &reshard->env->next;
  reshard->identifies += counts;
  reshard->all_identifies += counts;
}

enum { WRONG_TOKEN = 4004, WRONG_NUMBER = 4010, TOO_FEW = 4011 };

/* Whether the old shards can go on without one that is refused like this. */
static bool can_do_without(const struct tg_reshard *reshard, const struct tg_managed_shard *shard, int code)
{
  enum tg_reshard_phase phase = reshard->record.phase;
  bool number = code == WRONG_NUMBER || code == TOO_FEW;
  bool runs = phase != TG_RESHARD_NONE && phase != TG_RESHARD_CLOSING;
  if (!tg_spawn_all_up(reshard->options.spawner))
    return false;
  if (shard->set == &reshard->env->next) /* whatever it is: those that are up have not been refused */
    return runs && code != WRONG_TOKEN && tg_close_advice(code);
  if (runs)
    return number && phase != TG_RESHARD_ABORTING;
  return code == TOO_FEW && reshard->env->config->resharding.enabled;
}

bool tg_reshard_fatal(struct tg_reshard *reshard, struct tg_managed_shard *shard, int code)
{
  bool runs = reshard->record.phase != TG_RESHARD_NONE;
  if (!can_do_without(reshard, shard, code))
    return false;
  tg_spawn_killed(reshard->options.spawner, shard);
  tg_session_forget(tg_shard_row_of(shard));
  if (shard->set == &reshard->env->next) {
    tg_reshard_abort(reshard, true, "Discord refuses new shards (%d: %s)", code, tg_close_meaning(code));
    return true;
  }
  tg_log_with(
      TG_ERROR, shard->id, TG_WITH(TG_NUMBER(CODE, code)),
      "Discord refuses this shard, whose session was lost: it stays down until there is another number "
      "of shards%s",
      runs ? "" : ", which is looked for now");
  reshard->check.refused = true;
  if (!runs)
    reshard->check.at = tg_now();
  return true;
}

/* ---- life ---- */

void tg_reshard_look(struct tg_reshard *reshard)
{
  tg_ms now = tg_now();
  if (reshard->env->stopping)
    return;
  if (reshard->wish.to > 0)
    look_at_wish(reshard, now);
  if (reshard->options.member)
    tg_reshard_follow(reshard, now);
  else
    tg_reshard_step(reshard, now);
  tg_reshard_check(reshard, now);
  tg_reshard_answer_passed_on(reshard, false);
  if (!tg_reshard_runs(reshard) && !reshard->passed_on)
    uv_timer_stop(reshard->timer);
}

struct tg_reshard *tg_reshard_new(const struct tg_reshard_options *options)
{
  static const struct tg_default defaults[] = {
      {TG_METHOD_manager_resharding_needed, tg_reshard_needed_default},
      {TG_METHOD_manager_reshard, reshard_default},
      {TG_METHOD_manager_on_resharding_switch, on_switch_default},
  };
  struct tg_reshard *reshard = tg_calloc(1, sizeof *reshard);
  reshard->options = *options;
  reshard->env = options->env;
  reshard->timer = tg_timer_new(options->env->loop, reshard);
  reshard->dropping = -1;
  tg_calls_offer(options->env->calls, defaults, sizeof defaults / sizeof *defaults, reshard);
  return reshard;
}

void tg_reshard_end(struct tg_reshard *reshard, bool keep_sessions)
{
  struct tg_error error;
  uv_timer_stop(reshard->timer);
  tg_reshard_answer_passed_on(reshard, true);
  if (reshard->wish.to > 0) {
    tg_fail(&error, "stopping", "the gateway is stopping");
    tg_reshard_answer_wish(reshard, &error);
  }
  if (!keep_sessions && reshard->record.phase != TG_RESHARD_NONE)
    tg_reshard_give_up(reshard);
}

void tg_reshard_free(struct tg_reshard *reshard)
{
  tg_reshard_free_classes(reshard);
  tg_deal_free(&reshard->deal);
  tg_reshard_record_free(&reshard->record);
  tg_timer_free(reshard->timer);
  json_decref(reshard->unmatched);
  json_decref(reshard->cut);
  free(reshard->ready_at);
  free(reshard->ruled);
  free(reshard);
}
