#include "delivery/lanes/batch.h"

#include "delivery/formats/format.h"
#include "delivery/lanes/lanes.h"
#include "delivery/lanes/lines.h"

struct tg_queued *tg_parcel_first(const struct tg_parcel *parcel)
{
  return __builtin_expect(parcel->line != NULL, 0) ? parcel->line->first : parcel->lane->queue.head;
}

struct tg_queued *tg_parcel_next(const struct tg_parcel *parcel, const struct tg_queued *event)
{
  return __builtin_expect(parcel->line != NULL, 0) ? event->line_next : event->next;
}

/* How many of the first events hold one that was refused, as far as is known. */
static int suspects(const struct tg_parcel *parcel)
{
  int count = 0;
  for (const struct tg_queued *event = tg_parcel_first(parcel); event && event->suspect;
       event = tg_parcel_next(parcel, event))
    count++;
  return count;
}

static size_t length_of(const struct tg_queued *event)
{
  return event->gap ? TG_MARKER_MAX : tg_queued_body_length(event);
}

static struct tg_parcel_end end_of(const struct tg_lane *lane, const struct tg_queued *event)
{
  struct tg_stored stored = tg_queued_stored(event, lane->feed->shard_id);
  return tg_parcel_end(&stored);
}

/* With order = "guild" a lane itself sends only what goes alone. */
static bool batches(const struct tg_parcel *parcel)
{
  const struct tg_handler_config *handler = parcel->lane->lanes->handler;
  return handler->batch.events > 0 && (handler->order == TG_ORDERED_BY_SHARD || parcel->line);
}

/* Says how many go. */
static int choose(const struct tg_parcel *parcel, size_t most)
{
  struct tg_queued *head = tg_parcel_first(parcel), *event = head;
  const struct tg_handler_config *handler = parcel->lane->lanes->handler;
  bool several = batches(parcel);
  size_t growth = tg_format_growth(handler->format) + 1;
  bool again = head->trying;
  int limit = several ? handler->batch.events : 1, count = 0;
  size_t bytes = 0;
  if (several && head->suspect)
    limit = (suspects(parcel) + 1) / 2;
  for (; event && count < limit; event = tg_parcel_next(parcel, event), count++) {
    bytes += length_of(event) + growth;
    if (event->in_flight) /* beside the lane */
      break;
    if (event != head && (again ? !event->trying : event->epoch != head->epoch || bytes > most))
      break;
    if (event != head && (event->named_epoch || head->named_epoch)) /* it goes alone */
      break;
    event->trying = true;
  }
  for (; event && event->trying; event = tg_parcel_next(parcel, event))
    event->trying = false;
  return count;
}

/* Whether waiting would make it no larger. */
static bool is_full(const struct tg_lane *lane, const struct tg_batch_config *batch, size_t most)
{
  const struct tg_lane_queue *queue = &lane->queue;
  size_t growth = tg_format_growth(lane->lanes->handler->format) + 1;
  uint64_t bytes = queue->bytes - queue->events * tg_queued_size(0) + queue->events * growth;
  return queue->events >= (uint64_t)batch->events || bytes >= most ||
         queue->head->epoch != queue->tail->epoch || lane->log.spilled;
}

/* Whether it is to go at once: somebody waits for it, or it has been on its way before. */
static bool is_urgent(const struct tg_lane *lane)
{
  const struct tg_lanes *lanes = lane->lanes;
  const struct tg_queued *head = lane->queue.head;
  return lane->queue.kept > 0 || head->trying || head->suspect || head->refusals > 0 ||
         lane->script.by_default || lane->before_all || lane->feed->gate || lanes->env->draining ||
         lanes->queued.bytes >= lanes->limits->memory_bytes / 2;
}

tg_ms tg_batch_linger(const struct tg_lane *lane, size_t most)
{
  const struct tg_batch_config *batch = &lane->lanes->handler->batch;
  if (batch->linger == 0 || is_urgent(lane) || is_full(lane, batch, most))
    return 0;
  tg_ms left = lane->queue.head->queued_at + batch->linger - tg_env_now(lane->lanes->env);
  return left > 0 ? left : 0;
}

void tg_batch_lend(struct tg_parcel *parcel, size_t most)
{
  struct tg_queued *first = tg_parcel_first(parcel), *last = first, *event = first;
  int count = choose(parcel, most);
  size_t bytes = 0;
  for (int i = 0; i < count; i++, event = tg_parcel_next(parcel, event)) {
    event->in_flight = true;
    bytes += length_of(event);
    last = event;
  }
  parcel->late = first->named_epoch != 0;
  tg_parcel_name(parcel, tg_queued_name(first).epoch, end_of(parcel->lane, first), end_of(parcel->lane, last),
                 count, bytes);
}

void tg_batch_write(struct tg_parcel *parcel)
{
  char text[TG_GAP_MAX];
  const struct tg_lane *lane = parcel->lane;
  struct tg_queued *event = tg_parcel_first(parcel);
  if (tg_parcel_takes_body(parcel) && !event->gap) {
    parcel->body = tg_queued_body(event, lane->feed->shard_id);
    return;
  }
  for (int i = 0; i < parcel->count; i++, event = tg_parcel_next(parcel, event)) {
    struct tg_stored stored = tg_lane_stored(lane, event, text);
    tg_parcel_put(parcel, &stored, event->queued_at);
  }
}

void tg_batch_take_back(struct tg_parcel *parcel)
{
  struct tg_queued *event = tg_parcel_first(parcel);
  for (int i = 0; i < parcel->count; i++, event = tg_parcel_next(parcel, event))
    event->in_flight = false;
}

void tg_batch_split(struct tg_parcel *parcel, int count)
{
  struct tg_queued *event = tg_parcel_first(parcel);
  for (; count > 0; count--, event = tg_parcel_next(parcel, event)) {
    event->suspect = true;
    event->trying = false;
  }
  /* The refused half may be all there is to blame: nothing is known of those behind it. */
  for (; event && event->suspect; event = tg_parcel_next(parcel, event))
    event->suspect = false;
}

void tg_batch_shrink(struct tg_parcel *parcel, int count)
{
  struct tg_queued *event = tg_parcel_first(parcel);
  for (; count > 0; count--, event = tg_parcel_next(parcel, event))
    event->trying = false;
}
