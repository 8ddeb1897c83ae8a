/* What the gateways of discordeno's templates and guides answer at POST / and
 * GET /timecheck, so that a bot made for them needs no change. There nobody
 * learns whether a payload was sent; here it is the answer.
 *
 * Such a bot thinks that it has one shard, 0, whatever there are: what is for a
 * guild goes to the guild's shard. */

#include "base/suggest.h"
#include "control/routes.h"
#include "manager/manager.h"
#include "manager/status.h"
#include "proto/payload.h"

#include <string.h>

static void call(struct tg_request *request, enum tg_method method, json_t *args, tg_manager_reply *reply)
{
  tg_manager_call(request->manager, method, args, reply, request);
  json_decref(args);
}

/* ---- payloads ---- */

/* From here on the body is the frame alone, as with the other routes. */
static void take_frame(struct tg_request *request, json_t *frame)
{
  json_decref(request->json);
  request->json = frame;
}

/* The frame is the body. False: it is not for a guild; the check of frames says what is wrong with one that
 * should be. */
static bool send_by_guild(struct tg_request *request)
{
  const json_t *op = json_object_get(request->json, "op"), *d = json_object_get(request->json, "d");
  json_t *guild_id = json_object_get(d, "guild_id"), *guild_ids = json_object_get(d, "guild_ids");
  switch (json_is_integer(op) ? json_integer_value(op) : -1) {
  case TG_OP_VOICE_STATE_UPDATE:
  case TG_OP_REQUEST_GUILD_MEMBERS:
  case TG_OP_REQUEST_CHANNEL_INFO:
    if (!json_is_string(guild_id))
      return false;
    tg_route_send_to_guild(request, json_string_value(guild_id));
    return true;
  case TG_OP_REQUEST_SOUNDBOARD_SOUNDS:
    if (!json_is_array(guild_ids))
      return false;
    call(request, TG_METHOD_manager_request_soundboard_sounds, json_pack("[O]", guild_ids), tg_route_on_sent);
    return true;
  default:
    return false;
  }
}

static void send_by_shard(struct tg_request *request, json_t *shard_id)
{
  call(request, TG_METHOD_manager_send_payload, json_pack("[O, O]", shard_id, request->json),
       tg_route_on_sent);
}

static void send_payload(struct tg_request *request, const char *type, const char *key)
{
  json_t *id = json_object_get(request->json, "shardId"), *payload = json_object_get(request->json, key);
  if (!json_is_object(payload)) {
    tg_respond_error(request, 400, "%s needs %s, {\"op\":..,\"d\":{..}}", type, key);
    return;
  }
  json_incref(id);
  take_frame(request, json_pack("{s:O*, s:O*}", "op", json_object_get(payload, "op"), "d",
                                json_object_get(payload, "d")));
  if (send_by_guild(request))
    ;
  else if (json_is_integer(id))
    send_by_shard(request, id);
  else
    tg_respond_error(request, 400, "%s needs shardId, a number: %s is for no guild", type, key);
  json_decref(id);
}

static void shard_payload(struct tg_request *request)
{
  send_payload(request, "ShardPayload", "payload");
}

static void former_shard_payload(struct tg_request *request)
{
  send_payload(request, "SHARD_PAYLOAD", "data");
}

static void edit_presence(struct tg_request *request)
{
  json_t *payload = json_object_get(request->json, "payload");
  if (json_is_object(payload))
    call(request, TG_METHOD_manager_edit_bot_status, json_pack("[O]", payload), tg_route_on_sent);
  else
    tg_respond_error(request, 400, "EditShardsPresence needs payload, a presence: {\"status\":\"idle\",...}");
}

/* ---- members ---- */

static const char *const member_options[][2] = {
    {"query", "query"},      {"limit", "limit"}, {"presences", "presences"},
    {"userIds", "user_ids"}, {"nonce", "nonce"},
};
enum { MEMBER_OPTIONS = sizeof member_options / sizeof *member_options };

/* As d of op 8 has them. False: answered. */
static bool read_member_options(struct tg_request *request, json_t *options, json_t *d)
{
  const char *names[MEMBER_OPTIONS], *key;
  json_t *value;
  for (int i = 0; i < MEMBER_OPTIONS; i++)
    names[i] = member_options[i][0];
  json_object_foreach(options, key, value)
  {
    int i = 0;
    while (i < MEMBER_OPTIONS && strcmp(key, names[i]) != 0)
      i++;
    if (i == MEMBER_OPTIONS) {
      const char *like = tg_suggest(key, names, MEMBER_OPTIONS);
      tg_respond_error(request, 400, "REQUEST_MEMBERS has no option \"%s\"%s%s%s", key,
                       like ? "; did you mean \"" : "", like ? like : "", like ? "\"?" : "");
      return false;
    }
    if (!json_is_null(value))
      json_object_set(d, member_options[i][1], value);
  }
  return true;
}

