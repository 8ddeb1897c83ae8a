#pragma once

/* Going over from N shards to M while everything runs:
 *
 *   waiting      for a fresh answer of Discord's, and room in the day's session starts
 *   preparing    classes of guilds are dealt to workers, who are told of the new set
 *   identifying  the new shards: one alone, then the others
 *   matching     workers see events twice, until a class is ready
 *   switching    one class, a pause, then the others one a second
 *   settling     until nothing of the old shards is on its way any more
 *   closing      the old shards end; the new set is the current one
 *
 * Where hosts share the shards they decide that together, by what stands in Redis (cluster/cluster.h): each
 * does all of it for its own classes.
 *
 * Each step is in resharding.json (record.h) before it is taken. Until the first old
 * shard is closed it can be undone: classes go back, the new set is dropped. Workers
 * say how far their classes are, and may switch by themselves; that is taken as it is.
 *
 * Offers the defaults of
 * gateway.manager:reshard, resharding_needed and on_resharding_switch. */

#include "manager/cluster/member.h"
#include "manager/commands/members.h"
#include "manager/env.h"
#include "manager/fetch.h"
#include "manager/identify/slots.h"
#include "manager/status.h"
#include "manager/workers/spawn.h"
#include "manager/workers/workers.h"

struct tg_reshard;

/* What all rooms hear of: a second set, as manager/internal.h has it. */
struct tg_reshard_events {
  bool (*make_next)(void *ctx, int total, uint64_t first_epoch, const int *workers, int classes,
                    struct tg_error *error);
  void (*drop_next)(void *ctx);
  void (*take_next)(void *ctx);
  /* A shard was refused for the number of shards, and no other number can help. */
  void (*helpless)(void *ctx, const char *why);
  /* The cluster has another number of shards now, and this gateway was not there: it has to start anew. */
  void (*outrun)(void *ctx, const char *why);
};

struct tg_reshard_options {
  struct tg_manager_env *env; /* it says there which shards have which guilds */
  struct tg_fetch *fetch;
  struct tg_slots *slots;
  struct tg_workers *workers;
  struct tg_spawner *spawner;
  struct tg_members *members;
  struct tg_member *member; /* NULL: there is no cluster, and this gateway decides by itself */
  const struct tg_reshard_events *events;
  void *ctx;
};

/* All is borrowed. */
struct tg_reshard *tg_reshard_new(const struct tg_reshard_options *options);
/* The gateway stops: nothing is begun any more. `keep_sessions` false: those of both
 * sets end, so that none is left to go over with. */
void tg_reshard_end(struct tg_reshard *reshard, bool keep_sessions);
/* After the end of the workers. */
void tg_reshard_free(struct tg_reshard *reshard);

/* ---- a start of the gateway ---- */

/* Reads what the last run has left. False: it cannot be understood, and the gateway must not start with
 * a number of shards that is guessed. */
bool tg_reshard_restore(struct tg_reshard *reshard, struct tg_error *error);
/* The side of the current set, and its total; 0: to be chosen as ever. */
int tg_reshard_side(const struct tg_reshard *reshard);
int tg_reshard_total(const struct tg_reshard *reshard);
/* The worker of a shard of the current set; -1: to be chosen as ever. */
int tg_reshard_worker(const struct tg_reshard *reshard, int shard_id);
/* The current set is made; workers do not run yet. If the last run was in the middle of it, the next set is
 * made, too. False: it cannot. */
bool tg_reshard_begin(struct tg_reshard *reshard, struct tg_error *error);

/* ---- of a host of a cluster ---- */

/* Before it joins: what it has had. */
void tg_reshard_past(const struct tg_reshard *reshard, struct tg_member_past *past);
/* It has joined, before the current set is made: there are so many shards, since that change. */
void tg_reshard_joined(struct tg_reshard *reshard, int total, uint64_t change);
/* See struct tg_member_events. */
bool tg_reshard_heard(struct tg_reshard *reshard, const struct tg_cluster_word *word);

/* ---- what happens meanwhile ---- */

/* A worker has loaded its script, and has no shards yet. */
void tg_reshard_worker_ready(struct tg_reshard *reshard, int worker);
void tg_reshard_worker_gone(struct tg_reshard *reshard, int worker);
void tg_reshard_class_state(struct tg_reshard *reshard, int worker,
                            const struct tg_message_class_state *message);
/* A shard has had its READY. */
void tg_reshard_identified(struct tg_reshard *reshard, const struct tg_managed_shard *shard);
/* Discord was asked for session_start_limit, and has answered or not. */
void tg_reshard_refreshed(struct tg_reshard *reshard, bool anew);
/* Discord has closed a shard for good with that code: a new one, or one that has to identify anew. True: that
 * is no reason for the gateway to stop. */
bool tg_reshard_fatal(struct tg_reshard *reshard, struct tg_managed_shard *shard, int code);
/* The total is of no use any more: the next start chooses anew. */
void tg_reshard_forget_total(struct tg_reshard *reshard);
/* Something may be due: a step, or the check whether more shards are needed. To be called every now and then.
 */
void tg_reshard_look(struct tg_reshard *reshard);

/* What has ended in this run, for the next program in this process; and there. */
json_t *tg_reshard_hand_over(const struct tg_reshard *reshard);
void tg_reshard_take_over(struct tg_reshard *reshard, const json_t *handed);

/* See tg_gateway_resharding(). */
void tg_reshard_status(struct tg_reshard *reshard, struct tg_resharding_status *status);
