/* gateway.spawn, sleep, after, every: everything that happens later. */

#include "script/vm/sched.h"

#include <stdlib.h>
#include <string.h>

/* Functions of one place of the script are one hook, by whatever they are called. */
static bool ends_processes(const char *where)
{
  struct tg_poison_call call = {.group = TG_LUA_timer, .shard_id = TG_NO_SHARD};
  return tg_poison_skips(&call, where);
}

/* ---- spawn: functions that start in the next loop turn ---- */

struct tg_job {
  struct tg_job *next;
  int ref; /* a table {n = count, function, arguments...} */
  uint32_t owner;
};

static int push_job(lua_State *L, void *ctx)
{
  struct tg_job *job = ctx;
  lua_rawgeti(L, LUA_REGISTRYINDEX, job->ref);
  int table = lua_gettop(L);
  lua_getfield(L, table, "n");
  int count = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, count + 4, "too many arguments");
  for (int i = 1; i <= count; i++)
    lua_rawgeti(L, table, i);
  return count;
}

static void run_jobs(void *ctx)
{
  struct tg_state *state = ctx;
  struct tg_job *job = state->jobs;
  state->jobs = NULL;
  state->last_job = &state->jobs;
  while (job) {
    struct tg_job *next = job->next;
    struct tg_thread_options options = {
        .group = TG_LUA_timer, .what = "gateway.spawn", .owner = job->owner, .shard_id = TG_NO_SHARD};
    options.where = state->memory.owners[job->owner].where;
    if (state->phase == TG_STATE_LIVE && !ends_processes(options.where))
      tg_thread_start(state, &options, push_job, job);
    luaL_unref(state->L, LUA_REGISTRYINDEX, job->ref);
    free(job);
    job = next;
  }
}

void tg_jobs_start(struct tg_state *state)
{
  if (!state->jobs || state->phase != TG_STATE_LIVE)
    return;
  if (!state->ready)
    state->ready = tg_alarm_new(state->script, run_jobs, state);
  tg_alarm_set(state->ready, 0);
}

/* What begins later does not begin any more: nil, err. */
static int never_begins(lua_State *L, struct tg_state *state, const char *name)
{
  if (state->phase == TG_STATE_RETIRED)
    return tg_push_failure(L, "cancelled", "cancelled: the script was reloaded");
  if (tg_is_off(state->script, TG_LUA_timer))
    return tg_push_failure(L, "switched_off", "%s: timers are off until the next reload (script.memory)",
                           name);
  return 0;
}