/* The chunks come as events, with the nonce that was given. */
static void request_members(struct tg_request *request)
{
  json_t *guild_id = json_object_get(request->json, "guildId"),
         *options = json_object_get(request->json, "options");
  if (!json_is_string(guild_id) || (options && !json_is_object(options) && !json_is_null(options))) {
    tg_respond_error(
        request, 400,
        "REQUEST_MEMBERS needs guildId, a string of digits, and may have options, {\"query\":..}");
    return;
  }
  json_t *d = json_pack("{s:O}", "guild_id", guild_id);
  if (!read_member_options(request, options, d)) {
    json_decref(d);
    return;
  }
  bool by_ids = json_object_get(d, "user_ids");
  if (!by_ids && !json_object_get(d, "query"))
    json_object_set_new(d, "query", json_string(""));
  if (!by_ids && !json_object_get(d, "limit"))
    json_object_set_new(d, "limit", json_integer(0));
  take_frame(request, json_pack("{s:i, s:o}", "op", TG_OP_REQUEST_GUILD_MEMBERS, "d", d));
  send_by_guild(request);
}

/* ---- shards ---- */

static void on_shard_info(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  const json_t *info = json_array_get(value, 0);
  if (error)
    tg_respond_error(request, 400, "%s", error->message);
  else
    tg_respond_json(request, 200,
                    json_pack("{s:O*, s:O*}", "shardId", json_object_get(info, "shard_id"), "rtt",
                              json_object_get(info, "rtt")));
}

static void answer_shard(struct tg_request *request, int shard_id)
{
  tg_manager_shard_info(request->manager, shard_id, on_shard_info, request);
}

static void on_shard_found(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  if (error)
    tg_respond_error(request, 400, "%s", error->message);
  else
    answer_shard(request, (int)json_integer_value(value));
}

static void shard_of_guild(struct tg_request *request)
{
  json_t *guild_id = json_object_get(request->json, "guildId");
  if (guild_id && !json_is_null(guild_id))
    call(request, TG_METHOD_manager_calculate_shard_id, json_pack("[O]", guild_id), on_shard_found);
  else
    answer_shard(request, 0);
}

/* discordeno's numbers for the states. */
static int state_number(enum tg_shard_state state)
{
  static const int numbers[] = {
      [TG_SHARD_CONNECTED] = 0,    [TG_SHARD_CONNECTING] = 1,  [TG_SHARD_DISCONNECTED] = 2,
      [TG_SHARD_UNIDENTIFIED] = 3, [TG_SHARD_IDENTIFYING] = 4, [TG_SHARD_RESUMING] = 5,
      [TG_SHARD_OFFLINE] = 6,
  };
  return numbers[state];
}

static void all_shards(struct tg_request *request)
{
  const struct tg_shard_set *set = tg_gateway_set(request->manager, 0);
  json_t *all = json_array();
  for (int i = 0; set && i < set->count; i++) {
    const struct tg_managed_shard *shard = &set->list[i];
    if (!shard->held)
      continue; /* another host's */
    const struct tg_shard_row *row = tg_shard_row_of(shard);
    json_array_append_new(all, json_pack("{s:i, s:i, s:i, s:i}", "workerId", shard->worker_id, "shardId",
                                         shard->id, "rtt", (int)atomic_load(&row->rtt), "state",
                                         state_number((enum tg_shard_state)atomic_load(&row->state))));
  }
  tg_respond_json(request, 200, all);
}

/* ---- by type ---- */

static const char *const types[] = {
    "ShardPayload",  "EditShardsPresence", "ShardInfoFromGuild",
    "SHARD_PAYLOAD", "GET_SHARD_INFO",     "REQUEST_MEMBERS", /* of older ones */
};
static void (*const handlers[])(struct tg_request *) = {
    shard_payload, edit_presence, shard_of_guild, former_shard_payload, all_shards, request_members,
};
enum { TYPES = sizeof types / sizeof *types };

void tg_route_template(struct tg_request *request)
{
  const char *type = json_string_value(json_object_get(request->json, "type"));
  for (int i = 0; i < TYPES; i++) {
    if (type && strcmp(type, types[i]) == 0) {
      handlers[i](request);
      return;
    }
  }
  const char *like = type ? tg_suggest(type, types, TYPES) : NULL;
  tg_respond_error(request, 400,
                   "type has to be ShardPayload, EditShardsPresence, ShardInfoFromGuild, SHARD_PAYLOAD, "
                   "GET_SHARD_INFO or REQUEST_MEMBERS%s%s%s",
                   like ? "; did you mean " : "", like ? like : "", like ? "?" : "");
}

void tg_route_timecheck(struct tg_request *request)
{
  tg_respond_json(request, 200, json_pack("{s:I}", "message", (json_int_t)tg_wall_clock()));
}
