#include "delivery/delivery_internal.h"

#include <stdio.h>
#include <string.h>

/* What goes to the event handler in one request: the first event of a lane, or,
 * with event_handler.batch, the first ones. An event that was sent without
 * success comes again in the same batch (`trying`): a batch may shrink meanwhile,
 * since policy drops events, but never grows, so that its key stands for no more
 * than it did. After a refusal the events of the batch are `suspect`: at least one
 * of them is to blame, and half of them are tried at a time. */

/* How many of the first events hold one that was refused, as far as is known. */
static int suspects(const struct tg_queued *head)
{
  int count = 0;
  for (; head && head->suspect; head = head->next)
    count++;
  return count;
}

static size_t length_of(const struct tg_queued *event)
{
  return event->gap ? TG_MARKER_MAX : event->body_length;
}

int tg_batch_choose(struct tg_lane *lane)
{
  struct tg_queued *head = lane->queue.head, *event = head;
  bool batches = lane->delivery->env.config->event_handler.batch;
  bool again = head->trying;
  int limit = batches ? TG_BATCH_EVENTS : 1, count = 0;
  size_t bytes = 0, most = lane->handler->batch_bytes;
  if (batches && head->suspect)
    limit = (suspects(head) + 1) / 2;
  for (; event && count < limit; event = event->next, count++) {
    bytes += length_of(event) + 1;
    if (event->in_flight) /* beside the lane */
      break;
    if (event != head && (again ? !event->trying : event->epoch != head->epoch || bytes > most))
      break;
    event->trying = true;
  }
  for (; event && event->trying; event = event->next)
    event->trying = false;
  return count;
}

size_t tg_batch_bytes(const struct tg_lane *lane)
{
  const struct tg_queued *event = lane->queue.head;
  size_t bytes = 0;
  for (int i = 0; i < lane->in_flight; i++, event = event->next)
    bytes += length_of(event) + 1;
  return lane->delivery->env.config->event_handler.batch ? bytes + 1 : bytes - 1;
}

static void write_event(struct tg_lane *lane, struct tg_queued *event)
{
  if (event->gap) {
    lane->body.length += tg_gap_text(tg_buf_reserve(&lane->body, TG_MARKER_MAX), lane->shard_id, event);
    return;
  }
  struct tg_span body = tg_queued_body(event);
  tg_buf_append(&lane->body, body.at, body.length);
}

struct tg_span tg_batch_body(struct tg_lane *lane, int count)
{
  struct tg_queued *event = lane->queue.head;
  bool batches = lane->delivery->env.config->event_handler.batch;
  if (!batches && !event->gap)
    return tg_queued_body(event);
  for (int i = 0; i < count; i++, event = event->next) {
    if (batches)
      tg_buf_puts(&lane->body, i == 0 ? "[" : ",");
    write_event(lane, event);
  }
  if (batches)
    tg_buf_puts(&lane->body, "]");
  return (struct tg_span){lane->body.data, lane->body.length};
}

void tg_batch_key_of(char key[TG_BATCH_KEY], int shard_id, uint64_t epoch, struct tg_batch_end first,
                     struct tg_batch_end last)
{
  int length =
      snprintf(key, TG_BATCH_KEY, "Idempotency-Key: %d.%llu.%s%llu", shard_id, (unsigned long long)epoch,
               first.marker ? "gap-" : "", (unsigned long long)first.sequence);
  if (last.sequence != first.sequence || last.marker != first.marker)
    snprintf(key + length, TG_BATCH_KEY - (size_t)length, "-%s%llu", last.marker ? "gap-" : "",
             (unsigned long long)last.sequence);
}

void tg_batch_key(char key[TG_BATCH_KEY], const struct tg_lane *lane, int count)
{
  const struct tg_queued *first = lane->queue.head, *last = first;
  for (int i = 1; i < count; i++)
    last = last->next;
  tg_batch_key_of(key, lane->shard_id, first->epoch, (struct tg_batch_end){first->sequence, first->marker},
                  (struct tg_batch_end){last->sequence, last->marker});
}

void tg_batch_lend(struct tg_lane *lane, int count)
{
  struct tg_queued *event = lane->queue.head;
  lane->in_flight = count;
  for (; count > 0; count--, event = event->next)
    event->in_flight = true;
}

int tg_batch_take_back(struct tg_lane *lane)
{
  struct tg_queued *event = lane->queue.head;
  int count = lane->in_flight;
  lane->in_flight = 0;
  for (int i = 0; i < count; i++, event = event->next)
    event->in_flight = false;
  tg_buf_free(&lane->body);
  return count;
}

void tg_batch_split(struct tg_lane *lane, int count)
{
  struct tg_queued *event = lane->queue.head;
  for (; count > 0; count--, event = event->next) {
    event->suspect = true;
    event->trying = false;
  }
  /* The refused half may be all there is to blame: nothing is known of those behind it. */
  for (; event && event->suspect; event = event->next)
    event->suspect = false;
}

void tg_batch_shrink(struct tg_lane *lane, struct tg_handler *handler, int count, size_t bytes)
{
  struct tg_queued *event = lane->queue.head;
  for (; count > 0; count--, event = event->next)
    event->trying = false;
  handler->batch_bytes = bytes / 2; /* so the next one has fewer of them, down to one */
}

void tg_batch_grow(struct tg_handler *handler, size_t bytes)
{
  if (handler->batch_bytes < TG_BATCH_BYTES && bytes + TG_BATCH_GROWTH > handler->batch_bytes)
    handler->batch_bytes += TG_BATCH_GROWTH;
}
