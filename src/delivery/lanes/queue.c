#include "delivery/lanes/queue.h"
#include "delivery/lanes/lanes.h"

#include "base/buf.h"
#include "base/log.h"
#include "proto/envelope.h"

#include <stdlib.h>
#include <string.h>

/* --- events ---------------------------------------------------------------------- */

/* All of a marker's body: a gap's is written out, the other's message stands in it already. */
static struct tg_span marker_body(const struct tg_lane *lane, struct tg_queued *queued,
                                  char text[TG_MARKER_MAX], struct tg_span *tells)
{
  if (!queued->gap) {
    *tells = tg_queued_message(queued);
    return tg_queued_body(queued, lane->feed->shard_id);
  }
  char gap[TG_GAP_MAX];
  struct tg_stored stored = tg_lane_stored(lane, queued, gap);
  size_t length = tg_body_prefix(text, &stored, tg_marker_key(stored.marker));
  *tells = (struct tg_span){memcpy(text + length, gap, stored.message.length), stored.message.length};
  length += stored.message.length;
  return (struct tg_span){text, length + tg_body_suffix(text + length, &stored)};
}

void tg_queued_event(const struct tg_lane *lane, struct tg_queued *queued, char text[TG_MARKER_MAX],
                     struct tg_event *event)
{
  struct tg_envelope envelope;
  const struct tg_lanes *lanes = lane->lanes;
  struct tg_place name = tg_queued_name(queued);
  *event = (struct tg_event){
      .type = queued->type,
      .shard_id = lane->feed->shard_id,
      .side = (uint8_t)tg_ref_side(lane->feed->ref),
      .total_shards = queued->gap ? lane->feed->total_shards : queued->total_shards,
      .epoch = name.epoch,
      .sequence = name.sequence,
      .guild_create = (enum tg_guild_create)queued->guild_create,
      .marker = (enum tg_marker)queued->marker,
      .deferred = queued->deferred,
      .late = queued->late,
      .left = lane->feed->left,
      .body_format = lanes->index == TG_SINK_BOT ? 0 : (uint8_t)(1 + lanes->handler->format),
      .guild_loaded = lanes->handler->guild_loaded,
      .came_at = queued->queued_at,
      .raw = tg_queued_message(queued),
  };
  if (queued->marker) {
    event->name = tg_marker_name(event->marker);
    event->raw = marker_body(lane, queued, text, &event->data);
  } else if (tg_envelope_scan(event->raw.at, event->raw.length, &envelope)) {
    event->name = tg_envelope_name(&envelope, text, TG_MARKER_MAX);
    event->data = envelope.data;
  }
}

/* --- looking ----------------------------------------------------------------------- */

static struct tg_lane *lane_at(const struct tg_lanes *lanes, tg_shard_ref ref)
{
  return ref >= 0 && tg_ref_index(ref) < lanes->count ? lanes->at[tg_ref_index(ref)] : NULL;
}

static uint64_t waiting(const struct tg_lane *lane)
{
  return lane->queue.events + lane->log.late.events + lane->log.spilled_events;
}

static void add_figures(const struct tg_lane *lane, struct tg_queue_figures *figures)
{
  const struct tg_queued *head = lane->queue.head;
  figures->events += waiting(lane);
  figures->bytes += lane->queue.bytes + lane->log.late.bytes + lane->log.spilled_bytes;
  tg_ms age = head ? tg_env_now(lane->lanes->env) - head->queued_at : 0;
  if (age > figures->age)
    figures->age = age;
}

void tg_queues_figures(struct tg_lanes *lanes, tg_shard_ref ref, struct tg_queue_figures *figures)
{
  *figures = (struct tg_queue_figures){0};
  for (int i = 0; i < lanes->count; i++) {
    struct tg_lane *lane = lanes->at[i];
    if (!lane || (ref != TG_ALL_SHARDS && lane->feed->ref != ref))
      continue;
    if (ref == TG_ALL_SHARDS || lane->state != TG_LANE_SCRIPT || !tg_gate_holds(lane))
      add_figures(lane, figures);
    if (lane->feed->ref == ref)
      lanes->sink->looked_at(lane);
  }
}

tg_shard_ref tg_queues_next_shard(struct tg_lanes *lanes, tg_shard_ref after)
{
  for (int i = after < 0 ? 0 : tg_ref_index(after) + 1; i < lanes->count; i++)
    if (lanes->at[i] && !lanes->at[i]->feed->left && waiting(lanes->at[i]) > 0)
      return lanes->at[i]->feed->ref;
  return -1;
}

