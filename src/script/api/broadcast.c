/* gateway.broadcast: a value for the scripts of all processes. It goes to the
 * manager, which sends it to all workers, the sender's too: every process runs
 * its handlers for all broadcasts in one and the same order. */

#include "script/api/json.h"
#include "script/vm/sched.h"

#include <stdlib.h>
#include <string.h>

enum { VALUE_MAX = 1024 * 1024 }; /* bytes of JSON: it is held for each worker */

struct tg_broadcast {
  struct tg_broadcast *next;
  char *topic;
  json_t *value;
  int from;
};

/* ---- what comes ---- */

struct delivery {
  const struct tg_broadcast *broadcast;
  const struct tg_subscriber *listener;
};

/* fn(value, from), from = {role=, worker_id=}; each handler its own copy */
static int push_listener(lua_State *L, void *ctx)
{
  const struct delivery *run = ctx;
  int from = run->broadcast->from;
  lua_rawgeti(L, LUA_REGISTRYINDEX, run->listener->subscription->ref);
  if (json_is_null(run->broadcast->value))
    lua_pushnil(L);
  else
    tg_json_push(L, run->broadcast->value);
  lua_createtable(L, 0, 2);
  lua_pushstring(L, from == TG_FROM_MANAGER ? "manager" : "worker");
  lua_setfield(L, -2, "role");
  if (from != TG_FROM_MANAGER) {
    lua_pushinteger(L, from);
    lua_setfield(L, -2, "worker_id");
  }
  return 3;
}

static void run_listeners(struct tg_state *state, const struct tg_broadcast *broadcast)
{
  struct delivery run = {.broadcast = broadcast, .listener = state->listeners};
  struct tg_poison_call call = {.group = TG_LUA_broadcast, .shard_id = TG_NO_SHARD};
  state->walking++;
  for (; run.listener; run.listener = run.listener->next) {
    const struct tg_subscription *subscription = run.listener->subscription;
    if (run.listener->removed || strcmp(subscription->topic, broadcast->topic) != 0 ||
        tg_poison_skips(&call, subscription->where))
      continue;
    struct tg_thread_options options = {.group = TG_LUA_broadcast,
                                        .what = "gateway.on_broadcast",
                                        .where = subscription->where,
                                        .owner = subscription->owner,
                                        .shard_id = TG_NO_SHARD};
    tg_thread_start(state, &options, push_listener, &run);
  }
  state->walking--;
  tg_subscriptions_sweep(state);
}

static void free_broadcast(struct tg_broadcast *broadcast)
{
  json_decref(broadcast->value);
  free(broadcast->topic);
  free(broadcast);
}

static void deliver(void *ctx)
{
  struct tg_script *script = ctx;
  struct tg_broadcast *broadcast = script->broadcasts;
  script->broadcasts = NULL; /* what handlers broadcast waits for the next turn */
  script->last_broadcast = &script->broadcasts;
  while (broadcast) {
    struct tg_broadcast *next = broadcast->next;
    if (script->state && !script->stopped && !tg_is_off(script, TG_LUA_broadcast))
      run_listeners(script->state, broadcast);
    free_broadcast(broadcast);
    broadcast = next;
  }
}

void tg_broadcast_arrived(struct tg_script *script, const char *topic, json_t *value, int from)
{
  if (!script->state || script->stopped || !value)
    return;
  struct tg_broadcast *broadcast = tg_alloc(sizeof *broadcast);
  *broadcast = (struct tg_broadcast){NULL, tg_strdup(topic), json_incref(value), from};
  *script->last_broadcast = broadcast;
  script->last_broadcast = &broadcast->next;
  if (!script->broadcast_alarm)
    script->broadcast_alarm = tg_alarm_new(script, deliver, script);
  tg_alarm_set(script->broadcast_alarm, 0);
}

void tg_broadcasts_drop(struct tg_script *script)
{
  while (script->broadcasts) {
    struct tg_broadcast *broadcast = script->broadcasts;
    script->broadcasts = broadcast->next;
    free_broadcast(broadcast);
  }
  script->last_broadcast = &script->broadcasts;
  tg_alarm_free(script->broadcast_alarm);
  script->broadcast_alarm = NULL;
}

/* ---- what goes ---- */

/* gateway.broadcast(topic, value) -> true, or nil, err */
static int l_broadcast(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct tg_script *script = state->script;
  if (lua_type(L, 1) != LUA_TSTRING)
    return luaL_error(L, "gateway.broadcast: expected a topic (a string), got %s", luaL_typename(L, 1));
  if (state->phase == TG_STATE_LOADING)
    return luaL_error(L, "gateway.broadcast: nobody listens while the script is loaded; broadcast from a "
                         "handler, such as gateway.on(\"load\", ...)");
  lua_settop(L, 2);
  json_t **topic = tg_push_json_box(L), **value = tg_push_json_box(L);
  const char *problem;
  *topic = json_string(lua_tostring(L, 1));
  if (!*topic)
    return luaL_error(L, "gateway.broadcast: the topic is not UTF-8");
  *value = tg_json_take(L, 2, &problem);
  if (!*value)
    return luaL_error(L, "gateway.broadcast: the value contains %s", problem);
  size_t size = json_dumpb(*value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
  if (size > VALUE_MAX)
    return tg_push_failure(L, "too_large",
                           "gateway.broadcast: the value is %zu bytes of JSON, %d are allowed", size,
                           VALUE_MAX);
  bool in_manager = script->role == TG_ROLE_MANAGER;
  if (script->stopped || (in_manager ? !script->manager : !script->worker))
    return tg_push_failure(L, "unavailable", "gateway.broadcast: the gateway does not run");
  if (in_manager)
    script->core->manager_broadcast(script->manager, json_string_value(*topic), *value, TG_FROM_MANAGER);
  else
    script->core->worker_broadcast(script->worker, json_string_value(*topic), *value);
  lua_pushboolean(L, 1);
  return 1;
}

void tg_bind_broadcast(lua_State *L)
{
  lua_pushcfunction(L, l_broadcast);
  lua_setfield(L, -2, "broadcast");
}
