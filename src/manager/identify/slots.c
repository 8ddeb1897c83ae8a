#include "manager/identify/slots.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "manager/arguments.h"
#include "manager/identify/asks.h"
#include "manager/identify/gate.h"
#include "manager/identify/grants.h"
#include "manager/identify/ledger.h"
#include "manager/identify/slots_cluster.h"

#include <stdio.h>
#include <stdlib.h>

struct tg_slots {
  const struct tg_manager_env *env;
  const struct tg_slots_events *events;
  void *ctx;
  uv_timer_t *timer; /* the scheduler's next moment */
  struct tg_gate *gate;
  struct tg_scheduler *scheduler;
  struct tg_ledger *ledger;
  struct tg_asks *asks;
  bool pumping, pump_again;
  bool resting;                     /* none is granted for now */
  struct tg_slots_cluster *cluster; /* NULL: this gateway decides by itself */
  struct tg_grants *grants;         /* for other programs */
};

enum {
  PLENTY = TG_SCHEDULED_SHARD_MAX, /* as allowance: the cluster counts for all hosts together */
  LOOK_AGAIN = 1000,               /* ms, whether the cluster still holds identifies back */
  DELAY_MAX = 10000,               /* ms, of a slot by the disk */
};

static struct tg_managed_shard *shard_of(struct tg_slots *slots, tg_shard_ref ref)
{
  return tg_shard_of_ref(slots->env, ref);
}

/* ---- the books ---- */

static void take(struct tg_slots *slots, tg_shard_ref ref, tg_ms deadline)
{
  tg_ledger_take(slots->ledger, tg_scheduler_bucket(slots->scheduler, ref), tg_steady_clock(),
                 deadline + tg_steady_ahead());
}

void tg_slots_info_changed(struct tg_slots *slots)
{
  const struct tg_gateway_info *info = slots->env->info;
  if (slots->ledger)
    tg_ledger_set_limit(slots->ledger, info->total, info->remaining, info->reset_after, tg_steady_clock());
}

/* ---- the reserve ---- */

static int allowance(struct tg_slots *slots)
{
  if (slots->cluster)
    return tg_slots_held_back(slots) ? 0 : PLENTY;
  return tg_gate_allowance(slots->gate);
}

bool tg_slots_held_back(const struct tg_slots *slots)
{
  return slots->cluster ? slots->events->held_back(slots->ctx) : tg_gate_closed(slots->gate);
}

/* Shards whose identify does not go out while the gate is closed. */
static int count_held_back(struct tg_slots *slots)
{
  int count = 0;
  for (int i = 0; i < tg_all_shards(slots->env); i++) {
    enum tg_identify_state state = tg_scheduler_state(slots->scheduler, tg_any_shard(slots->env, i)->ref);
    count += state >= TG_IDENTIFY_QUEUED && state <= TG_IDENTIFY_ASKING;
  }
  return count + tg_grants_count(slots->grants);
}

void tg_slots_refreshed(struct tg_slots *slots)
{
  if (tg_gate_refreshed(slots->gate))
    tg_slots_pump(slots);
}

/* ---- letting go ---- */

struct grant {
  tg_shard_ref ref;
  tg_ms deadline;
};

static void tell(struct tg_slots *slots, const struct grant *grant, tg_ms now)
{
  struct tg_managed_shard *shard = shard_of(slots, grant->ref);
  if (!shard)
    tg_grants_granted(slots->grants, tg_ref_id(grant->ref), grant->deadline, now);
  else if (tg_asks_awaited(slots->asks, shard))
    tg_asks_granted(slots->asks, shard);
  else
    tg_slots_unused(slots, shard); /* whoever asked is gone */
}

/* Before anybody hears of it. Slots would be over before they are used on a disk that takes its time, if they
 * were not valid as much longer. */
static void write_down(struct tg_slots *slots)
{
  tg_ms began = tg_now();
  tg_ledger_save(slots->ledger);
  tg_ms took = tg_now() - began;
  if (took < TG_GRANT_VALID / 4)
    took = 0;
  tg_scheduler_set_delay(slots->scheduler, took < DELAY_MAX ? took : DELAY_MAX);
}

