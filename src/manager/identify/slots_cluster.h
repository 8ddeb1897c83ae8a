#pragma once

/* Turns to identify where other hosts share the shards (manager/cluster/): what was said to the cluster of
 * each shard, so that it hears of each once, and in an order that it can follow.
 *
 *     the scheduler has it ASKING -> events.ask -> granted, with the epoch of the session to come
 *         -> events.sent, then events.done  |  events.unask
 *
 * A grant that a worker may have used says nothing until the worker has: the cluster takes it for used. */

#include "manager/identify/slots.h"

struct tg_slots_cluster;

/* All is borrowed. */
struct tg_slots_cluster *tg_slots_cluster_new(const struct tg_manager_env *env,
                                              struct tg_scheduler *scheduler,
                                              const struct tg_slots_events *events, void *ctx);
void tg_slots_cluster_free(struct tg_slots_cluster *cluster); /* NULL: none */

/* Nobody asks any more. */
void tg_slots_cluster_end(struct tg_slots_cluster *cluster);

/* Asks for whoever is due and was not asked for. */
void tg_slots_cluster_pump(struct tg_slots_cluster *cluster);

/* The grant is used: its epoch is this one. */
void tg_slots_cluster_granted(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard,
                              uint64_t epoch);
/* Of the grant that the shard has; 0: it has none. */
uint64_t tg_slots_cluster_epoch(const struct tg_slots_cluster *cluster, const struct tg_managed_shard *shard);

/* The shard asks no more, or its grant was not used: nobody has sent, and nobody will. */
void tg_slots_cluster_left(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard);
/* Those of slots.h. */
void tg_slots_cluster_sent(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard);
void tg_slots_cluster_done(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard, bool ready);
void tg_slots_cluster_gone(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard);
/* The shard is about to be no more. */
void tg_slots_cluster_forget(struct tg_slots_cluster *cluster, struct tg_managed_shard *shard);
