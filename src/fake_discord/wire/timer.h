#pragma once

/* Things that happen later, once. */

#include "base/clock.h"

struct tg_fake;
struct tg_fake_timer;

/* Calls run(ctx) after `delay` ms. *slot belongs to the caller: it holds the
 * timer while it runs (a timer that stood there is cancelled) and is NULL again
 * when run() is called. */
void tg_fake_after(struct tg_fake *fake, struct tg_fake_timer **slot, tg_ms delay, void (*run)(void *ctx),
                   void *ctx);
void tg_fake_cancel(struct tg_fake_timer **slot);

/* Frees `memory` with free() when the loop has turned: callers further up the
 * stack may still look at it. */
void tg_fake_bury(struct tg_fake *fake, void *memory);
