/* Runs filters and handlers. */

#include "script/api/json.h"
#include "script/vm/held.h"
#include "script/vm/sched.h"

#include "base/utf8.h"
#include "proto/event_types.h"
#include "shard/shard.h"

#include <stdlib.h>
#include <string.h>

/* ---- filters ---- */

struct filtering {
  struct tg_state *state;
  struct tg_event *event;
  struct tg_poison_call call;
  struct tg_subscriber *filter; /* the next to ask; the one that failed */
  bool drop, replaced;
};

/* The message with another d: {"t":..,"s":..,"op":0,"d":..}. */
static void replace(struct tg_event *event, const char *data, size_t length)
{
  struct tg_buf text = {0};
  tg_buf_puts(&text, "{\"t\":");
  tg_buf_put_json(&text, event->name.at, event->name.length);
  tg_buf_printf(&text, ",\"s\":%llu,\"op\":0,\"d\":", (unsigned long long)event->sequence);
  tg_buf_append(&text, data, length);
  tg_buf_puts(&text, "}");
  free((char *)event->replacement.at);
  event->replacement.length = text.length;
  event->replacement.at = tg_buf_take(&text);
}

/* Takes what a filter returned, at the top of the stack. The event's userdata
 * is at index 1. */
static void take_verdict(lua_State *L, struct filtering *run)
{
  const char *problem = NULL;
  struct tg_buf *out = &run->state->out;
  switch (lua_type(L, -1)) {
  case LUA_TNIL:
    return;
  case LUA_TBOOLEAN:
    run->drop = !lua_toboolean(L, -1);
    return;
  case LUA_TSTRING: {
    size_t length, offset;
    const char *text = lua_tolstring(L, -1, &length);
    if (!tg_json_decode(L, text, length, &problem, &offset))
      luaL_error(L, "the filter returned a string that is not JSON: %s at byte %d", problem, (int)offset + 1);
    lua_pop(L, 1);
    out->length = 0;
    run->state->json.path[0] = '\0';
    run->state->json.torn = tg_utf8_mend(out, text, length) > 0;
    break;
  }
  case LUA_TTABLE: {
    out->length = 0;
    if (!tg_json_encode(L, -1, out, &problem))
      luaL_error(L, "the filter returned a table that JSON cannot carry: it contains %s", problem);
    break;
  }
  default:
    luaL_error(L, "a filter returns nil, false, a table or a string, not a %s", luaL_typename(L, -1));
  }
  tg_json_tell_torn(L, run->filter->subscription->where);
  replace(run->event, out->data, out->length);
  run->replaced = true;
  tg_event_changed(L, 1);
}

static int run_filters(lua_State *L, void *ctx)
{
  struct filtering *run = ctx;
  tg_push_event(L, run->event);
  bool several = run->filter && run->filter->next; /* then the log has to tell them apart */
  tg_ms began = several ? tg_held_clock() : 0;
  for (; run->filter && !run->drop; run->filter = run->filter->next) {
    const struct tg_subscription *subscription = run->filter->subscription;
    if (run->filter->removed || subscription->ref == LUA_NOREF ||
        tg_poison_skips(&run->call, subscription->where))
      continue;
    tg_poison_at(subscription->where);
    run->state->memory.owner = subscription->owner;
    lua_rawgeti(L, LUA_REGISTRYINDEX, subscription->ref);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    take_verdict(L, run);
    lua_settop(L, 1);
    if (several)
      began = tg_held_look(run->state, began);
  }
  return 0;
}

/* A filter that fails has no opinion: those behind it are still asked. */
enum tg_verdict tg_run_filters(struct tg_script *script, struct tg_event *event)
{
  struct tg_state *state = script->state;
  if (!state || event->type >= TG_WANT_SIZE)
    return TG_PASS;
  struct filtering run = {.state = state,
                          .event = event,
                          .call = tg_call_for(event, TG_LUA_filter),
                          .filter = state->filters[event->type]};
  int events = state->live_events, shard_before = state->shard_id;
  state->shard_id = event->shard_id;
  state->walking++;
  while (run.filter && !run.drop) {
    tg_poison_enter(&run.call, NULL);
    bool ran = tg_protect_call(state, TG_LUA_filter, "a filter", TG_BUDGET_INLINE, run_filters, &run);
    tg_poison_leave();
    if (!ran) {
      char what[TG_WHERE_SIZE];
      snprintf(what, sizeof what, "filter of %.*s", (int)event->name.length, event->name.at);
      tg_fault_log_at(state, TG_LUA_filter, event->shard_id, what, run.filter->subscription->where,
                      state->error, "the event passes");
      run.filter = run.filter->next;
    }
    state->live_events = events;
  }
  state->walking--;
  state->shard_id = shard_before;
  tg_subscriptions_sweep(state);
  if (run.drop)
    return TG_DROP;
  return run.replaced ? TG_REPLACED : TG_PASS;
}

/* ---- handlers of dispatches ---- */

struct dispatch {
  struct tg_state *state;
  struct tg_shard *shard;
  struct tg_event *event;
  struct tg_subscriber *handler;
  int event_ref; /* where the userdata for all handlers has its place; LUA_NOREF: nowhere yet */
  bool made;     /* it stands there */
  bool kept;     /* it has its copy */
  int live_events;
  bool keep_before;
};

static int keep_event(lua_State *L, void *ctx)
{
  struct dispatch *run = ctx;
  lua_rawgeti(L, LUA_REGISTRYINDEX, run->event_ref);
  tg_keep_event(L, 1);
  return 0;
}

