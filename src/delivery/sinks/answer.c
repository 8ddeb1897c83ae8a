#include "delivery/delivery_internal.h"

#include "base/log.h"

#include <stdio.h>

/* What the script says of the delay before the next attempt; -1: nothing. */
static tg_ms scripted_delay(const struct tg_lane_answer *answer)
{
  struct tg_hooks *hooks = answer->lane->delivery->env.hooks;
  const struct tg_http_response *response = answer->judgement.response;
  if (!tg_hooked(hooks, TG_METHOD_delivery_retry_delay))
    return -1;
  char code[TG_ERROR_CODE_SIZE];
  snprintf(code, sizeof code, "%s", response->status ? "status" : response->error.code);
  json_t *err = json_pack("{s:s, s:s, s:I}", "code", code, "message", answer->judgement.reason, "status",
                          (json_int_t)response->status);
  if (response->retry_after >= 0)
    json_object_set_new(err, "retry_after", json_integer(response->retry_after));
  struct tg_value args[] = {tg_value_int(answer->event->attempts), tg_value_json(err)}, result;
  bool ok = tg_hook_call(hooks, TG_METHOD_delivery_retry_delay, args, 2, TG_INT, &result);
  json_decref(err);
  return ok && result.integer >= 0 ? result.integer : -1;
}

static tg_ms usual_delay(const struct tg_queued *event)
{
  return tg_patience(tg_retry_delay(event->troubles, tg_random_unit()));
}

void tg_lane_send_again(const struct tg_lane_answer *answer, tg_ms delay)
{
  tg_count_by(&answer->lane->row->retried, (uint64_t)answer->count);
  if (tg_log_on(TG_DEBUG))
    tg_log_with(TG_DEBUG, answer->lane->shard_id,
                TG_WITH(TG_NUMBER(EPOCH, answer->event->epoch), TG_NUMBER(SEQUENCE, answer->event->sequence),
                        TG_NUMBER(EVENTS, answer->count), TG_NUMBER(ATTEMPT, answer->event->attempts),
                        TG_NUMBER(DELAY, delay), TG_TEXT(REASON, answer->judgement.reason)),
                "not delivered: sent again");
  tg_lane_wait(answer->lane, delay);
}

/* False: a script that has heard of it, that the handler is down for one, has taken events out. */
static bool teach(const struct tg_lane_answer *answer, tg_ms wait)
{
  uint64_t taken = answer->lane->taken;
  if (!answer->is_known)
    tg_judgement_teach(&answer->judgement, answer->count, wait);
  return answer->lane->taken == taken;
}

static void on_delivered(struct tg_lane_answer *answer)
{
  const struct tg_queued *event = answer->event;
  for (int i = 0; i < answer->count; i++, event = event->next)
    tg_lane_count_delivered(answer->lane, event);
  tg_batch_grow(answer->judgement.handler, answer->bytes);
  tg_lane_remove_first(answer->lane, answer->count);
  teach(answer, -1);
  tg_lane_wants_turn(answer->lane);
}

/* The handler is in trouble, and all lanes of it share the trouble: while its
 * circuit is open the circuit paces them, else each lane its own event. */
static void on_trouble(struct tg_lane_answer *answer)
{
  answer->event->attempts++;
  tg_ms scripted = scripted_delay(answer), usual = usual_delay(answer->event);
  bool is_there = teach(answer, scripted);
  bool is_up = answer->judgement.handler->circuit.state == TG_CIRCUIT_CLOSED;
  if (is_there && (is_up || scripted >= 0)) {
    answer->event->troubles += is_up;
    tg_lane_send_again(answer, scripted >= 0 ? scripted : usual);
    return;
  }
  tg_count_by(&answer->lane->row->retried, (uint64_t)answer->count);
  tg_lane_wants_turn(answer->lane);
}

static void on_slow_down(struct tg_lane_answer *answer)
{
  answer->event->attempts++;
  tg_ms scripted = scripted_delay(answer), otherwise = usual_delay(answer->event);
  answer->event->troubles++;
  if (scripted < 0)
    scripted = tg_retry_after(answer->judgement.response->retry_after, otherwise);
  if (teach(answer, -1))
    tg_lane_send_again(answer, scripted);
  else
    tg_lane_wants_turn(answer->lane);
}

static void on_refused(struct tg_lane_answer *answer)
{
  if (teach(answer, -1))
    tg_lane_refused(answer);
  tg_lane_wants_turn(answer->lane);
}

void tg_lane_unsend(struct tg_lane *lane)
{
  struct tg_handler *handler = lane->sending;
  tg_batch_take_back(lane);
  lane->request = 0;
  lane->sending = NULL;
  lane->state = TG_LANE_IDLE;
  tg_handler_release(handler);
}

static void act(struct tg_lane_answer *answer)
{
  switch (answer->judgement.outcome) {
  case TG_OUTCOME_DELIVERED:
    on_delivered(answer);
    break;
  case TG_OUTCOME_RETRY:
  case TG_OUTCOME_BUSY:
  case TG_OUTCOME_MISCONFIGURED:
    on_trouble(answer);
    break;
  case TG_OUTCOME_SLOW_DOWN:
    on_slow_down(answer);
    break;
  case TG_OUTCOME_REFUSED:
    on_refused(answer);
    break;
  case TG_OUTCOME_CANCELLED:
    break;
  }
}

static void end_request(struct tg_lane *lane, const struct tg_http_response *response, bool accepted,
                        bool is_known)
{
  struct tg_handler *handler = lane->sending;
  struct tg_lane_answer answer = {
      .lane = lane,
      .event = lane->queue.head,
      .bytes = tg_batch_bytes(lane),
      .is_known = is_known,
      .judgement = tg_judgement_of(handler, response, accepted),
  };
  lane->request = 0;
  lane->sending = NULL;
  lane->state = TG_LANE_IDLE;
  answer.count = tg_batch_take_back(lane);
  if (!is_known)
    tg_judgement_count(&answer.judgement);
  act(&answer);
  tg_handler_in_flight(handler, -1);
  bool goes_on = answer.judgement.outcome != TG_OUTCOME_CANCELLED;
  if (lane->handler && goes_on)
    tg_handler_pump(lane->handler);
  if (handler->retired)
    tg_handler_retire(handler);
  else if (handler != lane->handler && goes_on)
    tg_handler_pump(handler);
}

void tg_lane_answered(void *ctx, const struct tg_http_response *response)
{
  end_request(ctx, response, false, false);
}

void tg_lane_delivered(struct tg_lane *lane, bool accepted, const struct tg_http_response *response,
                       bool is_known)
{
  end_request(lane, response, accepted, is_known);
}
