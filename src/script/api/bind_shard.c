/* The defaults of gateway.shard: the state machine's own steps. */

#include "script/api/json.h"
#include "script/vm/sched.h"

#include "proto/close_code.h"
#include "shard/shard.h"

#include <stdlib.h>
#include <string.h>

enum { SEND_TIMEOUT = 60000, CLOSE_AND_KEEP = 4000, CLOSE_AND_END = 1000 };

static const char *name_of(lua_State *L)
{
  return tg_methods[lua_tointeger(L, lua_upvalueindex(1))].full;
}

static struct tg_shard *self(lua_State *L)
{
  return tg_check_shard(L, 1, name_of(L));
}

static int done(lua_State *L)
{
  lua_pushboolean(L, 1);
  return 1;
}

static int l_connect(lua_State *L)
{
  tg_core_of(L)->shard_connect(self(L));
  return done(L);
}

static int l_identify(lua_State *L)
{
  tg_core_of(L)->shard_identify(self(L));
  return done(L);
}

static int l_resume(lua_State *L)
{
  tg_core_of(L)->shard_resume(self(L));
  return done(L);
}

/* close(code, reason): a code other than 1000 and 1001 keeps the session */
static int l_close(lua_State *L)
{
  struct tg_shard *shard = self(L);
  int code = (int)luaL_optinteger(L, 2, CLOSE_AND_KEEP);
  luaL_argcheck(L, code == 1000 || code == 1001 || (code >= 3000 && code < 5000), 2,
                "a close code is 1000, 1001 or 3000 to 4999");
  tg_core_of(L)->shard_close(shard, code, luaL_optstring(L, 3, ""));
  return done(L);
}

static int l_shutdown(lua_State *L)
{
  tg_core_of(L)->shard_close(self(L), CLOSE_AND_END, "");
  return done(L);
}

/* ---- request_identify: waits for the slot ---- */

static int push_allowed(lua_State *L, void *ctx)
{
  if (!*(bool *)ctx)
    return tg_push_failure(L, "closed", "the connection ended before its identify slot came");
  lua_pushboolean(L, 1);
  return 1;
}

static void on_slot(void *ctx, bool allowed)
{
  struct tg_wait *wait = ctx;
  tg_wait_finish(wait, push_allowed, &allowed);
  free(wait);
}

static int l_request_identify(lua_State *L)
{
  struct tg_shard *shard = self(L);
  if (!tg_wait_allowed(L, name_of(L)))
    return tg_wait_park(L);
  struct tg_wait *wait = tg_alloc(sizeof *wait);
  tg_wait_init(wait, L, NULL);
  tg_core_of(L)->shard_request_identify(shard, on_slot, wait);
  return tg_wait_yield(L, wait);
}

/* ---- send ---- */

struct sending {
  bool returned; /* l_send has, and nobody looks at this any more */
  bool sent;
  struct tg_error error;
};

static void on_sent(void *ctx, const struct tg_error *error)
{
  struct sending *sending = ctx;
  if (sending->returned) {
    free(sending);
    return;
  }
  sending->sent = true;
  if (error)
    sending->error = *error;
}

static enum tg_send_priority check_priority(lua_State *L, const char *name)
{
  enum tg_send_priority priority;
  if (!tg_send_priority_parse(name, &priority))
    luaL_error(L, "%s: priority is \"low\", \"normal\" or \"high\"", name_of(L));
  return priority;
}

