/* Commands to Discord: POST /shards/{id}/payload, /payload, /guilds/{id}/payload.
 * The body is the frame, {"op":8,"d":{...}}, with "timeout" and "priority"
 * beside it, and for a guild's op 8 "join". */

#include "base/suggest.h"
#include "base/utf8.h"
#include "control/routes.h"
#include "manager/manager.h"
#include "manager/status.h"
#include "proto/payload.h"

#include <stdlib.h>
#include <string.h>

/* ---- the body ---- */

static bool check_names(struct tg_request *request)
{
  static const char *const names[] = {"op", "d", "timeout", "priority", "join"};
  enum { COUNT = sizeof names / sizeof *names };
  const char *key;
  json_t *value;
  json_object_foreach(request->json, key, value)
  {
    int i = 0;
    while (i < COUNT && strcmp(key, names[i]) != 0)
      i++;
    if (i < COUNT)
      continue;
    const char *like = tg_suggest(key, names, COUNT);
    tg_respond_error(request, 400, "a payload has no \"%s\"%s%s%s", key, like ? "; did you mean \"" : "",
                     like ? like : "", like ? "\"?" : "");
    return false;
  }
  return true;
}

/* The frame alone; a new reference. */
static json_t *frame_of(const json_t *body)
{
  return json_pack("{s:O*, s:O*}", "op", json_object_get(body, "op"), "d", json_object_get(body, "d"));
}

static json_t *options_of(const json_t *body)
{
  return json_pack("{s:O*, s:O*}", "timeout", json_object_get(body, "timeout"), "priority",
                   json_object_get(body, "priority"));
}

/* False: answered. */
static bool check_frame(struct tg_request *request)
{
  struct tg_error error = {0};
  json_t *frame = frame_of(request->json);
  bool good = tg_payload_check_command(frame, &error);
  json_decref(frame);
  if (!good)
    tg_respond_failure(request, &error);
  return good;
}

static bool refuse_join(struct tg_request *request)
{
  if (!json_object_get(request->json, "join"))
    return true;
  tg_respond_error(request, 400, "join is for an op 8 to POST /guilds/{id}/payload");
  return false;
}

/* `total`: how many shards the set has that is meant; 0: the current one. */
static void send_to(struct tg_request *request, int shard_id, int total, tg_manager_reply *reply, void *ctx)
{
  json_t *options = options_of(request->json);
  if (total > 0)
    json_object_set_new(options, "total_shards", json_integer(total));
  json_t *args = json_pack("[i, o, o]", shard_id, frame_of(request->json), options);
  tg_manager_call(request->manager, TG_METHOD_manager_send_payload, args, reply, ctx);
  json_decref(args);
}

static bool read_number(const char *text, int most, int *number)
{
  size_t digits = strspn(text, "0123456789");
  if (digits == 0 || digits > 6 || text[digits] || atoi(text) > most)
    return false;
  *number = atoi(text);
  return true;
}

/* ---- to one shard ---- */

void tg_route_on_sent(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 200, json_pack("{s:b}", "sent", true));
}

void tg_route_shard_payload(struct tg_request *request)
{
  int shard_id;
  if (!read_number(request->params[0], 65535, &shard_id))
    tg_respond_error(request, 404, "\"%s\" is not the number of a shard", request->params[0]);
  else if (check_names(request) && refuse_join(request) && check_frame(request))
    send_to(request, shard_id, 0, tg_route_on_sent, request);
}

/* ---- to all shards ---- */

struct gathering {
  struct tg_request *request;
  json_t *results;
  int left, sent, failed;
};

struct payload_part {
  struct gathering *gathering;
  int shard_id;
};

static void finish(struct gathering *gathering)
{
  if (--gathering->left > 0)
    return;
  tg_respond_json(gathering->request, 200,
                  json_pack("{s:i, s:i, s:o}", "sent", gathering->sent, "failed", gathering->failed,
                            "results", gathering->results));
  free(gathering);
}

static void on_part(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct payload_part part = *(struct payload_part *)ctx;
  free(ctx);
  struct gathering *gathering = part.gathering;
  bool sent = !error;
  json_t *result = json_pack("{s:i, s:b}", "shardId", part.shard_id, "sent", sent);
  if (error) {
    json_object_set_new(result, "error", tg_json_text(error->message));
    json_object_set_new(result, "code", tg_json_text(error->code));
  }
  json_array_append_new(gathering->results, result);
  gathering->sent += sent;
  gathering->failed += !sent;
  finish(gathering);
}

