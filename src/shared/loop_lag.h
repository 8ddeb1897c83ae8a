#pragma once

/* How long the event loop of a process was busy at a stretch: so late is all
 * else that it has to do. Each turn of the loop is looked at, so that no stall
 * is missed, however seldom somebody asks; the figures lie in the statistics
 * page. */

#include "base/clock.h"
#include "shared/stats.h"

#include <uv.h>

/* Each turn of the loop will count in this process's page. Once a process, before
 * anything else prepares or checks on that loop; its handles do not keep the loop
 * alive, and are closed with all others of the loop. */
void tg_loop_lag_watch(uv_loop_t *loop);

/* The first turn begins. */
void tg_loop_lag_begin(void);

/* A turn that ended at `now` (tg_now()) took `busy` ms. */
void tg_loop_lag_note(struct tg_stats *stats, tg_ms busy, tg_ms now);

/* The longest turn of the last minute, up to ten seconds more; ms. */
tg_ms tg_loop_lag_longest(const struct tg_stats *stats, tg_ms now);
