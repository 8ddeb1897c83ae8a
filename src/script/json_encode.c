/* Lua values to JSON text, the way to jansson and back, and gateway.json. */

#include "script/json.h"

#include "script/json_impl.h"
#include "script/state.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

char tg_json_array_key[1];

/* Names under which Discord and the configuration always want a list. */
static const char *const list_names[] = {
    "activities", "attachments", "choices", "components", "drop_first", "embeds",
    "fields",     "guild_ids",   "intents", "options",    "parse",      "rocks_trees",
    "roles",      "sticker_ids", "urls",    "user_ids",   "users",
};

struct writer {
  lua_State *L;
  struct tg_buf *out;
  const char *problem;
  int array_mark;
  int depth;
};

static bool value(struct writer *w, int index, const char *name);

static bool fail(struct writer *w, const char *problem)
{
  w->problem = problem;
  return false;
}

static void string(struct writer *w, const char *text, size_t length)
{
  static const char hex[] = "0123456789abcdef";
  tg_buf_append(w->out, "\"", 1);
  const char *from = text, *end = text + length;
  for (const char *at = text; at < end; at++) {
    unsigned char c = (unsigned char)*at;
    if (c >= 0x20 && c != '"' && c != '\\')
      continue;
    tg_buf_append(w->out, from, (size_t)(at - from));
    from = at + 1;
    if (c == '"' || c == '\\') {
      tg_buf_append(w->out, (char[]){'\\', (char)c}, 2);
    } else if (c == '\n') {
      tg_buf_append(w->out, "\\n", 2);
    } else {
      char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
      tg_buf_append(w->out, escape, sizeof escape);
    }
  }
  tg_buf_append(w->out, from, (size_t)(end - from));
  tg_buf_append(w->out, "\"", 1);
}

static bool number(struct writer *w, lua_Number n)
{
  if (isnan(n) || isinf(n))
    return fail(w, "a number that is not finite");
  if (n == floor(n) && fabs(n) < 1e15) {
    tg_buf_printf(w->out, "%lld", (long long)n);
    return true;
  }
  char text[40];
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, n);
    if (strtod(text, NULL) == n)
      break;
  }
  tg_buf_puts(w->out, text);
  return true;
}

enum shape { ARRAY, OBJECT, HOLES, EMPTY };

/* What the keys of the table at `index` say. */
static enum shape table_shape(lua_State *L, int index, int *count)
{
  int n = 0, other = 0;
  lua_Number highest = 0;
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TNUMBER) {
      lua_pop(L, 1);
      other = 1;
      break;
    }
    lua_Number key = lua_tonumber(L, -1);
    if (key < 1 || key != floor(key))
      other = 1;
    highest = key > highest ? key : highest;
    n++;
  }
  *count = n;
  if (other)
    return OBJECT;
  if (n == 0)
    return EMPTY;
  return (lua_Number)n == highest ? ARRAY : HOLES;
}

static bool is_marked(struct writer *w, int index)
{
  if (!lua_getmetatable(w->L, index))
    return false;
  bool marked = lua_rawequal(w->L, -1, w->array_mark);
  lua_pop(w->L, 1);
  return marked;
}

static bool is_list_name(const char *name)
{
  for (size_t i = 0; name && i < sizeof list_names / sizeof list_names[0]; i++) {
    if (strcmp(name, list_names[i]) == 0)
      return true;
  }
  return false;
}

static bool array(struct writer *w, int index, int count)
{
  tg_buf_append(w->out, "[", 1);
  for (int i = 1; i <= count; i++) {
    if (i > 1)
      tg_buf_append(w->out, ",", 1);
    lua_rawgeti(w->L, index, i);
    bool ok = value(w, lua_gettop(w->L), NULL);
    lua_pop(w->L, 1);
    if (!ok)
      return false;
  }
  tg_buf_append(w->out, "]", 1);
  return true;
}

