/* JSON text to Lua values, in one pass. */

#include "script/api/json.h"

#include "script/api/json_impl.h"
#include "script/vm/state.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct reader {
  lua_State *L;
  const char *start, *at, *end;
  const char *problem;
  struct tg_buf *scratch;
  struct tg_json_size *sizes;
  int marks; /* stack index of the first of the marks' metatables */
  int depth;
};

static bool value(struct reader *r);

static bool fail(struct reader *r, const char *problem)
{
  r->problem = problem;
  return false;
}

static void skip_space(struct reader *r)
{
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
    r->at++;
}

static bool hex4(struct reader *r, unsigned *code)
{
  if (r->end - r->at < 4)
    return fail(r, "\\u needs four hexadecimal digits");
  *code = 0;
  for (int i = 0; i < 4; i++) {
    char c = *r->at++;
    unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                            : 16;
    if (digit == 16)
      return fail(r, "\\u needs four hexadecimal digits");
    *code = *code * 16 + digit;
  }
  return true;
}

static void put_utf8(struct tg_buf *out, unsigned code)
{
  char *to = tg_buf_reserve(out, 4);
  size_t n = 0;
  if (code < 0x80) {
    to[n++] = (char)code;
  } else if (code < 0x800) {
    to[n++] = (char)(0xC0 | code >> 6);
    to[n++] = (char)(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    to[n++] = (char)(0xE0 | code >> 12);
    to[n++] = (char)(0x80 | (code >> 6 & 0x3F));
    to[n++] = (char)(0x80 | (code & 0x3F));
  } else {
    to[n++] = (char)(0xF0 | code >> 18);
    to[n++] = (char)(0x80 | (code >> 12 & 0x3F));
    to[n++] = (char)(0x80 | (code >> 6 & 0x3F));
    to[n++] = (char)(0x80 | (code & 0x3F));
  }
  out->length += n;
}

/* Surrogates that stand alone are written as U+FFFD. */
static bool unicode_escape(struct reader *r)
{
  unsigned code, low;
  if (!hex4(r, &code))
    return false;
  if (code >= 0xD800 && code < 0xDC00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
    const char *back = r->at;
    r->at += 2;
    if (!hex4(r, &low))
      return false;
    if (low >= 0xDC00 && low < 0xE000)
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    else
      r->at = back;
  }
  put_utf8(r->scratch, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code);
  return true;
}

static bool escape(struct reader *r)
{
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (r->at == r->end)
    return fail(r, "a string is not closed");
  char c = *r->at++;
  if (c == 'u')
    return unicode_escape(r);
  const char *which = c ? strchr(from, c) : NULL;
  if (!which)
    return fail(r, "unknown escape in a string");
  tg_buf_append(r->scratch, &to[which - from], 1);
  return true;
}

/* The next byte of a string that does not stand for itself. */
static const char *skip_plain(const char *at, const char *end)
{
#ifdef __SSE2__
  for (; end - at >= 16; at += 16) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at), control = _mm_set1_epi8(0x1f);
    __m128i special = _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes);
    special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
    special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    int found = _mm_movemask_epi8(special);
    if (found)
      return at + __builtin_ctz((unsigned)found);
  }
#endif
  while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
    at++;
  return at;
}

/* Most strings have no escapes and are taken as they stand. */
static bool string(struct reader *r)
{
  const char *from = ++r->at;
  r->at = skip_plain(from, r->end);
  if (r->at < r->end && *r->at == '"') {
    lua_pushlstring(r->L, from, (size_t)(r->at - from));
    r->at++;
    return true;
  }
  r->scratch->length = 0;
  tg_buf_append(r->scratch, from, (size_t)(r->at - from));
  while (r->at < r->end && *r->at != '"') {
    if ((unsigned char)*r->at < 0x20)
      return fail(r, "a control character in a string");
    if (*r->at == '\\') {
      r->at++;
      if (!escape(r))
        return false;
      continue;
    }
    from = r->at;
    r->at = skip_plain(from, r->end);
    tg_buf_append(r->scratch, from, (size_t)(r->at - from));
  }
  if (r->at == r->end)
    return fail(r, "a string is not closed");
  r->at++;
  lua_pushlstring(r->L, r->scratch->data, r->scratch->length);
  return true;
}

static bool digits(struct reader *r)
{
  const char *from = r->at;
  while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
    r->at++;
  return r->at > from || fail(r, "a number lacks a digit");
}

static bool one_of(struct reader *r, const char *letters)
{
  bool is = r->at < r->end && *r->at && strchr(letters, *r->at);
  r->at += is;
  return is;
}

static bool real(struct reader *r, const char *from)
{
  r->scratch->length = 0;
  tg_buf_append(r->scratch, from, (size_t)(r->at - from));
  tg_buf_append(r->scratch, "", 1);
  double number = strtod(r->scratch->data, NULL);
  if (isinf(number)) {
    r->at = from;
    return fail(r, "a number is too large (1.8e308 is the largest)");
  }
  lua_pushnumber(r->L, number);
  return true;
}

