#include "delivery/interactions/interaction.h"

#include "delivery/delivery_internal.h"

#include <stdlib.h>

/* The express lane: an interaction that has others in front of it is sent at
 * once, beside its lane, in which it keeps its place. An event is in one request
 * at a time: while it is in flight here the lane stops in front of it
 * (tg_queued.in_flight). Accepted, it leaves its lane from where it stands; else
 * the lane sends it when its turn has come. */

enum {
  IN_FLIGHT_MAX = 4, /* of an event handler */
  WAITING_MAX = 1000,
};

static bool is_scripted(const struct tg_lane *lane)
{
  const struct tg_hooks *hooks = lane->delivery->env.hooks;
  return lane->handler->is_script || tg_hooked(hooks, TG_METHOD_delivery_deliver) ||
         tg_hooked(hooks, TG_METHOD_delivery_handle_queue);
}

/* What is first in its lane, or on its way, is not late. */
static bool may_offer(const struct tg_interaction *interaction)
{
  const struct tg_lane *lane = interaction->lane;
  const struct tg_queued *queued = interaction->queued;
  return lane->handler && !is_scripted(lane) &&
         !(queued && (queued->in_flight || queued == lane->queue.head));
}

void tg_express_offer(struct tg_interaction *interaction)
{
  if (!may_offer(interaction))
    return;
  struct tg_handler *handler = interaction->lane->handler;
  if (handler->express_waiting == WAITING_MAX) /* the latest have the best chance to be in time */
    tg_express_return(TAILQ_FIRST(&handler->express));
  interaction->express = TG_EXPRESS_WAITING;
  interaction->handler = handler;
  TAILQ_INSERT_TAIL(&handler->express, interaction, ticket);
  handler->express_waiting++;
  tg_express_pump(handler);
}

void tg_express_return(struct tg_interaction *interaction)
{
  struct tg_handler *handler = interaction->handler;
  TAILQ_REMOVE(&handler->express, interaction, ticket);
  handler->express_waiting--;
  interaction->express = TG_EXPRESS_NONE;
  tg_interaction_release(interaction);
}

void tg_express_close(struct tg_handler *handler)
{
  while (!TAILQ_EMPTY(&handler->express))
    tg_express_return(TAILQ_FIRST(&handler->express));
}

/* --- what becomes of it ------------------------------------------------------------ */

static bool is_first_in_log(const struct tg_interaction *interaction)
{
  return tg_event_log_next(interaction->source->log, interaction->shard_id, 0, NULL) == interaction->position;
}

static void leave_behind_others(struct tg_interaction *interaction)
{
  struct tg_lane *lane = interaction->lane;
  struct tg_queued *queued = interaction->queued;
  if (interaction->source && !is_first_in_log(interaction))
    tg_interaction_mark(interaction, TG_MARK_DONE);
  tg_count(&lane->row->delivered);
  tg_count(&tg_stats_type(TG_EVENT_INTERACTION_CREATE)->delivered);
  tg_stats_latency(tg_env_now(&lane->delivery->env) - interaction->arrived);
  if (queued) {
    tg_lane_remove(lane, queued); /* calls tg_interaction_gone() */
    return;
  }
  if (interaction->source)
    tg_lane_skip(lane, interaction->source, interaction->position);
  tg_interaction_gone(interaction);
}

static void on_answer(void *ctx, const struct tg_http_response *response)
{
  struct tg_interaction *interaction = ctx;
  struct tg_handler *handler = interaction->handler;
  struct tg_lane *lane = interaction->lane;
  TAILQ_REMOVE(&handler->delivery->interactions.express, interaction, ticket);
  handler->express_in_flight--;
  if (interaction->queued)
    interaction->queued->in_flight = false;
  struct tg_judgement judgement = tg_judgement_of(handler, response, false);
  tg_judgement_count(&judgement);
  if (judgement.outcome == TG_OUTCOME_DELIVERED && lane)
    leave_behind_others(interaction);
  tg_judgement_teach(&judgement, 1, -1);
  interaction->express = TG_EXPRESS_NONE;
  tg_interaction_release(interaction);
  if (lane)
    tg_lane_wants_turn(lane);
  tg_handler_release(handler);
  if (!handler->retired)
    tg_handler_pump(handler);
  if (lane && lane->handler && lane->handler != handler)
    tg_handler_pump(lane->handler);
}

/* --- sending -------------------------------------------------------------------------- */

static bool is_wanted(const struct tg_interaction *interaction)
{
  const struct tg_delivery *delivery = interaction->delivery;
  tg_ms age = tg_env_now(&delivery->env) - interaction->arrived;
  return delivery->env.config->interaction.express && interaction->lane->handler == interaction->handler &&
         age < tg_patience(TG_INTERACTION_TOKEN_LIFE) && may_offer(interaction);
}

static void send_ahead(struct tg_handler *handler, struct tg_interaction *interaction)
{
  bool batch = handler->delivery->env.config->event_handler.batch;
  struct tg_buf body = {0};
  tg_buf_printf(&body, "%s{\"shardId\":%d,\"epoch\":%llu,\"message\":", batch ? "[" : "",
                interaction->shard_id, (unsigned long long)interaction->epoch);
  tg_buf_append(&body, interaction->message, interaction->length);
  tg_buf_printf(&body, "%s}%s", interaction->marks & TG_MARK_DEFERRED ? ",\"deferred\":true" : "",
                batch ? "]" : "");
  struct tg_span text = {NULL, body.length};
  text.at = interaction->body = tg_buf_take(&body);
  struct tg_batch_end only = {interaction->sequence, false};
  char key[TG_BATCH_KEY];
  tg_batch_key_of(key, interaction->shard_id, interaction->epoch, only, only);

  TAILQ_REMOVE(&handler->express, interaction, ticket);
  handler->express_waiting--;
  interaction->express = TG_EXPRESS_SENDING;
  TAILQ_INSERT_TAIL(&handler->delivery->interactions.express, interaction, ticket);
  handler->express_in_flight++;
  if (interaction->queued)
    interaction->queued->in_flight = true;
  tg_handler_in_flight(handler, 1);
  tg_count(&tg_stats()->interactions.express);
  interaction->request = tg_handler_post(handler, key, text, on_answer, interaction);
}

void tg_express_pump(struct tg_handler *handler)
{
  while (handler->circuit.state == TG_CIRCUIT_CLOSED && handler->express_in_flight < IN_FLIGHT_MAX &&
         handler->express_waiting > 0 && !handler->delivery->env.stopping) {
    struct tg_interaction *first = TAILQ_FIRST(&handler->express);
    if (is_wanted(first))
      send_ahead(handler, first);
    else
      tg_express_return(first);
  }
}

void tg_express_end(struct tg_delivery *delivery)
{
  struct tg_interaction *interaction;
  for (int i = 0; i < delivery->handler_count; i++)
    tg_express_close(delivery->handlers[i]);
  while ((interaction = TAILQ_FIRST(&delivery->interactions.express))) {
    TAILQ_REMOVE(&delivery->interactions.express, interaction, ticket);
    tg_http_cancel(delivery->http, interaction->request);
    tg_handler_release(interaction->handler);
    interaction->express = TG_EXPRESS_NONE;
    tg_interaction_release(interaction);
  }
}
