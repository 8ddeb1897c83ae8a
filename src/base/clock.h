#pragma once

/* Time and chance. All times are in milliseconds.
 *
 * tg_now() is CLOCK_MONOTONIC: the same in all processes of one machine, so
 * that deadlines can travel from the manager to a worker. */

#include <stdint.h>

typedef int64_t tg_ms;

tg_ms tg_now(void);

/* Milliseconds since 1970, for what is written to files and shown to people. */
tg_ms tg_wall_clock(void);

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
