#pragma once

/* The reserve of the day's session starts: when no more than that is left, no
 * identify goes out until the window has ended and Discord was asked anew. */

#include "manager/env.h"
#include "manager/identify/ledger.h"

struct tg_gate;

/* `refresh`: the window has ended; tg_gate_refreshed() is waited for. All is borrowed. */
struct tg_gate *tg_gate_new(const struct tg_manager_env *env, void (*refresh)(void *ctx), void *ctx);
void tg_gate_free(struct tg_gate *gate);

/* The ledger to count by. */
void tg_gate_begin(struct tg_gate *gate, struct tg_ledger *ledger);
/* It asks for no refresh any more. */
void tg_gate_end(struct tg_gate *gate);

bool tg_gate_closed(const struct tg_gate *gate);
/* How many identifies may still go out. */
int tg_gate_allowance(const struct tg_gate *gate);

/* Says so, of `held_back` shards. */
void tg_gate_close(struct tg_gate *gate, int held_back);
/* Until it may open, in ms. */
tg_ms tg_gate_wait(const struct tg_gate *gate);
/* A refresh has ended, with an answer or not. True: it is open now. */
bool tg_gate_refreshed(struct tg_gate *gate);
