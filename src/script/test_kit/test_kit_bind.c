/* The module "tidegate.test.host": kits as objects of the test's Lua. */

#include "script/api/json.h"
#include "script/test_kit/test_kit.h"

#include "base/suggest.h"

#include <stdio.h>
#include <string.h>

static struct tg_kit_shard *check_shard(lua_State *T, struct tg_kit *kit, int index)
{
  lua_Integer id = luaL_checkinteger(T, index);
  if (id < 0 || id >= kit->total_shards)
    luaL_error(T, "there is no shard %d: the kit was made with %d", (int)id, kit->total_shards);
  return &kit->shards[id];
}

/* kit:expects(name): Discord adds events; those that the script names may come,
 * and any when it takes whatever it is. */
static int l_expects(lua_State *T)
{
  const struct tg_hooks *hooks = tg_script_hooks(tg_check_kit(T)->script);
  const char *name = luaL_checkstring(T, 2);
  lua_pushboolean(T, tg_event_name_is_documented(name) || hooks->want[tg_event_type(name, strlen(name))] ||
                         tg_hooked(hooks, TG_METHOD_delivery_handle_discord_payload));
  return 1;
}

/* kit:event(shard_id, name, data, sequence or nil, epoch or nil) -> outcome, sequence */
static int l_event(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  struct tg_kit_shard *shard = check_shard(T, kit, 2);
  const char *name = luaL_checkstring(T, 3);
  lua_Number sequence = luaL_optnumber(T, 5, (lua_Number)shard->sequence + 1);
  lua_Number epoch = luaL_optnumber(T, 6, (lua_Number)shard->epoch);
  if (!kit->delivery)
    return luaL_error(T, "a manager is given no events; load the script as a worker");
  const json_t *data = tg_check_json(T, 4, json_object());
  struct tg_visit visit;
  tg_kit_enter(&visit, T, kit, 1);
  shard->epoch = (uint64_t)epoch;
  shard->sequence = (uint64_t)sequence;
  shard->told_epoch = shard->epoch;
  const char *outcome = tg_kit_event(kit, shard->id, shard->epoch, shard->sequence, name, data);
  tg_kit_settle(&visit, T);
  lua_pushstring(T, outcome);
  lua_pushnumber(T, sequence);
  return 2;
}

/* kit:life(name, shard_id or nil, details) */
static int l_life(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  const char *name = luaL_checkstring(T, 2);
  struct tg_kit_shard *shard = lua_isnoneornil(T, 3) ? NULL : check_shard(T, kit, 3);
  const json_t *details = tg_check_json(T, 4, NULL);
  int life = 0;
  while (life < TG_LIFE_COUNT && strcmp(tg_life_names[life], name) != 0)
    life++;
  luaL_argcheck(T, life < TG_LIFE_COUNT, 2, "there is no such life-cycle event");
  struct tg_visit visit;
  tg_kit_enter(&visit, T, kit, 1);
  tg_hook_life(tg_script_hooks(kit->script), (enum tg_life)life, (struct tg_shard *)shard, details);
  tg_kit_settle(&visit, T);
  return 0;
}

/* kit:fill_queue(shard_id, name, data): one more event waits, if there is room */
static int l_fill_queue(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  const struct tg_kit_shard *shard = check_shard(T, kit, 2);
  const char *name = luaL_checkstring(T, 3);
  if (!kit->delivery)
    return luaL_error(T, "a manager has no queues; load the script as a worker");
  const json_t *data = tg_check_json(T, 4, json_object());
  struct tg_visit visit;
  tg_kit_enter(&visit, T, kit, 1);
  tg_kit_queue_push(kit, shard->id, name, data);
  tg_kit_settle(&visit, T);
  return 0;
}

/* kit:queued(shard_id) -> what waits */
static int l_queued(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  const struct tg_kit_shard *shard = check_shard(T, kit, 2);
  if (!kit->delivery)
    return luaL_error(T, "a manager has no queues; load the script as a worker");
  json_t **box = tg_push_json_box(T);
  *box = tg_kit_queued(kit, shard->id);
  tg_json_push(T, *box);
  return 1;
}

/* kit:broadcast(topic, value, worker_id or nil): another process has sent it */
static int l_broadcast(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  const char *topic = luaL_checkstring(T, 2);
  int from = (int)luaL_optinteger(T, 4, TG_FROM_MANAGER);
  json_t *value = (json_t *)tg_check_json(T, 3, json_null());
  struct tg_visit visit;
  tg_kit_enter(&visit, T, kit, 1);
  tg_hook_broadcast(tg_script_hooks(kit->script), topic, value, from);
  tg_kit_settle(&visit, T);
  return 0;
}

