/* gateway.on, gateway.on_broadcast and gateway.filter: who wants what. */

#include "script/vm/state.h"

#include "base/suggest.h"
#include "proto/event_types.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char subscription_type[] = "tidegate.subscription";

enum { CONCURRENCY_MAX = 1000000 };

/* ---- lists ---- */

static void insert(struct tg_subscriber **list, struct tg_subscriber *subscriber)
{
  while (*list && (*list)->priority >= subscriber->priority)
    list = &(*list)->next;
  subscriber->next = *list;
  *list = subscriber;
}

static void sweep_list(struct tg_state *state, struct tg_subscriber **list, bool all)
{
  while (*list) {
    struct tg_subscriber *subscriber = *list;
    if (!subscriber->removed && !all) {
      list = &subscriber->next;
      continue;
    }
    *list = subscriber->next;
    tg_subscriber_free(state, subscriber);
  }
}

static void sweep(struct tg_state *state, bool all)
{
  for (int i = 0; i < TG_WANT_SIZE; i++) {
    sweep_list(state, &state->filters[i], all);
    sweep_list(state, &state->handlers[i], all);
  }
  for (int i = 0; i < TG_LIFE_COUNT; i++)
    sweep_list(state, &state->life[i], all);
  sweep_list(state, &state->listeners, all);
  state->sweep = false;
}

void tg_subscriptions_sweep(struct tg_state *state)
{
  if (state->sweep && state->walking == 0)
    sweep(state, false);
}

void tg_subscriptions_free(struct tg_state *state)
{
  sweep(state, true);
  while (state->subscriptions) {
    struct tg_subscription *subscription = state->subscriptions;
    state->subscriptions = subscription->next;
    free(subscription->topic);
    free(subscription);
  }
}

/* ---- names ---- */

static bool is_life_name(const char *name, int *life)
{
  for (int i = 0; i < TG_LIFE_COUNT; i++) {
    if (strcmp(tg_life_names[i], name) == 0) {
      *life = i;
      return true;
    }
  }
  return false;
}

static bool is_upper(const char *name)
{
  if (!isupper((unsigned char)*name))
    return false;
  for (; *name; name++) {
    if (!isupper((unsigned char)*name) && !isdigit((unsigned char)*name) && *name != '_')
      return false;
  }
  return true;
}

static int unknown_name(lua_State *L, const char *function, const char *name, bool with_life)
{
  /* Case counts for nothing: of equals the first is meant. */
  const char *names[2];
  size_t count = 0;
  const char *life = with_life ? tg_suggest(name, tg_life_names, TG_LIFE_COUNT) : NULL;
  const char *dispatch = tg_event_name_suggest(name);
  if (life)
    names[count++] = life;
  if (dispatch)
    names[count++] = dispatch;
  const char *meant = tg_suggest(name, names, count);
  return luaL_error(L, "%s: there is no event '%s'%s%s%s", function, name, meant ? "; did you mean '" : "",
                    meant ? meant : "", meant ? "'?" : "");
}

uint16_t tg_check_event_type(lua_State *L, const char *function, const char *name, bool with_life)
{
  if (!tg_event_name_is_documented(name) && (tg_event_name_misspelt(name) || !is_upper(name)))
    unknown_name(L, function, name, with_life);
  uint16_t type = tg_event_type(name, strlen(name));
  if (type == TG_EVENT_OTHER)
    luaL_error(L, "%s: '%s' is one event name too many", function, name);
  return type;
}

/* ---- registration ---- */

static struct tg_subscriber *new_subscriber(struct tg_subscription *subscription, int priority)
{
  struct tg_subscriber *subscriber = tg_calloc(1, sizeof *subscriber);
  subscriber->subscription = subscription;
  subscriber->priority = priority;
  subscriber->last_ready = &subscriber->ready;
  return subscriber;
}

