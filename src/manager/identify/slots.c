/* The identify scheduler and its ledger, wired to the workers. */

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "base/timer.h"
#include "manager/internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { GATE_WAIT_MIN = 10000, GATE_WAIT_MAX = 24 * 60 * 60 * 1000 };

void tg_slots_begin(struct tg_manager *manager)
{
  const struct tg_config *config = manager->config;
  int buckets = manager->info.max_concurrency;
  tg_ms steady = tg_steady_clock();
  manager->ledger = tg_ledger_open(manager->state_dir, manager->bot, buckets, steady);
  manager->scheduler = tg_scheduler_new(buckets, config->spawn_shard_delay);
  for (int i = 0; i < buckets; i++) {
    tg_ms rest = tg_ledger_rest(manager->ledger, i, config->spawn_shard_delay, steady);
    if (rest > 0)
      tg_scheduler_hold(manager->scheduler, i, tg_now() + rest);
  }
  tg_slots_info_changed(manager);
  if (config->identify.url)
    tg_slots_client_begin(manager);
  else
    tg_slots_broker_begin(manager);
}

void tg_slots_info_changed(struct tg_manager *manager)
{
  const struct tg_gateway_info *info = &manager->info;
  if (manager->ledger)
    tg_ledger_set_limit(manager->ledger, info->total, info->remaining, info->reset_after, tg_steady_clock());
}

/* ---- the reserve ---- */

static int allowance(struct tg_manager *manager)
{
  if (manager->client) /* the broker counts for all hosts */
    return tg_slots_held_back(manager) ? 0 : INT_MAX;
  if (manager->gate_closed)
    return 0;
  return tg_ledger_allowance(manager->ledger, manager->config->resharding.identify_reserve,
                             tg_steady_clock());
}

bool tg_slots_held_back(const struct tg_manager *manager)
{
  return manager->client ? !tg_broker_client_open(manager->client, tg_now()) : manager->gate_closed;
}

/* Shards whose identify does not go out while the gate is closed. */
static int count_held_back(struct tg_manager *manager)
{
  int count = 0;
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    enum tg_identify_state state = tg_scheduler_state(manager->scheduler, manager->shards[i].id);
    count += state >= TG_IDENTIFY_QUEUED && state <= TG_IDENTIFY_ASKING;
  }
  return count + tg_slots_broker_count(manager);
}

static void close_gate(struct tg_manager *manager, int held_back)
{
  tg_ms steady = tg_steady_clock(), wait = tg_ledger_reset_at(manager->ledger) - steady + 1000;
  if (wait < tg_patience(GATE_WAIT_MIN))
    wait = tg_patience(GATE_WAIT_MIN);
  if (wait > GATE_WAIT_MAX)
    wait = GATE_WAIT_MAX;
  char until[TG_HUMAN_SIZE];
  tg_human_moment(tg_wall_clock() + wait, until, sizeof until);
  tg_log(TG_WARN, TG_NO_SHARD,
         "identifies are held back until %s: %d of %d session starts are left, and %d %% are the reserve. "
         "Sessions that live go on and resume; %d shard%s wait%s. (Spent starts would make Discord reset the "
         "token)",
         until, tg_ledger_remaining(manager->ledger, steady), tg_ledger_total(manager->ledger),
         manager->config->resharding.identify_reserve, held_back, held_back == 1 ? "" : "s",
         held_back == 1 ? "s" : "");
  manager->gate_closed = true;
  tg_timer_start(&manager->gate_timer, tg_slots_on_gate_timer, wait);
}

void tg_slots_on_gate_timer(uv_timer_t *timer)
{
  tg_fetch_refresh(timer->data);
}

void tg_slots_refreshed(struct tg_manager *manager)
{
  if (uv_is_active((uv_handle_t *)&manager->gate_timer))
    return; /* its time has not come */
  if (manager->gate_closed)
    tg_log(TG_INFO, TG_NO_SHARD, "the window of session starts is over: identifies go on");
  manager->gate_closed = false;
  tg_slots_pump(manager);
}

