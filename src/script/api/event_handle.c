/* The `event` of filters, handlers and methods: a userdata that looks things up
 * in C's event when it is asked.
 *
 * C's event lives only while C handles it. The userdata therefore holds a slot
 * and a serial number of the state's list of live events, never a pointer that
 * could dangle; once the slot is given up it answers from its copy, if it was
 * told to keep one, or raises. What was decoded is kept in its environment. */

#include "script/api/json.h"
#include "script/vm/state.h"

#include "base/suggest.h"
#include "delivery/formats/format.h"
#include "proto/event.h"
#include "proto/event_types.h"

#include <string.h>

struct event_handle {
  const void *kind; /* &handle_kind: no other userdata of this size begins so */
  int slot;         /* -1: none */
  bool has_env;
  uint64_t serial;
  struct tg_event *copy; /* in a userdata of the environment */
};

static const char handle_kind;

static struct event_handle *to_handle(lua_State *L, int index)
{
  struct event_handle *handle = lua_touserdata(L, index);
  bool fits = handle && lua_objlen(L, index) == sizeof *handle; /* light ones have no length */
  return fits && handle->kind == &handle_kind ? handle : NULL;
}

static struct tg_event *live_event(struct tg_state *state, const struct event_handle *handle)
{
  if (handle->slot >= 0 && handle->slot < state->live_events &&
      state->live[handle->slot].serial == handle->serial)
    return state->live[handle->slot].event;
  return NULL;
}

struct tg_event *tg_check_event(lua_State *L, int index, bool copy_will_do)
{
  struct event_handle *handle = to_handle(L, index);
  if (!handle)
    luaL_argerror(L, index, lua_pushfstring(L, "expected an event, got %s", luaL_typename(L, index)));
  struct tg_event *event = live_event(tg_state_of(L), handle);
  if (!event && copy_will_do)
    event = handle->copy;
  if (!event)
    luaL_argerror(L, index, "this event is over: it can be used only during the call that was given it");
  return event;
}

/* [-0, +1] The environment: made with the first thing that is kept. */
static void push_env(lua_State *L, int index, struct event_handle *handle)
{
  if (handle->has_env) {
    lua_getfenv(L, index);
    return;
  }
  lua_createtable(L, 0, 2);
  lua_pushvalue(L, -1);
  lua_setfenv(L, index);
  handle->has_env = true;
}

static struct event_handle *push_handle(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct event_handle *handle = lua_newuserdata(L, sizeof *handle);
  *handle = (struct event_handle){.kind = &handle_kind, .slot = -1, .serial = ++state->event_serial};
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_event_meta);
  lua_setmetatable(L, -2);
  return handle;
}

void tg_push_event(lua_State *L, struct tg_event *event)
{
  struct tg_state *state = tg_state_of(L);
  struct event_handle *handle = push_handle(L);
  if (state->live_events >= TG_LIVE_EVENTS)
    return;
  handle->slot = state->live_events++;
  state->live[handle->slot].serial = handle->serial;
  state->live[handle->slot].event = event;
}

/* d of the message as it is now. */
static struct tg_span data_of(const struct tg_event *event)
{
  struct tg_span data = event->data;
  if (event->replacement.at &&
      !tg_json_find(event->replacement.at, event->replacement.at + event->replacement.length, "d", &data))
    data = (struct tg_span){0};
  return data;
}

/* A span of `from`, in the copy of it. */
static struct tg_span moved(struct tg_span span, struct tg_span from, const char *copy)
{
  return span.at ? (struct tg_span){copy + (span.at - from.at), span.length} : span;
}

size_t tg_event_text_size(const struct tg_event *event)
{
  return event->name.length + tg_event_message(event).length;
}

void tg_event_copy(struct tg_event *copy, const struct tg_event *event, char *text)
{
  struct tg_span message = tg_event_message(event), data = data_of(event);
  char *name = text;
  text += event->name.length;
  *copy = *event;
  if (event->name.length > 0)
    memcpy(name, event->name.at, event->name.length);
  memcpy(text, message.at, message.length);
  copy->name.at = name;
  copy->raw = moved(message, message, text);
  copy->data = moved(data, message, text);
  copy->replacement = (struct tg_span){0};
}

