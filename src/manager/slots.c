/* The identify scheduler and its ledger, wired to the workers. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { GATE_WAIT_MIN = 10000, GATE_WAIT_MAX = 24 * 60 * 60 * 1000 };

struct tg_host_waiter {
  struct tg_host_waiter *next;
  int shard_id;
  tg_manager_reply *reply;
  void *ctx;
};

void tg_slots_begin(struct tg_manager *manager)
{
  const struct tg_config *config = manager->config;
  int buckets = manager->info.max_concurrency;
  tg_ms wall = tg_wall_clock();
  manager->ledger = tg_ledger_open(manager->state_dir, manager->bot, buckets, wall);
  manager->scheduler = tg_scheduler_new(buckets, config->spawn_shard_delay);
  for (int i = 0; i < buckets; i++) {
    tg_ms rest = tg_ledger_rest(manager->ledger, i, config->spawn_shard_delay, wall);
    if (rest > 0)
      tg_scheduler_hold(manager->scheduler, i, tg_now() + rest);
  }
  tg_slots_info_changed(manager);
}

void tg_slots_info_changed(struct tg_manager *manager)
{
  const struct tg_gateway_info *info = &manager->info;
  if (manager->ledger)
    tg_ledger_set_limit(manager->ledger, info->total, info->remaining, info->reset_after, tg_wall_clock());
}

/* ---- the reserve ---- */

static int allowance(struct tg_manager *manager)
{
  if (manager->gate_closed)
    return 0;
  return tg_ledger_allowance(manager->ledger, manager->config->resharding.identify_reserve, tg_wall_clock());
}

/* Shards whose identify does not go out while the gate is closed. */
static int count_held_back(struct tg_manager *manager)
{
  int count = 0;
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    enum tg_identify_state state = tg_scheduler_state(manager->scheduler, manager->shards[i].id);
    count += state >= TG_IDENTIFY_QUEUED && state <= TG_IDENTIFY_ASKING;
  }
  for (const struct tg_host_waiter *waiter = manager->host_waiters; waiter; waiter = waiter->next)
    count++;
  return count;
}

static void close_gate(struct tg_manager *manager, int held_back)
{
  tg_ms wall = tg_wall_clock(), reset_at = tg_ledger_reset_at(manager->ledger);
  tg_ms wait = reset_at - wall + 1000;
  if (wait < GATE_WAIT_MIN)
    wait = GATE_WAIT_MIN;
  if (wait > GATE_WAIT_MAX)
    wait = GATE_WAIT_MAX;
  time_t until = (time_t)((wall + wait) / 1000);
  struct tm parts;
  char text[40];
  gmtime_r(&until, &parts);
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  tg_log(TG_WARN, TG_NO_SHARD,
         "identifies are held back until %s: %d of %d session starts are left, and %d %% are the reserve. "
         "Sessions that live go on and resume; %d shard%s wait%s. (Spent starts would make Discord reset the "
         "token)",
         text, tg_ledger_remaining(manager->ledger, wall), tg_ledger_total(manager->ledger),
         manager->config->resharding.identify_reserve, held_back, held_back == 1 ? "" : "s",
         held_back == 1 ? "s" : "");
  manager->gate_closed = true;
  uv_update_time(manager->loop);
  uv_timer_start(&manager->gate_timer, tg_slots_on_gate_timer, (uint64_t)wait, 0);
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

static void grant_to_host(struct tg_manager *manager, int shard_id)
{
  for (struct tg_host_waiter **at = &manager->host_waiters; *at;) {
    struct tg_host_waiter *waiter = *at;
    if (waiter->shard_id != shard_id) {
      at = &waiter->next;
      continue;
    }
    *at = waiter->next;
    tg_log(TG_INFO, shard_id, "the slot to identify goes to another gateway host");
    tg_reply_value(waiter->reply, waiter->ctx, json_true());
    free(waiter);
    return;
  }
}

static void grant(struct tg_manager *manager, int shard_id)
{
  struct tg_managed_shard *shard = tg_manager_shard(manager, shard_id);
  /* Written before anybody hears of it. */
  tg_ledger_take(manager->ledger, tg_scheduler_bucket(manager->scheduler, shard_id), tg_wall_clock());
  if (!shard)
    grant_to_host(manager, shard_id);
  else if (shard->slot_waiters)
    tg_waiters_end(&shard->slot_waiters, NULL, NULL);
  else
    tg_slots_unused(manager, shard); /* whoever asked is gone */
}

static void pump_once(struct tg_manager *manager)
{
  struct tg_scheduler *scheduler = manager->scheduler;
  int shard_id;
  tg_ms deadline;
  tg_scheduler_set_allowance(scheduler, allowance(manager));
  while (tg_scheduler_next_start(scheduler, tg_now(), &shard_id)) {
    struct tg_managed_shard *shard = tg_manager_shard(manager, shard_id);
    if (shard)
      tg_spawn_tell(manager, shard);
    else
      tg_scheduler_gone(scheduler, shard_id, tg_now());
  }
  while (tg_scheduler_next_grant(scheduler, tg_now(), &shard_id, &deadline))
    grant(manager, shard_id);
  if (manager->gate_closed || allowance(manager) > 0)
    return;
  int held_back = count_held_back(manager);
  if (held_back > 0)
    close_gate(manager, held_back);
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
  tg_ms now = tg_now(), wakeup = tg_scheduler_wakeup(manager->scheduler, now);
  uv_timer_stop(&manager->slot_timer);
  if (wakeup < 0 || tg_manager_stopping(manager))
    return;
  uv_update_time(manager->loop);
  uv_timer_start(&manager->slot_timer, tg_slots_on_timer, (uint64_t)(wakeup - now), 0);
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
    tg_ledger_take(manager->ledger, tg_scheduler_bucket(manager->scheduler, shard->id), tg_wall_clock());
  }
  struct tg_managed_worker *worker = &manager->workers[asking->worker_id];
  free(asking);
  tg_ipc_send(worker->ipc, "ALLOW_IDENTIFY",
              json_pack("{s:i, s:I}", "shardId", shard->id, "deadline", (json_int_t)deadline));
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
  tg_log(TG_WARN, shard->id, "gateway.manager:request_identify failed (%s); the identify scheduler decides",
         error ? error->message : "it returned false");
  ask_scheduler(manager, shard, asking);
}

