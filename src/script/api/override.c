/* gateway.manager, gateway.shard, gateway.delivery, gateway.cache: tables whose
 * functions a script replaces by assigning to them.
 *
 * The proxy itself stays empty. Its __index is the table of current functions,
 * so that reading costs what a table costs; its __newindex checks the name,
 * stores the function and tells the hooks. A process reads and replaces only
 * the methods its own core asks for: in a worker, gateway.manager:f() is
 * always the line to the manager, where the script's own f is run, and
 * gateway.default.manager.f the line to the C default there. */

#include "base/error.h"
#include "base/suggest.h"
#include "script/vm/state.h"

#include <stdio.h>
#include <string.h>

bool tg_table_is_ours(const struct tg_script *script, int table)
{
  return (table == TG_TABLE_MANAGER) == (script->role == TG_ROLE_MANAGER);
}

/* Raises: there is no such method. */
static int no_such_method(lua_State *L, int table, const char *name)
{
  const char *names[TG_METHOD_COUNT];
  size_t count = 0;
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    if (tg_methods[i].table == table)
      names[count++] = tg_methods[i].name;
  }
  const char *meant = tg_suggest(name, names, count);
  return luaL_error(L, "gateway.%s has no method '%s'%s%s%s", tg_table_names[table], name,
                    meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
}

/* __index of the tables of functions: the name is not there. */
static int l_missing(lua_State *L)
{
  tg_state_of(L);
  int table = (int)lua_tointeger(L, lua_upvalueindex(1));
  if (lua_type(L, 2) != LUA_TSTRING)
    return luaL_error(L, "gateway.%s: method names are strings", tg_table_names[table]);
  return no_such_method(L, table, lua_tostring(L, 2));
}

void tg_where_of_function(lua_State *L, int index, char where[TG_WHERE_SIZE])
{
  lua_Debug info;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &info);
  snprintf(where, TG_WHERE_SIZE, info.linedefined > 0 ? "%s:%d" : "%s", info.short_src, info.linedefined);
}

/* The function at the top of the stack (nil: the default) becomes the method. [-1, +0, e] */
static void put(lua_State *L, struct tg_state *state, enum tg_method method, bool reset, const char *where)
{
  int table = tg_methods[method].table;
  const char *name = tg_methods[method].name;
  struct tg_override *override = &state->override[method];
  luaL_unref(L, LUA_REGISTRYINDEX, override->ref);
  memset(override, 0, sizeof *override);
  override->ref = LUA_NOREF;
  if (!reset) {
    if (where)
      snprintf(override->where, sizeof override->where, "%s", where);
    else
      tg_where_of_function(L, lua_gettop(L), override->where);
    lua_pushvalue(L, -1);
    override->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    override->owner =
        tg_owner_of_function(L, lua_gettop(L), tg_method_group(method), tg_methods[method].full);
  }
  if (tg_table_is_ours(state->script, table)) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_methods[table]);
    if (reset) {
      lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_natives[table]);
      lua_getfield(L, -1, name);
      lua_replace(L, -2);
    } else {
      lua_pushvalue(L, -2);
    }
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  tg_hooks_fill_method(state, method);
}

/* Plugins stand in front of the script's own function: they are told which one that is now. */
static int rebase(lua_State *L, struct tg_state *state, enum tg_method method, bool reset)
{
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_rebase);
  lua_pushstring(L, tg_table_names[tg_methods[method].table]);
  lua_pushstring(L, tg_methods[method].name);
  if (reset)
    lua_pushnil(L);
  else
    lua_pushvalue(L, 3);
  lua_call(L, 3, 0);
  return 0;
}

/* gateway.<table>.<name> = function, or nil: the default again */
static int l_assign(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  int table = (int)lua_tointeger(L, lua_upvalueindex(1));
  const char *name = luaL_checkstring(L, 2);
  enum tg_method method;
  if (!tg_method_find(table, name, &method))
    return no_such_method(L, table, name);
  if (!lua_isnil(L, 3) && !lua_isfunction(L, 3))
    return luaL_error(L, "%s: expected a function (or nil for the default), got %s", tg_methods[method].full,
                      luaL_typename(L, 3));
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(2));
  if (!tg_table_is_ours(state->script, table) && lua_rawequal(L, 3, -1))
    return 0; /* the line to the manager, assigned back */
  if (state->override[method].stacked && lua_rawequal(L, 3, -1))
    return 0; /* what is there, assigned back */
  lua_pushvalue(L, 2);
  lua_rawget(L, lua_upvalueindex(3));
  bool reset = lua_isnil(L, 3) || lua_rawequal(L, 3, -1); /* the default, assigned back */
  lua_settop(L, 3);
  if (state->override[method].stacked)
    return rebase(L, state, method, reset);
  put(L, state, method, reset, NULL);
  return 0;
}

