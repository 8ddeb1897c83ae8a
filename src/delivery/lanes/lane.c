#include "delivery/lanes/lanes.h"

#include "base/buf.h"
#include "base/log.h"
#include "delivery/lanes/batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_retry(uv_timer_t *timer)
{
  struct tg_lane *lane = timer->data;
  lane->state = TG_LANE_IDLE;
  if (!lane->queue.head && lane->script.by_default)
    lane->lanes->sink->emptied(lane);
  tg_lane_go_on(lane);
}

void tg_lane_wants_turn(struct tg_lane *lane)
{
  if (lane->state == TG_LANE_IDLE && lane->queue.head && lane->sender && !lane->lanes->env->stopping &&
      !tg_gate_holds(lane))
    lane->lanes->sink->wants_turn(lane);
}

void tg_lane_go_on(struct tg_lane *lane)
{
  tg_lane_wants_turn(lane);
  if (lane->state == TG_LANE_READY || tg_lane_has_turns(lane))
    lane->lanes->sink->go(lane);
}

void tg_lane_wait(struct tg_lane *lane, tg_ms delay)
{
  lane->state = TG_LANE_WAITING;
  uv_timer_start(&lane->retry, on_retry, (uint64_t)delay, 0);
}

bool tg_lane_lingers(struct tg_lane *lane, tg_ms left)
{
  bool runs = uv_is_active((const uv_handle_t *)&lane->retry);
  if (left == 0 && runs)
    uv_timer_stop(&lane->retry);
  else if (left > 0 && (!runs || uv_timer_get_due_in(&lane->retry) > (uint64_t)left))
    uv_timer_start(&lane->retry, on_retry, (uint64_t)left, 0);
  return left > 0;
}

struct tg_lane *tg_lane_new(struct tg_lanes *lanes, struct tg_feed *feed)
{
  int index = tg_ref_index(feed->ref);
  if (index >= lanes->count) {
    int count = (index | 15) + 1;
    lanes->at = tg_realloc(lanes->at, (size_t)count * sizeof lanes->at[0]);
    memset(lanes->at + lanes->count, 0, (size_t)(count - lanes->count) * sizeof lanes->at[0]);
    lanes->count = count;
  }
  struct tg_lane *lane = lanes->at[index] = tg_calloc(1, sizeof *lane);
  lane->lanes = lanes;
  lane->feed = feed;
  lanes->sink->joins(lane);
  tg_handles_timer(&lanes->env->handles, &lane->retry, lane);
  return lane;
}

struct tg_lane *tg_lane_of(struct tg_lanes *lanes, tg_shard_ref ref)
{
  return tg_feed_of(lanes->feeds, ref)->lanes[lanes->index];
}

void tg_lane_free_event(struct tg_lane *lane, struct tg_queued *event)
{
  if (event->interaction)
    lane->lanes->watch->gone(event);
  free(event);
}

void tg_lane_begin_session(struct tg_lane *lane)
{
  const struct tg_feed_session *session = &lane->feed->session;
  lane->safe = lane->durable = session->received;
  lane->delivered = lane->ahead = 0;
  lane->log.first_unlogged = NULL;
  tg_lane_queue_new_session(&lane->queue, session->epoch);
}

void tg_lane_is_ahead(struct tg_lane *lane, uint64_t sequence)
{
  lane->ahead = lane->safe = lane->durable = sequence;
}

void tg_lane_unhold(struct tg_lane *lane)
{
  uint64_t durable = tg_feed_unheld(lane->feed, lane->safe);
  if (durable > lane->durable)
    lane->durable = durable;
}

uint64_t tg_lane_delivered(const struct tg_lane *lane)
{
  const struct tg_queued *first = lane->queue.session;
  if (!first)
    return lane->log.spilled ? lane->delivered : lane->feed->session.received;
  return first->sequence > 0 ? first->sequence - 1 : 0;
}

bool tg_lane_waits(const struct tg_lane *lane)
{
  return lane->queue.head || lane->log.spilled;
}

void tg_lane_count_delivered(struct tg_lane *lane, const struct tg_queued *event)
{
  if (event->marker)
    return;
  tg_lane_count(lane, delivered, 1);
  tg_count(&tg_stats_type(event->type)->delivered);
  tg_stats_latency(lane->lanes->stats, tg_env_now(lane->lanes->env) - event->queued_at);
}

