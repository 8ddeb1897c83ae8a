#include "delivery/lanes/lane_queue.h"

#include "base/buf.h"
#include "delivery/lanes/lines.h"
#include "delivery/lanes/stored.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(TG_BODY_PREFIX_MAX <= UINT8_MAX, "tg_queued.front counts it");

uint64_t tg_queued_size(size_t body_length)
{
  return offsetof(struct tg_queued, bytes) + body_length;
}

/* That it is deferred is said in room that is there anyway. */
static uint64_t size_of(const struct tg_queued *event)
{
  enum tg_guild_create kind = (enum tg_guild_create)event->guild_create;
  return tg_queued_size(event->front + event->length + tg_body_suffix_length(kind, false, event->late));
}

struct tg_queued *tg_queued_new(const struct tg_stored *stored)
{
  size_t front = tg_body_prefix_length(stored);
  size_t behind = tg_body_suffix_length(stored->guild_create, true, stored->late);
  struct tg_queued *event = tg_alloc(tg_queued_size(front + stored->message.length + behind));
  struct tg_place place = tg_stored_place(stored);
  bool named = __builtin_expect(stored->place.epoch != 0, 0);
  *event = (struct tg_queued){
      .epoch = place.epoch,
      .sequence = place.sequence,
      .named_epoch = named ? (uint32_t)stored->epoch : 0,
      .named_number = named ? (uint32_t)stored->sequence : 0,
      .total_shards = stored->total_shards,
      .type = stored->type,
      .deferred = stored->deferred,
      .late = stored->late,
      .marker = (uint8_t)stored->marker,
      .guild_create = (uint8_t)stored->guild_create,
      .front = (uint8_t)front,
      .length = (uint32_t)stored->message.length,
  };
  memcpy(event->bytes + front, stored->message.at, stored->message.length);
  return event;
}

struct tg_stored tg_queued_stored(const struct tg_queued *event, int shard_id)
{
  struct tg_place name = tg_queued_name(event), none = {0};
  return (struct tg_stored){
      .shard_id = shard_id,
      .total_shards = event->total_shards,
      .epoch = name.epoch,
      .sequence = name.sequence,
      .place = event->named_epoch ? (struct tg_place){event->epoch, event->sequence} : none,
      .type = event->type,
      .marker = (enum tg_marker)event->marker,
      .guild_create = (enum tg_guild_create)event->guild_create,
      .deferred = event->deferred,
      .late = event->late,
      .message = tg_queued_message(event),
  };
}

size_t tg_queued_body_length(const struct tg_queued *event)
{
  enum tg_guild_create kind = (enum tg_guild_create)event->guild_create;
  return event->front + event->length + tg_body_suffix_length(kind, event->deferred, event->late);
}

struct tg_span tg_queued_body(struct tg_queued *event, int shard_id)
{
  struct tg_stored stored = tg_queued_stored(event, shard_id);
  size_t length = tg_body_prefix(event->bytes, &stored, tg_marker_key(stored.marker)) + event->length;
  return (struct tg_span){event->bytes, length + tg_body_suffix(event->bytes + length, &stored)};
}

size_t tg_queued_record_length(const struct tg_queued *event)
{
  return tg_stored_length(event->type, event->length) + (event->named_epoch ? TG_STORED_NAME : 0);
}

void tg_lane_queue_push(struct tg_lane_queue *queue, struct tg_queue_total *total, struct tg_queued *event)
{
  uint64_t size = size_of(event);
  event->next = NULL;
  event->previous = queue->tail;
  if (queue->tail)
    queue->tail->next = event;
  else
    queue->head = event;
  queue->tail = event;
  if (!queue->session && event->epoch == queue->epoch)
    queue->session = event;
  if (!queue->droppable && !event->keep)
    queue->droppable = event;
  queue->events++;
  queue->kept += event->keep;
  queue->bytes += size;
  total->events++;
  total->bytes += size;
}

static struct tg_queued *skip_kept(struct tg_queued *event)
{
  while (event && event->keep)
    event = event->next;
  return event;
}

void tg_lane_queue_insert(struct tg_lane_queue *queue, struct tg_queue_total *total, struct tg_queued *event,
                          struct tg_queued *place)
{
  uint64_t size = size_of(event);
  event->next = place;
  event->previous = place->previous;
  if (place->previous)
    place->previous->next = event;
  else
    queue->head = event;
  place->previous = event;
  if (!event->keep && skip_kept(place) == queue->droppable)
    queue->droppable = event;
  if (place->line)
    tg_lines_look_again(queue->lines);
  queue->events++;
  queue->kept += event->keep;
  queue->bytes += size;
  total->events++;
  total->bytes += size;
}

void tg_lane_queue_remove(struct tg_lane_queue *queue, struct tg_queue_total *total, struct tg_queued *event)
{
  uint64_t size = size_of(event);
  if (__builtin_expect(queue->lines != NULL, 0))
    tg_lines_leave(queue->lines, event);
  if (event->previous)
    event->previous->next = event->next;
  else
    queue->head = event->next;
  if (event->next)
    event->next->previous = event->previous;
  else
    queue->tail = event->previous;
  if (queue->session == event)
    queue->session = event->next;
  if (queue->droppable == event)
    queue->droppable = skip_kept(event->next);
  queue->events--;
  queue->kept -= event->keep;
  queue->bytes -= size;
  total->events--;
  total->bytes -= size;
}

void tg_lane_queue_new_session(struct tg_lane_queue *queue, uint64_t epoch)
{
  queue->session = NULL;
  queue->epoch = epoch;
}

struct tg_queued *tg_lane_queue_oldest(const struct tg_lane_queue *queue, bool any)
{
  struct tg_queued *event = any ? queue->head : queue->droppable;
  while (event && (event->in_flight || event->marker))
    event = any ? event->next : skip_kept(event->next);
  return event;
}
