#pragma once

/* What the rooms of the manager (fetch.c, identify/, workers/, commands/) share.
 * It is manager.c's: they only read it. What a room has to tell, it tells by the
 * callbacks that it was made with; none knows another's inside. */

#include "config/config.h"
#include "hooks/hooks.h"
#include "manager/calls.h"
#include "manager/gateway_info.h"
#include "manager/shard_set.h"

#include <uv.h>

struct tg_http;
struct tg_post_office;

struct tg_manager_env {
  uv_loop_t *loop;
  const struct tg_config *config; /* a reload may bring another */
  struct tg_hooks *hooks;
  struct tg_http *http; /* NULL: there is none */
  struct tg_calls *calls;
  struct tg_post_office *post; /* to shards of other hosts; NULL: there is no cluster */
  char *state_dir;
  uint64_t bot, bot_with_intents; /* which bot the files of the state directory are for */
  int64_t stamp; /* tg_steady_clock() of this start: tells the logs of this run from older ones */
  const struct tg_gateway_info *info; /* fetch.c's */
  struct tg_shard_set shards;         /* the current ones: what is meant where nothing else is said */
  struct tg_shard_set next;           /* those to come, of the other side; mostly there are none */
  /* While the bot goes over (reshard/): which classes of guilds the next shards rule, by
   * number; NULL: there are none. And whether the shards are those from now on: the old
   * ones are closing. */
  const bool *ruled_by_next;
  int classes;
  bool next_is_current;
  bool clustered; /* several hosts share the shards: those that are this gateway's are `held` (cluster/) */
  bool upgrading; /* another program is about to take over (upgrade/): nothing long is begun */
  bool stopping;
};

/* The shards that people and scripts mean by a number. */
static inline const struct tg_shard_set *tg_current_set(const struct tg_manager_env *env)
{
  return env->next_is_current ? &env->next : &env->shards;
}

/* Those that have this guild now. */
static inline const struct tg_shard_set *tg_set_of_guild(const struct tg_manager_env *env, uint64_t guild_id)
{
  bool next = env->ruled_by_next && env->ruled_by_next[(guild_id >> 22) % (uint64_t)env->classes];
  return next ? &env->next : &env->shards;
}

/* NULL: not a shard of this gateway, or its set is over. */
static inline struct tg_managed_shard *tg_shard_of_ref(const struct tg_manager_env *env, tg_shard_ref ref)
{
  struct tg_managed_shard *shard = tg_shard_set_find(&env->shards, tg_ref_id(ref));
  if (!shard || shard->ref != ref)
    shard = tg_shard_set_find(&env->next, tg_ref_id(ref));
  return shard && shard->ref == ref ? shard : NULL;
}

/* All shards, of both sets, by number. */
static inline int tg_all_shards(const struct tg_manager_env *env)
{
  return env->shards.count + env->next.count;
}

static inline struct tg_managed_shard *tg_any_shard(const struct tg_manager_env *env, int number)
{
  return number < env->shards.count ? &env->shards.list[number] : &env->next.list[number - env->shards.count];
}
