#include "delivery/delivery_internal.h"

#include "base/buf.h"
#include "base/log.h"
#include "net/http_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void change_gauge(_Atomic int32_t *gauge, int change)
{
  atomic_store_explicit(gauge, atomic_load_explicit(gauge, memory_order_relaxed) + change,
                        memory_order_relaxed);
}

static void publish_down(struct tg_handler *handler, int change)
{
  change_gauge(&handler->stats->down, change);
  atomic_store(&handler->stats->since, tg_now());
}

void tg_handler_in_flight(struct tg_handler *handler, int change)
{
  handler->in_flight += change;
  change_gauge(&handler->stats->in_flight, change);
}

struct tg_handler *tg_handler_new(struct tg_delivery *delivery, const char *url)
{
  struct tg_handler *handler = tg_calloc(1, sizeof *handler);
  handler->delivery = delivery;
  handler->url = tg_strdup(url);
  handler->is_script = strcmp(url, TG_SCRIPT_URL) == 0;
  handler->public_url = handler->is_script ? tg_strdup("gateway.delivery") : tg_http_url_public(url);
  tg_window_init(&handler->window);
  TAILQ_INIT(&handler->express);
  TAILQ_INIT(&handler->posts);
  handler->batch_bytes = TG_BATCH_BYTES;
  handler->stats = tg_stats_handler(handler->public_url);
  change_gauge(&handler->stats->users, 1);
  tg_handles_timer(&delivery->env.handles, &handler->timer, handler);
  return handler;
}

static void on_retired(uv_handle_t *timer)
{
  struct tg_handler *handler = timer->data;
  free(handler->url);
  free(handler->public_url);
  struct tg_delivery *delivery = handler->delivery;
  free(handler);
  tg_handles_closed(&delivery->env.handles);
}

void tg_handler_retire(struct tg_handler *handler)
{
  if (!handler->retired) {
    change_gauge(&handler->stats->users, -1);
    if (handler->circuit.state != TG_CIRCUIT_CLOSED)
      publish_down(handler, -1);
  }
  handler->retired = true;
  tg_express_close(handler);
  tg_posts_close(handler);
  tg_refusals_report(handler);
  if (handler->in_flight == 0 && handler->nested == 0 && !uv_is_closing((uv_handle_t *)&handler->timer))
    uv_close((uv_handle_t *)&handler->timer, on_retired);
}

void tg_handler_ready(struct tg_handler *handler, struct tg_lane *lane)
{
  if (tg_scripted_drain(lane))
    return;
  lane->state = TG_LANE_READY;
  lane->next_ready = NULL;
  if (handler->ready_last)
    handler->ready_last->next_ready = lane;
  else
    handler->ready = lane;
  handler->ready_last = lane;
}

void tg_handler_forget(struct tg_handler *handler, struct tg_lane *lane)
{
  struct tg_lane *before = NULL;
  for (struct tg_lane *at = handler->ready; at; before = at, at = at->next_ready) {
    if (at != lane)
      continue;
    if (before)
      before->next_ready = at->next_ready;
    else
      handler->ready = at->next_ready;
    if (handler->ready_last == at)
      handler->ready_last = before;
    at->state = TG_LANE_IDLE;
    return;
  }
}

/* Whose turn it is. A handler that is being tried gets what has waited longest. */
static struct tg_lane *next_lane(struct tg_handler *handler)
{
  struct tg_lane *lane = handler->ready;
  if (handler->circuit.state == TG_CIRCUIT_HALF_OPEN)
    for (struct tg_lane *at = lane; at; at = at->next_ready)
      if (at->queue.head && (!lane->queue.head || at->queue.head->queued_at < lane->queue.head->queued_at))
        lane = at;
  if (lane == handler->ready) {
    handler->ready = lane->next_ready;
    if (!handler->ready)
      handler->ready_last = NULL;
  } else {
    tg_handler_forget(handler, lane);
  }
  lane->state = TG_LANE_IDLE;
  return lane;
}