/* send(payload, {timeout=, priority=}) -> true when sent or queued, or nil, err */
static int l_send(lua_State *L)
{
  struct tg_shard *shard = self(L);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 3);
  tg_ms timeout = SEND_TIMEOUT;
  enum tg_send_priority priority = TG_SEND_NORMAL;
  if (!lua_isnil(L, 3)) {
    luaL_checktype(L, 3, LUA_TTABLE);
    lua_getfield(L, 3, "timeout");
    timeout = luaL_optinteger(L, -1, SEND_TIMEOUT);
    lua_getfield(L, 3, "priority");
    priority = check_priority(L, luaL_optstring(L, -1, "normal"));
  }
  json_t **payload = tg_push_json_box(L);
  const char *problem;
  *payload = tg_json_take(L, 2, &problem);
  if (!*payload)
    return luaL_error(L, "%s: the payload contains %s", name_of(L), problem);
  struct sending *sending = tg_calloc(1, sizeof *sending);
  tg_core_of(L)->shard_send(shard, *payload, priority, timeout, on_sent, sending);
  if (!sending->sent) {
    sending->returned = true;
    return done(L);
  }
  struct tg_error error = sending->error;
  free(sending);
  return error.code[0] ? tg_push_failure(L, error.code, "%s", error.message) : done(L);
}

/* ---- the rest ---- */

static int l_is_open(lua_State *L)
{
  lua_pushboolean(L, tg_core_of(L)->shard_is_open(self(L)));
  return 1;
}

static int l_calculate_safe_requests(lua_State *L)
{
  lua_pushinteger(L, tg_core_of(L)->shard_safe_requests(self(L)));
  return 1;
}

/* make_presence() -> the presence last set, else the configured one, or nil */
static int l_make_presence(lua_State *L)
{
  tg_json_push(L, tg_core_of(L)->shard_presence(self(L)));
  return 1;
}

static int l_heartbeat(lua_State *L)
{
  tg_core_of(L)->shard_heartbeat(self(L));
  return done(L);
}

static int l_start_heartbeating(lua_State *L)
{
  struct tg_shard *shard = self(L);
  lua_Integer interval = luaL_checkinteger(L, 2);
  luaL_argcheck(L, interval > 0, 2, "expected milliseconds");
  tg_core_of(L)->shard_start_heartbeating(shard, interval);
  return done(L);
}

static int l_stop_heartbeating(lua_State *L)
{
  tg_core_of(L)->shard_stop_heartbeating(self(L));
  return done(L);
}

/* decompress_packet(bytes) -> the text that C has made of these bytes */
static int l_decompress_packet(lua_State *L)
{
  struct tg_span text = tg_core_of(L)->shard_decompressed(self(L));
  if (!text.at)
    return tg_push_failure(L, "unavailable", "%s: no packet is being handled", name_of(L));
  lua_pushlstring(L, text.at, text.length);
  return 1;
}

/* handle_packet(packet): JSON text, or a table */
static int l_handle_packet(lua_State *L)
{
  struct tg_shard *shard = self(L);
  lua_settop(L, 2);
  if (lua_istable(L, 2)) {
    const char *problem;
    struct tg_buf *out = &tg_state_of(L)->out;
    out->length = 0;
    if (!tg_json_encode(L, 2, out, &problem))
      return luaL_error(L, "%s: the packet contains %s", name_of(L), problem);
    lua_pushlstring(L, out->data, out->length);
    lua_replace(L, 2);
  }
  size_t length;
  const char *text = luaL_checklstring(L, 2, &length);
  tg_core_of(L)->shard_handle_packet(shard, text, length);
  return done(L);
}

/* handle_close(code, reason) -> "resume", "identify" or "stop" */
static int l_handle_close(lua_State *L)
{
  self(L);
  lua_pushstring(L, tg_close_action_name(tg_close_action((int)luaL_checkinteger(L, 2))));
  return 1;
}

const luaL_Reg tg_native_shard[] = {
    {"connect", l_connect},
    {"identify", l_identify},
    {"resume", l_resume},
    {"close", l_close},
    {"shutdown", l_shutdown},
    {"request_identify", l_request_identify},
    {"send", l_send},
    {"is_open", l_is_open},
    {"calculate_safe_requests", l_calculate_safe_requests},
    {"make_presence", l_make_presence},
    {"heartbeat", l_heartbeat},
    {"start_heartbeating", l_start_heartbeating},
    {"stop_heartbeating", l_stop_heartbeating},
    {"decompress_packet", l_decompress_packet},
    {"handle_packet", l_handle_packet},
    {"handle_close", l_handle_close},
    {0},
};
