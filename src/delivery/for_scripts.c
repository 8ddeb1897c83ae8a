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

void tg_delivery_queue_figures(struct tg_delivery *delivery, tg_shard_ref ref,
                               struct tg_queue_figures *figures)
{
  tg_queues_figures(&tg_delivery_bot(delivery)->lanes, ref, figures);
}

tg_shard_ref tg_delivery_queue_next_shard(struct tg_delivery *delivery, tg_shard_ref after)
{
  return tg_queues_next_shard(&tg_delivery_bot(delivery)->lanes, after);
}

uint64_t tg_delivery_queue_walk(struct tg_delivery *delivery, tg_shard_ref ref, tg_queue_visit *visit,
                                void *ctx)
{
  return tg_queues_walk(&tg_delivery_bot(delivery)->lanes, ref, visit, ctx);
}

uint64_t tg_delivery_queue_drop(struct tg_delivery *delivery, tg_shard_ref ref, uint64_t count)
{
  return tg_queues_drop(&tg_delivery_bot(delivery)->lanes, ref, count);
}

bool tg_delivery_queue_ack(struct tg_delivery *delivery, const struct tg_event *event)
{
  return tg_queues_ack(&tg_delivery_bot(delivery)->lanes, event);
}

void tg_delivery_queue_overflow(struct tg_delivery *delivery)
{
  tg_queues_overflow(&tg_delivery_bot(delivery)->lanes);
}

/* --- deliveries of their own ---------------------------------------------------------- */

struct tg_post *tg_delivery_post(struct tg_delivery *delivery, const struct tg_event *events, int count,
                                 tg_posted *done, void *ctx)
{
  if (count > 0)
    return tg_post_start(tg_lane_of(&tg_delivery_bot(delivery)->lanes, tg_event_ref(&events[0])), events,
                         count, done, ctx);
  done(ctx, NULL, 0);
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
