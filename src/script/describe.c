/* What a script has set up, and what it would not find, for whoever runs it. */

#include "script/vm/state.h"

#include "proto/event_types.h"
#include "script/api/json.h"

static json_t *overrides(const struct tg_state *state)
{
  json_t *list = json_array();
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    const struct tg_override *override = &state->override[i];
    if (override->ref != LUA_NOREF)
      json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b, s:b}", "table",
                                            tg_table_names[tg_methods[i].table], "method", tg_methods[i].name,
                                            "where", override->where, "used",
                                            tg_table_is_ours(state->script, tg_methods[i].table),
                                            "switchedOff", override->off));
  }
  for (int i = 0; i < state->sink_count; i++) {
    const struct tg_override *deliver = &state->sinks[i].deliver;
    if (deliver->ref != LUA_NOREF)
      json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:b, s:b}", "table", "sink", "sink",
                                            state->sinks[i].name, "method", "deliver", "where",
                                            deliver->where, "used", state->script->role == TG_ROLE_WORKER,
                                            "switchedOff", deliver->off));
  }
  return list;
}

static bool is_in(const struct tg_subscriber *list, const struct tg_subscription *subscription, int *priority)
{
  for (; list; list = list->next) {
    if (list->subscription == subscription && !list->removed) {
      *priority = list->priority;
      return true;
    }
  }
  return false;
}

static json_t *describe_subscription(const struct tg_state *state, const struct tg_subscription *subscription)
{
  json_t *names = json_array();
  int priority = 0;
  if (is_in(state->listeners, subscription, &priority)) {
    json_t *topic = json_string(subscription->topic);
    json_array_append_new(names, json_pack("{s:o}", "broadcast", topic ? topic : json_null()));
  }
  for (uint16_t type = 0; type < TG_WANT_SIZE; type++) {
    if (is_in(subscription->is_filter ? state->filters[type] : state->handlers[type], subscription,
              &priority))
      json_array_append_new(names, json_string(tg_event_type_name(type)));
  }
  for (int life = 0; !subscription->is_filter && life < TG_LIFE_COUNT; life++) {
    if (is_in(state->life[life], subscription, &priority))
      json_array_append_new(names, json_string(tg_life_names[life]));
  }
  json_t *made =
      json_pack("{s:o, s:s, s:i}", "events", names, "where", subscription->where, "priority", priority);
  if (subscription->is_filter) {
    bool compiled = subscription->ref == LUA_NOREF;
    json_object_set_new(made, "compiled", json_boolean(compiled));
    if (compiled)
      json_object_set_new(made, "rule", json_boolean(subscription->constant));
  } else if (subscription->order != TG_UNORDERED) {
    json_object_set_new(made, "ordered", json_string(subscription->order == TG_BY_SHARD ? "shard" : "guild"));
  }
  if (subscription->concurrency > 0)
    json_object_set_new(made, "concurrency", json_integer(subscription->concurrency));
  return made;
}

static json_t *subscriptions(const struct tg_state *state, bool filters)
{
  json_t *list = json_array();
  for (const struct tg_subscription *at = state->subscriptions; at; at = at->next) {
    if (at->is_filter == filters && !at->removed)
      json_array_insert_new(list, 0, describe_subscription(state, at)); /* the list is the newest first */
  }
  return list;
}

struct paths {
  json_t *path, *cpath;
};

static int read_paths(lua_State *L, void *ctx)
{
  struct paths *paths = ctx;
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_getfield(L, -2, "cpath");
  paths->path = json_string(lua_tostring(L, -2));
  paths->cpath = json_string(lua_tostring(L, -1));
  return 0;
}

/* What a function of tidegate.plugin returns; NULL: no plugin is loaded. */
struct plugin_question {
  const char *function;
  json_t *answer;
};

static int ask_plugins(lua_State *L, void *ctx)
{
  struct plugin_question *question = ctx;
  const char *problem;
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "tidegate.plugin");
  if (lua_isnil(L, -1))
    return 0;
  lua_getfield(L, -1, question->function);
  lua_call(L, 0, 1);
  question->answer = tg_json_take(L, -1, &problem);
  return 0;
}

static json_t *plugins_say(struct tg_state *state, const char *function)
{
  struct plugin_question question = {.function = function};
  tg_protect(state, NULL, TG_BUDGET_HOST, ask_plugins, &question);
  return json_array_size(question.answer) > 0 ? question.answer
                                              : (json_decref(question.answer), json_array());
}

json_t *tg_script_describe(const struct tg_script *script)
{
  struct tg_state *state = script->state;
  if (!state)
    return json_null();
  struct paths paths = {0};
  tg_protect(state, NULL, TG_BUDGET_HOST, read_paths, &paths);
  return json_pack("{s:s, s:s?, s:i, s:b, s:o, s:o, s:o, s:o, s:o*, s:o*}", "role",
                   script->role == TG_ROLE_MANAGER ? "manager" : "worker", "script", script->path,
                   "generation", script->generation, "configured", state->configured, "overrides",
                   overrides(state), "filters", subscriptions(state, true), "handlers",
                   subscriptions(state, false), "plugins", plugins_say(state, "describe"), "path", paths.path,
                   "cpath", paths.cpath);
}

static int look_for_cjson(lua_State *L, void *ctx)
{
  bool *found = ctx;
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED"); /* the script may have a `require` of its own */
  lua_getfield(L, -1, "tidegate.loader");
  lua_getfield(L, -1, "has_cjson");
  lua_call(L, 0, 1);
  *found = lua_toboolean(L, -1);
  return 0;
}

static int list_rocks_warnings(lua_State *L, void *ctx)
{
  struct tg_problems *warnings = ctx;
  lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
  lua_getfield(L, -1, "tidegate.rocks");
  if (lua_isnil(L, -1)) /* neither a script nor plugins */
    return 0;
  lua_getfield(L, -1, "warnings");
  lua_call(L, 0, 1);
  for (size_t i = 1; i <= lua_objlen(L, -1); i++) {
    lua_rawgeti(L, -1, (int)i);
    tg_problem_add(warnings, "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  return 0;
}

void tg_script_warn(const struct tg_script *script, struct tg_problems *warnings)
{
  bool found = true;
  if (!script->state)
    return;
  json_t *of_plugins = plugins_say(script->state, "warnings");
  for (size_t i = 0; i < json_array_size(of_plugins); i++)
    tg_problem_add(warnings, "%s", json_string_value(json_array_get(of_plugins, i)));
  json_decref(of_plugins);
  tg_protect(script->state, NULL, TG_BUDGET_HOST, list_rocks_warnings, warnings);
  if (!script->path)
    return;
  tg_protect(script->state, NULL, TG_BUDGET_HOST, look_for_cjson, &found);
  if (!found)
    tg_problem_add(warnings,
                   "lua-cjson is not installed: what a script or its modules do with \"cjson\" will "
                   "fail (on Debian: apt-get install lua-cjson)");
}
