/* The queue object of gateway.delivery's methods, and of sinks: what waits of one
 * shard, or of the whole worker. It carries the shard's reference and the sink's
 * name, and asks the delivery each time. */

#include "script/vm/state.h"

#include "base/suggest.h"
#include "proto/event_types.h"

#include <stdio.h>
#include <string.h>

struct queue_handle {
  const void *kind;             /* &handle_kind */
  tg_shard_ref ref;             /* or TG_ALL_SHARDS */
  char sink[TG_SINK_PATH_SIZE]; /* "": the bot */
};

static const char handle_kind;

enum { PEEK_MAX = 1000 };

static struct queue_handle *to_handle(lua_State *L, int index)
{
  if (lua_type(L, index) != LUA_TUSERDATA || lua_objlen(L, index) != sizeof(struct queue_handle))
    return NULL;
  struct queue_handle *handle = lua_touserdata(L, index);
  return handle->kind == &handle_kind ? handle : NULL;
}

static const struct queue_handle *check_handle(lua_State *L, int index)
{
  const struct queue_handle *handle = to_handle(L, index);
  if (!handle)
    luaL_argerror(L, index, lua_pushfstring(L, "expected a queue, got %s", luaL_typename(L, index)));
  return handle;
}

tg_shard_ref tg_check_queue(lua_State *L, int index)
{
  const struct queue_handle *handle = check_handle(L, index);
  if (handle->sink[0])
    luaL_argerror(
        L, index,
        lua_pushfstring(L, "expected a queue of the bot's, got one of the sink '%s'", handle->sink));
  return handle->ref;
}

void tg_push_queue(lua_State *L, const char *sink, tg_shard_ref ref)
{
  struct tg_state *state = tg_state_of(L);
  struct queue_handle *handle = lua_newuserdata(L, sizeof *handle);
  *handle = (struct queue_handle){.kind = &handle_kind, .ref = ref};
  snprintf(handle->sink, sizeof handle->sink, "%s", sink ? sink : "");
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_queue_meta);
  lua_setmetatable(L, -2);
}

/* What a queue is of: the worker's delivery, a sink of it, shards. */
struct queue_place {
  struct tg_delivery *delivery;
  const char *sink; /* the handle's; NULL: the bot */
  tg_shard_ref ref;
};

/* Of the queue at index 1. Raises when there is no delivery, or no such sink any more. */
static struct queue_place place_of(lua_State *L)
{
  const struct queue_handle *handle = check_handle(L, 1);
  struct tg_script *script = tg_state_of(L)->script;
  if (!script->worker || script->stopped)
    luaL_error(L, "a queue is there only while the worker runs");
  struct queue_place place = {script->core->worker_delivery(script->worker),
                              handle->sink[0] ? handle->sink : NULL, handle->ref};
  if (place.sink && !script->core->delivery_has_sink(place.delivery, place.sink))
    luaL_error(L, "the sink '%s' is not there: it comes and goes with the configuration", place.sink);
  return place;
}

/* ---- figures ---- */

static struct tg_queue_figures figures_of(lua_State *L)
{
  struct tg_queue_figures figures;
  struct queue_place of = place_of(L);
  tg_core_of(L)->delivery_queue_figures(of.delivery, of.sink, of.ref, &figures);
  return figures;
}

static int l_length(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)figures_of(L).events);
  return 1;
}

static int l_bytes(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)figures_of(L).bytes);
  return 1;
}

static int l_age(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)figures_of(L).age);
  return 1;
}

