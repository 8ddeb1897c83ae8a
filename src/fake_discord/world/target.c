#include "fake_discord/world/target.h"

#include "base/suggest.h"

#include <string.h>

bool tg_fake_target_parse(const json_t *request, struct tg_fake_target *target, struct tg_error *error)
{
  const json_t *shard = json_object_get(request, "shard"), *shards = json_object_get(request, "shards"),
               *connection = json_object_get(request, "connection"),
               *total = json_object_get(request, "total");
  *target = (struct tg_fake_target){.connection = -1, .shard = -1, .total = -1};
  if ((shard && !json_is_integer(shard)) || (connection && !json_is_integer(connection)))
    return tg_fail(error, "type", "shard and connection are whole numbers");
  if (total && (!json_is_integer(total) || json_integer_value(total) < 1))
    return tg_fail(error, "type", "total: expected a number of shards, from 1");
  if (shards && !json_is_array(shards) &&
      !(json_is_string(shards) && strcmp(json_string_value(shards), "all") == 0))
    return tg_fail(error, "type", "shards: expected a list of numbers, or \"all\"");
  if (shard)
    target->shard = json_integer_value(shard);
  if (connection)
    target->connection = json_integer_value(connection);
  if (json_is_array(shards))
    target->shards = shards;
  if (total)
    target->total = json_integer_value(total);
  target->any_shard = !shard && !connection && !target->shards;
  target->all = target->any_shard && !total;
  return true;
}

bool tg_fake_target_has_shard(const struct tg_fake_target *target, int shard_id, int total)
{
  if (target->total >= 0 && target->total != total)
    return false;
  if (target->any_shard || target->shard == shard_id)
    return true;
  size_t i;
  json_t *value;
  json_array_foreach(target->shards, i,
                     value) if (json_is_integer(value) && json_integer_value(value) == shard_id) return true;
  return false;
}

bool tg_fake_target_has_conn(const struct tg_fake_target *target, const struct tg_fake_conn *conn)
{
  if (target->connection >= 0)
    return target->connection == conn->id;
  return target->all ||
         (conn->shard_id >= 0 && tg_fake_target_has_shard(target, conn->shard_id, conn->total));
}

bool tg_fake_check_keys(const json_t *request, const char *const *keys, struct tg_error *error)
{
  static const char *const common[] = {"shard", "shards", "connection", "total"};
  const char *names[64], *key;
  size_t count = 0;
  for (size_t i = 0; i < sizeof common / sizeof *common; i++)
    names[count++] = common[i];
  for (; *keys && count < sizeof names / sizeof *names; keys++)
    names[count++] = *keys;
  json_t *value;
  json_object_foreach((json_t *)(uintptr_t)request, key, value)
  {
    bool known = false;
    for (size_t i = 0; i < count; i++)
      known = known || strcmp(names[i], key) == 0;
    if (known)
      continue;
    const char *near = tg_suggest(key, names, count);
    return tg_fail(error, "unknown", "unknown key \"%s\"%s%s%s", key, near ? "; did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
  }
  return true;
}