/* gateway.spawn(fn, ...) */
static int l_spawn(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  struct tg_state *state = tg_state_of(L);
  int refused = never_begins(L, state, "gateway.spawn");
  if (refused)
    return refused;
  uint32_t owner = tg_owner_of_function(L, 1, TG_LUA_timer, "gateway.spawn");
  int count = lua_gettop(L);
  lua_createtable(L, count, 1);
  lua_insert(L, 1);
  for (int i = count; i >= 1; i--)
    lua_rawseti(L, 1, i);
  lua_pushinteger(L, count);
  lua_setfield(L, 1, "n");
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  struct tg_job *job = tg_alloc(sizeof *job);
  *job = (struct tg_job){.ref = ref, .owner = owner};
  *state->last_job = job;
  state->last_job = &job->next;
  state->keep_events = true; /* the function may use an event of now */
  tg_jobs_start(state);
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- sleep ---- */

struct nap {
  struct tg_wait wait;
  struct tg_alarm *alarm;
};

static void cancel_nap(struct tg_wait *wait)
{
  struct nap *nap = (struct nap *)wait;
  tg_alarm_free(nap->alarm);
  free(nap);
}

static int push_true(lua_State *L, void *ctx)
{
  (void)ctx;
  lua_pushboolean(L, 1);
  return 1;
}

static void wake(void *ctx)
{
  struct nap *nap = ctx;
  tg_alarm_free(nap->alarm);
  tg_wait_finish(&nap->wait, push_true, NULL);
  free(nap);
}

static tg_ms check_ms(lua_State *L, int index)
{
  lua_Number ms = luaL_checknumber(L, index);
  luaL_argcheck(L, ms >= 0 && ms < 1e12, index, "expected milliseconds (0 or more)");
  return (tg_ms)ms;
}

/* gateway.sleep(ms) */
static int l_sleep(lua_State *L)
{
  tg_ms ms = check_ms(L, 1);
  if (!tg_wait_allowed(L, "gateway.sleep"))
    return tg_wait_park(L);
  struct nap *nap = tg_alloc(sizeof *nap);
  nap->alarm = tg_alarm_new(tg_state_of(L)->script, wake, nap);
  tg_alarm_set(nap->alarm, ms);
  tg_wait_init(&nap->wait, L, cancel_nap);
  return tg_wait_yield(L, &nap->wait);
}

/* ---- after, every ---- */

struct tg_timer {
  struct tg_timer *next, **link;
  struct tg_state *state;
  struct tg_alarm *alarm;
  struct tg_timer **holder; /* the userdata that scripts see; empty once this is gone */
  int holder_ref, ref;
  uint32_t owner;
  tg_ms ms;
  bool repeats, running, cancelled;
};

static void free_timer(struct tg_timer *timer)
{
  *timer->link = timer->next;
  if (timer->next)
    timer->next->link = timer->link;
  *timer->holder = NULL;
  luaL_unref(timer->state->L, LUA_REGISTRYINDEX, timer->ref);
  luaL_unref(timer->state->L, LUA_REGISTRYINDEX, timer->holder_ref);
  tg_alarm_free(timer->alarm);
  free(timer);
}

static int push_timer_function(lua_State *L, void *ctx)
{
  struct tg_timer *timer = ctx;
  lua_rawgeti(L, LUA_REGISTRYINDEX, timer->ref);
  return 1;
}

/* The next beat of an `every` starts when this one has ended: it never runs
 * twice at a time. */
static void on_timer_done(struct tg_thread *thread, void *ctx, bool ok, int count)
{
  (void)count;
  struct tg_timer *timer = ctx;
  if (!ok && !thread->cancelled && !thread->dropped)
    tg_fault_log_at(timer->state, TG_LUA_timer, TG_NO_SHARD, thread->what, thread->where,
                    timer->state->error, timer->repeats ? "it will run again" : "it has ended");
  timer->running = false;
  if (timer->repeats && !timer->cancelled && !thread->dropped && timer->state->phase == TG_STATE_LIVE)
    tg_alarm_set(timer->alarm, timer->ms);
  else
    free_timer(timer);
}

static const char *name_of(bool repeats) { return repeats ? "gateway.every" : "gateway.after"; }

static void on_timer(void *ctx)
{
  struct tg_timer *timer = ctx;
  struct tg_thread_options options = {.group = TG_LUA_timer,
                                      .what = name_of(timer->repeats),
                                      .where = timer->state->memory.owners[timer->owner].where,
                                      .owner = timer->owner,
                                      .shard_id = TG_NO_SHARD,
                                      .done = on_timer_done,
                                      .ctx = timer};
  if (ends_processes(options.where)) {
    free_timer(timer);
    return;
  }
  timer->running = true;
  tg_thread_start(timer->state, &options, push_timer_function, timer);
}

static int l_timer_cancel(lua_State *L)
{
  tg_state_of(L);
  struct tg_timer **holder = luaL_checkudata(L, 1, "tidegate.timer");
  struct tg_timer *timer = *holder;
  if (timer && timer->running)
    timer->cancelled = true;
  else if (timer)
    free_timer(timer);
  return 0;
}

static int make_timer(lua_State *L, bool repeats)
{
  struct tg_state *state = tg_state_of(L);
  tg_ms ms = check_ms(L, 1);
  luaL_argcheck(L, !repeats || ms > 0, 1, "expected at least 1 millisecond");
  luaL_checktype(L, 2, LUA_TFUNCTION);
  int refused = never_begins(L, state, name_of(repeats));
  if (refused)
    return refused;
  lua_settop(L, 2);
  uint32_t owner = tg_owner_of_function(L, 2, TG_LUA_timer, name_of(repeats));
  struct tg_timer **holder = lua_newuserdata(L, sizeof *holder);
  *holder = NULL;
  luaL_getmetatable(L, "tidegate.timer");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, 3);
  int holder_ref = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_pushvalue(L, 2);
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  struct tg_timer *timer = tg_calloc(1, sizeof *timer);
  *timer = (struct tg_timer){.state = state,
                             .holder = holder,
                             .holder_ref = holder_ref,
                             .ref = ref,
                             .owner = owner,
                             .ms = ms,
                             .repeats = repeats,
                             .next = state->timers,
                             .link = &state->timers};
  if (timer->next)
    timer->next->link = &timer->next;
  state->timers = timer;
  *holder = timer;
  timer->alarm = tg_alarm_new(state->script, on_timer, timer);
  state->keep_events = true;
  if (state->phase == TG_STATE_LIVE)
    tg_alarm_set(timer->alarm, ms);
  return 1;
}

/* gateway.after(ms, fn), gateway.every(ms, fn) */
static int l_after(lua_State *L)
{
  return make_timer(L, false);
}
static int l_every(lua_State *L)
{
  return make_timer(L, true);
}

void tg_timers_start(struct tg_state *state)
{
  for (struct tg_timer *timer = state->timers; timer; timer = timer->next)
    tg_alarm_set(timer->alarm, timer->ms);
}

/* Those whose function runs right now end with it. */
void tg_timers_close(struct tg_state *state)
{
  for (struct tg_timer *timer = state->timers, *next; timer; timer = next) {
    next = timer->next;
    if (timer->running)
      timer->cancelled = true;
    else
      free_timer(timer);
  }
  while (state->jobs) {
    struct tg_job *job = state->jobs;
    state->jobs = job->next;
    luaL_unref(state->L, LUA_REGISTRYINDEX, job->ref);
    free(job);
  }
  state->last_job = &state->jobs;
  tg_alarm_free(state->ready);
  state->ready = NULL;
}

void tg_bind_timers(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"spawn", l_spawn}, {"sleep", l_sleep}, {"after", l_after}, {"every", l_every}, {0}};
  luaL_newmetatable(L, "tidegate.timer");
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_timer_cancel);
  lua_setfield(L, -2, "cancel");
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "timer");
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
  luaL_register(L, NULL, functions);
}
