#pragma once

/* Who waits for a slot of which shard of this gateway: the shard's worker, in line
 * for the scheduler; the script, that was asked (gateway.manager:request_identify)
 * and has not answered; and scripts that have called the default themselves. */

#include "manager/env.h"

struct tg_asks;

struct tg_asks_events {
  /* Somebody waits, or asks again with its next connection: the scheduler is to
   * know of it. */
  void (*wanted)(void *ctx, struct tg_managed_shard *shard);
  /* The worker may have it: by the scheduler's grant, or because a script that
   * coordinates on its own said so. */
  void (*allowed)(void *ctx, struct tg_managed_shard *shard);
  /* See slots.h. */
  bool (*reachable)(void *ctx, const struct tg_managed_shard *shard);
};

/* The shards are known. All is borrowed. */
struct tg_asks *tg_asks_new(const struct tg_manager_env *env, const struct tg_asks_events *events, void *ctx);
/* NULL: none. */
void tg_asks_free(struct tg_asks *asks);

/* The worker of the shard wants its slot: asks the script, if that has a say. `number`: of that ask. */
void tg_asks_of_worker(struct tg_asks *asks, struct tg_managed_shard *shard, int64_t number);
/* The number of what the worker asked last. */
int64_t tg_asks_last(struct tg_asks *asks, const struct tg_managed_shard *shard);
/* The same, and the script is not asked. */
void tg_asks_in_line(struct tg_asks *asks, struct tg_managed_shard *shard);
/* Replies true with the slot. */
void tg_asks_of_script(struct tg_asks *asks, struct tg_managed_shard *shard, tg_manager_reply *reply,
                       void *ctx);

/* Whether somebody waits for the scheduler's grant; and: here it is. */
bool tg_asks_awaited(struct tg_asks *asks, const struct tg_managed_shard *shard);
void tg_asks_granted(struct tg_asks *asks, struct tg_managed_shard *shard);

/* Nobody waits any more; scripts are told why. */
void tg_asks_drop(struct tg_asks *asks, const struct tg_managed_shard *shard, const char *why);
/* The shards of that set are about to be no more. */
void tg_asks_set_over(struct tg_asks *asks, const struct tg_shard_set *set, const char *why);

/* Whether the script was asked for its slot and has not answered. */
bool tg_asks_script_asked(struct tg_asks *asks, const struct tg_managed_shard *shard);