/* [-0, +1] The first handler finds none. */
static void push_event(lua_State *L, struct dispatch *run)
{
  if (run->made) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->event_ref);
    return;
  }
  tg_push_event(L, run->event);
  lua_pushvalue(L, -1);
  if (run->event_ref == LUA_NOREF)
    run->event_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  else
    lua_rawseti(L, LUA_REGISTRYINDEX, run->event_ref);
  run->made = true;
}

static int push_handler(lua_State *L, void *ctx)
{
  struct dispatch *run = ctx;
  lua_rawgeti(L, LUA_REGISTRYINDEX, run->handler->subscription->ref);
  push_event(L, run);
  tg_push_shard(L, run->shard);
  return 3;
}

static void begin_dispatch(struct dispatch *run)
{
  struct tg_state *state = run->state;
  run->event_ref = state->spare_ref;
  state->spare_ref = LUA_NOREF;
  run->live_events = state->live_events;
  run->keep_before = state->keep_events;
  state->keep_events = false;
  state->walking++;
}

static void run_handler(struct dispatch *run, struct tg_subscriber *handler, struct tg_line *line)
{
  struct tg_state *state = run->state;
  run->handler = handler;
  bool waits = tg_waiting_start(state, line, run->event, push_handler, run);
  if ((waits || state->keep_events) && run->made && !run->kept)
    run->kept = tg_protect(state, NULL, TG_BUDGET_HOST, keep_event, run);
}

/* One place is used by one dispatch after the other; those inside of another one make their own. */
static void give_place_back(struct dispatch *run)
{
  struct tg_state *state = run->state;
  if (state->spare_ref != LUA_NOREF) {
    luaL_unref(state->L, LUA_REGISTRYINDEX, run->event_ref);
    return;
  }
  if (run->made) {
    lua_pushboolean(state->L, 0);
    lua_rawseti(state->L, LUA_REGISTRYINDEX, run->event_ref);
  }
  state->spare_ref = run->event_ref;
}

static void end_dispatch(struct dispatch *run)
{
  struct tg_state *state = run->state;
  state->walking--;
  state->live_events = run->live_events;
  state->keep_events = run->keep_before;
  give_place_back(run);
  tg_subscriptions_sweep(state);
}

/* Handlers of the type start in order of priority, but those for which earlier
 * events wait. All share one userdata, which copies the event's bytes only when
 * one of them waits. */
void tg_run_handlers(struct tg_script *script, struct tg_shard *shard, struct tg_event *event)
{
  struct tg_state *state = script->state;
  if (!state || event->type >= TG_WANT_SIZE)
    return;
  struct dispatch run = {.state = state, .shard = shard, .event = event};
  struct tg_poison_call call = tg_call_for(event, TG_LUA_handler);
  struct tg_kept *kept = NULL;
  begin_dispatch(&run);
  for (struct tg_subscriber *handler = state->handlers[event->type]; handler; handler = handler->next) {
    if (handler->removed || tg_poison_skips(&call, handler->subscription->where))
      continue;
    struct tg_line *line = tg_waiting_line(state, handler, event);
    if (line)
      run_handler(&run, handler, line);
    else
      tg_waiting_add(state, handler, event, &kept);
  }
  end_dispatch(&run);
  tg_kept_release(script, kept);
}

void tg_run_waiting(struct tg_state *state, struct tg_subscriber *handler, struct tg_line *line,
                    struct tg_event *event)
{
  struct tg_script *script = state->script;
  struct tg_shard *shard =
      script->worker ? script->core->worker_shard(script->worker, tg_event_ref(event)) : NULL;
  struct dispatch run = {.state = state, .shard = shard, .event = event};
  begin_dispatch(&run);
  run_handler(&run, handler, line);
  end_dispatch(&run);
}

/* ---- life-cycle ---- */

struct life {
  struct tg_state *state;
  struct tg_shard *shard;
  const json_t *details;
  struct tg_subscriber *handler;
};

static int push_life(lua_State *L, void *ctx)
{
  struct life *run = ctx;
  lua_rawgeti(L, LUA_REGISTRYINDEX, run->handler->subscription->ref);
  tg_push_shard(L, run->shard);
  tg_json_push(L, run->details);
  return 3;
}

void tg_run_life_on(struct tg_state *state, enum tg_life what, struct tg_shard *shard, const json_t *details,
                    bool outlives)
{
  struct life run = {state, shard, details, state->life[what]};
  int shard_id = shard ? state->script->core->shard_id(shard) : TG_NO_SHARD;
  state->walking++;
  struct tg_poison_call call = {.group = TG_LUA_life_cycle, .number = (uint8_t)what, .shard_id = shard_id};
  for (; run.handler; run.handler = run.handler->next) {
    if (run.handler->removed || tg_poison_skips(&call, run.handler->subscription->where))
      continue;
    struct tg_thread_options options = {.group = TG_LUA_life_cycle,
                                        .what = tg_life_names[what],
                                        .outlives = outlives,
                                        .where = run.handler->subscription->where,
                                        .owner = run.handler->subscription->owner,
                                        .shard_id = shard_id,
                                        .call = call};
    tg_thread_start(state, &options, push_life, &run);
  }
  state->walking--;
  tg_subscriptions_sweep(state);
}

void tg_run_life(struct tg_script *script, enum tg_life what, struct tg_shard *shard, const json_t *details)
{
  if (script->state)
    tg_run_life_on(script->state, what, shard, details, false);
}