/* shards() -> the queues in which something waits */
static int l_shards(lua_State *L)
{
  struct queue_place of = place_of(L);
  const struct tg_core *core = tg_core_of(L);
  int count = 0;
  lua_newtable(L);
  for (tg_shard_ref ref = -1; (ref = core->delivery_queue_next_shard(of.delivery, of.sink, ref)) >= 0;) {
    if (of.ref != TG_ALL_SHARDS && of.ref != ref)
      continue;
    tg_push_queue(L, of.sink, ref);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

/* ---- events ---- */

struct peek {
  lua_State *L;
  int wanted, got;
};

static int push_one(lua_State *L)
{
  tg_push_kept_event(L, lua_touserdata(L, 1));
  return 1;
}

/* May not raise: the walk has to end. */
static enum tg_queue_verdict peek_at(void *ctx, struct tg_event *event)
{
  struct peek *peek = ctx;
  lua_State *L = peek->L;
  if (peek->got == peek->wanted)
    return TG_QUEUE_STOP;
  lua_pushcfunction(L, push_one);
  lua_pushlightuserdata(L, event);
  if (lua_pcall(L, 1, 1, 0) != 0) {
    peek->got = -1;
    return TG_QUEUE_STOP;
  }
  lua_rawseti(L, 2, ++peek->got);
  return TG_QUEUE_KEEP;
}

/* peek(n = 1) -> a list of the oldest events that are at hand */
static int l_peek(lua_State *L)
{
  struct queue_place of = place_of(L);
  lua_Integer wanted = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, wanted >= 1 && wanted <= PEEK_MAX, 2, "expected a number from 1 to 1000");
  if (of.ref == TG_ALL_SHARDS)
    return luaL_error(L, "peek looks at the queue of one shard: for _, queue in ipairs(queue:shards())");
  lua_settop(L, 1);
  struct peek peek = {L, (int)wanted, 0};
  lua_createtable(L, peek.wanted < 64 ? peek.wanted : 64, 0);
  luaL_checkstack(L, 8, "events");
  tg_core_of(L)->delivery_queue_walk(of.delivery, of.sink, of.ref, peek_at, &peek);
  return peek.got < 0 ? lua_error(L) : 1;
}

/* ---- drop ---- */

struct choice {
  lua_State *L;
  bool failed;
  const bool *types;             /* by number; NULL: the function at index 2 decides */
  const struct tg_event *events; /* these; NULL: types or function */
  int count;
};

static bool same_event(const struct tg_event *one, const struct tg_event *other)
{
  return tg_event_ref(one) == tg_event_ref(other) && one->epoch == other->epoch &&
         one->sequence == other->sequence && one->marker == other->marker;
}

static enum tg_queue_verdict choose_listed(void *ctx, struct tg_event *event)
{
  const struct choice *choice = ctx;
  if (choice->types)
    return choice->types[event->type] ? TG_QUEUE_DROP : TG_QUEUE_KEEP;
  for (int i = 0; i < choice->count; i++)
    if (same_event(&choice->events[i], event))
      return TG_QUEUE_DROP;
  return TG_QUEUE_KEEP;
}

static int call_predicate(lua_State *L)
{
  tg_push_event(L, lua_touserdata(L, 2));
  lua_replace(L, 2);
  lua_call(L, 1, 1);
  return 1;
}

static enum tg_queue_verdict ask_predicate(void *ctx, struct tg_event *event)
{
  struct choice *choice = ctx;
  lua_State *L = choice->L;
  struct tg_state *state = tg_state_of(L);
  int events = state->live_events;
  lua_pushcfunction(L, call_predicate);
  lua_pushvalue(L, 2);
  lua_pushlightuserdata(L, event);
  choice->failed = lua_pcall(L, 2, 1, 0) != 0;
  state->live_events = events;
  if (choice->failed)
    return TG_QUEUE_STOP;
  bool drop = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return drop ? TG_QUEUE_DROP : TG_QUEUE_KEEP;
}

static void check_type(lua_State *L, int index, bool types[TG_EVENT_TYPE_MAX])
{
  if (lua_type(L, index) != LUA_TSTRING)
    luaL_error(L, "queue:drop: expected a number, event types, a function or events, got %s",
               luaL_typename(L, index));
  types[tg_check_event_type(L, "queue:drop", lua_tostring(L, index), false)] = true;
}

static int walk(lua_State *L, const struct queue_place *of, tg_queue_visit *visit, struct choice *choice)
{
  uint64_t dropped = tg_core_of(L)->delivery_queue_walk(of->delivery, of->sink, of->ref, visit, choice);
  if (choice->failed)
    return lua_error(L);
  lua_pushnumber(L, (lua_Number)dropped);
  return 1;
}

static int drop_types(lua_State *L, const struct queue_place *of)
{
  bool types[TG_EVENT_TYPE_MAX] = {false};
  struct choice choice = {.L = L, .types = types};
  int count = lua_istable(L, 2) ? (int)lua_objlen(L, 2) : 0;
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, i);
    check_type(L, lua_gettop(L), types);
    lua_pop(L, 1);
  }
  if (count == 0)
    check_type(L, 2, types);
  return walk(L, of, choose_listed, &choice);
}

/* Whether there is an event, or a list of them. */
static bool are_events(lua_State *L, int index)
{
  if (!lua_istable(L, index))
    return lua_type(L, index) == LUA_TUSERDATA;
  lua_rawgeti(L, index, 1);
  bool are = lua_type(L, -1) == LUA_TUSERDATA;
  lua_pop(L, 1);
  return are;
}

