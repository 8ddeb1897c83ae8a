/* Requests to what plugins serve: each runs its function in a coroutine, which
 * may wait, and gets what that returns as JSON. */

#include "script/api/routes.h"

#include "base/url_parts.h"
#include "script/api/json.h"
#include "script/vm/sched.h"

#include "base/utf8.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED_MAX = 100 }; /* routes in an answer that says what there is */

struct route_call {
  struct tg_state *state;
  const struct tg_plugin_route *route; /* its state's */
  tg_hook_answered *answered;          /* NULL: the request has its answer */
  void *ctx;
  struct tg_alarm *late;
  struct tg_buf out; /* the answer */
  int status;
};

/* ---- answers that are not the function's ---- */

static void __attribute__((format(printf, 6, 7)))
refuse(tg_hook_answered *answered, void *ctx, int status, const char *code, const char *allow,
       const char *format, ...)
{
  char words[TG_ERROR_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  vsnprintf(words, sizeof words, format, args);
  va_end(args);
  json_t *body = json_pack("{s:o, s:s*}", "error", tg_json_text(words), "code", code);
  char *text = json_dumps(body, JSON_COMPACT);
  json_decref(body);
  struct tg_hook_answer answer = {.status = status, .body = {text, strlen(text)}, .allow = allow};
  answered(ctx, &answer);
  free(text);
}

/* "GET /plugins/drop-bots/stats", of all routes, or of the plugin's alone. */
static json_t *list_routes(const struct tg_state *state, const struct tg_route_parts *parts)
{
  json_t *all = json_array(), *own = json_array();
  for (const struct tg_plugin_route *route = state->routes; route; route = route->next) {
    json_t *list = all;
    if (parts->count > 0) {
      const char *plugin = route->path + 1;
      size_t length = parts->parts[0].length;
      if (length == strcspn(plugin, "/") && strncmp(plugin, parts->text.data, length) == 0)
        list = own;
    }
    if (json_array_size(list) < LISTED_MAX)
      json_array_append_new(list, json_sprintf("%s /plugins%s", route->method, route->path));
  }
  json_t *chosen = json_array_size(own) > 0 ? own : all;
  json_decref(chosen == own ? all : own);
  return chosen;
}

static void refuse_path(const struct tg_state *state, const struct tg_route_parts *parts,
                        const struct tg_hook_request *request, tg_hook_answered *answered, void *ctx)
{
  json_t *routes = state ? list_routes(state, parts) : json_array();
  struct tg_buf words = {0};
  tg_buf_printf(&words, "no plugin serves /plugins%s", request->path);
  if (json_array_size(routes) == 0)
    tg_buf_printf(&words, "; there are no routes of plugins at all");
  json_t *body = json_pack("{s:o, s:o}", "error", tg_json_text(words.data), "routes", routes);
  tg_buf_free(&words);
  char *text = json_dumps(body, JSON_COMPACT);
  json_decref(body);
  struct tg_hook_answer answer = {.status = 404, .body = {text, strlen(text)}};
  answered(ctx, &answer);
  free(text);
}

/* ---- what the function gets ---- */

struct arguments {
  const struct tg_plugin_route *route;
  const struct tg_hook_request *request;
  const struct tg_route_parts *parts;
};

static void push_params(lua_State *L, const struct arguments *arguments)
{
  const struct tg_route_parts *parts = arguments->parts;
  const char *at = arguments->route->path;
  lua_newtable(L);
  for (int i = 0; i < parts->count; i++) {
    size_t length = strcspn(++at, "/");
    if (*at == ':') {
      lua_pushlstring(L, at + 1, length - 1);
      lua_pushlstring(L, parts->text.data + parts->parts[i].at, parts->parts[i].length);
      lua_rawset(L, -3);
    }
    at += length;
  }
}

static void push_decoded(lua_State *L, const struct tg_span *part)
{
  struct tg_buf *text = &tg_state_of(L)->scratch;
  text->length = 0;
  tg_url_decode(text, part->at, part->length, true);
  lua_pushlstring(L, text->length > 0 ? text->data : "", text->length);
}

/* Of equal names the last one counts. */
static void push_query(lua_State *L, const char *query)
{
  struct tg_span name, value;
  lua_newtable(L);
  while (tg_query_next(&query, &name, &value)) {
    push_decoded(L, &name);
    push_decoded(L, &value);
    lua_rawset(L, -3);
  }
}

static int push_request(lua_State *L, void *ctx)
{
  const struct arguments *arguments = ctx;
  const struct tg_hook_request *request = arguments->request;
  luaL_checkstack(L, 8, "request");
  lua_rawgeti(L, LUA_REGISTRYINDEX, arguments->route->ref);
  lua_createtable(L, 0, 5);
  lua_pushstring(L, request->method);
  lua_setfield(L, -2, "method");
  lua_pushstring(L, request->path + strcspn(request->path + 1, "/") + 1);
  if (lua_objlen(L, -1) == 0) {
    lua_pop(L, 1);
    lua_pushliteral(L, "/");
  }
  lua_setfield(L, -2, "path");
  push_query(L, request->query);
  lua_setfield(L, -2, "query");
  push_params(L, arguments);
  lua_setfield(L, -2, "params");
  tg_json_push(L, request->body);
  lua_setfield(L, -2, "body");
  return 2;
}

/* ---- what it returns ---- */

struct returned {
  struct tg_thread *thread;
  int count;
  struct route_call *call;
  char problem[400]; /* what is wrong with it; "": nothing */
};

/* nil, err */
static void take_failure(lua_State *L, struct route_call *call)
{
  tg_push_error_text(L, 2);
  lua_pushliteral(L, "failed");
  if (lua_istable(L, 2)) {
    lua_pushliteral(L, "code");
    lua_rawget(L, 2);
    if (lua_type(L, -1) == LUA_TSTRING)
      lua_replace(L, 4);
  }
  json_t *body = json_pack("{s:o, s:o}", "error", tg_json_text(lua_tostring(L, 3)), "code",
                           tg_json_text(lua_tostring(L, 4)));
  char *text = json_dumps(body, JSON_COMPACT);
  json_decref(body);
  tg_buf_puts(&call->out, text);
  free(text);
  call->status = 500;
}

static bool take_status(lua_State *L, struct returned *returned)
{
  lua_Number status = lua_tonumber(L, 2);
  if (lua_type(L, 2) != LUA_TNUMBER)
    snprintf(returned->problem, sizeof returned->problem, "it returned a value and, as its status, a %s",
             luaL_typename(L, 2));
  else if (!(status >= 200 && status <= 599) || status != floor(status))
    snprintf(returned->problem, sizeof returned->problem,
             "it returned the status %.14g; a status is a whole number from 200 to 599", status);
  else
    returned->call->status = (int)status;
  return !returned->problem[0];
}

static void take_value(lua_State *L, struct returned *returned)
{
  struct route_call *call = returned->call;
  const char *problem;
  if (!tg_json_encode(L, 1, &call->out, &problem))
    snprintf(returned->problem, sizeof returned->problem, "it returned %s, which JSON cannot carry", problem);
  else if (call->out.length > TG_ROUTE_ANSWER_MAX)
    snprintf(returned->problem, sizeof returned->problem, "it returned %zu bytes of JSON; %d are allowed",
             call->out.length, TG_ROUTE_ANSWER_MAX);
  else
    tg_json_tell_torn(L, call->route->where);
}

/* value; value, status; nil; nil, status; nil, err */
static int take_returned(lua_State *L, void *ctx)
{
  struct returned *returned = ctx;
  struct route_call *call = returned->call;
  lua_State *from = returned->thread->L;
  if (returned->count > 2)
    lua_settop(from, lua_gettop(from) - (returned->count - 2));
  luaL_checkstack(L, 8, "results");
  lua_xmove(from, L, returned->count < 2 ? returned->count : 2);
  lua_settop(L, 2);
  bool nothing = lua_isnil(L, 1);
  if (nothing && !lua_isnil(L, 2) && lua_type(L, 2) != LUA_TNUMBER) {
    take_failure(L, call);
    return 0;
  }
  call->status = nothing ? 204 : 200;
  if (!lua_isnil(L, 2) && !take_status(L, returned))
    return 0;
  if (!nothing && call->status != 204 && call->status != 304)
    take_value(L, returned);
  return 0;
}

/* ---- a request under way ---- */

static void fault(struct route_call *call, const char *message, const char *then)
{
  tg_fault_log_at(call->state, TG_LUA_route, TG_NO_SHARD, call->route->what, call->route->where, message,
                  then);
}

static void answer(struct route_call *call, struct tg_thread *thread, bool ok, int count)
{
  tg_hook_answered *answered = call->answered;
  call->answered = NULL;
  if (thread->dropped || thread->cancelled) {
    refuse(answered, call->ctx, 503, "cancelled", NULL, "%s",
           thread->dropped ? "cancelled: the gateway stops" : "cancelled: the script was reloaded");
    return;
  }
  struct returned returned = {.thread = thread, .count = count, .call = call};
  ok = ok && tg_protect(call->state, NULL, TG_BUDGET_HOST, take_returned, &returned);
  if (!ok || returned.problem[0]) {
    fault(call, ok ? returned.problem : call->state->error, "its request gets 500");
    refuse(answered, call->ctx, 500, "failed", NULL, "%s of the plugin failed; the log says why",
           call->route->what);
    return;
  }
  struct tg_hook_answer answer = {.status = call->status, .body = {call->out.data, call->out.length}};
  answered(call->ctx, &answer);
}

static void on_done(struct tg_thread *thread, void *ctx, bool ok, int count)
{
  struct route_call *call = ctx;
  if (call->answered)
    answer(call, thread, ok, count);
  call->state->script->route_calls--;
  tg_alarm_free(call->late);
  tg_buf_free(&call->out);
  free(call);
}

/* What the function waits for ends, and so will the function. */
static void on_late(void *ctx)
{
  struct route_call *call = ctx;
  tg_hook_answered *answered = call->answered;
  call->answered = NULL;
  fault(call, "it has not returned within 30 s", "its request gets 504, and what it waits for is cancelled");
  refuse(answered, call->ctx, 504, "timeout", NULL, "%s of the plugin has not answered within %d s",
         call->route->what, TG_ROUTE_DEADLINE / 1000);
  tg_thread_cancel(call->state, call, "cancelled: the request has waited too long");
}

static void begin(struct tg_state *state, const struct arguments *arguments, tg_hook_answered *answered,
                  void *ctx)
{
  const struct tg_plugin_route *route = arguments->route;
  struct route_call *call = tg_calloc(1, sizeof *call);
  *call = (struct route_call){.state = state, .route = route, .answered = answered, .ctx = ctx};
  struct tg_thread_options options = {.group = TG_LUA_route,
                                      .what = route->what,
                                      .where = route->where,
                                      .owner = route->owner,
                                      .shard_id = TG_NO_SHARD,
                                      .done = on_done,
                                      .ctx = call};
  state->script->route_calls++;
  if (!tg_thread_start(state, &options, push_request, (void *)arguments))
    return; /* it has ended, and the call with it */
  call->late = tg_alarm_new(state->script, on_late, call);
  tg_alarm_set(call->late, tg_patience(TG_ROUTE_DEADLINE));
}

/* False: answered. */
static bool may_begin(struct tg_script *script, const struct tg_plugin_route *route,
                      tg_hook_answered *answered, void *ctx)
{
  struct tg_poison_call call = {.group = TG_LUA_route, .shard_id = TG_NO_SHARD};
  if (tg_is_off(script, TG_LUA_route) || script->state->memory.dry || tg_poison_skips(&call, route->where)) {
    refuse(answered, ctx, 503, "switched_off", NULL,
           "%s of the plugin is off until the next reload; the log says why", route->what);
    return false;
  }
  if (script->route_calls >= TG_ROUTE_CALLS_MAX) {
    refuse(answered, ctx, 503, "busy", NULL, "%d requests to plugins are under way already",
           TG_ROUTE_CALLS_MAX);
    return false;
  }
  return true;
}

static bool is_sound(const char *query)
{
  struct tg_buf ignored = {0};
  bool sound = tg_url_decode(&ignored, query, strlen(query), true);
  tg_buf_free(&ignored);
  return sound;
}

void tg_route_call(struct tg_script *script, const struct tg_hook_request *request,
                   tg_hook_answered *answered, void *ctx)
{
  struct tg_state *state = script->state;
  struct tg_route_parts parts;
  struct tg_buf allow = {0};
  if (script->stopped) {
    refuse(answered, ctx, 503, "stopping", NULL, "the gateway stops");
    return;
  }
  if (!tg_route_split(&parts, request->path) || !is_sound(request->query)) {
    refuse(answered, ctx, 400, "bad_argument", NULL, "behind a %% two hexadecimal digits have to stand");
    tg_buf_free(&parts.text);
    return;
  }
  const struct tg_plugin_route *route = state ? tg_route_match(state, &parts, request->method, &allow) : NULL;
  struct arguments arguments = {route, request, &parts};
  if (!route && allow.length == 0)
    refuse_path(state, &parts, request, answered, ctx);
  else if (!route)
    refuse(answered, ctx, 405, NULL, allow.data, "/plugins%s takes %s", request->path, allow.data);
  else if (may_begin(script, route, answered, ctx))
    begin(state, &arguments, answered, ctx);
  tg_buf_free(&allow);
  tg_buf_free(&parts.text);
}
