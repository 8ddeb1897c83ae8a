/* What the gateway of discordeno's template answers at POST / and
 * GET /timecheck, so that a bot made for that needs no change. There nobody
 * learns whether a payload was sent; here it is the answer. */

#include "base/suggest.h"
#include "control/routes.h"
#include "manager/manager.h"
#include "manager/status.h"

#include <string.h>

static void call(struct tg_request *request, enum tg_method method, json_t *args, tg_manager_reply *reply)
{
  tg_manager_call(request->manager, method, args, reply, request);
  json_decref(args);
}

static void shard_payload(struct tg_request *request)
{
  json_t *id = json_object_get(request->json, "shardId"),
         *payload = json_object_get(request->json, "payload");
  if (!json_is_integer(id) || !json_is_object(payload)) {
    tg_respond_error(request, 400,
                     "ShardPayload needs shardId, a number, and payload, {\"op\":..,\"d\":{..}}");
    return;
  }
  json_t *frame =
      json_pack("{s:O*, s:O*}", "op", json_object_get(payload, "op"), "d", json_object_get(payload, "d"));
  call(request, TG_METHOD_manager_send_payload, json_pack("[O, o]", id, frame), tg_route_on_sent);
}

static void edit_presence(struct tg_request *request)
{
  json_t *payload = json_object_get(request->json, "payload");
  if (json_is_object(payload))
    call(request, TG_METHOD_manager_edit_bot_status, json_pack("[O]", payload), tg_route_on_sent);
  else
    tg_respond_error(request, 400, "EditShardsPresence needs payload, a presence: {\"status\":\"idle\",...}");
}

static void answer_shard(struct tg_request *request, int shard_id)
{
  const struct tg_shard_row *row = tg_gateway_shard(request->manager, shard_id);
  if (row)
    tg_respond_json(request, 200,
                    json_pack("{s:i, s:i}", "shardId", shard_id, "rtt", (int)atomic_load(&row->rtt)));
  else
    tg_respond_error(request, 400, "shard %d is not run by this gateway", shard_id);
}

static void on_shard_found(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  if (error)
    tg_respond_error(request, 400, "%s", error->message);
  else
    answer_shard(request, (int)json_integer_value(value));
}

static void shard_info(struct tg_request *request)
{
  json_t *guild_id = json_object_get(request->json, "guildId");
  if (guild_id && !json_is_null(guild_id))
    call(request, TG_METHOD_manager_calculate_shard_id, json_pack("[O]", guild_id), on_shard_found);
  else
    answer_shard(request, 0);
}

void tg_route_template(struct tg_request *request)
{
  static const char *const names[] = {"ShardPayload", "EditShardsPresence", "ShardInfoFromGuild"};
  static void (*const handlers[])(struct tg_request *) = {shard_payload, edit_presence, shard_info};
  enum { COUNT = sizeof names / sizeof *names };
  const char *type = json_string_value(json_object_get(request->json, "type"));
  for (int i = 0; i < COUNT; i++) {
    if (type && strcmp(type, names[i]) == 0) {
      handlers[i](request);
      return;
    }
  }
  const char *like = type ? tg_suggest(type, names, COUNT) : NULL;
  tg_respond_error(request, 400,
                   "type has to be ShardPayload, EditShardsPresence or ShardInfoFromGuild%s%s%s",
                   like ? "; did you mean " : "", like ? like : "", like ? "?" : "");
}

void tg_route_timecheck(struct tg_request *request)
{
  tg_respond_json(request, 200, json_pack("{s:I}", "message", (json_int_t)tg_wall_clock()));
}
