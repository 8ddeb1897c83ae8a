/* What lua/tidegate/plugin/ is built on: whose account registrations go on, and the place of plugins in front
 * of the script's own methods. */

#include "script/vm/state.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

int tg_place_of_function(lua_State *L, int index, char *place, size_t size)
{
  struct tg_state *state = tg_state_of(L);
  lua_Debug info;
  lua_pushvalue(L, index);
  lua_getinfo(L, ">S", &info);
  const char *slash = strrchr(info.short_src, '/');
  if (state->plugin[0])
    snprintf(place, size, "plugin %s, %s", state->plugin, slash ? slash + 1 : info.short_src);
  else
    snprintf(place, size, "%s", info.short_src);
  return info.linedefined;
}

/* core.plugin_account(name or nil) -> the one before: what is registered from now on is that plugin's. */
static int l_account(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  const char *name = luaL_optstring(L, 1, "");
  if (state->plugin[0])
    lua_pushstring(L, state->plugin);
  else
    lua_pushnil(L);
  snprintf(state->plugin, sizeof state->plugin, "%s", name);
  return 1;
}

/* core.override_place(table, method, fn) -> "plugin x, handler.lua:12". Raises when there is no such method.
 */
static int l_place(lua_State *L)
{
  char place[TG_WHERE_SIZE];
  tg_check_method(L, 1, 2);
  int line = tg_place_of_function(L, 3, place, sizeof place);
  if (line > 0)
    lua_pushfstring(L, "%s:%d", place, line);
  else
    lua_pushstring(L, place);
  return 1;
}

/* core.is_ours(table): whether this process's core asks for its methods. */
static int l_is_ours(lua_State *L)
{
  lua_pushboolean(L, tg_table_is_ours(tg_state_of(L)->script, luaL_checkoption(L, 1, NULL, tg_table_names)));
  return 1;
}

/* core.stack(table, method, fn, where): the plugins of that method, as one function. */
static int l_stack(lua_State *L)
{
  enum tg_method method = tg_check_method(L, 1, 2);
  const char *where = luaL_checkstring(L, 4);
  luaL_checktype(L, 3, LUA_TFUNCTION);
  lua_pushvalue(L, 3);
  tg_override_stack(L, method, where);
  return 0;
}

/* core.on_rebase(fn): fn(table, method, function or nil) hears what scripts assign where plugins stand. */
static int l_on_rebase(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  state->ref_rebase = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

/* core.assigned(table, method) -> the script's own function, or nil */
static int l_assigned(lua_State *L)
{
  int ref = tg_state_of(L)->override[tg_check_method(L, 1, 2)].ref;
  if (ref == LUA_NOREF)
    lua_pushnil(L);
  else
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
  return 1;
}

/* core.default_of(table, method) -> the function that runs without any override */
static int l_default(lua_State *L)
{
  enum tg_method method = tg_check_method(L, 1, 2);
  lua_rawgeti(L, LUA_REGISTRYINDEX, tg_state_of(L)->ref_natives[tg_methods[method].table]);
  lua_getfield(L, -1, tg_methods[method].name);
  return 1;
}

/* core.plugin_fault(table, method, where, message, then) */
static int l_fault(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  enum tg_method method = tg_check_method(L, 1, 2);
  tg_push_error_text(L, 4);
  tg_fault_log_at(state, tg_method_group(method), state->shard_id, tg_methods[method].full,
                  luaL_checkstring(L, 3), lua_tostring(L, -1), luaL_checkstring(L, 5));
  return 0;
}

/* The handler of errors of a plugin's override. Of those that are stopped no Lua hears before the call has
 * ended: the innermost is noted here. */
static int l_trace(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct tg_override *override = &state->override[lua_tointeger(L, lua_upvalueindex(1))];
  if (state->hooked && !override->stopped[0])
    snprintf(override->stopped, sizeof override->stopped, "%s", lua_tostring(L, lua_upvalueindex(2)));
  lua_settop(L, 1);
  return tg_traceback(L);
}

/* core.plugin_trace(table, method, where) -> a function for xpcall */
static int l_new_trace(lua_State *L)
{
  lua_pushinteger(L, tg_check_method(L, 1, 2));
  lua_pushstring(L, luaL_checkstring(L, 3));
  lua_pushcclosure(L, l_trace, 2);
  return 1;
}

/* core.plugin_stopped(table, method) -> where of the one that was stopped in the last call, once; or nil */
static int l_stopped(lua_State *L)
{
  struct tg_override *override = &tg_state_of(L)->override[tg_check_method(L, 1, 2)];
  if (override->stopped[0])
    lua_pushstring(L, override->stopped);
  else
    lua_pushnil(L);
  override->stopped[0] = '\0';
  return 1;
}

/* core.plugin_off(table, method, where, count) */
static int l_off(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  enum tg_method method = tg_check_method(L, 1, 2);
  char what[160];
  snprintf(what, sizeof what, "%s (%s)", tg_methods[method].full, luaL_checkstring(L, 3));
  atomic_fetch_add(&state->script->stats->lua_switched_off, 1);
  tg_log_with(TG_ERROR, state->shard_id, TG_WITH(TG_TOLD(METHOD, what)),
              "%s failed %d times in a minute and is switched off until the next reload", what,
              (int)luaL_checkinteger(L, 4));
  return 0;
}

/* core.log_secret(text): no line of the log shows it from now on. */
static int l_secret(lua_State *L)
{
  tg_state_of(L);
  tg_log_secret(luaL_checkstring(L, 1));
  return 0;
}

void tg_bind_plugin(lua_State *L)
{
  static const luaL_Reg functions[] = {{"plugin_account", l_account},
                                       {"override_place", l_place},
                                       {"is_ours", l_is_ours},
                                       {"stack", l_stack},
                                       {"on_rebase", l_on_rebase},
                                       {"assigned", l_assigned},
                                       {"default_of", l_default},
                                       {"plugin_fault", l_fault},
                                       {"plugin_off", l_off},
                                       {"plugin_trace", l_new_trace},
                                       {"plugin_stopped", l_stopped},
                                       {"log_secret", l_secret},
                                       {0}};
  luaL_register(L, NULL, functions);
}
