/* The JSON of scripts: what gateway.json.decode reads is what a JSON reader
 * reads; it refuses what is none, with a place inside of the text; and what
 * gateway.json.encode writes is UTF-8 and reads as the same value.
 *
 * With an odd first byte the text is that of a Lua string in a table instead:
 * any bytes go out as good text. */

#include "fuzz.h"

#include "base/utf8.h"
#include "script/api/json.h"
#include "script/vm/state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <math.h>

static void *allocate(void *ctx, void *memory, size_t old_size, size_t new_size)
{
  (void)ctx, (void)old_size;
  if (new_size > 0)
    return realloc(memory, new_size);
  free(memory);
  return NULL;
}

struct input {
  const char *text;
  size_t length;
};

static json_t *encode(lua_State *L, int index)
{
  struct tg_buf *out = &tg_state_of(L)->out;
  const char *problem = NULL;
  out->length = 0;
  require(tg_json_encode(L, index, out, &problem));
  require(tg_utf8_valid(out->data, out->length) == out->length);
  json_t *json = json_loadb(out->data, out->length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  return json;
}

/* Numbers as doubles, in which Lua has them. */
static bool same(const json_t *a, const json_t *b)
{
  const char *key;
  json_t *value;
  if (json_is_number(a) && json_is_number(b))
    return json_number_value(a) == json_number_value(b);
  if (json_typeof(a) != json_typeof(b))
    return false;
  if (json_is_array(a)) {
    bool equal = json_array_size(a) == json_array_size(b);
    for (size_t i = 0; equal && i < json_array_size(a); i++)
      equal = same(json_array_get(a, i), json_array_get(b, i));
    return equal;
  }
  if (!json_is_object(a))
    return json_equal(a, b);
  bool equal = json_object_size(a) == json_object_size(b);
  json_object_foreach((json_t *)(uintptr_t)a, key, value) equal =
      equal && json_object_get(b, key) && same(value, json_object_get(b, key));
  return equal;
}

/* jansson has bounds of its own: NUL in keys, halves of surrogate pairs, whole
 * numbers beyond 64 bits, 2048 levels, bytes that are not UTF-8. What it does
 * read is read here, and is the same. */
static int check_text(lua_State *L)
{
  const struct input *input = lua_touserdata(L, 1);
  const char *problem = NULL;
  size_t offset = 0;
  int top = lua_gettop(L);
  json_t *expected = input->length == 0 || memchr(input->text, '\0', input->length)
                         ? NULL
                         : json_loadb(input->text, input->length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  if (!tg_json_decode(L, input->text, input->length, &problem, &offset)) {
    require(problem && offset <= input->length && lua_gettop(L) == top);
    require(!expected || strcmp(problem, "nested too deeply") == 0);
    json_decref(expected);
    return 0;
  }
  require(lua_gettop(L) == top + 1);
  json_t *written = encode(L, -1);
  require(!expected || (written && same(expected, written)));
  json_decref(expected);
  if (written) { /* and over jansson, as configurations and payloads go */
    tg_json_push(L, written);
    json_t *again = encode(L, -1);
    require(json_equal(written, again));
    json_decref(again);
    json_decref(written);
  }
  return 0;
}

static int check_string(lua_State *L)
{
  const struct input *input = lua_touserdata(L, 1);
  const char *problem = NULL;
  lua_newtable(L);
  lua_pushlstring(L, input->text, input->length);
  lua_pushlstring(L, input->text, input->length);
  lua_rawset(L, -3);
  lua_pushlstring(L, input->text, input->length);
  lua_rawseti(L, -2, input->length % 2 ? 1 : 7);
  json_t *written = encode(L, -1);
  json_t *taken = tg_json_take(L, -1, &problem);
  require(written ? json_equal(written, taken) : !taken && problem);
  json_decref(written);
  json_decref(taken);

  if (input->length == 0)
    return 0;
  struct tg_buf mended = {0};
  bool good = tg_utf8_mend(&mended, input->text, input->length) == 0;
  require(good == (tg_utf8_valid(input->text, input->length) == input->length));
  require(tg_utf8_valid(mended.data, mended.length) == mended.length);
  for (size_t most = 0; most <= mended.length && most < 16; most++) {
    size_t cut = tg_utf8_cut(mended.data, mended.length, most);
    require(cut <= most && most - cut < 4 && tg_utf8_valid(mended.data, cut) == cut);
  }
  tg_buf_free(&mended);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  if (length < 1)
    return 0;
  /* A new one each time: what one keeps for the next input counts as a leak at first. */
  struct tg_state state = {0};
  lua_State *L = lua_newstate(allocate, &state);
  tg_json_open(L);
  char *text = fuzz_text(bytes + 1, length - 1);
  struct input input = {text, length - 1};
  require(lua_cpcall(L, bytes[0] & 1 ? check_string : check_text, &input) == 0);
  lua_close(L);
  tg_buf_free(&state.scratch);
  tg_buf_free(&state.out);
  free(text);
  return 0;
}
