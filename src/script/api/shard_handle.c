/* The shard object: `self` of the methods of gateway.shard, and the second
 * argument of handlers. It carries the shard's number, and asks the worker for
 * the shard each time, so that one that outlives its shard says so. */

#include "script/vm/state.h"

#include "base/suggest.h"
#include "shard/shard.h"
#include "worker/worker.h"

#include <string.h>

struct shard_handle {
  int id;
  struct tg_shard *shard; /* as the core gave it last; used while no worker is attached */
};

static struct shard_handle *to_handle(lua_State *L, int index)
{
  struct tg_state *state = tg_state_of(L);
  struct shard_handle *handle = lua_touserdata(L, index);
  bool ours = false;
  if (handle && lua_getmetatable(L, index)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_shard_meta);
    ours = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
  }
  return ours ? handle : NULL;
}

struct tg_shard *tg_check_shard(lua_State *L, int index, const char *method)
{
  struct shard_handle *handle = to_handle(L, index);
  if (!handle) {
    luaL_error(L, "%s: expected a shard, got %s (call it with a colon, on a shard)", method,
               luaL_typename(L, index));
    return NULL;
  }
  struct tg_script *script = tg_state_of(L)->script;
  struct tg_shard *shard = handle->shard;
  if (script->worker)
    shard = script->core->worker_shard(script->worker, handle->id);
  if (!shard)
    luaL_error(L, "%s: shard %d is gone", method, handle->id);
  return shard;
}

/* One object a shard and state, so that objects can be compared and used as
 * keys. */
void tg_push_shard(lua_State *L, struct tg_shard *shard)
{
  struct tg_state *state = tg_state_of(L);
  if (!shard) {
    lua_pushnil(L);
    return;
  }
  int id = state->script->core->shard_id(shard);
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_shards);
  lua_rawgeti(L, -1, id + 1);
  struct shard_handle *handle = lua_touserdata(L, -1);
  if (!handle) {
    lua_pop(L, 1);
    handle = lua_newuserdata(L, sizeof *handle);
    handle->id = id;
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_shard_meta);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, id + 1);
  }
  handle->shard = shard;
  lua_remove(L, -2);
}

static int get_id(lua_State *L, struct tg_shard *shard)
{
  lua_pushinteger(L, tg_core_of(L)->shard_id(shard));
  return 1;
}

static int get_state(lua_State *L, struct tg_shard *shard)
{
  lua_pushstring(L, tg_shard_state_name(tg_core_of(L)->shard_state(shard)));
  return 1;
}

static int get_session_id(lua_State *L, struct tg_shard *shard)
{
  const char *id = tg_core_of(L)->shard_session_id(shard);
  if (id && *id)
    lua_pushstring(L, id);
  else
    lua_pushnil(L);
  return 1;
}

static int get_sequence(lua_State *L, struct tg_shard *shard)
{
  uint64_t sequence;
  if (tg_core_of(L)->shard_sequence(shard, &sequence))
    lua_pushnumber(L, (lua_Number)sequence);
  else
    lua_pushnil(L);
  return 1;
}

static int get_epoch(lua_State *L, struct tg_shard *shard)
{
  lua_pushnumber(L, (lua_Number)tg_core_of(L)->shard_epoch(shard));
  return 1;
}

static int get_rtt(lua_State *L, struct tg_shard *shard)
{
  lua_pushinteger(L, tg_core_of(L)->shard_rtt(shard));
  return 1;
}

static int get_worker_id(lua_State *L, struct tg_shard *shard)
{
  (void)shard;
  lua_pushinteger(L, tg_state_of(L)->script->worker_id);
  return 1;
}

static int get_total_shards(lua_State *L, struct tg_shard *shard)
{
  lua_pushinteger(L, tg_core_of(L)->shard_total(shard));
  return 1;
}

static const struct {
  const char *name;
  int (*get)(lua_State *L, struct tg_shard *shard);
} fields[] = {
    {"id", get_id},
    {"state", get_state},
    {"session_id", get_session_id},
    {"sequence", get_sequence},
    {"epoch", get_epoch},
    {"rtt", get_rtt},
    {"worker_id", get_worker_id},
    {"total_shards", get_total_shards},
};

enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

static int no_such_field(lua_State *L, const char *name)
{
  const char *names[FIELD_COUNT + TG_METHOD_COUNT];
  size_t count = 0;
  for (int i = 0; i < FIELD_COUNT; i++)
    names[count++] = fields[i].name;
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    if (tg_methods[i].table == TG_TABLE_SHARD)
      names[count++] = tg_methods[i].name;
  }
  const char *meant = tg_suggest(name, names, count);
  return luaL_error(L, "a shard has no field or method '%s'%s%s%s", name, meant ? "; did you mean '" : "",
                    meant ? meant : "", meant ? "'?" : "");
}

/* Methods first: they are looked up in the table of current functions, so that
 * shard:heartbeat() meets the script's override. */
static int l_index(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct shard_handle *handle = to_handle(L, 1);
  if (!handle || lua_type(L, 2) != LUA_TSTRING)
    return luaL_error(L, "fields of a shard have names");
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_methods[TG_TABLE_SHARD]);
  lua_pushvalue(L, 2);
  lua_rawget(L, -2);
  if (!lua_isnil(L, -1))
    return 1;
  const char *name = lua_tostring(L, 2);
  if (strcmp(name, "id") == 0) {
    lua_pushinteger(L, handle->id);
    return 1;
  }
  for (int i = 0; i < FIELD_COUNT; i++) {
    if (strcmp(name, fields[i].name) == 0)
      return fields[i].get(L, tg_check_shard(L, 1, name));
  }
  return no_such_field(L, name);
}

static int l_newindex(lua_State *L)
{
  tg_state_of(L);
  return luaL_error(L,
                    "a shard's fields cannot be set; to keep something for a shard use a table with shard.id "
                    "as key");
}

static int l_tostring(lua_State *L)
{
  struct shard_handle *handle = to_handle(L, 1);
  lua_pushfstring(L, "shard %d", handle ? handle->id : -1);
  return 1;
}

void tg_open_shard(lua_State *L, struct tg_state *state)
{
  lua_newtable(L);
  state->ref_shards = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_createtable(L, 0, 4);
  lua_pushcfunction(L, l_index);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, l_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "shard");
  lua_setfield(L, -2, "__metatable");
  state->ref_shard_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}