/* Pushes what a call returned. */
static int push_results(lua_State *T, const json_t *results)
{
  int count = (int)json_array_size(results);
  luaL_checkstack(T, count, "results");
  for (int i = 0; i < count; i++)
    tg_json_push(T, json_object_get(json_array_get(results, (size_t)i), "value"));
  return count;
}

static int end_visit(const struct tg_visit *visit, lua_State *T, json_t *results, char *problem)
{
  json_t **box = tg_push_json_box(T);
  *box = results;
  tg_kit_push_problem(T, problem);
  tg_kit_settle(visit, T);
  return results ? push_results(T, results) : lua_error(T);
}

static enum tg_method check_method(lua_State *T, int index)
{
  const char *name = luaL_checkstring(T, index);
  for (int i = 0; i < TG_METHOD_COUNT; i++) {
    if (strcmp(tg_methods[i].full + strlen("gateway."), name) == 0)
      return (enum tg_method)i;
  }
  luaL_argerror(T, index, "there is no such method");
  return TG_METHOD_COUNT;
}

/* kit:call("shard:handle_close", shard_id, {arguments}) -> results */
static int l_call(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  enum tg_method method = check_method(T, 2);
  int shard_id = (int)luaL_optinteger(T, 3, TG_NO_SHARD);
  const json_t *args = tg_check_json(T, 4, json_array());
  struct tg_visit visit;
  char *problem = NULL;
  tg_kit_enter(&visit, T, kit, 1);
  json_t *results = tg_kit_call(kit, method, shard_id, args, &problem);
  return end_visit(&visit, T, results, problem);
}

/* kit:call_sink(name, {arguments}) -> results */
static int l_call_sink(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  const char *name = luaL_checkstring(T, 2);
  const json_t *args = tg_check_json(T, 3, json_array());
  struct tg_visit visit;
  char *problem = NULL;
  tg_kit_enter(&visit, T, kit, 1);
  json_t *results = tg_kit_call_sink(kit, name, args, &problem);
  return end_visit(&visit, T, results, problem);
}

/* kit:eval(text) -> results */
static int l_eval(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  size_t length;
  const char *text = luaL_checklstring(T, 2, &length);
  struct tg_visit visit;
  char *problem = NULL;
  tg_kit_enter(&visit, T, kit, 1);
  json_t *results = tg_kit_eval(kit, text, length, &problem);
  return end_visit(&visit, T, results, problem);
}

/* kit:route(method, target, body or nil) -> {status=, body=, allow=} */
static int l_route(lua_State *T)
{
  static const char below[] = "/plugins";
  struct tg_kit *kit = tg_check_kit(T);
  const char *method = luaL_checkstring(T, 2), *target = luaL_checkstring(T, 3);
  luaL_argcheck(T, strncmp(target, below, sizeof below - 1) == 0, 3, "expected a path below /plugins");
  json_t *body = (json_t *)tg_check_json(T, 4, NULL);
  struct tg_visit visit;
  tg_kit_enter(&visit, T, kit, 1);
  json_t **answer = tg_push_json_box(T);
  *answer = tg_kit_ask(kit, strcmp(method, "HEAD") == 0 ? "GET" : method, target + sizeof below - 1, body);
  tg_kit_settle(&visit, T);
  tg_json_push(T, *answer);
  return 1;
}

/* kit:advance(ms) */
static int l_advance(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  lua_Number ms = luaL_checknumber(T, 2);
  luaL_argcheck(T, ms >= 0 && ms < 1e12, 2, "expected milliseconds (0 or more)");
  struct tg_visit visit;
  tg_kit_enter(&visit, T, kit, 1);
  bool settled = tg_kit_run_until(kit, kit->clock.now + (tg_ms)ms);
  tg_kit_leave(&visit, T);
  return settled ? 0 : luaL_error(T, "the script starts something new again and again, without a pause");
}

static int l_now(lua_State *T)
{
  lua_pushnumber(T, (lua_Number)tg_check_kit(T)->clock.now);
  return 1;
}

/* kit:answer(id, answer) -> whether the request still waited */
static int l_answer(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  uint64_t id = (uint64_t)luaL_checknumber(T, 2);
  const json_t *answer = tg_check_json(T, 3, json_object());
  struct tg_visit visit;
  tg_kit_enter(&visit, T, kit, 1);
  bool answered = tg_kit_answer(kit, id, answer);
  tg_kit_settle(&visit, T);
  lua_pushboolean(T, answered);
  return 1;
}

static void copy_text(const json_t *fields, const char *key, char *to, size_t size)
{
  const json_t *value = json_object_get(fields, key);
  if (value)
    snprintf(to, size, "%s", json_is_string(value) ? json_string_value(value) : "");
}