static void take_out(struct tg_lane *lane, struct tg_queued *event, bool accepted)
{
  tg_lane_settle(lane, event, accepted);
  tg_lane_queue_remove(&lane->queue, &lane->lanes->queued, event);
  tg_lane_free_event(lane, event);
  lane->taken++;
}

static void has_shrunk(struct tg_lane *lane)
{
  struct tg_lanes *lanes = lane->lanes;
  if (lane->log.spilled)
    tg_lane_refill(lane);
  tg_feed_publish(lane->feed);
  tg_gate_moved(lane);
  if (__builtin_expect(lane->script.by_default, 0) && !lane->queue.head && lane->state == TG_LANE_IDLE)
    tg_lane_wait(lane, 0); /* who is told that it is empty may do anything: not from in here */
  if (lanes->emptied && tg_lanes_waiting(lanes) == 0)
    lanes->emptied(lanes->emptied_ctx);
}

void tg_lane_remove(struct tg_lane *lane, struct tg_queued *event)
{
  take_out(lane, event, false);
  has_shrunk(lane);
}

void tg_lane_remove_first(struct tg_parcel *parcel, int count)
{
  while (count-- > 0)
    take_out(parcel->lane, tg_parcel_first(parcel), true);
  has_shrunk(parcel->lane);
}

static void queue_item(struct tg_lane *lane, const struct tg_item *item, tg_log_position position)
{
  struct tg_lanes *lanes = lane->lanes;
  struct tg_queued *queued = tg_queued_new(&item->event);
  queued->queued_at = tg_env_now(lanes->env);
  queued->keep = item->keep;
  queued->logged = position != 0;
  queued->source = position != 0 ? lanes->logs.own : NULL;
  queued->position = lane->log.last_position;
  tg_lane_queue_push(lane->log.spilled ? &lane->log.late : &lane->queue, &lanes->queued, queued);
  if (position == 0 && !lane->log.first_unlogged && queued->epoch == lane->feed->session.epoch)
    lane->log.first_unlogged = queued;
  if (lane->state == TG_LANE_IDLE)
    tg_lane_go_on(lane);
}

tg_log_position tg_lane_put(struct tg_lane *lane, const struct tg_item *item)
{
  struct tg_lanes *lanes = lane->lanes;
  const struct tg_stored *event = &item->event;
  uint64_t size = tg_queued_size(tg_body_length(event));
  tg_log_position position = 0;
  if (__builtin_expect(lane->log.refused.count > 0, 0) && !event->marker)
    tg_overflow_tell(lane, false);
  if (lanes->logs.own) {
    if (__builtin_expect(lanes->logs.tight, 0) && lanes->overflow.drop_first[event->type]) {
      tg_overflow_refuse(lane, item, TG_DROP_FIRST);
      return 0;
    }
    if (tg_lanes_hooked(lanes, TG_METHOD_delivery_queue_overflow))
      tg_overflow_ask_for_log(lanes, size);
    position = tg_backlog_append(lanes, lane->feed->ref, item);
    if (position != 0)
      lane->log.last_position = position;
  }
  if (position != 0 && !tg_lane_has_window(lane, size))
    tg_lane_spill(lane, position,
                  tg_stored_length(event->type, event->message.length) +
                      (event->place.epoch ? TG_STORED_NAME : 0));
  else if (position != 0 || tg_overflow_admit(lane, item, size))
    queue_item(lane, item, position);
  if (__builtin_expect(lanes->logs.noted_gaps.length > 0, 0))
    tg_gaps_take(lanes);
  return position;
}

/* It goes behind all that has come so far, or that the log had before, and so has the place of the last of
 * that. */
static void push_late(struct tg_lane *lane, const struct tg_event *event)
{
  struct tg_item item = {.event = tg_event_stored(event)};
  uint64_t received = lane->feed->session.received;
  item.event.place =
      (struct tg_place){lane->feed->session.epoch, received > lane->ahead ? received : lane->ahead};
  tg_lane_put(lane, &item);
}

void tg_lane_push(struct tg_lane *lane, const struct tg_event *event)
{
  if (__builtin_expect(event->late, 0)) {
    push_late(lane, event);
    return;
  }
  if (__builtin_expect(event->sequence <= lane->ahead, 0) && event->sequence > 0)
    return; /* its log had it when the process began */
  struct tg_item item = {
      .event = tg_event_stored(event),
      .keep = event->type == TG_EVENT_INTERACTION_CREATE,
  };
  tg_log_position position = tg_lane_put(lane, &item);
  if (item.keep)
    lane->lanes->watch->arrived(lane, event, position);
}
