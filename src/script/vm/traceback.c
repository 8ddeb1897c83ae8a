/* What a script raised, as text, and the way there. */

#include "script/vm/state.h"

#include "base/utf8.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { FIELDS_MAX = 16, DEPTH_MAX = 3, WORDS_MAX = 100, TEXT_MAX = 600 };

/* ---- tables ---- */

/* [-1, +0 or 1] Takes the key on top and pushes the next one in order: numbers by
 * size, then strings by letters; others do not count. False: there is none. */
static bool next_in_order(lua_State *L, int table)
{
  int last = lua_gettop(L), best = last + 1;
  lua_pushnil(L);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    int key = lua_gettop(L) - 1;
    bool counts = lua_type(L, key) == LUA_TNUMBER || lua_type(L, key) == LUA_TSTRING;
    bool behind =
        lua_isnil(L, last) || (lua_type(L, last) == lua_type(L, key) ? lua_lessthan(L, last, key)
                                                                     : lua_type(L, key) == LUA_TSTRING);
    bool before =
        lua_isnil(L, best) || (lua_type(L, best) == lua_type(L, key) ? lua_lessthan(L, key, best)
                                                                     : lua_type(L, key) == LUA_TNUMBER);
    if (counts && behind && before) {
      lua_pushvalue(L, key);
      lua_replace(L, best);
    }
  }
  lua_remove(L, last);
  return !lua_isnil(L, -1) || (lua_pop(L, 1), false);
}

static void put_words(struct tg_buf *out, const char *text, size_t length)
{
  size_t shown = tg_utf8_cut(text, length, WORDS_MAX);
  tg_buf_puts(out, "\"");
  for (size_t i = 0; i < shown; i++) {
    if (text[i] == '"' || text[i] == '\\')
      tg_buf_append(out, "\\", 1);
    if (text[i] == '\n')
      tg_buf_puts(out, "\\n");
    else
      tg_buf_append(out, &text[i], 1);
  }
  tg_buf_puts(out, shown < length ? "...\"" : "\"");
}

static bool put_fields(lua_State *L, int table, struct tg_buf *out, int depth);

static void put_value(lua_State *L, int index, struct tg_buf *out, int depth)
{
  size_t length;
  switch (lua_type(L, index)) {
  case LUA_TSTRING: {
    const char *text = lua_tolstring(L, index, &length);
    put_words(out, text, length);
    break;
  }
  case LUA_TNUMBER:
    tg_buf_printf(out, "%.14g", lua_tonumber(L, index));
    break;
  case LUA_TBOOLEAN:
    tg_buf_puts(out, lua_toboolean(L, index) ? "true" : "false");
    break;
  case LUA_TLIGHTUSERDATA:
    tg_buf_puts(out, lua_touserdata(L, index) ? "userdata" : "null");
    break;
  case LUA_TTABLE:
    if (depth >= DEPTH_MAX)
      tg_buf_puts(out, "{...}");
    else if (!put_fields(L, index, out, depth + 1))
      tg_buf_puts(out, "{}");
    break;
  default: /* an address would make each of them another error */
    tg_buf_puts(out, luaL_typename(L, index));
  }
}

/* {code = "E1", shard = 3}, without the `message` of the outermost table, which
 * stands in front. False, and nothing: there are no fields. */
static bool put_fields(lua_State *L, int table, struct tg_buf *out, int depth)
{
  int count = 0;
  lua_Number in_row = 1;
  if (!lua_checkstack(L, 8))
    return false;
  for (lua_pushnil(L); next_in_order(L, table);) {
    bool is_name = lua_type(L, -1) == LUA_TSTRING;
    if (depth == 1 && is_name && strcmp(lua_tostring(L, -1), "message") == 0)
      continue;
    tg_buf_puts(out, count == 0 ? "{" : ", ");
    if (count++ == FIELDS_MAX || out->length > TEXT_MAX) {
      tg_buf_puts(out, "...");
      lua_pop(L, 1);
      break;
    }
    if (is_name)
      tg_buf_printf(out, "%.40s = ", lua_tostring(L, -1));
    else if (lua_tonumber(L, -1) != in_row++)
      tg_buf_printf(out, "[%.14g] = ", lua_tonumber(L, -1));
    lua_pushvalue(L, -1);
    lua_rawget(L, table);
    put_value(L, lua_gettop(L), out, depth);
    lua_pop(L, 1);
  }
  if (count > 0)
    tg_buf_puts(out, "}");
  return count > 0;
}

