#include "script/test_kit/test_host.h"

#include "script/api/json.h"
#include "script/embedded.h"
#include "script/test_kit/test_kit.h"

#include "base/error.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --ignore-lua: a .busted that names an interpreter would start that one, and
 * this is the interpreter that has the embedded modules. */
static const char runner[] = "local ok, run = pcall(require, 'busted.runner')\n"
                             "if not ok then\n"
                             "  io.stderr:write('tidegate test needs busted (Debian: lua-busted): ',\n"
                             "    tostring(run):match('[^\\n]*'), '\\n')\n"
                             "  os.exit(1)\n"
                             "end\n"
                             "run({ standalone = false })\n";

static int load_embedded(lua_State *L)
{
  tg_state_of(L);
  const struct tg_embedded_module *module = lua_touserdata(L, lua_upvalueindex(1));
  if (luaL_loadbuffer(L, module->source, module->size, module->chunk_name) != 0)
    return lua_error(L);
  lua_call(L, 0, 1);
  return 1;
}

static int refuse_gateway(lua_State *L)
{
  return luaL_error(
      L, "there is no gateway in a spec; load the script with require(\"tidegate.test\").load(path)");
}

/* Of the modules only the kit: the others belong to scripts. */
static void offer_kit(lua_State *L)
{
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  for (const struct tg_embedded_module *module = tg_embedded_modules; module->name; module++) {
    if (strcmp(module->name, "tidegate.test") != 0)
      continue;
    lua_pushlightuserdata(L, (void *)module);
    lua_pushcclosure(L, load_embedded, 1);
    lua_setfield(L, -2, module->name);
  }
  lua_pushcfunction(L, tg_open_test_kit);
  lua_setfield(L, -2, "tidegate.test.host");
  lua_pushcfunction(L, refuse_gateway);
  lua_setfield(L, -2, "tidegate");
  lua_pop(L, 2);
}

static void set_arguments(lua_State *L, int count, const char *const *words)
{
  lua_createtable(L, count + 1, 1);
  lua_pushliteral(L, "tidegate test");
  lua_rawseti(L, -2, 0);
  lua_pushliteral(L, "--ignore-lua");
  lua_rawseti(L, -2, 1);
  for (int i = 0; i < count; i++) {
    lua_pushstring(L, words[i]);
    lua_rawseti(L, -2, i + 2);
  }
  lua_setglobal(L, "arg");
}

/* No limit; as in scripts, the state behind the lua_State is the context. */
static void *allocate(void *ctx, void *memory, size_t old_size, size_t new_size)
{
  (void)ctx, (void)old_size;
  if (new_size > 0)
    return realloc(memory, new_size);
  free(memory);
  return NULL;
}

/* The specs' own lua_State lends the buffers of JSON from a state like those of
 * scripts; nothing else of it is used. */
int tg_script_test(int count, const char *const *words)
{
  struct tg_state state = {0};
  lua_State *L = lua_newstate(allocate, &state);
  if (!L)
    return TG_EXIT_FAILED;
  luaL_openlibs(L);
  tg_json_open(L);
  tg_open_failures(L);
  offer_kit(L);
  set_arguments(L, count, words);
  int exit_code = TG_EXIT_OK;
  if (luaL_loadbuffer(L, runner, strlen(runner), "=tidegate test") != 0 || lua_pcall(L, 0, 0, 0) != 0) {
    fprintf(stderr, "tidegate test: %s\n", lua_tostring(L, -1));
    exit_code = TG_EXIT_FAILED;
  }
  lua_close(L);
  tg_buf_free(&state.scratch);
  tg_buf_free(&state.out);
  return exit_code;
}
