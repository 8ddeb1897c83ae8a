#pragma once

/* The first answer to an interaction, given in the place of the bot: POST
 * /interactions/{id}/{token}/callback with a body that keeps the token alive
 * (interaction_facts.h). 429, 5xx and broken connections are tried again until
 * the interaction is dead. Internal to src/delivery.
 *
 *     callback = tg_callback_start(&callbacks, &facts, until, on_done, ctx);
 *     ... on_done(ctx, true, "")                 it is taken
 *     ... on_done(ctx, false, "it answered 503") it is given up
 *
 * The token is in the URL: it is never logged, and no reason contains it. */

#include "delivery/env.h"
#include "delivery/interactions/interaction_facts.h"

#include <sys/queue.h>
#include <uv.h>

struct tg_http;

/* All of a worker. */
struct tg_callbacks {
  struct tg_delivery_env *env;
  struct tg_http *http;
  TAILQ_HEAD(, tg_callback) list; /* in order of start */
  int in_flight;
  uv_timer_t timer;
};

void tg_callbacks_begin(struct tg_callbacks *all, struct tg_delivery_env *env, struct tg_http *http);
/* All end, and nobody is told. */
void tg_callbacks_end(struct tg_callbacks *all);

/* `until`: uv_now(), when Discord no longer waits. `done` is never called from
 * within; `reason` lives only during its call. */
struct tg_callback *tg_callback_start(struct tg_callbacks *all, const struct tg_interaction_facts *facts,
                                      tg_ms until, tg_interaction_answered *done, void *ctx);
/* Whether Discord may be taking it right now. */
bool tg_callback_in_flight(const struct tg_callback *callback);
/* Ends it; nobody is told. */
void tg_callback_cancel(struct tg_callback *callback);
