/* The queues of the test kit: those of the delivery. Nothing is sent from them by
 * itself (test_kit_run.c); what would go to the bot is told to the test. */

#include "script/test_kit/test_kit.h"

#include "delivery/sinks/answer.h"

static struct tg_kit *kit_of(struct tg_delivery *delivery)
{
  return (struct tg_kit *)delivery;
}

static struct tg_delivery *real(struct tg_delivery *delivery)
{
  return kit_of(delivery)->delivery;
}

/* ---- for tests ---- */

void tg_kit_queue_push(struct tg_kit *kit, int shard_id, const char *name, const json_t *data)
{
  struct tg_kit_shard *shard = &kit->shards[shard_id];
  struct tg_buf text = {0};
  struct tg_event event =
      tg_kit_make_event(kit, shard_id, shard->epoch, ++shard->sequence, name, data, &text);
  tg_kit_watch_hooks(kit);
  if (shard->told_epoch != shard->epoch)
    tg_delivery_new_session(kit->delivery, shard_id, shard->epoch);
  shard->told_epoch = shard->epoch;
  tg_delivery_enqueue(kit->delivery, &event);
  tg_buf_free(&text);
}

static enum tg_queue_verdict list(void *ctx, struct tg_event *event)
{
  json_t *data = json_loadb(event->data.at, event->data.length, JSON_DECODE_ANY, NULL);
  json_array_append_new(ctx,
                        json_pack("{s:s%, s:I, s:o}", "type", event->name.at, event->name.length, "sequence",
                                  (json_int_t)event->sequence, "data", data ? data : json_null()));
  return TG_QUEUE_KEEP;
}

json_t *tg_kit_queued(struct tg_kit *kit, int shard_id)
{
  json_t *events = json_array();
  tg_delivery_queue_walk(kit->delivery, NULL, shard_id, list, events);
  return events;
}

/* ---- for scripts ---- */

bool tg_kit_delivery_has_sink(const struct tg_delivery *delivery, const char *sink)
{
  return tg_delivery_has_sink(((const struct tg_kit *)delivery)->delivery, sink);
}

void tg_kit_delivery_queue_figures(struct tg_delivery *delivery, const char *sink, tg_shard_ref ref,
                                   struct tg_queue_figures *figures)
{
  tg_delivery_queue_figures(real(delivery), sink, ref, figures);
}

tg_shard_ref tg_kit_delivery_queue_next_shard(struct tg_delivery *delivery, const char *sink,
                                              tg_shard_ref after)
{
  return tg_delivery_queue_next_shard(real(delivery), sink, after);
}

uint64_t tg_kit_delivery_queue_walk(struct tg_delivery *delivery, const char *sink, tg_shard_ref ref,
                                    tg_queue_visit *visit, void *ctx)
{
  return tg_delivery_queue_walk(real(delivery), sink, ref, visit, ctx);
}

uint64_t tg_kit_delivery_queue_drop(struct tg_delivery *delivery, const char *sink, tg_shard_ref ref,
                                    uint64_t count)
{
  return tg_delivery_queue_drop(real(delivery), sink, ref, count);
}

bool tg_kit_delivery_queue_ack(struct tg_delivery *delivery, const char *sink, const struct tg_event *event)
{
  return tg_delivery_queue_ack(real(delivery), sink, event);
}

void tg_kit_delivery_queue_overflow(struct tg_delivery *delivery)
{
  tg_delivery_queue_overflow(real(delivery));
}

/* Where the answers to deliver come from: kit:answer("delivery:deliver", ...). */
struct tg_post *tg_kit_delivery_post(struct tg_delivery *delivery, const char *sink,
                                     const struct tg_event *events, int count, tg_posted *done, void *ctx)
{
  struct tg_kit *kit = kit_of(delivery);
  struct tg_answer said = {.retry_after = -1};
  json_t *args = sink ? json_pack("[s, i]", sink, count) : json_pack("[i]", count);
  json_t *answer = tg_kit_called(kit, sink ? "sink:deliver" : "delivery:deliver", events[0].shard_id, args);
  bool failed = tg_kit_read_error(answer, &said.error);
  const json_t *error = json_object_get(answer, "error");
  said.status = (long)json_number_value(json_object_get(error, "status"));
  if (json_object_get(error, "retry_after"))
    said.retry_after = (tg_ms)json_number_value(json_object_get(error, "retry_after"));
  json_decref(answer);
  for (int i = 0; i < count && !failed && !sink; i++)
    tg_kit_deliver(kit, &events[i]);
  done(ctx, failed ? &said : NULL, failed ? 0 : count);
  return NULL;
}

void tg_kit_delivery_cancel_post(struct tg_post *post)
{
  (void)post; /* each has ended when it began */
}

struct first {
  struct tg_kit *kit;
  struct tg_event event; /* without its texts */
  bool found;
};

static enum tg_queue_verdict deliver_first(void *ctx, struct tg_event *event)
{
  struct first *first = ctx;
  tg_kit_deliver(first->kit, event);
  first->event = (struct tg_event){.shard_id = event->shard_id,
                                   .epoch = event->epoch,
                                   .sequence = event->sequence,
                                   .marker = event->marker};
  first->found = true;
  return TG_QUEUE_STOP;
}

bool tg_kit_delivery_drain_queue(struct tg_delivery *delivery, tg_shard_ref ref, void (*done)(void *ctx),
                                 void *ctx)
{
  struct tg_kit *kit = kit_of(delivery);
  struct first first = {.kit = kit};
  json_decref(tg_kit_called(kit, "delivery:handle_queue", tg_ref_id(ref), NULL));
  do {
    first.found = false;
    tg_delivery_queue_walk(kit->delivery, NULL, ref, deliver_first, &first);
  } while (first.found && tg_delivery_queue_ack(kit->delivery, NULL, &first.event));
  done(ctx);
  return false;
}

void tg_kit_delivery_forget_drain(struct tg_delivery *delivery, void *ctx)
{
  (void)delivery; /* each has ended when it began */
  (void)ctx;
}
