#include "delivery/interactions/interaction.h"

#include "base/log.h"
#include "delivery/sinks/sender.h"

#include <stdlib.h>
#include <string.h>

enum { LOOK_AGAIN = 5 /* at what is not durable yet */ };

static struct tg_interaction_list *list_of(struct tg_interaction *interaction)
{
  struct tg_interactions *all = interaction->all;
  struct tg_interaction_list *const lists[] = {&all->grace, &all->due, &all->answering};
  return lists[interaction->watch];
}

/* --- life and death ------------------------------------------------------------------ */

void tg_interaction_leave_lane(struct tg_interaction *interaction)
{
  if (!interaction->lane)
    return;
  LIST_REMOVE(interaction, in_lane);
  if (interaction->queued)
    interaction->queued->interaction = NULL;
  interaction->queued = NULL;
  interaction->source = NULL;
  interaction->lane = NULL;
}

static size_t size_of(size_t length, const struct tg_interaction_facts *facts)
{
  return sizeof(struct tg_interaction) + length + facts->token.length;
}

void tg_interaction_release(struct tg_interaction *interaction)
{
  if (interaction->watch != TG_WATCH_NONE || interaction->is_express)
    return;
  tg_interaction_leave_lane(interaction);
  interaction->all->bytes -= size_of(interaction->length, &interaction->facts);
  free(interaction);
}

void tg_interaction_unwatch(struct tg_interaction *interaction)
{
  if (interaction->watch != TG_WATCH_NONE)
    TAILQ_REMOVE(list_of(interaction), interaction, link);
  if (interaction->callback)
    tg_callback_cancel(interaction->callback);
  interaction->callback = NULL;
  interaction->watch = TG_WATCH_NONE;
  tg_interaction_release(interaction);
}

/* By the script, or by a request that is under way. Between two requests it is not: the event handler has
 * the event by then, and may want to answer it itself. */
static bool is_being_answered(const struct tg_interaction *interaction)
{
  return interaction->watch == TG_WATCH_ANSWERING &&
         (!interaction->callback || tg_callback_in_flight(interaction->callback));
}

void tg_interaction_gone(struct tg_interaction *interaction)
{
  bool waits = interaction->is_express && interaction->parcel.waits;
  tg_interaction_leave_lane(interaction);
  if (!is_being_answered(interaction) && interaction->watch != TG_WATCH_NONE)
    tg_interaction_unwatch(interaction);
  if (waits)
    tg_express_return(interaction);
}

static void set_marks(struct tg_interaction *interaction, uint8_t marks)
{
  struct tg_error error = {0};
  struct tg_log_source *source = interaction->source;
  interaction->marks = marks;
  if (source && tg_event_log_waits(source->log, interaction->ref, interaction->position) &&
      !tg_event_log_mark(source->log, interaction->position, interaction->marks, &error))
    tg_log_with(TG_WARN, tg_ref_id(interaction->ref), TG_WITH(TG_TEXT(REASON, error.message)),
                "what became of interaction %llu cannot be noted in the log",
                (unsigned long long)interaction->facts.id);
}

void tg_interaction_mark(struct tg_interaction *interaction, uint8_t mark)
{
  set_marks(interaction, interaction->marks | mark);
}

void tg_interaction_unmark(struct tg_interaction *interaction, uint8_t mark)
{
  set_marks(interaction, interaction->marks & (uint8_t)~mark);
}

static void leave_source(struct tg_lane *lane, const struct tg_log_source *source)
{
  struct tg_interaction *interaction;
  LIST_FOREACH(interaction, &lane->interactions, in_lane)
  {
    if (interaction->source == source)
      interaction->source = NULL;
  }
}

struct tg_interaction *tg_interaction_find(const struct tg_lane *lane, uint64_t epoch, uint64_t sequence)
{
  struct tg_interaction *interaction;
  LIST_FOREACH(interaction, &lane->interactions, in_lane)
  {
    if (interaction->epoch == epoch && interaction->sequence == sequence)
      return interaction;
  }
  return NULL;
}

void tg_interaction_link(struct tg_interaction *interaction, struct tg_queued *queued)
{
  queued->in_flight |= tg_parcel_in_flight(&interaction->parcel);
  interaction->queued = queued;
  queued->interaction = interaction;
}

