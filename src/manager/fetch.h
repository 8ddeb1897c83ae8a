#pragma once

/* Gateway information (GET /gateway/bot, or what a script answers in its place):
 * asking, retrying, and what stands in for an answer; and the default of
 * gateway.manager:fetch_gateway_bot. */

#include "manager/env.h"

struct tg_fetch;

struct tg_fetch_events {
  /* tg_fetch_info() is there: the start may go on. Once. */
  void (*known)(void *ctx);
  /* There is none, and will be none: the gateway cannot start, for this reason. */
  void (*failed)(void *ctx, int exit_code, const char *why);
  /* A refresh has ended. `anew`: session_start_limit is as of now; else what was
   * known and counted here has to do. */
  void (*refreshed)(void *ctx, bool anew);
};

/* Both are borrowed. */
struct tg_fetch *tg_fetch_new(const struct tg_manager_env *env, const struct tg_fetch_events *events,
                              void *ctx);
/* After tg_fetch_cancel() and the end of all calls. */
void tg_fetch_free(struct tg_fetch *fetch);

/* Zeroed until it is known; session_start_limit changes with each refresh. */
const struct tg_gateway_info *tg_fetch_info(const struct tg_fetch *fetch);

void tg_fetch_at_start(struct tg_fetch *fetch);
/* What is known, for the next program in this process; and there, in place of a start. False: it is nothing.
 */
json_t *tg_fetch_hand_over(const struct tg_fetch *fetch);
bool tg_fetch_take_over(struct tg_fetch *fetch, const json_t *handed);
/* Asks again while the gateway runs. */
void tg_fetch_refresh(struct tg_fetch *fetch);
/* The same, if the last answer is some minutes old. */
void tg_fetch_refresh_old(struct tg_fetch *fetch);
void tg_fetch_cancel(struct tg_fetch *fetch);

/* Discord has put us off: what is waited for, and until when. False: nothing is. */
bool tg_fetch_is_put_off(struct tg_fetch *fetch, char *text, size_t size);
/* How long still, in ms. */
tg_ms tg_fetch_wait(const struct tg_fetch *fetch);
