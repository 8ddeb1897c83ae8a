#pragma once

/* What an answer of the event handler means for an event, and how long to
 * wait. Pure functions. */

#include "base/clock.h"

#include <stdbool.h>

enum tg_outcome {
  TG_OUTCOME_DELIVERED,
  TG_OUTCOME_RETRY,         /* the handler is in trouble: again, without end */
  TG_OUTCOME_SLOW_DOWN,     /* 429: it is well, this shard's events have to wait */
  TG_OUTCOME_BUSY,          /* 503 with Retry-After: all shards have to wait */
  TG_OUTCOME_REFUSED,       /* it does not want this event */
  TG_OUTCOME_MISCONFIGURED, /* wrongly set up: only a person can help */
  TG_OUTCOME_CANCELLED,     /* we are stopping */
};

enum {
  TG_RETRY_BASE = 250,
  TG_RETRY_CAP = 30000,
  TG_RETRY_AFTER_CAP = 60000,
  TG_REFUSALS = 3,          /* so often an event is tried ... */
  TG_REFUSAL_PERIOD = 5000, /* ... over at least this time ... */
  TG_REFUSAL_DELAY = 2500,  /* ... before it is given up */
  TG_TOO_LARGE = 413,       /* but with this answer no more than twice, and at once: */
  TG_TOO_LARGE_TRIES = 2,   /* an event does not become smaller */
};

/* `status` 0: there was no answer, and `error_code` (tg_error.code) says why. */
enum tg_outcome tg_outcome_of(long status, const char *error_code, tg_ms retry_after);

/* Full jitter, 250 ms to 30 s: [0, min(30 s, 250 ms * 2^attempt)]. `attempt`
 * counts from 0, `unit` is uniform in [0, 1). */
tg_ms tg_retry_delay(int attempt, double unit);

/* Retry-After as it is obeyed: capped, `otherwise` when there was none. */
tg_ms tg_retry_after(tg_ms retry_after, tg_ms otherwise);

/* After an event was refused `refusals` times, first at `first`, now at `now`
 * and with `status`: whether it is given up; else when to try again. */
bool tg_refused_for_good(long status, int refusals, tg_ms first, tg_ms now, tg_ms *delay);

/* "delivered", "retry", ...: as the metrics have it. */
const char *tg_outcome_name(enum tg_outcome outcome);

/* What to tell the operator when a handler is wrongly set up. */
const char *tg_outcome_advice(long status, const char *error_code, bool of_bot);