void tg_route_all_payload(struct tg_request *request)
{
  struct tg_gateway_status status;
  tg_gateway_status(request->manager, &status);
  if (!check_names(request) || !refuse_join(request) || !check_frame(request))
    return;
  if (status.total == 0) {
    tg_respond_error(request, 503, "the shards are not known yet: gateway information is being fetched");
    return;
  }
  struct gathering *gathering = tg_alloc(sizeof *gathering);
  *gathering = (struct gathering){.request = request, .results = json_array(), .left = 1};
  for (int id = status.first; id <= status.last; id++) {
    struct payload_part *part = tg_alloc(sizeof *part);
    *part = (struct payload_part){gathering, id};
    gathering->left++;
    send_to(request, id, 0, on_part, part);
  }
  finish(gathering);
}

/* ---- to a guild ---- */

struct guild_search {
  struct tg_request *request;
  int total; /* of the shards that have this guild now */
};

static void on_shard_found(void *ctx, json_t *value, const struct tg_error *error)
{
  const struct guild_search *search = ctx;
  struct tg_request *request = search->request;
  struct tg_gateway_status status;
  int shard_id = (int)json_integer_value(value);
  tg_gateway_status(request->manager, &status);
  if (error)
    tg_respond_failure(request, error);
  else if (status.total == search->total && !tg_gateway_shard(request->manager, shard_id))
    tg_respond_error(request, 404,
                     "the guild is on shard %d, which this gateway does not run: it has %d to %d", shard_id,
                     status.first, status.last);
  else
    send_to(request, shard_id, search->total, tg_route_on_sent, request);
}

void tg_route_send_to_guild(struct tg_request *request, const char *guild_id)
{
  if (!check_frame(request))
    return;
  struct guild_search search = {request, tg_gateway_total_of_guild(request->manager, guild_id)};
  json_t *args = search.total > 0 ? json_pack("[s, i]", guild_id, search.total) : json_pack("[s]", guild_id);
  /* Answers before it returns. */
  tg_manager_call(request->manager, TG_METHOD_manager_calculate_shard_id, args, on_shard_found, &search);
  json_decref(args);
}

static void on_members(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 200,
                    json_pack("{s:O*, s:O*, s:O*}", "members", json_object_get(value, "members"), "notFound",
                              json_object_get(value, "not_found"), "presences",
                              json_object_get(value, "presences")));
}

/* {"op":8,"d":{...},"join":true}: the answer is all chunks in one. */
static void request_members(struct tg_request *request)
{
  json_t *options = json_copy(json_object_get(request->json, "d"));
  json_object_del(options, "guild_id");
  json_t *timeout = json_object_get(request->json, "timeout");
  if (timeout)
    json_object_set(options, "timeout", timeout);
  json_t *args = json_pack("[s, o]", request->params[0], options);
  tg_manager_call(request->manager, TG_METHOD_manager_request_members, args, on_members, request);
  json_decref(args);
}

/* d.guild_id may be left out, and has to be this guild. False: answered. */
static bool fill_guild(struct tg_request *request)
{
  json_t *d = json_object_get(request->json, "d"), *given = json_object_get(d, "guild_id");
  int op = (int)json_integer_value(json_object_get(request->json, "op"));
  if (given && (!json_is_string(given) || strcmp(json_string_value(given), request->params[0]) != 0)) {
    tg_respond_error(request, 400, "d.guild_id is not the guild of the path, \"%s\"", request->params[0]);
    return false;
  }
  bool wanted =
      op == TG_OP_VOICE_STATE_UPDATE || op == TG_OP_REQUEST_GUILD_MEMBERS || op == TG_OP_REQUEST_CHANNEL_INFO;
  if (!given && wanted && json_is_object(d))
    json_object_set_new(d, "guild_id", json_string(request->params[0]));
  return true;
}

static bool wants_join(const struct tg_request *request)
{
  return json_is_true(json_object_get(request->json, "join"));
}

static bool check_join(struct tg_request *request)
{
  const json_t *join = json_object_get(request->json, "join"), *op = json_object_get(request->json, "op");
  bool members = json_is_integer(op) && json_integer_value(op) == TG_OP_REQUEST_GUILD_MEMBERS &&
                 json_is_object(json_object_get(request->json, "d"));
  if (!join || (json_is_boolean(join) && (members || !json_is_true(join))))
    return true;
  tg_respond_error(request, 400, "join has to be true or false, and is for op 8");
  return false;
}

void tg_route_guild_payload(struct tg_request *request)
{
  const char *guild_id = request->params[0];
  size_t digits = strspn(guild_id, "0123456789");
  if (digits == 0 || digits > 20 || guild_id[digits]) {
    tg_respond_error(request, 404, "\"%s\" is not the id of a guild", guild_id);
    return;
  }
  if (!check_names(request) || !check_join(request) || !fill_guild(request))
    return;
  if (wants_join(request)) {
    request_members(request);
    return;
  }
  tg_route_send_to_guild(request, guild_id);
}
