#include "delivery/lanes/lane_queue.h"

#include "base/buf.h"
#include "delivery/lanes/body.h"

#include <stdlib.h>
#include <string.h>

/* Takes the place of the body's last byte. Each event has room for it. */
static const char deferred[] = TG_BODY_DEFERRED;

uint64_t tg_queued_size(size_t body_length)
{
  return sizeof(struct tg_queued) + body_length;
}

struct tg_queued *tg_queued_new(struct tg_span prefix, struct tg_span message, struct tg_span suffix)
{
  size_t length = prefix.length + message.length + suffix.length;
  struct tg_queued *event = tg_alloc(sizeof *event + length + sizeof deferred);
  memset(event, 0, sizeof *event);
  memcpy(event->body, prefix.at, prefix.length);
  memcpy(event->body + prefix.length, message.at, message.length);
  memcpy(event->body + prefix.length + message.length, suffix.at, suffix.length);
  event->body_length = (uint32_t)length;
  return event;
}

struct tg_span tg_queued_body(struct tg_queued *event)
{
  size_t length = event->body_length;
  if (event->deferred) {
    length += sizeof deferred - 2;
    if (!event->told)
      memcpy(event->body + event->body_length - 1, deferred, sizeof deferred - 1);
    event->told = true;
  }
  return (struct tg_span){event->body, length};
}

void tg_lane_queue_push(struct tg_lane_queue *queue, struct tg_queue_total *total, struct tg_queued *event)
{
  uint64_t size = tg_queued_size(event->body_length);
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
  uint64_t size = tg_queued_size(event->body_length);
  event->next = place;
  event->previous = place->previous;
  if (place->previous)
    place->previous->next = event;
  else
    queue->head = event;
  place->previous = event;
  if (!event->keep && skip_kept(place) == queue->droppable)
    queue->droppable = event;
  queue->events++;
  queue->bytes += size;
  total->events++;
  total->bytes += size;
}

void tg_lane_queue_remove(struct tg_lane_queue *queue, struct tg_queue_total *total, struct tg_queued *event)
{
  uint64_t size = tg_queued_size(event->body_length);
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
