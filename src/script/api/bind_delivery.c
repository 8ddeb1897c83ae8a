/* The defaults of gateway.delivery and gateway.cache. */

#include "script/vm/sched.h"

#include "delivery/delivery.h"
#include "delivery/interactions/interaction_facts.h"
#include "delivery/sinks/answer.h"
#include "net/http.h"
#include "worker/worker.h"

#include <stdlib.h>

enum { RETRY_BASE = 250, RETRY_CAP = 30000 };

static const char *name_of(lua_State *L)
{
  return tg_methods[lua_tointeger(L, lua_upvalueindex(1))].full;
}

/* The worker's delivery; NULL: there is none, and nil, err is pushed in the name of that function. */
static struct tg_delivery *delivery_for(lua_State *L, const char *function)
{
  struct tg_script *script = tg_state_of(L)->script;
  struct tg_delivery *delivery =
      script->worker && !script->stopped ? script->core->worker_delivery(script->worker) : NULL;
  if (!delivery)
    tg_push_failure(L, "unavailable", "%s: only a running worker has a delivery", function);
  return delivery;
}

static struct tg_delivery *delivery_of(lua_State *L)
{
  return delivery_for(L, name_of(L));
}

/* handle_discord_payload(shard, event): into the shard's lane */
static int l_handle_discord_payload(lua_State *L)
{
  struct tg_event *event = tg_check_event(L, 3, false);
  struct tg_delivery *delivery = delivery_of(L);
  if (!delivery)
    return 2;
  tg_core_of(L)->delivery_enqueue(delivery, event);
  lua_pushboolean(L, 1);
  return 1;
}

static lua_Number field(lua_State *L, int index, const char *name, lua_Number otherwise)
{
  if (!lua_istable(L, index))
    return otherwise;
  lua_getfield(L, index, name);
  lua_Number value = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : otherwise;
  lua_pop(L, 1);
  return value;
}

/* retry_delay(attempt, err) -> ms: what Retry-After says, else growing with
 * full jitter */
static int l_retry_delay(lua_State *L)
{
  tg_state_of(L);
  lua_Integer attempt = luaL_checkinteger(L, 2);
  lua_Number status = field(L, 3, "status", 0), retry_after = field(L, 3, "retry_after", -1);
  if ((status == 429 || status == 503) && retry_after >= 0)
    lua_pushnumber(L, retry_after);
  else
    lua_pushnumber(L, (lua_Number)tg_backoff(attempt > 0 ? (int)attempt - 1 : 0, RETRY_BASE, RETRY_CAP));
  return 1;
}

/* is_delivered(status): any 2xx */
static int l_is_delivered(lua_State *L)
{
  tg_state_of(L);
  lua_Integer status = luaL_checkinteger(L, 2);
  lua_pushboolean(L, status >= 200 && status < 300);
  return 1;
}

/* ---- handle_interaction_queueing: waits for REST ---- */

struct answering {
  struct tg_wait wait;
  const struct tg_core *core;
  struct tg_callback *answer;
  bool deferred; /* not just answered: the event handler is to get it */
};

struct answered {
  bool taken, deferred;
  const char *reason;
};

static int push_answered(lua_State *L, void *ctx)
{
  const struct answered *answered = ctx;
  if (!answered->taken)
    return tg_push_failure(L, "not_answered", "the interaction could not be answered: %s", answered->reason);
  lua_pushboolean(L, answered->deferred);
  return 1;
}

static void on_answered(void *ctx, bool taken, const char *reason)
{
  struct answering *answering = ctx;
  struct answered answered = {taken, answering->deferred, reason};
  tg_wait_finish(&answering->wait, push_answered, &answered);
  free(answering);
}

static void cancel_answer(struct tg_wait *wait)
{
  struct answering *answering = (struct answering *)wait;
  answering->core->delivery_cancel_answer(answering->answer);
  free(answering);
}

/* handle_interaction_queueing(event) -> true: deferred; false: answered, and the
 * bot is not to get it; or nil, err */