/* Those that wait for the express lane go first, the oldest of them: they have their
 * place in their lane. */
static bool make_room(struct tg_lane *lane, size_t size)
{
  const struct tg_interactions *all = lane->lanes->watch_ctx;
  while (all->bytes + size > TG_INTERACTIONS_BYTES && lane->sender && tg_express_give_way(lane->sender))
    ;
  return all->bytes + size <= TG_INTERACTIONS_BYTES;
}

struct tg_interaction *tg_interaction_new(struct tg_lane *lane, struct tg_span message,
                                          const struct tg_interaction_facts *facts, uint64_t epoch,
                                          uint64_t sequence)
{
  size_t size = size_of(message.length, facts);
  if (!make_room(lane, size)) {
    const struct tg_interaction unwatched = {
        .ref = lane->feed->ref, .epoch = epoch, .sequence = sequence, .facts = *facts};
    tg_interaction_count_failed(lane->lanes->watch_ctx, &unwatched, "too many wait already");
    return NULL;
  }
  struct tg_interactions *all = lane->lanes->watch_ctx;
  struct tg_interaction *interaction = tg_calloc(1, size);
  all->bytes += size;
  interaction->all = all;
  interaction->epoch = epoch;
  interaction->sequence = sequence;
  interaction->lane = lane;
  interaction->ref = lane->feed->ref;
  interaction->watch = TG_WATCH_NONE;
  interaction->length = message.length;
  interaction->facts = *facts;
  interaction->facts.token.at = interaction->message + message.length;
  memcpy(interaction->message, message.at, message.length);
  memcpy(interaction->message + message.length, facts->token.at, facts->token.length);
  LIST_INSERT_HEAD(&lane->interactions, interaction, in_lane);
  return interaction;
}

/* --- time ------------------------------------------------------------------------------ */

static void tend(struct tg_interactions *all);

static void on_timer(uv_timer_t *timer)
{
  tend(timer->data);
}

static void wake(struct tg_interactions *all)
{
  uv_timer_start(&all->timer, on_timer, 0, 0);
}

static void set_timer(struct tg_interactions *all)
{
  const struct tg_interaction *first = TAILQ_FIRST(&all->grace);
  tg_ms now = tg_env_now(all->env), wait = first && first->due > now ? first->due - now : 0;
  if (!TAILQ_EMPTY(&all->due) && (!first || wait > LOOK_AGAIN))
    wait = LOOK_AGAIN;
  else if (!first)
    return;
  uv_timer_start(&all->timer, on_timer, (uint64_t)wait, 0);
}

void tg_interaction_move(struct tg_interaction *interaction, enum tg_watching watch)
{
  TAILQ_REMOVE(list_of(interaction), interaction, link);
  interaction->watch = watch;
  TAILQ_INSERT_TAIL(list_of(interaction), interaction, link);
}

void tg_interaction_watch(struct tg_interaction *interaction, bool due)
{
  struct tg_interactions *all = interaction->all;
  interaction->watch = due ? TG_WATCH_DUE : TG_WATCH_GRACE;
  if (due) {
    TAILQ_INSERT_TAIL(&all->due, interaction, link);
    wake(interaction->all);
    return;
  }
  struct tg_interaction *before = TAILQ_LAST(&all->grace, tg_interaction_list);
  while (before && before->due > interaction->due)
    before = TAILQ_PREV(before, tg_interaction_list, link);
  if (before)
    TAILQ_INSERT_AFTER(&all->grace, before, interaction, link);
  else
    TAILQ_INSERT_HEAD(&all->grace, interaction, link);
  if (!before && TAILQ_EMPTY(&all->due)) /* else it is set already */
    set_timer(interaction->all);
}

/* It is answered when its event is safe: another process must not answer it a second time. That is not
 * waited for where it cannot be had: of an event that is in no log, or while the own log refuses events;
 * and what is in an older log, or of an older session, is safe. */
static bool is_durable(const struct tg_interaction *interaction)
{
  const struct tg_interactions *all = interaction->all;
  const struct tg_lane *lane = interaction->lane;
  return interaction->source != all->lanes->logs.own || !interaction->source ||
         lane->feed->session.epoch != interaction->epoch || lane->durable >= interaction->sequence ||
         lane->log.first_unlogged || all->lanes->logs.alarmed_at != 0;
}