/* ---- letting go ---- */

struct grant {
  int shard_id;
  tg_ms deadline;
};

static void take(struct tg_manager *manager, int shard_id, tg_ms deadline)
{
  tg_ledger_take(manager->ledger, tg_scheduler_bucket(manager->scheduler, shard_id), tg_steady_clock(),
                 deadline + tg_steady_ahead());
}

static void tell(struct tg_manager *manager, const struct grant *grant, tg_ms now)
{
  struct tg_managed_shard *shard = tg_manager_shard(manager, grant->shard_id);
  if (!shard)
    tg_broker_granted(manager->broker, grant->shard_id, grant->deadline, now);
  else if (shard->slot_waiters)
    tg_waiters_end(&shard->slot_waiters, NULL, NULL);
  else
    tg_slots_unused(manager, shard); /* whoever asked is gone */
}

static void let_go(struct tg_manager *manager)
{
  struct tg_buf grants = {0};
  struct grant grant;
  tg_ms now = tg_now();
  while (tg_scheduler_next_grant(manager->scheduler, now, &grant.shard_id, &grant.deadline)) {
    take(manager, grant.shard_id, grant.deadline);
    tg_buf_append(&grants, &grant, sizeof grant);
  }
  if (grants.length > 0)
    tg_ledger_save(manager->ledger); /* before anybody hears of it */
  for (size_t at = 0; at < grants.length; at += sizeof grant)
    tell(manager, (const struct grant *)(grants.data + at), now);
  tg_buf_free(&grants);
}

static void start_shards(struct tg_manager *manager)
{
  struct tg_scheduler *scheduler = manager->scheduler;
  int shard_id;
  while (tg_scheduler_next_start(scheduler, tg_now(), &shard_id)) {
    struct tg_managed_shard *shard = tg_manager_shard(manager, shard_id);
    if (shard)
      tg_spawn_tell(manager, shard);
    else
      tg_scheduler_gone(scheduler, shard_id, tg_now());
  }
}

static void grant_slots(struct tg_manager *manager)
{
  tg_broker_tick(manager->broker, tg_now());
  let_go(manager);
  if (allowance(manager) > 0)
    return;
  int held_back = manager->gate_closed ? 0 : count_held_back(manager);
  if (held_back > 0)
    close_gate(manager, held_back);
  if (manager->gate_closed)
    tg_broker_hold_back(manager->broker, (tg_ms)uv_timer_get_due_in(&manager->gate_timer), tg_now());
}

static void pump_once(struct tg_manager *manager)
{
  tg_scheduler_set_allowance(manager->scheduler, allowance(manager));
  start_shards(manager);
  if (manager->client)
    tg_slots_client_pump(manager);
  else
    grant_slots(manager);
}

/* When something can become due by time alone; -1: never. */
static tg_ms next_wakeup(struct tg_manager *manager, tg_ms now)
{
  tg_ms own = tg_scheduler_wakeup(manager->scheduler, now);
  tg_ms other = manager->client ? tg_broker_client_wakeup(manager->client, now)
                                : tg_broker_wakeup(manager->broker);
  return own < 0 || (other >= 0 && other < own) ? other : own;
}

void tg_slots_pump(struct tg_manager *manager)
{
  if (!manager->scheduler || tg_manager_stopping(manager))
    return;
  manager->pump_again = true;
  if (manager->pumping)
    return; /* a reply came back to here */
  manager->pumping = true;
  while (manager->pump_again && !tg_manager_stopping(manager)) {
    manager->pump_again = false;
    pump_once(manager);
  }
  manager->pumping = false;
  tg_ms now = tg_now(), wakeup = next_wakeup(manager, now);
  uv_timer_stop(&manager->slot_timer);
  if (wakeup < 0 || tg_manager_stopping(manager))
    return;
  tg_timer_start(&manager->slot_timer, tg_slots_on_timer, wakeup - now);
}