static int l_handle_interaction_queueing(lua_State *L)
{
  struct tg_interaction_facts facts;
  struct tg_event *event = tg_check_event(L, 2, true);
  if (!tg_wait_allowed(L, name_of(L)))
    return tg_wait_park(L);
  struct tg_delivery *delivery = delivery_of(L);
  if (!delivery)
    return 2;
  if (!tg_interaction_read(event->data, &facts))
    return tg_push_failure(L, "not_answered", "%s: expected an interaction of type 2 to 5, with id and token",
                           name_of(L));
  struct answering *answering = tg_calloc(1, sizeof *answering);
  answering->core = tg_core_of(L);
  answering->deferred = facts.type != TG_INTERACTION_AUTOCOMPLETE;
  answering->answer = answering->core->delivery_answer_interaction(delivery, &facts, on_answered, answering);
  tg_wait_init(&answering->wait, L, cancel_answer);
  return tg_wait_yield(L, &answering->wait);
}

/* ---- deliver: waits for the answers ---- */

struct delivering {
  struct tg_wait wait;
  const struct tg_core *core;
  struct tg_post *post; /* NULL: it has ended */
  bool by_sink;
};

struct posted {
  const struct tg_answer *answer; /* NULL: all are accepted */
  int delivered;
  bool by_sink;
};

/* true; or nil, err with err.status, err.retry_after and err.delivered */
static int push_posted(lua_State *L, void *ctx)
{
  const struct posted *posted = ctx;
  const struct tg_answer *answer = posted->answer;
  if (!answer) {
    lua_pushboolean(L, 1);
    return 1;
  }
  if (answer->status)
    tg_push_failure(L, "status", "the %s answered %ld", posted->by_sink ? "sink" : "event handler",
                    answer->status);
  else
    tg_push_failure(L, answer->error.code, "%s", answer->error.message);
  lua_pushinteger(L, (lua_Integer)answer->status);
  lua_setfield(L, -2, "status");
  lua_pushinteger(L, posted->delivered);
  lua_setfield(L, -2, "delivered");
  if (answer->retry_after >= 0) {
    lua_pushnumber(L, (lua_Number)answer->retry_after);
    lua_setfield(L, -2, "retry_after");
  }
  return 2;
}

static void on_posted(void *ctx, const struct tg_answer *answer, int delivered)
{
  struct delivering *delivering = ctx;
  struct posted posted = {answer, delivered, delivering->by_sink};
  delivering->post = NULL;
  tg_wait_finish(&delivering->wait, push_posted, &posted);
  free(delivering);
}

static void cancel_delivering(struct tg_wait *wait)
{
  struct delivering *delivering = (struct delivering *)wait;
  if (delivering->post)
    delivering->core->delivery_cancel_post(delivering->post);
  free(delivering);
}

static void check_one_shard(lua_State *L, int index, const struct tg_event *events, int count)
{
  luaL_argcheck(L, count > 0, index, "expected at least one event");
  for (int i = 1; i < count; i++)
    luaL_argcheck(L, tg_event_ref(&events[i]) == tg_event_ref(&events[0]), index,
                  "expected events of one shard");
}

/* The events at index 2 go to the URL of their shard at that sink; NULL: the bot. */
static int post(lua_State *L, struct tg_delivery *delivery, const char *sink)
{
  int count;
  const struct tg_event *events = tg_check_events(L, 2, &count);
  check_one_shard(L, 2, events, count);
  struct delivering *delivering = tg_calloc(1, sizeof *delivering);
  delivering->core = tg_core_of(L);
  delivering->by_sink = sink != NULL;
  tg_wait_init(&delivering->wait, L, cancel_delivering);
  struct tg_wait *wait = &delivering->wait;
  struct tg_post *under_way =
      delivering->core->delivery_post(delivery, sink, events, count, on_posted, delivering);
  if (under_way)
    delivering->post = under_way;
  return tg_wait_yield(L, wait);
}

