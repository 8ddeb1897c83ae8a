#include "delivery/interactions/interaction.h"

#include "base/log.h"
#include "delivery/sinks/sender.h"
#include "proto/envelope.h"

#include <string.h>

static bool still_waits(const struct tg_interaction *interaction)
{
  return interaction->queued ||
         (interaction->source &&
          tg_event_log_waits(interaction->source->log, interaction->ref, interaction->position));
}

void tg_interaction_count_failed(struct tg_interactions *all, const struct tg_interaction *interaction,
                                 const char *reason)
{
  tg_count(&tg_stats()->interactions.failed);
  if (all->told_failed) {
    all->lately.failed++;
    return;
  }
  all->told_failed = true;
  tg_log_with(
      TG_WARN, tg_ref_id(interaction->ref),
      TG_WITH(TG_NUMBER(EPOCH, interaction->epoch), TG_NUMBER(SEQUENCE, interaction->sequence),
              TG_TEXT(REASON, reason)),
      "interaction %llu could not be answered in the place of the event handler: the person sees that the "
      "application did not respond; the event handler gets the interaction all the same",
      (unsigned long long)interaction->facts.id);
}

static void note_failure(struct tg_interaction *interaction, const char *reason)
{
  tg_interaction_mark(interaction, TG_MARK_UNANSWERED);
  tg_interaction_count_failed(interaction->all, interaction, reason);
}

/* From now on the event handler is told, by this process or by a later one. */
static void note_deferred(struct tg_interaction *interaction)
{
  tg_interaction_mark(interaction, TG_MARK_DEFERRED);
  if (interaction->queued)
    interaction->queued->deferred = true;
  interaction->all->lately.answered++;
  tg_count(&tg_stats()->interactions.answered);
}

void tg_interaction_count_unqueued(struct tg_lane *lane)
{
  tg_count(&lane->feed->row->filtered);
  tg_count(&tg_stats_type(TG_EVENT_INTERACTION_CREATE)->filtered);
}

/* The event handler is not to get it, unless it is getting it right now. */
static void unqueue(struct tg_interaction *interaction)
{
  struct tg_lane *lane = interaction->lane;
  struct tg_queued *queued = interaction->queued;
  if (!lane || (queued && queued->in_flight) || tg_parcel_in_flight(&interaction->parcel))
    return;
  tg_log_position position = interaction->position;
  struct tg_log_source *source = interaction->source;
  tg_interaction_mark(interaction, TG_MARK_DONE);
  tg_interaction_leave_lane(interaction);
  if (queued)
    tg_lane_remove(lane, queued);
  else if (source)
    tg_lane_skip(lane, source, position);
  tg_interaction_count_unqueued(lane);
  if (interaction->is_express && interaction->parcel.waits)
    tg_express_return(interaction);
}

static void end_answer(struct tg_interaction *interaction, bool taken, const char *reason)
{
  if (taken)
    note_deferred(interaction);
  else
    note_failure(interaction, reason);
  tg_interaction_unwatch(interaction);
}

static void on_callback(void *ctx, bool taken, const char *reason)
{
  struct tg_interaction *interaction = ctx;
  interaction->callback = NULL;
  end_answer(interaction, taken, reason);
}

/* Of no use to the bot any more: only an answer at once is. */
static bool is_autocompletion(const struct tg_interaction *interaction)
{
  return interaction->facts.type == TG_INTERACTION_AUTOCOMPLETE;
}

static void answer_by_rest(struct tg_interaction *interaction)
{
  if (is_autocompletion(interaction))
    unqueue(interaction);
  interaction->callback = tg_callback_start(&interaction->all->callbacks, &interaction->facts,
                                            interaction->until, on_callback, interaction);
}

/* --- the script's way ---------------------------------------------------------------------- */

