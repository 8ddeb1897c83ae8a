/* One generation: its lua_State, memory, libraries, search paths. */

#include "script/vm/state.h"

#include "script/api/json.h"
#include "script/embedded.h"
#include "script/vm/sched.h"

#include "config/environment.h"

#include <glob.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_BEFORE_CONFIGURE = 64 * 1024 * 1024 };

/* A module of the Lua half. */
static int l_load_embedded(lua_State *L)
{
  tg_state_of(L);
  const struct tg_embedded_module *module = lua_touserdata(L, lua_upvalueindex(1));
  if (luaL_loadbuffer(L, module->source, module->size, module->chunk_name) != 0)
    return lua_error(L);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return 1;
}

static void preload(lua_State *L)
{
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "preload");
  for (const struct tg_embedded_module *module = tg_embedded_modules; module->name; module++) {
    lua_pushlightuserdata(L, (void *)module);
    lua_pushcclosure(L, l_load_embedded, 1);
    lua_setfield(L, -2, module->name);
  }
  lua_pushcfunction(L, tg_open_core);
  lua_setfield(L, -2, "tidegate.core");
  lua_pop(L, 2);
}

static int open_state(lua_State *L, void *ctx)
{
  struct tg_state *state = ctx;
  luaL_openlibs(L); /* turns the compiler on */
  /* Nothing compiled can be interrupted: loading is always interpreted. */
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
  tg_json_open(L);
  tg_open_failures(L);
  tg_open_event(L, state);
  tg_open_shard(L, state);
  tg_open_queue(L, state);
  lua_newtable(L);
  state->ref_results = luaL_ref(L, LUA_REGISTRYINDEX);
  /* gateway.configure comes after the first require. */
  struct tg_strings trees = tg_config_rocks_trees(tg_environment);
  tg_state_set_paths(L, state->script->path, &trees);
  tg_strings_free(&trees);
  preload(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "tidegate");
  lua_call(L, 1, 1);
  state->ref_gateway = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

struct tg_state *tg_state_new(struct tg_script *script, int generation, char **problem)
{
  struct tg_state *state = tg_calloc(1, sizeof *state);
  state->script = script;
  state->generation = generation;
  state->phase = TG_STATE_LOADING;
  state->last_job = &state->jobs;
  state->shard_id = TG_NO_SHARD;
  state->compiled = script->role == TG_ROLE_WORKER;
  tg_memory_init(state, MEMORY_BEFORE_CONFIGURE);
  for (int i = 0; i < TG_METHOD_COUNT; i++)
    state->override[i].ref = LUA_NOREF;
  for (int i = 0; i < TG_TABLE_COUNT; i++)
    state->ref_natives[i] = LUA_NOREF;
  state->ref_state_base = LUA_NOREF;
  state->ref_rebase = LUA_NOREF;
  state->spare_ref = LUA_NOREF;
  state->L = state->now = lua_newstate(tg_memory_allocate, state);
  if (!state->L) {
    tg_blocks_free(&state->memory.blocks);
    free(state);
    *problem = tg_strdup("cannot make a Lua state: this LuaJIT is not built for 64-bit memory (GC64)");
    return NULL;
  }
  lua_pushcfunction(state->L, tg_traceback); /* TG_STACK_TRACEBACK */
  lua_pushvalue(state->L, -1);
  state->ref_traceback = luaL_ref(state->L, LUA_REGISTRYINDEX);
  lua_pushcfunction(state->L, tg_trampoline); /* TG_STACK_TRAMPOLINE */
  lua_pushvalue(state->L, -1);
  state->ref_trampoline = luaL_ref(state->L, LUA_REGISTRYINDEX);
  if (!tg_protect(state, "starting", TG_BUDGET_HOST, open_state, state)) {
    *problem = tg_strdup(state->error);
    tg_state_free(state);
    return NULL;
  }
  return state;
}

static void forget_all(struct tg_state *state)
{
  tg_threads_drop(state);
  tg_timers_close(state);
  tg_subscriptions_free(state);
  tg_routes_free(state);
}

/* [-1, +0] */
static void clear_table(lua_State *L)
{
  for (lua_pushnil(L); lua_next(L, -2);) {
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushnil(L);
    lua_rawset(L, -4);
  }
  lua_pop(L, 1);
}

/* Everything by which the script's values are reached. What finalizers may
 * still use of ours stays where it is. */
static int drop_roots(lua_State *L, void *ctx)
{
  const struct tg_state *state = ctx;
  for (lua_pushnil(L); lua_next(L, LUA_REGISTRYINDEX); lua_pop(L, 1)) {
    int key = lua_type(L, -2) == LUA_TNUMBER ? (int)lua_tointeger(L, -2) : 0;
    if (key <= 0 || !lua_isfunction(L, -1) || key == state->ref_traceback || key == state->ref_trampoline)
      continue;
    lua_pushnil(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, key);
  }
  for (int i = 0; i < TG_TABLE_COUNT; i++) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_methods[i]);
    clear_table(L);
  }
  const int refs[] = {state->ref_results, state->ref_state_table};
  for (size_t i = 0; i < sizeof refs / sizeof *refs; i++) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, refs[i]);
    clear_table(L);
  }
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  clear_table(L);
  lua_pushvalue(L, LUA_GLOBALSINDEX);
  clear_table(L);
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_FLUSH);
  return 0;
}

