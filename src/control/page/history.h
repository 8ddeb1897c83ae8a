#pragma once

/* The last hour, for the charts of the status page: a point every ten seconds, in memory that does not grow.
 * Counters are as they stood; who draws them takes differences. */

#include "base/buf.h"
#include "base/clock.h"

#include <stdbool.h>
#include <uv.h>

struct tg_manager;
struct tg_history;

enum { TG_HISTORY_EVERY = 10000 /* ms */, TG_HISTORY_POINTS = 360 };

/* Begins with a point of now. */
struct tg_history *tg_history_new(uv_loop_t *loop, struct tg_manager *manager);
/* The manager is not looked at any more. */
void tg_history_stop(struct tg_history *history);
/* The memory of the timer goes when the loop has closed it. */
void tg_history_free(struct tg_history *history);

/* {"every": ms, "columns": [...], "points": [[...], ...]}: the last `most` points, the oldest first. */
void tg_history_write(const struct tg_history *history, uint64_t most, struct tg_buf *out);
/* How many points there have been. */
uint64_t tg_history_count(const struct tg_history *history);
