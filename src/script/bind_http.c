/* HTTP requests of scripts: core.http(), on which lua/tidegate/http.lua builds
 * gateway.http and gateway.rest. */

#include "script/sched.h"

#include "delivery/http.h"

#include <stdlib.h>
#include <string.h>

/* The client looks at the time only of requests that have a connection; those
 * that still wait for their turn are ended here. */
enum { LATE = 50 };

struct request {
  struct tg_wait wait;
  struct tg_script *script;
  uint64_t id;
  char *body;
  tg_ms timeout;
  struct tg_alarm *late;
};

static void free_request(struct request *request)
{
  tg_alarm_free(request->late);
  free(request->body);
  free(request);
}

static void cancel_request(struct tg_wait *wait)
{
  struct request *request = (struct request *)wait;
  request->script->core->http_cancel(request->script->http, request->id);
  free_request(request);
}

/* status, body, header lines, Retry-After in ms (-1: none), seconds;
 * or nil, err */
static int push_response(lua_State *L, void *ctx)
{
  const struct tg_http_response *response = ctx;
  if (response->status == 0)
    return tg_push_failure(L, response->error.code, "%s", response->error.message);
  lua_pushinteger(L, response->status);
  lua_pushlstring(L, response->body.at ? response->body.at : "", response->body.length);
  lua_pushstring(L, response->headers ? response->headers : "");
  lua_pushnumber(L, (lua_Number)response->retry_after);
  lua_pushnumber(L, response->seconds);
  return 5;
}

static void on_done(void *ctx, const struct tg_http_response *response)
{
  struct request *request = ctx;
  tg_wait_finish(&request->wait, push_response, (void *)response);
  free_request(request);
}

static int push_late(lua_State *L, void *ctx)
{
  const struct request *request = ctx;
  return tg_push_failure(
      L, "timeout", "no connection was free within %lld ms: too many requests to this host are under way",
      (long long)request->timeout);
}

static void on_late(void *ctx)
{
  struct request *request = ctx;
  request->script->core->http_cancel(request->script->http, request->id);
  tg_wait_finish(&request->wait, push_late, request);
  free_request(request);
}

/* core.http(name, method, url, headers, body, timeout, connect_timeout, max_body)
 * headers: a list of "Name: value"; body: string or nil */
static int l_http(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  if (!tg_wait_allowed(L, name))
    return tg_wait_park(L);
  struct tg_script *script = tg_state_of(L)->script;
  if (!script->http || script->stopped)
    return tg_push_failure(L, "unavailable", "%s: the gateway does not run", name);
  luaL_checktype(L, 4, LUA_TTABLE);
  int count = (int)lua_objlen(L, 4);
  const char **headers = lua_newuserdata(L, ((size_t)count + 1) * sizeof *headers);
  luaL_checkstack(L, count, "too many headers");
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, 4, i + 1);
    headers[i] = luaL_checkstring(L, -1); /* kept alive by the stack */
  }
  headers[count] = NULL;
  size_t length = 0;
  const char *body = luaL_optlstring(L, 5, NULL, &length);
  struct tg_http_request options = {
      .method = luaL_checkstring(L, 2),
      .url = luaL_checkstring(L, 3),
      .headers = headers,
      .timeout = luaL_checkinteger(L, 6),
      .connect_timeout = luaL_checkinteger(L, 7),
      .max_body = (size_t)luaL_checknumber(L, 8),
  };
  struct request *request = tg_calloc(1, sizeof *request);
  request->script = script;
  if (body) {
    request->body = tg_alloc(length + 1);
    memcpy(request->body, body, length);
    options.body = (struct tg_span){request->body, length};
  }
  tg_wait_init(&request->wait, L, cancel_request);
  request->timeout = options.timeout;
  request->late = tg_alarm_new(script, on_late, request);
  tg_alarm_set(request->late, options.timeout + LATE);
  request->id = script->core->http_start(script->http, &options, on_done, request);
  return tg_wait_yield(L, &request->wait);
}

void tg_bind_http(lua_State *L)
{
  lua_pushcfunction(L, l_http);
  lua_setfield(L, -2, "http");
}
