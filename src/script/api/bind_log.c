/* What lua/tidegate/log.lua builds gateway.log on. */

#include "script/vm/sched.h"

#include "base/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A field from its name and value on the stack; `number` holds what is no string. */
static struct tg_log_field field_at(lua_State *L, int name, int value, char *number, size_t size)
{
  struct tg_log_field field = {.key = TG_KEY_NAMED, .name = lua_tostring(L, name), .text = number};
  field.plain = lua_type(L, value) != LUA_TSTRING;
  if (!field.plain) {
    field.text = lua_tostring(L, value);
  } else if (lua_type(L, value) == LUA_TBOOLEAN) {
    snprintf(number, size, "%s", lua_toboolean(L, value) ? "true" : "false");
  } else {
    lua_Number n = lua_tonumber(L, value);
    field.plain = isfinite(n);
    snprintf(number, size, fabs(n) <= 9007199254740992.0 && n == floor(n) ? "%.0f" : "%.14g", n);
  }
  return field;
}

/* core.log(level, text, shard or nil, names..., values...): names and values in pairs */
static int l_log(lua_State *L)
{
  enum { FIRST = 4 };
  struct tg_state *state = tg_state_of(L);
  int level = (int)luaL_checkinteger(L, 1), count = (lua_gettop(L) - FIRST + 1) / 2;
  const char *text = luaL_checkstring(L, 2);
  int own = state->running ? state->running->shard_id : state->shard_id;
  int shard_id = (int)luaL_optinteger(L, 3, own);
  struct tg_log_field fields[TG_LOG_FIELDS_MAX + 1];
  char numbers[TG_LOG_FIELDS_MAX][40];
  count = count < TG_LOG_FIELDS_MAX ? count : TG_LOG_FIELDS_MAX;
  for (int i = 0; i < count; i++)
    fields[i] = field_at(L, FIRST + 2 * i, FIRST + 2 * i + 1, numbers[i], sizeof numbers[i]);
  fields[count] = (struct tg_log_field){.key = TG_KEY_END};
  if (level >= TG_DEBUG && level <= TG_ERROR)
    tg_log_with((enum tg_log_level)level, shard_id, fields, "%s", text);
  return 0;
}

/* core.log_on(level): whether such a line would be written */
static int l_log_on(lua_State *L)
{
  lua_pushboolean(L, tg_log_on((enum tg_log_level)luaL_checkinteger(L, 1)));
  return 1;
}

void tg_bind_log(lua_State *L)
{
  static const luaL_Reg functions[] = {{"log", l_log}, {"log_on", l_log_on}, {0}};
  luaL_register(L, NULL, functions);
  lua_newtable(L); /* the gateway's own fields: "string" or "number" by name */
  for (int key = TG_KEY_NONE + 1; key < TG_KEY_NAMED; key++) {
    lua_pushstring(L, tg_log_key_is_text((enum tg_log_key)key) ? "string" : "number");
    lua_setfield(L, -2, tg_log_key_name((enum tg_log_key)key));
  }
  lua_setfield(L, -2, "log_fields");
  lua_pushinteger(L, TG_LOG_FIELDS_MAX);
  lua_setfield(L, -2, "log_fields_max");
}
