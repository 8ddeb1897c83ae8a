/* The table that the Lua half builds `gateway` from: configure, log, roles, and
 * what the other bind_*.c add. */

#include "script/api/json.h"
#include "script/vm/sched.h"
#include "script/vm/watchdog.h"

#include "base/suggest.h"
#include "config/environment.h"

#include <errno.h>
#include <luajit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- configuration ---- */

bool tg_state_take_config(struct tg_state *state, const json_t *given, struct tg_config *config,
                          struct tg_problems *problems)
{
  json_t *filled = tg_secrets_fill(given), *plugins = json_object_get(given, "plugins");
  if (plugins)
    json_object_set(filled, "plugins", plugins); /* they are scripts: what they are given stays veiled */
  bool good = tg_config_load(filled, tg_environment, config, problems);
  json_decref(filled);
  if (!good)
    return false;
  state->config = config;
  tg_memory_set_limit(state, config->script.memory);
  struct tg_strings secrets = tg_config_secrets(config);
  for (int i = 0; i < secrets.count; i++)
    tg_log_secret(secrets.items[i]);
  tg_strings_free(&secrets);
  return true;
}

/* core.configure(table) -> nil, or the text of all that is wrong with it */
static int l_configure(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (state->phase != TG_STATE_LOADING) {
    lua_pushliteral(L,
                    "it belongs to the top level of the script: once loaded, the configuration is settled");
    return 1;
  }
  if (state->config) {
    lua_pushliteral(L, "it was called before; a script configures once");
    state->configure_failed = true;
    return 1;
  }
  json_t **box = tg_push_json_box(L);
  const char *problem;
  *box = tg_json_take(L, 1, &problem);
  if (!*box) {
    state->configure_failed = true;
    lua_pushfstring(L, "the table contains %s", problem);
    return 1;
  }
  struct tg_problems problems = {0};
  struct tg_config *config = tg_calloc(1, sizeof *config);
  if (tg_state_take_config(state, *box, config, &problems)) {
    tg_problems_free(&problems);
    state->configured = true;
    state->given = json_incref(*box);
    tg_watchdog_set_budget(config->script.load_budget); /* of the load that goes on now */
    tg_state_set_paths(L, state->script->path, &config->rocks_trees);
    return 0;
  }
  free(config);
  state->configure_failed = true;
  struct tg_buf *out = &state->out;
  out->length = 0;
  for (int i = 0; i < problems.count; i++)
    tg_buf_printf(out, "%s%s", i > 0 ? "\n" : "", problems.items[i]);
  tg_problems_free(&problems);
  lua_pushlstring(L, out->data, out->length);
  return 1;
}

/* core.config() -> a table, or nil while there is none */
static int l_config(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  if (!state->config)
    return 0;
  json_t **box = tg_push_json_box(L);
  *box = tg_config_for_scripts(state->config);
  tg_json_push(L, *box);
  return 1;
}

/* core.rocks_trees() -> the directories, the first one first */
static int l_rocks_trees(lua_State *L)
{
  const struct tg_config *config = tg_state_config(tg_state_of(L));
  struct tg_strings own = {0};
  if (!config)
    own = tg_config_rocks_trees(tg_environment);
  const struct tg_strings *trees = config ? &config->rocks_trees : &own;
  lua_createtable(L, trees->count, 0);
  for (int i = 0; i < trees->count; i++) {
    lua_pushstring(L, trees->items[i]);
    lua_rawseti(L, -2, i + 1);
  }
  tg_strings_free(&own);
  return 1;
}

/* A retired state has given its configuration away: to a fresh one of its
 * generation, or to be kept. */
const struct tg_config *tg_state_config(const struct tg_state *state)
{
  const struct tg_script *script = state->script;
  if (state->config || !script->state)
    return state->config;
  return script->state->generation == state->generation ? script->state->config : script->previous_config;
}

/* ---- files ---- */

/* Also of directories and the like, which have no size that means anything. */
static bool is_larger(const char *path, lua_Number most)
{
  struct stat info;
  return stat(path, &info) == 0 && (!S_ISREG(info.st_mode) || (lua_Number)info.st_size > most);
}

/* core.read_source(path[, most bytes]) -> text; or nil, why, errno. While the
 * script loads, the text is that of its generation. */
static int l_read_source(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  const char *path = luaL_checkstring(L, 1);
  bool loading = state->phase == TG_STATE_LOADING;
  bool known = loading && tg_sources_find(&state->sources, path);
  if (!known && lua_isnumber(L, 2) && is_larger(path, lua_tonumber(L, 2))) {
    lua_pushnil(L);
    lua_pushfstring(L, "%s is no file of at most %d bytes", path, (int)lua_tonumber(L, 2));
    lua_pushinteger(L, EFBIG);
    return 3;
  }
  struct tg_sources own = {0};
  const struct tg_source *source = tg_sources_read(loading ? &state->sources : &own, path);
  if (!source) {
    int why = errno;
    lua_pushnil(L);
    lua_pushfstring(L, "cannot open %s: %s", path, strerror(why));
    lua_pushinteger(L, why);
    return 3;
  }
  if (loading) {
    lua_pushlstring(L, source->bytes, source->length);
    return 1;
  }
  state->out.length = 0; /* what the state owns is not lost when Lua raises */
  tg_buf_append(&state->out, source->bytes, source->length);
  tg_sources_free(&own);
  lua_pushlstring(L, state->out.length > 0 ? state->out.data : "", state->out.length);
  return 1;
}