void tg_override_stack(lua_State *L, enum tg_method method, const char *where)
{
  struct tg_state *state = tg_state_of(L);
  put(L, state, method, false, where);
  state->override[method].stacked = true;
}

enum tg_method tg_check_method(lua_State *L, int table_index, int name_index)
{
  const char *name = luaL_checkstring(L, name_index);
  int table = luaL_checkoption(L, table_index, NULL, tg_table_names);
  enum tg_method method;
  if (!tg_method_find(table, name, &method))
    no_such_method(L, table, name);
  return method;
}

static int l_refuse(lua_State *L)
{
  tg_state_of(L);
  return luaL_error(L, "gateway.default cannot be changed: assign to gateway.%s instead",
                    lua_tostring(L, lua_upvalueindex(1)));
}

/* A method whose default is the core's alone. */
static int l_unavailable(lua_State *L)
{
  tg_state_of(L);
  int method = (int)lua_tointeger(L, lua_upvalueindex(1));
  return tg_push_failure(L, "unavailable", "%s: its default cannot be called from a script",
                         tg_methods[method].full);
}

static lua_CFunction native_of(const luaL_Reg *natives, const char *name)
{
  for (; natives->name; natives++) {
    if (strcmp(natives->name, name) == 0)
      return natives->func;
  }
  return NULL;
}

static void set_missing(lua_State *L, int table)
{
  lua_createtable(L, 0, 1);
  lua_pushinteger(L, table);
  lua_pushcclosure(L, l_missing, 1);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
}

/* [-0, +1] The natives of a table, by name. Each knows its method's number.
 * There is one set of them, so that a default assigned back is known again. */
static void push_natives(lua_State *L, struct tg_state *state, int table)
{
  static const luaL_Reg *const natives[] = {tg_native_manager, tg_native_shard, tg_native_delivery,
                                            tg_native_cache};
  if (state->ref_natives[table] != LUA_NOREF) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_natives[table]);
    return;
  }
  lua_newtable(L);
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    if (tg_methods[i].table != table)
      continue;
    lua_CFunction native = native_of(natives[table], tg_methods[i].name);
    lua_pushinteger(L, i);
    lua_pushcclosure(L, native ? native : l_unavailable, 1);
    lua_setfield(L, -2, tg_methods[i].name);
  }
  set_missing(L, table);
  lua_pushvalue(L, -1);
  state->ref_natives[table] = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* [-0, +1] A worker's gateway.manager: the natives once more, but to ask for
 * the manager's override. */
static void push_lines(lua_State *L)
{
  lua_newtable(L);
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    if (tg_methods[i].table != TG_TABLE_MANAGER)
      continue;
    lua_pushinteger(L, i);
    lua_pushboolean(L, 1);
    lua_pushcclosure(L, native_of(tg_native_manager, tg_methods[i].name), 2);
    lua_setfield(L, -2, tg_methods[i].name);
  }
}

static void push_copy(lua_State *L, int source)
{
  lua_newtable(L);
  for (lua_pushnil(L); lua_next(L, source);) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
}

void tg_bind_methods(lua_State *L, struct tg_state *state, int table)
{
  push_natives(L, state, table); /* kept as defaults */
  int natives = lua_gettop(L);
  if (table == TG_TABLE_MANAGER && !tg_table_is_ours(state->script, table))
    push_lines(L);
  else
    push_copy(L, natives);
  int current = lua_gettop(L);
  set_missing(L, table);
  lua_pushvalue(L, current);
  state->ref_methods[table] = luaL_ref(L, LUA_REGISTRYINDEX);

  lua_newtable(L); /* the proxy */
  lua_createtable(L, 0, 3);
  lua_pushvalue(L, current);
  lua_setfield(L, -2, "__index");
  lua_pushinteger(L, table);
  lua_pushvalue(L, current);
  lua_pushvalue(L, natives);
  lua_pushcclosure(L, l_assign, 3);
  lua_setfield(L, -2, "__newindex");
  lua_pushfstring(L, "gateway.%s", tg_table_names[table]);
  lua_setfield(L, -2, "__metatable");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  state->ref_table[table] = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_replace(L, natives);
  lua_settop(L, natives);
}

void tg_bind_default(lua_State *L, struct tg_state *state)
{
  lua_newtable(L);
  for (int table = 0; table < TG_TABLE_COUNT; table++) {
    lua_newtable(L);
    lua_createtable(L, 0, 3);
    push_natives(L, state, table);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, tg_table_names[table]);
    lua_pushcclosure(L, l_refuse, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushliteral(L, "gateway.default");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, tg_table_names[table]);
  }
}