/* kit:set_shard(id, {state=, session_id=, sequence=, epoch=, rtt=, safe_requests=}) */
static int l_set_shard(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  struct tg_kit_shard *shard = check_shard(T, kit, 2);
  const json_t *fields = tg_check_json(T, 3, json_object()), *value;
  copy_text(fields, "state", shard->state, sizeof shard->state);
  copy_text(fields, "session_id", shard->session_id, sizeof shard->session_id);
  if ((value = json_object_get(fields, "sequence")))
    shard->sequence = (uint64_t)json_number_value(value);
  if ((value = json_object_get(fields, "epoch")))
    shard->epoch = (uint64_t)json_number_value(value);
  if ((value = json_object_get(fields, "rtt")))
    shard->rtt = (int)json_number_value(value);
  if ((value = json_object_get(fields, "safe_requests")))
    shard->safe_requests = (int)json_number_value(value);
  return 0;
}

/* kit:describe() -> what the script has set up; its configuration */
static int l_describe(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  json_t **box = tg_push_json_box(T);
  *box =
      json_pack("[o, o]", tg_script_describe(kit->script), tg_config_to_json(tg_script_config(kit->script)));
  tg_json_push(T, json_array_get(*box, 0));
  tg_json_push(T, json_array_get(*box, 1));
  return 2;
}

/* ---- the module ---- */

/* check_event(function, name): raises when it is a typing error */
static int l_check_event(lua_State *T)
{
  tg_check_event_type(T, luaL_checkstring(T, 1), luaL_checkstring(T, 2), false);
  return 0;
}

/* suggest(word, names) -> the one that was meant, or nil */
static int l_suggest(lua_State *T)
{
  const char *word = luaL_checkstring(T, 1), *names[256];
  int count = 0;
  luaL_checktype(T, 2, LUA_TTABLE);
  lua_settop(T, 2);
  for (int i = 1; i <= (int)lua_objlen(T, 2) && count < 256; i++) {
    lua_rawgeti(T, 2, i);
    if (lua_type(T, -1) == LUA_TSTRING)
      names[count++] = lua_tostring(T, -1); /* kept alive by the list */
    lua_pop(T, 1);
  }
  lua_pushstring(T, tg_suggest(word, names, (size_t)count));
  return 1;
}

static void push_names(lua_State *T)
{
  lua_newtable(T);
  for (int table = 0; table < TG_TABLE_COUNT; table++) {
    lua_newtable(T);
    for (int i = 0, n = 0; i < TG_METHOD_COUNT; i++) {
      if (tg_methods[i].table != table)
        continue;
      lua_pushstring(T, tg_methods[i].name);
      lua_rawseti(T, -2, ++n);
    }
    lua_setfield(T, -2, tg_table_names[table]);
  }
}

static void push_life_names(lua_State *T)
{
  lua_newtable(T);
  for (int i = 0; i < TG_LIFE_COUNT; i++) {
    lua_pushstring(T, tg_life_names[i]);
    lua_rawseti(T, -2, i + 1);
  }
}

int tg_open_test_kit(lua_State *T)
{
  static const luaL_Reg methods[] = {{"close", tg_kit_close},
                                     {"reload", tg_kit_reopen},
                                     {"event", l_event},
                                     {"expects", l_expects},
                                     {"life", l_life},
                                     {"call", l_call},
                                     {"call_sink", l_call_sink},
                                     {"eval", l_eval},
                                     {"route", l_route},
                                     {"advance", l_advance},
                                     {"now", l_now},
                                     {"answer", l_answer},
                                     {"set_shard", l_set_shard},
                                     {"describe", l_describe},
                                     {"broadcast", l_broadcast},
                                     {"fill_queue", l_fill_queue},
                                     {"queued", l_queued},
                                     {0}};
  luaL_newmetatable(T, TG_KIT_TYPE);
  lua_newtable(T);
  luaL_register(T, NULL, methods);
  lua_setfield(T, -2, "__index");
  lua_pushcfunction(T, tg_kit_close);
  lua_setfield(T, -2, "__gc");
  lua_newtable(T);
  lua_pushcfunction(T, tg_kit_open);
  lua_setfield(T, -2, "open");
  lua_pushcfunction(T, l_suggest);
  lua_setfield(T, -2, "suggest");
  lua_pushcfunction(T, l_check_event);
  lua_setfield(T, -2, "check_event");
  tg_bind_json(T);
  lua_setfield(T, -2, "json");
  push_names(T);
  lua_setfield(T, -2, "methods");
  push_life_names(T);
  lua_setfield(T, -2, "life");
  return 1;
}
