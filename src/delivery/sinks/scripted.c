#include "delivery/delivery_internal.h"

#include "base/log.h"
#include "shared/poison.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls of a script's deliver and handle_queue. Their ends are looked at in the
 * next turn of the loop, by the lane's own timer: a reload ends many of them at
 * once, from the inside of what ends the state. */
struct tg_call {
  struct tg_call *next;
  struct tg_delivery *delivery;
  struct tg_lane *lane; /* NULL: given up, nobody waits for the end */
  bool is_deliver, done;
  bool posted; /* it has called the default, which tells the handler what comes of it */
  bool ok;                          /* the script has not failed ... */
  bool accepted;                    /* ... and says that it has the events, or that the queue is seen to */
  bool cancelled;                   /* by a reload */
  struct tg_http_response response; /* what else it said */
  tg_ms began, touched;             /* uv_now() */
  uint64_t taken;                   /* lane->taken when it began */
};

/* Who waits until the default has emptied the queue. */
struct tg_drainer {
  struct tg_drainer *next;
  void (*done)(void *ctx);
  void *ctx;
};

static tg_ms patience(const struct tg_delivery *delivery)
{
  return TG_SCRIPT_PATIENCE * delivery->env.config->event_handler.timeout;
}

/* Nobody waits for its end any more. */
static void leave(struct tg_call *call)
{
  if (call->lane && call->is_deliver)
    call->lane->delivering = NULL;
  else if (call->lane)
    call->lane->draining = NULL;
  call->lane = NULL;
}

static void forget(struct tg_call *call)
{
  struct tg_call **at = &call->delivery->calls;
  while (*at != call)
    at = &(*at)->next;
  *at = call->next;
  leave(call);
  free(call);
}

static void give_up(struct tg_call *call, const char *then)
{
  struct tg_lane *lane = call->lane;
  tg_log(TG_ERROR, lane->shard_id, "gateway.delivery:%s has not %s for %lld s; %s",
         call->is_deliver ? "deliver" : "handle_queue", call->is_deliver ? "returned" : "looked at its queue",
         (long long)patience(lane->delivery) / 1000, then);
  leave(call);
}

/* --- deliver ----------------------------------------------------------------------- */

static void deliver_by_default(struct tg_lane *lane)
{
  if (!lane->sending->is_script) {
    tg_handler_post_first(lane->sending, lane);
    return;
  }
  struct tg_http_response response = {.retry_after = -1};
  tg_fail(&response.error, "failed", "the script's deliver has failed, and there are no event_handler.urls");
  tg_lane_delivered(lane, false, &response, false);
}

static void end_deliver(struct tg_lane *lane, struct tg_call *call)
{
  struct tg_http_response response = call->response;
  bool ok = call->ok, accepted = call->accepted, cancelled = call->cancelled, posted = call->posted;
  response.seconds = (double)(tg_env_now(&lane->delivery->env) - call->began) / 1000;
  forget(call);
  if (cancelled) {
    tg_lane_unsend(lane);
    tg_lane_go_on(lane);
  } else if (ok) {
    tg_lane_delivered(lane, accepted, &response, posted);
  } else {
    deliver_by_default(lane);
  }
}

/* --- handle_queue -------------------------------------------------------------------- */

