/* Which Lua this is, asked of itself: the library that is loaded may be another one than at the build. */

#include "script/script.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

static void take(lua_State *L, const char *code, char *text, size_t size)
{
  *text = '\0';
  if (luaL_dostring(L, code) == 0 && lua_isstring(L, -1))
    snprintf(text, size, "%s", lua_tostring(L, -1));
  lua_settop(L, 0);
}

struct tg_script_versions tg_script_versions(void)
{
  struct tg_script_versions versions = {.luajit = ""};
  lua_State *L = luaL_newstate();
  if (!L)
    return versions;
  luaL_openlibs(L);
  take(L, "return (jit.version:gsub('^LuaJIT ', ''))", versions.luajit, sizeof versions.luajit);
  take(L, "return require('cjson')._VERSION or 'unknown'", versions.cjson, sizeof versions.cjson);
  lua_close(L);
  return versions;
}
