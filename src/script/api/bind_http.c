/* HTTP requests of scripts: core.http(), on which lua/tidegate/http.lua builds
 * gateway.http and gateway.rest. */

#include "script/api/http_slots.h"
#include "script/vm/sched.h"

#include "net/http.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
  struct tg_wait wait;
  struct tg_http_slot slot;
  struct tg_script *script;
  struct tg_http_request options; /* a copy, as it may have to wait for its turn: */
  const char **headers;           /* these point into `text` */
  char *text;
  uint64_t id; /* 0: it waits */
  tg_ms queue_timeout;
  struct tg_alarm *late; /* while it waits */
};

static void free_request(struct request *request)
{
  tg_alarm_free(request->late);
  free(request->headers);
  free(request->text);
  free(request);
}

static void cancel_request(struct tg_wait *wait)
{
  struct request *request = (struct request *)wait;
  if (request->id)
    request->script->core->http_cancel(request->script->http, request->id);
  tg_http_slot_give(request->script, &request->slot);
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
  tg_http_slot_give(request->script, &request->slot);
  tg_wait_finish(&request->wait, push_response, (void *)response);
  free_request(request);
}

static void begin(struct request *request)
{
  tg_alarm_free(request->late);
  request->late = NULL;
  request->id = request->script->core->http_start(request->script->http, &request->options, on_done, request);
}

static void on_turn(struct tg_http_slot *slot)
{
  begin((struct request *)((char *)slot - offsetof(struct request, slot)));
}

static int push_late(lua_State *L, void *ctx)
{
  return tg_push_failure(L, "queue_timeout", "%s", (const char *)ctx);
}

static void on_late(void *ctx)
{
  struct request *request = ctx;
  char words[TG_ERROR_MESSAGE_SIZE];
  int waiting;
  const char *host = tg_http_slot_host(&request->slot, &waiting);
  snprintf(words, sizeof words,
           "%s: the turn of a request did not come within %lld ms (queue_timeout): %d are under way, %d wait",
           host, (long long)request->queue_timeout, TG_HTTP_SLOTS, waiting);
  tg_http_slot_give(request->script, &request->slot);
  tg_wait_finish(&request->wait, push_late, words);
  free_request(request);
}

/* Appends the string at `index` and a NUL. */
static void keep(struct tg_buf *text, lua_State *L, int index)
{
  size_t length;
  const char *at = lua_tolstring(L, index, &length);
  tg_buf_append(text, at, length + 1);
}

/* Copies method, url, body and headers from the stack, where they are checked. */
static struct request *new_request(lua_State *L, struct tg_script *script, int first_header)
{
  int count = lua_gettop(L) - first_header + 1;
  struct request *request = tg_calloc(1, sizeof *request);
  struct tg_buf text = {0};
  request->script = script;
  keep(&text, L, 2);
  keep(&text, L, 3);
  for (int i = 0; i < count; i++) {
    tg_secrets_put_header(&text, tg_state_of(L), lua_tostring(L, first_header + i), lua_tostring(L, 3));
    tg_buf_append(&text, "", 1);
  }
  size_t body_at = text.length;
  if (!lua_isnil(L, 5))
    keep(&text, L, 5);
  char *at = request->text = tg_buf_take(&text);
  request->options.method = at;
  request->options.url = at += strlen(at) + 1;
  request->headers = tg_calloc((size_t)count + 1, sizeof *request->headers);
  for (int i = 0; i < count; i++)
    request->headers[i] = at += strlen(at) + 1;
  request->options.headers = request->headers;
  if (!lua_isnil(L, 5))
    request->options.body = (struct tg_span){request->text + body_at, lua_objlen(L, 5)};
  return request;
}

/* Of a string without a NUL, which would end it too early. */
static void check_text(lua_State *L, int index)
{
  size_t length;
  const char *text = luaL_checklstring(L, index, &length);
  if (strlen(text) < length)
    luaL_error(L, "%s: a NUL in \"%s\"", lua_tostring(L, 1), text);
}

/* core.http(name, method, url, headers, body, timeout, connect_timeout, max_body, queue_timeout)
 * headers: a list of "Name: value"; body: string or nil */
static int l_http(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  if (!tg_wait_allowed(L, name))
    return tg_wait_park(L);
  struct tg_script *script = tg_state_of(L)->script;
  if (!script->http || script->stopped)
    return tg_push_failure(L, "unavailable", "%s: the gateway does not run", name);
  lua_settop(L, 9);
  check_text(L, 2);
  check_text(L, 3);
  luaL_checktype(L, 4, LUA_TTABLE);
  luaL_optstring(L, 5, NULL);
  struct tg_http_request options = {.timeout = luaL_checkinteger(L, 6),
                                    .connect_timeout = luaL_checkinteger(L, 7),
                                    .max_body = (size_t)luaL_checknumber(L, 8)};
  tg_ms queue_timeout = luaL_checkinteger(L, 9);
  int count = (int)lua_objlen(L, 4);
  luaL_checkstack(L, count, "too many headers");
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 4, i);
    check_text(L, lua_gettop(L));
  }
  if (tg_http_slots_are_full(script, lua_tostring(L, 3)))
    return tg_push_failure(L, "queue_full", "%s: %d requests wait for that host already", name,
                           TG_HTTP_WAITING);
  struct request *request = new_request(L, script, 10);
  request->options.timeout = options.timeout;
  request->options.connect_timeout = options.connect_timeout;
  request->options.max_body = options.max_body;
  request->queue_timeout = queue_timeout;
  tg_wait_init(&request->wait, L, cancel_request);
  if (tg_http_slot_take(script, &request->slot, request->options.url, on_turn)) {
    begin(request);
  } else {
    request->late = tg_alarm_new(script, on_late, request);
    tg_alarm_set(request->late, queue_timeout);
  }
  return tg_wait_yield(L, &request->wait);
}

void tg_bind_http(lua_State *L)
{
  lua_pushcfunction(L, l_http);
  lua_setfield(L, -2, "http");
}
