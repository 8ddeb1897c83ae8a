#pragma once

/* Which shard starts when: sessions that live first, the rest through the identify
 * slots; and the defaults of gateway.manager's spawn_shards, prepare_buckets,
 * tell_worker_to_identify and tell_worker_to_prepare. Writes what shard_set.h says of
 * shards. Those of the set to come start one by one, when tg_spawn_take() says
 * so; from then on it looks after them as after all others. */

#include "manager/env.h"
#include "manager/identify/slots.h"
#include "manager/workers/workers.h"

struct tg_spawner;

struct tg_spawner_events {
  /* The worker of the shard has it now. `anew`: it was told to start it. */
  void (*started)(void *ctx, struct tg_managed_shard *shard, bool anew);
  /* A shard has lost its session: what is known of session_start_limit matters. */
  void (*session_lost)(void *ctx);
  /* All shards are up. Once. */
  void (*all_up)(void *ctx);
};

/* All is borrowed. */
struct tg_spawner *tg_spawner_new(const struct tg_manager_env *env, struct tg_slots *slots,
                                  struct tg_workers *workers, const struct tg_spawner_events *events,
                                  void *ctx);
/* Whoever waits is told that the gateway stops. */
void tg_spawner_end(struct tg_spawner *spawner, const char *why);
void tg_spawner_free(struct tg_spawner *spawner);

/* Starts all shards, through the method spawn_shards. */
void tg_spawn_all(struct tg_spawner *spawner);
/* In place of it: they were started by the program before, in the same process. */
void tg_spawn_take_over(struct tg_spawner *spawner, bool all_up);
bool tg_spawn_begun(const struct tg_spawner *spawner);

/* Those of a worker that is there (again). */
void tg_spawn_worker_shards(struct tg_spawner *spawner, int worker);
/* Has its turn to connect: through the method tell_worker_to_identify, or
 * tell_worker_to_prepare for a shard of the set to come. */
void tg_spawn_tell(struct tg_spawner *spawner, struct tg_managed_shard *shard);

/* A shard of the set to come, whose worker knows of that set, or one that the cluster has given to this
 * gateway, is wanted from now on: starts, or does with its worker. */
void tg_spawn_take(struct tg_spawner *spawner, struct tg_managed_shard *shard);
/* It is on its way to another host: it is not started, whatever happens, until it is taken. Its worker is the
 * caller's to be told. */
void tg_spawn_rest(struct tg_spawner *spawner, struct tg_managed_shard *shard);

/* ---- what becomes of shards ---- */

/* An identify has ended; `why` in a word where it failed. */
void tg_spawn_identified(struct tg_spawner *spawner, struct tg_managed_shard *shard, bool ready,
                         const char *why);
void tg_spawn_session_lost(struct tg_spawner *spawner, struct tg_managed_shard *shard, const char *reason);
/* A worker's process is gone: what its shards were about to do is void; the table
 * keeps their sessions. */
void tg_spawn_worker_gone(struct tg_spawner *spawner, int worker);
/* Somebody wants the shard down, and without its session. True: its worker has it,
 * and has to be told. */
bool tg_spawn_killed(struct tg_spawner *spawner, struct tg_managed_shard *shard);
/* The shards of that set are about to be no more; the workers know. */
void tg_spawn_set_over(struct tg_spawner *spawner, const struct tg_shard_set *set);

/* To be called every now and then: looks into the table, who is up by now, who
 * stands still. "All" are those of the current set. */
void tg_spawn_look(struct tg_spawner *spawner);
/* All were, once. */
bool tg_spawn_all_up(const struct tg_spawner *spawner);