static void add(lua_State *L, struct tg_state *state, struct tg_subscription *subscription, const char *name,
                int priority)
{
  const char *function = subscription->is_filter ? "gateway.filter" : "gateway.on";
  int life = 0;
  bool is_life = !subscription->is_filter && is_life_name(name, &life);
  if (is_life && subscription->order != TG_UNORDERED)
    luaL_error(L, "gateway.on: 'ordered' is for dispatches, not for '%s'", name);
  if (is_life && subscription->concurrency > 0)
    luaL_error(L, "gateway.on: 'concurrency' is for dispatches, not for '%s'", name);
  uint16_t type = is_life ? 0 : tg_check_event_type(L, function, name, !subscription->is_filter);
  struct tg_subscriber *subscriber = new_subscriber(subscription, priority);
  if (is_life) {
    state->memory.owners[subscription->owner].group = TG_LUA_life_cycle;
    insert(&state->life[life], subscriber);
    tg_hooks_fill_life(state, (enum tg_life)life);
  } else {
    insert(subscription->is_filter ? &state->filters[type] : &state->handlers[type], subscriber);
    tg_hooks_fill_event(state, type);
  }
}

static void mark_list(struct tg_subscriber *list, const struct tg_subscription *subscription)
{
  for (; list; list = list->next)
    list->removed = list->removed || list->subscription == subscription;
}

static void remove_subscription(struct tg_state *state, struct tg_subscription *subscription)
{
  if (subscription->removed)
    return;
  subscription->removed = true;
  for (int i = 0; i < TG_WANT_SIZE; i++) {
    mark_list(subscription->is_filter ? state->filters[i] : state->handlers[i], subscription);
    tg_hooks_fill_event(state, (uint16_t)i);
  }
  for (int i = 0; !subscription->is_filter && i < TG_LIFE_COUNT; i++) {
    mark_list(state->life[i], subscription);
    tg_hooks_fill_life(state, (enum tg_life)i);
  }
  mark_list(state->listeners, subscription);
  state->sweep = true;
  tg_subscriptions_sweep(state);
}

/* subscription:remove(). The function itself stays until the state ends: it
 * may be running. */
static int l_remove(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct tg_subscription **holder = luaL_checkudata(L, 1, subscription_type);
  remove_subscription(state, *holder);
  return 0;
}

struct options {
  int priority;
  enum tg_order order;
  int concurrency; /* 0: not given */
};

static int check_concurrency(lua_State *L, int index)
{
  lua_Number n = lua_tonumber(L, index);
  if (!(n >= 1 && n <= CONCURRENCY_MAX) || n != (int)n)
    luaL_error(L, "gateway.on: concurrency is a whole number from 1 to %d", CONCURRENCY_MAX);
  return (int)n;
}

static struct options check_options(lua_State *L, int index, const char *function, bool of_events)
{
  struct options options = {0};
  if (lua_isnoneornil(L, index))
    return options;
  luaL_checktype(L, index, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    if (strcmp(key, "priority") == 0 && lua_type(L, -1) == LUA_TNUMBER) {
      options.priority = (int)lua_tointeger(L, -1);
    } else if (of_events && strcmp(key, "concurrency") == 0 && lua_type(L, -1) == LUA_TNUMBER) {
      options.concurrency = check_concurrency(L, lua_gettop(L));
    } else if (of_events && strcmp(key, "ordered") == 0 && lua_type(L, -1) == LUA_TSTRING) {
      const char *order = lua_tostring(L, -1);
      if (strcmp(order, "shard") != 0 && strcmp(order, "guild") != 0)
        luaL_error(L, "gateway.on: ordered is \"shard\" or \"guild\", not \"%s\"", order);
      options.order = *order == 's' ? TG_BY_SHARD : TG_BY_GUILD;
    } else {
      luaL_error(L, "gateway.%s: bad option '%s' (known: %s)", function, key,
                 of_events ? "priority, a number; ordered, \"shard\" or \"guild\"; concurrency, a number"
                           : "priority, a number");
    }
  }
  return options;
}

/* Where the script calls; of a plugin, which is called by way of its `self`, where its function is. */
static int place_of_call(lua_State *L, struct tg_state *state, char *place, size_t size)
{
  lua_Debug info = {0};
  if (state->plugin[0] && lua_isfunction(L, 2))
    return tg_place_of_function(L, 2, place, size);
  bool known = lua_getstack(L, 1, &info) && lua_getinfo(L, "Sl", &info);
  if (state->plugin[0])
    snprintf(place, size, "plugin %s", state->plugin);
  else
    snprintf(place, size, "%s", known ? info.short_src : "");
  return state->plugin[0] || !known ? 0 : info.currentline;
}

/* [-0, +1] Pushes the userdata of a new subscription, whose rule is the
 * function at index 2, or nothing. `what` names it to people. */