void tg_state_empty(struct tg_state *state)
{
  struct tg_memory *memory = &state->memory;
  state->emptied = true;
  forget_all(state);
  tg_protect(state, NULL, TG_BUDGET_HOST, drop_roots, state);
  memory->at_limit = false;
  memory->cycles = 2; /* one may be under way */
}

void tg_state_free(struct tg_state *state)
{
  if (!state)
    return;
  state->phase = TG_STATE_RETIRED;
  forget_all(state);
  tg_alarm_free(state->deadline);
  tg_memory_free(state);
  lua_close(state->L);
  tg_blocks_free(&state->memory.blocks);
  if (state->config) {
    tg_config_free(state->config);
    free(state->config);
  }
  json_decref(state->given);
  tg_buf_free(&state->scratch);
  tg_buf_free(&state->out);
  tg_sources_free(&state->sources);
  free(state->error);
  free(state);
}

/* ---- search paths ---- */

static void add_directory(struct tg_buf *path, const char *directory, int length, const char *const *patterns)
{
  for (; *patterns; patterns++)
    tg_buf_printf(path, "%s%.*s/%s", path->length > 0 ? ";" : "", length, directory, *patterns);
}

static void set_field(lua_State *L, const char *field, struct tg_buf *value)
{
  lua_getglobal(L, "package");
  lua_pushlstring(L, value->data ? value->data : "", value->length);
  lua_setfield(L, -2, field);
  lua_pop(L, 1);
  tg_buf_free(value);
}

void tg_state_set_paths(lua_State *L, const char *script_path, const struct tg_strings *rocks_trees)
{
  static const char *const lua_files[] = {"?.lua", "?/init.lua", NULL};
  static const char *const tree_files[] = {"share/lua/5.1/?.lua", "share/lua/5.1/?/init.lua", NULL};
  static const char *const modules[] = {"?.so", NULL}, *const tree_modules[] = {"lib/lua/5.1/?.so", NULL};
  struct tg_buf path = {0}, cpath = {0};
  if (script_path) {
    const char *slash = strrchr(script_path, '/'), *directory = slash ? script_path : ".";
    int length = slash ? (int)(slash - script_path) : 1;
    add_directory(&path, directory, length, lua_files);
    add_directory(&cpath, directory, length, modules);
  }
  bool has_usr = false;
  for (int i = 0; rocks_trees && i < rocks_trees->count; i++) {
    const char *tree = rocks_trees->items[i];
    has_usr = has_usr || strcmp(tree, "/usr") == 0;
    add_directory(&path, tree, (int)strlen(tree), tree_files);
    add_directory(&cpath, tree, (int)strlen(tree), tree_modules);
  }
  if (!has_usr) /* Debian's packages lua-* */
    add_directory(&path, "/usr", strlen("/usr"), tree_files);
  glob_t found;
  if (glob("/usr/lib/" TG_MULTIARCH "/lua/5.1", GLOB_ONLYDIR, NULL, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc; i++)
      add_directory(&cpath, found.gl_pathv[i], (int)strlen(found.gl_pathv[i]), modules);
    globfree(&found);
  }
  set_field(L, "path", &path);
  set_field(L, "cpath", &cpath);
}

/* ---- loading ---- */

struct loading {
  struct tg_state *state;
  char *problem; /* the file cannot be read, or is not Lua */
};

