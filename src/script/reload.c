/* The next generation of a script (design 7.4): a whole new state is built
 * beside the running one; then one function without a wait swaps them. */

#include "script/json.h"
#include "script/sched.h"
#include "script/watchdog.h"

#include <stdio.h>
#include <stdlib.h>

enum { UNLOAD_DEADLINE = 5000 };

/* What was tried is remembered: --watch waits for one of its files to change. */
static void give_up(struct tg_script *script, struct tg_state *state)
{
  tg_sources_free(&script->tried);
  script->tried = state->sources;
  state->sources = (struct tg_sources){0};
  tg_state_free(state);
}

bool tg_script_prepare(struct tg_script *script, char **problem)
{
  tg_script_abort(script);
  struct tg_state *state = tg_state_new(script, script->generation + 1, problem);
  if (!state)
    return false;
  if (!tg_state_load(state, problem)) {
    give_up(script, state);
    return false;
  }
  tg_sources_free(&script->tried);
  script->next = state;
  return true;
}

void tg_script_abort(struct tg_script *script)
{
  if (script->next)
    give_up(script, script->next);
  script->next = NULL;
}

void tg_script_commit(struct tg_script *script, int generation)
{
  struct tg_state *old = script->state, *next = script->next;
  script->generation = generation;
  if (!next) {
    if (old)
      old->generation = generation;
    return;
  }
  next->generation = generation;
  script->next = NULL;
  if (old) {
    tg_run_life_on(old, TG_LIFE_unload, NULL, NULL, true);
    tg_state_copy_values(old, next);
  }
  script->state = next;
  next->phase = TG_STATE_LIVE;
  tg_watchdog_set_patience(next->config->script.kill_after / 2);
  tg_hooks_fill(script);
  if (old)
    tg_state_retire(old);
  tg_script_started(script);
  json_t *details = json_pack("{s:i}", "generation", generation);
  tg_run_life_on(next, TG_LIFE_reload, NULL, details, false);
  json_decref(details);
}

/* ---- the end of a state ---- */

static void close_state(void *ctx)
{
  struct tg_state *state = ctx;
  struct tg_script *script = state->script;
  tg_threads_cancel(state, false);
  struct tg_state **link = &script->old;
  while (*link && *link != state)
    link = &(*link)->older;
  if (*link)
    *link = state->older;
  tg_state_free(state);
}

void tg_state_retire(struct tg_state *state)
{
  struct tg_script *script = state->script;
  state->phase = TG_STATE_RETIRED;
  state->older = script->old;
  script->old = state;
  state->deadline = tg_alarm_new(script, close_state, state);
  tg_alarm_set(state->deadline, UNLOAD_DEADLINE);
  tg_timers_close(state);
  tg_threads_cancel(state, true);
  /* Whoever still holds the old configuration has it until the next reload. */
  if (script->previous_config) {
    tg_config_free(script->previous_config);
    free(script->previous_config);
  }
  script->previous_config = state->config;
  state->config = NULL;
  tg_state_close_if_idle(state);
}

/* Not from here: the caller may be on the state's own stack. */
void tg_state_close_if_idle(struct tg_state *state)
{
  if (state->phase == TG_STATE_RETIRED && !state->threads && state->deadline)
    tg_alarm_set(state->deadline, 0);
}

/* ---- gateway.state ---- */

enum { DEPTH = 64 };

struct copy {
  struct tg_state *from, *to;
  lua_State *F;
  char lost[64]; /* the first key whose value could not be taken along */
  int depth;
};

static bool copy_value(lua_State *T, struct copy *copy, int index);

static void note_lost(struct copy *copy, int key_index)
{
  if (copy->lost[0])
    return;
  const char *key = lua_type(copy->F, key_index) == LUA_TSTRING ? lua_tostring(copy->F, key_index) : "?";
  snprintf(copy->lost, sizeof copy->lost, "%s", key);
}

/* [-0, +0] From the table at `index` of F into the one on top of T. */
static void copy_pairs(lua_State *T, struct copy *copy, int index)
{
  lua_State *F = copy->F;
  for (lua_pushnil(F); lua_next(F, index); lua_pop(F, 1)) {
    int key = lua_gettop(F) - 1;
    if (!copy_value(T, copy, key)) {
      note_lost(copy, key);
      continue;
    }
    if (!copy_value(T, copy, key + 1)) {
      note_lost(copy, key);
      lua_pop(T, 1);
      continue;
    }
    lua_rawset(T, -3);
  }
}

/* [-0, +1 on T] False: not a plain value, and nothing was pushed. */
static bool copy_value(lua_State *T, struct copy *copy, int index)
{
  lua_State *F = copy->F;
  switch (lua_type(F, index)) {
  case LUA_TBOOLEAN:
    lua_pushboolean(T, lua_toboolean(F, index));
    return true;
  case LUA_TNUMBER:
    lua_pushnumber(T, lua_tonumber(F, index));
    return true;
  case LUA_TSTRING: {
    size_t length;
    const char *text = lua_tolstring(F, index, &length);
    lua_pushlstring(T, text, length);
    return true;
  }
  case LUA_TLIGHTUSERDATA:
    if (lua_touserdata(F, index))
      return false;
    lua_pushlightuserdata(T, NULL);
    return true;
  case LUA_TTABLE:
    if (copy->depth == DEPTH || !lua_checkstack(F, 8))
      return false;
    luaL_checkstack(T, 8, "gateway.state");
    copy->depth++;
    lua_newtable(T);
    copy_pairs(T, copy, index);
    copy->depth--;
    return true;
  default:
    return false;
  }
}

/* Into the table that the new script made, whose own keys give way. */
static int copy_into(lua_State *T, void *ctx)
{
  struct copy *copy = ctx;
  lua_rawgeti(T, LUA_REGISTRYINDEX, copy->to->ref_state_table);
  lua_rawgeti(copy->F, LUA_REGISTRYINDEX, copy->from->ref_state_table);
  copy_pairs(T, copy, lua_gettop(copy->F));
  return 0;
}

void tg_state_copy_values(struct tg_state *from, struct tg_state *to)
{
  struct copy copy = {.from = from, .to = to, .F = from->L};
  int top = lua_gettop(from->L);
  bool ok = tg_protect(to, NULL, TG_BUDGET_HOST, copy_into, &copy);
  lua_settop(from->L, top);
  if (!ok)
    tg_log(TG_ERROR, TG_NO_SHARD, "gateway.state did not survive the reload: %s", to->error);
  else if (copy.lost[0])
    tg_log(
        TG_WARN, TG_NO_SHARD,
        "gateway.state: '%s' did not survive the reload; only numbers, strings, booleans and tables of them "
        "(not containing themselves) do",
        copy.lost);
}