uint64_t tg_handler_post(struct tg_handler *handler, const char *key, struct tg_span body, tg_http_done *done,
                         void *ctx)
{
  struct tg_delivery *delivery = handler->delivery;
  tg_ms timeout = delivery->env.config->event_handler.timeout;
  const char *headers[] = {"Content-Type: application/json", key, delivery->authorization, NULL};
  struct tg_http_request request = {
      .method = "POST",
      .url = handler->url,
      .headers = headers,
      .body = body,
      .timeout = timeout,
      .connect_timeout = timeout < TG_CONNECT_TIMEOUT ? timeout : TG_CONNECT_TIMEOUT,
      .max_body = 2048,
      .by_head = true,
  };
  return tg_http_start(delivery->http, &request, done, ctx);
}

void tg_handler_post_first(struct tg_handler *handler, struct tg_lane *lane)
{
  char key[TG_BATCH_KEY];
  tg_batch_key(key, lane, lane->in_flight);
  struct tg_span body = tg_batch_body(lane, lane->in_flight);
  lane->request = tg_handler_post(handler, key, body, tg_lane_answered, lane);
}

static void send_first(struct tg_handler *handler, struct tg_lane *lane)
{
  tg_batch_lend(lane, tg_batch_choose(lane));
  lane->state = TG_LANE_SENDING;
  lane->sending = handler;
  tg_handler_in_flight(handler, 1);
  if (!tg_scripted_deliver(lane))
    tg_handler_post_first(handler, lane);
}

void tg_handler_release(struct tg_handler *handler)
{
  tg_handler_in_flight(handler, -1);
  if (handler->retired)
    tg_handler_retire(handler);
}

bool tg_handler_has_room(const struct tg_handler *handler)
{
  return handler->in_flight - handler->express_in_flight < tg_window_limit(&handler->window);
}

static void on_wait_over(uv_timer_t *timer)
{
  tg_handler_pump(timer->data);
}

void tg_handler_pump(struct tg_handler *handler)
{
  struct tg_delivery *delivery = handler->delivery;
  tg_ms now = tg_env_now(&delivery->env);
  if (delivery->env.stopping)
    return;
  tg_express_pump(handler);
  tg_posts_pump(handler);
  while (handler->ready && tg_handler_has_room(handler) &&
         tg_circuit_allows(&handler->circuit, now, handler->in_flight)) {
    struct tg_lane *lane = next_lane(handler);
    tg_interactions_expire(lane);
    if (lane->state != TG_LANE_IDLE) /* it is in the ring again */
      continue;
    const struct tg_queued *head = lane->queue.head;
    if (head && !head->in_flight) /* else it is sent beside the lane */
      send_first(handler, lane);
    else if (!head && lane->by_default) /* overflow has emptied it */
      tg_scripted_rest(lane);
  }
  if (handler->ready && handler->circuit.state == TG_CIRCUIT_OPEN && now < handler->circuit.until)
    uv_timer_start(&handler->timer, on_wait_over, (uint64_t)(handler->circuit.until - now), 0);
}

static void tell_script(struct tg_handler *handler, enum tg_life what, const char *reason)
{
  struct tg_hooks *hooks = handler->delivery->env.hooks;
  if (!hooks->want_life[what])
    return;
  json_t *details = json_pack("{s:s, s:s}", "url", handler->public_url, "reason", reason);
  tg_hook_life(hooks, what, NULL, details);
  json_decref(details);
}

/* --- what the workers tell each other ---------------------------------------------- */

static void tell_others(struct tg_handler *handler, bool up, tg_ms asked)
{
  struct tg_delivery *delivery = handler->delivery;
  if (delivery->tell && !handler->is_script && !handler->retired)
    delivery->tell(delivery->ctx, handler->url, up, asked);
}

