/* What the test makes a script do: load, events, calls, the passing of time. */

#include "script/api/json.h"
#include "script/api/routes.h"
#include "script/test_kit/test_kit.h"
#include "script/vm/sched.h"

#include "config/config_options.h"
#include "proto/event_types.h"

#include <stdlib.h>
#include <string.h>

enum {
  RINGS_AT_ONCE = 100000,    /* alarms at one moment: more never come to an end */
  PATIENCE = 10 * 60 * 1000, /* how long a call may wait, in the test's time */
};

/* ---- loading ---- */

struct saved {
  char *name, *value;
};

static void put_variable(const char *name, const char *value)
{
  if (value)
    setenv(name, value, 1);
  else
    unsetenv(name);
}

/* Returns what was there, to be given to restore(). */
static struct saved *replace_environment(const json_t *variables)
{
  size_t count = 0;
  char name[TG_VARIABLE_NAME];
  while (tg_config_variable(count, name))
    count++;
  struct saved *saved = tg_calloc(count + json_object_size(variables) + 1, sizeof *saved);
  count = 0;
  while (tg_config_variable(count, name)) {
    const char *value = getenv(name);
    saved[count++] = (struct saved){tg_strdup(name), value ? tg_strdup(value) : NULL};
    unsetenv(name);
  }
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)variables, key, value)
  {
    const char *before = getenv(key);
    saved[count++] = (struct saved){tg_strdup(key), before ? tg_strdup(before) : NULL};
    put_variable(key, json_string_value(value));
  }
  return saved;
}

/* The newest first: a variable may be saved twice. */
static void restore(struct saved *saved)
{
  size_t count = 0;
  while (saved[count].name)
    count++;
  while (count-- > 0) {
    put_variable(saved[count].name, saved[count].value);
    free(saved[count].name);
    free(saved[count].value);
  }
  free(saved);
}

bool tg_kit_load(struct tg_kit *kit, const char *path, char **problem)
{
  struct saved *saved = replace_environment(kit->variables);
  bool loaded = tg_script_load(kit->script, path, problem);
  restore(saved);
  return loaded;
}

/* Nothing goes to disk or network. */
static void take_config(struct tg_kit *kit)
{
  kit->config = *tg_script_config(kit->script);
  kit->config.event_handler.urls = (struct tg_strings){0};
  kit->config.queue.durability = TG_DURABILITY_MEMORY;
  for (int i = 0; i < kit->config.sink_count; i++) {
    kit->sinks[i] = kit->config.sinks[i];
    kit->sinks[i].handler.urls = (struct tg_strings){0};
    kit->sinks[i].queue.durability = TG_DURABILITY_MEMORY;
  }
  kit->config.sinks = kit->sinks;
}

bool tg_kit_reload(struct tg_kit *kit, char **problem)
{
  struct saved *saved = replace_environment(kit->variables);
  bool prepared = tg_script_prepare(kit->script, problem);
  restore(saved);
  if (!prepared)
    return false;
  tg_script_commit(kit->script, tg_script_generation(kit->script) + 1);
  if (kit->delivery) {
    take_config(kit);
    tg_kit_watch_hooks(kit);
    tg_delivery_reconfigure(kit->delivery, &kit->config);
  }
  return true;
}

/* ---- events ---- */

static struct tg_kit *kit_of(struct tg_script *script)
{
  return (struct tg_kit *)script;
}

static bool watched_call(struct tg_script *script, enum tg_method method, const struct tg_value *args,
                         int count, struct tg_value *result)
{
  struct tg_kit *kit = kit_of(script);
  struct tg_hooks *hooks = tg_script_hooks(kit->script);
  if (method != TG_METHOD_delivery_handle_discord_payload)
    return tg_hook_call(hooks, method, args, count, result);
  kit->arrived = true;
  if (!tg_hook_call(hooks, method, args, count, result))
    tg_kit_deliver(kit, args[1].event);
  return true;
}

static enum tg_verdict watched_filter(struct tg_script *script, struct tg_event *event)
{
  struct tg_kit *kit = kit_of(script);
  enum tg_verdict verdict = tg_script_hooks(kit->script)->filter(kit->script, event);
  kit->replaced = verdict == TG_REPLACED;
  return verdict;
}

static void watched_dispatch(struct tg_script *script, struct tg_shard *shard, struct tg_event *event)
{
  struct tg_kit *kit = kit_of(script);
  tg_script_hooks(kit->script)->dispatch(kit->script, shard, event);
}

static void watched_life(struct tg_script *script, enum tg_life what, struct tg_shard *shard,
                         const json_t *details)
{
  struct tg_kit *kit = kit_of(script);
  tg_hook_life(tg_script_hooks(kit->script), what, shard, details);
}

/* A handle_queue that never ends: it has all queues, from which nothing is sent by itself then. What the
 * script's own does the test finds out by calling that. */
