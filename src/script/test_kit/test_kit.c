/* A kit's life, and the way between the test and the script. */

#include "script/test_kit/test_kit.h"

#include "base/utf8.h"
#include "script/api/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is told to the test ---- */

struct telling {
  struct tg_kit *kit;
  const char *name;
  const json_t *args;
  json_t *answer;
};

static int tell(lua_State *T)
{
  struct telling *telling = lua_touserdata(T, 1);
  int count = (int)json_array_size(telling->args);
  lua_settop(T, 0);
  luaL_checkstack(T, count + 8, "arguments");
  lua_rawgeti(T, LUA_REGISTRYINDEX, telling->kit->ref_watch);
  lua_getfield(T, -1, telling->name);
  for (int i = 0; i < count; i++) {
    const json_t *arg = json_array_get(telling->args, (size_t)i);
    tg_json_push(T, json_is_null(arg) ? NULL : arg);
  }
  lua_call(T, count, 1);
  if (lua_isnil(T, -1))
    return 0;
  const char *problem;
  telling->answer = tg_json_take(T, -1, &problem);
  if (!telling->answer)
    luaL_error(T, "an answer contains %s", problem);
  return 0;
}

json_t *tg_kit_tell(struct tg_kit *kit, const char *name, json_t *args)
{
  struct telling telling = {kit, name, args, NULL};
  lua_State *T = kit->T;
  if (T && lua_checkstack(T, 4) && lua_cpcall(T, tell, &telling) != 0) {
    if (kit->ref_error == LUA_NOREF)
      kit->ref_error = luaL_ref(T, LUA_REGISTRYINDEX);
    else
      lua_pop(T, 1);
  }
  json_decref(args);
  return telling.answer;
}

/* Those that the script has named: numbers and booleans are JSON as they stand. */
static json_t *named_fields(const struct tg_log_field *field)
{
  json_t *named = json_object();
  for (; field->key != TG_KEY_END; field++) {
    if (field->key != TG_KEY_NAMED)
      continue;
    json_t *plain = field->plain ? json_loads(field->text, JSON_DECODE_ANY, NULL) : NULL;
    json_object_set_new(named, field->name, plain ? plain : tg_json_text(field->text));
  }
  return named;
}

static void on_log(void *ctx, enum tg_log_level level, int shard_id, const char *text,
                   const struct tg_log_field *fields)
{
  static const char *const levels[] = {"debug", "info", "warn", "error"};
  json_t *shard = shard_id == TG_NO_SHARD ? json_null() : json_integer(shard_id);
  json_t *args =
      json_pack("[s, o, o, o]", levels[level], shard, tg_json_text(text), named_fields(fields));
  json_decref(tg_kit_tell(ctx, "log", args));
}

/* ---- into the kit and out again ---- */

static struct tg_kit *the_logging_kit;

void tg_kit_enter(struct tg_visit *visit, lua_State *T, struct tg_kit *kit, int index)
{
  *visit = (struct tg_visit){kit, the_logging_kit, kit->T, kit->ref_watch, tg_log_get_level()};
  lua_getfenv(T, index);
  kit->ref_watch = luaL_ref(T, LUA_REGISTRYINDEX);
  kit->T = T;
  the_logging_kit = kit;
  tg_log_set_level(TG_DEBUG);
  tg_log_set_sink(on_log, kit);
}

void tg_kit_leave(const struct tg_visit *visit, lua_State *T)
{
  struct tg_kit *kit = visit->kit;
  luaL_unref(T, LUA_REGISTRYINDEX, kit->ref_watch);
  kit->T = visit->T;
  kit->ref_watch = visit->ref_watch;
  the_logging_kit = visit->logging;
  tg_log_set_level(visit->level);
  tg_log_set_sink(the_logging_kit ? on_log : NULL, the_logging_kit);
  if (kit->ref_error == LUA_NOREF || kit->T)
    return;
  lua_rawgeti(T, LUA_REGISTRYINDEX, kit->ref_error);
  luaL_unref(T, LUA_REGISTRYINDEX, kit->ref_error);
  kit->ref_error = LUA_NOREF;
  lua_error(T);
}

void tg_kit_settle(const struct tg_visit *visit, lua_State *T)
{
  bool settled = tg_kit_run_until(visit->kit, visit->kit->clock.now);
  tg_kit_leave(visit, T);
  if (!settled)
    luaL_error(T, "the script starts something new again and again, without a pause");
}

void tg_kit_push_problem(lua_State *T, char *problem)
{
  lua_pushstring(T, problem);
  free(problem);
}

struct tg_kit *tg_check_kit(lua_State *T)
{
  struct tg_kit **box = luaL_checkudata(T, 1, TG_KIT_TYPE);
  if (!*box)
    luaL_error(T, "this kit is closed");
  return *box;
}

