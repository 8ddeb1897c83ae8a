#include "manager/commands/gateway_send.h"

#include "base/msgpack.h"
#include "config/config.h"

enum { BYTES_MAX = 64 * 1024 /* a frame to Discord has 4096 */ };

static bool read_shard(const json_t *value, int *shard_id, struct tg_error *error)
{
  json_int_t number = json_integer_value(value);
  if (!json_is_integer(value) || number < 0 || number >= TG_SHARDS_MAX)
    return tg_fail(error, "bad_argument", "its shardId has to be the number of a shard");
  *shard_id = (int)number;
  return true;
}

/* What `value` asks for; its payload is a new reference. */
static bool read_command(const json_t *value, struct tg_gateway_send *command, struct tg_error *error)
{
  json_t *shard = json_object_get(value, "shardId"), *payload = json_object_get(value, "payload");
  command->shard_id = TG_ALL_SHARDS;
  if (!json_is_object(value))
    return tg_fail(error, "bad_argument", "it has to be a map {shardId, payload}");
  if (!shard && !payload && json_object_get(value, "op"))
    payload = (json_t *)value;
  else if (!read_shard(shard, &command->shard_id, error))
    return false;
  if (!json_is_object(payload))
    return tg_fail(error, "bad_argument", "its payload has to be a map {op, d}");
  command->payload = json_incref(payload);
  return true;
}

bool tg_gateway_send_read(struct tg_span data, struct tg_gateway_send *command, struct tg_error *error)
{
  if (data.length > BYTES_MAX)
    return tg_fail(error, "too_large", "it has %zu bytes, and Discord takes 4096", data.length);
  json_t *value = tg_msgpack_read(data, error);
  if (!value)
    return false;
  bool good = read_command(value, command, error);
  json_decref(value);
  return good;
}
