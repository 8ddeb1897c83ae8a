#pragma once

/* A Redis that is played: the real script in a Lua state, with hashes, streams and a clock behind
 * redis.call(). */

#include "base/buf.h"
#include "manager/cluster/cluster.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char redis_of_lua[] =
    "local db, saved, posts, clock = {}, {}, {}, 0\n"
    "cjson = require 'cjson'\n"
    "local function text(value)\n"
    "  return type(value) == 'number' and string.format('%.17g', value) or value\n"
    "end\n"
    "local commands = {}\n"
    "function commands.TIME()\n"
    "  return { string.format('%d', math.floor(clock / 1000)), string.format('%d', clock % 1000 * 1000) }\n"
    "end\n"
    "function commands.HGET(key, field) return db[key] and db[key][text(field)] or false end\n"
    "function commands.HMGET(key, ...)\n"
    "  local values = {}\n"
    "  for i = 1, select('#', ...) do values[i] = commands.HGET(key, (select(i, ...))) end\n"
    "  return values\n"
    "end\n"
    "function commands.HSET(key, ...)\n"
    "  db[key] = db[key] or {}\n"
    "  assert(select('#', ...) > 0 and select('#', ...) % 2 == 0, 'HSET of half a pair')\n"
    "  for i = 1, select('#', ...), 2 do\n"
    "    local field, value = select(i, ...)\n"
    "    db[key][assert(text(field))] = assert(text(value))\n"
    "  end\n"
    "end\n"
    "function commands.HDEL(key, ...)\n"
    "  local count = 0\n"
    "  for _, field in ipairs({ ... }) do\n"
    "    if db[key] and db[key][text(field)] then\n"
    "      db[key][text(field)] = nil\n"
    "      count = count + 1\n"
    "    end\n"
    "  end\n"
    "  return count\n"
    "end\n"
    "function commands.HEXISTS(key, field) return db[key] and db[key][text(field)] and 1 or 0 end\n"
    "function commands.HGETALL(key)\n"
    "  local flat = {}\n"
    "  for field, value in pairs(db[key] or {}) do\n"
    "    flat[#flat + 1] = field\n"
    "    flat[#flat + 1] = value\n"
    "  end\n"
    "  return flat\n"
    "end\n"
    "function commands.DEL(...)\n"
    "  for _, key in ipairs({ ... }) do db[key] = nil end\n"
    "end\n"
    "function commands.XADD(key, ...)\n"
    "  local rest = { ... }\n"
    "  posts[#posts + 1] = { key, rest[#rest - 2], rest[#rest] }\n"
    "end\n"
    "local function keys_of(hash)\n"
    "  local keys = {}\n"
    "  for key in next, hash do keys[#keys + 1] = key end\n"
    "  table.sort(keys)\n"
    "  return keys\n"
    "end\n"
    "function pairs(hash)\n" /* so that a seed is the same each time */
    "  local keys, i = keys_of(hash), 0\n"
    "  return function()\n"
    "    i = i + 1\n"
    "    return keys[i], hash[keys[i]]\n"
    "  end\n"
    "end\n"
    "redis = { call = function(name, ...) return commands[name](...) end }\n"
    "function sim_load(source)\n"
    "  script = assert(loadstring((source:gsub('^#![^\\n]*', '')), '=script'))\n"
    "end\n"
    "function sim_call(name, body, ms)\n"
    "  clock, KEYS, ARGV = ms, { 'tidegate:{bot}' }, { name, body }\n"
    "  return script()\n"
    "end\n"
    "function sim_post()\n"
    "  local post = table.remove(posts, 1)\n"
    "  if post then return post[1], post[2], post[3] end\n"
    "end\n"
    "local function copy()\n"
    "  local whole = {}\n"
    "  for key, hash in pairs(db) do\n"
    "    whole[key] = {}\n"
    "    for field, value in pairs(hash) do whole[key][field] = value end\n"
    "  end\n"
    "  return whole\n"
    "end\n"
    "function sim_save(slot) saved[slot] = copy() end\n"
    "function sim_restore(slot) db = saved[slot] or {}; db = copy() end\n"
    "function sim_empty() db, posts = {}, {} end\n"
    "function sim_dump()\n"
    "  for key, hash in pairs(db) do\n"
    "    for field, value in pairs(hash) do io.stderr:write(key, ' ', field, ' = ', value, '\\n') end\n"
    "  end\n"
    "end\n";

static lua_State *redis_state;

static void redis_must(int status)
{
  if (status != 0) {
    fprintf(stderr, "redis: %s\n", lua_tostring(redis_state, -1));
    abort();
  }
}

static void redis_open(const char *script)
{
  redis_state = luaL_newstate();
  luaL_openlibs(redis_state);
  redis_must(luaL_dostring(redis_state, redis_of_lua));
  lua_getglobal(redis_state, "sim_load");
  lua_pushstring(redis_state, script);
  redis_must(lua_pcall(redis_state, 1, 0, 0));
}

static void redis_close(void)
{
  lua_close(redis_state);
}

/* What the script answers; the caller's to free. `ms`: what the clock of Redis shows. */
static char *redis_run(const char *name, const char *body, tg_ms ms)
{
  lua_getglobal(redis_state, "sim_call");
  lua_pushstring(redis_state, name);
  lua_pushstring(redis_state, body);
  lua_pushnumber(redis_state, (lua_Number)ms);
  redis_must(lua_pcall(redis_state, 3, 1, 0));
  char *answer = tg_strdup(lua_tostring(redis_state, -1));
  lua_pop(redis_state, 1);
  return answer;
}

struct redis_post {
  char host[32], word[16], body[128];
};

static bool redis_next_post(struct redis_post *post)
{
  lua_getglobal(redis_state, "sim_post");
  redis_must(lua_pcall(redis_state, 0, 3, 0));
  bool found = lua_isstring(redis_state, -3);
  if (found) {
    snprintf(post->host, sizeof post->host, "%s", strrchr(lua_tostring(redis_state, -3), ':') + 1);
    snprintf(post->word, sizeof post->word, "%s", lua_tostring(redis_state, -2));
    snprintf(post->body, sizeof post->body, "%s", lua_tostring(redis_state, -1));
  }
  lua_pop(redis_state, 3);
  return found;
}

static void redis_do(const char *function, int slot)
{
  lua_getglobal(redis_state, function);
  lua_pushinteger(redis_state, slot);
  redis_must(lua_pcall(redis_state, 1, 0, 0));
}