/* Another host that has the shard sees to it; but what was to be done is over in any case with its time. */
static bool is_withheld(const struct tg_interaction *interaction)
{
  return tg_lane_is_withheld(interaction->lane) && tg_env_now(interaction->all->env) < interaction->until;
}

static struct tg_interaction *first_to_answer(const struct tg_interactions *all)
{
  struct tg_interaction *interaction;
  TAILQ_FOREACH(interaction, &all->due, link)
  {
    if (is_durable(interaction) && !is_withheld(interaction))
      return interaction;
  }
  return NULL;
}

static void tend(struct tg_interactions *all)
{
  struct tg_interaction *interaction;
  tg_ms now = tg_env_now(all->env);
  while ((interaction = TAILQ_FIRST(&all->grace)) && interaction->due <= now)
    tg_interaction_move(interaction, TG_WATCH_DUE);
  while ((interaction = first_to_answer(all)))
    tg_interaction_answer(interaction);
  set_timer(all);
}

/* --- what happens to it --------------------------------------------------------------------- */

/* The event has just been put at the end of the queue; only markers of what was dropped to make room for
 * it may stand behind it. NULL: it is not in the queue. */
static struct tg_queued *last_queued(const struct tg_lane_queue *queue, const struct tg_event *event)
{
  struct tg_queued *last = queue->tail;
  while (last && last->gap)
    last = last->previous;
  return last && last->epoch == event->epoch && last->sequence == event->sequence && !last->marker ? last
                                                                                                   : NULL;
}

static bool is_down(const struct tg_sender *sender)
{
  return sender->circuit.state != TG_CIRCUIT_CLOSED;
}

/* What comes live has come without delay, whatever our clock says, and shows by
 * how much that is off; only what is replayed can be old. Until then the wall
 * clock is taken for right. */
static tg_ms time_left(struct tg_interactions *all, const struct tg_event *event, uint64_t id)
{
  tg_ms since = tg_steady_clock() - tg_interaction_made_at(id);
  if (!event->replayed) {
    all->behind = since;
    all->measured = true;
  }
  tg_ms behind = all->measured ? all->behind : tg_steady_clock() - tg_wall_clock();
  return since > behind ? TG_INTERACTION_LIFE - (since - behind) : TG_INTERACTION_LIFE;
}

static void arrived(struct tg_lane *lane, const struct tg_event *event, tg_log_position position)
{
  struct tg_interactions *all = lane->lanes->watch_ctx;
  struct tg_interaction_facts facts;
  struct tg_queued *queued = last_queued(lane->log.spilled ? &lane->log.late : &lane->queue, event);
  bool fallback = all->env->config->interaction.fallback, express = all->env->config->interaction.express;
  if ((!fallback && !express) || (!queued && position == 0) || !tg_interaction_read(event->data, &facts))
    return;
  tg_ms now = tg_env_now(all->env), grace = all->env->config->interaction.grace;
  tg_ms left = time_left(all, event, facts.id);
  if (event->replayed && grace > left / 2)
    grace = left / 2;
  struct tg_interaction *interaction =
      tg_interaction_new(lane, tg_event_message(event), &facts, event->epoch, event->sequence);
  if (!interaction)
    return;
  interaction->source = position != 0 ? all->lanes->logs.own : NULL;
  interaction->position = position;
  interaction->total_shards = event->total_shards;
  interaction->replayed = event->replayed;
  interaction->arrived = now;
  interaction->due = now + grace;
  interaction->until = now + left;
  if (queued)
    tg_interaction_link(interaction, queued);
  if (fallback && left > 0)
    tg_interaction_watch(interaction, is_down(lane->sender) && !(queued && queued->in_flight));
  if (express)
    tg_express_offer(interaction);
  tg_interaction_release(interaction);
}

/* Nobody knows when it will answer again. */
static void on_down(void *ctx, struct tg_sender *sender)
{
  struct tg_interactions *all = ctx;
  struct tg_interaction *interaction, *next;
  for (interaction = TAILQ_FIRST(&all->grace); interaction; interaction = next) {
    next = TAILQ_NEXT(interaction, link);
    if (interaction->lane->sender != sender || tg_parcel_in_flight(&interaction->parcel) ||
        (interaction->queued && interaction->queued->in_flight))
      continue;
    tg_interaction_move(interaction, TG_WATCH_DUE);
    wake(all);
  }
}

