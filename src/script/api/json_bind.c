/* JSON between Lua and jansson, and gateway.json. */

#include "script/api/json.h"

#include "base/log.h"
#include "script/api/json_impl.h"
#include "script/embedded.h"
#include "script/vm/sched.h"

#include <stdlib.h>
#include <string.h>

/* ---- marks ---- */

static char mark_keys[TG_JSON_MARKS]; /* their addresses are keys of the registry */

void tg_json_open(lua_State *L)
{
  for (int mark = 0; mark < TG_JSON_MARKS; mark++) {
    lua_pushlightuserdata(L, &mark_keys[mark]);
    lua_newtable(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
  }
}

void tg_json_push_mark(lua_State *L, enum tg_json_mark mark)
{
  lua_pushlightuserdata(L, &mark_keys[mark]);
  lua_rawget(L, LUA_REGISTRYINDEX);
}

void tg_json_copy_mark(lua_State *from, int index, lua_State *to)
{
  if (!lua_getmetatable(from, index))
    return;
  for (int mark = 0; mark < TG_JSON_MARKS; mark++) {
    tg_json_push_mark(from, (enum tg_json_mark)mark);
    if (lua_rawequal(from, -1, -2)) {
      tg_json_push_mark(to, (enum tg_json_mark)mark);
      lua_setmetatable(to, -2);
    }
    lua_pop(from, 1);
  }
  lua_pop(from, 1);
}

/* ---- text that is not UTF-8 ---- */

/* The line of the script that is running. False: none is. */
static bool running_line(lua_State *L, char *out, size_t size)
{
  lua_Debug at;
  for (int level = 0; lua_getstack(L, level, &at); level++) {
    if (!lua_getinfo(L, "Sl", &at) || at.currentline <= 0 || tg_is_embedded(at.source))
      continue;
    snprintf(out, size, "%s:%d", at.short_src, at.currentline);
    return true;
  }
  return false;
}

void tg_json_tell_torn(lua_State *L, const char *where)
{
  struct tg_state *state = tg_state_of(L);
  char line[LUA_IDSIZE + 16];
  if (!state->json.torn || !state->script)
    return;
  if (!where)
    where = running_line(L, line, sizeof line) ? line : state->what ? state->what : "the script";
  unsigned more;
  if (tg_fault_heard(state->script, where, "torn text", &more))
    return;
  tg_log_with(TG_WARN, state->running ? state->running->shard_id : state->shard_id,
              TG_WITH(TG_NUMBER_IF(more > 0, HELD, more)),
              "%s: text that is not UTF-8%s%s; it goes out with U+FFFD in place of what is torn (to cut a "
              "text, use gateway.utf8.cut)",
              where, state->json.path[0] ? ", at " : "", state->json.path);
}

/* ---- jansson ---- */

void tg_json_push(lua_State *L, const json_t *value)
{
  if (!value) {
    lua_pushnil(L);
    return;
  }
  /* The text lives in a Lua string while it is read, so that an error in Lua
   * leaves nothing behind. */
  char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
  struct tg_buf *out = &tg_state_of(L)->out;
  out->length = 0;
  tg_buf_puts(out, text ? text : "null");
  free(text);
  lua_pushlstring(L, out->data, out->length);
  size_t length, offset;
  const char *problem, *copy = lua_tolstring(L, -1, &length);
  if (!tg_json_decode(L, copy, length, &problem, &offset))
    lua_pushnil(L);
  lua_remove(L, -2);
}

json_t *tg_json_take(lua_State *L, int index, const char **problem)
{
  struct tg_state *state = tg_state_of(L);
  state->out.length = 0;
  if (!tg_json_encode(L, index, &state->out, problem))
    return NULL;
  tg_json_tell_torn(L, NULL);
  json_error_t error;
  json_t *taken = json_loadb(state->out.data, state->out.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
  if (!taken) /* a NUL in a key */
    snprintf(state->json.problem, sizeof state->json.problem, "what the gateway cannot take (%s)",
             error.text);
  return taken;
}

static int l_free_json(lua_State *L)
{
  json_t **box = lua_touserdata(L, 1);
  json_decref(*box);
  *box = NULL;
  return 0;
}

json_t **tg_push_json_box(lua_State *L)
{
  json_t **box = lua_newuserdata(L, sizeof *box);
  *box = NULL;
  if (luaL_newmetatable(L, "tidegate.json_box")) {
    lua_pushcfunction(L, l_free_json);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  return box;
}

/* ---- gateway.json ---- */

static int l_decode(lua_State *L)
{
  size_t length, offset;
  const char *problem, *text = luaL_checklstring(L, 1, &length);
  if (tg_json_decode(L, text, length, &problem, &offset))
    return 1;
  return tg_push_failure(L, "bad_json", "not JSON: %s at byte %d", problem, (int)offset + 1);
}

static int l_encode(lua_State *L)
{
  luaL_checkany(L, 1);
  const char *problem;
  struct tg_buf *out = &tg_state_of(L)->out;
  out->length = 0;
  if (!tg_json_encode(L, 1, out, &problem))
    return luaL_error(L, "gateway.json.encode: JSON cannot carry %s", problem);
  tg_json_tell_torn(L, NULL);
  lua_pushlstring(L, out->data, out->length);
  tg_buf_reset(out, 256 * 1024);
  return 1;
}

static int mark(lua_State *L, enum tg_json_mark mark)
{
  tg_state_of(L);
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  tg_json_push_mark(L, mark);
  lua_setmetatable(L, 1);
  return 1;
}

static int l_array(lua_State *L)
{
  return mark(L, TG_JSON_ARRAY);
}

static int l_object(lua_State *L)
{
  return mark(L, TG_JSON_OBJECT);
}

void tg_bind_json(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"encode", l_encode}, {"decode", l_decode}, {"array", l_array}, {"object", l_object}, {0}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
}