void tg_slots_on_timer(uv_timer_t *timer)
{
  tg_slots_pump(timer->data);
}

/* ---- request_identify ---- */

struct asking {
  struct tg_manager *manager;
  int shard_id;
  int worker_id;
  unsigned incarnation;
};

static void on_slot(void *ctx, json_t *value, const struct tg_error *error);

static void ask_scheduler(struct tg_manager *manager, struct tg_managed_shard *shard, struct asking *asking)
{
  shard->requesting = true;
  json_t *args = json_pack("[i]", shard->id);
  tg_manager_call_default(manager, TG_METHOD_manager_request_identify, args, on_slot, asking);
  json_decref(args);
}

/* The shard may identify: by the scheduler's grant, or because a script that
 * coordinates on its own said so. */
static void allow(struct tg_manager *manager, struct tg_managed_shard *shard, struct asking *asking)
{
  tg_ms now = tg_now(), deadline = tg_scheduler_deadline(manager->scheduler, shard->id);
  if (deadline > 0 && deadline <= now) { /* a script kept the grant too long */
    tg_slots_unused(manager, shard);
    ask_scheduler(manager, shard, asking);
    return;
  }
  if (deadline == 0) {
    deadline = tg_scheduler_grant_anyway(manager->scheduler, shard->id, now);
    take(manager, shard->id, deadline);
    tg_ledger_save(manager->ledger);
  }
  struct tg_managed_worker *worker = &manager->workers[asking->worker_id];
  free(asking);
  tg_say(worker->ipc, allow_identify, .shard_id = shard->id, .deadline = deadline);
  tg_slots_pump(manager);
}

static void on_slot(void *ctx, json_t *value, const struct tg_error *error)
{
  struct asking *asking = ctx;
  struct tg_manager *manager = asking->manager;
  struct tg_managed_shard *shard = tg_manager_shard(manager, asking->shard_id);
  struct tg_managed_worker *worker = &manager->workers[asking->worker_id];
  bool current = worker->ipc && worker->incarnation == asking->incarnation && !tg_manager_stopping(manager);
  if (!current || !shard->requesting) {
    free(asking);
    return;
  }
  shard->requesting = false;
  if (!error && !json_is_false(value)) {
    allow(manager, shard, asking);
    return;
  }
  tg_log_with(TG_WARN, shard->id,
              TG_WITH(TG_TEXT(METHOD, "gateway.manager:request_identify"),
                      TG_TEXT(REASON, error ? error->message : "it returned false")),
              "the script gave no slot to identify; the identify scheduler decides");
  ask_scheduler(manager, shard, asking);
}

void tg_slots_asked(struct tg_manager *manager, struct tg_managed_worker *worker,
                    struct tg_managed_shard *shard)
{
  if (shard->requesting) {
    if (shard->slot_waiters) { /* asks again, with its next connection */
      tg_scheduler_ask(manager->scheduler, shard->id, tg_now());
      tg_slots_pump(manager);
    }
    return;
  }
  shard->requesting = true;
  struct asking *asking = tg_alloc(sizeof *asking);
  *asking = (struct asking){manager, shard->id, worker->id, worker->incarnation};
  json_t *args = json_pack("[i]", shard->id);
  tg_manager_call(manager, TG_METHOD_manager_request_identify, args, on_slot, asking);
  json_decref(args);
}

struct host_asking {
  tg_manager_reply *reply;
  void *ctx;
};

static void on_host_answer(void *ctx, int status, tg_ms retry_after, json_t *body)
{
  (void)retry_after;
  struct host_asking asking = *(struct host_asking *)ctx;
  free(ctx);
  const char *problem = json_string_value(json_object_get(body, "error"));
  if (status == 200)
    tg_reply_value(asking.reply, asking.ctx, json_true());
  else
    tg_reply_error(asking.reply, asking.ctx, "closed", "%s", problem ? problem : "there is no slot");
}

