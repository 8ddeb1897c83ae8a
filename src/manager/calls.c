#include "manager/calls.h"

#include "base/buf.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_ARGS = 8 };

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

struct offered {
  tg_default_method *run; /* NULL: nobody offers one */
  void *room;
};

struct tg_calls {
  struct tg_hooks *hooks;
  struct tg_pending_call *pending;
  struct offered defaults[TG_METHOD_COUNT];
};

struct tg_calls *tg_calls_new(struct tg_hooks *hooks)
{
  struct tg_calls *calls = tg_calloc(1, sizeof *calls);
  calls->hooks = hooks;
  return calls;
}

void tg_calls_offer(struct tg_calls *calls, const struct tg_default *list, size_t count, void *room)
{
  for (size_t i = 0; i < count; i++)
    calls->defaults[list[i].method] = (struct offered){list[i].run, room};
}

static void run_default(struct tg_calls *calls, enum tg_method method, const json_t *args,
                        tg_manager_reply *reply, void *ctx)
{
  const struct offered *offered = &calls->defaults[method];
  if (offered->run)
    offered->run(offered->room, args, reply, ctx);
  else
    tg_reply_error(reply, ctx, "unavailable", "gateway.manager:%s has no default",
                   tg_manager_method_name(method));
}

/* An override that waits. It outlives the manager only as an empty shell, for
 * the script answers once, whenever that is. */
struct tg_pending_call {
  struct tg_pending_call *next;
  struct tg_calls *calls; /* NULL: gone */
  enum tg_method method;
  json_t *args;
  tg_manager_reply *reply;
  void *ctx;
};

/* Calls whose manager is gone. The script answers them as it ends, or drops them without a word. */
static struct tg_pending_call *outlived;

static void unlink_call(struct tg_pending_call *call)
{
  struct tg_pending_call **at = call->calls ? &call->calls->pending : &outlived;
  while (*at != call)
    at = &(*at)->next;
  *at = call->next;
}

static void on_hook_reply(void *ctx, bool ok, const struct tg_value *result)
{
  struct tg_pending_call *call = ctx;
  struct tg_calls *calls = call->calls;
  unlink_call(call);
  if (calls) {
    if (!ok) {
      tg_call_default(calls, call->method, call->args, call->reply, call->ctx);
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

static void start_override(struct tg_calls *calls, enum tg_method method, json_t *args,
                           tg_manager_reply *reply, void *ctx)
{
  struct tg_pending_call *call = tg_alloc(sizeof *call);
  *call = (struct tg_pending_call){calls->pending, calls, method, json_incref(args), reply, ctx};
  calls->pending = call;
  struct tg_value values[MAX_ARGS];
  int count = to_values(args, values);
  tg_hook_start(calls->hooks, method, values, count, on_hook_reply, call);
}

static void call_override(struct tg_calls *calls, enum tg_method method, json_t *args,
                          tg_manager_reply *reply, void *ctx)
{
  struct tg_value values[MAX_ARGS], result = {.kind = TG_NIL};
  int count = to_values(args, values);
  if (!tg_hook_call(calls->hooks, method, values, count, &result)) {
    tg_call_default(calls, method, args, reply, ctx);
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

void tg_call(struct tg_calls *calls, enum tg_method method, const json_t *args, tg_manager_reply *reply,
             void *ctx)
{
  json_t *list = check_call(method, args, reply, ctx);
  if (!list)
    return;
  if (!tg_hooked(calls->hooks, method))
    run_default(calls, method, list, reply, ctx);
  else if (tg_method_waits(method))
    start_override(calls, method, list, reply, ctx);
  else
    call_override(calls, method, list, reply, ctx);
  json_decref(list);
}

void tg_call_default(struct tg_calls *calls, enum tg_method method, const json_t *args,
                     tg_manager_reply *reply, void *ctx)
{
  json_t *list = check_call(method, args, reply, ctx);
  if (!list)
    return;
  run_default(calls, method, list, reply, ctx);
  json_decref(list);
}

int tg_call_int(struct tg_calls *calls, enum tg_method method, const json_t *args, int low, int high,
                int otherwise)
{
  struct tg_value values[MAX_ARGS], result;
  int count = to_values(args, values);
  if (!tg_hook_call(calls->hooks, method, values, count, &result))
    return otherwise;
  if (result.integer >= low && result.integer <= high)
    return (int)result.integer;
  tg_log(TG_ERROR, TG_NO_SHARD, "gateway.manager:%s returned %lld, but has to return %d to %d: %d is taken",
         tg_manager_method_name(method), (long long)result.integer, low, high, otherwise);
  return otherwise;
}

void tg_calls_end(struct tg_calls *calls)
{
  while (calls->pending) {
    struct tg_pending_call *call = calls->pending;
    calls->pending = call->next;
    call->calls = NULL;
    call->next = outlived;
    outlived = call;
    tg_reply_error(call->reply, call->ctx, "cancelled", "the gateway is stopping");
  }
}

void tg_calls_free(struct tg_calls *calls)
{
  free(calls);
}
