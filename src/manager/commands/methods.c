/* gateway.manager: the override of a method if there is one, else its default. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGS = 8 };

typedef void default_of(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply, void *ctx);

/* ---- defaults that only compute ---- */

static void total_shards_default(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply,
                                 void *ctx)
{
  struct tg_args args = {list, "calculate_total_shards", reply, ctx};
  struct tg_gateway_info info = manager->info;
  const json_t *given = json_array_get(list, 0);
  struct tg_error error = {0};
  if (given && !json_is_null(given) && !tg_gateway_info_parse(given, &info, &error)) {
    tg_arg_bad(&args, "info (argument 1): %s", error.message);
    return;
  }
  if (info.shards == 0) {
    tg_reply_error(reply, ctx, "not_ready", "gateway information is still being fetched");
    return;
  }
  tg_reply_value(reply, ctx, json_integer(tg_total_shards_of(info.shards, info.max_concurrency)));
}

static void worker_id_default(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply,
                              void *ctx)
{
  struct tg_args args = {list, "calculate_worker_id", reply, ctx};
  struct tg_managed_shard *shard;
  if (tg_arg_shard(&args, 0, manager, &shard))
    tg_reply_value(
        reply, ctx,
        json_integer(tg_worker_of(manager->config, &manager->range, manager->usual_workers, shard->id)));
}

static void shard_id_default(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply,
                             void *ctx)
{
  struct tg_args args = {list, "calculate_shard_id", reply, ctx};
  uint64_t guild_id;
  int total = manager->range.total;
  if (!tg_arg_id(&args, 0, "guild_id", &guild_id))
    return;
  const json_t *given = json_array_get(list, 1);
  if (given && !json_is_null(given) && !tg_arg_int(&args, 1, "total", 1, TG_SHARDS_MAX, &total))
    return;
  if (total == 0) {
    tg_reply_error(reply, ctx, "not_ready", "the number of shards is not known yet");
    return;
  }
  tg_reply_value(reply, ctx, json_integer(tg_shard_of_guild(guild_id, total)));
}

static void no_resharding(struct tg_manager *manager, const json_t *list, tg_manager_reply *reply, void *ctx)
{
  (void)manager, (void)list;
  tg_reply_error(reply, ctx, "unavailable", "this version of Tidegate does not reshard");
}

/* ---- the table ---- */

static default_of *const defaults[TG_METHOD_COUNT] = {
    [TG_METHOD_manager_fetch_gateway_bot] = tg_fetch_default,
    [TG_METHOD_manager_calculate_total_shards] = total_shards_default,
    [TG_METHOD_manager_calculate_worker_id] = worker_id_default,
    [TG_METHOD_manager_calculate_shard_id] = shard_id_default,
    [TG_METHOD_manager_prepare_buckets] = tg_spawn_prepare_default,
    [TG_METHOD_manager_spawn_shards] = tg_spawn_default,
    [TG_METHOD_manager_tell_worker_to_identify] = tg_spawn_tell_default,
    [TG_METHOD_manager_request_identify] = tg_slots_request_default,
    [TG_METHOD_manager_send_payload] = tg_command_send_payload,
    [TG_METHOD_manager_get_shard_info] = tg_command_shard_info,
    [TG_METHOD_manager_kill] = tg_command_kill,
    [TG_METHOD_manager_shutdown] = tg_command_shutdown,
    [TG_METHOD_manager_edit_bot_status] = tg_command_bot_status,
    [TG_METHOD_manager_edit_shard_status] = tg_command_shard_status,
    [TG_METHOD_manager_request_members] = tg_members_default,
    [TG_METHOD_manager_request_soundboard_sounds] = tg_command_soundboard,
    [TG_METHOD_manager_join_voice_channel] = tg_command_join_voice,
    [TG_METHOD_manager_leave_voice_channel] = tg_command_leave_voice,
    [TG_METHOD_manager_resharding_needed] = no_resharding,
    [TG_METHOD_manager_reshard] = no_resharding,
    [TG_METHOD_manager_tell_worker_to_prepare] = no_resharding,
    [TG_METHOD_manager_on_resharding_switch] = no_resharding,
    [TG_METHOD_manager_handle_worker_exit] = tg_workers_exit_default,
};

const char *tg_manager_method_name(enum tg_method method)
{
  bool is_ours = (unsigned)method < TG_METHOD_COUNT && tg_methods[method].table == TG_TABLE_MANAGER;
  return is_ours ? tg_methods[method].name : NULL;
}

bool tg_manager_method_parse(const char *name, enum tg_method *method)
{
  return tg_method_find(TG_TABLE_MANAGER, name, method);
}

/* ---- between JSON and the script's values ---- */

static struct tg_value to_value(json_t *json)
{
  switch (json_typeof(json)) {
  case JSON_STRING:
    return tg_value_string(json_string_value(json), json_string_length(json));
  case JSON_INTEGER:
    return tg_value_int(json_integer_value(json));
  case JSON_TRUE:
  case JSON_FALSE:
    return (struct tg_value){.kind = TG_BOOL, .boolean = json_is_true(json)};
  case JSON_NULL:
    return (struct tg_value){.kind = TG_NIL};
  default:
    return tg_value_json(json);
  }
}

static int to_values(const json_t *args, struct tg_value values[MAX_ARGS])
{
  size_t count = json_array_size(args);
  if (count > MAX_ARGS)
    count = MAX_ARGS;
  for (size_t i = 0; i < count; i++)
    values[i] = to_value(json_array_get(args, i));
  return (int)count;
}

