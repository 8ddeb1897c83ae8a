#include "delivery/sinks/lane_parcel.h"

#include "base/log.h"
#include "delivery/lanes/batch.h"
#include "delivery/lanes/lanes.h"
#include "delivery/lanes/queue.h"

#include <stdio.h>

/* What lanes send, and what becomes of it. */

/* --- its turn ------------------------------------------------------------------------ */

/* Away with what is of no use any more; markers of such events may stand in front of the next one. */
static void look_at_first(struct tg_lane *lane)
{
  struct tg_queued *event;
  do {
    event = lane->queue.head;
    while (event && event->gap)
      event = event->next;
  } while (event && lane->lanes->watch->has_turn(lane, event));
}

static bool prepare(struct tg_parcel *parcel)
{
  struct tg_lane *lane = parcel->lane;
  if (__builtin_expect(parcel->line != NULL, 0))
    return tg_line_prepare(parcel->line, lane);
  lane->state = TG_LANE_IDLE;
  look_at_first(lane);
  if (lane->state != TG_LANE_IDLE) /* it waits again */
    return false;
  const struct tg_queued *head = lane->queue.head;
  if (!head && lane->script.by_default) /* overflow has emptied it */
    lane->lanes->sink->emptied(lane);
  if (!head || head->in_flight || tg_gate_holds(lane)) /* it is sent beside the lane, or not yet */
    return false;
  tg_batch_lend(parcel, tg_sender_batch_bytes(lane->sender));
  lane->state = TG_LANE_SENDING;
  return true;
}

static tg_ms since(const struct tg_parcel *parcel)
{
  const struct tg_queued *first = tg_parcel_first(parcel);
  return first ? first->queued_at : INT64_MAX;
}

static void on_returned(struct tg_parcel *parcel)
{
  if (parcel->line)
    tg_line_rest(parcel->lane->queue.lines, parcel->line);
  else
    parcel->lane->state = TG_LANE_IDLE;
}

static void show(const struct tg_parcel *parcel, struct tg_event *events, char (*texts)[TG_MARKER_MAX])
{
  struct tg_queued *queued = tg_parcel_first(parcel);
  for (int i = 0; i < parcel->count; i++, queued = tg_parcel_next(parcel, queued))
    tg_queued_event(parcel->lane, queued, texts[i], &events[i]);
}

/* --- what an answer does to the events -------------------------------------------------- */

/* What the script says of the delay before the next attempt; -1: nothing. */
static tg_ms scripted_delay(const struct tg_lane_answer *of)
{
  struct tg_hooks *hooks = of->lane->lanes->env->hooks;
  const struct tg_answer *answer = of->judgement->answer;
  if (!tg_lanes_hooked(of->lane->lanes, TG_METHOD_delivery_retry_delay))
    return -1;
  json_t *err = json_pack("{s:s, s:s, s:I}", "code", answer->status ? "status" : answer->error.code,
                          "message", answer->error.message, "status", (json_int_t)answer->status);
  if (answer->retry_after >= 0)
    json_object_set_new(err, "retry_after", json_integer(answer->retry_after));
  struct tg_value args[] = {tg_value_int(of->event->attempts), tg_value_json(err)}, result;
  bool ok = tg_hook_call(hooks, TG_METHOD_delivery_retry_delay, args, 2, &result);
  json_decref(err);
  return ok && result.integer >= 0 ? result.integer : -1;
}

static tg_ms usual_delay(const struct tg_queued *event)
{
  return tg_patience(tg_retry_delay(event->troubles, tg_random_unit()));
}

static void send_again(const struct tg_lane_answer *of, tg_ms delay)
{
  if (tg_log_on(TG_DEBUG))
    tg_log_with(TG_DEBUG, of->lane->feed->shard_id,
                TG_WITH(TG_NUMBER(EPOCH, of->event->epoch), TG_NUMBER(SEQUENCE, of->event->sequence),
                        TG_NUMBER(EVENTS, of->count), TG_NUMBER(ATTEMPT, of->event->attempts),
                        TG_NUMBER(DELAY, delay), TG_TEXT(REASON, of->judgement->answer->error.message)),
                "not delivered: sent again");
  if (of->parcel->line)
    tg_line_wait_for(of->parcel->line, of->lane, delay);
  else
    tg_lane_wait(of->lane, delay);
}

/* False: a script that has heard of it, that the handler is down for one, has taken events out. */
static bool teach(const struct tg_lane_answer *of, tg_ms wait)
{
  uint64_t taken = of->lane->taken;
  tg_judgement_teach(of->judgement, wait);
  return of->lane->taken == taken;
}

static void on_delivered(const struct tg_lane_answer *of)
{
  const struct tg_queued *event = of->event;
  for (int i = 0; i < of->count; i++, event = tg_parcel_next(of->parcel, event))
    tg_lane_count_delivered(of->lane, event);
  tg_lane_remove_first(of->parcel, of->count);
  teach(of, -1);
}