/* What a proxy has said may contain the path, and with it the token. */
static void log_failure(const struct tg_interaction *interaction, struct tg_span words)
{
  static const char left_out[] = "its words are left out, since they contain the token";
  const struct tg_span *token = &interaction->facts.token;
  if (memmem(words.at, words.length, token->at, token->length))
    words = (struct tg_span){left_out, sizeof left_out - 1};
  tg_log_with(TG_WARN, tg_ref_id(interaction->ref),
              TG_WITH(TG_TOLD(METHOD, "gateway.delivery:handle_interaction_queueing")),
              "gateway.delivery:handle_interaction_queueing failed: %.*s; the default answers",
              (int)words.length, words.at);
}

static void on_script_done(void *ctx, bool ok, const struct tg_value *result)
{
  struct tg_interaction *interaction = ctx;
  if (ok && result->kind == TG_FAILURE) {
    log_failure(interaction, result->string);
    ok = false;
  }
  bool waits = ok && result->kind == TG_STRING; /* nobody has answered, and nobody is to do so here */
  bool accepted = !ok && !interaction->lane;    /* by the event handler, meanwhile */
  if (waits)
    tg_interaction_unmark(interaction, TG_MARK_DEFERRED);
  if (waits || accepted) {
    tg_interaction_unwatch(interaction);
    return;
  }
  if (!ok) {
    answer_by_rest(interaction);
    return;
  }
  bool keep = (result->kind != TG_BOOL || result->boolean) && !is_autocompletion(interaction);
  if (!keep)
    unqueue(interaction);
  end_answer(interaction, true, "");
}

static bool answer_by_script(struct tg_interaction *interaction)
{
  struct tg_envelope envelope;
  if (!tg_hooked(interaction->all->env->hooks, TG_METHOD_delivery_handle_interaction_queueing) ||
      !tg_envelope_scan(interaction->message, interaction->length, &envelope))
    return false;
  struct tg_event event = {
      .type = TG_EVENT_INTERACTION_CREATE,
      .shard_id = tg_ref_id(interaction->ref),
      .side = (uint8_t)tg_ref_side(interaction->ref),
      .total_shards = interaction->total_shards,
      .epoch = interaction->epoch,
      .sequence = interaction->sequence,
      .name = envelope.name,
      .raw = {interaction->message, interaction->length},
      .data = envelope.data,
      .replayed = interaction->replayed,
  };
  struct tg_value argument = tg_value_event(&event);
  return tg_hook_start(interaction->all->env->hooks, TG_METHOD_delivery_handle_interaction_queueing,
                       &argument, 1, on_script_done, interaction);
}

void tg_interaction_answer(struct tg_interaction *interaction)
{
  struct tg_interactions *all = interaction->all;
  if (!all->env->config->interaction.fallback || !interaction->lane->sender || !still_waits(interaction)) {
    tg_interaction_unwatch(interaction);
    return;
  }
  tg_interaction_move(interaction, TG_WATCH_ANSWERING);
  if (tg_env_now(all->env) >= interaction->until) {
    if (is_autocompletion(interaction))
      unqueue(interaction);
    end_answer(interaction, false, "there was no time left for it");
    return;
  }
  /* A second answer to one is of no use, and neither is the bot's, should this process die. */
  if (is_autocompletion(interaction))
    tg_interaction_mark(interaction, TG_MARK_DEFERRED);
  if (!answer_by_script(interaction))
    answer_by_rest(interaction);
}

struct tg_callback *tg_interactions_answer(struct tg_interactions *all,
                                           const struct tg_interaction_facts *facts,
                                           tg_interaction_answered *done, void *ctx)
{
  tg_ms until = tg_env_now(all->env) + TG_INTERACTION_LIFE;
  const struct tg_interaction *interaction;
  TAILQ_FOREACH(interaction, &all->answering, link)
  {
    if (interaction->facts.id == facts->id)
      until = interaction->until;
  }
  return tg_callback_start(&all->callbacks, facts, until, done, ctx);
}
