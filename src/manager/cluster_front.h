#pragma once

/* The cluster as people see it, and what they may ask of it: for the control API and metrics. What there is
 * at hand is as the last beat has told it; what only Redis knows is asked there. Loop thread of the manager
 * only. */

#include "manager/cluster/cluster.h"
#include "manager/reply.h"

struct tg_manager;

struct tg_cluster_status {
  const char *name, *host; /* of the cluster, and of this host in it */
  bool up;                 /* Redis answers */
  bool joined;             /* it has, since the start */
  bool draining;           /* all shards of this host go to others */
  bool has_others;         /* hosts that live, and take shards */
  uint64_t queued;         /* events of shards that are held here, which wait here for their sinks */
  const struct tg_cluster_view *view; /* until the next turn of the loop */
};

/* False: this gateway is not part of a cluster. */
bool tg_manager_cluster(struct tg_manager *manager, struct tg_cluster_status *status);

/* Replies with what the script's `status` answers (cluster/scripts/status.lua). Errors, as of those below:
 * "no_cluster", "redis_away", "bad_answer". */
void tg_manager_cluster_survey(struct tg_manager *manager, tg_manager_reply *reply, void *ctx);

/* All shards go to other hosts, which take as long as it takes; `anyway`: also those of which many events
 * are not delivered. There is no way back but a new start. False: "no_cluster", "redis_away", or "no_others":
 * nobody is there to take them. */
bool tg_manager_cluster_drain(struct tg_manager *manager, bool anyway, struct tg_error *error);

/* That host will not come back: what only its disk has is given up. Replies {"host": name, "holes": n}.
 * Errors: also "bad_argument", "no_host", "host_alive". */
void tg_manager_cluster_forget(struct tg_manager *manager, const char *host, tg_manager_reply *reply,
                               void *ctx);

/* The start waits for the cluster: for what, in words. `left` is -1: nobody knows how long. False: it does
 * not. */
bool tg_cluster_front_waits(struct tg_manager *manager, char *text, size_t size, tg_ms *left);

/* Comes round often: hosts of other intents, or session options, are told of, once a minute. */
void tg_cluster_front_look(struct tg_manager *manager, tg_ms now);
