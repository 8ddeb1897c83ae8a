#pragma once

/* What calls into Lua count and cost, for the statistics page.
 *
 * Reading the clock twice costs more than a small filter. So of what may run
 * per event only one in 16 calls is timed, and stands for 16; the first ones of
 * a process all are. The order of the sample does not keep step with that of
 * the events. A call inside of another one is part of that one's time. */

#include "script/vm/state.h"
#include "shared/stats.h"

#include <time.h>

enum { TG_MEASURED_ALL = 256, TG_MEASURED_ONE_IN = 16 };

struct tg_measure {
  struct tg_stats_lua *counts;
  unsigned weight; /* 0: this one is not timed */
  struct timespec began;
};

static inline bool tg_measure_this(struct tg_state *state, enum tg_lua_group group, unsigned *weight)
{
  bool rare = group == TG_LUA_manager || group >= TG_LUA_life_cycle;
  uint32_t entries = state->entries[group]++;
  *weight = rare || entries < TG_MEASURED_ALL ? 1 : TG_MEASURED_ONE_IN;
  return *weight == 1 || (entries * 0x9e3779b1u) >> 28 == 0;
}

/* Before Lua is entered. */
static inline void tg_measure_begin(struct tg_measure *measure, struct tg_state *state,
                                    enum tg_lua_group group)
{
  measure->counts = &state->script->stats->lua[group];
  if (state->depth > 0 || !tg_measure_this(state, group, &measure->weight))
    measure->weight = 0;
  else
    clock_gettime(CLOCK_MONOTONIC, &measure->began);
}

static inline void tg_measure_end(const struct tg_measure *measure)
{
  struct timespec now;
  if (measure->weight == 0)
    return;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t seconds = now.tv_sec - measure->began.tv_sec;
  int64_t ns = seconds * 1000000000 + now.tv_nsec - measure->began.tv_nsec;
  tg_count_by(&measure->counts->nanoseconds, (uint64_t)ns * measure->weight);
}