static void let_go(struct tg_slots *slots)
{
  struct tg_buf grants = {0};
  struct grant grant;
  tg_ms now = tg_now();
  while (tg_scheduler_next_grant(slots->scheduler, now, &grant.ref, &grant.deadline)) {
    take(slots, grant.ref, grant.deadline);
    tg_buf_append(&grants, &grant, sizeof grant);
  }
  if (grants.length > 0)
    write_down(slots);
  for (size_t at = 0; at < grants.length; at += sizeof grant)
    tell(slots, (const struct grant *)(grants.data + at), now);
  tg_buf_free(&grants);
}

static void start_shards(struct tg_slots *slots)
{
  struct tg_scheduler *scheduler = slots->scheduler;
  tg_shard_ref ref;
  while (tg_scheduler_next_start(scheduler, tg_now(), &ref)) {
    struct tg_managed_shard *shard = shard_of(slots, ref);
    if (shard)
      slots->events->start(slots->ctx, shard);
    else
      tg_scheduler_gone(scheduler, ref, tg_now());
  }
}

static void grant_slots(struct tg_slots *slots)
{
  let_go(slots);
  if (allowance(slots) > 0)
    return;
  int held_back = tg_gate_closed(slots->gate) ? 0 : count_held_back(slots);
  if (held_back > 0)
    tg_gate_close(slots->gate, held_back);
  if (tg_gate_closed(slots->gate))
    tg_grants_hold_back(slots->grants, tg_gate_wait(slots->gate), tg_now());
}

static void pump_once(struct tg_slots *slots)
{
  tg_scheduler_set_allowance(slots->scheduler, allowance(slots));
  start_shards(slots);
  tg_grants_tick(slots->grants, tg_now());
  if (slots->cluster) {
    tg_slots_cluster_pump(slots->cluster);
    tg_ledger_save(slots->ledger);
  } else {
    grant_slots(slots);
  }
}

