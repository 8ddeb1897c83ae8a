/* gateway.storm: rules against storms, set at run time. They go to the manager, which tells all workers. */

#include "config/storm_values.h"
#include "script/api/json.h"
#include "script/vm/sched.h"

/* [-0, +1, m] What is wrong with the rules; NULL: nothing, and nothing is pushed. */
static const char *push_problems(lua_State *L, const json_t *storm)
{
  struct tg_storm_config read;
  struct tg_problems problems;
  if (tg_storm_config_read(storm, &read, &problems)) {
    tg_storm_config_free(&read);
    return NULL;
  }
  json_t **list = tg_push_json_box(L);
  *list = json_array();
  for (int i = 0; i < problems.count; i++)
    json_array_append_new(*list, json_string(problems.items[i]));
  tg_problems_free(&problems);
  lua_pushliteral(L, "");
  for (size_t i = 0; i < json_array_size(*list); i++) {
    lua_pushstring(L, i ? "\n" : "");
    lua_pushstring(L, json_string_value(json_array_get(*list, i)));
    lua_concat(L, 3);
  }
  return lua_tostring(L, -1);
}

/* gateway.storm(rules or nil) -> true, or nil, err */
static int l_storm(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct tg_script *script = state->script;
  int type = lua_type(L, 1);
  if (type != LUA_TTABLE && type != LUA_TNIL)
    return luaL_error(L, "gateway.storm: expected a table like { rules = { ... } }, or nil, got %s",
                      luaL_typename(L, 1));
  if (state->phase == TG_STATE_LOADING)
    return luaL_error(L, "gateway.storm: is for run time; while the script is loaded, storm = { ... } in "
                         "gateway.configure says it");
  lua_settop(L, 1);
  json_t **storm = tg_push_json_box(L);
  const char *problem = NULL;
  if (type == LUA_TTABLE && !(*storm = tg_json_take(L, 1, &problem)))
    return luaL_error(L, "gateway.storm: the rules contain %s", problem);
  if (*storm && (problem = push_problems(L, *storm)))
    return luaL_error(L, "gateway.storm: %s", problem);
  bool in_manager = script->role == TG_ROLE_MANAGER;
  if (script->stopped || (in_manager ? !script->manager : !script->worker))
    return tg_push_failure(L, "unavailable", "gateway.storm: the gateway does not run");
  if (in_manager)
    script->core->manager_set_storm(script->manager, *storm, script->generation);
  else
    script->core->worker_set_storm(script->worker, *storm, script->generation);
  lua_pushboolean(L, 1);
  return 1;
}

void tg_bind_storm(lua_State *L)
{
  lua_pushcfunction(L, l_storm);
  lua_setfield(L, -2, "storm");
}
