#include "delivery/lanes/lanes.h"

#include "base/buf.h"
#include "base/log.h"

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
  if (lane->state == TG_LANE_READY)
    lane->lanes->sink->go(lane);
}

void tg_lane_wait(struct tg_lane *lane, tg_ms delay)
{
  lane->state = TG_LANE_WAITING;
  uv_timer_start(&lane->retry, on_retry, (uint64_t)delay, 0);
}

void tg_lane_find_row(struct tg_lane *lane)
{
  struct tg_lanes *lanes = lane->lanes;
  int side = tg_ref_side(lane->ref);
  struct tg_shard_table *table = lanes->tables[side];
  bool was_stray = lane->stray;
  lane->stray = !table && lanes->tables[!side];
  lanes->live += was_stray - lane->stray; /* strays have no window */
  lane->total_shards = lane->shard_id < lanes->totals[side] ? lanes->totals[side] : 0;
  if (table && lane->shard_id < tg_shard_table_total(table)) {
    lane->row = tg_shard_table_row(table, lane->shard_id);
    return;
  }
  if (!lanes->spare_row)
    lanes->spare_row = tg_calloc(1, sizeof *lanes->spare_row);
  lane->row = lanes->spare_row;
}

static struct tg_lane *new_lane(struct tg_lanes *lanes, tg_shard_ref ref)
{
  struct tg_lane *lane = tg_calloc(1, sizeof *lane);
  lane->lanes = lanes;
  lane->ref = ref;
  lane->shard_id = tg_ref_id(ref);
  lanes->live++;
  tg_lane_find_row(lane);
  lanes->sink->joins(lane);
  tg_handles_timer(&lanes->env->handles, &lane->retry, lane);
  tg_lane_set_session(lane, 0, 0);
  return lane;
}

struct tg_lane *tg_lane_of(struct tg_lanes *lanes, tg_shard_ref ref)
{
  int index = tg_ref_index(ref);
  if (index >= lanes->count) {
    int count = (index | 15) + 1;
    lanes->at = tg_realloc(lanes->at, (size_t)count * sizeof lanes->at[0]);
    memset(lanes->at + lanes->count, 0, (size_t)(count - lanes->count) * sizeof lanes->at[0]);
    lanes->count = count;
  }
  struct tg_lane *lane = lanes->at[index];
  if (__builtin_expect(!lane, 0))
    lane = lanes->at[index] = new_lane(lanes, ref);
  return lane;
}

void tg_lane_free_event(struct tg_lane *lane, struct tg_queued *event)
{
  if (event->interaction)
    lane->lanes->watch->gone(event);
  free(event);
}

static void write_prefix(struct tg_lane *lane)
{
  struct tg_body_head head = {lane->shard_id, lane->total_shards, lane->session.epoch};
  lane->prefix_length = tg_body_prefix(lane->prefix, &head, "message");
}

void tg_lane_set_session(struct tg_lane *lane, uint64_t epoch, uint64_t received)
{
  lane->session.epoch = lane->session.began = epoch;
  lane->session.received = lane->session.safe = lane->session.durable = received;
  lane->session.handled = lane->session.held_from = 0;
  lane->session.delivered = lane->session.announced = lane->session.resumed = lane->session.holes = 0;
  lane->log.first_unlogged = NULL;
  tg_lane_queue_new_session(&lane->queue, epoch);
  write_prefix(lane);
}

/* What waits of it was put in under the epoch that it had. */
void tg_lane_raise_epoch(struct tg_lane *lane, uint64_t epoch)
{
  if (atomic_load(&lane->row->handled_epoch) == lane->session.epoch)
    atomic_store(&lane->row->handled_epoch, epoch);
  lane->session.epoch = lane->queue.epoch = epoch;
  write_prefix(lane);
}

static uint64_t delivered_alone(const struct tg_lane *lane)
{
  const struct tg_queued *first = lane->queue.session;
  if (!first)
    return lane->log.spilled ? lane->session.delivered : lane->session.received;
  return first->sequence > 0 ? first->sequence - 1 : 0;
}

static uint64_t delivered(const struct tg_lane *lane)
{
  return tg_lane_unheld(lane, delivered_alone(lane));
}

uint64_t tg_lane_settled_alone(const struct tg_lane *lane)
{
  return lane->lanes->logs.own ? lane->session.safe : delivered_alone(lane);
}

void tg_lane_hold_from(struct tg_lane *lane, uint64_t sequence)
{
  if (sequence == lane->session.held_from)
    return;
  lane->session.held_from = sequence;
  uint64_t durable = tg_lane_unheld(lane, lane->session.safe);
  if (durable > lane->session.durable)
    lane->session.durable = durable;
  tg_lane_publish(lane);
}

uint64_t tg_lane_settled(const struct tg_lane *lane)
{
  return lane->lanes->logs.own ? lane->session.durable : delivered(lane);
}

/* From here on another process would not be sent that RESUMED's number either. */
static void settle_resumed(struct tg_lane *lane)
{
  uint32_t unheard = atomic_load_explicit(&lane->row->unheard, memory_order_relaxed);
  unheard = unheard > lane->session.heard ? unheard - lane->session.heard : 0;
  atomic_store_explicit(&lane->row->unheard, unheard, memory_order_relaxed);
  lane->session.resumed = lane->session.holes = 0;
}

