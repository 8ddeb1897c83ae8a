#include "delivery/delivery_internal.h"

#include "base/log.h"
#include "delivery/dead_letter.h"
#include "proto/envelope.h"

#include <stdio.h>
#include <string.h>

/* An answer on its way through the functions below. */
struct answer {
  struct tg_lane *lane;
  struct tg_handler *handler;
  struct tg_queued *event; /* the first one that was sent */
  int count;               /* ... and how many were */
  const struct tg_http_response *response;
  char reason[TG_ERROR_MESSAGE_SIZE];
};

enum tg_outcome tg_judge(struct tg_delivery *delivery, const struct tg_http_response *response)
{
  struct tg_hooks *hooks = delivery->hooks;
  enum tg_outcome outcome = tg_outcome_of(response->status, response->error.code, response->retry_after);
  if (response->status == 0 || !tg_hooked(hooks, TG_METHOD_delivery_is_delivered))
    return outcome;
  struct tg_value status = tg_value_int(response->status), result;
  if (!tg_hook_call(hooks, TG_METHOD_delivery_is_delivered, &status, 1, TG_BOOL, &result))
    return outcome;
  if (result.boolean)
    return TG_OUTCOME_DELIVERED;
  return outcome == TG_OUTCOME_DELIVERED ? TG_OUTCOME_RETRY : outcome;
}

/* What the script says of the delay before the next attempt; -1: nothing. */
static tg_ms scripted_delay(struct answer *answer)
{
  struct tg_hooks *hooks = answer->lane->delivery->hooks;
  const struct tg_http_response *response = answer->response;
  if (!tg_hooked(hooks, TG_METHOD_delivery_retry_delay))
    return -1;
  char code[TG_ERROR_CODE_SIZE];
  snprintf(code, sizeof code, "%s", response->status ? "status" : response->error.code);
  json_t *err = json_pack("{s:s, s:s, s:I}", "code", code, "message", answer->reason, "status",
                          (json_int_t)response->status);
  if (response->retry_after >= 0)
    json_object_set_new(err, "retry_after", json_integer(response->retry_after));
  struct tg_value args[] = {tg_value_int(answer->event->attempts), tg_value_json(err)}, result;
  bool ok = tg_hook_call(hooks, TG_METHOD_delivery_retry_delay, args, 2, TG_INT, &result);
  json_decref(err);
  return ok && result.integer >= 0 ? result.integer : -1;
}

static void send_next(struct tg_lane *lane)
{
  if (lane->queue.head && lane->handler && lane->state == TG_LANE_IDLE)
    tg_handler_ready(lane->handler, lane);
}

static tg_ms usual_delay(const struct tg_queued *event)
{
  return tg_patience(tg_retry_delay(event->attempts - 1, tg_random_unit()));
}

static void retry_after(struct answer *answer, tg_ms delay)
{
  tg_count_by(&answer->lane->row->retried, (uint64_t)answer->count);
  if (tg_log_on(TG_DEBUG))
    tg_log_with(TG_DEBUG, answer->lane->shard_id,
                TG_WITH(TG_NUMBER(EPOCH, answer->event->epoch), TG_NUMBER(SEQUENCE, answer->event->sequence),
                        TG_NUMBER(EVENTS, answer->count), TG_NUMBER(ATTEMPT, answer->event->attempts),
                        TG_NUMBER(DELAY, delay), TG_TEXT(REASON, answer->reason)),
                "not delivered: sent again");
  tg_lane_wait(answer->lane, delay);
}

static void on_delivered(struct answer *answer)
{
  struct tg_handler *handler = answer->handler;
  const struct tg_queued *event = answer->event;
  for (int i = 0; i < answer->count; i++, event = event->next)
    tg_lane_count_delivered(answer->lane, event);
  tg_window_success(&handler->window, answer->response->seconds * 1000, handler->in_flight + 1,
                    answer->count);
  tg_lane_remove_first(answer->lane, answer->count);
  tg_handler_succeeded(handler);
  send_next(answer->lane);
}

/* The handler is in trouble, and all lanes of it share the trouble: while its
 * circuit is open the circuit paces them, else each lane its own event. */
static void on_trouble(struct answer *answer, enum tg_outcome outcome)
{
  struct tg_handler *handler = answer->handler;
  const struct tg_http_response *response = answer->response;
  answer->event->attempts++;
  tg_ms scripted = scripted_delay(answer);
  tg_ms wait = scripted >= 0 ? scripted : tg_patience(tg_circuit_wait(&handler->circuit, tg_random_unit()));
  if (outcome == TG_OUTCOME_BUSY && scripted < 0)
    wait = tg_retry_after(response->retry_after, wait);
  const char *advice = outcome == TG_OUTCOME_MISCONFIGURED
                           ? tg_outcome_advice(response->status, response->error.code)
                           : "it is tried again until it answers";
  tg_window_failure(&handler->window);
  tg_handler_failed(handler, wait, outcome, answer->reason, advice);
  if (handler->circuit.state == TG_CIRCUIT_CLOSED || scripted >= 0) {
    retry_after(answer, scripted >= 0 ? scripted : usual_delay(answer->event));
    return;
  }
  tg_count_by(&answer->lane->row->retried, (uint64_t)answer->count);
  send_next(answer->lane);
}

static void on_slow_down(struct answer *answer)
{
  answer->event->attempts++;
  tg_handler_succeeded(answer->handler);
  tg_window_failure(&answer->handler->window);
  tg_ms scripted = scripted_delay(answer);
  tg_ms otherwise = usual_delay(answer->event);
  retry_after(answer, scripted >= 0 ? scripted : tg_retry_after(answer->response->retry_after, otherwise));
}

