#pragma once

/* Ends Lua calls that take too long (design 7.3).
 *
 * Entering Lua costs a few stores. A thread looks every 10 ms while there are calls, and rests until the next
 * one where there are none; when the same call has used more processor time than its budget, it signals the
 * Lua thread, whose handler sets a count hook that raises, and goes on raising until the outermost call has
 * returned: no pcall can swallow it. Loops that LuaJIT has compiled do not look at hooks: the manager's
 * watchdog kills the process then. Before that, the thread says in the log which call it is that does not
 * return; and so does a handler when Lua or what it calls crashes. One Lua thread a process. */

#include "base/clock.h"

#include <stdbool.h>

struct tg_state;

/* Counted: each user calls both. */
void tg_watchdog_start(void);
void tg_watchdog_stop(void);

/* How long a call may stand still (by the clock) before the log tells of it. */
void tg_watchdog_set_patience(tg_ms patience);

/* What ran when Lua was entered again from inside: on the caller's stack. */
struct tg_watch {
  struct tg_state *state;
};

/* Before and after Lua runs; they nest, and the outermost budget counts. 0:
 * none. The signal handler sets state->hooked with the hook; whoever entered
 * removes the hook. */
void tg_watchdog_enter(struct tg_watch *outer, struct tg_state *state, tg_ms budget);
void tg_watchdog_leave(const struct tg_watch *outer);

/* Another one from now on, counted from the call's begin; not for a call inside of another one. */
void tg_watchdog_set_budget(tg_ms budget);

/* Whether its thread waits for a call to begin, without an end. */
bool tg_watchdog_rests(void);

/* The budget of the call that runs. */
tg_ms tg_watchdog_budget(void);