static tg_ms sooner(tg_ms a, tg_ms b)
{
  return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* When something can become due by time alone; -1: never. */
static tg_ms next_wakeup(struct tg_slots *slots, tg_ms now)
{
  tg_ms first = sooner(tg_scheduler_wakeup(slots->scheduler, now), tg_grants_wakeup(slots->grants));
  return slots->cluster && tg_slots_held_back(slots) ? sooner(first, now + LOOK_AGAIN) : first;
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_slots *slots = timer->data;
  if (!slots->scheduler || slots->resting || slots->env->stopping)
    return;
  slots->pumping = true;
  slots->pump_again = true;
  tg_ms now = tg_now(); /* what becomes due from here on is waited for, be it due by the end of this */
  while (slots->pump_again && !slots->env->stopping) {
    slots->pump_again = false;
    now = tg_now();
    pump_once(slots);
  }
  slots->pumping = false;
  tg_ms wakeup = next_wakeup(slots, now);
  uv_timer_stop(slots->timer);
  if (wakeup < 0 || slots->env->stopping)
    return;
  tg_timer_start(slots->timer, on_timer, wakeup - tg_now());
}

/* In the loop's next turn: of many shards that ask at once, the ledger is written once. */
void tg_slots_pump(struct tg_slots *slots)
{
  slots->pump_again = true;
  if (slots->scheduler && !slots->pumping && !slots->resting && !slots->env->stopping)
    uv_timer_start(slots->timer, on_timer, 0, 0);
}

void tg_slots_rest(struct tg_slots *slots, bool rest)
{
  slots->resting = rest;
  if (rest)
    uv_timer_stop(slots->timer);
  else
    tg_slots_pump(slots);
}

bool tg_slots_at_rest(const struct tg_slots *slots)
{
  for (int i = 0; slots->scheduler && i < tg_all_shards(slots->env); i++) {
    enum tg_identify_state state = tg_slots_state(slots, tg_any_shard(slots->env, i));
    if (state == TG_IDENTIFY_GRANTED || state == TG_IDENTIFY_SENT)
      return false;
  }
  return true;
}

/* ---- request_identify ---- */

static void on_wanted(void *ctx, struct tg_managed_shard *shard)
{
  struct tg_slots *slots = ctx;
  tg_scheduler_ask(slots->scheduler, shard->ref, tg_now());
  tg_slots_pump(slots);
}

static void on_allowed(void *ctx, struct tg_managed_shard *shard)
{
  struct tg_slots *slots = ctx;
  tg_ms now = tg_now(), deadline = tg_scheduler_deadline(slots->scheduler, shard->ref);
  if (deadline > 0 && deadline <= now) { /* a script kept the grant too long */
    tg_slots_unused(slots, shard);
    tg_asks_in_line(slots->asks, shard);
    return;
  }
  if (deadline == 0 && slots->cluster) { /* the script says yes, but other hosts do not know its reasons */
    tg_asks_in_line(slots->asks, shard);
    return;
  }
  if (deadline == 0) {
    deadline = tg_scheduler_grant_anyway(slots->scheduler, shard->ref, now);
    take(slots, shard->ref, deadline);
    write_down(slots);
  }
  slots->events->allow(slots->ctx, shard, tg_asks_last(slots->asks, shard), deadline,
                       slots->cluster ? tg_slots_cluster_epoch(slots->cluster, shard) : 0);
  tg_slots_pump(slots);
}

static bool is_reachable(void *ctx, const struct tg_managed_shard *shard)
{
  const struct tg_slots *slots = ctx;
  return slots->events->reachable(slots->ctx, shard);
}

void tg_slots_asked(struct tg_slots *slots, struct tg_managed_shard *shard, int64_t ask)
{
  tg_asks_of_worker(slots->asks, shard, ask);
}

void tg_slots_granted(struct tg_slots *slots, struct tg_managed_shard *shard, tg_ms deadline, uint64_t epoch)
{
  tg_ms now = tg_now();
  bool asks = tg_scheduler_state(slots->scheduler, shard->ref) == TG_IDENTIFY_ASKING;
  if (asks && !tg_asks_awaited(slots->asks, shard)) {
    tg_slots_unused(slots, shard); /* whoever asked is gone */
  } else if (!asks || deadline <= now || slots->env->stopping) {
    tg_slots_cluster_left(slots->cluster, shard); /* and is asked for again if it is still wanted */
  } else {
    tg_slots_cluster_granted(slots->cluster, shard, epoch);
    tg_scheduler_grant_until(slots->scheduler, shard->ref, deadline, now);
    take(slots, shard->ref, deadline);
    tg_asks_granted(slots->asks, shard);
  }
  tg_slots_pump(slots);
}

struct script_asking {
  tg_manager_reply *reply;
  void *ctx;
};

static void on_turn(void *ctx, int status, tg_ms retry_after, json_t *body)
{
  (void)retry_after;
  struct script_asking asking = *(struct script_asking *)ctx;
  free(ctx);
  const char *problem = json_string_value(json_object_get(body, "error"));
  if (status == 200)
    tg_reply_value(asking.reply, asking.ctx, json_true());
  else
    tg_reply_error(asking.reply, asking.ctx, "closed", "%s", problem ? problem : "there is no slot");
}

/* A script asks for a shard that this gateway does not run. */
static void request_for_others(const struct tg_args *args, struct tg_slots *slots, int shard_id)
{
  struct script_asking *asking = tg_alloc(sizeof *asking);
  *asking = (struct script_asking){args->reply, args->ctx};
  const struct tg_grant_wish wish = {shard_id, TG_IDENTIFY_FIRST, TG_GRANT_FOR_EVER, true};
  tg_grants_ask(slots->grants, &wish, on_turn, asking);
}

/* A script that passes on the id alone means the shard for which it was asked. */
static struct tg_managed_shard *find_named(struct tg_slots *slots, int id, int total)
{
  const struct tg_manager_env *env = slots->env;
  struct tg_managed_shard *shard = tg_shard_set_find(&env->shards, id);
  struct tg_managed_shard *next = tg_shard_set_find(&env->next, id);
  if (total > 0)
    return next && total == env->next.range.total ? next : shard;
  bool asked = shard && tg_asks_script_asked(slots->asks, shard);
  return next && !asked && (!shard || tg_asks_script_asked(slots->asks, next)) ? next : shard;
}

static void request_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  struct tg_slots *slots = room;
  struct tg_args args = {list, "request_identify", reply, ctx};
  int id, total = 0;
  if (!tg_arg_int(&args, 0, "shard_id", 0, TG_SCHEDULED_SHARD_MAX, &id))
    return;
  const json_t *given = json_array_get(list, 1);
  if (given && !json_is_null(given) && !tg_arg_int(&args, 1, "total", 1, TG_SHARDS_MAX, &total))
    return;
  if (!slots->scheduler || slots->env->stopping) {
    tg_reply_error(reply, ctx, "not_ready", "the gateway is %s: there are no slots to identify",
                   slots->scheduler ? "stopping" : "starting");
    return;
  }
  struct tg_managed_shard *shard = find_named(slots, id, total);
  if (shard && shard->held)
    tg_asks_of_script(slots->asks, shard, reply, ctx);
  else
    request_for_others(&args, slots, id);
}