static void end_drain(struct tg_lane *lane, struct tg_call *call)
{
  bool taken = lane->taken != call->taken, failed = !call->ok, cancelled = call->cancelled;
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

/* --- both ------------------------------------------------------------------------------ */

/* The lane's timer, while a call works for it. */
static void on_call(uv_timer_t *timer)
{
  struct tg_lane *lane = timer->data;
  struct tg_call *call = lane->state == TG_LANE_SENDING ? lane->delivering : lane->draining;
  tg_ms now = tg_env_now(&lane->delivery->env), until = call->touched + patience(lane->delivery);
  if (lane->delivery->env.stopping)
    return;
  if (!call->done && now < until) {
    uv_timer_start(timer, on_call, (uint64_t)(until - now), 0);
  } else if (call->is_deliver) {
    if (call->done) {
      end_deliver(lane, call);
      return;
    }
    give_up(call, "the default delivers these events");
    deliver_by_default(lane);
  } else if (call->done) {
    end_drain(lane, call);
  } else {
    give_up(call, "the default drains it");
    lane->state = TG_LANE_IDLE;
    lane->by_default = lane->queue.head != NULL;
    tg_lane_go_on(lane);
  }
}

static void take_failure(struct tg_call *call, const struct tg_value *failure)
{
  struct tg_http_response *response = &call->response;
  bool cancelled = failure->code.length == 9 && memcmp(failure->code.at, "cancelled", 9) == 0;
  call->cancelled = cancelled;
  response->status = failure->status;
  response->retry_after = failure->retry_after;
  tg_fail(&response->error, "failed", "%.*s", (int)failure->string.length, failure->string.at);
  if (!cancelled)
    snprintf(response->error.code, sizeof response->error.code, "%.*s", (int)failure->code.length,
             failure->code.at);
}

static void on_reply(void *ctx, bool ok, const struct tg_value *result)
{
  struct tg_call *call = ctx;
  struct tg_lane *lane = call->lane;
  call->done = true;
  call->ok = ok;
  if (ok && result->kind == TG_FAILURE)
    take_failure(call, result);
  else if (ok && result->kind == TG_BOOL && !result->boolean)
    tg_fail(&call->response.error, "failed", "gateway.delivery:deliver returned false");
  else
    call->accepted = ok;
  bool waited_for = lane && (call->is_deliver || lane->state == TG_LANE_SCRIPT);
  if (!waited_for)
    forget(call);
  else
    uv_timer_start(&lane->retry, on_call, 0, 0);
}

static struct tg_call *begin(struct tg_lane *lane, bool is_deliver)
{
  struct tg_delivery *delivery = lane->delivery;
  struct tg_call *call = tg_calloc(1, sizeof *call);
  call->delivery = delivery;
  call->next = delivery->calls;
  delivery->calls = call;
  call->lane = lane;
  call->is_deliver = is_deliver;
  *(is_deliver ? &lane->delivering : &lane->draining) = call;
  call->response.retry_after = -1;
  call->began = call->touched = tg_env_now(&delivery->env);
  call->taken = lane->taken;
  uv_timer_start(&lane->retry, on_call, (uint64_t)patience(delivery), 0);
  return call;
}

/* Whether what is lent out, or some of it, has ended a process in there. */
static bool is_poison(const struct tg_lane *lane)
{
  struct tg_poison_call call = {
      .group = TG_LUA_delivery, .number = TG_METHOD_delivery_deliver, .shard_id = lane->shard_id};
  const struct tg_queued *queued = lane->queue.head;
  for (int i = 0; i < lane->in_flight; i++, queued = queued->next) {
    if (queued->marker)
      continue;
    if (call.sequence == 0 || call.epoch != queued->epoch) {
      if (tg_poison_has_event(&call, NULL))
        return true;
      call.epoch = queued->epoch;
      call.sequence = queued->sequence;
    }
    call.last = queued->sequence;
  }
  return tg_poison_has_event(&call, NULL);
}

/* Until the one to blame stands alone. It goes to the bot; or to the dead letters,
 * where there is none but the script. */
static bool is_refused(struct tg_lane *lane)
{
  if (lane->in_flight == 1 && !lane->sending->is_script)
    return false;
  struct tg_call *call = begin(lane, true);
  call->done = call->ok = true;
  tg_fail(&call->response.error, "poison",
          "it has ended the process in gateway.delivery:deliver, and there are no event_handler.urls");
  uv_timer_start(&lane->retry, on_call, 0, 0);
  return true;
}

bool tg_scripted_deliver(struct tg_lane *lane)
{
  struct tg_hooks *hooks = lane->delivery->env.hooks;
  if (!tg_hooked(hooks, TG_METHOD_delivery_deliver)) {
    if (!lane->sending->is_script)
      return false;
    begin(lane, true)->done = true; /* as if it had failed */
    uv_timer_start(&lane->retry, on_call, 0, 0);
    return true;
  }
  if (__builtin_expect(is_poison(lane), 0))
    return is_refused(lane);
  struct tg_event *events = tg_calloc((size_t)lane->in_flight, sizeof *events);
  char(*markers)[TG_MARKER_MAX] = tg_alloc((size_t)lane->in_flight * TG_MARKER_MAX);
  struct tg_queued *queued = lane->queue.head;
  for (int i = 0; i < lane->in_flight; i++, queued = queued->next)
    tg_queued_event(lane, queued, markers[i], &events[i]);
  struct tg_value argument = tg_value_events(events, lane->in_flight);
  struct tg_call *call = begin(lane, true);
  tg_hook_start(hooks, TG_METHOD_delivery_deliver, &argument, 1, TG_BOOL, on_reply, call);
  free(events);
  free(markers);
  return true;
}

bool tg_scripted_drain(struct tg_lane *lane)
{
  struct tg_hooks *hooks = lane->delivery->env.hooks;
  if (!tg_hooked(hooks, TG_METHOD_delivery_handle_queue) || lane->by_default || lane->delivery->env.stopping)
    return false;
  lane->state = TG_LANE_SCRIPT;
  if (lane->draining) { /* it has called the default, and is about to end */
    lane->draining->touched = tg_env_now(&lane->delivery->env);
    uv_timer_start(&lane->retry, on_call, (uint64_t)patience(lane->delivery), 0);
    return true;
  }
  struct tg_value argument = tg_value_queue(lane->shard_id);
  struct tg_call *call = begin(lane, false);
  tg_hook_start(hooks, TG_METHOD_delivery_handle_queue, &argument, 1, TG_NIL, on_reply, call);
  return true;
}

bool tg_scripted_posts(struct tg_lane *lane)
{
  if (!lane->delivering)
    return false;
  lane->delivering->posted = true;
  return true;
}

void tg_scripted_touch(struct tg_lane *lane)
{
  if (lane->draining)
    lane->draining->touched = tg_env_now(&lane->delivery->env);
}

void tg_scripted_free(struct tg_delivery *delivery)
{
  while (delivery->calls)
    forget(delivery->calls);
  for (int i = 0; i < delivery->lane_count; i++)
    while (delivery->lanes[i] && delivery->lanes[i]->drainers)
      tg_delivery_forget_drain(delivery, delivery->lanes[i]->drainers->ctx);
}

/* --- the default of handle_queue ----------------------------------------------------- */

void tg_scripted_rest(struct tg_lane *lane)
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
  if (!lane->handler || !lane->queue.head) {
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
