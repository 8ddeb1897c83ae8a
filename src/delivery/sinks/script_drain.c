#include "base/log.h"
#include "delivery/delivery_internal.h"
#include "delivery/sinks/lane_parcel.h"

#include <stdlib.h>
#include <string.h>

/* A script's handle_queue. While it has the lane, the lane's timer looks after its
 * call; its end, too, is looked at in the next turn of the loop, since a reload ends
 * many of them at once, from the inside of what ends the state. */

enum { PATIENCE = 6 /* times event_handler.timeout */ };

struct tg_call {
  LIST_ENTRY(tg_call) link;
  struct tg_lane *lane; /* NULL: given up, nobody waits for the end */
  bool done;
  bool failed;    /* the script has: the default drains */
  bool cancelled; /* by a reload */
  tg_ms touched;  /* uv_now(): when it last looked at its queue */
  uint64_t taken; /* lane->taken when it began */
};

/* Who waits until the default has emptied the queue. */
struct tg_drainer {
  struct tg_drainer *next;
  void (*done)(void *ctx);
  void *ctx;
};

static tg_ms patience(const struct tg_lane *lane)
{
  return PATIENCE * lane->delivery->env.config->event_handler.timeout;
}

static void leave(struct tg_call *call)
{
  if (call->lane)
    call->lane->draining = NULL;
  call->lane = NULL;
}

static void forget(struct tg_call *call)
{
  LIST_REMOVE(call, link);
  leave(call);
  free(call);
}

/* --- the end of a call ---------------------------------------------------------------- */

static void end_call(struct tg_lane *lane, struct tg_call *call)
{
  bool taken = lane->taken != call->taken, failed = call->failed, cancelled = call->cancelled;
  forget(call);
  lane->state = TG_LANE_IDLE;
  lane->by_default = failed && lane->queue.head;
  if (taken || cancelled || !lane->queue.head)
    lane->idle_drains = 0;
  if (taken || cancelled || failed || !lane->queue.head)
    tg_lane_go_on(lane);
  else
    tg_lane_wait(lane, tg_retry_delay(lane->idle_drains++, tg_random_unit()));
}

static void give_up(struct tg_lane *lane, struct tg_call *call)
{
  tg_log(TG_ERROR, lane->shard_id,
         "gateway.delivery:handle_queue has not looked at its queue for %lld s; the default drains it",
         (long long)patience(lane) / 1000);
  leave(call);
  lane->state = TG_LANE_IDLE;
  lane->by_default = lane->queue.head != NULL;
  tg_lane_go_on(lane);
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_lane *lane = timer->data;
  struct tg_call *call = lane->draining;
  tg_ms now = tg_env_now(&lane->delivery->env), until = call->touched + patience(lane);
  if (lane->delivery->env.stopping)
    return;
  if (call->done)
    end_call(lane, call);
  else if (now < until)
    uv_timer_start(timer, on_timer, (uint64_t)(until - now), 0);
  else
    give_up(lane, call);
}

static void on_reply(void *ctx, bool ok, const struct tg_value *result)
{
  struct tg_call *call = ctx;
  call->done = true;
  call->failed = !ok;
  call->cancelled = ok && result->kind == TG_FAILURE && result->code.length == 9 &&
                    memcmp(result->code.at, "cancelled", 9) == 0;
  if (call->lane && call->lane->state == TG_LANE_SCRIPT)
    uv_timer_start(&call->lane->retry, on_timer, 0, 0);
  else
    forget(call);
}

/* --- a call ------------------------------------------------------------------------------ */

bool tg_script_drain(struct tg_lane *lane)
{
  struct tg_delivery *delivery = lane->delivery;
  struct tg_hooks *hooks = delivery->env.hooks;
  if (!tg_hooked(hooks, TG_METHOD_delivery_handle_queue) || lane->by_default || delivery->env.stopping)
    return false;
  lane->state = TG_LANE_SCRIPT;
  struct tg_call *call = lane->draining;
  bool goes_on = call != NULL; /* it has called the default, and is about to end */
  if (!goes_on) {
    call = lane->draining = tg_calloc(1, sizeof *call);
    call->lane = lane;
    call->taken = lane->taken;
    LIST_INSERT_HEAD(&delivery->senders.drains, call, link);
  }
  call->touched = tg_env_now(&delivery->env);
  uv_timer_start(&lane->retry, on_timer, (uint64_t)patience(lane), 0);
  if (goes_on)
    return true;
  struct tg_value argument = tg_value_queue(lane->shard_id);
  tg_hook_start(hooks, TG_METHOD_delivery_handle_queue, &argument, 1, TG_NIL, on_reply, call);
  return true;
}

void tg_script_looked_at(struct tg_lane *lane)
{
  if (lane->draining)
    lane->draining->touched = tg_env_now(&lane->delivery->env);
}

void tg_script_drains_end(struct tg_senders *senders)
{
  struct tg_delivery *delivery = senders->delivery;
  while (!LIST_EMPTY(&senders->drains))
    forget(LIST_FIRST(&senders->drains));
  for (int i = 0; i < delivery->lane_count; i++)
    while (delivery->lanes[i] && delivery->lanes[i]->drainers)
      tg_delivery_forget_drain(delivery, delivery->lanes[i]->drainers->ctx);
}

/* --- the default of handle_queue ----------------------------------------------------- */

void tg_script_drained(struct tg_lane *lane)
{
  lane->by_default = false;
  while (lane->drainers && !lane->queue.head) {
    struct tg_drainer *first = lane->drainers;
    lane->drainers = first->next;
    struct tg_drainer drainer = *first;
    free(first);
    drainer.done(drainer.ctx);
  }
  lane->by_default = lane->drainers != NULL;
}

bool tg_delivery_drain_queue(struct tg_delivery *delivery, int shard_id, void (*done)(void *ctx), void *ctx)
{
  struct tg_lane *lane = tg_lane_of(delivery, shard_id);
  if (!lane->sender || !lane->queue.head) {
    done(ctx);
    return false;
  }
  struct tg_drainer **last = &lane->drainers;
  while (*last)
    last = &(*last)->next;
  *last = tg_calloc(1, sizeof **last);
  (*last)->done = done;
  (*last)->ctx = ctx;
  lane->by_default = true;
  if (lane->state == TG_LANE_SCRIPT || lane->state == TG_LANE_IDLE)
    tg_lane_wait(lane, 0);
  return true;
}

void tg_delivery_forget_drain(struct tg_delivery *delivery, void *ctx)
{
  for (int i = 0; i < delivery->lane_count; i++) {
    struct tg_drainer **at = delivery->lanes[i] ? &delivery->lanes[i]->drainers : NULL;
    while (at && *at && (*at)->ctx != ctx)
      at = &(*at)->next;
    if (!at || !*at)
      continue;
    struct tg_drainer *drainer = *at;
    *at = drainer->next;
    free(drainer);
    if (!delivery->lanes[i]->drainers)
      delivery->lanes[i]->by_default = false;
    return;
  }
}