void tg_lane_publish(struct tg_lane *lane)
{
  struct tg_shard_row *row = lane->row;
  const struct tg_queued *head = lane->queue.head;
  if (lane->session.epoch > 0) { /* else the row still tells what is to be adopted */
    atomic_store_explicit(&row->durable_sequence, tg_lane_settled(lane), memory_order_relaxed);
    atomic_store_explicit(&row->delivered_sequence, delivered(lane), memory_order_relaxed);
    if (__builtin_expect(lane->session.resumed != 0, 0) && tg_lane_settled(lane) >= lane->session.resumed)
      settle_resumed(lane);
  }
  atomic_store_explicit(&row->queued_events,
                        lane->queue.events + lane->log.late.events + lane->log.spilled_events,
                        memory_order_relaxed);
  atomic_store_explicit(&row->queued_bytes,
                        lane->queue.bytes + lane->log.late.bytes + lane->log.spilled_bytes,
                        memory_order_relaxed);
  atomic_store_explicit(&row->oldest_queued_at, head ? head->queued_at + tg_steady_ahead() : 0,
                        memory_order_relaxed);
  if (__builtin_expect(lane->seat != NULL, 0))
    lane->lanes->settled(lane);
}

void tg_lane_count_delivered(struct tg_lane *lane, const struct tg_queued *event)
{
  if (event->marker)
    return;
  tg_count(&lane->row->delivered);
  tg_count(&tg_stats_type(event->type)->delivered);
  tg_stats_latency(lane->lanes->stats, tg_env_now(lane->lanes->env) - event->queued_at);
}

static void take_out(struct tg_lane *lane, struct tg_queued *event)
{
  tg_lane_settle(lane, event);
  tg_lane_queue_remove(&lane->queue, &lane->lanes->queued, event);
  tg_lane_free_event(lane, event);
  lane->taken++;
}

static void has_shrunk(struct tg_lane *lane)
{
  struct tg_lanes *lanes = lane->lanes;
  if (lane->log.spilled)
    tg_lane_refill(lane);
  tg_lane_publish(lane);
  tg_gate_moved(lane);
  if (__builtin_expect(lane->script.by_default, 0) && !lane->queue.head && lane->state == TG_LANE_IDLE)
    tg_lane_wait(lane, 0); /* who is told that it is empty may do anything: not from in here */
  if (lanes->emptied && tg_lanes_waiting(lanes) == 0)
    lanes->emptied(lanes->emptied_ctx);
}

void tg_lane_remove(struct tg_lane *lane, struct tg_queued *event)
{
  take_out(lane, event);
  has_shrunk(lane);
}

void tg_lane_remove_first(struct tg_lane *lane, int count)
{
  while (count-- > 0)
    take_out(lane, lane->queue.head);
  has_shrunk(lane);
}

static void queue_item(struct tg_lane *lane, const struct tg_item *item, tg_log_position position)
{
  struct tg_lanes *lanes = lane->lanes;
  struct tg_queued *queued = tg_queued_new(item->parts[0], item->parts[1], item->parts[2]);
  queued->epoch = item->epoch;
  queued->sequence = item->sequence;
  queued->type = item->type;
  queued->queued_at = tg_env_now(lanes->env);
  queued->keep = item->keep;
  queued->marker = item->marker;
  queued->logged = position != 0;
  queued->source = position != 0 ? lanes->logs.own : NULL;
  queued->position = lane->log.last_position;
  tg_lane_queue_push(lane->log.spilled ? &lane->log.late : &lane->queue, &lanes->queued, queued);
  if (position == 0 && !lane->log.first_unlogged && item->epoch == lane->session.epoch)
    lane->log.first_unlogged = queued;
  if (lane->state == TG_LANE_IDLE)
    tg_lane_go_on(lane);
}

tg_log_position tg_lane_put(struct tg_lane *lane, const struct tg_item *item)
{
  struct tg_lanes *lanes = lane->lanes;
  uint64_t length = item->parts[0].length + item->parts[1].length + item->parts[2].length;
  uint64_t size = tg_queued_size(length);
  tg_log_position position = 0;
  if (__builtin_expect(lane->log.refused.count > 0, 0) && !item->marker)
    tg_overflow_tell(lane, false);
  if (lanes->logs.own) {
    if (__builtin_expect(lanes->logs.tight, 0) && lanes->overflow.drop_first[item->type]) {
      tg_overflow_refuse(lane, item, TG_DROP_FIRST);
      return 0;
    }
    if (tg_hooked(lanes->env->hooks, TG_METHOD_delivery_queue_overflow))
      tg_overflow_ask_for_log(lanes, size);
    position = tg_backlog_append(lanes, lane->ref, item);
    if (position != 0)
      lane->log.last_position = position;
  }
  if (position != 0 && !tg_lane_has_window(lane, size))
    tg_lane_spill(lane, position, length);
  else if (position != 0 || tg_overflow_admit(lane, item, size))
    queue_item(lane, item, position);
  if (__builtin_expect(lanes->logs.noted_gaps.length > 0, 0))
    tg_gaps_take(lanes);
  return position;
}

void tg_lane_push(struct tg_lane *lane, const struct tg_event *event)
{
  struct tg_item item = {
      .epoch = event->epoch,
      .sequence = event->sequence,
      .type = event->type,
      .keep = event->type == TG_EVENT_INTERACTION_CREATE,
      .parts = {{lane->prefix, lane->prefix_length}, tg_event_message(event), {"}", 1}},
  };
  char suffix[TG_BODY_SUFFIX_MAX];
  if (__builtin_expect(event->guild_create != TG_GUILD_NONE, 0))
    item.parts[2] = (struct tg_span){suffix, tg_body_suffix(suffix, event->guild_create, false)};
  tg_log_position position = tg_lane_put(lane, &item);
  if (item.keep)
    lane->lanes->watch->arrived(lane, event, position);
}
