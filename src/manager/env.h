#pragma once

/* What the rooms of the manager (fetch.c, identify/, workers/, commands/) share.
 * It is manager.c's: they only read it. What a room has to tell, it tells by the
 * callbacks that it was made with; none knows another's inside. */

#include "config/config.h"
#include "hooks/hooks.h"
#include "manager/calls.h"
#include "manager/gateway_info.h"
#include "manager/shard_set.h"

#include <uv.h>

struct tg_http;

struct tg_manager_env {
  uv_loop_t *loop;
  const struct tg_config *config; /* a reload may bring another */
  struct tg_hooks *hooks;
  struct tg_http *http; /* NULL: there is none */
  struct tg_calls *calls;
  char *state_dir;
  uint64_t bot, bot_with_intents; /* which bot the files of the state directory are for */
  int64_t stamp; /* tg_steady_clock() of this start: tells the logs of this run from older ones */
  const struct tg_gateway_info *info; /* fetch.c's */
  struct tg_shard_set shards;
  bool stopping;
};
