#include "delivery/delivery_internal.h"

/* What scripts see of the parts of a delivery, and ask of them. */

struct tg_callback *tg_delivery_answer_interaction(struct tg_delivery *delivery,
                                                   const struct tg_interaction_facts *facts,
                                                   tg_interaction_answered *done, void *ctx)
{
  return tg_interactions_answer(&delivery->interactions, facts, done, ctx);
}

void tg_delivery_cancel_answer(struct tg_callback *answer)
{
  tg_callback_cancel(answer);
}

/* --- queues ------------------------------------------------------------------------ */

/* NULL: there is none of that name (any more). */
static struct tg_sink *sink_of(const struct tg_delivery *delivery, const char *name)
{
  return name ? tg_sinks_find(delivery, name) : tg_delivery_bot(delivery);
}

bool tg_delivery_has_sink(const struct tg_delivery *delivery, const char *sink)
{
  return sink_of(delivery, sink) != NULL;
}

void tg_delivery_queue_figures(struct tg_delivery *delivery, const char *sink, tg_shard_ref ref,
                               struct tg_queue_figures *figures)
{
  struct tg_sink *of = sink_of(delivery, sink);
  *figures = (struct tg_queue_figures){0};
  if (of)
    tg_queues_figures(&of->lanes, ref, figures);
}

tg_shard_ref tg_delivery_queue_next_shard(struct tg_delivery *delivery, const char *sink, tg_shard_ref after)
{
  struct tg_sink *of = sink_of(delivery, sink);
  return of ? tg_queues_next_shard(&of->lanes, after) : -1;
}

uint64_t tg_delivery_queue_walk(struct tg_delivery *delivery, const char *sink, tg_shard_ref ref,
                                tg_queue_visit *visit, void *ctx)
{
  struct tg_sink *of = sink_of(delivery, sink);
  return of ? tg_queues_walk(&of->lanes, ref, visit, ctx) : 0;
}

uint64_t tg_delivery_queue_drop(struct tg_delivery *delivery, const char *sink, tg_shard_ref ref,
                                uint64_t count)
{
  struct tg_sink *of = sink_of(delivery, sink);
  return of ? tg_queues_drop(&of->lanes, ref, count) : 0;
}

bool tg_delivery_queue_ack(struct tg_delivery *delivery, const char *sink, const struct tg_event *event)
{
  struct tg_sink *of = sink_of(delivery, sink);
  return of && tg_queues_ack(&of->lanes, event);
}

void tg_delivery_queue_overflow(struct tg_delivery *delivery)
{
  tg_queues_overflow(&tg_delivery_bot(delivery)->lanes);
}

/* --- deliveries of their own ---------------------------------------------------------- */

struct tg_post *tg_delivery_post(struct tg_delivery *delivery, const char *sink,
                                 const struct tg_event *events, int count, tg_posted *done, void *ctx)
{
  struct tg_sink *of = sink_of(delivery, sink);
  struct tg_answer none = {.outcome = TG_OUTCOME_RETRY, .retry_after = -1};
  if (of && count > 0)
    return tg_post_start(tg_lane_of(&of->lanes, tg_event_ref(&events[0])), events, count, done, ctx);
  if (!of)
    tg_fail(&none.error, "unavailable", "the sink \"%s\" is not there any more", sink);
  done(ctx, of ? NULL : &none, 0);
  return NULL;
}

void tg_delivery_cancel_post(struct tg_post *post)
{
  tg_post_cancel(post);
}

bool tg_delivery_drain_queue(struct tg_delivery *delivery, tg_shard_ref ref, void (*done)(void *ctx),
                             void *ctx)
{
  return tg_script_drain_by_default(tg_lane_of(&tg_delivery_bot(delivery)->lanes, ref), done, ctx);
}

void tg_delivery_forget_drain(struct tg_delivery *delivery, void *ctx)
{
  tg_script_forget_drain(&tg_delivery_bot(delivery)->lanes, ctx);
}
