#pragma once

/* The steady clock (base/clock.h) over restarts, in clock.json of the state
 * directory: times in its other files are by this clock, so a restart must not
 * begin another one.
 *
 * Between two starts of the machine it is the monotonic clock and a constant.
 * Over one of these only the wall clock tells what has passed: the steady clock
 * keeps its distance from it, and never goes back, whatever a machine without a
 * clock of its own believes when it starts.
 *
 * A wall clock that is set while the gateway runs, or has gone on while the
 * machine slept, is noticed, told, and noted in the file. */

#include "base/clock.h"

#include <stdbool.h>

struct tg_steady {
  const char *state_dir; /* borrowed */
  tg_ms wall_ahead;      /* of tg_now(), as it was last seen */
  tg_ms saved_at;        /* tg_now() */
  bool rebooted;         /* the machine was started anew since the file was written */
};

/* Sets the steady clock of this process; the lock of the state directory is held. */
void tg_steady_begin(struct tg_steady *steady, const char *state_dir);

/* To be called every now and then. */
void tg_steady_look(struct tg_steady *steady);

void tg_steady_end(struct tg_steady *steady);
