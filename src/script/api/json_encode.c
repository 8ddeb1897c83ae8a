/* Lua values to JSON text. */

#include "script/api/json.h"

#include "base/utf8.h"
#include "script/api/json_impl.h"
#include "script/vm/state.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Doubles hold every whole number up to here. */
static const lua_Number EXACT_MAX = 9007199254740992.0; /* 2^53 */

/* A step of the way to the value that is being written. */
struct step {
  const char *name; /* a key; NULL: a place in a list, or a key that is a number */
  lua_Number number;
};

struct writer {
  lua_State *L;
  struct tg_buf *out;
  struct tg_json_words *words;
  int marks; /* stack index of the first of the marks' metatables */
  int depth;
  struct step steps[TG_JSON_DEPTH];
};

static bool value(struct writer *w, int index);

/* ---- where a value stands ---- */

static bool is_plain_name(const char *name)
{
  static const char letters[] = "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  return *name && strlen(name) <= 60 && name[strspn(name, letters)] == '\0';
}

/* "embeds[1].title". What does not fit is left out at the end. */
static void write_path(const struct writer *w, char *out, size_t size)
{
  size_t at = 0;
  out[0] = '\0';
  for (int i = 0; i < w->depth && at < size; i++) {
    const struct step *step = &w->steps[i];
    int n;
    if (!step->name)
      n = snprintf(out + at, size - at, "[%.14g]", step->number);
    else if (is_plain_name(step->name))
      n = snprintf(out + at, size - at, "%s%s", i > 0 ? "." : "", step->name);
    else
      n = snprintf(out + at, size - at, "[\"%.40s\"]", step->name);
    at += (size_t)n;
  }
}

static bool fail(struct writer *w, const char *problem)
{
  char path[sizeof w->words->path];
  write_path(w, path, sizeof path);
  snprintf(w->words->problem, sizeof w->words->problem, "%s%s%s", problem, path[0] ? " at " : "", path);
  return false;
}

static void note_torn(struct writer *w)
{
  if (!w->words->torn)
    write_path(w, w->words->path, sizeof w->words->path);
  w->words->torn = true;
}

/* ---- scalars ---- */

/* False: it is not all ASCII. */
static bool put_string(struct tg_buf *out, const char *text, size_t length)
{
  static const char hex[] = "0123456789abcdef";
  tg_buf_append(out, "\"", 1);
  const char *from = text, *end = text + length;
  unsigned char bits = 0;
  for (const char *at = text; at < end; at++) {
    unsigned char c = (unsigned char)*at;
    bits |= c;
    if (c >= 0x20 && c != '"' && c != '\\')
      continue;
    tg_buf_append(out, from, (size_t)(at - from));
    from = at + 1;
    if (c == '"' || c == '\\') {
      tg_buf_append(out, (char[]){'\\', (char)c}, 2);
    } else if (c == '\n') {
      tg_buf_append(out, "\\n", 2);
    } else {
      char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
      tg_buf_append(out, escape, sizeof escape);
    }
  }
  tg_buf_append(out, from, (size_t)(end - from));
  tg_buf_append(out, "\"", 1);
  return bits < 0x80;
}

static void string(struct writer *w, const char *text, size_t length)
{
  size_t before = w->out->length;
  if (put_string(w->out, text, length) || tg_utf8_valid(text, length) == length)
    return;
  struct tg_buf mended = {0};
  w->out->length = before;
  tg_utf8_mend(&mended, text, length);
  put_string(w->out, mended.data, mended.length);
  tg_buf_free(&mended);
  note_torn(w);
}

