#pragma once

/* A sliding log of sends: at most `limit` in any `window` milliseconds. Pure; the caller brings the time. */

#include "base/clock.h"

#include <stdbool.h>

enum { TG_LIMITER_MAX = 120 };

struct tg_limiter {
  int limit; /* 0..TG_LIMITER_MAX */
  tg_ms window;
  tg_ms sent[TG_LIMITER_MAX]; /* ring of the last `count` times, oldest at `first` */
  int first, count;
};

/* Forgets what was sent: a new connection has a new budget. */
void tg_limiter_init(struct tg_limiter *limiter, int limit, tg_ms window);

/* How long to wait before the next send is allowed; 0: now. With a limit of 0
 * it is always a whole window. */
tg_ms tg_limiter_wait(const struct tg_limiter *limiter, tg_ms now);

/* Notes a send. Only when tg_limiter_wait() was 0. */
void tg_limiter_take(struct tg_limiter *limiter, tg_ms now);