/* The message in the body; of a marker all of it. */
static struct tg_span message_of(const struct tg_lane *lane, const struct tg_queued *event,
                                 char marker[TG_MARKER_MAX])
{
  struct tg_span message = {event->body, event->body_length};
  if (event->gap)
    message = (struct tg_span){marker, tg_gap_text(marker, lane->shard_id, event)};
  else if (event->message_length > 0 && !event->marker)
    message = (struct tg_span){event->body + event->message_at, event->message_length};
  else
    tg_json_find(message.at, message.at + message.length, "message", &message);
  return message;
}

static void bury(struct answer *answer)
{
  struct tg_lane *lane = answer->lane;
  struct tg_queued *event = answer->event;
  struct tg_envelope envelope;
  char marker[TG_MARKER_MAX], name[TG_MARKER_MAX];
  const struct tg_config *config = lane->delivery->config;
  struct tg_strings secrets = tg_config_secrets(config);
  struct tg_dead_letter letter = {
      .shard_id = lane->shard_id,
      .epoch = event->epoch,
      .sequence = event->sequence,
      .name = {"", 0},
      .status = answer->response->status,
      .answer = answer->response->body,
      .message = message_of(lane, event, marker),
      .secrets = &secrets,
  };
  if (tg_envelope_scan(letter.message.at, letter.message.length, &envelope))
    letter.name = tg_envelope_name(&envelope, name, sizeof name);
  struct tg_error error = {0};
  bool written =
      config->state_dir && tg_dead_letter_write(config->state_dir, TG_DEAD_FILE_BYTES, &letter, &error);
  tg_strings_free(&secrets);
  char type[40];
  snprintf(type, sizeof type, "%.*s", (int)letter.name.length, letter.name.at);
  tg_log_with(TG_WARN, lane->shard_id,
              TG_WITH(TG_TEXT(EVENT, type), TG_NUMBER(EPOCH, event->epoch),
                      TG_NUMBER(SEQUENCE, event->sequence), TG_NUMBER(ATTEMPT, event->refusals),
                      TG_NUMBER(CODE, letter.status), TG_TEXT(REASON, answer->reason)),
              "the event handler refuses this event: %s%s",
              written ? "it is in dead.jsonl of the state directory" : "it is lost: ", error.message);
  tg_count(&lane->row->dead);
  tg_lane_remove(lane, event);
}

static void split(struct answer *answer)
{
  if (tg_log_on(TG_DEBUG))
    tg_log_with(TG_DEBUG, answer->lane->shard_id,
                TG_WITH(TG_NUMBER(EPOCH, answer->event->epoch), TG_NUMBER(SEQUENCE, answer->event->sequence),
                        TG_NUMBER(EVENTS, answer->count), TG_TEXT(REASON, answer->reason)),
                "events are refused together");
  tg_count_by(&answer->lane->row->retried, (uint64_t)answer->count);
  tg_handler_succeeded(answer->handler);
  tg_batch_split(answer->lane, answer->count);
  send_next(answer->lane);
}

static void on_refused(struct answer *answer)
{
  struct tg_queued *event = answer->event;
  if (answer->count > 1) {
    split(answer);
    return;
  }
  tg_ms now = tg_delivery_now(answer->lane->delivery), delay;
  if (event->refusals++ == 0)
    event->refused_first = now;
  tg_handler_succeeded(answer->handler);
  if (tg_refused_for_good(event->refusals, event->refused_first, now, &delay)) {
    bury(answer);
    send_next(answer->lane);
    return;
  }
  retry_after(answer, delay);
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

static void act(struct answer *answer, enum tg_outcome outcome)
{
  switch (outcome) {
  case TG_OUTCOME_DELIVERED:
    on_delivered(answer);
    break;
  case TG_OUTCOME_RETRY:
  case TG_OUTCOME_BUSY:
  case TG_OUTCOME_MISCONFIGURED:
    on_trouble(answer, outcome);
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

static void end_request(struct tg_lane *lane, const struct tg_http_response *response, bool accepted)
{
  struct answer answer = {
      .lane = lane, .handler = lane->sending, .event = lane->queue.head, .response = response};
  struct tg_handler *handler = answer.handler;
  tg_handler_in_flight(handler, -1);
  lane->request = 0;
  lane->sending = NULL;
  lane->state = TG_LANE_IDLE;
  answer.count = tg_batch_take_back(lane);
  if (response->status && !response->error.message[0])
    snprintf(answer.reason, sizeof answer.reason, "it answered %ld", response->status);
  else
    snprintf(answer.reason, sizeof answer.reason, "%s", response->error.message);

  enum tg_outcome outcome = accepted ? TG_OUTCOME_DELIVERED : tg_judge(lane->delivery, response);
  tg_count(&handler->stats->requests[outcome]);
  tg_count_by(&handler->stats->microseconds, (uint64_t)(response->seconds * 1e6));
  act(&answer, outcome);
  if (lane->handler && outcome != TG_OUTCOME_CANCELLED)
    tg_handler_pump(lane->handler);
  if (handler->retired)
    tg_handler_retire(handler);
  else if (handler != lane->handler && outcome != TG_OUTCOME_CANCELLED)
    tg_handler_pump(handler);
}

void tg_lane_answered(void *ctx, const struct tg_http_response *response)
{
  end_request(ctx, response, false);
}

void tg_lane_delivered(struct tg_lane *lane, bool accepted, const struct tg_http_response *response)
{
  end_request(lane, response, accepted);
}
