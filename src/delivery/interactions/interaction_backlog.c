#include "delivery/interactions/interaction.h"

#include "base/log.h"
#include "delivery/sinks/sender.h"
#include "proto/envelope.h"

static struct tg_span data_of(struct tg_span message)
{
  struct tg_envelope envelope;
  if (!tg_envelope_scan(message.at, message.length, &envelope))
    return (struct tg_span){0};
  return envelope.data;
}

static bool is_autocomplete(struct tg_span message)
{
  struct tg_interaction_facts facts;
  return tg_interaction_read(data_of(message), &facts) && facts.type == TG_INTERACTION_AUTOCOMPLETE;
}

bool tg_interaction_is_over(struct tg_lane *lane, const struct tg_log_record *record, struct tg_span message)
{
  struct tg_error error = {0};
  if (record->marks & TG_MARK_DONE)
    return true;
  if (!is_autocomplete(message))
    return false;
  tg_event_log_mark(lane->log.source->log, record->position, record->marks | TG_MARK_DONE, &error);
  tg_interaction_count_unqueued(lane);
  return true;
}

void tg_interaction_read_back(struct tg_lane *lane, struct tg_queued *event, uint8_t marks)
{
  event->deferred |= (marks & TG_MARK_DEFERRED) != 0;
  struct tg_interaction *interaction = tg_interaction_find(lane, event->epoch, event->sequence);
  if (interaction)
    tg_interaction_link(interaction, event);
}

/* --- what an earlier process has left ---------------------------------------------------------- */

static void recover(struct tg_lane *lane, struct tg_log_source *source, const struct tg_log_record *record)
{
  struct tg_interactions *all = lane->lanes->watch_ctx;
  struct tg_interaction_facts facts;
  struct tg_stored event;
  if (record->marks != 0 || !tg_stored_read(record, &event, NULL) ||
      !tg_interaction_read(data_of(event.message), &facts))
    return;
  struct tg_interaction *interaction =
      tg_interaction_new(lane, event.message, &facts, record->epoch, record->sequence);
  if (!interaction)
    return;
  interaction->arrived = tg_env_since(all->env, record->at);
  interaction->total_shards = event.total_shards;
  interaction->source = source;
  interaction->position = record->position;
  interaction->due = interaction->arrived + all->env->config->interaction.grace;
  interaction->until = interaction->arrived + TG_INTERACTION_LIFE;
  tg_interaction_watch(interaction, false);
}

static void recover_shard(struct tg_log_source *source, tg_shard_ref ref, tg_ms now)
{
  struct tg_log_entry entry;
  struct tg_log_record record;
  struct tg_error error;
  tg_log_position position = 0;
  while ((position = tg_event_log_next(source->log, ref, position, &entry)) != 0) {
    bool fresh = entry.at >= now - TG_INTERACTION_LIFE - 1000 && entry.at <= now && /* it has whole seconds */
                 (entry.flags & TG_LOG_KEEP) && entry.kind == TG_LOG_EVENT;
    if (fresh && tg_event_log_read(source->log, ref, position, &record, &error))
      recover(tg_lane_of(source->lanes, ref), source, &record);
  }
}

void tg_interactions_recover(struct tg_lanes *lanes)
{
  const struct tg_interactions *all = lanes->watch_ctx;
  if (!all->env->config->interaction.fallback || all->senders->count == 0)
    return;
  tg_ms now = tg_steady_clock();
  for (struct tg_log_source *source = all->lanes->logs.sources; source != all->lanes->logs.own;
       source = source->next)
    for (int i = 0, id; (id = tg_event_log_shard_at(source->log, i)) >= 0; i++)
      if (!tg_ref_is_left(id)) /* those are another host's to answer */
        recover_shard(source, id, now);
}

/* --- what is too old ---------------------------------------------------------------------------- */

bool tg_interaction_expires(struct tg_lane *lane, struct tg_queued *event)
{
  struct tg_interactions *all = lane->lanes->watch_ctx;
  if (!all->env->config->interaction.fallback || !event->keep || event->marker || event->in_flight)
    return false;
  tg_ms age = tg_env_now(all->env) - event->queued_at;
  if (age > tg_patience(TG_INTERACTION_TOKEN_LIFE)) {
    tg_overflow_drop(lane, event, TG_DROP_INTERACTION);
    tg_count(&tg_stats()->interactions.expired);
    return true;
  }
  if ((age <= TG_INTERACTION_LIFE && !event->deferred) || !is_autocomplete(tg_queued_message(event)))
    return false;
  tg_lane_remove(lane, event);
  tg_interaction_count_unqueued(lane);
  return true;
}

/* --- what is told ------------------------------------------------------------------- */

void tg_interactions_report(struct tg_interactions *all)
{
  if (all->lately.answered > 0)
    tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TOLD_NUMBER(EVENTS, all->lately.answered)),
                "%llu interactions were answered in the place of the event handler in the last minute",
                (unsigned long long)all->lately.answered);
  if (all->lately.failed > 0)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TOLD_NUMBER(EVENTS, all->lately.failed)),
                "%llu more interactions could not be answered in the last minute",
                (unsigned long long)all->lately.failed);
  all->told_failed = all->lately.failed > 0;
  all->lately.answered = all->lately.failed = 0;
}
