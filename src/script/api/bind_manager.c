/* The defaults of gateway.manager: in the manager its C, in a worker the line
 * to it. In a worker the same functions, told so by their second upvalue, are
 * gateway.manager itself: what the manager has for that method is run there. */

#include "script/api/json.h"
#include "script/vm/sched.h"

#include "manager/manager.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

struct manager_call {
  struct tg_wait wait;
  enum tg_method method;
  bool waits;    /* a coroutine waits for the reply */
  bool replied;  /* before the C function could wait */
  json_t *value; /* of the reply, held for the push */
  struct tg_error error;
  struct tg_alarm *late;
};

/* Without a value: true, of a method that has none; of one that may have one, nil. */
static int push_reply(lua_State *L, void *ctx)
{
  struct manager_call *call = ctx;
  if (call->error.code[0])
    return tg_push_failure(L, call->error.code, "%s", call->error.message);
  if (call->value && !json_is_null(call->value))
    tg_json_push(L, call->value);
  else if (tg_methods[call->method].result == TG_NIL)
    lua_pushboolean(L, 1);
  else
    lua_pushnil(L);
  return 1;
}

static void on_reply(struct manager_call *call, json_t *value, const struct tg_error *error)
{
  call->value = json_incref(value);
  if (error && error->code[0])
    call->error = *error;
  else if (error && error->message[0])
    tg_fail(&call->error, "failed", "%s", error->message);
  call->replied = true;
  if (!call->waits)
    return; /* call_inline() takes it from here, and frees */
  tg_wait_finish(&call->wait, push_reply, call);
  json_decref(call->value);
  free(call);
}

static void on_manager_reply(void *ctx, json_t *value, const struct tg_error *error)
{
  on_reply(ctx, value, error);
}

static void cancel_late(struct tg_wait *wait)
{
  struct manager_call *call = (struct manager_call *)wait;
  tg_alarm_free(call->late);
  free(call);
}

static void reply_late(void *ctx)
{
  struct manager_call *call = ctx;
  tg_alarm_free(call->late);
  on_reply(call, NULL, &call->error);
}

/* "closed" may mean that the worker is being torn down, with nothing left that
 * a script could call: its coroutine goes on in the next loop turn, if there is
 * one. */
static void on_worker_reply(void *ctx, const json_t *value, const struct tg_error *error)
{
  struct manager_call *call = ctx;
  if (!error || strcmp(error->code, "closed") != 0 || !call->wait.yielded || !call->wait.thread) {
    on_reply(call, (json_t *)value, error);
    return;
  }
  call->error = *error;
  call->late = tg_alarm_new(call->wait.thread->state->script, reply_late, call);
  tg_alarm_set(call->late, 0);
  call->wait.cancel = cancel_late;
}

static void start(struct tg_script *script, enum tg_method method, bool use_default, json_t *args,
                  struct manager_call *call)
{
  if (script->role == TG_ROLE_MANAGER)
    script->core->manager_call_default(script->manager, method, args, on_manager_reply, call);
  else
    script->core->worker_call_manager(script->worker, method, use_default, args, on_worker_reply, call);
}

/* A method that does not wait, in the manager: its reply comes at once. */
static int call_inline(lua_State *L, struct tg_script *script, enum tg_method method, json_t **args)
{
  struct manager_call *call = lua_newuserdata(L, sizeof *call);
  *call = (struct manager_call){.method = method};
  start(script, method, true, *args, call);
  if (!call->replied)
    return luaL_error(L, "%s: no answer came", tg_methods[method].full);
  json_decref(*args);
  *args = call->value; /* owned by the box until it is pushed */
  call->value = *args;
  return push_reply(L, call);
}

static int l_manager(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct tg_script *script = state->script;
  enum tg_method method = (enum tg_method)lua_tointeger(L, lua_upvalueindex(1));
  const struct tg_method_info *info = &tg_methods[method];
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_table[TG_TABLE_MANAGER]);
  if (!lua_rawequal(L, 1, -1))
    return luaL_error(L, "call it with a colon: %s(...)", info->full);
  lua_pop(L, 1);
  bool use_default = !lua_toboolean(L, lua_upvalueindex(2));
  bool in_manager = script->role == TG_ROLE_MANAGER, waits = tg_method_waits(method) || !in_manager;
  if (waits && !tg_wait_allowed(L, info->full))
    return tg_wait_park(L);
  if (script->stopped || (in_manager ? !script->manager : !script->worker))
    return tg_push_failure(L, "unavailable", "%s: the gateway does not run", info->full);

  int count = lua_gettop(L) - 1;
  json_t **args = tg_push_json_box(L);
  *args = json_array();
  for (int i = 0; i < count; i++) {
    const char *problem;
    json_t *item = tg_json_take(L, i + 2, &problem);
    if (!item)
      return luaL_error(L, "%s: argument %d contains %s", info->full, i + 1, problem);
    json_array_append_new(*args, item);
  }
  if (!waits)
    return call_inline(L, script, method, args);
  struct manager_call *call = tg_calloc(1, sizeof *call);
  call->method = method;
  call->waits = true;
  tg_wait_init(&call->wait, L, NULL);
  struct tg_wait *wait = &call->wait;
  start(script, method, use_default, *args, call);
  return tg_wait_yield(L, wait);
}

#define NATIVE(table, method, result, how) NATIVE_##table(method)
#define NATIVE_manager(method) {#method, l_manager},
#define NATIVE_shard(method)
#define NATIVE_delivery(method)
#define NATIVE_cache(method)

const luaL_Reg tg_native_manager[] = {TG_METHODS(NATIVE){0}};