/* core.has_source(path): whether the generation has it, whatever is on disk */
static int l_has_source(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  const char *path = luaL_checkstring(L, 1);
  lua_pushboolean(L, state->phase == TG_STATE_LOADING && tg_sources_find(&state->sources, path));
  return 1;
}

/* ---- coroutines ---- */

/* coroutine.yield(...): a coroutine of the host has nobody to yield to. */
static int l_yield(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  if (state->running && state->running->L == L)
    return luaL_error(L, "coroutine.yield outside of a coroutine of the script's own; to wait, "
                         "use gateway.sleep");
  return lua_yield(L, lua_gettop(L));
}

/* core.pass(token): the way of a host's wait through a coroutine of the
 * script's. Raises when the next one outward cannot yield. */
static int l_pass(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  if (!lua_isyieldable(L))
    return luaL_error(L, "a coroutine waits, which is impossible where it was resumed: inside %s",
                      state->what ? state->what : "a function that C calls");
  lua_settop(L, 1);
  return lua_yield(L, 1);
}

/* core.jit(on): what jit.on() and jit.off() without a function ask for. It
 * holds from the end of loading; a manager is never compiled. */
static int l_jit(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  state->compiled = lua_toboolean(L, 1) && state->script->role == TG_ROLE_WORKER;
  if (state->phase != TG_STATE_LOADING)
    luaJIT_setmode(state->L, 0, LUAJIT_MODE_ENGINE | (state->compiled ? LUAJIT_MODE_ON : LUAJIT_MODE_OFF));
  return 0;
}

static int l_failure(lua_State *L)
{
  return tg_push_failure(L, luaL_checkstring(L, 1), "%s", luaL_checkstring(L, 2));
}

/* core.suggest(word, names) -> the one that was meant, or nil */
static int l_suggest(lua_State *L)
{
  tg_state_of(L);
  const char *word = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  int count = (int)lua_objlen(L, 2), taken = 0;
  const char **names = lua_newuserdata(L, ((size_t)count + 1) * sizeof *names);
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, i);
    if (lua_type(L, -1) == LUA_TSTRING)
      names[taken++] = lua_tostring(L, -1); /* kept alive by the list */
    lua_pop(L, 1);
  }
  lua_pushstring(L, tg_suggest(word, names, (size_t)taken));
  return 1;
}

/* core.now() -> the wall clock and the monotonic one, ms */
static int l_now(lua_State *L)
{
  tg_state_of(L);
  lua_pushnumber(L, (lua_Number)tg_wall_clock());
  lua_pushnumber(L, (lua_Number)tg_now());
  return 2;
}

/* core.clock() -> ms since the start of a test; only there when time stands still */
static int l_clock(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)tg_script_now(tg_state_of(L)->script));
  return 1;
}

/* [-0, +1] Its keys may be collected. */
static void push_weak_table(lua_State *L)
{
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
}

static void set_text(lua_State *L, const char *key, const char *text)
{
  lua_pushstring(L, text);
  lua_setfield(L, -2, key);
}

int tg_open_core(lua_State *L)
{
  static const luaL_Reg functions[] = {{"configure", l_configure},
                                       {"config", l_config},
                                       {"rocks_trees", l_rocks_trees},
                                       {"read_source", l_read_source},
                                       {"has_source", l_has_source},
                                       {"yield", l_yield},
                                       {"pass", l_pass},
                                       {"failure", l_failure},
                                       {"suggest", l_suggest},
                                       {"jit", l_jit},
                                       {"now", l_now},
                                       {"traceback", tg_debug_traceback},
                                       {0}};
  struct tg_state *state = tg_state_of(L);
  struct tg_script *script = state->script;
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  set_text(L, "version", TG_VERSION);
  set_text(L, "role", script->role == TG_ROLE_MANAGER ? "manager" : "worker");
  if (script->path)
    set_text(L, "script", script->path);
  if (script->role == TG_ROLE_WORKER) {
    lua_pushinteger(L, script->worker_id);
    lua_setfield(L, -2, "worker_id");
  }
  if (script->clock) {
    lua_pushcfunction(L, l_clock);
    lua_setfield(L, -2, "clock");
  }
  lua_pushlightuserdata(L, tg_wait_token);
  lua_setfield(L, -2, "token");
  push_weak_table(L);
  lua_pushvalue(L, -1);
  state->ref_coroutines = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_setfield(L, -2, "coroutines");
  tg_bind_json(L);
  lua_setfield(L, -2, "json");
  lua_newtable(L);
  lua_pushvalue(L, -1);
  state->ref_state_table = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_setfield(L, -2, "state");
  for (int table = 0; table < TG_TABLE_COUNT; table++) {
    tg_bind_methods(L, state, table);
    lua_setfield(L, -2, tg_table_names[table]);
  }
  tg_bind_default(L, state);
  lua_setfield(L, -2, "default");
  tg_bind_subscribe(L, state);
  tg_bind_sinks(L);
  tg_bind_timers(L);
  tg_bind_broadcast(L);
  tg_bind_storm(L);
  tg_bind_http(L);
  tg_bind_secrets(L);
  tg_bind_metrics(L);
  tg_bind_log(L);
  tg_bind_utf8(L);
  tg_bind_crypto(L);
  tg_bind_plugin(L);
  tg_bind_route(L);
  return 1;
}