/* What is not the lane's turn yet is not shown to the script that drains it: up to which epoch it is. */
static uint64_t turn_of(const struct tg_lane *lane)
{
  return lane->feed->gate && lane->state == TG_LANE_SCRIPT ? tg_gate_limit(lane) : UINT64_MAX;
}

/* --- a walk -------------------------------------------------------------------------- */

/* Marks what is to go; nothing does while scripts look on. False: it has been stopped. */
static bool walk_lane(struct tg_lane *lane, tg_queue_visit *visit, void *ctx)
{
  char marker[TG_MARKER_MAX];
  struct tg_event event;
  uint64_t limit = turn_of(lane);
  for (struct tg_queued *queued = lane->queue.head; queued && queued->epoch <= limit; queued = queued->next) {
    if (queued->in_flight)
      continue;
    tg_queued_event(lane, queued, marker, &event);
    enum tg_queue_verdict verdict = visit(ctx, &event);
    if (verdict == TG_QUEUE_STOP)
      return false;
    if (verdict == TG_QUEUE_DROP && !queued->marker && !queued->chosen) {
      queued->chosen = true;
      lane->lanes->chosen++;
    }
  }
  return true;
}

static void drop_chosen(struct tg_lane *lane)
{
  struct tg_lanes *lanes = lane->lanes;
  for (struct tg_queued *queued = lane->queue.head, *next; queued && lanes->chosen > 0; queued = next) {
    next = queued->next;
    if (!queued->chosen)
      continue;
    lanes->chosen--;
    queued->chosen = false;
    if (!queued->in_flight)
      tg_overflow_drop(lane, queued, TG_DROP_SCRIPT);
  }
}

uint64_t tg_queues_walk(struct tg_lanes *lanes, tg_shard_ref ref, tg_queue_visit *visit, void *ctx)
{
  uint64_t before = lanes->chosen;
  bool goes_on = true;
  lanes->walking++;
  for (int i = 0; i < lanes->count && goes_on; i++)
    if (lanes->at[i] && (ref == TG_ALL_SHARDS || lanes->at[i]->feed->ref == ref)) {
      lanes->sink->looked_at(lanes->at[i]);
      goes_on = walk_lane(lanes->at[i], visit, ctx);
    }
  lanes->walking--;
  uint64_t chosen = lanes->chosen - before;
  for (int i = 0; i < lanes->count && lanes->walking == 0 && lanes->chosen > 0; i++)
    if (lanes->at[i])
      drop_chosen(lanes->at[i]);
  return chosen;
}

/* --- taking out ------------------------------------------------------------------------ */

/* Those in memory, first come first; `any`: interactions, too. */
static uint64_t drop_at_hand(struct tg_lane *lane, struct tg_lane_queue *queue, uint64_t count, bool any)
{
  uint64_t dropped = 0;
  for (struct tg_queued *queued = queue->head, *next; queued && dropped < count; queued = next) {
    next = queued->next;
    if (queued->in_flight || queued->marker || (queued->keep && !any))
      continue;
    if (queue == &lane->log.late)
      tg_overflow_drop_late(lane, queued, TG_DROP_SCRIPT);
    else
      tg_overflow_drop(lane, queued, TG_DROP_SCRIPT);
    dropped++;
  }
  return dropped;
}

static void tell_gap(struct tg_lane *lane, const struct tg_log_source *source, tg_log_position before,
                     struct tg_gap *gap)
{
  if (gap->count > 0)
    tg_lane_add_gap(lane, source->order, before, gap);
  gap->count = 0;
}

/* Those that are in one log alone. */
static uint64_t drop_in_log(struct tg_lane *lane, struct tg_log_source *source, tg_log_position after,
                            uint64_t count, bool any)
{
  struct tg_log_entry entry;
  struct tg_gap gap = {.reason = tg_log_loss_name(TG_LOSS_OVERFLOW)};
  uint64_t dropped = 0;
  bool markers = lane->lanes->handler->markers;
  while ((after = tg_event_log_next(source->log, lane->feed->ref, after, &entry)) != 0 && dropped < count) {
    bool goes = entry.kind == TG_LOG_EVENT && (any || !(entry.flags & TG_LOG_KEEP));
    if (!goes || gap.epoch != entry.epoch)
      tell_gap(lane, source, after, &gap);
    if (!goes)
      continue;
    if (gap.count == 0) {
      gap.epoch = entry.epoch;
      gap.from = entry.sequence;
    }
    gap.to = entry.sequence;
    gap.count++;
    dropped++;
    if (markers)
      tg_event_log_drop(source->log, lane->feed->ref, after, TG_LOSS_OVERFLOW);
    else
      tg_event_log_ack(source->log, lane->feed->ref, after);
  }
  tg_log_position end = source == lane->lanes->logs.own ? lane->log.last_position + 1 : UINT64_MAX;
  tell_gap(lane, source, after != 0 ? after : end, &gap);
  return dropped;
}

