#pragma once

/* Sessions that Discord has forgotten: their heartbeats are acknowledged, and no events come. Reads what
 * comes to the shards from the shard table, which costs the workers nothing; finds those that are deaf
 * (hearing.h), and has done for them what helps (cure.h). What is usual of the shards is kept over restarts,
 * in baseline.json of the state directory. Nothing is looked at while the bot goes over to another number of
 * shards, whose shards then have to be got to know anew. In a cluster each host looks after the shards that
 * it has. */

#include "manager/commands/commands.h"
#include "manager/deaf/cure.h"
#include "manager/env.h"
#include "manager/status.h"
#include "manager/workers/workers.h"

struct tg_deaf;

struct tg_deaf_events {
  /* Whether a session start may be spent, of those that are not the reserve. */
  bool (*may_identify)(void *ctx);
  /* The shard is to end its session, and to identify. Replies when the old one has gone, or why it does not.
   */
  void (*renew)(void *ctx, struct tg_managed_shard *shard, tg_manager_reply *reply, void *reply_ctx);
};

struct tg_deaf_options {
  const struct tg_manager_env *env;
  struct tg_workers *workers;
  struct tg_commands *commands;
  const struct tg_deaf_events *events;
  void *ctx;
};

/* All is borrowed. */
struct tg_deaf *tg_deaf_new(const struct tg_deaf_options *options);
/* The shards start. */
void tg_deaf_begin(struct tg_deaf *deaf);
/* Another program takes over (upgrade/), or has: what is counted goes on, what was learned is written. A new
 * reference. */
json_t *tg_deaf_hand_over(const struct tg_deaf *deaf);
void tg_deaf_take_over(struct tg_deaf *deaf, const json_t *handed);
/* It has asked for the end of a connection or session, which nobody else would hear of. */
bool tg_deaf_acts(const struct tg_deaf *deaf);
/* The gateway stops: nothing is done any more; what was learned is written. */
void tg_deaf_end(struct tg_deaf *deaf);
/* After the end of the workers. */
void tg_deaf_free(struct tg_deaf *deaf);

void tg_deaf_status(const struct tg_deaf *deaf, struct tg_deaf_status *status);