static void count_again(const struct tg_lane_answer *of)
{
  tg_lane_count(of->lane, retried, (uint64_t)of->count);
}

/* The handler is in trouble, and all lanes of it share the trouble: while its
 * circuit is open the circuit paces them, else each lane its own event. */
static void on_trouble(const struct tg_lane_answer *of)
{
  of->event->attempts++;
  tg_ms scripted = scripted_delay(of), usual = usual_delay(of->event);
  bool is_there = teach(of, scripted);
  bool is_up = of->judgement->sender->circuit.state == TG_CIRCUIT_CLOSED;
  count_again(of);
  if (!is_there || (!is_up && scripted < 0))
    return;
  of->event->troubles += is_up;
  send_again(of, scripted >= 0 ? scripted : usual);
}

static void on_slow_down(const struct tg_lane_answer *of)
{
  of->event->attempts++;
  tg_ms scripted = scripted_delay(of), otherwise = usual_delay(of->event);
  of->event->troubles++;
  if (scripted < 0)
    scripted = tg_retry_after(of->judgement->answer->retry_after, otherwise);
  if (!teach(of, -1))
    return;
  count_again(of);
  send_again(of, scripted);
}

static void on_refused(const struct tg_lane_answer *of)
{
  tg_ms delay;
  if (!teach(of, -1) || tg_lane_refused(of, &delay))
    return;
  count_again(of);
  send_again(of, delay);
}

static void act(const struct tg_lane_answer *of)
{
  switch (of->judgement->outcome) {
  case TG_OUTCOME_DELIVERED:
    on_delivered(of);
    break;
  case TG_OUTCOME_RETRY:
  case TG_OUTCOME_BUSY:
  case TG_OUTCOME_MISCONFIGURED:
    on_trouble(of);
    break;
  case TG_OUTCOME_SLOW_DOWN:
    on_slow_down(of);
    break;
  case TG_OUTCOME_REFUSED:
    on_refused(of);
    break;
  case TG_OUTCOME_CANCELLED: /* as if it had not been sent */
    break;
  }
}

static void on_over(struct tg_parcel *parcel, struct tg_judgement *judgement)
{
  struct tg_lane *lane = parcel->lane;
  struct tg_lane_answer of = {.lane = lane,
                              .parcel = parcel,
                              .event = tg_parcel_first(parcel),
                              .count = parcel->count,
                              .bytes = parcel->bytes,
                              .judgement = judgement};
  tg_batch_take_back(parcel);
  if (!parcel->line)
    lane->state = TG_LANE_IDLE;
  act(&of);
  if (parcel->line)
    tg_line_is_over(parcel->line, lane);
  else if (judgement->answer->lost)
    tg_lane_rewind(lane, judgement->answer->epoch, judgement->answer->sequence);
  tg_lane_go_on(lane);
}

static const struct tg_parcel_owner owner = {.prepare = prepare,
                                             .write = tg_batch_write,
                                             .over = on_over,
                                             .returned = on_returned,
                                             .since = since,
                                             .show = show};

/* --- what lanes see --------------------------------------------------------------------- */

static void on_joins(struct tg_lane *lane)
{
  lane->parcel = (struct tg_parcel){.owner = &owner, .lane = lane, .way = TG_WAY_LANE};
  lane->sender = tg_senders_of(lane->lanes->sink_ctx, lane->feed->shard_id);
}

/* A script that has a handle_queue gets the queue instead. */
static void on_wants_turn(struct tg_lane *lane)
{
  if (tg_lines_take_turn(lane) || tg_script_drain(lane) ||
      tg_lane_lingers(lane, tg_batch_linger(lane, tg_sender_batch_bytes(lane->sender))))
    return;
  lane->state = TG_LANE_READY;
  tg_sender_queue(lane->sender, &lane->parcel);
}

static void on_go(struct tg_lane *lane)
{
  tg_sender_pump(lane->sender);
}

static bool is_busy(const struct tg_lane *lane)
{
  return lane->state == TG_LANE_SENDING || lane->state == TG_LANE_SCRIPT || tg_lines_are_busy(lane) ||
         tg_posts_busy(lane);
}

static void on_cleared(struct tg_lane *lane)
{
  if (lane->parcel.sender)
    tg_sender_withdraw(&lane->parcel);
  tg_lines_stop(lane);
  tg_script_cleared(lane);
  uv_timer_stop(&lane->retry);
  lane->state = TG_LANE_IDLE;
}

static void on_stopped(struct tg_lane *lane)
{
  if (lane->state == TG_LANE_SENDING)
    tg_batch_take_back(&lane->parcel);
  on_cleared(lane);
  tg_posts_stop(lane);
}

const struct tg_lane_sink tg_senders_sink = {
    .joins = on_joins,
    .wants_turn = on_wants_turn,
    .go = on_go,
    .emptied = tg_script_drained,
    .busy = is_busy,
    .stopped = on_stopped,
    .cleared = on_cleared,
    .looked_at = tg_script_looked_at,
};
