#pragma once

/* The metrics of the gateway: everything that its processes count, in one text
 * (examples/deploy/README.md, "Metrics"). It is made from memory that is at hand: no worker is
 * asked, and none can delay it.
 *
 *     metrics.c          of the gateway as a whole and its processes
 *     resharding.c       of a resharding
 *     cluster.c          of the cluster
 *     metrics_sinks.c    of each sink
 *     metrics_events.c   events by type, event handlers, interactions, calls into Lua
 *     metrics_shards.c   of each shard
 *     metrics_scripts.c  what scripts count with gateway.metrics
 *
 * The label `worker` is a worker's number, or "manager". */

#include "control/exposition.h"
#include "control/page/live.h"
#include "manager/status.h"
#include "manager/workers/figures.h"

void tg_metrics_write(struct tg_manager *manager, struct tg_live *live, struct tg_buf *out);

/* ---- what these files share ---- */

void tg_metrics_sinks(struct tg_exposition *exposition, struct tg_manager *manager);
void tg_metrics_events(struct tg_exposition *exposition, struct tg_manager *manager);
void tg_metrics_lua(struct tg_exposition *exposition, struct tg_manager *manager);
void tg_metrics_shards(struct tg_exposition *exposition, struct tg_manager *manager);
/* Samples of tidegate_lua_errors_total, one a plugin that has failed. */
void tg_metrics_plugin_errors(struct tg_exposition *exposition, struct tg_manager *manager);
void tg_metrics_scripts(struct tg_exposition *exposition, struct tg_manager *manager);

void tg_label_process(struct tg_exposition *exposition, int worker);

static inline int tg_worker_places(struct tg_manager *manager)
{
  struct tg_gateway_status status;
  tg_gateway_status(manager, &status);
  return status.workers;
}

static inline uint64_t tg_load(const _Atomic uint64_t *counter)
{
  return atomic_load_explicit(counter, memory_order_relaxed);
}

/* All places of workers; those that have a page, with `first` TG_MANAGER_ITSELF
 * the manager, too. */
#define TG_EACH_WORKER(manager, worker)                                                                      \
  for (int worker = 0, places_ = tg_worker_places(manager); worker < places_; worker++)
#define TG_EACH_PAGE(manager, first, worker, stats)                                                          \
  for (int worker = (first), places_ = tg_worker_places(manager); worker < places_; worker++)                \
    for (const struct tg_stats *stats = tg_gateway_stats(manager, worker); stats; stats = NULL)
