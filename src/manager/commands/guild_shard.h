#pragma once

/* The shard of a guild, as gateway.manager:calculate_shard_id has it. */

#include "manager/arguments.h"
#include "manager/env.h"

/* NULL: it is none of this gateway, or they are not known yet; the call is answered. */
struct tg_managed_shard *tg_guild_shard(const struct tg_manager_env *env, const struct tg_args *args,
                                        uint64_t guild_id);
