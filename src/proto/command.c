/* The check of the frames that users send: op 3, 4, 8, 31, 43. A wrong shape costs the connection (4001,
 * 4002) or gets no answer at all, so that it must fail here, to its caller. */

#include "proto/payload.h"

#include "proto/presence.h"

#include <string.h>

enum { USER_IDS_MAX = 100, NONCE_MAX = 32, SNOWFLAKE_DIGITS_MAX = 20 };

static bool refuse(struct tg_error *error, int op, const char *why)
{
  tg_fail(error, "bad_payload", "op %d: %s", op, why);
  return false;
}

static bool is_id(const json_t *value)
{
  if (!json_is_string(value))
    return false;
  const char *text = json_string_value(value);
  size_t length = json_string_length(value);
  return length > 0 && length <= SNOWFLAKE_DIGITS_MAX && strspn(text, "0123456789") == length;
}

static bool is_id_list(const json_t *value, size_t most)
{
  size_t count = json_array_size(value);
  if (count == 0 || count > most)
    return false;
  for (size_t i = 0; i < count; i++) {
    if (!is_id(json_array_get(value, i)))
      return false;
  }
  return true;
}

static bool has_guild_id(const json_t *d, int op, struct tg_error *error)
{
  return is_id(json_object_get(d, "guild_id")) ||
         refuse(error, op, "d.guild_id must be an id: a string of digits, like \"820588789004115970\"");
}

static bool check_presence(const json_t *d, struct tg_error *error)
{
  struct tg_presence_fault fault;
  if (tg_presence_is_complete(d, &fault))
    return true;
  tg_fail(error, "bad_payload", "op %d: d%s %s", TG_OP_PRESENCE_UPDATE, fault.path, fault.text);
  return false;
}

static bool check_voice_state(const json_t *d, struct tg_error *error)
{
  if (!has_guild_id(d, 4, error))
    return false;
  const json_t *channel = json_object_get(d, "channel_id");
  if (!json_is_null(channel) && !is_id(channel))
    return refuse(error, 4, "d.channel_id must be an id (a string of digits), or null to leave");
  if (!json_is_boolean(json_object_get(d, "self_mute")) || !json_is_boolean(json_object_get(d, "self_deaf")))
    return refuse(error, 4, "d.self_mute and d.self_deaf must be true or false");
  return true;
}

static bool check_request_members(const json_t *d, struct tg_error *error)
{
  if (!has_guild_id(d, 8, error))
    return false;
  const json_t *query = json_object_get(d, "query");
  const json_t *user_ids = json_object_get(d, "user_ids");
  if (!query == !user_ids)
    return refuse(error, 8, "d needs either query or user_ids, and not both");
  if (query && !json_is_string(query))
    return refuse(error, 8, "d.query must be a string; \"\" with limit 0 asks for all members");
  if (user_ids && !is_id(user_ids) && !is_id_list(user_ids, USER_IDS_MAX))
    return refuse(error, 8, "d.user_ids must be one id or a list of 1 to 100 ids, each a string of digits");
  const json_t *limit = json_object_get(d, "limit");
  if ((limit || query) && (!json_is_integer(limit) || json_integer_value(limit) < 0))
    return refuse(error, 8, "d.limit must be a whole number, 0 or more; query needs one");
  const json_t *presences = json_object_get(d, "presences");
  if (presences && !json_is_boolean(presences))
    return refuse(error, 8, "d.presences must be true or false");
  const json_t *nonce = json_object_get(d, "nonce");
  if (nonce && (!json_is_string(nonce) || json_string_length(nonce) > NONCE_MAX))
    return refuse(error, 8, "d.nonce must be a string of at most 32 bytes; Discord ignores longer ones");
  return true;
}

static bool check_soundboard(const json_t *d, struct tg_error *error)
{
  return is_id_list(json_object_get(d, "guild_ids"), SIZE_MAX) ||
         refuse(error, 31, "d.guild_ids must be a list of ids, each a string of digits");
}

static bool check_channel_info(const json_t *d, struct tg_error *error)
{
  if (!has_guild_id(d, 43, error))
    return false;
  const json_t *fields = json_object_get(d, "fields");
  bool good = json_array_size(fields) > 0;
  for (size_t i = 0; good && i < json_array_size(fields); i++)
    good = json_is_string(json_array_get(fields, i));
  return good || refuse(error, 43, "d.fields must be a list like [\"status\", \"voice_start_time\"]");
}

static bool check_data(json_int_t op, const json_t *d, struct tg_error *error)
{
  switch (op) {
  case TG_OP_PRESENCE_UPDATE:
    return check_presence(d, error);
  case TG_OP_VOICE_STATE_UPDATE:
    return check_voice_state(d, error);
  case TG_OP_REQUEST_GUILD_MEMBERS:
    return check_request_members(d, error);
  case TG_OP_REQUEST_SOUNDBOARD_SOUNDS:
    return check_soundboard(d, error);
  default:
    return check_channel_info(d, error);
  }
}

bool tg_payload_check_command(const json_t *payload, struct tg_error *error)
{
  const json_t *op_given = json_object_get(payload, "op");
  json_int_t op = json_is_integer(op_given) ? json_integer_value(op_given) : -1;
  switch (op) {
  case TG_OP_PRESENCE_UPDATE:
  case TG_OP_VOICE_STATE_UPDATE:
  case TG_OP_REQUEST_GUILD_MEMBERS:
  case TG_OP_REQUEST_SOUNDBOARD_SOUNDS:
  case TG_OP_REQUEST_CHANNEL_INFO:
    break;
  case TG_OP_HEARTBEAT:
  case TG_OP_IDENTIFY:
  case TG_OP_RESUME:
    refuse(error, (int)op, "the gateway sends this by itself; a payload may be op 3, 4, 8, 31 or 43");
    return false;
  default:
    tg_fail(error, "bad_payload", "a payload must be {\"op\": 3, 4, 8, 31 or 43, \"d\": {...}}");
    return false;
  }
  const json_t *d = json_object_get(payload, "d");
  if (!json_is_object(d))
    return refuse(error, (int)op, "d must be an object");
  if (!check_data(op, d, error))
    return false;
  size_t size = json_dumpb(payload, NULL, 0, JSON_COMPACT);
  if (size > TG_CLIENT_FRAME_MAX) {
    tg_fail(error, "too_large", "op %d: the payload is %zu bytes long; Discord takes at most %d", (int)op,
            size, TG_CLIENT_FRAME_MAX);
    return false;
  }
  return true;
}