static void watched_start(struct tg_script *script, enum tg_method method, const struct tg_value *args,
                          int count, tg_hook_reply *reply, void *ctx)
{
  struct tg_hooks *hooks = tg_script_hooks(kit_of(script)->script);
  const struct tg_value none = {.kind = TG_NIL};
  if (method == TG_METHOD_delivery_handle_queue)
    return;
  if (!tg_hook_start(hooks, method, args, count, reply, ctx))
    reply(ctx, false, &none);
}

/* The delivery asks these hooks: every event passes handle_discord_payload. */
void tg_kit_watch_hooks(struct tg_kit *kit)
{
  static struct tg_override there;
  kit->hooks = *tg_script_hooks(kit->script);
  kit->hooks.script = (struct tg_script *)kit;
  kit->hooks.method[TG_METHOD_delivery_handle_discord_payload] = &there;
  kit->hooks.method[TG_METHOD_delivery_handle_queue] = &there;
  kit->hooks.call = watched_call;
  kit->hooks.start = watched_start;
  kit->hooks.sink_count = kit->config.sink_count;
  for (int i = 0; i < kit->config.sink_count; i++) /* nothing goes to them by itself */
    kit->hooks.sinks[i] = (struct tg_sink_hook){.name = kit->sinks[i].name, .where = "", .set = true};
  kit->hooks.filter = watched_filter;
  kit->hooks.dispatch = watched_dispatch;
  kit->hooks.life = watched_life;
}

void tg_kit_begin(struct tg_kit *kit)
{
  take_config(kit);
  tg_kit_watch_hooks(kit);
  struct tg_delivery_options options = {
      .loop = &kit->loop,
      .clock = &kit->clock.now,
      .config = &kit->config,
      .hooks = &kit->hooks,
      .total_shards = kit->total_shards,
      .seats_follow = true, /* which they never do: nothing is sent */
  };
  kit->delivery = tg_delivery_new(&options);
}

struct tg_event tg_kit_make_event(const struct tg_kit *kit, int shard_id, uint64_t epoch, uint64_t sequence,
                                  const char *name, const json_t *data, struct tg_buf *text)
{
  char *d = json_dumps(data, JSON_COMPACT | JSON_ENCODE_ANY);
  tg_buf_printf(text, "{\"t\":\"%s\",\"s\":%llu,\"op\":0,\"d\":", name, (unsigned long long)sequence);
  size_t at = text->length, length = strlen(d);
  tg_buf_printf(text, "%s}", d);
  free(d);
  return (struct tg_event){.type = tg_event_type(name, strlen(name)),
                           .shard_id = shard_id,
                           .total_shards = kit->total_shards,
                           .epoch = epoch,
                           .sequence = sequence,
                           .name = {text->data + strlen("{\"t\":\""), strlen(name)},
                           .raw = {text->data, text->length},
                           .data = {text->data + at, length}};
}

const char *tg_kit_event(struct tg_kit *kit, int shard_id, uint64_t epoch, uint64_t sequence,
                         const char *name, const json_t *data)
{
  struct tg_buf text = {0};
  struct tg_event event = tg_kit_make_event(kit, shard_id, epoch, sequence, name, data, &text);
  tg_kit_watch_hooks(kit);
  kit->arrived = kit->replaced = false;
  tg_delivery_event(kit->delivery, (struct tg_shard *)&kit->shards[shard_id], &event);
  tg_buf_free(&text);
  return !kit->arrived ? "dropped" : kit->replaced ? "replaced" : "passed";
}

/* ---- calls ---- */

enum { ARGS_MAX = 16 };

struct called {
  struct tg_kit *kit;
  enum tg_method method;
  int shard_id;
  const json_t *args;
  struct tg_buf texts[ARGS_MAX]; /* of events among the arguments */
  struct tg_event events[ARGS_MAX];

  const char *text; /* or this, to be run */
  size_t length;
  const char *sink; /* or what takes its events */

  json_t *results;
  bool over;
  char *problem;
};

static int integer(const json_t *object, const char *key, int otherwise)
{
  const json_t *value = json_object_get(object, key);
  return json_is_number(value) ? (int)json_number_value(value) : otherwise;
}

static struct tg_shard *shard_at(struct tg_kit *kit, lua_State *L, int id)
{
  if (id < 0 || id >= kit->total_shards)
    luaL_error(L, "there is no shard %d: the kit was made with %d", id, kit->total_shards);
  return (struct tg_shard *)&kit->shards[id];
}

static struct tg_event describe_event(struct tg_kit *kit, const json_t *described, int id,
                                      struct tg_buf *text)
{
  return tg_kit_make_event(kit, id, kit->shards[id].epoch, (uint64_t)integer(described, "sequence", 1),
                           json_string_value(json_object_get(described, "name")),
                           json_object_get(described, "data"), text);
}

