#pragma once

/* Everything in the script layer that happens later: sleep, after, every,
 * spawn, the last hour of a retired state. An alarm is a timer of the loop, or,
 * when the script has a clock of its own (the test kit), an entry of its list. */

#include "base/clock.h"

#include <stdbool.h>

struct tg_script;
struct tg_alarm;

typedef void tg_ring(void *ctx);

struct tg_alarm *tg_alarm_new(struct tg_script *script, tg_ring *ring, void *ctx);

/* Rings once, in `ms`, instead of when it was set to ring before. */
void tg_alarm_set(struct tg_alarm *alarm, tg_ms ms);

/* From inside of its ring, too. */
void tg_alarm_free(struct tg_alarm *alarm);

/* The time that scripts live in. */
tg_ms tg_script_now(const struct tg_script *script);

/* Time that stands still until it is moved. The owner keeps it as long as the
 * script; zeroed memory will do. */
struct tg_clock {
  tg_ms now;
  struct tg_alarm *first; /* in order of their times */
};

/* Moves on to the next alarm that is due at `until` or before, and rings it.
 * False: there is none, and the time is `until`. */
bool tg_clock_step(struct tg_clock *clock, tg_ms until);