/* deliver(events): POSTs them to the event handler of their shard */
static int l_deliver(lua_State *L)
{
  if (!tg_wait_allowed(L, name_of(L)))
    return tg_wait_park(L);
  struct tg_delivery *delivery = delivery_of(L);
  return delivery ? post(L, delivery, NULL) : 2;
}

/* core.sink_deliver(name, events): the default of gateway.sink(name).deliver */
int tg_sink_deliver(lua_State *L)
{
  static const char function[] = "gateway.sink(name).deliver";
  if (!tg_wait_allowed(L, function))
    return tg_wait_park(L);
  const char *sink = luaL_checkstring(L, 1);
  struct tg_delivery *delivery = delivery_for(L, function);
  return delivery ? post(L, delivery, sink) : 2;
}

/* ---- handle_queue, queue_overflow ---- */

struct draining {
  struct tg_wait wait;
  const struct tg_core *core;
  struct tg_delivery *delivery;
};

static int push_drained(lua_State *L, void *ctx)
{
  (void)ctx;
  lua_pushboolean(L, 1);
  return 1;
}

static void on_drained(void *ctx)
{
  struct draining *draining = ctx;
  tg_wait_finish(&draining->wait, push_drained, NULL);
  free(draining);
}

static void cancel_draining(struct tg_wait *wait)
{
  struct draining *draining = (struct draining *)wait;
  draining->core->delivery_forget_drain(draining->delivery, draining);
  free(draining);
}

/* handle_queue(queue): the lane drains it itself -> true when it is empty */
static int l_handle_queue(lua_State *L)
{
  if (!tg_wait_allowed(L, name_of(L)))
    return tg_wait_park(L);
  struct tg_delivery *delivery = delivery_of(L);
  tg_shard_ref ref = tg_check_queue(L, 2);
  luaL_argcheck(L, ref != TG_ALL_SHARDS, 2, "expected the queue of one shard");
  if (!delivery)
    return 2;
  struct draining *draining = tg_calloc(1, sizeof *draining);
  draining->core = tg_core_of(L);
  draining->delivery = delivery;
  tg_wait_init(&draining->wait, L, cancel_draining);
  struct tg_wait *wait = &draining->wait;
  draining->core->delivery_drain_queue(delivery, ref, on_drained, draining);
  return tg_wait_yield(L, wait);
}

/* queue_overflow(queue): the oldest goes, interactions last */
static int l_queue_overflow(lua_State *L)
{
  tg_state_of(L);
  struct tg_delivery *delivery = delivery_of(L);
  if (!delivery)
    return 2;
  tg_core_of(L)->delivery_queue_overflow(delivery);
  lua_pushboolean(L, 1);
  return 1;
}

/* guild_create_kind(event) -> "loading", "joined", "available", or nil */
static int l_guild_create_kind(lua_State *L)
{
  struct tg_event *event = tg_check_event(L, 2, true);
  struct tg_delivery *delivery = delivery_of(L);
  if (!delivery)
    return 2;
  lua_pushstring(L, tg_guild_create_name(tg_core_of(L)->delivery_guild_create_kind(delivery, event)));
  return 1;
}

/* message_changed(event) -> whether a MESSAGE_UPDATE changes the message */
static int l_message_changed(lua_State *L)
{
  struct tg_event *event = tg_check_event(L, 2, true);
  struct tg_delivery *delivery = delivery_of(L);
  if (!delivery)
    return 2;
  lua_pushboolean(L, tg_core_of(L)->delivery_message_changed(delivery, event));
  return 1;
}

const luaL_Reg tg_native_delivery[] = {
    {"handle_discord_payload", l_handle_discord_payload},
    {"handle_interaction_queueing", l_handle_interaction_queueing},
    {"retry_delay", l_retry_delay},
    {"is_delivered", l_is_delivered},
    {"deliver", l_deliver},
    {"handle_queue", l_handle_queue},
    {"queue_overflow", l_queue_overflow},
    {0},
};

const luaL_Reg tg_native_cache[] = {
    {"guild_create_kind", l_guild_create_kind},
    {"message_changed", l_message_changed},
    {0},
};