static void push_events(lua_State *L, struct called *called, int i, const json_t *list)
{
  lua_createtable(L, (int)json_array_size(list), 0);
  for (size_t at = 0; at < json_array_size(list); at++) {
    const json_t *described = json_object_get(json_array_get(list, at), "$event");
    int id = integer(described, "shard", 0);
    shard_at(called->kit, L, id);
    called->texts[i].length = 0;
    struct tg_event event = describe_event(called->kit, described, id, &called->texts[i]);
    tg_push_kept_event(L, &event);
    lua_rawseti(L, -2, (int)at + 1);
  }
}

/* {"$event": {"name":, "data":, "shard":, "sequence":}}, {"$events": [..]},
 * {"$shard": id}, {"$queue": id or null}, or a value. */
static void push_argument(lua_State *L, struct called *called, int i, const json_t *arg)
{
  struct tg_kit *kit = called->kit;
  const json_t *described = json_object_get(arg, "$event"), *shard = json_object_get(arg, "$shard");
  const json_t *events = json_object_get(arg, "$events"), *queue = json_object_get(arg, "$queue");
  if (shard) {
    tg_push_shard(L, shard_at(kit, L, (int)json_number_value(shard)));
  } else if (described) {
    int id = integer(described, "shard", 0);
    shard_at(kit, L, id);
    called->events[i] = describe_event(kit, described, id, &called->texts[i]);
    tg_push_event(L, &called->events[i]);
    tg_keep_event(L, -1);
  } else if (events) {
    push_events(L, called, i, events);
  } else if (queue) {
    bool all = json_is_null(queue);
    if (!all)
      shard_at(kit, L, (int)json_number_value(queue));
    tg_push_queue(L, NULL, all ? TG_ALL_SHARDS : (int)json_number_value(queue));
  } else if (json_is_null(arg)) {
    lua_pushnil(L);
  } else {
    tg_json_push(L, arg);
  }
}

static int push_method(lua_State *L, void *ctx)
{
  struct called *called = ctx;
  struct tg_state *state = called->kit->script->state;
  const struct tg_method_info *info = &tg_methods[called->method];
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_table[info->table]);
  lua_getfield(L, -1, info->name);
  lua_insert(L, -2);
  if (info->table == TG_TABLE_SHARD) {
    lua_pop(L, 1);
    tg_push_shard(L, shard_at(called->kit, L, called->shard_id));
  }
  int count = (int)json_array_size(called->args);
  if (count > ARGS_MAX)
    luaL_error(L, "more than %d arguments", ARGS_MAX);
  luaL_checkstack(L, count + 8, "arguments");
  for (int i = 0; i < count; i++)
    push_argument(L, called, i, json_array_get(called->args, (size_t)i));
  return count + 2;
}

static int push_sink(lua_State *L, void *ctx)
{
  struct called *called = ctx;
  int count = (int)json_array_size(called->args);
  lua_rawgeti(L, LUA_REGISTRYINDEX, called->kit->script->state->ref_gateway);
  lua_getfield(L, -1, "sink");
  lua_pushstring(L, called->sink);
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "deliver");
  lua_insert(L, 1);
  lua_settop(L, 1);
  if (count > ARGS_MAX)
    luaL_error(L, "more than %d arguments", ARGS_MAX);
  luaL_checkstack(L, count + 8, "arguments");
  for (int i = 0; i < count; i++)
    push_argument(L, called, i, json_array_get(called->args, (size_t)i));
  return count + 1;
}

static int push_chunk(lua_State *L, void *ctx)
{
  struct called *called = ctx;
  if (luaL_loadbuffer(L, called->text, called->length, "=kit:eval") != 0)
    lua_error(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, called->kit->script->state->ref_gateway);
  return 2;
}

/* [-0, +0] The values from index 1 on, as [{"value": ..}, {}, ..]: nil is {}. */
static int take_results(lua_State *L, void *ctx)
{
  struct called *called = ctx;
  int count = lua_gettop(L);
  for (int i = 1; i <= count; i++) {
    json_t *item = json_object();
    json_array_append_new(called->results, item);
    if (lua_isnil(L, i))
      continue;
    const char *problem;
    json_t *value = tg_json_take(L, i, &problem);
    if (!value)
      luaL_error(L, "result %d cannot be shown to the test: it contains %s", i, problem);
    json_object_set_new(item, "value", value);
  }
  return 0;
}

static int run_inline(lua_State *L, void *ctx)
{
  lua_call(L, push_method(L, ctx) - 1, LUA_MULTRET);
  return take_results(L, ctx);
}

struct handed {
  struct called *called;
  lua_State *from;
  int count;
};

static int take_from_thread(lua_State *L, void *ctx)
{
  struct handed *handed = ctx;
  luaL_checkstack(L, handed->count + 8, "results");
  lua_xmove(handed->from, L, handed->count);
  return take_results(L, handed->called);
}

