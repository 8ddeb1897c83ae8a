#include "delivery/interactions/interaction.h"

#include "delivery/sinks/sender.h"

/* The express lane: an interaction that has others in front of it is sent at
 * once, in a parcel of its own beside its lane, in which it keeps its place. An
 * event is in one parcel at a time: while it is in flight here the lane stops in
 * front of it (tg_queued.in_flight). Accepted, it leaves its lane from where it
 * stands; else the lane sends it when its turn has come. */

enum { WAITING_MAX = 1000 /* for an event handler */ };

static struct tg_interaction *interaction_of(struct tg_parcel *parcel)
{
  return (struct tg_interaction *)((char *)parcel - offsetof(struct tg_interaction, parcel));
}

static bool is_scripted(const struct tg_lane *lane)
{
  const struct tg_hooks *hooks = lane->lanes->env->hooks;
  return !lane->sender->direct || tg_hooked(hooks, TG_METHOD_delivery_deliver) ||
         tg_hooked(hooks, TG_METHOD_delivery_handle_queue);
}

/* Whether it gains anything: an event that is first in its lane, or in flight, has nobody to pass. */
static bool may_offer(const struct tg_interaction *interaction)
{
  const struct tg_lane *lane = interaction->lane;
  const struct tg_queued *queued = interaction->queued;
  return lane->sender && !is_scripted(lane) && !tg_gate_holds(lane) &&
         !(queued && (queued->in_flight || queued == lane->queue.head));
}

/* It is in the express lane no longer; in its own lane it still has its place. */
static void give_back(struct tg_interaction *interaction)
{
  TAILQ_REMOVE(&interaction->all->express, interaction, ticket);
  interaction->is_express = false;
  tg_interaction_release(interaction);
}

void tg_express_return(struct tg_interaction *interaction)
{
  tg_sender_withdraw(&interaction->parcel);
  give_back(interaction);
}

/* --- what becomes of it ------------------------------------------------------------ */

static bool is_first_in_log(const struct tg_interaction *interaction)
{
  return tg_event_log_next(interaction->source->log, interaction->ref, 0, NULL) == interaction->position;
}

static void leave_behind_others(struct tg_interaction *interaction)
{
  struct tg_lane *lane = interaction->lane;
  struct tg_queued *queued = interaction->queued;
  if (interaction->source && !is_first_in_log(interaction))
    tg_interaction_mark(interaction, TG_MARK_DONE);
  tg_lane_count(lane, delivered, 1);
  tg_count(&tg_stats_type(TG_EVENT_INTERACTION_CREATE)->delivered);
  tg_stats_latency(lane->lanes->stats, tg_env_now(lane->lanes->env) - interaction->arrived);
  if (queued) {
    tg_lane_remove(lane, queued); /* and with it tg_interaction_gone() */
    return;
  }
  if (interaction->source)
    tg_lane_skip(lane, interaction->source, interaction->position);
  tg_interaction_gone(interaction);
}

static void on_over(struct tg_parcel *parcel, struct tg_judgement *judgement)
{
  struct tg_interaction *interaction = interaction_of(parcel);
  struct tg_lane *lane = interaction->lane;
  if (interaction->queued)
    interaction->queued->in_flight = false;
  if (judgement->outcome == TG_OUTCOME_DELIVERED && lane)
    leave_behind_others(interaction);
  tg_judgement_teach(judgement, -1);
  give_back(interaction);
  if (lane)
    tg_lane_go_on(lane);
}

/* --- its turn -------------------------------------------------------------------------- */

static bool is_wanted(const struct tg_interaction *interaction)
{
  const struct tg_interactions *all = interaction->all;
  tg_ms age = tg_env_now(all->env) - interaction->arrived;
  return all->env->config->interaction.express && age < tg_patience(TG_INTERACTION_TOKEN_LIFE) &&
         may_offer(interaction);
}

static struct tg_stored stored_of(const struct tg_interaction *interaction)
{
  return (struct tg_stored){
      .shard_id = tg_ref_id(interaction->ref),
      .total_shards = interaction->total_shards,
      .epoch = interaction->epoch,
      .sequence = interaction->sequence,
      .type = TG_EVENT_INTERACTION_CREATE,
      .deferred = interaction->marks & TG_MARK_DEFERRED,
      .message = {interaction->message, interaction->length},
  };
}

static bool prepare(struct tg_parcel *parcel)
{
  struct tg_interaction *interaction = interaction_of(parcel);
  if (!is_wanted(interaction)) {
    give_back(interaction);
    return false;
  }
  if (interaction->queued)
    interaction->queued->in_flight = true;
  tg_count(&tg_stats()->interactions.express);
  struct tg_stored event = stored_of(interaction);
  struct tg_parcel_end only = tg_parcel_end(&event);
  tg_parcel_name(parcel, event.epoch, only, only, 1, tg_body_length(&event));
  return true;
}

static void write_body(struct tg_parcel *parcel)
{
  const struct tg_interaction *interaction = interaction_of(parcel);
  struct tg_stored event = stored_of(interaction);
  tg_parcel_put(parcel, &event, interaction->arrived);
}

static void on_returned(struct tg_parcel *parcel)
{
  give_back(interaction_of(parcel));
}

bool tg_express_give_way(struct tg_sender *sender)
{
  struct tg_parcel *oldest = TAILQ_FIRST(&sender->waiting[TG_WAY_EXPRESS]);
  if (oldest)
    tg_express_return(interaction_of(oldest));
  return oldest != NULL;
}

void tg_express_offer(struct tg_interaction *interaction)
{
  static const struct tg_parcel_owner owner = {
      .prepare = prepare, .write = write_body, .over = on_over, .returned = on_returned};
  if (!may_offer(interaction))
    return;
  struct tg_sender *sender = interaction->lane->sender;
  if (sender->waiting_count[TG_WAY_EXPRESS] ==
      WAITING_MAX) /* the latest have the best chance to be in time */
    tg_express_give_way(sender);
  interaction->parcel = (struct tg_parcel){.owner = &owner, .lane = interaction->lane, .way = TG_WAY_EXPRESS};
  interaction->is_express = true;
  TAILQ_INSERT_TAIL(&interaction->all->express, interaction, ticket);
  tg_sender_queue(sender, &interaction->parcel);
  tg_sender_pump(sender);
}

void tg_express_end(struct tg_interactions *all)
{
  while (!TAILQ_EMPTY(&all->express))
    tg_express_return(TAILQ_FIRST(&all->express));
}
