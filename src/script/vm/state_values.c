/* gateway.state lives through reloads. The new script finds a copy of its values
 * while it loads; when the old one has ended, what that has changed meanwhile is
 * brought in (lua/tidegate/state.lua). */

#include "script/vm/state.h"

#include "base/log.h"
#include "script/api/json.h"

#include <stdio.h>

enum { DEPTH = 64 };

struct copy {
  struct tg_state *from, *to;
  lua_State *F;
  bool last; /* the old script has run for the last time */
  size_t most; /* bytes that `to` may use */
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
  if (copy->to->memory.used > copy->most)
    luaL_error(T, "too large");
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
    tg_json_copy_mark(F, index, T);
    copy_pairs(T, copy, index);
    copy->depth--;
    return true;
  default:
    return false;
  }
}

/* [-0, +1 on T] */
static void copy_all(lua_State *T, struct copy *copy)
{
  lua_State *F = copy->F;
  int top = lua_gettop(F);
  lua_newtable(T);
  lua_rawgeti(F, LUA_REGISTRYINDEX, copy->from->ref_state_table);
  copy_pairs(T, copy, lua_gettop(F));
  lua_settop(F, top);
}

/* The base is what the new script found: it tells what that has changed. */
static int transfer(lua_State *T, void *ctx)
{
  struct copy *copy = ctx;
  struct tg_state *to = copy->to;
  lua_getglobal(T, "require");
  lua_pushliteral(T, "tidegate.state");
  lua_call(T, 1, 1);
  lua_rawgeti(T, LUA_REGISTRYINDEX, to->ref_state_table);
  lua_rawgeti(T, LUA_REGISTRYINDEX, to->ref_state_base);
  copy_all(T, copy);
  lua_call(T, 3, 0);
  luaL_unref(T, LUA_REGISTRYINDEX, to->ref_state_base);
  to->ref_state_base = LUA_NOREF;
  if (copy->last)
    return 0;
  copy_all(T, copy);
  to->ref_state_base = luaL_ref(T, LUA_REGISTRYINDEX);
  return 0;
}

static bool run(struct copy *copy)
{
  copy->F = copy->from->L;
  int top = lua_gettop(copy->F);
  bool ok = tg_protect(copy->to, NULL, TG_BUDGET_HOST, transfer, copy);
  lua_settop(copy->F, top);
  if (!ok && copy->to->memory.used > copy->most)
    return false;
  if (!ok)
    tg_log(TG_ERROR, TG_NO_SHARD, "gateway.state did not survive the reload: %s", copy->to->error);
  else if (copy->last && copy->lost[0])
    tg_log(TG_WARN, TG_NO_SHARD,
           "gateway.state: '%s' did not survive the reload; only numbers, strings, booleans and tables of "
           "them (not containing themselves) do",
           copy->lost);
  return true;
}

bool tg_state_show_values(struct tg_state *from, struct tg_state *to, size_t most)
{
  struct copy copy = {.from = from, .to = to, .most = most};
  return run(&copy);
}

bool tg_state_take_values(struct tg_state *from, struct tg_state *to, size_t most)
{
  struct copy copy = {.from = from, .to = to, .most = most, .last = true};
  return run(&copy);
}