/* drop(n | type | types | function(event) | event | events) -> how many */
static int l_drop(lua_State *L)
{
  struct queue_place of = place_of(L);
  lua_settop(L, 2);
  luaL_checkstack(L, 16, "events");
  if (lua_type(L, 2) == LUA_TNUMBER) {
    lua_Number count = lua_tonumber(L, 2);
    luaL_argcheck(L, count >= 0 && count < 1e15, 2, "expected a number of events");
    lua_pushnumber(
        L, (lua_Number)tg_core_of(L)->delivery_queue_drop(of.delivery, of.sink, of.ref, (uint64_t)count));
    return 1;
  }
  struct choice choice = {.L = L};
  if (lua_isfunction(L, 2))
    return walk(L, &of, ask_predicate, &choice);
  if (!are_events(L, 2))
    return drop_types(L, &of);
  choice.events = tg_check_events(L, 2, &choice.count);
  return walk(L, &of, choose_listed, &choice);
}

/* ack(event | events): they are delivered -> how many of them were still there */
static int l_ack(lua_State *L)
{
  struct queue_place of = place_of(L);
  int count, acked = 0;
  const struct tg_event *events = tg_check_events(L, 2, &count);
  for (int i = 0; i < count; i++)
    acked += tg_core_of(L)->delivery_queue_ack(of.delivery, of.sink, &events[i]);
  lua_pushinteger(L, acked);
  return 1;
}

struct tg_event *tg_check_events(lua_State *L, int index, int *count)
{
  bool list = lua_istable(L, index);
  *count = list ? (int)lua_objlen(L, index) : 1;
  struct tg_event *events = lua_newuserdata(L, ((size_t)*count + 1) * sizeof *events);
  for (int i = 0; i < *count; i++) {
    if (list)
      lua_rawgeti(L, index, i + 1);
    else
      lua_pushvalue(L, index);
    events[i] = *tg_check_event(L, lua_gettop(L), true);
    lua_pop(L, 1);
  }
  return events;
}

/* ---- the object ---- */

static const luaL_Reg methods[] = {
    {"length", l_length}, {"bytes", l_bytes}, {"age", l_age}, {"shards", l_shards},
    {"peek", l_peek},     {"drop", l_drop},   {"ack", l_ack}, {0}};

static int no_such_field(lua_State *L, const char *name)
{
  const char *names[sizeof methods / sizeof methods[0]] = {"shard_id"};
  for (size_t i = 0; methods[i].name; i++)
    names[i + 1] = methods[i].name;
  const char *meant = tg_suggest(name, names, sizeof methods / sizeof methods[0]);
  return luaL_error(L, "a queue has no field or method '%s'%s%s%s", name, meant ? "; did you mean '" : "",
                    meant ? meant : "", meant ? "'?" : "");
}

/* Upvalue: the table of methods. */
static int l_index(lua_State *L)
{
  const struct queue_handle *handle = check_handle(L, 1);
  tg_state_of(L);
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  if (!lua_isnil(L, -1))
    return 1;
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
  if (strcmp(name, "shard_id") != 0)
    return no_such_field(L, name);
  if (handle->ref == TG_ALL_SHARDS)
    lua_pushnil(L);
  else
    lua_pushinteger(L, tg_ref_id(handle->ref));
  return 1;
}

static int l_newindex(lua_State *L)
{
  tg_state_of(L);
  return luaL_error(L, "the fields of a queue cannot be set");
}

static int l_tostring(lua_State *L)
{
  const struct queue_handle *handle = check_handle(L, 1);
  tg_state_of(L);
  lua_pushfstring(L, handle->sink[0] ? " of the sink %s" : "", handle->sink);
  if (handle->ref == TG_ALL_SHARDS)
    lua_pushliteral(L, "queue of the worker");
  else
    lua_pushfstring(L, "queue of shard %d", tg_ref_id(handle->ref));
  lua_insert(L, -2);
  lua_concat(L, 2);
  return 1;
}

void tg_open_queue(lua_State *L, struct tg_state *state)
{
  lua_createtable(L, 0, 5);
  lua_newtable(L);
  luaL_register(L, NULL, methods);
  lua_pushcclosure(L, l_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, l_length);
  lua_setfield(L, -2, "__len");
  lua_pushcfunction(L, l_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "queue");
  lua_setfield(L, -2, "__metatable");
  state->ref_queue_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}
