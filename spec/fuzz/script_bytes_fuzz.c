/* hex, base64 and base64url of gateway.crypto: any bytes go there and back, any text
 * is refused with words or is bytes whose text is read again as these. */

#include "fuzz.h"

#include "script/vm/state.h"

#include <lauxlib.h>
#include <lualib.h>

static void *allocate(void *ctx, void *memory, size_t old_size, size_t new_size)
{
  (void)ctx, (void)old_size;
  if (new_size > 0)
    return realloc(memory, new_size);
  free(memory);
  return NULL;
}

struct input {
  const char *bytes;
  size_t length;
};

/* [-1, +2] What gateway.crypto.<coding>.<function> makes of the string on top. */
static void call(lua_State *L, const char *coding, const char *function)
{
  lua_getglobal(L, "crypto");
  lua_getfield(L, -1, coding);
  lua_getfield(L, -1, function);
  lua_insert(L, -4);
  lua_pop(L, 2);
  lua_call(L, 1, 2);
}

static int check(lua_State *L)
{
  static const char *const codings[] = {"hex", "base64", "base64url"};
  const struct input *input = lua_touserdata(L, 1);
  lua_newtable(L);
  tg_bind_crypto(L);
  lua_getfield(L, -1, "crypto");
  lua_setglobal(L, "crypto");
  for (size_t i = 0; i < sizeof codings / sizeof *codings; i++) {
    lua_settop(L, 1);
    lua_pushlstring(L, input->bytes, input->length);
    lua_pushvalue(L, -1);
    call(L, codings[i], "encode");
    lua_settop(L, 3);
    call(L, codings[i], "decode");
    require(lua_rawequal(L, 2, 3));
    lua_settop(L, 2); /* and now as if it were such a text */
    call(L, codings[i], "decode");
    if (lua_isnil(L, 2)) {
      lua_getfield(L, 3, "message");
      require(lua_isstring(L, -1));
      continue;
    }
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    call(L, codings[i], "encode");
    lua_settop(L, 3);
    call(L, codings[i], "decode");
    require(lua_rawequal(L, 2, 3));
  }
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  struct tg_state state = {0};
  lua_State *L = lua_newstate(allocate, &state);
  tg_open_failures(L);
  lua_settop(L, 0);
  char *text = fuzz_text(bytes, length);
  struct input input = {text, length};
  require(lua_cpcall(L, check, &input) == 0);
  lua_close(L);
  tg_buf_free(&state.out);
  free(text);
  return 0;
}