/* ---- what became of a slot ---- */

void tg_slots_sent(struct tg_slots *slots, struct tg_managed_shard *shard)
{
  enum tg_identify_state before = tg_scheduler_state(slots->scheduler, shard->ref);
  if (before != TG_IDENTIFY_GRANTED && before != TG_IDENTIFY_SENT) {
    tg_log(TG_WARN, shard->id, "identified without a slot (a script's decision); it counts");
    tg_ms steady = tg_steady_clock();
    tg_ledger_take(slots->ledger, tg_scheduler_bucket(slots->scheduler, shard->ref), steady, steady);
    tg_ledger_save(slots->ledger);
  }
  tg_scheduler_sent(slots->scheduler, shard->ref, tg_now());
  if (slots->cluster)
    tg_slots_cluster_sent(slots->cluster, shard);
  tg_slots_pump(slots);
}

void tg_slots_unused(struct tg_slots *slots, struct tg_managed_shard *shard)
{
  if (tg_scheduler_unused(slots->scheduler, shard->ref, tg_now()))
    tg_ledger_give_back(slots->ledger, tg_scheduler_bucket(slots->scheduler, shard->ref));
  if (slots->cluster)
    tg_slots_cluster_left(slots->cluster, shard);
  tg_slots_pump(slots);
}

void tg_slots_done(struct tg_slots *slots, struct tg_managed_shard *shard, bool ready)
{
  tg_scheduler_done(slots->scheduler, shard->ref, ready, tg_now());
  if (slots->cluster)
    tg_slots_cluster_done(slots->cluster, shard, ready);
  tg_slots_pump(slots);
}

void tg_slots_gone(struct tg_slots *slots, struct tg_managed_shard *shard, const char *why)
{
  if (!slots->scheduler)
    return;
  tg_scheduler_gone(slots->scheduler, shard->ref, tg_now());
  if (slots->cluster)
    tg_slots_cluster_gone(slots->cluster, shard);
  tg_asks_drop(slots->asks, shard, why);
}

void tg_slots_set_over(struct tg_slots *slots, const struct tg_shard_set *set, const char *why)
{
  if (!slots->scheduler)
    return;
  for (int i = 0; i < set->count; i++) {
    tg_slots_gone(slots, &set->list[i], why);
    if (slots->cluster)
      tg_slots_cluster_forget(slots->cluster, &set->list[i]);
    tg_scheduler_forget(slots->scheduler, set->list[i].ref, tg_now());
  }
  tg_asks_set_over(slots->asks, set, why);
  tg_slots_pump(slots);
}

void tg_slots_enqueue(struct tg_slots *slots, const struct tg_managed_shard *shard,
                      enum tg_identify_priority priority)
{
  tg_scheduler_enqueue(slots->scheduler, shard->ref, priority, tg_now());
  tg_slots_pump(slots);
}

void tg_slots_started(struct tg_slots *slots, const struct tg_managed_shard *shard)
{
  tg_scheduler_started(slots->scheduler, shard->ref, tg_now());
}

/* ---- other programs ---- */

static void on_changed(void *ctx)
{
  tg_slots_pump(ctx);
}

static bool on_put_off(void *ctx, char *text, size_t size)
{
  const struct tg_slots *slots = ctx;
  return slots->events->put_off(slots->ctx, text, size);
}

static bool on_call(void *ctx, const char *name, json_t *body, tg_redis_link_replied *done, void *done_ctx)
{
  const struct tg_slots *slots = ctx;
  return slots->events->call(slots->ctx, name, body, done, done_ctx);
}

uint64_t tg_slots_identify(struct tg_slots *slots, int shard_id, const json_t *body,
                           tg_identify_answer *answer, void *ctx)
{
  struct tg_grant_wish wish;
  struct tg_error error;
  if (tg_grant_wish_read(body, shard_id, &wish, &error))
    return tg_grants_ask(slots->grants, &wish, answer, ctx);
  json_t *refusal = json_pack("{s:s, s:s}", "error", error.message, "code", error.code);
  answer(ctx, 400, -1, refusal);
  json_decref(refusal);
  return 0;
}

uint64_t tg_slots_await_turn(struct tg_slots *slots, int shard_id, tg_identify_answer *answer, void *ctx)
{
  const struct tg_grant_wish wish = {shard_id, TG_IDENTIFY_FIRST, TG_GRANT_FOR_EVER, false};
  return tg_grants_ask(slots->grants, &wish, answer, ctx);
}

