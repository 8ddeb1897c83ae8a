#include "base/buf.h"
#include "base/log.h"
#include "delivery/lanes/lanes.h"
#include "delivery/sinks/lane_parcel.h"

#include <stdlib.h>
#include <string.h>

/* A script's handle_queue. While it has the lane, the lane's timer looks after its
 * call; its end, too, is looked at in the next turn of the loop, since a reload ends
 * many of them at once, from the inside of what ends the state. */

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

static void leave(struct tg_call *call)
{
  if (call->lane)
    call->lane->script.draining = NULL;
  call->lane = NULL;
}

static void forget(struct tg_call *call)
{
  LIST_REMOVE(call, link);
  leave(call);
  free(call);
}

static struct tg_drainer take_drainer(struct tg_drainer **at)
{
  struct tg_drainer drainer = **at;
  free(*at);
  *at = drainer.next;
  return drainer;
}

/* --- the end of a call ---------------------------------------------------------------- */

static void end_call(struct tg_lane *lane, struct tg_call *call)
{
  bool taken = lane->taken != call->taken, failed = call->failed, cancelled = call->cancelled;
  forget(call);
  lane->state = TG_LANE_IDLE;
  lane->script.by_default = failed && lane->queue.head;
  if (taken || cancelled || !lane->queue.head)
    lane->script.idle_drains = 0;
  if (taken || cancelled || failed || !lane->queue.head)
    tg_lane_go_on(lane);
  else
    tg_lane_wait(lane, tg_retry_delay(lane->script.idle_drains++, tg_random_unit()));
}

static void give_up(struct tg_lane *lane, struct tg_call *call)
{
  tg_log(TG_ERROR, lane->feed->shard_id,
         "gateway.delivery:handle_queue has not looked at its queue for %lld s; the default drains it",
         (long long)tg_script_patience(lane->lanes) / 1000);
  leave(call);
  lane->state = TG_LANE_IDLE;
  lane->script.by_default = lane->queue.head != NULL;
  tg_lane_go_on(lane);
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_lane *lane = timer->data;
  struct tg_call *call = lane->script.draining;
  tg_ms now = tg_env_now(lane->lanes->env), until = call->touched + tg_script_patience(lane->lanes);
  if (lane->lanes->env->stopping)
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

bool tg_script_has_queue(const struct tg_lane *lane)
{
  return tg_lanes_hooked(lane->lanes, TG_METHOD_delivery_handle_queue) && !lane->script.by_default;
}

bool tg_script_drain(struct tg_lane *lane)
{
  const struct tg_delivery_env *env = lane->lanes->env;
  if (!tg_script_has_queue(lane) || env->stopping)
    return false;
  lane->state = TG_LANE_SCRIPT;
  struct tg_call *call = lane->script.draining;
  bool goes_on = call != NULL; /* it has called the default, and is about to end */
  if (!goes_on) {
    call = lane->script.draining = tg_calloc(1, sizeof *call);
    call->lane = lane;
    call->taken = lane->taken;
    LIST_INSERT_HEAD(&lane->sender->all->drains, call, link);
  }
  call->touched = tg_env_now(env);
  uv_timer_start(&lane->retry, on_timer, (uint64_t)tg_script_patience(lane->lanes), 0);
  if (goes_on)
    return true;
  struct tg_value argument = tg_value_queue(lane->feed->ref);
  tg_hook_start(env->hooks, TG_METHOD_delivery_handle_queue, &argument, 1, on_reply, call);
  return true;
}

void tg_script_cleared(struct tg_lane *lane)
{
  if (lane->script.draining)
    leave(lane->script.draining);
  while (lane->script.drainers) {
    struct tg_drainer drainer = take_drainer(&lane->script.drainers);
    drainer.done(drainer.ctx);
  }
  lane->script.by_default = false;
}

void tg_script_looked_at(struct tg_lane *lane)
{
  if (lane->script.draining)
    lane->script.draining->touched = tg_env_now(lane->lanes->env);
}

void tg_script_drains_end(struct tg_senders *senders)
{
  const struct tg_lanes *lanes = senders->lanes;
  while (!LIST_EMPTY(&senders->drains))
    forget(LIST_FIRST(&senders->drains));
  for (int i = 0; i < lanes->count; i++)
    while (lanes->at[i] && lanes->at[i]->script.drainers)
      take_drainer(&lanes->at[i]->script.drainers);
}

/* --- the default of handle_queue ----------------------------------------------------- */

void tg_script_drained(struct tg_lane *lane)
{
  lane->script.by_default = false;
  while (lane->script.drainers && !lane->queue.head) {
    struct tg_drainer drainer = take_drainer(&lane->script.drainers);
    drainer.done(drainer.ctx);
  }
  lane->script.by_default = lane->script.drainers != NULL;
}

bool tg_script_drain_by_default(struct tg_lane *lane, void (*done)(void *ctx), void *ctx)
{
  if (!lane->sender || !lane->queue.head) {
    done(ctx);
    return false;
  }
  struct tg_drainer **last = &lane->script.drainers;
  while (*last)
    last = &(*last)->next;
  *last = tg_calloc(1, sizeof **last);
  (*last)->done = done;
  (*last)->ctx = ctx;
  lane->script.by_default = true;
  if (lane->state == TG_LANE_SCRIPT || lane->state == TG_LANE_IDLE)
    tg_lane_wait(lane, 0);
  return true;
}

void tg_script_forget_drain(struct tg_lanes *lanes, void *ctx)
{
  for (int i = 0; i < lanes->count; i++) {
    struct tg_lane_script *script = lanes->at[i] ? &lanes->at[i]->script : NULL;
    struct tg_drainer **at = script ? &script->drainers : NULL;
    while (at && *at && (*at)->ctx != ctx)
      at = &(*at)->next;
    if (!at || !*at)
      continue;
    take_drainer(at);
    if (!script->drainers)
      script->by_default = false;
    return;
  }
}
