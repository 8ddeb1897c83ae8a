/* Errors: the objects that functions return, and what is done about those that
 * scripts raise. */

#include "script/vm/state.h"

#include "base/error.h"
#include "shared/series.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { HEARD_FOR = 60000 };

static int l_failure_tostring(lua_State *L)
{
  lua_getfield(L, 1, "message");
  if (!lua_isstring(L, -1))
    lua_pushliteral(L, "failed");
  return 1;
}

void tg_open_failures(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, l_failure_tostring);
  lua_setfield(L, -2, "__tostring");
  lua_pushliteral(L, "tidegate.failure");
  lua_setfield(L, -2, "__name");
  state->ref_failure_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}

int tg_push_failure(lua_State *L, const char *code, const char *format, ...)
{
  char message[TG_ERROR_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  struct tg_state *state = tg_state_of(L);
  lua_pushnil(L);
  lua_createtable(L, 0, 2);
  lua_pushstring(L, code);
  lua_setfield(L, -2, "code");
  lua_pushstring(L, message);
  lua_setfield(L, -2, "message");
  lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_failure_meta);
  lua_setmetatable(L, -2);
  return 2;
}

static uint64_t hash_text(uint64_t hash, const char *text, size_t length)
{
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
  return hash;
}

bool tg_fault_heard(struct tg_script *script, const char *what, const char *message, unsigned *more)
{
  size_t line = strcspn(message, "\n");
  uint64_t hash = hash_text(hash_text(0xcbf29ce484222325u, what, strlen(what)), message, line) | 1;
  struct tg_heard *heard = script->heard, *end = heard + TG_HEARD, *place = heard;
  tg_ms now = tg_script_now(script);
  for (; heard < end && heard->hash != hash; heard++) {
    if (place->hash != 0 && (heard->hash == 0 || heard->logged_at < place->logged_at))
      place = heard;
  }
  bool known = heard < end;
  if (known && now - heard->logged_at < HEARD_FOR) {
    heard->more++;
    return true;
  }
  *more = known ? heard->more : 0;
  *(known ? heard : place) = (struct tg_heard){.hash = hash, .logged_at = now};
  return false;
}

/* What a plugin does wrong counts for it, and not for the script. */
static void count_fault(struct tg_stats *stats, enum tg_lua_group group, const char *where)
{
  static const char prefix[] = "plugin ";
  struct tg_series *series = NULL;
  if (where && strncmp(where, prefix, sizeof prefix - 1) == 0) {
    char labels[TG_WHERE_SIZE + 64];
    const char *name = where + sizeof prefix - 1;
    snprintf(labels, sizeof labels, "group=\"%s\",plugin=\"%.*s\"", tg_lua_group_names[group],
             (int)strcspn(name, ",:"), name);
    struct tg_series_text text = {.name = TG_LUA_ERRORS, .labels = labels, .help = ""};
    series = tg_series(stats, TG_SERIES_COUNTER, &text, NULL, 0);
  }
  if (series)
    tg_series_add(series, 1);
  else
    tg_count(&stats->lua[group].errors);
}

static void log_fault(struct tg_state *state, enum tg_lua_group group, int shard_id, const char *what,
                      const char *where, const char *message, const char *then)
{
  struct tg_script *script = state->script;
  unsigned more;
  count_fault(script->stats, group, where);
  if (script->core->fault)
    script->core->fault(script, what, message);
  if (tg_fault_heard(script, what, message, &more))
    return;
  tg_log_with(TG_ERROR, shard_id, TG_WITH(TG_TOLD(METHOD, what), TG_NUMBER_IF(more > 0, HELD, more)),
              "%s failed; %s\n%s", what, then, message);
}

void tg_fault_log(struct tg_state *state, enum tg_lua_group group, int shard_id, const char *what,
                  const char *then)
{
  tg_fault_log_at(state, group, shard_id, what, NULL, state->error, then);
}

void tg_fault_log_at(struct tg_state *state, enum tg_lua_group group, int shard_id, const char *what,
                     const char *where, const char *message, const char *then)
{
  char full[160];
  snprintf(full, sizeof full, where && where[0] ? "%s (%s)" : "%s", what, where);
  log_fault(state, group, shard_id, full, where, message ? message : "unknown error", then);
}

/* Whether the override has just been switched off. */
static bool fault(struct tg_state *state, struct tg_override *override, enum tg_lua_group group,
                  const char *full, int shard_id, const char *message)
{
  char what[256];
  const char *where = override->stopped[0] ? override->stopped : override->where;
  snprintf(what, sizeof what, "%s (%s)", full, where);
  log_fault(state, group, shard_id, what, where,
            message        ? message
            : state->error ? state->error
                           : "unknown error",
            "the default is used");
  if (override->stopped[0]) /* the plugins' stack counts it, and switches off that one alone */
    return false;
  tg_ms now = tg_script_now(state->script), *slot = &override->errors[override->next_error];
  bool too_many = *slot != 0 && now - *slot < TG_ERRORS_WINDOW;
  *slot = now;
  override->next_error = (override->next_error + 1) % (TG_ERRORS_TO_SWITCH_OFF - 1);
  if (!too_many || override->off)
    return false;
  override->off = true;
  atomic_fetch_add(&state->script->stats->lua_switched_off, 1);
  tg_log_with(TG_ERROR, shard_id, TG_WITH(TG_TOLD(METHOD, what)),
              "%s failed %d times in a minute and is switched off until the next reload", what,
              TG_ERRORS_TO_SWITCH_OFF);
  return true;
}

void tg_fault_override(struct tg_state *state, enum tg_method method, int shard_id, const char *message)
{
  if (fault(state, &state->override[method], tg_method_group(method), tg_methods[method].full, shard_id,
            message))
    tg_hooks_fill_method(state, method);
}

void tg_fault_sink(struct tg_state *state, struct tg_sink_function *sink, int shard_id)
{
  if (fault(state, &sink->deliver, TG_LUA_sink, sink->full, shard_id, NULL))
    tg_hooks_fill_sinks(state);
}
