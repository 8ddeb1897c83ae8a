#include "delivery/circuit.h"

#include "delivery/outcome.h"

tg_ms tg_circuit_wait(const struct tg_circuit *circuit, double unit)
{
  tg_ms limit = circuit->opened < 5 ? (tg_ms)TG_CIRCUIT_BASE << circuit->opened : TG_CIRCUIT_CAP;
  tg_ms wait = (tg_ms)(unit * (double)(limit + 1));
  return wait > TG_RETRY_BASE ? wait : TG_RETRY_BASE;
}

bool tg_circuit_allows(struct tg_circuit *circuit, tg_ms now, int in_flight)
{
  if (circuit->state == TG_CIRCUIT_CLOSED)
    return true;
  if (circuit->state == TG_CIRCUIT_OPEN) {
    if (now < circuit->until)
      return false;
    circuit->state = TG_CIRCUIT_HALF_OPEN;
  }
  return in_flight == 0;
}

bool tg_circuit_success(struct tg_circuit *circuit)
{
  /* It was under way when the circuit opened: the wait, perhaps one that the handler asked for, still holds.
   */
  if (circuit->state == TG_CIRCUIT_OPEN)
    return false;
  bool closed = circuit->state != TG_CIRCUIT_CLOSED;
  *circuit = (struct tg_circuit){0};
  return closed;
}

bool tg_circuit_failure(struct tg_circuit *circuit, tg_ms now, tg_ms wait, bool at_once)
{
  enum tg_circuit_state before = circuit->state;
  circuit->failures++;
  /* Requests that were under way when it opened say nothing new. */
  if (before == TG_CIRCUIT_OPEN && !at_once)
    return false;
  if (before == TG_CIRCUIT_CLOSED && circuit->failures < TG_CIRCUIT_FAILURES && !at_once)
    return false;
  circuit->state = TG_CIRCUIT_OPEN;
  if (before != TG_CIRCUIT_OPEN)
    circuit->opened++;
  if (before != TG_CIRCUIT_OPEN || circuit->until < now + wait)
    circuit->until = now + wait;
  return before == TG_CIRCUIT_CLOSED;
}

void tg_window_init(struct tg_window *window)
{
  *window = (struct tg_window){.limit = TG_WINDOW_START, .answers = TG_WINDOW_START};
}

int tg_window_limit(const struct tg_window *window)
{
  return (int)window->limit;
}

void tg_window_success(struct tg_window *window, double ms, int in_flight)
{
  window->smoothed = window->smoothed > 0 ? window->smoothed * 0.9 + ms * 0.1 : ms;
  if (window->baseline <= 0 || window->smoothed < window->baseline)
    window->baseline = window->smoothed;
  else if (in_flight <= 1) /* it is not us who slow it down: that is what it takes by now */
    window->baseline += (window->smoothed - window->baseline) * 0.25;
  else
    window->baseline += (window->smoothed - window->baseline) * 0.002;
  window->answers++;

  /* 2 ms of grace: below that the clock and the loop measure themselves. */
  bool slow = window->smoothed > 2 * window->baseline + 2;
  if (slow) {
    if (window->answers >= (int)window->limit) {
      window->limit = window->limit * 0.75 > TG_WINDOW_MIN ? window->limit * 0.75 : TG_WINDOW_MIN;
      window->answers = 0;
    }
    window->ramp = false;
    return;
  }
  if (window->ramp && window->limit >= TG_WINDOW_START)
    window->ramp = false;
  if (in_flight >= (int)window->limit)
    window->limit += window->ramp ? 1 : 1 / window->limit;
  if (window->limit > TG_WINDOW_MAX)
    window->limit = TG_WINDOW_MAX;
}

void tg_window_failure(struct tg_window *window)
{
  if (++window->answers < (int)window->limit)
    return;
  window->limit = window->limit / 2 > TG_WINDOW_MIN ? window->limit / 2 : TG_WINDOW_MIN;
  window->answers = 0;
}

void tg_window_restart(struct tg_window *window)
{
  *window = (struct tg_window){.limit = TG_WINDOW_MIN, .ramp = true};
}
