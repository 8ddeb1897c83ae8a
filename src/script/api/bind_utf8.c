/* gateway.utf8: texts that have to be cut somewhere. */

#include "script/vm/state.h"

#include "base/utf8.h"

#include <lauxlib.h>

/* cut(text, bytes) -> the longest beginning of at most so many bytes that does not
 * end inside of a character */
static int l_cut(lua_State *L)
{
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  lua_Number bytes = luaL_checknumber(L, 2);
  tg_state_of(L);
  luaL_argcheck(L, bytes >= 0, 2, "expected a number of bytes (0 or more)");
  size_t most = bytes < (lua_Number)length ? (size_t)bytes : length;
  lua_pushlstring(L, text, tg_utf8_cut(text, length, most));
  return 1;
}

/* valid(text) -> whether it is UTF-8 from beginning to end */
static int l_valid(lua_State *L)
{
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  tg_state_of(L);
  lua_pushboolean(L, tg_utf8_valid(text, length) == length);
  return 1;
}

void tg_bind_utf8(lua_State *L)
{
  static const luaL_Reg functions[] = {{"cut", l_cut}, {"valid", l_valid}, {0}};
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  lua_setfield(L, -2, "utf8");
}
