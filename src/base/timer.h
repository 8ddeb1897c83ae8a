#pragma once

/* uv timers that start now.
 *
 * uv_timer_start() counts from the loop's own time, which stands still while a
 * callback runs: after a long one the timer would be due too early. Setting that
 * time anew (uv_update_time()) would hide from others how long the callback has
 * run (shard/loop_lag.h). */

#include "base/buf.h"
#include "base/clock.h"

#include <stdlib.h>
#include <uv.h>

/* Once, in `wait` ms; below 0 counts as 0. */
static inline void tg_timer_start(uv_timer_t *timer, uv_timer_cb callback, tg_ms wait)
{
  tg_ms late = (tg_ms)(uv_hrtime() / 1000000) - (tg_ms)uv_now(timer->loop);
  uv_timer_start(timer, callback, (uint64_t)((wait > 0 ? wait : 0) + (late > 0 ? late : 0)), 0);
}

/* A timer on the heap; `ctx` is its data. */
static inline uv_timer_t *tg_timer_new(uv_loop_t *loop, void *ctx)
{
  uv_timer_t *timer = tg_alloc(sizeof *timer);
  uv_timer_init(loop, timer);
  timer->data = ctx;
  return timer;
}

static inline void tg_timer_closed(uv_handle_t *timer)
{
  free(timer);
}

/* It does not fire any more; the memory goes when the loop has closed it. */
static inline void tg_timer_free(uv_timer_t *timer)
{
  if (timer)
    uv_close((uv_handle_t *)timer, tg_timer_closed);
}
