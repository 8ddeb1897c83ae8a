/* struct tg_hooks: the core asks, the live state answers. */

#include "script/api/json.h"
#include "script/api/routes.h"
#include "script/vm/sched.h"

#include "base/buf.h"
#include "proto/event_types.h"
#include "shard/shard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum tg_taken { TG_TAKEN, TG_TAKEN_NOTHING, TG_TAKEN_WRONG };

void tg_push_value(lua_State *L, const struct tg_value *value)
{
  switch (value->kind) {
  case TG_NIL:
  case TG_ANSWER:
    lua_pushnil(L);
    return;
  case TG_BOOL:
    lua_pushboolean(L, value->boolean);
    return;
  case TG_INT:
    lua_pushnumber(L, (lua_Number)value->integer);
    return;
  case TG_STRING:
  case TG_FAILURE:
    lua_pushlstring(L, value->string.at ? value->string.at : "", value->string.length);
    return;
  case TG_JSON:
    tg_json_push(L, value->json);
    return;
  case TG_SHARD:
    tg_push_shard(L, value->shard);
    return;
  case TG_EVENT:
    tg_push_event(L, value->event);
    return;
  case TG_EVENTS:
    lua_createtable(L, value->events.count, 0);
    for (int i = 0; i < value->events.count; i++) {
      tg_push_kept_event(L, &value->events.at[i]);
      lua_rawseti(L, -2, i + 1);
    }
    return;
  case TG_QUEUE:
    tg_push_queue(L, NULL, (int)value->integer);
    return;
  }
}

/* Text for C lives in the table of results, one slot a method (and one for its
 * err.code), until that method returns the next text. */
static void take_text(lua_State *L, int index, int slot, struct tg_span *text)
{
  struct tg_state *state = tg_state_of(L);
  text->at = lua_tolstring(L, index, &text->length);
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_results);
  lua_pushvalue(L, index);
  lua_rawseti(L, -2, slot);
  lua_pop(L, 1);
}

static void take_string(lua_State *L, int index, enum tg_method method, struct tg_value *result)
{
  take_text(L, index, (int)method + 1, &result->string);
}

static enum tg_taken wrong(struct tg_state *state, const char *full, const char *got, const char *expected)
{
  struct tg_buf words = {0};
  tg_buf_printf(&words, "%s returned %s, expected %s", full, got, expected);
  free(state->error);
  state->error = tg_buf_take(&words);
  return TG_TAKEN_WRONG;
}

/* A number of an error object. */
static lua_Number field(lua_State *L, int index, const char *name, lua_Number otherwise)
{
  if (!lua_istable(L, index))
    return otherwise;
  lua_pushstring(L, name);
  lua_rawget(L, index);
  lua_Number value = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : otherwise;
  lua_pop(L, 1);
  return value >= -1 && value < 1e15 ? value : otherwise;
}

static enum tg_taken take_failure(lua_State *L, int index, enum tg_method method, struct tg_value *result)
{
  result->kind = TG_FAILURE;
  result->code = (struct tg_span){"failed", strlen("failed")};
  result->status = (long)field(L, index, "status", 0);
  result->retry_after = (tg_ms)field(L, index, "retry_after", -1);
  if (lua_istable(L, index)) {
    lua_pushliteral(L, "code");
    lua_rawget(L, index);
    if (lua_type(L, -1) == LUA_TSTRING)
      take_text(L, lua_gettop(L), (int)method + 1 + TG_METHOD_COUNT, &result->code);
    lua_pop(L, 1);
  }
  tg_push_error_text(L, index);
  lua_replace(L, index);
  take_string(L, index, method, result);
  return TG_TAKEN;
}

static enum tg_taken take_json(lua_State *L, int index, const char *full, struct tg_value *result)
{
  const char *problem;
  result->json = tg_json_take(L, index, &problem);
  return result->json ? TG_TAKEN : wrong(tg_state_of(L), full, problem, "a value that JSON can carry");
}