/* A new reference; NULL: nil. */
static json_t *to_json(const struct tg_value *value)
{
  switch (value->kind) {
  case TG_BOOL:
    return json_boolean(value->boolean);
  case TG_INT:
    return json_integer(value->integer);
  case TG_STRING:
    return json_stringn(value->string.at, value->string.length);
  case TG_JSON:
    return json_incref(value->json);
  default:
    return NULL;
  }
}

/* ---- calls ---- */

/* An override that waits. It outlives the manager only as an empty shell, for
 * the script answers once, whenever that is. */
struct tg_pending_call {
  struct tg_pending_call *next;
  struct tg_manager *manager; /* NULL: gone */
  enum tg_method method;
  json_t *args;
  tg_manager_reply *reply;
  void *ctx;
};

static void unlink_call(struct tg_pending_call *call)
{
  struct tg_pending_call **at = &call->manager->calls;
  while (*at != call)
    at = &(*at)->next;
  *at = call->next;
}

static void on_hook_reply(void *ctx, bool ok, const struct tg_value *result)
{
  struct tg_pending_call *call = ctx;
  struct tg_manager *manager = call->manager;
  if (manager) {
    unlink_call(call);
    if (!ok) {
      tg_manager_call_default(manager, call->method, call->args, call->reply, call->ctx);
    } else if (result && result->kind == TG_FAILURE) {
      char code[TG_ERROR_CODE_SIZE];
      snprintf(code, sizeof code, "%.*s", (int)result->code.length, result->code.at);
      tg_reply_error(call->reply, call->ctx, code, "%.*s", (int)result->string.length, result->string.at);
    } else {
      tg_reply_value(call->reply, call->ctx, result ? to_json(result) : NULL);
    }
  }
  json_decref(call->args);
  free(call);
}

static void start_override(struct tg_manager *manager, enum tg_method method, json_t *args,
                           tg_manager_reply *reply, void *ctx)
{
  struct tg_pending_call *call = tg_alloc(sizeof *call);
  *call = (struct tg_pending_call){manager->calls, manager, method, json_incref(args), reply, ctx};
  manager->calls = call;
  struct tg_value values[MAX_ARGS];
  int count = to_values(args, values);
  tg_hook_start(manager->hooks, method, values, count, tg_methods[method].result, on_hook_reply, call);
}

static void call_override(struct tg_manager *manager, enum tg_method method, json_t *args,
                          tg_manager_reply *reply, void *ctx)
{
  struct tg_value values[MAX_ARGS], result = {.kind = TG_NIL};
  int count = to_values(args, values);
  if (!tg_hook_call(manager->hooks, method, values, count, tg_methods[method].result, &result)) {
    tg_manager_call_default(manager, method, args, reply, ctx);
    return;
  }
  json_t *value = to_json(&result);
  if (result.kind == TG_JSON)
    json_decref(result.json);
  tg_reply_value(reply, ctx, value);
}

/* A new reference to a list of arguments, whatever was given; NULL: not one. */
static json_t *check_call(enum tg_method method, const json_t *args, tg_manager_reply *reply, void *ctx)
{
  if (!tg_manager_method_name(method)) {
    tg_reply_error(reply, ctx, "bad_argument", "this is not a method of gateway.manager");
    return NULL;
  }
  if (!args || json_is_null(args) || (json_is_object(args) && json_object_size(args) == 0))
    return json_array(); /* an empty table of Lua may arrive as an object */
  if (json_is_array(args))
    return json_incref((json_t *)args);
  tg_reply_error(reply, ctx, "bad_argument", "gateway.manager:%s: arguments have to be a list",
                 tg_manager_method_name(method));
  return NULL;
}

void tg_manager_call(struct tg_manager *manager, enum tg_method method, const json_t *args,
                     tg_manager_reply *reply, void *ctx)
{
  json_t *list = check_call(method, args, reply, ctx);
  if (!list)
    return;
  if (!tg_hooked(manager->hooks, method))
    defaults[method](manager, list, reply, ctx);
  else if (tg_method_waits(method))
    start_override(manager, method, list, reply, ctx);
  else
    call_override(manager, method, list, reply, ctx);
  json_decref(list);
}

void tg_manager_call_default(struct tg_manager *manager, enum tg_method method, const json_t *args,
                             tg_manager_reply *reply, void *ctx)
{
  json_t *list = check_call(method, args, reply, ctx);
  if (!list)
    return;
  defaults[method](manager, list, reply, ctx);
  json_decref(list);
}

int tg_manager_ask_int(struct tg_manager *manager, enum tg_method method, json_t *args, int low, int high,
                       int otherwise)
{
  struct tg_value values[MAX_ARGS], result;
  int count = to_values(args, values);
  if (!tg_hook_call(manager->hooks, method, values, count, TG_INT, &result))
    return otherwise;
  if (result.integer >= low && result.integer <= high)
    return (int)result.integer;
  tg_log(TG_ERROR, TG_NO_SHARD, "gateway.manager:%s returned %lld, but has to return %d to %d: %d is taken",
         tg_manager_method_name(method), (long long)result.integer, low, high, otherwise);
  return otherwise;
}

void tg_methods_end(struct tg_manager *manager)
{
  while (manager->calls) {
    struct tg_pending_call *call = manager->calls;
    manager->calls = call->next;
    call->manager = NULL;
    tg_reply_error(call->reply, call->ctx, "cancelled", "the gateway is stopping");
  }
}