void tg_slots_identify_gone(struct tg_slots *slots, uint64_t id)
{
  tg_grants_leave(slots->grants, id);
}

/* ---- life ---- */

struct tg_slots *tg_slots_new(const struct tg_manager_env *env, const struct tg_slots_events *events,
                              void *ctx)
{
  static const struct tg_grants_events of_grants = {on_changed, on_put_off, on_call};
  static const struct tg_default defaults[] = {
      {TG_METHOD_manager_request_identify, request_default},
  };
  struct tg_slots *slots = tg_calloc(1, sizeof *slots);
  slots->env = env;
  slots->events = events;
  slots->ctx = ctx;
  slots->timer = tg_timer_new(env->loop, slots);
  slots->gate = tg_gate_new(env, events->refresh, ctx);
  slots->grants = tg_grants_new(env, &of_grants, slots);
  tg_calls_offer(env->calls, defaults, 1, slots);
  return slots;
}

void tg_slots_begin(struct tg_slots *slots)
{
  static const struct tg_asks_events of_asks = {on_wanted, on_allowed, is_reachable};
  const struct tg_manager_env *env = slots->env;
  const struct tg_config *config = env->config;
  int buckets = env->info->max_concurrency;
  tg_ms steady = tg_steady_clock();
  slots->asks = tg_asks_new(env, &of_asks, slots);
  slots->ledger = tg_ledger_open(env->state_dir, env->bot, buckets, steady);
  slots->scheduler = tg_scheduler_new(buckets, config->spawn_shard_delay);
  for (int i = 0; i < buckets; i++) {
    tg_ms rest = tg_ledger_rest(slots->ledger, i, config->spawn_shard_delay, steady);
    if (rest > 0)
      tg_scheduler_hold(slots->scheduler, i, tg_now() + rest);
  }
  tg_gate_begin(slots->gate, slots->ledger);
  tg_slots_info_changed(slots);
  if (env->clustered)
    slots->cluster = tg_slots_cluster_new(env, slots->scheduler, slots->events, slots->ctx);
  tg_grants_begin(slots->grants, slots->scheduler);
}

bool tg_slots_begun(const struct tg_slots *slots)
{
  return slots->scheduler != NULL;
}

void tg_slots_end(struct tg_slots *slots, const char *why)
{
  for (int i = 0; slots->asks && i < tg_all_shards(slots->env); i++)
    tg_asks_drop(slots->asks, tg_any_shard(slots->env, i), why);
  if (slots->cluster)
    tg_slots_cluster_end(slots->cluster);
  tg_grants_end(slots->grants, why);
  uv_timer_stop(slots->timer);
  tg_gate_end(slots->gate);
}

void tg_slots_free(struct tg_slots *slots)
{
  tg_gate_free(slots->gate);
  tg_grants_free(slots->grants);
  tg_slots_cluster_free(slots->cluster);
  tg_scheduler_free(slots->scheduler);
  tg_ledger_close(slots->ledger);
  tg_timer_free(slots->timer);
  tg_asks_free(slots->asks);
  free(slots);
}

/* ---- what is known ---- */

enum tg_identify_state tg_slots_state(const struct tg_slots *slots, const struct tg_managed_shard *shard)
{
  return tg_scheduler_state(slots->scheduler, shard->ref);
}

int tg_slots_bucket(const struct tg_slots *slots, const struct tg_managed_shard *shard)
{
  return tg_scheduler_bucket(slots->scheduler, shard->ref);
}

tg_ms tg_slots_eta(const struct tg_slots *slots)
{
  return tg_scheduler_eta(slots->scheduler, tg_now());
}

void tg_slots_status(const struct tg_slots *slots, struct tg_identify_status *status)
{
  *status = (struct tg_identify_status){.max_concurrency = slots->env->info->max_concurrency};
  if (!slots->ledger)
    return;
  tg_ms now = tg_steady_clock(), reset_at = tg_ledger_reset_at(slots->ledger);
  status->total = tg_ledger_total(slots->ledger);
  status->remaining = tg_ledger_remaining(slots->ledger, now);
  status->reset_after = reset_at > now ? reset_at - now : 0;
  status->reserve = tg_ledger_reserve(slots->ledger, slots->env->config->resharding.identify_reserve);
  status->waiting = tg_scheduler_waiting(slots->scheduler);
  status->held_back = tg_slots_held_back(slots);
}