void tg_slots_asked(struct tg_manager *manager, struct tg_managed_worker *worker,
                    struct tg_managed_shard *shard)
{
  if (shard->requesting) {
    if (shard->slot_waiters) { /* asks again, with its next connection */
      tg_scheduler_ask(manager->scheduler, shard->id, false, tg_now());
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
  if (shard) {
    tg_waiter_add(&shard->slot_waiters, reply, ctx);
  } else {
    struct tg_host_waiter *waiter = tg_alloc(sizeof *waiter);
    *waiter = (struct tg_host_waiter){manager->host_waiters, id, reply, ctx};
    manager->host_waiters = waiter;
  }
  tg_scheduler_ask(manager->scheduler, id, !shard, tg_now());
  tg_slots_pump(manager);
}

/* ---- what became of a slot ---- */

void tg_slots_sent(struct tg_manager *manager, struct tg_managed_shard *shard)
{
  enum tg_identify_state before = tg_scheduler_state(manager->scheduler, shard->id);
  if (before != TG_IDENTIFY_GRANTED && before != TG_IDENTIFY_SENT) {
    tg_log(TG_WARN, shard->id, "identified without a slot (a script's decision); it counts");
    tg_ledger_take(manager->ledger, tg_scheduler_bucket(manager->scheduler, shard->id), tg_wall_clock());
  }
  tg_scheduler_sent(manager->scheduler, shard->id, tg_now());
  tg_slots_pump(manager);
}

void tg_slots_unused(struct tg_manager *manager, struct tg_managed_shard *shard)
{
  enum tg_identify_state before = tg_scheduler_state(manager->scheduler, shard->id);
  if (before == TG_IDENTIFY_GRANTED || before == TG_IDENTIFY_SENT)
    tg_ledger_give_back(manager->ledger, tg_scheduler_bucket(manager->scheduler, shard->id));
  tg_scheduler_unused(manager->scheduler, shard->id, tg_now());
  tg_slots_pump(manager);
}

void tg_slots_done(struct tg_manager *manager, struct tg_managed_shard *shard, bool ready)
{
  tg_scheduler_done(manager->scheduler, shard->id, ready, tg_now());
  tg_slots_pump(manager);
}

void tg_slots_gone(struct tg_manager *manager, struct tg_managed_shard *shard, const char *why)
{
  shard->requesting = false;
  if (manager->scheduler)
    tg_scheduler_gone(manager->scheduler, shard->id, tg_now());
  tg_waiters_end(&shard->slot_waiters, "closed", why);
}

void tg_slots_end(struct tg_manager *manager, const char *why)
{
  /* Slots that are out are still counted by what becomes of them. */
  for (int i = 0; i < tg_manager_shard_count(manager); i++) {
    manager->shards[i].requesting = false;
    tg_waiters_end(&manager->shards[i].slot_waiters, "closed", why);
  }
  while (manager->host_waiters) {
    struct tg_host_waiter *waiter = manager->host_waiters;
    manager->host_waiters = waiter->next;
    tg_reply_error(waiter->reply, waiter->ctx, "closed", "%s", why);
    free(waiter);
  }
  uv_timer_stop(&manager->slot_timer);
  uv_timer_stop(&manager->gate_timer);
}
