#pragma once

/* One question to the worker of a shard, of which the answer is yes or no. */

#include "manager/workers/workers.h"

/* Replies true, or why not: "worker_down" if it is not up. */
void tg_ask_worker(struct tg_workers *workers, const struct tg_manager_env *env,
                   const struct tg_managed_shard *shard, const struct tg_message *question, tg_ms timeout,
                   tg_manager_reply *reply, void *ctx);
