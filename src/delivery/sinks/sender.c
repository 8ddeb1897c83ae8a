#include "delivery/sinks/sender.h"

#include "base/buf.h"
#include "delivery/lanes/lanes.h"

#include <stdlib.h>

enum { BATCH_GROWTH = 4 << 10 /* bytes of what a handler takes at once, after it was too much */ };

static void on_ended(struct tg_parcel *parcel, const struct tg_answer *answer);

struct tg_sender *tg_sender_new(struct tg_senders *all, const char *url, struct tg_carrier *direct)
{
  struct tg_sender *sender = tg_calloc(1, sizeof *sender);
  sender->all = all;
  sender->url = url ? tg_strdup(url) : NULL;
  sender->carrier = all->script;
  sender->direct = direct;
  sender->public_url = direct ? direct->name : sender->carrier->name;
  sender->carrier->ended = on_ended;
  if (direct)
    direct->ended = on_ended;
  tg_window_init(&sender->window);
  for (int way = 0; way < TG_WAYS; way++)
    TAILQ_INIT(&sender->waiting[way]);
  sender->stats = tg_stats_handler(sender->public_url);
  tg_sender_gauge(&sender->stats->users, 1);
  tg_handles_timer(&all->env->handles, &sender->timer, sender);
  return sender;
}

static void on_retired(uv_handle_t *timer)
{
  struct tg_sender *sender = timer->data;
  struct tg_handles *handles = &sender->all->env->handles;
  if (sender->direct)
    sender->direct->kind->free(sender->direct);
  free(sender->url);
  free(sender);
  tg_handles_closed(handles);
}

static void send_back(struct tg_sender *sender, enum tg_parcel_way way)
{
  struct tg_parcel *parcel;
  while ((parcel = TAILQ_FIRST(&sender->waiting[way]))) {
    tg_sender_forget(parcel);
    parcel->owner->returned(parcel);
  }
}

void tg_sender_retire(struct tg_sender *sender)
{
  if (!sender->retired) {
    tg_sender_gauge(&sender->stats->users, -1);
    if (sender->circuit.state != TG_CIRCUIT_CLOSED)
      tg_sender_publish_down(sender, -1);
  }
  sender->retired = true;
  for (int way = 0; way < TG_WAYS; way++)
    send_back(sender, way);
  tg_refusals_report(sender);
  if (sender->in_flight == 0 && sender->nested_in_flight == 0 &&
      !uv_is_closing((uv_handle_t *)&sender->timer))
    uv_close((uv_handle_t *)&sender->timer, on_retired);
}

/* --- waiting ------------------------------------------------------------------------- */

void tg_sender_queue(struct tg_sender *sender, struct tg_parcel *parcel)
{
  parcel->sender = sender;
  parcel->waits = true;
  TAILQ_INSERT_TAIL(&sender->waiting[parcel->way], parcel, link);
  sender->waiting_count[parcel->way]++;
}

void tg_sender_forget(struct tg_parcel *parcel)
{
  struct tg_sender *sender = parcel->sender;
  TAILQ_REMOVE(&sender->waiting[parcel->way], parcel, link);
  sender->waiting_count[parcel->way]--;
  parcel->waits = false;
  parcel->sender = NULL;
}

/* Whose turn it is. A handler that is being tried gets what has waited longest. */
static struct tg_parcel *next_of_lanes(const struct tg_sender *sender)
{
  struct tg_parcel *next = TAILQ_FIRST(&sender->waiting[TG_WAY_LANE]), *parcel;
  if (sender->circuit.state != TG_CIRCUIT_HALF_OPEN)
    return next;
  TAILQ_FOREACH(parcel, &sender->waiting[TG_WAY_LANE], link)
  {
    if (parcel->owner->since(parcel) < next->owner->since(next))
      next = parcel;
  }
  return next;
}

/* --- in flight ------------------------------------------------------------------------ */

static void count(struct tg_sender *sender, const struct tg_parcel *parcel, int change)
{
  if (parcel->way == TG_WAY_NESTED || parcel->way == TG_WAY_LETTER) {
    sender->nested_in_flight += change;
    return;
  }
  sender->express_in_flight += parcel->way == TG_WAY_EXPRESS ? change : 0;
  sender->in_flight += change;
  tg_sender_gauge(&sender->stats->in_flight, change);
}

void tg_sender_send(struct tg_sender *sender, struct tg_parcel *parcel)
{
  if (!parcel->owner->prepare(parcel))
    return;
  parcel->sender = sender;
  bool scripted = parcel->way == TG_WAY_LANE || parcel->way == TG_WAY_LETTER;
  parcel->carrier = scripted ? sender->carrier : sender->direct;
  parcel->posted = false;
  count(sender, parcel, 1);
  parcel->carrier->kind->start(parcel->carrier, parcel);
}