static bool object(struct writer *w, int index)
{
  lua_State *L = w->L;
  bool first = true;
  tg_buf_append(w->out, "{", 1);
  lua_pushnil(L);
  while (lua_next(L, index)) {
    const char *name = NULL;
    char text[40];
    size_t length = 0;
    if (lua_type(L, -2) == LUA_TSTRING) {
      name = lua_tolstring(L, -2, &length);
    } else if (lua_type(L, -2) == LUA_TNUMBER) {
      length = (size_t)snprintf(text, sizeof text, "%.14g", lua_tonumber(L, -2));
    }
    if (length == 0 && !name) {
      lua_pop(L, 2);
      return fail(w, "a key that is neither string nor number");
    }
    if (!first)
      tg_buf_append(w->out, ",", 1);
    first = false;
    string(w, name ? name : text, length);
    tg_buf_append(w->out, ":", 1);
    bool ok = value(w, lua_gettop(L), name);
    lua_pop(L, ok ? 1 : 2);
    if (!ok)
      return false;
  }
  tg_buf_append(w->out, "}", 1);
  return true;
}

static bool table(struct writer *w, int index, const char *name)
{
  if (w->depth == TG_JSON_DEPTH)
    return fail(w, "a table that is nested too deeply, or contains itself");
  if (!lua_checkstack(w->L, 6))
    return fail(w, "a table that is nested too deeply");
  w->depth++;
  bool marked = is_marked(w, index), ok;
  int count = 0;
  enum shape shape = table_shape(w->L, index, &count);
  if (shape == HOLES)
    ok = fail(w, "a list with holes (use gateway.json.null for them)");
  else if (shape == ARRAY || (shape == EMPTY && (marked || is_list_name(name))))
    ok = array(w, index, count);
  else
    ok = object(w, index);
  w->depth--;
  return ok;
}

static bool value(struct writer *w, int index, const char *name)
{
  size_t length;
  switch (lua_type(w->L, index)) {
  case LUA_TNIL:
    tg_buf_puts(w->out, "null");
    return true;
  case LUA_TBOOLEAN:
    tg_buf_puts(w->out, lua_toboolean(w->L, index) ? "true" : "false");
    return true;
  case LUA_TNUMBER:
    return number(w, lua_tonumber(w->L, index));
  case LUA_TSTRING: {
    const char *text = lua_tolstring(w->L, index, &length);
    string(w, text, length);
    return true;
  }
  case LUA_TTABLE:
    return table(w, index, name);
  case LUA_TLIGHTUSERDATA:
    if (!lua_touserdata(w->L, index)) {
      tg_buf_puts(w->out, "null");
      return true;
    }
    return fail(w, "a userdata");
  case LUA_TFUNCTION:
    return fail(w, "a function");
  case LUA_TTHREAD:
    return fail(w, "a coroutine");
  default:
    return fail(w, "a userdata");
  }
}

bool tg_json_encode(lua_State *L, int index, struct tg_buf *out, const char **problem)
{
  int top = lua_gettop(L);
  if (index < 0)
    index = top + 1 + index;
  luaL_checkstack(L, 8, "JSON");
  lua_pushlightuserdata(L, tg_json_array_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  struct writer w = {.L = L, .out = out, .array_mark = top + 1};
  bool ok = value(&w, index, NULL);
  lua_settop(L, top);
  *problem = w.problem;
  return ok;
}

void tg_json_push(lua_State *L, const json_t *value_)
{
  if (!value_) {
    lua_pushnil(L);
    return;
  }
  /* The text lives in a Lua string while it is read, so that an error in Lua
   * leaves nothing behind. */
  char *text = json_dumps(value_, JSON_COMPACT | JSON_ENCODE_ANY);
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
  struct tg_buf *out = &tg_state_of(L)->out;
  out->length = 0;
  if (!tg_json_encode(L, index, out, problem))
    return NULL;
  json_t *taken = json_loadb(out->data, out->length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  if (!taken)
    *problem = "text that is not UTF-8";
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
  lua_pushlstring(L, out->data, out->length);
  tg_buf_reset(out, 256 * 1024);
  return 1;
}

static int l_array(lua_State *L)
{
  if (lua_isnoneornil(L, 1)) {
    lua_settop(L, 0);
    lua_newtable(L);
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_pushlightuserdata(L, tg_json_array_key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  lua_setmetatable(L, 1);
  return 1;
}

void tg_json_open(lua_State *L)
{
  lua_pushlightuserdata(L, tg_json_array_key);
  lua_newtable(L);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void tg_bind_json(lua_State *L)
{
  static const luaL_Reg functions[] = {{"encode", l_encode}, {"decode", l_decode}, {"array", l_array}, {0}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  lua_pushlightuserdata(L, NULL);
  lua_setfield(L, -2, "null");
}
