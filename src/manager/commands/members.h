#pragma once

/* gateway.manager:request_members: op 8, its chunks joined. Ids go out 100 at a
 * time, one request after the other, each with its own nonce. */

#include "manager/commands/sending.h"
#include "manager/env.h"

struct tg_members;

/* All is borrowed. */
struct tg_members *tg_members_new(const struct tg_manager_env *env, struct tg_sendings *sendings);
/* Answers all that are under way. */
void tg_members_end(struct tg_members *members);
/* After the end of the sendings. */
void tg_members_free(struct tg_members *members);

/* d of a GUILD_MEMBERS_CHUNK, and of a RATE_LIMITED. */
void tg_members_chunk(struct tg_members *members, const json_t *data);
void tg_members_limited(struct tg_members *members, tg_shard_ref ref, const json_t *data);
void tg_members_worker_gone(struct tg_members *members, int worker);
/* Whether shards of that side are still to answer requests for guilds of that class:
 * (id >> 22) % classes. */
bool tg_members_await(const struct tg_members *members, int side, int classes, int number);
/* The shards of that set are about to be no more. */
void tg_members_set_over(struct tg_members *members, const struct tg_shard_set *set);
/* The shard has gone to another host. */
void tg_members_left(struct tg_members *members, const struct tg_managed_shard *shard);
/* To be called every now and then. */
void tg_members_tick(struct tg_members *members, tg_ms now);
