/* The queues of the test kit: what a test says that waits, for the methods of
 * gateway.delivery that look at queues. Nothing is sent by itself. */

#include "script/test_kit/test_kit.h"

#include "delivery/sinks/answer.h"
#include "proto/event_types.h"

#include <stdlib.h>
#include <string.h>

struct tg_kit_waiting {
  struct tg_kit_waiting *next;
  struct tg_event event;
  struct tg_buf text;
  tg_ms at;
  bool chosen;
};

static struct tg_kit *kit_of(struct tg_delivery *delivery)
{
  return (struct tg_kit *)delivery;
}

static struct tg_kit_waiting **first_of(const struct tg_kit *kit, int shard_id)
{
  return &kit->shards[shard_id].waiting;
}

void tg_kit_queue_push(struct tg_kit *kit, int shard_id, const char *name, const json_t *data)
{
  struct tg_kit_shard *shard = &kit->shards[shard_id];
  struct tg_kit_waiting *waiting = tg_calloc(1, sizeof *waiting), **at = &shard->waiting;
  waiting->at = kit->clock.now;
  waiting->event = tg_kit_make_event(shard_id, shard->epoch, ++shard->sequence, name, data, &waiting->text);
  while (*at)
    at = &(*at)->next;
  *at = waiting;
}

static void take_out(struct tg_kit_waiting **at)
{
  struct tg_kit_waiting *waiting = *at;
  *at = waiting->next;
  tg_buf_free(&waiting->text);
  free(waiting);
}

void tg_kit_free_queues(struct tg_kit *kit)
{
  for (int i = 0; i < kit->env.total_shards; i++)
    while (kit->shards[i].waiting)
      take_out(&kit->shards[i].waiting);
}

json_t *tg_kit_queued(const struct tg_kit *kit, int shard_id)
{
  json_t *list = json_array();
  for (const struct tg_kit_waiting *waiting = *first_of(kit, shard_id); waiting; waiting = waiting->next) {
    const struct tg_event *event = &waiting->event;
    json_array_append_new(list,
                          json_pack("{s:s%, s:I, s:o}", "type", event->name.at, event->name.length,
                                    "sequence", (json_int_t)event->sequence, "data",
                                    json_loadb(event->data.at, event->data.length, JSON_DECODE_ANY, NULL)));
  }
  return list;
}

/* ---- as the delivery would ---- */

static bool is_of(int shard_id, int wanted)
{
  return wanted == TG_ALL_SHARDS || wanted == shard_id;
}

void tg_kit_delivery_queue_figures(struct tg_delivery *delivery, int shard_id,
                                   struct tg_queue_figures *figures)
{
  struct tg_kit *kit = kit_of(delivery);
  *figures = (struct tg_queue_figures){0};
  for (int i = 0; i < kit->env.total_shards; i++)
    for (struct tg_kit_waiting *at = *first_of(kit, i); at && is_of(i, shard_id); at = at->next) {
      figures->events++;
      figures->bytes += at->text.length;
      if (kit->clock.now - at->at > figures->age)
        figures->age = kit->clock.now - at->at;
    }
}

int tg_kit_delivery_queue_next_shard(struct tg_delivery *delivery, int after)
{
  struct tg_kit *kit = kit_of(delivery);
  for (int i = after + 1; i < kit->env.total_shards; i++)
    if (*first_of(kit, i))
      return i;
  return -1;
}

static uint64_t drop_chosen(struct tg_kit *kit)
{
  uint64_t dropped = 0;
  for (int i = 0; i < kit->env.total_shards; i++)
    for (struct tg_kit_waiting **at = first_of(kit, i); *at;) {
      if ((*at)->chosen) {
        take_out(at);
        dropped++;
      } else {
        at = &(*at)->next;
      }
    }
  return dropped;
}

