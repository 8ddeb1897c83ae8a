#pragma once

/* What waits for a sink, asked of all workers: which types there are, and discarding some of it. */

#include "manager/env.h"
#include "manager/reply.h"
#include "manager/workers/workers.h"

struct tg_queue_question {
  const char *sink; /* "bot": the event handler */
  int shard_id;     /* -1: of all */
  const char *type; /* "": any */
  tg_ms older;      /* ms: those that have waited so long */
};

/* {"types": {TYPE: [events, bytes, oldest on tg_steady_clock()]}, "onDisk": n}, of all workers that are up.
 * Codes: "no_sink", "stopping", and those of a worker that does not answer. */
void tg_queues_ask_types(struct tg_workers *workers, const struct tg_manager_env *env,
                         const struct tg_queue_question *question, tg_manager_reply *reply, void *ctx);
/* {"discarded": n}. What has gone when a worker fails is in the log, and in the error's words. */
void tg_queues_discard_all(struct tg_workers *workers, const struct tg_manager_env *env,
                           const struct tg_queue_question *question, tg_manager_reply *reply, void *ctx);