static bool number(struct writer *w, lua_Number n)
{
  if (isnan(n) || isinf(n))
    return fail(w, isnan(n) ? "a number that is not a number (nan)" : "an infinite number");
  if (n == floor(n) && fabs(n) <= EXACT_MAX) {
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

/* ---- tables ---- */

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

/* Whether the table that is being written, and is empty, is a list: by its
 * mark, else by the name under which it stands. */
static bool is_empty_list(const struct writer *w, int index)
{
  if (lua_getmetatable(w->L, index)) {
    bool array = lua_rawequal(w->L, -1, w->marks + TG_JSON_ARRAY);
    bool object = lua_rawequal(w->L, -1, w->marks + TG_JSON_OBJECT);
    lua_pop(w->L, 1);
    if (array || object)
      return array;
  }
  const struct step *own = w->depth > 0 ? &w->steps[w->depth - 1] : NULL;
  const struct step *outer = w->depth > 1 ? own - 1 : NULL;
  if (!own || !own->name || (outer && outer->name && tg_json_is_name_of_maps(outer->name)))
    return false;
  return tg_json_is_list_name(own->name);
}

static bool array(struct writer *w, int index, int count)
{
  struct step *step = &w->steps[w->depth++];
  step->name = NULL;
  tg_buf_append(w->out, "[", 1);
  for (int i = 1; i <= count; i++) {
    if (i > 1)
      tg_buf_append(w->out, ",", 1);
    step->number = i;
    lua_rawgeti(w->L, index, i);
    if (!value(w, lua_gettop(w->L)))
      return false;
    lua_pop(w->L, 1);
  }
  tg_buf_append(w->out, "]", 1);
  w->depth--;
  return true;
}

/* The key under the value at the top of the stack, as the next step of the way. */
static bool key(struct writer *w, struct step *step)
{
  char text[40];
  size_t length;
  switch (lua_type(w->L, -2)) {
  case LUA_TSTRING:
    step->name = lua_tolstring(w->L, -2, &length); /* stays there as long as the step is taken */
    string(w, step->name, length);
    return true;
  case LUA_TNUMBER:
    step->name = NULL;
    step->number = lua_tonumber(w->L, -2);
    length = (size_t)snprintf(text, sizeof text, "%.17g", step->number);
    if (isfinite(step->number) && fabs(step->number) <= EXACT_MAX && step->number == floor(step->number))
      length = (size_t)snprintf(text, sizeof text, "%lld", (long long)step->number);
    put_string(w->out, text, length);
    return true;
  default:
    w->depth--; /* it is no step of any way */
    return fail(w, "a key that is neither string nor number");
  }
}

static bool object(struct writer *w, int index)
{
  lua_State *L = w->L;
  struct step *step = &w->steps[w->depth++];
  bool first = true;
  tg_buf_append(w->out, "{", 1);
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (!first)
      tg_buf_append(w->out, ",", 1);
    first = false;
    if (!key(w, step))
      return false;
    tg_buf_append(w->out, ":", 1);
    if (!value(w, lua_gettop(L)))
      return false;
    lua_pop(L, 1);
  }
  tg_buf_append(w->out, "}", 1);
  w->depth--;
  return true;
}

static bool table(struct writer *w, int index)
{
  if (w->depth == TG_JSON_DEPTH)
    return fail(w, "a table that is nested too deeply, or contains itself,");
  if (!lua_checkstack(w->L, 6))
    return fail(w, "a table that is nested too deeply");
  int count = 0;
  enum shape shape = table_shape(w->L, index, &count);
  if (shape == HOLES)
    return fail(w, "a list with holes (use gateway.json.null for them)");
  if (shape == ARRAY || (shape == EMPTY && is_empty_list(w, index)))
    return array(w, index, count);
  return object(w, index);
}

static bool value(struct writer *w, int index)
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
    return table(w, index);
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
  case LUA_TUSERDATA:
    return fail(w, "a userdata");
  default:
    return fail(w, "a value of the ffi (a cdata)");
  }
}

bool tg_json_encode(lua_State *L, int index, struct tg_buf *out, const char **problem)
{
  int top = lua_gettop(L);
  if (index < 0)
    index = top + 1 + index;
  luaL_checkstack(L, 8, "JSON");
  for (int mark = 0; mark < TG_JSON_MARKS; mark++)
    tg_json_push_mark(L, (enum tg_json_mark)mark);
  struct tg_json_words *words = &tg_state_of(L)->json;
  words->torn = false;
  struct writer w;
  w.L = L, w.out = out, w.words = words, w.marks = top + 1, w.depth = 0;
  bool ok = value(&w, index);
  lua_settop(L, top);
  *problem = words->problem;
  return ok;
}