static int run_script(lua_State *L, void *ctx)
{
  struct loading *loading = ctx;
  loading->state->memory.owner = TG_OWNER_LOAD;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "tidegate.loader");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "run");
  lua_pushstring(L, loading->state->script->path);
  lua_call(L, 1, 1);
  if (lua_isstring(L, -1))
    loading->problem = tg_strdup(lua_tostring(L, -1));
  return 0;
}

/* What the script configures in the manager, which does run it. */
static void take_settings(struct tg_state *state)
{
  const struct tg_source *source = tg_sources_find(&state->sources, TG_SOURCE_SETTINGS);
  json_t *settings = source ? json_loadb(source->bytes, source->length, 0, NULL) : NULL;
  state->given = json_incref(json_object_get(settings, "configuration"));
  state->bare_delivers = json_is_true(json_object_get(settings, "delivers"));
  const json_t *sinks = json_object_get(settings, "sinks");
  for (size_t i = 0; i < json_array_size(sinks); i++) {
    struct tg_sink_function *sink = tg_sink_function_add(state, json_string_value(json_array_get(sinks, i)));
    if (sink)
      sink->away = true;
  }
  json_decref(settings);
}

/* With all that is wrong, as text, if anything is. */
static int use_plugins(lua_State *L, void *ctx)
{
  struct loading *loading = ctx;
  const struct tg_config *config = loading->state->config;
  loading->state->memory.owner = TG_OWNER_LOAD;
  lua_getglobal(L, "require");
  lua_pushvalue(L, -1);
  lua_pushliteral(L, "tidegate.loader"); /* finds their files, and notes them */
  lua_call(L, 1, 0);
  lua_pushliteral(L, "tidegate.plugin");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "use_all");
  tg_json_push(L, config->plugins);
  lua_pushstring(L, config->plugins_of_script ? "plugins in gateway.configure" : "TIDEGATE_PLUGINS");
  lua_call(L, 2, 1);
  if (lua_isstring(L, -1))
    loading->problem = tg_strdup(lua_tostring(L, -1));
  return 0;
}

static bool settle_config(struct tg_state *state, char **problem)
{
  if (state->config)
    return true;
  struct tg_problems problems = {0};
  struct tg_buf text = {0};
  struct tg_config *config = tg_calloc(1, sizeof *config);
  if (!tg_state_take_config(state, state->given, config, &problems)) {
    free(config);
    tg_buf_puts(&text, state->script->path
                           ? "the script calls no gateway.configure, and the environment says:"
                           : "there is no script, and the environment says:");
    for (int i = 0; i < problems.count; i++)
      tg_buf_printf(&text, "\n%s", problems.items[i]);
    *problem = tg_buf_take(&text);
    tg_problems_free(&problems);
    return false;
  }
  tg_problems_free(&problems);
  return true;
}

/* False: `*problem` says why. */
static bool run(struct tg_state *state, const char *what, tg_body *body, char **problem)
{
  struct loading loading = {state, NULL};
  struct tg_poison_call call = {
      .group = TG_LUA_load, .number = state->script->state != NULL, .shard_id = TG_NO_SHARD};
  tg_poison_enter(&call, NULL);
  bool ran = tg_protect_call(state, TG_LUA_load, what, TG_BUDGET_LOAD, body, &loading);
  tg_poison_leave();
  if (ran && !loading.problem)
    return true;
  tg_count(&state->script->stats->lua[TG_LUA_load].errors);
  *problem = ran ? loading.problem : tg_strdup(state->error);
  return false;
}

bool tg_state_load(struct tg_state *state, char **problem)
{
  if (state->bare)
    take_settings(state);
  if (state->script->path && !state->bare && !run(state, "the top level of the script", run_script, problem))
    return false;
  if (state->configure_failed) {
    *problem = tg_strdup("gateway.configure failed, and the script went on without it");
    return false;
  }
  if (!settle_config(state, problem))
    return false;
  if (json_object_size(state->config->plugins) > 0 && !state->bare &&
      !run(state, "the load of the plugins", use_plugins, problem))
    return false;
  if (!tg_memory_suffices(state, problem))
    return false;
  state->sum = tg_sources_sum(&state->sources);
  if (state->compiled)
    luaJIT_setmode(state->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_ON);
  state->phase = TG_STATE_PREPARED;
  return true;
}
