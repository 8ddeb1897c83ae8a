#pragma once

/* The commands that bots write into Redis, as those of discord.js do, whose events a sink with the layout
 * "discordjs" puts there: each is done by gateway.manager:send_payload, as if a script had called it. */

#include "manager/env.h"

struct tg_redis_commands;

/* `env` is borrowed. Nothing is read yet. */
struct tg_redis_commands *tg_redis_commands_new(const struct tg_manager_env *env);
/* The shards are known, or the configuration is another: reads where the sinks are now. */
void tg_redis_commands_look(struct tg_redis_commands *all);
/* Reads no more. */
void tg_redis_commands_stop(struct tg_redis_commands *all);
/* After the end of all calls. */
void tg_redis_commands_free(struct tg_redis_commands *all);