/* --- the whole ------------------------------------------------------------------------------------ */

bool tg_interactions_busy(const struct tg_interactions *all)
{
  const struct tg_interaction *interaction;
  TAILQ_FOREACH(interaction, &all->answering, link)
  {
    if (interaction->until > tg_env_now(all->env)) /* else only a script still works on it */
      return true;
  }
  return !TAILQ_EMPTY(&all->due);
}

static void on_logged(struct tg_queued *event)
{
  struct tg_interaction *interaction = event->interaction;
  uint8_t marks = interaction ? interaction->marks : event->deferred ? TG_MARK_DEFERRED : 0;
  if (interaction) {
    interaction->source = event->source;
    interaction->position = event->position;
  }
  if (marks != 0)
    tg_event_log_mark(event->source->log, event->position, marks,
                      NULL); /* it is in the buffer: that succeeds */
}

static void on_unloaded(struct tg_queued *event)
{
  event->interaction->queued = NULL; /* until the event is read back */
  event->interaction = NULL;
}

static void on_gone(struct tg_queued *event)
{
  tg_interaction_gone(event->interaction);
}

static bool is_busy(const struct tg_lane *lane)
{
  const struct tg_interaction *interaction;
  LIST_FOREACH(interaction, &lane->interactions, in_lane)
  {
    if (tg_parcel_in_flight(&interaction->parcel))
      return true;
  }
  return false;
}

static void on_stopped(struct tg_lane *lane)
{
  struct tg_interaction *interaction = LIST_FIRST(&lane->interactions), *next;
  for (; interaction; interaction = next) {
    next = LIST_NEXT(interaction, in_lane);
    if (!interaction->is_express)
      continue;
    if (interaction->queued)
      interaction->queued->in_flight = false;
    tg_express_return(interaction);
  }
}

/* A script that is answering one of them is not stopped; its word changes nothing here any more. */
static void on_leaves(struct tg_lane *lane)
{
  struct tg_interaction *interaction;
  while ((interaction = LIST_FIRST(&lane->interactions)) != NULL) {
    bool by_script = interaction->watch == TG_WATCH_ANSWERING && !interaction->callback;
    tg_interaction_leave_lane(interaction);
    if (!by_script)
      tg_interaction_unwatch(interaction);
  }
}

static const struct tg_lane_watch watch = {
    .arrived = arrived,
    .opened = tg_interactions_recover,
    .is_over = tg_interaction_is_over,
    .read_back = tg_interaction_read_back,
    .logged = on_logged,
    .unloaded = on_unloaded,
    .gone = on_gone,
    .busy = is_busy,
    .stopped = on_stopped,
    .leaves = on_leaves,
    .leaves_source = leave_source,
    .has_turn = tg_interaction_expires,
};

void tg_interactions_begin(struct tg_interactions *all, struct tg_delivery_env *env, struct tg_lanes *lanes,
                           struct tg_senders *senders)
{
  all->env = env;
  all->lanes = lanes;
  all->senders = senders;
  lanes->watch = &watch;
  lanes->watch_ctx = all;
  senders->on_down = on_down;
  senders->on_down_ctx = all;
  TAILQ_INIT(&all->grace);
  TAILQ_INIT(&all->due);
  TAILQ_INIT(&all->answering);
  TAILQ_INIT(&all->express);
  tg_handles_timer(&all->env->handles, &all->timer, all);
  tg_callbacks_begin(&all->callbacks, all->env, senders->http);
}

static void unwatch_all(struct tg_interaction_list *list)
{
  while (!TAILQ_EMPTY(list))
    tg_interaction_unwatch(TAILQ_FIRST(list));
}

void tg_interactions_end(struct tg_interactions *all)
{
  unwatch_all(&all->grace);
  unwatch_all(&all->due);
  unwatch_all(&all->answering);
  tg_express_end(all);
  tg_callbacks_end(&all->callbacks);
  tg_handles_close(&all->env->handles, &all->timer);
}