/* What has become of an interaction. */
static enum tg_taken take_answer(lua_State *L, int index, enum tg_method method, struct tg_value *result)
{
  const char *full = tg_methods[method].full;
  static const char expected[] = "true, false, \"wait\" or nothing";
  int type = lua_type(L, index);
  result->kind = type <= LUA_TNIL ? TG_NIL : type == LUA_TBOOLEAN ? TG_BOOL : TG_STRING;
  if (type == LUA_TBOOLEAN)
    result->boolean = lua_toboolean(L, index);
  if (type <= LUA_TNIL || type == LUA_TBOOLEAN)
    return TG_TAKEN;
  if (type != LUA_TSTRING)
    return wrong(tg_state_of(L), full, luaL_typename(L, index), expected);
  if (strcmp(lua_tostring(L, index), "wait") != 0)
    return wrong(tg_state_of(L), full, lua_pushfstring(L, "\"%s\"", lua_tostring(L, index)), expected);
  take_string(L, index, method, result);
  return TG_TAKEN;
}

/* Reads the values at `index` and above it (value, err) as a result of that method, or of a function that is
 * called as it is. `full`: its name. */
static enum tg_taken take_value(lua_State *L, int index, enum tg_method method, const char *full,
                                struct tg_value *result)
{
  struct tg_state *state = tg_state_of(L);
  int type = lua_type(L, index);
  if (type <= LUA_TNIL && tg_method_may_fail(method) && lua_type(L, index + 1) > LUA_TNIL)
    return take_failure(L, index + 1, method, result);
  enum tg_value_kind expected = tg_methods[method].result;
  if (expected == TG_ANSWER)
    return take_answer(L, index, method, result);
  if (expected == TG_NIL) {
    result->kind = TG_NIL;
    return TG_TAKEN;
  }
  if (type <= LUA_TNIL)
    return TG_TAKEN_NOTHING;
  result->kind = expected;
  switch (expected) {
  case TG_BOOL:
    result->boolean = lua_toboolean(L, index);
    return type == LUA_TBOOLEAN ? TG_TAKEN : wrong(state, full, luaL_typename(L, index), "true or false");
  case TG_INT: {
    if (type != LUA_TNUMBER)
      return wrong(state, full, luaL_typename(L, index), "a whole number");
    lua_Number number = lua_tonumber(L, index);
    if (!(fabs(number) < 9.2e18) || number != floor(number))
      return wrong(state, full, "a number with a fraction", "a whole number");
    result->integer = (int64_t)number;
    return TG_TAKEN;
  }
  case TG_STRING:
    if (type != LUA_TSTRING)
      return wrong(state, full, luaL_typename(L, index), "a string");
    take_string(L, index, method, result);
    return TG_TAKEN;
  case TG_JSON:
    return take_json(L, index, full, result);
  case TG_NIL:
  case TG_ANSWER:
  case TG_SHARD:
  case TG_EVENT:
  case TG_EVENTS:
  case TG_QUEUE:
  case TG_FAILURE:
    break;
  }
  return TG_TAKEN_NOTHING;
}

/* ---- call: inline ---- */

struct hook_call {
  struct tg_state *state;
  enum tg_method method;
  const struct tg_override *function; /* of the method, or of a sink */
  const struct tg_value *args;
  int count;
  struct tg_value *result;
  enum tg_taken taken;
};

/* [-0, +n] The function, its self, unless it is a sink's, its arguments. */
static int push_call(lua_State *L, void *ctx)
{
  struct hook_call *call = ctx;
  struct tg_state *state = call->state;
  int table = tg_methods[call->method].table, n = call->count + 1;
  bool is_method = call->function == &state->override[call->method];
  state->memory.owner = call->function->owner;
  luaL_checkstack(L, n + 4, "arguments");
  lua_rawgeti(L, LUA_REGISTRYINDEX, call->function->ref);
  if (is_method && table != TG_TABLE_SHARD) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_table[table]);
    n++;
  }
  for (int i = 0; i < call->count; i++) {
    tg_push_value(L, &call->args[i]);
    if (call->args[i].kind == TG_EVENT && tg_method_waits(call->method))
      tg_keep_event(L, -1);
  }
  return n;
}