static void take_back(struct tg_parcel *parcel)
{
  count(parcel->sender, parcel, -1);
  tg_parcel_empty(parcel);
  parcel->sender = NULL;
  parcel->carrier = NULL;
}

/* What is too large in one request comes in two, until it was long enough well. */
static void learn_size(struct tg_sender *sender, const struct tg_parcel *parcel,
                       const struct tg_judgement *judgement)
{
  if (judgement->outcome == TG_OUTCOME_REFUSED && judgement->answer->status == TG_TOO_LARGE &&
      parcel->count > 1)
    sender->bytes_learned = parcel->bytes / 2;
  else if (judgement->outcome == TG_OUTCOME_DELIVERED && sender->bytes_learned > 0 &&
           parcel->bytes + BATCH_GROWTH > sender->bytes_learned)
    sender->bytes_learned += BATCH_GROWTH;
  if (sender->bytes_learned >= sender->all->lanes->handler->batch.bytes)
    sender->bytes_learned = 0;
}

size_t tg_sender_batch_bytes(const struct tg_sender *sender)
{
  size_t most = sender->all->lanes->handler->batch.bytes;
  return sender->bytes_learned > 0 && sender->bytes_learned < most ? sender->bytes_learned : most;
}

static bool is_up(enum tg_outcome outcome)
{
  return outcome == TG_OUTCOME_DELIVERED || outcome == TG_OUTCOME_REFUSED || outcome == TG_OUTCOME_SLOW_DOWN;
}

static void on_ended(struct tg_parcel *parcel, const struct tg_answer *answer)
{
  struct tg_sender *sender = parcel->sender;
  struct tg_judgement judgement = tg_judgement_of(parcel, answer);
  if (judgement.teaches)
    learn_size(sender, parcel, &judgement);
  bool unasked = parcel->way == TG_WAY_POST || parcel->way == TG_WAY_LETTER;
  if (unasked && sender->circuit.state == TG_CIRCUIT_OPEN && is_up(judgement.outcome))
    sender->circuit.state = TG_CIRCUIT_HALF_OPEN; /* a script, or a person, has not waited, and was right */
  take_back(parcel);
  parcel->owner->over(parcel, &judgement);
  if (sender->retired)
    tg_sender_retire(sender);
  else
    tg_sender_pump(sender);
}

void tg_sender_withdraw(struct tg_parcel *parcel)
{
  struct tg_sender *sender = parcel->sender;
  if (parcel->waits) {
    tg_sender_forget(parcel);
    return;
  }
  parcel->carrier->kind->cancel(parcel->carrier, parcel);
  take_back(parcel);
  if (sender->retired)
    tg_sender_retire(sender);
}

bool tg_sender_has_room(const struct tg_sender *sender)
{
  return sender->carrier->wide ||
         sender->in_flight - sender->express_in_flight < tg_window_limit(&sender->window);
}

/* --- sending ---------------------------------------------------------------------------- */

static void on_wait_over(uv_timer_t *timer)
{
  tg_sender_pump(timer->data);
}

static void send_waiting(struct tg_sender *sender, struct tg_parcel *parcel)
{
  tg_sender_forget(parcel);
  tg_sender_send(sender, parcel);
}

void tg_sender_pump(struct tg_sender *sender)
{
  const struct tg_delivery_env *env = sender->all->env;
  tg_ms now = tg_env_now(env);
  struct tg_parcel *parcel;
  if (env->stopping)
    return;
  while (sender->circuit.state == TG_CIRCUIT_CLOSED && sender->express_in_flight < TG_EXPRESS_IN_FLIGHT &&
         (parcel = TAILQ_FIRST(&sender->waiting[TG_WAY_EXPRESS])))
    send_waiting(sender, parcel);
  while ((parcel = TAILQ_FIRST(&sender->waiting[TG_WAY_POST])) && tg_sender_has_room(sender))
    send_waiting(sender, parcel);
  while (!TAILQ_EMPTY(&sender->waiting[TG_WAY_LANE]) && tg_sender_has_room(sender) &&
         tg_circuit_allows(&sender->circuit, now, sender->in_flight))
    send_waiting(sender, next_of_lanes(sender));
  if (!TAILQ_EMPTY(&sender->waiting[TG_WAY_LANE]) && sender->circuit.state == TG_CIRCUIT_OPEN &&
      now < sender->circuit.until)
    uv_timer_start(&sender->timer, on_wait_over, (uint64_t)(sender->circuit.until - now), 0);
}

void tg_sender_hear(struct tg_sender *sender, bool up, tg_ms asked)
{
  tg_ms now = tg_env_now(sender->all->env);
  tg_ms wait = tg_patience(tg_circuit_wait(&sender->circuit, tg_random_unit()));
  if (up)
    tg_circuit_hear_up(&sender->circuit, now);
  else
    tg_circuit_hear_down(&sender->circuit, now, asked > 0 ? tg_retry_after(asked, 0) : wait, asked > 0);
  tg_sender_pump(sender);
}
