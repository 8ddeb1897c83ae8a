#include "script/test_host.h"

#include "base/error.h"
#include "script/embedded.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <string.h>

/* --ignore-lua: a .busted that names an interpreter would start that one, and
 * this is the interpreter that has the embedded modules. */
static const char runner[] =
    "local ok, run = pcall(require, 'busted.runner')\n"
    "if not ok then\n"
    "  io.stderr:write('tidegate test needs busted (Debian: lua-busted): ',\n"
    "    tostring(run):match('[^\\n]*'), '\\n')\n"
    "  os.exit(1)\n"
    "end\n"
    "run({ standalone = false })\n";

static int load_embedded(lua_State *L)
{
  const struct tg_embedded_module *module = lua_touserdata(L, lua_upvalueindex(1));
  if (luaL_loadbuffer(L, module->source, module->size, module->chunk_name) != 0)
    return lua_error(L);
  lua_call(L, 0, 1);
  return 1;
}

static void offer_embedded(lua_State *L)
{
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  for (const struct tg_embedded_module *module = tg_embedded_modules; module->name; module++) {
    lua_pushlightuserdata(L, (void *)module);
    lua_pushcclosure(L, load_embedded, 1);
    lua_setfield(L, -2, module->name);
  }
  lua_pop(L, 2);
}

static void set_arguments(lua_State *L, int count, const char *const *paths)
{
  lua_createtable(L, count + 1, 1);
  lua_pushliteral(L, "tidegate test");
  lua_rawseti(L, -2, 0);
  lua_pushliteral(L, "--ignore-lua");
  lua_rawseti(L, -2, 1);
  for (int i = 0; i < count; i++) {
    lua_pushstring(L, paths[i]);
    lua_rawseti(L, -2, i + 2);
  }
  lua_setglobal(L, "arg");
}

int tg_script_test(int count, const char *const *paths)
{
  lua_State *L = luaL_newstate();
  if (!L)
    return TG_EXIT_FAILED;
  luaL_openlibs(L);
  offer_embedded(L);
  set_arguments(L, count, paths);
  int exit_code = TG_EXIT_OK;
  if (luaL_loadbuffer(L, runner, strlen(runner), "=tidegate test") != 0 || lua_pcall(L, 0, 0, 0) != 0) {
    fprintf(stderr, "tidegate test: %s\n", lua_tostring(L, -1));
    exit_code = TG_EXIT_FAILED;
  }
  lua_close(L);
  return exit_code;
}