static int run_call(lua_State *L, void *ctx)
{
  struct hook_call *call = ctx;
  lua_call(L, push_call(L, ctx) - 1, 2);
  struct tg_value ignored;
  call->taken =
      take_value(L, 1, call->method, tg_methods[call->method].full, call->result ? call->result : &ignored);
  return 0;
}

static int shard_of(const struct tg_core *core, const struct tg_value *args, int count)
{
  for (int i = 0; i < count; i++) {
    if (args[i].kind == TG_SHARD && args[i].shard)
      return core->shard_id(args[i].shard);
    if (args[i].kind == TG_EVENT)
      return args[i].event->shard_id;
    if (args[i].kind == TG_EVENTS && args[i].events.count > 0)
      return args[i].events.at[0].shard_id;
    if (args[i].kind == TG_QUEUE && args[i].integer != TG_ALL_SHARDS)
      return (int)args[i].integer;
  }
  return TG_NO_SHARD;
}

/* The first of them, and the last one of its session. */
static void add_events(struct tg_poison_call *call, const struct tg_event *events, int count)
{
  for (int i = 0; i < count; i++) {
    if (events[i].marker)
      continue;
    if (call->sequence == 0)
      *call = tg_call_for(&events[i], TG_LUA_delivery);
    else if (events[i].epoch == call->epoch)
      call->last = events[i].sequence;
  }
}

static struct tg_poison_call note_on(const struct tg_core *core, enum tg_method method,
                                     const struct tg_value *args, int count)
{
  struct tg_poison_call call = {.shard_id = shard_of(core, args, count)};
  for (int i = 0; i < count; i++) {
    if (args[i].kind == TG_EVENT)
      call = tg_call_for(args[i].event, tg_method_group(method));
    if (args[i].kind == TG_EVENTS)
      add_events(&call, args[i].events.at, args[i].events.count);
  }
  if ((tg_methods[method].how & TG_OF_PACKET) &&
      core->shard_packet_event(args[0].shard, &call.epoch, &call.sequence, &call.type))
    call.last = call.sequence;
  call.group = (uint8_t)tg_method_group(method);
  call.number = (uint8_t)method;
  return call;
}

static bool hook_call(struct tg_script *script, enum tg_method method, const struct tg_value *args, int count,
                      struct tg_value *result)
{
  struct tg_state *state = script->state;
  struct hook_call call = {state, method, &state->override[method], args, count, result, TG_TAKEN_NOTHING};
  struct tg_poison_call noted = note_on(script->core, method, args, count);
  if (tg_poison_skips(&noted, NULL))
    return false;
  int events = state->live_events, shard_before = state->shard_id;
  int shard_id = state->shard_id = noted.shard_id;
  tg_poison_enter(&noted, state->override[method].where);
  bool ran = tg_protect_call(state, tg_method_group(method), tg_methods[method].full, TG_BUDGET_INLINE,
                             run_call, &call);
  tg_poison_leave();
  state->live_events = events;
  state->shard_id = shard_before;
  if (!ran || call.taken == TG_TAKEN_WRONG) {
    tg_fault_override(state, method, shard_id, NULL);
    return false;
  }
  return call.taken == TG_TAKEN;
}

/* ---- start: in a coroutine ---- */

struct started {
  enum tg_method method;
  struct tg_sink_function *sink; /* its function, which is called as the method would be; NULL: the method */
  int shard_id;
  tg_hook_reply *reply;
  void *ctx;
};

struct finished {
  struct tg_thread *thread;
  int count;
  const struct started *started;
  struct tg_value result;
  enum tg_taken taken;
};

static const char *full_name(const struct started *started)
{
  return started->sink ? started->sink->full : tg_methods[started->method].full;
}

static int take_results(lua_State *L, void *ctx)
{
  struct finished *end = ctx;
  if (end->count > 2)
    lua_settop(end->thread->L, lua_gettop(end->thread->L) - (end->count - 2));
  luaL_checkstack(L, 8, "results");
  lua_xmove(end->thread->L, L, end->count < 2 ? end->count : 2);
  lua_settop(L, 2);
  end->taken = take_value(L, 1, end->started->method, full_name(end->started), &end->result);
  return 0;
}