json_t *tg_check_json(lua_State *T, int index, json_t *otherwise)
{
  json_t **box = tg_push_json_box(T);
  if (lua_isnoneornil(T, index)) {
    *box = otherwise;
    return *box;
  }
  json_decref(otherwise);
  const char *problem;
  *box = tg_json_take(T, index, &problem);
  if (!*box)
    luaL_argerror(T, index, problem);
  return *box;
}

/* ---- the life of a kit ---- */

static void close_kit(struct tg_kit *kit)
{
  tg_log_set_sink(on_log, kit); /* its T is NULL: unload handlers speak to nobody */
  tg_script_free(kit->script);
  tg_kit_free_requests(kit);
  tg_delivery_free(kit->delivery);
  tg_log_set_sink(the_logging_kit ? on_log : NULL, the_logging_kit);
  uv_run(&kit->loop, UV_RUN_NOWAIT);
  for (int i = 0; i < 100 && uv_loop_close(&kit->loop) == UV_EBUSY; i++)
    uv_run(&kit->loop, UV_RUN_NOWAIT);
  json_decref(kit->variables);
  free(kit->stats);
  free(kit->shards);
  free(kit);
}

int tg_kit_close(lua_State *T)
{
  struct tg_kit **box = luaL_checkudata(T, 1, TG_KIT_TYPE);
  struct tg_kit *kit = *box;
  if (!kit)
    return 0;
  if (kit->T)
    return luaL_error(T, "a kit cannot be closed from inside of its own functions");
  *box = NULL;
  close_kit(kit);
  return 0;
}

static struct tg_kit *make_kit(enum tg_role role, int worker_id, int shards, const json_t *variables)
{
  struct tg_kit *kit = tg_calloc(1, sizeof *kit);
  kit->ref_watch = kit->ref_error = LUA_NOREF;
  kit->variables = json_deep_copy(variables);
  kit->total_shards = shards;
  kit->worker_id = worker_id;
  kit->shards = tg_calloc((size_t)shards, sizeof *kit->shards);
  for (int i = 0; i < shards; i++) {
    kit->shards[i] = (struct tg_kit_shard){
        .kit = kit, .id = i, .state = "Connected", .epoch = 1, .rtt = 40, .safe_requests = 115};
    snprintf(kit->shards[i].session_id, sizeof kit->shards[i].session_id, "session-%d", i);
  }
  uv_loop_init(&kit->loop);
  struct tg_script *script = tg_script_new(role, &kit->loop, worker_id);
  script->core = &tg_kit_core;
  script->stats = kit->stats = tg_calloc(1, sizeof *kit->stats); /* each test counts from 0 */
  script->clock = &kit->clock;
  kit->script = script;
  tg_script_attach_http(script, (struct tg_http *)kit);
  return kit;
}

static void start_script(struct tg_kit *kit)
{
  if (kit->script->role == TG_ROLE_MANAGER) {
    tg_script_attach_manager(kit->script, (struct tg_manager *)kit);
  } else {
    tg_script_attach_worker(kit->script, (struct tg_worker *)kit);
    tg_kit_begin(kit);
  }
  tg_script_started(kit->script);
}

int tg_kit_open(lua_State *T)
{
  const char *path = luaL_optstring(T, 1, NULL);
  luaL_checktype(T, 4, LUA_TTABLE);
  const json_t *options = tg_check_json(T, 2, json_object());
  const json_t *variables = tg_check_json(T, 3, json_object());
  const char *role = json_string_value(json_object_get(options, "role"));
  struct tg_kit **box = lua_newuserdata(T, sizeof *box);
  *box = NULL;
  luaL_getmetatable(T, TG_KIT_TYPE);
  lua_setmetatable(T, -2);
  lua_pushvalue(T, 4);
  lua_setfenv(T, -2);
  int index = lua_gettop(T);
  struct tg_kit *kit = make_kit(role && strcmp(role, "manager") == 0 ? TG_ROLE_MANAGER : TG_ROLE_WORKER,
                                (int)json_number_value(json_object_get(options, "worker_id")),
                                (int)json_number_value(json_object_get(options, "shards")), variables);
  *box = kit;
  struct tg_visit visit;
  tg_kit_enter(&visit, T, kit, index);
  char *problem = NULL;
  if (!tg_kit_load(kit, path, &problem)) {
    tg_kit_leave(&visit, T);
    *box = NULL;
    close_kit(kit);
    tg_kit_push_problem(T, problem);
    return lua_error(T);
  }
  start_script(kit);
  tg_kit_settle(&visit, T);
  lua_pushvalue(T, index);
  return 1;
}

int tg_kit_reopen(lua_State *T)
{
  struct tg_kit *kit = tg_check_kit(T);
  struct tg_visit visit;
  char *problem = NULL;
  tg_kit_enter(&visit, T, kit, 1);
  bool reloaded = tg_kit_reload(kit, &problem);
  lua_pushnil(T);
  tg_kit_push_problem(T, problem);
  tg_kit_settle(&visit, T);
  if (!reloaded)
    return 2;
  lua_pushboolean(T, 1);
  return 1;
}
