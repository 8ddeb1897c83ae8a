#include "manager/commands/guild_shard.h"

#include <inttypes.h>
#include <stdio.h>

struct tg_managed_shard *tg_guild_shard(const struct tg_manager_env *env, const struct tg_args *args,
                                        uint64_t guild_id)
{
  if (env->shards.count == 0) {
    tg_reply_error(args->reply, args->ctx, "not_ready", "gateway.manager:%s: the shards are not known yet",
                   args->method);
    return NULL;
  }
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, guild_id);
  const struct tg_shard_set *set = tg_set_of_guild(env, guild_id);
  int total = set->range.total;
  json_t *list = json_pack("[s, i]", text, total);
  int id = tg_call_int(env->calls, TG_METHOD_manager_calculate_shard_id, list, 0, total - 1,
                       tg_shard_of_guild(guild_id, total));
  json_decref(list);
  struct tg_managed_shard *shard = tg_shard_set_find(set, id);
  if (!shard)
    tg_reply_error(args->reply, args->ctx, "no_shard",
                   "gateway.manager:%s: guild %s is on shard %d, which another gateway host runs",
                   args->method, text, id);
  return shard;
}