/* ---- errors ---- */

/* [-0, +1] What __tostring makes of it, or its `message`. False: it has neither. */
static bool push_own_words(lua_State *L, int index)
{
  if (luaL_callmeta(L, index, "__tostring")) {
    if (lua_type(L, -1) == LUA_TSTRING)
      return true;
    lua_pop(L, 1);
  }
  if (!lua_istable(L, index))
    return false;
  lua_pushliteral(L, "message");
  lua_rawget(L, index);
  if (lua_type(L, -1) == LUA_TSTRING)
    return true;
  lua_pop(L, 1);
  return false;
}

static void push_fields(lua_State *L, int index, const char *message)
{
  struct tg_buf *out = &tg_state_of(L)->scratch;
  out->length = 0;
  if (message)
    tg_buf_printf(out, "%s ", message);
  if (put_fields(L, index, out, 1))
    lua_pushlstring(L, out->data, out->length);
  else
    lua_pushstring(L, message ? message : "(an error that is an empty table)");
}

void tg_push_error_text(lua_State *L, int index)
{
  if (index < 0)
    index = lua_gettop(L) + 1 + index;
  if (lua_type(L, index) == LUA_TSTRING)
    lua_pushvalue(L, index);
  else if (push_own_words(L, index))
    return;
  else if (lua_istable(L, index))
    push_fields(L, index, NULL);
  else
    lua_pushfstring(L, "(an error that is a %s)", luaL_typename(L, index));
}

/* [-0, +1] The same of something that was raised: with its fields. */
static void push_raised(lua_State *L, int index)
{
  tg_push_error_text(L, index);
  if (!lua_istable(L, index))
    return;
  if (luaL_getmetafield(L, index, "__tostring")) {
    lua_pop(L, 1);
    return;
  }
  lua_pushliteral(L, "message");
  lua_rawget(L, index);
  bool has_message = lua_rawequal(L, -1, -2);
  lua_pop(L, 1);
  if (has_message) {
    push_fields(L, index, lua_tostring(L, -1));
    lua_remove(L, -2);
  }
}

/* ---- tracebacks ---- */

/* Functions in C that have no name are told by their address, which says nothing
 * and is another one in each run. */
static bool is_address(const char *line, size_t length)
{
  static const char at[] = ": at 0x";
  return memmem(line, length, at, sizeof at - 1) != NULL;
}

void tg_push_traceback(lua_State *L, lua_State *from, const char *message, int level)
{
  luaL_Buffer kept;
  luaL_traceback(L, from, message, level);
  const char *text = lua_tostring(L, -1), *trace = text + (message ? strlen(message) : 0);
  luaL_buffinit(L, &kept);
  luaL_addlstring(&kept, text, (size_t)(trace - text));
  while (*trace) { /* each line with the line break in front of it */
    size_t length = 1 + strcspn(trace + 1, "\n");
    if (!is_address(trace, length))
      luaL_addlstring(&kept, trace, length);
    trace += length;
  }
  luaL_pushresult(&kept);
  lua_remove(L, -2);
}

/* [string | error object] -> text with traceback. */
int tg_traceback(lua_State *L)
{
  lua_settop(L, 1);
  push_raised(L, 1);
  tg_push_traceback(L, L, lua_tostring(L, -1), 1);
  return 1;
}

int tg_trace_thread(lua_State *L, lua_State *from)
{
  lua_xmove(from, L, 1);
  push_raised(L, lua_gettop(L));
  tg_push_traceback(L, from, lua_tostring(L, -1), 0);
  return 1;
}

/* debug.traceback([thread,] [message [, level]]) */
int tg_debug_traceback(lua_State *L)
{
  tg_state_of(L);
  lua_State *from = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
  int message = from == L && !lua_isthread(L, 1) ? 1 : 2;
  if (!lua_isnoneornil(L, message) && !lua_isstring(L, message)) {
    lua_pushvalue(L, message);
    return 1;
  }
  tg_push_traceback(L, from, lua_tostring(L, message), (int)luaL_optinteger(L, message + 1, from == L));
  return 1;
}
