#pragma once

/* The defaults of gateway.manager that send something to a shard, and those that
 * show or end shards. */

#include "manager/commands/sending.h"
#include "manager/env.h"
#include "manager/identify/slots.h"
#include "manager/workers/spawn.h"
#include "manager/workers/workers.h"

struct tg_commands;

struct tg_commands_options {
  const struct tg_manager_env *env;
  struct tg_workers *workers;
  struct tg_slots *slots;
  struct tg_spawner *spawner;
  struct tg_sendings *sendings;
  /* gateway.manager:shutdown. */
  void (*shutdown)(void *ctx, bool keep_sessions);
  void *ctx;
};

/* All is borrowed. */
struct tg_commands *tg_commands_new(const struct tg_commands_options *options);
/* See tg_manager_reconnect(). */
void tg_commands_reconnect(struct tg_commands *commands, int shard_id, tg_manager_reply *reply, void *ctx);
void tg_commands_free(struct tg_commands *commands);
