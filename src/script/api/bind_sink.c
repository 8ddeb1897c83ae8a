/* What gateway.sink (lua/tidegate/sink.lua) is built on: which sinks there are beside the bot, and what a
 * script has put in the place of their URLs. */

#include "script/vm/state.h"

#include <stdio.h>
#include <string.h>

struct tg_sink_function *tg_sink_function(struct tg_state *state, const char *name)
{
  for (int i = 0; i < state->sink_count; i++)
    if (strcmp(state->sinks[i].name, name) == 0)
      return &state->sinks[i];
  return NULL;
}

struct tg_sink_function *tg_sink_function_add(struct tg_state *state, const char *name)
{
  struct tg_sink_function *sink = tg_sink_function(state, name);
  if (sink || state->sink_count == TG_SINKS_MAX - 1)
    return sink;
  sink = &state->sinks[state->sink_count++];
  *sink = (struct tg_sink_function){.deliver.ref = LUA_NOREF};
  snprintf(sink->name, sizeof sink->name, "%s", name);
  snprintf(sink->full, sizeof sink->full, "gateway.sink(\"%s\").deliver", name);
  return sink;
}

/* core.sink_names() -> those that are configured; nil while there is no configuration */
static int l_names(lua_State *L)
{
  const struct tg_config *config = tg_state_config(tg_state_of(L));
  if (!config)
    return 0;
  lua_createtable(L, config->sink_count, 0);
  for (int i = 0; i < config->sink_count; i++) {
    lua_pushstring(L, config->sinks[i].name);
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* core.sink_function(name) -> what was assigned, or nil */
static int l_function(lua_State *L)
{
  const struct tg_sink_function *sink = tg_sink_function(tg_state_of(L), luaL_checkstring(L, 1));
  if (!sink || sink->deliver.ref == LUA_NOREF)
    return 0;
  lua_rawgeti(L, LUA_REGISTRYINDEX, sink->deliver.ref);
  return 1;
}

/* core.sink_assign(name, function or nil); the name is one of those that are configured */
static int l_assign(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct tg_sink_function *sink = tg_sink_function_add(state, luaL_checkstring(L, 1));
  lua_settop(L, 2);
  if (!sink)
    return luaL_error(L, "gateway.sink: there are too many sinks");
  luaL_unref(L, LUA_REGISTRYINDEX, sink->deliver.ref);
  sink->deliver = (struct tg_override){.ref = LUA_NOREF};
  if (!lua_isnil(L, 2)) {
    tg_where_of_function(L, 2, sink->deliver.where);
    sink->deliver.owner = tg_owner_of_function(L, 2, TG_LUA_sink, sink->full);
    sink->deliver.ref = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  tg_hooks_fill_sinks(state);
  return 0;
}

/* core.sink_queue(name) -> that of the worker */
static int l_queue(lua_State *L)
{
  tg_push_queue(L, luaL_checkstring(L, 1), TG_ALL_SHARDS);
  return 1;
}

void tg_bind_sinks(lua_State *L)
{
  static const luaL_Reg functions[] = {{"sink_names", l_names},           {"sink_function", l_function},
                                       {"sink_assign", l_assign},         {"sink_queue", l_queue},
                                       {"sink_deliver", tg_sink_deliver}, {0}};
  luaL_register(L, NULL, functions);
}