static void fault(struct tg_state *state, const struct started *started)
{
  if (started->sink)
    tg_fault_sink(state, started->sink, started->shard_id);
  else
    tg_fault_override(state, started->method, started->shard_id, NULL);
}

static void on_method_done(struct tg_thread *thread, void *ctx, bool ok, int count)
{
  struct started *started = ctx;
  struct tg_state *state = thread->state;
  if (thread->dropped) {
    free(started);
    return;
  }
  struct finished end = {.thread = thread, .count = count, .started = started, .taken = TG_TAKEN_WRONG};
  if (ok)
    ok = tg_protect(state, NULL, TG_BUDGET_HOST, take_results, &end);
  bool cut_off = thread->cancelled;
  if ((!ok || end.taken == TG_TAKEN_WRONG) && !cut_off)
    fault(state, started);
  struct tg_value none = {.kind = TG_NIL};
  int how = cut_off ? tg_methods[started->method].how : 0;
  bool taken = ok && end.taken == TG_TAKEN && !(how & TG_CUT_IS_NOTHING);
  if (how & TG_CUT_IS_FAILURE) {
    end.result = (struct tg_value){.kind = TG_FAILURE, .string = {"cancelled", 9}, .code = {"cancelled", 9}};
    taken = true;
  }
  started->reply(started->ctx, taken, taken ? &end.result : &none);
  if (taken && end.result.kind == TG_JSON)
    json_decref(end.result.json);
  free(started);
}

static void start(struct tg_state *state, const struct started *what, const struct tg_poison_call *noted,
                  const struct tg_value *args, int count)
{
  const struct tg_override *function = what->sink ? &what->sink->deliver : &state->override[what->method];
  struct started *started = tg_calloc(1, sizeof *started);
  *started = *what;
  started->shard_id = noted->shard_id;
  struct hook_call call = {state, what->method, function, args, count, NULL, TG_TAKEN_NOTHING};
  struct tg_thread_options options = {.group = (enum tg_lua_group)noted->group,
                                      .what = full_name(what),
                                      .where = function->where,
                                      .owner = function->owner,
                                      .shard_id = started->shard_id,
                                      .call = *noted,
                                      .done = on_method_done,
                                      .ctx = started};
  int events = state->live_events;
  tg_thread_start(state, &options, push_call, &call);
  state->live_events = events;
}

static void reply_nothing(tg_hook_reply *reply, void *ctx)
{
  struct tg_value none = {.kind = TG_NIL};
  reply(ctx, false, &none);
}

static void hook_start(struct tg_script *script, enum tg_method method, const struct tg_value *args,
                       int count, tg_hook_reply *reply, void *ctx)
{
  struct started started = {.method = method, .reply = reply, .ctx = ctx};
  struct tg_poison_call noted = note_on(script->core, method, args, count);
  if (tg_poison_skips(&noted, NULL))
    reply_nothing(reply, ctx);
  else
    start(script->state, &started, &noted, args, count);
}

static void hook_start_sink(struct tg_script *script, const char *sink, const struct tg_value *events,
                            tg_hook_reply *reply, void *ctx)
{
  struct started started = {.method = TG_METHOD_delivery_deliver,
                            .sink = tg_sink_function(script->state, sink),
                            .reply = reply,
                            .ctx = ctx};
  struct tg_poison_call noted = note_on(script->core, started.method, events, 1);
  noted.group = TG_LUA_sink;
  noted.number = 0;
  if (!started.sink || tg_poison_skips(&noted, started.sink->deliver.where))
    reply_nothing(reply, ctx);
  else
    start(script->state, &started, &noted, events, 1);
}

/* ---- filling ---- */

static const struct tg_state *live_state(const struct tg_state *state)
{
  return tg_state_is_live(state) && !state->script->stopped ? state : NULL;
}