static void keep_copy(lua_State *L, int index, struct event_handle *handle, const struct tg_event *event)
{
  push_env(L, index, handle);
  struct tg_event *copy = lua_newuserdata(L, sizeof *copy + tg_event_text_size(event));
  tg_event_copy(copy, event, (char *)(copy + 1));
  handle->copy = copy;
  lua_setfield(L, -2, "copy");
  lua_pop(L, 1);
}

void tg_keep_event(lua_State *L, int index)
{
  struct event_handle *handle = to_handle(L, index);
  struct tg_event *event = handle ? live_event(tg_state_of(L), handle) : NULL;
  if (event && !handle->copy)
    keep_copy(L, index < 0 ? lua_gettop(L) + 1 + index : index, handle, event);
}

void tg_push_kept_event(lua_State *L, const struct tg_event *event)
{
  struct event_handle *handle = push_handle(L);
  keep_copy(L, lua_gettop(L), handle, event);
}

void tg_event_changed(lua_State *L, int index)
{
  struct event_handle *handle = to_handle(L, index);
  if (!handle || !handle->has_env)
    return;
  push_env(L, index, handle);
  lua_pushnil(L);
  lua_setfield(L, -2, "data");
  lua_pushnil(L);
  lua_setfield(L, -2, "raw");
  lua_pop(L, 1);
}

/* A snowflake, as a string. */
static void push_id(lua_State *L, bool (*find)(const struct tg_event *event, uint64_t *id),
                    const struct tg_event *event)
{
  char text[24];
  uint64_t id;
  if (!find(event, &id)) {
    lua_pushnil(L);
    return;
  }
  int length = 0, i = (int)sizeof text;
  do {
    text[--i] = (char)('0' + id % 10);
    length++;
  } while ((id /= 10) > 0);
  lua_pushlstring(L, text + i, (size_t)length);
}

/* raw, data: made once. */
static int push_kept(lua_State *L, struct event_handle *handle, const char *field)
{
  push_env(L, 1, handle);
  lua_getfield(L, -1, field);
  if (!lua_isnil(L, -1))
    return 1;
  lua_pop(L, 1);
  struct tg_event *event = tg_check_event(L, 1, true);
  if (*field == 'r') {
    struct tg_span message = tg_event_message(event);
    lua_pushlstring(L, message.at, message.length);
  } else {
    struct tg_span data = data_of(event);
    const char *problem;
    size_t offset;
    if (!data.at)
      lua_pushnil(L);
    else if (!tg_json_decode(L, data.at, data.length, &problem, &offset))
      return luaL_error(L, "event.data: not JSON: %s at byte %d of d", problem, (int)offset + 1);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, field);
  return 1;
}

enum field {
  TYPE = 1,
  SHARD_ID,
  TOTAL_SHARDS,
  SEQUENCE,
  EPOCH,
  ID,
  GUILD_ID,
  SIZE,
  RAW,
  DATA,
  GUILD_CREATE,
  REPLAYED,
  LATE,
  BODY
};

static const char *const field_names[] = {"type",         "shard_id", "total_shards", "sequence", "epoch",
                                          "id",           "guild_id", "size",         "raw",      "data",
                                          "guild_create", "replayed", "late",         "body"};

enum { FIELD_COUNT = sizeof field_names / sizeof field_names[0] };
_Static_assert(2 * (int)FIELD_COUNT <= (int)TG_EVENT_PLACES, "most fields are found at once");

/* Equal strings of a lua_State are one string: its address tells the field. */
static size_t place_of(const void *name)
{
  return (uintptr_t)name / 16 % TG_EVENT_PLACES;
}

static int find_field(const struct tg_state *state, const void *name)
{
  for (size_t i = place_of(name); state->event_fields[i].name; i = (i + 1) % TG_EVENT_PLACES) {
    if (state->event_fields[i].name == name)
      return state->event_fields[i].field;
  }
  return 0;
}

