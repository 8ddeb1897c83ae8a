#include "delivery/delivery_internal.h"

#include "base/buf.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DROPS_A_LOOK = 32 };

static void on_retry(uv_timer_t *timer)
{
  struct tg_lane *lane = timer->data;
  lane->state = TG_LANE_IDLE;
  if (!lane->handler || !lane->queue.head)
    return;
  tg_handler_ready(lane->handler, lane);
  tg_handler_pump(lane->handler);
}

void tg_lane_wait(struct tg_lane *lane, tg_ms delay)
{
  lane->state = TG_LANE_WAITING;
  uv_timer_start(&lane->retry, on_retry, (uint64_t)delay, 0);
}

static struct tg_lane *new_lane(struct tg_delivery *delivery, int shard_id)
{
  struct tg_lane *lane = tg_calloc(1, sizeof *lane);
  lane->delivery = delivery;
  lane->shard_id = shard_id;
  lane->row = delivery->table ? tg_shard_table_row(delivery->table, shard_id) : NULL;
  if (!lane->row) {
    if (!delivery->spare_row)
      delivery->spare_row = tg_calloc(1, sizeof *delivery->spare_row);
    lane->row = delivery->spare_row;
  }
  if (delivery->handler_count > 0)
    lane->handler = delivery->handlers[shard_id % delivery->handler_count];
  tg_delivery_open_timer(delivery, &lane->retry, lane);
  tg_delivery_open_timer(delivery, &lane->quiet, lane);
  tg_lane_set_session(lane, 0, 0);
  return lane;
}

struct tg_lane *tg_lane_of(struct tg_delivery *delivery, int shard_id)
{
  if (shard_id >= delivery->lane_count) {
    int count = (shard_id | 15) + 1;
    delivery->lanes = tg_realloc(delivery->lanes, (size_t)count * sizeof delivery->lanes[0]);
    memset(delivery->lanes + delivery->lane_count, 0,
           (size_t)(count - delivery->lane_count) * sizeof delivery->lanes[0]);
    delivery->lane_count = count;
  }
  struct tg_lane *lane = delivery->lanes[shard_id];
  if (__builtin_expect(!lane, 0))
    lane = delivery->lanes[shard_id] = new_lane(delivery, shard_id);
  return lane;
}

void tg_lane_free(struct tg_lane *lane)
{
  while (lane->queue.head) {
    struct tg_queued *event = lane->queue.head;
    tg_lane_queue_remove(&lane->queue, &lane->delivery->queued, event);
    tg_queued_free(event);
  }
  tg_guild_cache_free(&lane->guilds);
  free(lane);
}

void tg_lane_set_session(struct tg_lane *lane, uint64_t epoch, uint64_t received)
{
  lane->epoch = epoch;
  lane->received = received;
  tg_lane_queue_new_session(&lane->queue);
  int length =
      snprintf(lane->prefix, sizeof lane->prefix,
               "{\"shardId\":%d,\"epoch\":%llu,\"message\":", lane->shard_id, (unsigned long long)epoch);
  lane->prefix_length = (size_t)length;
}

uint64_t tg_lane_settled(const struct tg_lane *lane)
{
  const struct tg_queued *first = lane->queue.session;
  if (!first)
    return lane->received;
  return first->sequence > 0 ? first->sequence - 1 : 0;
}

void tg_lane_publish(struct tg_lane *lane)
{
  struct tg_shard_row *row = lane->row;
  uint64_t settled = tg_lane_settled(lane);
  const struct tg_queued *head = lane->queue.head;
  atomic_store_explicit(&row->durable_sequence, settled, memory_order_relaxed);
  atomic_store_explicit(&row->delivered_sequence, settled, memory_order_relaxed);
  atomic_store_explicit(&row->queued_events, lane->queue.events, memory_order_relaxed);
  atomic_store_explicit(&row->queued_bytes, lane->queue.bytes, memory_order_relaxed);
  atomic_store_explicit(&row->oldest_queued_at, head ? head->queued_at + lane->delivery->wall_offset : 0,
                        memory_order_relaxed);
}

void tg_lane_remove(struct tg_lane *lane, struct tg_queued *event)
{
  struct tg_delivery *delivery = lane->delivery;
  tg_lane_queue_remove(&lane->queue, &delivery->queued, event);
  tg_queued_free(event);
  tg_lane_publish(lane);
  if (delivery->drained && delivery->queued.events == 0)
    uv_timer_start(&delivery->drain, delivery->drain.timer_cb, 0, 0);
}