static void hear(struct tg_handler *handler, bool up, tg_ms asked)
{
  tg_ms now = tg_env_now(&handler->delivery->env);
  tg_ms wait = tg_patience(tg_circuit_wait(&handler->circuit, tg_random_unit()));
  if (up)
    tg_circuit_hear_up(&handler->circuit, now);
  else
    tg_circuit_hear_down(&handler->circuit, now, asked > 0 ? tg_retry_after(asked, 0) : wait, asked > 0);
  tg_handler_pump(handler);
}

void tg_delivery_hear(struct tg_delivery *delivery, const char *url, bool up, tg_ms asked)
{
  for (int i = 0; i < delivery->handler_count; i++)
    if (strcmp(delivery->handlers[i]->url, url) == 0)
      hear(delivery->handlers[i], up, asked);
}

/* --- up and down ------------------------------------------------------------------- */

void tg_handler_succeeded(struct tg_handler *handler)
{
  if (!tg_circuit_success(&handler->circuit))
    return;
  struct tg_delivery *delivery = handler->delivery;
  tell_others(handler, true, 0);
  tg_ms down_for = tg_env_now(&delivery->env) - handler->down_since;
  uv_timer_stop(&handler->timer);
  if (!handler->retired)
    publish_down(handler, -1);
  tg_window_restart(&handler->window);
  tg_log_with(TG_INFO, TG_NO_SHARD,
              TG_WITH(TG_TEXT(URL, handler->public_url), TG_NUMBER(DURATION, down_for),
                      TG_NUMBER(EVENTS, tg_delivery_waiting(delivery))),
              "the event handler is up again");
  tell_script(handler, TG_LIFE_handler_up, "answers again");
}

static void raise_alarm(struct tg_handler *handler, enum tg_outcome outcome, const char *reason,
                        const char *advice)
{
  struct tg_delivery *delivery = handler->delivery;
  tg_ms now = tg_env_now(&delivery->env);
  handler->alarmed_at = now;
  tg_log_with(outcome == TG_OUTCOME_MISCONFIGURED ? TG_ERROR : TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_TEXT(URL, handler->public_url), TG_TEXT(REASON, reason),
                      TG_NUMBER(DURATION, now - handler->down_since),
                      TG_NUMBER(EVENTS, tg_delivery_waiting(delivery))),
              "the event handler is down: %s", advice);
}

void tg_handler_failed(struct tg_handler *handler, tg_ms wait, bool asked, enum tg_outcome outcome,
                       const char *reason, const char *advice)
{
  struct tg_delivery *delivery = handler->delivery;
  tg_ms now = tg_env_now(&delivery->env);
  enum tg_circuit_state before = handler->circuit.state;
  bool opened = tg_circuit_failure(&handler->circuit, now, wait, outcome != TG_OUTCOME_RETRY, asked);
  if (before != TG_CIRCUIT_OPEN && handler->circuit.state == TG_CIRCUIT_OPEN)
    tell_others(handler, false, asked ? wait : 0);
  if (opened) {
    handler->down_since = now;
    if (!handler->retired)
      publish_down(handler, 1);
  }
  bool repeat = handler->circuit.state == TG_CIRCUIT_OPEN && now - handler->alarmed_at >= TG_REPORT_INTERVAL;
  if (opened || repeat)
    raise_alarm(handler, outcome, reason, advice);
  if (opened)
    tell_script(handler, TG_LIFE_handler_down, reason);
  if (handler->circuit.state != TG_CIRCUIT_CLOSED)
    tg_interactions_handler_down(handler);
}

/* --- what lanes see ----------------------------------------------------------------- */

static void on_wants_turn(struct tg_lane *lane)
{
  tg_handler_ready(lane->handler, lane);
}

static void on_go(struct tg_lane *lane)
{
  tg_handler_pump(lane->handler);
}

const struct tg_lane_sink tg_handler_sink = {
    .wants_turn = on_wants_turn,
    .go = on_go,
    .emptied = tg_scripted_rest,
    .looked_at = tg_scripted_touch,
};