/* A script asks for a shard of another gateway host. */
static void request_for_host(const struct tg_args *args, struct tg_manager *manager, int shard_id)
{
  if (!manager->broker) {
    tg_arg_bad(args,
               "shard_id: shard %d is of another gateway host, and this one has its slots from a broker, too "
               "(identify.url)",
               shard_id);
    return;
  }
  struct host_asking *asking = tg_alloc(sizeof *asking);
  *asking = (struct host_asking){args->reply, args->ctx};
  tg_slots_broker_ask(manager, shard_id, on_host_answer, asking);
  tg_slots_pump(manager);
}

void tg_slots_request_default(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply,
                              void *ctx)
{
  struct tg_args args = {list, "request_identify", reply, ctx};
  int id;
  if (!tg_arg_int(&args, 0, "shard_id", 0, TG_SCHEDULED_SHARD_MAX, &id))
    return;
  if (!manager->scheduler || tg_manager_stopping(manager)) {
    tg_reply_error(reply, ctx, "not_ready", "the gateway is %s: there are no slots to identify",
                   manager->scheduler ? "stopping" : "starting");
    return;
  }
  struct tg_managed_shard *shard = tg_manager_shard(manager, id);
  if (!shard) {
    request_for_host(&args, manager, id);
    return;
  }
  tg_waiter_add(&shard->slot_waiters, reply, ctx);
  tg_scheduler_ask(manager->scheduler, id, tg_now());
  tg_slots_pump(manager);
}

/* ---- what became of a slot ---- */

void tg_slots_sent(struct tg_manager *manager, struct tg_managed_shard *shard)
{
  enum tg_identify_state before = tg_scheduler_state(manager->scheduler, shard->id);
  if (before != TG_IDENTIFY_GRANTED && before != TG_IDENTIFY_SENT) {
    tg_log(TG_WARN, shard->id, "identified without a slot (a script's decision); it counts");
    tg_ms steady = tg_steady_clock();
    tg_ledger_take(manager->ledger, tg_scheduler_bucket(manager->scheduler, shard->id), steady, steady);
    tg_ledger_save(manager->ledger);
  }
  tg_scheduler_sent(manager->scheduler, shard->id, tg_now());
  tg_slots_client_sent(manager, shard->id);
  tg_slots_pump(manager);
}

void tg_slots_unused(struct tg_manager *manager, struct tg_managed_shard *shard)
{
  if (tg_scheduler_unused(manager->scheduler, shard->id, tg_now()))
    tg_ledger_give_back(manager->ledger, tg_scheduler_bucket(manager->scheduler, shard->id));
  tg_slots_client_left(manager, shard->id);
  tg_slots_pump(manager);
}

void tg_slots_done(struct tg_manager *manager, struct tg_managed_shard *shard, bool ready)
{
  tg_scheduler_done(manager->scheduler, shard->id, ready, tg_now());
  tg_slots_client_done(manager, shard->id, ready);
  tg_slots_pump(manager);
}

void tg_slots_gone(struct tg_manager *manager, struct tg_managed_shard *shard, const char *why)
{
  shard->requesting = false;
  if (manager->scheduler)
    tg_scheduler_gone(manager->scheduler, shard->id, tg_now());
  tg_slots_client_gone(manager, shard->id);
  tg_waiters_end(&shard->slot_waiters, "closed", why);
}

void tg_slots_end(struct tg_manager *manager, const char *why)
{
  /* Slots that are out are still counted by what becomes of them. */
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    manager->shards[i].requesting = false;
    tg_waiters_end(&manager->shards[i].slot_waiters, "closed", why);
  }
  if (manager->broker)
    tg_broker_end(manager->broker, why);
  tg_slots_client_end(manager);
  uv_timer_stop(&manager->slot_timer);
  uv_timer_stop(&manager->gate_timer);
}