static bool is_off(const struct tg_state *state, enum tg_lua_group group)
{
  return tg_is_off(state->script, group) || state->memory.dry;
}

void tg_hooks_fill_method(struct tg_state *state, enum tg_method method)
{
  if (!live_state(state))
    return;
  struct tg_override *override = &state->override[method];
  bool set = override->ref != LUA_NOREF && !override->off && !is_off(state, tg_method_group(method)) &&
             tg_table_is_ours(state->script, tg_methods[method].table);
  state->script->hooks.method[method] = set ? override : NULL;
}

void tg_hooks_fill_sinks(struct tg_state *state)
{
  if (!live_state(state))
    return;
  struct tg_hooks *hooks = &state->script->hooks;
  bool ours = state->script->role == TG_ROLE_WORKER && !is_off(state, TG_LUA_sink);
  hooks->sink_count = state->sink_count;
  for (int i = 0; i < state->sink_count; i++) {
    const struct tg_sink_function *sink = &state->sinks[i];
    hooks->sinks[i] = (struct tg_sink_hook){
        .name = sink->name,
        .where = sink->deliver.where,
        .set = state->script->role == TG_ROLE_WORKER && sink->deliver.ref != LUA_NOREF,
        .delivers = ours && sink->deliver.ref != LUA_NOREF && !sink->deliver.off,
        .away = sink->away,
    };
  }
  hooks->sink_changes++;
}

void tg_hooks_fill_event(struct tg_state *state, uint16_t type)
{
  if (!live_state(state))
    return;
  uint8_t want = 0;
  for (const struct tg_subscriber *filter = state->filters[type]; filter; filter = filter->next) {
    bool compiled = filter->subscription->ref == LUA_NOREF;
    if (filter->removed || (!compiled && is_off(state, TG_LUA_filter)))
      continue;
    want |= !compiled ? TG_WANT_FILTER : filter->subscription->constant ? 0 : TG_WANT_DROP;
  }
  for (const struct tg_subscriber *handler = state->handlers[type]; handler; handler = handler->next) {
    if (!handler->removed && !tg_is_off(state->script, TG_LUA_handler)) /* they wait, if they have to */
      want |= TG_WANT_HANDLER;
  }
  state->script->hooks.want[type] = want;
}

void tg_hooks_fill_life(struct tg_state *state, enum tg_life life)
{
  if (!live_state(state))
    return;
  bool wanted = false;
  for (const struct tg_subscriber *handler = state->life[life]; handler; handler = handler->next)
    wanted = wanted || !handler->removed;
  state->script->hooks.want_life[life] = wanted && !is_off(state, TG_LUA_life_cycle);
}

void tg_hooks_fill(struct tg_script *script)
{
  script->hooks.away = script->state && script->state->bare_delivers;
  memset(script->hooks.method, 0, sizeof script->hooks.method);
  script->hooks.sink_count = 0;
  memset(script->hooks.want, 0, sizeof script->hooks.want);
  memset(script->hooks.want_life, 0, sizeof script->hooks.want_life);
  if (!script->state || !live_state(script->state))
    return;
  for (int i = 0; i < TG_METHOD_COUNT; i++)
    tg_hooks_fill_method(script->state, (enum tg_method)i);
  tg_hooks_fill_sinks(script->state);
  for (int i = 0; i < TG_WANT_SIZE; i++)
    tg_hooks_fill_event(script->state, (uint16_t)i);
  for (int i = 0; i < TG_LIFE_COUNT; i++)
    tg_hooks_fill_life(script->state, (enum tg_life)i);
}

void tg_hooks_init(struct tg_script *script)
{
  script->hooks.script = script;
  script->hooks.call = hook_call;
  script->hooks.start = hook_start;
  script->hooks.start_sink = hook_start_sink;
  script->hooks.filter = tg_run_filters;
  script->hooks.dispatch = tg_run_handlers;
  script->hooks.life = tg_run_life;
  script->hooks.broadcast = tg_broadcast_arrived;
  script->hooks.route = tg_route_call;
}