static struct tg_subscription *make(lua_State *L, struct tg_state *state, enum tg_lua_group group,
                                    const char *what)
{
  struct tg_subscription **holder = lua_newuserdata(L, sizeof(struct tg_subscription *));
  luaL_getmetatable(L, subscription_type);
  lua_setmetatable(L, -2);
  struct tg_subscription *made = tg_calloc(1, sizeof *made);
  *made = (struct tg_subscription){.next = state->subscriptions, .ref = LUA_NOREF};
  state->subscriptions = *holder = made;
  char place[TG_WHERE_SIZE];
  int line = place_of_call(L, state, place, sizeof place);
  snprintf(made->where, sizeof made->where, line > 0 ? "%s:%d" : "%s", place, line);
  if (lua_isfunction(L, 2)) {
    lua_pushvalue(L, 2);
    made->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    made->owner = tg_owner(state, group, what, place, line);
  }
  return made;
}

/* [name or names, function or constant, options] -> subscription */
static int subscribe(lua_State *L, bool is_filter)
{
  struct tg_state *state = tg_state_of(L);
  const char *function = is_filter ? "filter" : "on";
  bool constant = is_filter && lua_isboolean(L, 2);
  if (!constant && !lua_isfunction(L, 2))
    return luaL_error(L, "gateway.%s: expected a function%s as second argument, got %s", function,
                      is_filter ? ", true or false" : "", luaL_typename(L, 2));
  if (lua_type(L, 1) != LUA_TSTRING && !lua_istable(L, 1))
    return luaL_error(L, "gateway.%s: expected an event name or a list of them, got %s", function,
                      luaL_typename(L, 1));
  struct options options = check_options(L, 3, function, !is_filter);
  lua_settop(L, 2);

  struct tg_subscription *made = is_filter ? make(L, state, TG_LUA_filter, "gateway.filter")
                                           : make(L, state, TG_LUA_handler, "gateway.on");
  made->is_filter = is_filter;
  made->constant = constant && lua_toboolean(L, 2);
  made->order = options.order;
  made->concurrency = options.concurrency;
  if (lua_type(L, 1) == LUA_TSTRING) {
    add(L, state, made, lua_tostring(L, 1), options.priority);
    return 1;
  }
  int count = (int)lua_objlen(L, 1);
  luaL_argcheck(L, count > 0, 1, "expected at least one event name");
  for (int i = 1; i <= count; i++) {
    lua_rawgeti(L, 1, i);
    if (lua_type(L, -1) != LUA_TSTRING)
      return luaL_error(L, "gateway.%s: name %d of the list is a %s", function, i, luaL_typename(L, -1));
    add(L, state, made, lua_tostring(L, -1), options.priority);
    lua_pop(L, 1);
  }
  return 1;
}

/* on_broadcast(topic, fn, {priority=}) -> subscription */
static int l_on_broadcast(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  if (lua_type(L, 1) != LUA_TSTRING)
    return luaL_error(L, "gateway.on_broadcast: expected a topic (a string), got %s", luaL_typename(L, 1));
  if (!lua_isfunction(L, 2))
    return luaL_error(L, "gateway.on_broadcast: expected a function as second argument, got %s",
                      luaL_typename(L, 2));
  struct options options = check_options(L, 3, "on_broadcast", false);
  lua_settop(L, 2);
  struct tg_subscription *made = make(L, state, TG_LUA_broadcast, "gateway.on_broadcast");
  made->topic = tg_strdup(lua_tostring(L, 1));
  insert(&state->listeners, new_subscriber(made, options.priority));
  return 1;
}

static int l_on(lua_State *L)
{
  return subscribe(L, false);
}
static int l_filter(lua_State *L)
{
  return subscribe(L, true);
}

void tg_bind_subscribe(lua_State *L, struct tg_state *state)
{
  (void)state;
  luaL_newmetatable(L, subscription_type);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_remove);
  lua_setfield(L, -2, "remove");
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "subscription");
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
  lua_pushcfunction(L, l_on);
  lua_setfield(L, -2, "on");
  lua_pushcfunction(L, l_on_broadcast);
  lua_setfield(L, -2, "on_broadcast");
  lua_pushcfunction(L, l_filter);
  lua_setfield(L, -2, "filter");
}
