#include "delivery/sinks/circuit.h"

#include "delivery/sinks/outcome.h"

tg_ms tg_circuit_wait(const struct tg_circuit *circuit, double unit)
{
  tg_ms limit = circuit->opened < 2 ? (tg_ms)TG_CIRCUIT_BASE << circuit->opened : TG_CIRCUIT_CAP;
  return limit / 2 + (tg_ms)(unit * (double)(limit / 2 + 1));
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

static void wait_until(struct tg_circuit *circuit, tg_ms until, bool asked)
{
  circuit->until = until;
  circuit->asked = asked;
}

bool tg_circuit_failure(struct tg_circuit *circuit, tg_ms now, tg_ms wait, bool at_once, bool asked)
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
    wait_until(circuit, now + wait, asked);
  return before == TG_CIRCUIT_CLOSED;
}

void tg_circuit_hear_up(struct tg_circuit *circuit, tg_ms now)
{
  if (circuit->state == TG_CIRCUIT_OPEN && !circuit->asked)
    circuit->until = now;
}

void tg_circuit_hear_down(struct tg_circuit *circuit, tg_ms now, tg_ms wait, bool asked)
{
  if (circuit->state == TG_CIRCUIT_OPEN && circuit->until < now + wait)
    wait_until(circuit, now + wait, asked);
}

void tg_window_init(struct tg_window *window)
{
  *window = (struct tg_window){.limit = TG_WINDOW_START, .most = TG_WINDOW_MAX, .answers = TG_WINDOW_START};
}

void tg_window_set_most(struct tg_window *window, int most)
{
  window->most = most;
  if (window->limit > most)
    window->limit = most;
}

int tg_window_limit(const struct tg_window *window)
{
  return (int)window->limit;
}

/* A batch takes longer than an event: each is compared with its like. */
static struct tg_pace *pace_of(struct tg_window *window, int events)
{
  int at = 0;
  while (events > 1 && at < TG_WINDOW_PACES - 1) {
    events /= 2;
    at++;
  }
  return &window->paces[at];
}

void tg_window_success(struct tg_window *window, double ms, int in_flight, int events)
{
  struct tg_pace *pace = pace_of(window, events);
  pace->smoothed = pace->smoothed > 0 ? pace->smoothed * 0.9 + ms * 0.1 : ms;
  if (pace->baseline <= 0 || pace->smoothed < pace->baseline)
    pace->baseline = pace->smoothed;
  else if (in_flight <= 1) /* it is not us who slow it down: that is what it takes by now */
    pace->baseline += (pace->smoothed - pace->baseline) * 0.25;
  else
    pace->baseline += (pace->smoothed - pace->baseline) * 0.002;
  window->answers++;

  /* 2 ms of grace: below that the clock and the loop measure themselves. */
  bool slow = pace->smoothed > 2 * pace->baseline + 2;
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
  if (window->limit > window->most)
    window->limit = window->most;
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
  *window = (struct tg_window){.limit = TG_WINDOW_MIN, .most = window->most, .ramp = true};
}
