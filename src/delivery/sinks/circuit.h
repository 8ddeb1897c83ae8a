#pragma once

/* How hard one event handler is pressed: a circuit breaker over all its lanes,
 * and the number of requests in flight. Pure state, no timers, no I/O.
 *
 *     closed --5 failures in a row, or told to--> open --wait is over--> half-open
 *     half-open --its one request succeeds--> closed; --fails--> open, longer
 *
 * A handler that is down sees one request now and then instead of one a lane, and
 * instead of one a worker: workers tell each other what came of theirs, and a
 * failure of one puts the others' off. When it comes back the window starts at 1 and doubles up to where a
 * fresh one starts, then grows as the answers allow. */

#include "base/clock.h"

#include <stdbool.h>

enum tg_circuit_state { TG_CIRCUIT_CLOSED, TG_CIRCUIT_OPEN, TG_CIRCUIT_HALF_OPEN };

enum {
  TG_CIRCUIT_FAILURES = 5,
  TG_CIRCUIT_BASE = 500,
  TG_CIRCUIT_CAP = 2000, /* so soon a handler that is back is noticed */
  TG_WINDOW_MIN = 1,
  TG_WINDOW_START = 8,
  TG_WINDOW_MAX = 32, /* unless told otherwise */
  TG_WINDOW_PACES = 7,
};

struct tg_circuit {
  enum tg_circuit_state state;
  int failures; /* in a row */
  int opened;   /* how often since it was last closed */
  tg_ms until;  /* open: no request before */
  bool asked;   /* ... since the handler, or a script, has said so */
};

/* Jitter over the upper half of min(2 s, 500 ms * 2^opened). */
tg_ms tg_circuit_wait(const struct tg_circuit *circuit, double unit);

/* Whether a request may leave now. Turns open into half-open when the time has
 * come: then one may. `in_flight` counts requests that run. */
bool tg_circuit_allows(struct tg_circuit *circuit, tg_ms now, int in_flight);

/* True: this success closed the circuit. While it is open only a request that
 * left before can succeed, and that changes nothing. */
bool tg_circuit_success(struct tg_circuit *circuit);

/* A failure; with `at_once` the first one opens. `wait`: how long to stay open,
 * if it opens; `asked`: it was asked for. True: the circuit was closed, and is open
 * now. */
bool tg_circuit_failure(struct tg_circuit *circuit, tg_ms now, tg_ms wait, bool at_once, bool asked);

/* What another worker has found out of the same handler. Only a circuit that is open
 * heeds it: whether a handler is down each worker finds out by itself. It is up:
 * a request may leave now, unless it was asked to wait. It is down: none before
 * `wait` is over. */
void tg_circuit_hear_up(struct tg_circuit *circuit, tg_ms now);
void tg_circuit_hear_down(struct tg_circuit *circuit, tg_ms now, tg_ms wait, bool asked);

struct tg_window {
  double limit; /* requests in flight */
  int most;     /* ... at any time */
  struct tg_pace {
    double baseline;        /* ms: what an answer takes when little else runs; 0: not known */
    double smoothed;        /* ms: what answers take now */
  } paces[TG_WINDOW_PACES]; /* of single events, batches of up to 3, 7, 15, ... */
  int answers;              /* since the limit was last cut */
  bool ramp;                /* growing back after an outage */
};

void tg_window_init(struct tg_window *window);
/* It may grow up to there. */
void tg_window_set_most(struct tg_window *window, int most);
int tg_window_limit(const struct tg_window *window);

/* An answer after `ms` to `events` events; `in_flight` counts it, too. Grows by one a round while
 * answers keep their pace and the window is in use, shrinks when they take
 * more than twice the usual. */
void tg_window_success(struct tg_window *window, double ms, int in_flight, int events);

/* Halves, at most once a round. */
void tg_window_failure(struct tg_window *window);

/* After an outage: from 1. */
void tg_window_restart(struct tg_window *window);