uint64_t tg_kit_delivery_queue_walk(struct tg_delivery *delivery, int shard_id, tg_queue_visit *visit,
                                    void *ctx)
{
  struct tg_kit *kit = kit_of(delivery);
  bool goes_on = true;
  for (int i = 0; i < kit->env.total_shards; i++)
    for (struct tg_kit_waiting *at = *first_of(kit, i); at && goes_on && is_of(i, shard_id); at = at->next) {
      enum tg_queue_verdict verdict = visit(ctx, &at->event);
      goes_on = verdict != TG_QUEUE_STOP;
      at->chosen = verdict == TG_QUEUE_DROP;
    }
  return drop_chosen(kit);
}

uint64_t tg_kit_delivery_queue_drop(struct tg_delivery *delivery, int shard_id, uint64_t count)
{
  struct tg_kit *kit = kit_of(delivery);
  uint64_t chosen = 0;
  for (int any = 0; any < 2; any++)
    for (int i = 0; i < kit->env.total_shards; i++)
      for (struct tg_kit_waiting *at = *first_of(kit, i); at && is_of(i, shard_id); at = at->next) {
        bool interaction = at->event.type == TG_EVENT_INTERACTION_CREATE;
        if (chosen == count || at->chosen || (interaction && !any))
          continue;
        at->chosen = true;
        chosen++;
      }
  return drop_chosen(kit);
}

bool tg_kit_delivery_queue_ack(struct tg_delivery *delivery, const struct tg_event *event)
{
  struct tg_kit *kit = kit_of(delivery);
  if (event->shard_id < 0 || event->shard_id >= kit->env.total_shards)
    return false;
  struct tg_kit_waiting **at = first_of(kit, event->shard_id);
  while (*at && ((*at)->event.epoch != event->epoch || (*at)->event.sequence != event->sequence))
    at = &(*at)->next;
  if (!*at)
    return false;
  take_out(at);
  return true;
}

void tg_kit_delivery_queue_overflow(struct tg_delivery *delivery)
{
  tg_kit_delivery_queue_drop(delivery, TG_ALL_SHARDS, 1);
}

/* Where the answers to deliver come from: kit:answer("delivery:deliver", ...). */
struct tg_post *tg_kit_delivery_post(struct tg_delivery *delivery, const struct tg_event *events, int count,
                                     tg_posted *done, void *ctx)
{
  struct tg_kit *kit = kit_of(delivery);
  struct tg_answer said = {.retry_after = -1};
  json_t *answer = tg_kit_called(kit, "delivery:deliver", events[0].shard_id, json_pack("[i]", count));
  bool failed = tg_kit_read_error(answer, &said.error);
  const json_t *error = json_object_get(answer, "error");
  said.status = (long)json_number_value(json_object_get(error, "status"));
  if (json_object_get(error, "retry_after"))
    said.retry_after = (tg_ms)json_number_value(json_object_get(error, "retry_after"));
  json_decref(answer);
  for (int i = 0; i < count && !failed; i++)
    tg_kit_deliver(kit, &events[i]);
  done(ctx, failed ? &said : NULL, failed ? 0 : count);
  return NULL;
}

void tg_kit_delivery_cancel_post(struct tg_post *post)
{
  (void)post; /* each has ended when it began */
}

bool tg_kit_delivery_drain_queue(struct tg_delivery *delivery, int shard_id, void (*done)(void *ctx),
                                 void *ctx)
{
  struct tg_kit *kit = kit_of(delivery);
  json_decref(tg_kit_called(kit, "delivery:handle_queue", shard_id, NULL));
  while (shard_id < kit->env.total_shards && *first_of(kit, shard_id)) {
    tg_kit_deliver(kit, &(*first_of(kit, shard_id))->event);
    take_out(first_of(kit, shard_id));
  }
  done(ctx);
  return false;
}

void tg_kit_delivery_forget_drain(struct tg_delivery *delivery, void *ctx)
{
  (void)delivery;
  (void)ctx;
}