static void add_field(struct tg_state *state, const void *name, int field)
{
  size_t i = place_of(name);
  while (state->event_fields[i].name)
    i = (i + 1) % TG_EVENT_PLACES;
  state->event_fields[i].name = name;
  state->event_fields[i].field = field;
}

static int no_such_field(lua_State *L)
{
  const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
  const char *meant = tg_suggest(name, field_names, FIELD_COUNT);
  return luaL_error(L, "an event has no field '%s'%s%s%s", name, meant ? "; did you mean '" : "",
                    meant ? meant : "", meant ? "'?" : "");
}

static int l_index(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  struct event_handle *handle = to_handle(L, 1);
  if (!handle)
    return luaL_argerror(L, 1, "expected an event");
  int field = find_field(state, lua_topointer(L, 2));
  if (field == 0)
    return no_such_field(L);
  if (field == RAW || field == DATA)
    return push_kept(L, handle, field == RAW ? "raw" : "data");
  const struct tg_event *event = live_event(state, handle);
  if (!event)
    event = tg_check_event(L, 1, true);
  switch ((enum field)field) {
  case TYPE:
    lua_pushlstring(L, event->name.at, event->name.length);
    break;
  case SHARD_ID:
    lua_pushinteger(L, event->shard_id);
    break;
  case TOTAL_SHARDS:
    if (event->total_shards > 0)
      lua_pushinteger(L, event->total_shards);
    else
      lua_pushnil(L);
    break;
  case SEQUENCE:
    lua_pushnumber(L, (lua_Number)event->sequence);
    break;
  case EPOCH:
    lua_pushnumber(L, (lua_Number)event->epoch);
    break;
  case ID:
    push_id(L, tg_event_id, event);
    break;
  case GUILD_ID:
    push_id(L, tg_event_guild_id, event);
    break;
  case SIZE:
    lua_pushinteger(L, (lua_Integer)tg_event_message(event).length);
    break;
  case GUILD_CREATE:
    lua_pushstring(L, tg_guild_create_name(event->guild_create));
    break;
  case REPLAYED:
    lua_pushboolean(L, event->replayed);
    break;
  case LATE:
    lua_pushboolean(L, event->late);
    break;
  case BODY: {
    struct tg_buf *body = &state->scratch;
    body->length = 0;
    tg_format_write_event(tg_state_config(state), event, body);
    lua_pushlstring(L, body->data, body->length);
    break;
  }
  case RAW:
  case DATA:
    lua_pushnil(L);
    break;
  }
  return 1;
}

static int l_newindex(lua_State *L)
{
  tg_state_of(L);
  return luaL_error(L, "an event cannot be changed; to send something else, return the new payload from a "
                       "gateway.filter");
}

static int l_tostring(lua_State *L)
{
  struct event_handle *handle = to_handle(L, 1);
  const struct tg_event *event = handle ? live_event(tg_state_of(L), handle) : NULL;
  if (!event && handle)
    event = handle->copy;
  if (!event) {
    lua_pushliteral(L, "event (over)");
    return 1;
  }
  lua_pushliteral(L, "event ");
  lua_pushlstring(L, event->name.at, event->name.length);
  lua_pushfstring(L, " (shard %d, s %d)", event->shard_id, (int)event->sequence);
  lua_concat(L, 3);
  return 1;
}

void tg_open_event(lua_State *L, struct tg_state *state)
{
  lua_createtable(L, FIELD_COUNT, 5);
  for (int i = 0; i < FIELD_COUNT; i++) {
    lua_pushstring(L, field_names[i]);
    add_field(state, lua_topointer(L, -1), i + 1); /* kept alive by the metatable */
    lua_rawseti(L, -2, i + 1);
  }
  lua_pushcfunction(L, l_index);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_newindex);
  lua_setfield(L, -2, "__newindex");
  lua_pushcfunction(L, l_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "event");
  lua_setfield(L, -2, "__metatable");
  state->ref_event_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}