static bool number(struct reader *r)
{
  const char *from = r->at;
  bool negative = one_of(r, "-");
  const char *first = r->at;
  if (r->at == r->end || *r->at < '0' || *r->at > '9')
    return fail(r, negative ? "a number lacks a digit" : "expected a value");
  digits(r);
  size_t count = (size_t)(r->at - first);
  if (*first == '0' && count > 1) {
    r->at = first;
    return fail(r, "a number begins with 0");
  }
  bool whole = true;
  if (one_of(r, ".")) {
    whole = false;
    if (!digits(r))
      return false;
  }
  if (one_of(r, "eE")) {
    whole = false;
    one_of(r, "+-");
    if (!digits(r))
      return false;
  }
  if (!whole || count > 16)
    return real(r, from);
  int64_t integer = 0;
  for (const char *at = first; at < r->at; at++)
    integer = integer * 10 + (*at - '0');
  lua_pushnumber(r->L, (lua_Number)(negative ? -integer : integer));
  return true;
}

/* [-0, +1] */
static void push_table(struct reader *r, enum tg_json_mark mark, int elements, int members)
{
  lua_createtable(r->L, elements, members);
  lua_pushvalue(r->L, r->marks + mark);
  lua_setmetatable(r->L, -2);
}

static bool array(struct reader *r)
{
  enum { SOME = 2 }; /* room for the first ones at once */
  r->at++;
  skip_space(r);
  if (r->at < r->end && *r->at == ']') {
    push_table(r, TG_JSON_ARRAY, 0, 0);
    r->at++;
    return true;
  }
  push_table(r, TG_JSON_ARRAY, SOME, 0);
  for (int i = 1;; i++) {
    if (!value(r))
      return false;
    lua_rawseti(r->L, -2, i);
    skip_space(r);
    if (r->at == r->end || (*r->at != ',' && *r->at != ']'))
      return fail(r, "expected , or ] in an array");
    if (*r->at++ == ']')
      return true;
  }
}

static bool key(struct reader *r)
{
  skip_space(r);
  if (r->at == r->end || *r->at != '"')
    return fail(r, "expected a key in an object");
  return string(r);
}

/* Objects that begin with the same key mostly have as many. */
static struct tg_json_size *size_of(const struct reader *r, const char *first)
{
  return &r->sizes[(uintptr_t)first / 16 % TG_JSON_SIZES];
}

static bool object(struct reader *r)
{
  enum { MOST = 64 };
  r->at++;
  skip_space(r);
  if (r->at < r->end && *r->at == '}') {
    push_table(r, TG_JSON_OBJECT, 0, 0);
    r->at++;
    return true;
  }
  if (!key(r))
    return false;
  const char *first = lua_tostring(r->L, -1);
  struct tg_json_size *size = size_of(r, first);
  push_table(r, TG_JSON_OBJECT, 0, size->first == first ? size->members : 0);
  lua_insert(r->L, -2);
  for (int members = 1;; members++) {
    skip_space(r);
    if (r->at == r->end || *r->at != ':')
      return fail(r, "expected : behind a key");
    r->at++;
    if (!value(r))
      return false;
    lua_rawset(r->L, -3);
    skip_space(r);
    if (r->at == r->end || (*r->at != ',' && *r->at != '}'))
      return fail(r, "expected , or } in an object");
    if (*r->at++ == '}') {
      *size = (struct tg_json_size){first, members < MOST ? members : MOST};
      return true;
    }
    if (!key(r))
      return false;
  }
}

static bool literal(struct reader *r, const char *word)
{
  size_t length = strlen(word);
  if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
    return fail(r, "expected a value");
  r->at += length;
  return true;
}

static bool nested(struct reader *r, bool (*read)(struct reader *r))
{
  if (++r->depth > TG_JSON_DEPTH)
    return fail(r, "nested too deeply");
  luaL_checkstack(r->L, 4, "JSON nested too deeply");
  bool ok = read(r);
  r->depth--;
  return ok;
}

static bool value(struct reader *r)
{
  skip_space(r);
  if (r->at == r->end)
    return fail(r, "the text ends too early");
  switch (*r->at) {
  case '{':
    return nested(r, object);
  case '[':
    return nested(r, array);
  case '"':
    return string(r);
  case 't':
    lua_pushboolean(r->L, 1);
    return literal(r, "true");
  case 'f':
    lua_pushboolean(r->L, 0);
    return literal(r, "false");
  case 'n':
    lua_pushlightuserdata(r->L, NULL);
    return literal(r, "null");
  default:
    return number(r);
  }
}

bool tg_json_decode(lua_State *L, const char *text, size_t length, const char **problem, size_t *offset)
{
  int top = lua_gettop(L);
  luaL_checkstack(L, 8, "JSON");
  for (int mark = 0; mark < TG_JSON_MARKS; mark++)
    tg_json_push_mark(L, (enum tg_json_mark)mark);
  struct reader r = {.L = L, .start = text, .at = text, .end = text + length, .marks = top + 1};
  r.scratch = &tg_state_of(L)->scratch;
  r.sizes = tg_state_of(L)->json_sizes;
  bool ok = value(&r);
  if (ok) {
    skip_space(&r);
    if (r.at != r.end)
      ok = fail(&r, "something stands behind the value");
  }
  if (!ok) {
    lua_settop(L, top);
    *problem = r.problem;
    *offset = (size_t)(r.at - r.start);
    return false;
  }
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
  return true;
}
