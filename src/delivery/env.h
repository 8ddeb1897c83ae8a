#pragma once

/* Where a delivery runs: what all its parts look at. One a worker. */

#include "base/clock.h"
#include "base/handles.h"
#include "config/config.h"
#include "hooks/hooks.h"

#include <stdbool.h>
#include <uv.h>

struct tg_delivery_env {
  uv_loop_t *loop;
  const tg_ms *clock; /* in the place of the loop's; NULL: that */
  struct tg_handles handles;
  const struct tg_config *config; /* another one after a reload */
  struct tg_hooks *hooks;
  int worker_id;
  bool draining; /* what waits is all there will be */
  bool stopping; /* nothing is sent any more */
};

static inline tg_ms tg_env_now(const struct tg_delivery_env *env)
{
  return __builtin_expect(env->clock != NULL, 0) ? *env->clock : (tg_ms)uv_now(env->loop);
}

/* A moment of tg_steady_clock(), from a log, in uv_now()'s time. What seems to come from the future is of
 * an earlier start of the machine, whose clock was not set then, or is not now. */
static inline tg_ms tg_env_since(const struct tg_delivery_env *env, tg_ms steady)
{
  tg_ms now = tg_env_now(env), at = steady - tg_steady_ahead();
  return at < now ? at : now;
}