static struct tg_lane *find_fullest(struct tg_delivery *delivery, bool any)
{
  struct tg_lane *fullest = NULL;
  for (int i = 0; i < delivery->lane_count; i++) {
    struct tg_lane *lane = delivery->lanes[i];
    if (lane && (!fullest || lane->queue.bytes > fullest->queue.bytes) &&
        tg_lane_queue_oldest(&lane->queue, any))
      fullest = lane;
  }
  return fullest;
}

/* The lane to take from is looked for once in a while only: under overflow
 * every event drops another. */
static struct tg_queued *choose_victim(struct tg_delivery *delivery, struct tg_lane **from)
{
  struct tg_queued *event = NULL;
  if (delivery->fullest && delivery->drops_until_look-- > 0)
    event = tg_lane_queue_oldest(&delivery->fullest->queue, false);
  for (int any = 0; any < 2 && !event; any++) {
    delivery->fullest = find_fullest(delivery, any);
    delivery->drops_until_look = DROPS_A_LOOK;
    if (delivery->fullest)
      event = tg_lane_queue_oldest(&delivery->fullest->queue, any);
  }
  *from = delivery->fullest;
  return event;
}

static void first_drop(struct tg_delivery *delivery)
{
  if (delivery->dropping)
    return;
  delivery->dropping = true;
  tg_log(TG_WARN, TG_NO_SHARD,
         "the queue for the event handler is filling up: %llu events, %llu of %llu bytes; events are dropped "
         "from now on (queue.drop_first above 80 %%, the oldest ones when it is full)",
         (unsigned long long)delivery->queued.events, (unsigned long long)delivery->queued.bytes,
         (unsigned long long)delivery->config->queue.memory_bytes);
}

/* False: there is no room, and none can be made. */
static bool make_room(struct tg_delivery *delivery, uint64_t size)
{
  uint64_t limit = delivery->config->queue.memory_bytes;
  while (delivery->queued.bytes + size > limit) {
    struct tg_lane *lane;
    struct tg_queued *event = size <= limit ? choose_victim(delivery, &lane) : NULL;
    if (!event)
      return false;
    first_drop(delivery);
    delivery->dropped_oldest++;
    tg_count(&lane->row->dropped);
    tg_lane_remove(lane, event);
  }
  return true;
}

void tg_lane_push(struct tg_lane *lane, const struct tg_event *event)
{
  struct tg_delivery *delivery = lane->delivery;
  struct tg_span message = tg_event_message(event);
  struct tg_span prefix = {lane->prefix, lane->prefix_length}, suffix = {"}", 1};
  char kind[40];
  const char *name = tg_guild_create_name(event->guild_create);
  if (__builtin_expect(name != NULL, 0)) {
    suffix.length = (size_t)snprintf(kind, sizeof kind, ",\"guildCreate\":\"%s\"}", name);
    suffix.at = kind;
  }

  uint64_t size = tg_queued_size(prefix.length + message.length + suffix.length);
  uint64_t limit = delivery->config->queue.memory_bytes;
  if (__builtin_expect(delivery->queued.bytes + size > limit - limit / 5, 0)) {
    bool early = delivery->drop_first[event->type];
    if (early || !make_room(delivery, size)) {
      first_drop(delivery);
      delivery->dropped_first += early;
      delivery->dropped_oldest += !early;
      tg_count(&lane->row->dropped);
      return;
    }
  }
  struct tg_queued *queued = tg_queued_new(prefix, message, suffix);
  queued->epoch = event->epoch;
  queued->sequence = event->sequence;
  queued->type = event->type;
  queued->queued_at = tg_delivery_now(delivery);
  queued->keep = event->type == TG_EVENT_INTERACTION_CREATE;
  tg_lane_queue_push(&lane->queue, &delivery->queued, queued);
  if (lane->state == TG_LANE_IDLE) {
    tg_handler_ready(lane->handler, lane);
    tg_handler_pump(lane->handler);
  }
}

void tg_delivery_report_drops(struct tg_delivery *delivery)
{
  uint64_t first = delivery->dropped_first, oldest = delivery->dropped_oldest;
  delivery->dropping = first + oldest > 0;
  if (!delivery->dropping)
    return;
  delivery->dropped_first = delivery->dropped_oldest = 0;
  tg_log(TG_WARN, TG_NO_SHARD,
         "dropped %llu events in the last minute, since the event handler takes fewer than come: %llu of "
         "types in "
         "queue.drop_first, %llu oldest ones; %llu events (%llu bytes) wait. A faster handler, more "
         "event_handler.urls, "
         "a filter, or a larger queue.memory_bytes helps",
         (unsigned long long)(first + oldest), (unsigned long long)first, (unsigned long long)oldest,
         (unsigned long long)delivery->queued.events, (unsigned long long)delivery->queued.bytes);
}