static void on_ended(struct tg_thread *thread, void *ctx, bool ok, int count)
{
  struct called *called = ctx;
  struct tg_state *state = thread->state;
  struct handed handed = {called, thread->L, count};
  called->over = true;
  if (thread->dropped)
    return;
  if (!ok || !tg_protect(state, NULL, TG_BUDGET_HOST, take_from_thread, &handed))
    called->problem = tg_strdup(state->error ? state->error : "unknown error");
}

/* Moves the time on until the call has ended. */
static void wait_for_end(struct tg_kit *kit, struct called *called, const char *what)
{
  tg_ms end = kit->clock.now + PATIENCE;
  while (!called->over && tg_clock_step(&kit->clock, end)) {
  }
  if (called->over)
    return;
  struct tg_thread *thread = kit->script->state->threads;
  while (thread && thread->ctx != called)
    thread = thread->next;
  if (thread)
    thread->done = NULL; /* nobody asks for its end any more */
  struct tg_buf words = {0};
  tg_buf_printf(&words, "%s still waits after %d minutes of the test's time", what, PATIENCE / 60000);
  called->problem = tg_buf_take(&words);
}

static void run_waiting(struct tg_kit *kit, struct called *called, const char *what, tg_body *push)
{
  struct tg_thread_options options = {
      .what = what, .shard_id = called->shard_id, .done = on_ended, .ctx = called};
  struct tg_state *state = kit->script->state;
  int events = state->live_events;
  tg_thread_start(state, &options, push, called);
  state->live_events = events;
  wait_for_end(kit, called, what);
}

static json_t *end_call(struct called *called, char **problem)
{
  for (int i = 0; i < ARGS_MAX; i++)
    tg_buf_free(&called->texts[i]);
  if (!called->problem)
    return called->results;
  *problem = called->problem;
  json_decref(called->results);
  return NULL;
}

json_t *tg_kit_call(struct tg_kit *kit, enum tg_method method, int shard_id, const json_t *args,
                    char **problem)
{
  struct called called = {
      .kit = kit, .method = method, .shard_id = shard_id, .args = args, .results = json_array()};
  const struct tg_method_info *info = &tg_methods[method];
  struct tg_state *state = kit->script->state;
  if (tg_method_waits(method) || !tg_table_is_ours(kit->script, info->table)) {
    run_waiting(kit, &called, info->full, push_method);
  } else {
    int events = state->live_events;
    if (!tg_protect(state, info->full, TG_BUDGET_INLINE, run_inline, &called))
      called.problem = tg_strdup(state->error);
    state->live_events = events;
  }
  return end_call(&called, problem);
}

json_t *tg_kit_call_sink(struct tg_kit *kit, const char *name, const json_t *args, char **problem)
{
  struct called called = {
      .kit = kit, .shard_id = TG_NO_SHARD, .sink = name, .args = args, .results = json_array()};
  run_waiting(kit, &called, "gateway.sink(name).deliver", push_sink);
  return end_call(&called, problem);
}

json_t *tg_kit_eval(struct tg_kit *kit, const char *text, size_t length, char **problem)
{
  struct called called = {
      .kit = kit, .shard_id = TG_NO_SHARD, .text = text, .length = length, .results = json_array()};
  run_waiting(kit, &called, "kit:eval", push_chunk);
  return end_call(&called, problem);
}

static void on_answered(void *ctx, const struct tg_hook_answer *answer)
{
  json_t **result = ctx;
  json_t *body = json_loadb(answer->body.at, answer->body.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
  *result = json_pack("{s:i, s:o*, s:s*}", "status", answer->status, "body", body, "allow", answer->allow);
}

json_t *tg_kit_ask(struct tg_kit *kit, const char *method, const char *target, json_t *body)
{
  const char *mark = strchr(target, '?');
  char *path = tg_strndup(target, mark ? (size_t)(mark - target) : strlen(target));
  struct tg_hook_request request = {
      .method = method, .path = path, .query = mark ? mark + 1 : "", .body = body};
  json_t *result = NULL;
  tg_route_call(kit->script, &request, on_answered, &result);
  free(path);
  /* Each has its answer in time, if only that it took too long. */
  tg_ms end = kit->clock.now + TG_ROUTE_DEADLINE;
  while (!result && tg_clock_step(&kit->clock, end)) {
  }
  return result;
}

bool tg_kit_run_until(struct tg_kit *kit, tg_ms until)
{
  tg_ms moment = -1;
  int rings = 0;
  while (tg_clock_step(&kit->clock, until)) {
    if (kit->clock.now != moment)
      rings = 0;
    moment = kit->clock.now;
    if (++rings > RINGS_AT_ONCE)
      return false;
  }
  return true;
}
