#include "delivery/sinks/sender.h"

#include "base/log.h"
#include "delivery/lanes/lanes.h"

_Static_assert((int)TG_OUTCOME_CANCELLED < (int)TG_STATS_OUTCOMES, "each has its counter in the page");

/* What the end of a parcel says: of the events in it, and of the event handler.
 * One way for what lanes send, for interactions that pass them, and for posts of
 * scripts. */

/* The script may see a status otherwise. */
static enum tg_outcome judge(const struct tg_lanes *lanes, const struct tg_answer *answer)
{
  enum tg_outcome outcome = answer->outcome;
  if (answer->status == 0 || !tg_lanes_hooked(lanes, TG_METHOD_delivery_is_delivered))
    return outcome;
  struct tg_value status = tg_value_int(answer->status), result;
  if (!tg_hook_call(lanes->env->hooks, TG_METHOD_delivery_is_delivered, &status, 1, &result))
    return outcome;
  if (result.boolean)
    return TG_OUTCOME_DELIVERED;
  return outcome == TG_OUTCOME_DELIVERED ? TG_OUTCOME_RETRY : outcome;
}

struct tg_judgement tg_judgement_of(const struct tg_parcel *parcel, const struct tg_answer *answer)
{
  struct tg_sender *sender = parcel->sender;
  struct tg_judgement judgement = {.sender = sender,
                                   .answer = answer,
                                   .outcome = judge(sender->all->lanes, answer),
                                   .in_flight = sender->in_flight,
                                   .events = parcel->count};
  judgement.teaches = !parcel->posted && judgement.outcome != TG_OUTCOME_CANCELLED;
  if (judgement.teaches) {
    tg_count(&sender->stats->requests[judgement.outcome]);
    tg_count_by(&sender->stats->microseconds, (uint64_t)(answer->seconds * 1e6));
  }
  return judgement;
}

/* --- up and down ------------------------------------------------------------------- */

static void tell_script(const struct tg_sender *sender, enum tg_life what, const char *reason)
{
  struct tg_hooks *hooks = sender->all->env->hooks;
  if (!hooks->want_life[what])
    return;
  json_t *details = json_pack("{s:s, s:s, s:s}", "url", sender->public_url, "reason", reason, "sink",
                              sender->all->lanes->name);
  tg_hook_life(hooks, what, NULL, details);
  json_decref(details);
}

static void tell_others(const struct tg_sender *sender, bool up, tg_ms asked)
{
  const struct tg_senders *all = sender->all;
  if (all->tell && sender->url && !sender->retired)
    all->tell(all->ctx, sender->url, up, asked);
}

void tg_sender_publish_down(struct tg_sender *sender, int change)
{
  tg_sender_gauge(&sender->stats->down, change);
  atomic_store(&sender->stats->since, tg_now());
}

static void succeeded(struct tg_sender *sender)
{
  if (!tg_circuit_success(&sender->circuit))
    return;
  tell_others(sender, true, 0);
  tg_ms down_for = tg_env_now(sender->all->env) - sender->down_since;
  uv_timer_stop(&sender->timer);
  if (!sender->retired)
    tg_sender_publish_down(sender, -1);
  tg_window_restart(&sender->window);
  tg_log_with(TG_INFO, TG_NO_SHARD,
              TG_WITH(TG_TEXT(URL, sender->public_url), TG_NUMBER(DURATION, down_for),
                      TG_NUMBER(EVENTS, tg_lanes_waiting(sender->all->lanes))),
              "%s is up again", sender->all->lanes->title);
  tell_script(sender, TG_LIFE_handler_up, "answers again");
}

static void raise_alarm(struct tg_sender *sender, const struct tg_judgement *judgement)
{
  const char *advice = judgement->answer->advice;
  bool misconfigured = judgement->outcome == TG_OUTCOME_MISCONFIGURED;
  tg_ms now = tg_env_now(sender->all->env);
  sender->alarmed_at = now;
  tg_log_with(misconfigured ? TG_ERROR : TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_TEXT(URL, sender->public_url), TG_TEXT(REASON, judgement->answer->error.message),
                      TG_NUMBER(DURATION, now - sender->down_since),
                      TG_NUMBER(EVENTS, tg_lanes_waiting(sender->all->lanes))),
              "%s is down: %s", sender->all->lanes->title,
              misconfigured && advice ? advice : "it is tried again until it answers");
}

static void failed(struct tg_sender *sender, const struct tg_judgement *judgement, tg_ms wait)
{
  const struct tg_answer *answer = judgement->answer;
  bool busy = judgement->outcome == TG_OUTCOME_BUSY;
  bool asked = wait >= 0 || (busy && answer->retry_after >= 0); /* the wait is not ours */
  if (wait < 0) {
    wait = tg_patience(tg_circuit_wait(&sender->circuit, tg_random_unit()));
    if (busy)
      wait = tg_retry_after(answer->retry_after, wait);
  }
  tg_window_failure(&sender->window);

  tg_ms now = tg_env_now(sender->all->env);
  bool at_once = judgement->outcome != TG_OUTCOME_RETRY;
  enum tg_circuit_state before = sender->circuit.state;
  bool opened = tg_circuit_failure(&sender->circuit, now, wait, at_once, asked);
  bool is_open = sender->circuit.state == TG_CIRCUIT_OPEN;
  if (before != TG_CIRCUIT_OPEN && is_open)
    tell_others(sender, false, asked ? wait : 0);
  if (opened) {
    sender->down_since = now;
    if (!sender->retired)
      tg_sender_publish_down(sender, 1);
  }
  if (opened || (is_open && now - sender->alarmed_at >= TG_REPORT_INTERVAL))
    raise_alarm(sender, judgement);
  if (opened)
    tell_script(sender, TG_LIFE_handler_down, answer->error.message);
  if (sender->circuit.state != TG_CIRCUIT_CLOSED && sender->all->on_down)
    sender->all->on_down(sender->all->on_down_ctx, sender);
}

void tg_judgement_teach(struct tg_judgement *judgement, tg_ms wait)
{
  struct tg_sender *sender = judgement->sender;
  if (!judgement->teaches)
    return;
  judgement->teaches = false;
  switch (judgement->outcome) {
  case TG_OUTCOME_DELIVERED:
    tg_window_success(&sender->window, judgement->answer->seconds * 1000, judgement->in_flight,
                      judgement->events);
    succeeded(sender);
    break;
  case TG_OUTCOME_SLOW_DOWN:
    if (judgement->answer->status != 0) /* else this lane alone has a reason to wait */
      tg_window_failure(&sender->window);
    succeeded(sender);
    break;
  case TG_OUTCOME_REFUSED:
    succeeded(sender);
    break;
  case TG_OUTCOME_RETRY:
  case TG_OUTCOME_BUSY:
  case TG_OUTCOME_MISCONFIGURED:
    failed(sender, judgement, wait);
    break;
  case TG_OUTCOME_CANCELLED:
    break;
  }
}
