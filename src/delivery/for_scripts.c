#include "delivery/delivery_internal.h"

#include "delivery/sinks/dead_files.h"

#include <stdio.h>
#include <string.h>

/* What scripts and people see of the parts of a delivery, and ask of them. */

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

static struct tg_sink *named(const struct tg_delivery *delivery, const char *name)
{
  return sink_of(delivery, strcmp(name, "bot") == 0 ? NULL : name);
}

bool tg_delivery_has_queue(const struct tg_delivery *delivery, const char *sink)
{
  return named(delivery, sink) != NULL;
}

uint64_t tg_delivery_discard(struct tg_delivery *delivery, const char *sink,
                             const struct tg_queue_filter *filter, struct tg_queue_cursor *at)
{
  struct tg_sink *of = named(delivery, sink);
  at->done = !of;
  return of ? tg_queues_discard(&of->lanes, filter, at) : 0;
}

uint64_t tg_delivery_queue_types(struct tg_delivery *delivery, const char *sink, int shard_id,
                                 struct tg_queue_of_type types[TG_EVENT_TYPE_MAX])
{
  struct tg_sink *of = named(delivery, sink);
  return of ? tg_queues_types(&of->lanes, shard_id, types) : 0;
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

/* --- dead letters ------------------------------------------------------------------------ */

/* Of the letter with that line; NULL: it is not there any more, and `name` is what it was called. */
static struct tg_sink *sink_of_letter(const struct tg_delivery *delivery, struct tg_span line, char name[64])
{
  struct tg_dead_line letter;
  snprintf(name, 64, "bot");
  if (tg_dead_line_read(line, &letter) && letter.sink.at)
    snprintf(name, 64, "%.*s", (int)letter.sink.length, letter.sink.at);
  return strcmp(name, "bot") == 0 ? tg_delivery_bot(delivery) : tg_sinks_find(delivery, name);
}

void tg_delivery_send_letter(struct tg_delivery *delivery, const struct tg_dead_place *place,
                             tg_letter_done *done, void *ctx)
{
  const char *state_dir = delivery->env.config->state_dir;
  struct tg_letter_result refused = {.outcome = TG_OUTCOME_RETRY};
  struct tg_dead_place at = *place;
  struct tg_buf line = {0};
  struct tg_sink *sink = NULL;
  char name[64];
  if (!state_dir)
    tg_fail(&refused.error, "failed", "there is no state directory");
  else if (tg_dead_take(state_dir, &at, &line, &refused.error) &&
           !(sink = sink_of_letter(delivery, (struct tg_span){line.data, line.length}, name)))
    tg_fail(&refused.error, "no_sink", "the sink \"%s\" is not configured any more", name);
  if (sink)
    tg_letter_start(&sink->senders, state_dir, &at, &line, done, ctx);
  else
    done(ctx, &refused);
  tg_buf_free(&line);
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
