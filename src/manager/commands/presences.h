#pragma once

/* The presence that scripts have set, of the whole bot and of single shards
 * (edit_bot_status, edit_shard_status). It is kept: a shard gets it again whenever
 * it is started. */

#include "manager/cluster/shared_presences.h"
#include "manager/env.h"
#include "manager/workers/workers.h"

struct tg_presences;

/* All is borrowed. `shared`: those of the cluster, to which goes what is set, and from where it comes back
 * (tg_presences_take()); NULL: there is no cluster. */
struct tg_presences *tg_presences_new(const struct tg_manager_env *env, struct tg_workers *workers,
                                      struct tg_shared_presences *shared);
/* See tg_presence_changed of cluster/shared_presences.h. */
void tg_presences_take(struct tg_presences *presences, int shard_id, const json_t *presence);
/* The shards of a set are known. Those of a second one begin with what those of the
 * first have. */
void tg_presences_begin(struct tg_presences *presences, const struct tg_shard_set *set);
/* What was set of the whole bot and of the current shards, for the next program in this process; and there,
 * after tg_presences_begin(). */
json_t *tg_presences_hand_over(const struct tg_presences *presences);
void tg_presences_take_over(struct tg_presences *presences, const json_t *handed);
/* They are about to be no more. */
void tg_presences_set_over(struct tg_presences *presences, const struct tg_shard_set *set);
/* After the end of the workers. */
void tg_presences_free(struct tg_presences *presences);

/* The shard was told to start: tells its worker which presence it should have. */
void tg_presences_restore(struct tg_presences *presences, const struct tg_managed_shard *shard);
