#include "delivery/delivery_internal.h"

#include <stdio.h>

/* What the end of a request says: of the events in it, and of the event handler.
 * One way for what lanes send, for interactions that pass them, and for posts of
 * scripts. */

static enum tg_outcome judge(struct tg_delivery *delivery, const struct tg_http_response *response)
{
  struct tg_hooks *hooks = delivery->env.hooks;
  enum tg_outcome outcome = tg_outcome_of(response->status, response->error.code, response->retry_after);
  if (response->status == 0 || !tg_hooked(hooks, TG_METHOD_delivery_is_delivered))
    return outcome;
  struct tg_value status = tg_value_int(response->status), result;
  if (!tg_hook_call(hooks, TG_METHOD_delivery_is_delivered, &status, 1, TG_BOOL, &result))
    return outcome;
  if (result.boolean)
    return TG_OUTCOME_DELIVERED;
  return outcome == TG_OUTCOME_DELIVERED ? TG_OUTCOME_RETRY : outcome;
}

struct tg_judgement tg_judgement_of(struct tg_handler *handler, const struct tg_http_response *response,
                                    bool accepted)
{
  struct tg_judgement judgement = {.handler = handler, .response = response};
  judgement.outcome = accepted ? TG_OUTCOME_DELIVERED : judge(handler->delivery, response);
  if (response->status && !response->error.message[0])
    snprintf(judgement.reason, sizeof judgement.reason, "it answered %ld", response->status);
  else
    snprintf(judgement.reason, sizeof judgement.reason, "%s", response->error.message);
  return judgement;
}

void tg_judgement_count(const struct tg_judgement *judgement)
{
  struct tg_stats_handler *stats = judgement->handler->stats;
  tg_count(&stats->requests[judgement->outcome]);
  tg_count_by(&stats->microseconds, (uint64_t)(judgement->response->seconds * 1e6));
}

static void note_trouble(const struct tg_judgement *judgement, tg_ms wait)
{
  struct tg_handler *handler = judgement->handler;
  const struct tg_http_response *response = judgement->response;
  enum tg_outcome outcome = judgement->outcome;
  bool asked = wait >= 0 || (outcome == TG_OUTCOME_BUSY && response->retry_after >= 0);
  if (wait < 0) {
    wait = tg_patience(tg_circuit_wait(&handler->circuit, tg_random_unit()));
    if (outcome == TG_OUTCOME_BUSY)
      wait = tg_retry_after(response->retry_after, wait);
  }
  tg_window_failure(&handler->window);
  tg_handler_failed(handler, wait, asked, outcome, judgement->reason,
                    outcome == TG_OUTCOME_MISCONFIGURED
                        ? tg_outcome_advice(response->status, response->error.code)
                        : "it is tried again until it answers");
}

void tg_judgement_teach(const struct tg_judgement *judgement, int events, tg_ms wait)
{
  struct tg_handler *handler = judgement->handler;
  switch (judgement->outcome) {
  case TG_OUTCOME_DELIVERED:
    tg_window_success(&handler->window, judgement->response->seconds * 1000, handler->in_flight, events);
    tg_handler_succeeded(handler);
    break;
  case TG_OUTCOME_SLOW_DOWN:
    tg_window_failure(&handler->window);
    tg_handler_succeeded(handler);
    break;
  case TG_OUTCOME_REFUSED:
    tg_handler_succeeded(handler);
    break;
  case TG_OUTCOME_RETRY:
  case TG_OUTCOME_BUSY:
  case TG_OUTCOME_MISCONFIGURED:
    note_trouble(judgement, wait);
    break;
  case TG_OUTCOME_CANCELLED:
    break;
  }
}
