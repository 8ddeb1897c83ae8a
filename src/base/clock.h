#pragma once

/* Time and chance. All times are in milliseconds.
 *
 * Four clocks, for four purposes:
 *   tg_now()           how long something takes, and when it is due, in memory
 *   tg_boot_clock()    how long others have waited for this machine, which may have slept
 *   tg_steady_clock()  the same over restarts: what is written to files to be
 *                      reckoned with later
 *   tg_wall_clock()    what people and other machines are told, and nothing else:
 *                      somebody may set it at any moment, by seconds or by years */

#include <stdint.h>

typedef int64_t tg_ms;

/* CLOCK_MONOTONIC, and so uv_now(): the same in all processes of one machine, so that
 * deadlines can travel from the manager to a worker. Stands while the machine sleeps. */
tg_ms tg_now(void);

/* CLOCK_BOOTTIME: as tg_now(), the same in all processes of one machine and never set, but it runs while
 * the machine sleeps. For what another machine counts on: leases. */
tg_ms tg_boot_clock(void);

/* Milliseconds since 1970, as this machine has it now. */
tg_ms tg_wall_clock(void);

/* What the wall clock, as it is set now, showed at that moment of tg_now(). Does
 * not tremble: it changes when the clock is set, by half a second at least. */
tg_ms tg_wall_at(tg_ms at);

/* Milliseconds since 1970 as they were counted, not as they were set: tg_now()
 * and a constant. The manager keeps it over restarts (manager/steady.h), and
 * tells it to its workers; else it is the wall clock of the first call. The
 * difference of two moments is what has passed; how far it is from the wall
 * clock means nothing. */
tg_ms tg_steady_clock(void);

/* That constant: what tg_steady_clock() is ahead of tg_now(), and of uv_now(). */
tg_ms tg_steady_ahead(void);
void tg_steady_set_ahead(tg_ms ahead);

/* Uniform in [0, below). 0 when below is 0. */
uint64_t tg_random(uint64_t below);

/* Uniform in [0, 1). */
double tg_random_unit(void);

/* Full jitter: uniform in [0, min(cap, base * 2^attempt)], attempt from 0. */
tg_ms tg_backoff(int attempt, tg_ms base, tg_ms cap);

/* How long the protocol's waits, and the pauses before something is tried again,
 * really take: `wait`, divided by the variable TIDEGATE_HURRY of the
 * environment (a whole number, 1 if unset). The specs set it, so that a
 * deadline of a minute can be tested in one second. Not for what Discord
 * measures (heartbeats, identify spacing), nor for Retry-After. */
tg_ms tg_patience(tg_ms wait);
