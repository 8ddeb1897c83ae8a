/* Handlers that ask for order: one coroutine a shard or guild at a time, the
 * events behind it wait in a bounded queue. */

#include "script/sched.h"

#include "proto/event.h"
#include "proto/event_types.h"

#include <stdlib.h>

enum { LANE_EVENTS = 1000, LOG_EVERY = 60000 };

struct waiting {
  struct waiting *next;
  int ref; /* a table {event, shard} */
};

struct tg_lane {
  struct tg_lane *next;
  struct tg_state *state;
  struct tg_subscriber *handler; /* NULL: it was removed; the coroutine that runs is the last */
  const char *what;
  uint64_t key;
  int shard_id;
  struct waiting *first, **last;
  int count;
  bool busy;     /* a coroutine runs or waits */
  bool draining; /* the next one is being started */
};

struct push {
  struct tg_lane *lane;
  tg_body *arguments;
  void *ctx;
  int ref;
};

static struct tg_lane *find_lane(struct tg_subscriber *handler, uint64_t key)
{
  for (struct tg_lane *lane = handler->lanes; lane; lane = lane->next) {
    if (lane->key == key)
      return lane;
  }
  return NULL;
}

static void remove_lane(struct tg_lane *lane)
{
  while (lane->first) {
    struct waiting *waiting = lane->first;
    lane->first = waiting->next;
    luaL_unref(lane->state->L, LUA_REGISTRYINDEX, waiting->ref);
    free(waiting);
  }
  if (lane->handler) {
    struct tg_lane **link = &lane->handler->lanes;
    while (*link != lane)
      link = &(*link)->next;
    *link = lane->next;
  }
  free(lane);
}

static void start(struct tg_lane *lane, tg_body *push, void *ctx);

static int push_waiting(lua_State *L, void *ctx)
{
  struct push *push = ctx;
  lua_rawgeti(L, LUA_REGISTRYINDEX, push->lane->handler->subscription->ref);
  lua_rawgeti(L, LUA_REGISTRYINDEX, push->ref);
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  lua_remove(L, -3);
  return 3;
}

static void drain(struct tg_lane *lane)
{
  struct tg_state *state = lane->state;
  lane->draining = true;
  while (!lane->busy && lane->first && lane->handler && !lane->handler->removed &&
         state->phase != TG_STATE_RETIRED) {
    struct waiting *waiting = lane->first;
    lane->first = waiting->next;
    if (!lane->first)
      lane->last = &lane->first;
    lane->count--;
    struct push push = {.lane = lane, .ref = waiting->ref};
    free(waiting);
    start(lane, push_waiting, &push);
    luaL_unref(state->L, LUA_REGISTRYINDEX, push.ref);
  }
  lane->draining = false;
  if (!lane->busy)
    remove_lane(lane);
}

static void on_done(struct tg_thread *thread, void *ctx, bool ok, int count)
{
  (void)count;
  struct tg_lane *lane = ctx;
  if (!ok && !thread->cancelled && !thread->dropped)
    tg_fault_log(lane->state, TG_LUA_handler, lane->shard_id, lane->what, "it has ended");
  lane->busy = false;
  if (thread->dropped)
    remove_lane(lane);
  else if (!lane->draining)
    drain(lane);
}

static void start(struct tg_lane *lane, tg_body *push, void *ctx)
{
  struct tg_thread_options options = {.group = TG_LUA_handler,
                                      .what = lane->what,
                                      .shard_id = lane->shard_id,
                                      .done = on_done,
                                      .ctx = lane};
  lane->busy = true;
  tg_thread_start(lane->state, &options, push, ctx);
}

static int push_first(lua_State *L, void *ctx)
{
  struct push *push = ctx;
  lua_rawgeti(L, LUA_REGISTRYINDEX, push->lane->handler->subscription->ref);
  return 1 + push->arguments(L, push->ctx);
}

static int store(lua_State *L, void *ctx)
{
  struct push *push = ctx;
  lua_createtable(L, 2, 0);
  push->arguments(L, push->ctx);
  lua_rawseti(L, 1, 2);
  lua_rawseti(L, 1, 1);
  push->ref = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static void overflow(struct tg_lane *lane)
{
  struct tg_subscriber *handler = lane->handler;
  handler->overflowed++;
  tg_ms now = tg_script_now(lane->state->script);
  if (handler->overflow_logged_at != 0 && now - handler->overflow_logged_at < LOG_EVERY)
    return;
  handler->overflow_logged_at = now;
  tg_log(TG_WARN, lane->shard_id,
         "the ordered handler of %s (%s) is too slow: %d events wait for it, %llu were "
         "not handed to it (their delivery is not affected)",
         lane->what, handler->subscription->where, LANE_EVENTS, (unsigned long long)handler->overflowed);
}

void tg_lane_run(struct tg_state *state, struct tg_subscriber *handler, const struct tg_event *event,
                 int shard_id, tg_body *push_arguments, void *ctx)
{
  uint64_t key = (uint64_t)shard_id, guild;
  if (handler->subscription->order == TG_BY_GUILD && tg_event_guild_id(event, &guild))
    key = guild;
  struct tg_lane *lane = find_lane(handler, key);
  struct push push = {.arguments = push_arguments, .ctx = ctx};
  if (!lane) {
    lane = tg_calloc(1, sizeof *lane);
    *lane = (struct tg_lane){.next = handler->lanes,
                             .state = state,
                             .handler = handler,
                             .key = key,
                             .what = tg_event_type_name(event->type),
                             .shard_id = shard_id};
    lane->last = &lane->first;
    handler->lanes = lane;
    push.lane = lane;
    start(lane, push_first, &push);
    return;
  }
  push.lane = lane;
  if (lane->count >= LANE_EVENTS) {
    overflow(lane);
    return;
  }
  if (!tg_protect(state, NULL, TG_BUDGET_HOST, store, &push)) {
    tg_fault_log(state, TG_LUA_handler, shard_id, lane->what, "an ordered handler did not get it");
    return;
  }
  struct waiting *waiting = tg_alloc(sizeof *waiting);
  *waiting = (struct waiting){.ref = push.ref};
  *lane->last = waiting;
  lane->last = &waiting->next;
  lane->count++;
}

/* The handler goes; coroutines that run for it end by themselves. */
void tg_lanes_free(struct tg_state *state, struct tg_subscriber *handler)
{
  (void)state;
  while (handler->lanes) {
    struct tg_lane *lane = handler->lanes;
    handler->lanes = lane->next;
    lane->handler = NULL;
  }
}
