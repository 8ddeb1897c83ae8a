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

void tg_delivery_queue_figures(struct tg_delivery *delivery, int shard_id, struct tg_queue_figures *figures)
{
  tg_queues_figures(&delivery->lanes, shard_id, figures);
}

int tg_delivery_queue_next_shard(struct tg_delivery *delivery, int after)
{
  return tg_queues_next_shard(&delivery->lanes, after);
}

uint64_t tg_delivery_queue_walk(struct tg_delivery *delivery, int shard_id, tg_queue_visit *visit, void *ctx)
{
  return tg_queues_walk(&delivery->lanes, shard_id, visit, ctx);
}

uint64_t tg_delivery_queue_drop(struct tg_delivery *delivery, int shard_id, uint64_t count)
{
  return tg_queues_drop(&delivery->lanes, shard_id, count);
}

bool tg_delivery_queue_ack(struct tg_delivery *delivery, const struct tg_event *event)
{
  return tg_queues_ack(&delivery->lanes, event);
}

void tg_delivery_queue_overflow(struct tg_delivery *delivery)
{
  tg_queues_overflow(&delivery->lanes);
}

/* --- deliveries of their own ---------------------------------------------------------- */

struct tg_post *tg_delivery_post(struct tg_delivery *delivery, const struct tg_event *events, int count,
                                 tg_posted *done, void *ctx)
{
  if (count > 0)
    return tg_post_start(tg_lane_of(&delivery->lanes, events[0].shard_id), events, count, done, ctx);
  done(ctx, NULL, 0);
  return NULL;
}

void tg_delivery_cancel_post(struct tg_post *post)
{
  tg_post_cancel(post);
}

bool tg_delivery_drain_queue(struct tg_delivery *delivery, int shard_id, void (*done)(void *ctx), void *ctx)
{
  return tg_script_drain_by_default(tg_lane_of(&delivery->lanes, shard_id), done, ctx);
}

void tg_delivery_forget_drain(struct tg_delivery *delivery, void *ctx)
{
  tg_script_forget_drain(&delivery->lanes, ctx);
}
