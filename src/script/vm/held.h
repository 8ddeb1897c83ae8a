#pragma once

/* Calls of the script that kept everything else waiting: the log names them. The
 * budgets of script.* stop what runs too long inside of Lua; what blocks inside of
 * C, or is compiled, or has a large budget, would go unseen. */

#include "base/clock.h"

#include <time.h>

struct tg_state;

enum { TG_HELD_FOR = 100 }; /* ms that are worth a line */

/* Good to some milliseconds, at a quarter of the cost of tg_now(). */
static inline tg_ms tg_held_clock(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return (tg_ms)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void tg_held_tell(struct tg_state *state, tg_ms duration);

/* Behind what began at that time, while the state still knows what it was.
 * Returns the time of now, when what comes next begins. */
static inline tg_ms tg_held_look(struct tg_state *state, tg_ms began)
{
  tg_ms now = tg_held_clock();
  if (__builtin_expect(now - began >= TG_HELD_FOR, 0))
    tg_held_tell(state, now - began);
  return now;
}