static uint64_t drop_spilled(struct tg_lane *lane, uint64_t count, bool any)
{
  uint64_t dropped = 0;
  tg_log_position after = lane->log.after;
  for (struct tg_log_source *source = lane->log.spilled ? lane->log.source : NULL; source && dropped < count;
       source = source->next) {
    dropped += drop_in_log(lane, source, after, count - dropped, any);
    after = 0;
  }
  tg_overflow_count(lane, TG_DROP_SCRIPT, dropped);
  return dropped;
}

static uint64_t drop_of_lane(struct tg_lane *lane, uint64_t count, bool any)
{
  uint64_t dropped = drop_at_hand(lane, &lane->queue, count, any);
  dropped += drop_spilled(lane, count - dropped, any);
  dropped += drop_at_hand(lane, &lane->log.late, count - dropped, any);
  tg_lane_recount(lane);
  tg_lane_refill(lane);
  tg_feed_publish(lane->feed);
  return dropped;
}

/* Of those in which something waits that may go. */
static struct tg_lane *fullest(const struct tg_lanes *lanes, const bool *spent)
{
  struct tg_lane *found = NULL;
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i] && !spent[i] && waiting(lanes->at[i]) > (found ? waiting(found) : 0))
      found = lanes->at[i];
  return found;
}

/* A few at a time, so that all become as short as each other. */
static uint64_t drop_of_fullest(struct tg_lanes *lanes, uint64_t count, bool any)
{
  enum { DROPS_A_LOOK = 64 };
  bool *spent = tg_calloc((size_t)lanes->count + 1, sizeof *spent);
  uint64_t dropped = 0;
  struct tg_lane *lane;
  while (dropped < count && (lane = fullest(lanes, spent)) != NULL) {
    uint64_t left = count - dropped, wanted = left < DROPS_A_LOOK ? left : DROPS_A_LOOK;
    uint64_t of_lane = drop_of_lane(lane, wanted, any);
    spent[tg_ref_index(lane->feed->ref)] = of_lane < wanted;
    dropped += of_lane;
  }
  free(spent);
  return dropped;
}

uint64_t tg_queues_drop(struct tg_lanes *lanes, tg_shard_ref ref, uint64_t count)
{
  uint64_t dropped = 0;
  struct tg_lane *lane = lane_at(lanes, ref);
  if (lanes->walking > 0)
    return 0;
  for (int any = 0; any < 2 && dropped < count; any++) {
    if (ref == TG_ALL_SHARDS)
      dropped += drop_of_fullest(lanes, count - dropped, any);
    else if (lane)
      dropped += drop_of_lane(lane, count - dropped, any);
  }
  if (lane)
    lanes->sink->looked_at(lane);
  return dropped;
}

static bool is_called(const struct tg_queued *queued, const struct tg_event *event)
{
  struct tg_place name = tg_queued_name(queued);
  return name.epoch == event->epoch && name.sequence == event->sequence && queued->marker == event->marker;
}

bool tg_queues_ack(struct tg_lanes *lanes, const struct tg_event *event)
{
  struct tg_lane *lane = lane_at(lanes, tg_event_ref(event));
  struct tg_queued *queued = lane && lanes->walking == 0 ? lane->queue.head : NULL;
  while (queued && !is_called(queued, event))
    queued = queued->next;
  if (!queued || queued->in_flight)
    return false;
  lanes->sink->looked_at(lane);
  tg_lane_count_delivered(lane, queued);
  tg_lane_remove(lane, queued);
  return true;
}

void tg_queues_overflow(struct tg_lanes *lanes)
{
  if (lanes->walking > 0)
    return;
  if (lanes->logs.own && !lanes->logs.refuses)
    tg_event_log_drop_oldest(lanes->logs.own->log, TG_LOSS_OVERFLOW);
  else if (!tg_backlog_make_room(lanes))
    tg_overflow_drop_oldest(lanes, TG_DROP_OLDEST);
}
