/* Coroutines of the host: start, wait, go on, end. */

#include "script/vm/sched.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POOL = 64 };

char tg_wait_token[1];

/* ---- the list of live coroutines, and the pool ---- */

static void link_thread(struct tg_thread *thread)
{
  struct tg_state *state = thread->state;
  thread->next = state->threads;
  if (thread->next)
    thread->next->link = &thread->next;
  thread->link = &state->threads;
  state->threads = thread;
}

static void unlink_thread(struct tg_thread *thread)
{
  *thread->link = thread->next;
  if (thread->next)
    thread->next->link = thread->link;
}

static void discard(struct tg_thread *thread)
{
  luaL_unref(thread->state->L, LUA_REGISTRYINDEX, thread->ref);
  free(thread);
}

static void recycle(struct tg_thread *thread, bool reusable)
{
  struct tg_state *state = thread->state;
  unlink_thread(thread);
  if (!reusable || state->pooled >= POOL || state->phase == TG_STATE_RETIRED) {
    discard(thread);
    if (state->phase == TG_STATE_RETIRED && !state->threads)
      tg_state_close_if_idle(state);
    return;
  }
  lua_settop(thread->L, 0);
  thread->next = state->pool;
  state->pool = thread;
  state->pooled++;
}

static int make_coroutine(lua_State *L, void *ctx)
{
  struct tg_thread **thread = ctx;
  lua_State *made = lua_newthread(L);
  lua_rawgeti(L, LUA_REGISTRYINDEX, tg_state_of(L)->ref_coroutines);
  lua_pushvalue(L, -2);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  int ref = luaL_ref(L, LUA_REGISTRYINDEX);
  *thread = tg_calloc(1, sizeof **thread);
  (*thread)->L = made;
  (*thread)->ref = ref;
  return 0;
}

/* Out of the pool, or a new one. NULL: state->error says why. */
static struct tg_thread *take_thread(struct tg_state *state, const char *what)
{
  struct tg_thread *thread = state->pool;
  if (thread) {
    state->pool = thread->next;
    state->pooled--;
  } else if (!tg_protect(state, what, TG_BUDGET_HOST, make_coroutine, &thread)) {
    return NULL;
  }
  return thread;
}

/* ---- running ---- */

static void abandon(struct tg_wait *wait)
{
  wait->thread = NULL;
  if (wait->cancel)
    wait->cancel(wait);
}

void tg_thread_tell(struct tg_thread *thread)
{
  tg_fault_log_at(thread->state, thread->group, thread->shard_id, thread->what, thread->where,
                  thread->state->error, "it has ended");
}

static void end(struct tg_thread *thread, bool ok)
{
  if (thread->starting)
    abandon(thread->starting);
  thread->starting = NULL;
  if (thread->done) {
    thread->done(thread, thread->ctx, ok, ok ? lua_gettop(thread->L) : 0);
  } else if (!ok && !thread->cancelled) { /* a cancelled one may stumble over the nil that it got */
    tg_thread_tell(thread);
  }
  recycle(thread, ok);
}

/* What came of running it. True: it waits. */
static bool settle(struct tg_thread *thread, int status)
{
  if (status != LUA_YIELD) {
    end(thread, status == 0);
    return false;
  }
  struct tg_wait *wait = thread->starting;
  if (wait && wait->yielded) {
    lua_settop(thread->L, 0);
    thread->wait = wait;
    thread->starting = NULL;
    return true;
  }
  if (!thread->parked) {
    free(thread->state->error);
    thread->state->error = tg_strdup("it yielded to nobody: a C module called lua_yield()");
  }
  end(thread, false);
  return false;
}

static void run(struct tg_thread *thread, int arguments)
{
  tg_poison_enter(&thread->call, thread->where);
  int status = tg_resume(thread, arguments);
  tg_poison_leave();
  settle(thread, status);
}

static void set_where(struct tg_thread *thread, const char *where)
{
  if (where)
    memcpy(thread->where, where, sizeof thread->where);
}

static void not_started(struct tg_state *state, const struct tg_thread_options *options)
{
  struct tg_thread nobody = {
      .state = state, .group = options->group, .what = options->what, .shard_id = options->shard_id};
  set_where(&nobody, options->where);
  if (options->done)
    options->done(&nobody, options->ctx, false, 0);
  else
    tg_fault_log(state, options->group, options->shard_id, options->what, "it was not run");
}

bool tg_thread_start(struct tg_state *state, const struct tg_thread_options *options, tg_body *body,
                     void *ctx)
{
  struct tg_thread *thread = take_thread(state, options->what);
  if (!thread) {
    not_started(state, options);
    return false;
  }
  *thread = (struct tg_thread){.state = state,
                               .L = thread->L,
                               .ref = thread->ref,
                               .group = options->group,
                               .what = options->what,
                               .owner = options->owner,
                               .shard_id = options->shard_id,
                               .call = options->call,
                               .outlives = options->outlives,
                               .done = options->done,
                               .ctx = options->ctx};
  set_where(thread, options->where);
  thread->call.group = (uint8_t)options->group;
  thread->call.shard_id = options->shard_id;
  link_thread(thread);
  tg_count(&state->script->stats->lua[options->group].calls);
  tg_poison_enter(&thread->call, thread->where);
  int status = tg_begin(thread, body, ctx);
  tg_poison_leave();
  return settle(thread, status);
}

/* ---- waiting ---- */

bool tg_wait_allowed(lua_State *L, const char *name)
{
  struct tg_state *state = tg_state_of(L);
  struct tg_thread *thread = state->running;
  if (state->phase == TG_STATE_LOADING)
    luaL_error(
        L,
        "%s waits, which is impossible while the script is being loaded; do it in gateway.on(\"load\", "
        "function() ... end) or gateway.spawn(function() ... end)",
        name);
  if (!thread)
    luaL_error(L, "%s waits, which is impossible inside %s; do it in gateway.spawn(function() ... end)", name,
               state->what ? state->what : "this function");
  if (!lua_isyieldable(L))
    luaL_error(L,
               "%s waits, which is impossible in a function that C calls (the comparison of table.sort, the "
               "replacement of string.gsub, the top level of a required file), here inside %s",
               name, state->what ? state->what : "a handler");
  return !thread->cancelled || thread->outlives;
}

int tg_wait_park(lua_State *L)
{
  struct tg_state *state = tg_state_of(L);
  if (state->running)
    state->running->parked = true;
  lua_pushlightuserdata(L, tg_wait_token);
  return lua_yield(L, 1);
}

void tg_wait_init(struct tg_wait *wait, lua_State *L, void (*cancel)(struct tg_wait *wait))
{
  struct tg_thread *thread = tg_state_of(L)->running;
  *wait = (struct tg_wait){.thread = thread, .cancel = cancel};
  /* A coroutine of the script's may have failed to pass an earlier wait on. */
  if (thread->starting)
    abandon(thread->starting);
  thread->starting = wait;
  thread->results = 0;
}

int tg_wait_yield(lua_State *L, struct tg_wait *wait)
{
  struct tg_thread *thread = tg_state_of(L)->running;
  if (thread->starting != wait) /* finished already, and perhaps freed */
    return thread->results;
  wait->yielded = true;
  lua_pushlightuserdata(L, tg_wait_token);
  return lua_yield(L, 1);
}

struct finish {
  struct tg_thread *thread;
  tg_body *push;
  void *ctx;
  int count;
};

static int push_finish(lua_State *L, void *ctx)
{
  struct finish *finish = ctx;
  finish->thread->state->memory.owner = finish->thread->owner;
  finish->count = finish->push(L, finish->ctx);
  lua_checkstack(finish->thread->L, finish->count + LUA_MINSTACK);
  lua_xmove(L, finish->thread->L, finish->count);
  return 0;
}

void tg_wait_finish(struct tg_wait *wait, tg_body *push, void *ctx)
{
  struct tg_thread *thread = wait->thread;
  if (!thread)
    return;
  struct tg_state *state = thread->state;
  if (thread->wait != wait) {
    if (thread->starting == wait)
      thread->starting = NULL;
    lua_State *L;
    if (!wait->yielded) /* the C function that waits still runs, and returns these at once */
      tg_protect_results(state, push, ctx, &L, &thread->results);
    return;
  }
  thread->wait = NULL;
  struct finish finish = {.thread = thread, .push = push, .ctx = ctx};
  if (!tg_protect(state, NULL, TG_BUDGET_HOST, push_finish, &finish)) {
    lua_settop(thread->L, 0);
    finish.count = 0;
  }
  run(thread, finish.count);
}

static int push_cancelled(lua_State *L, void *ctx)
{
  return tg_push_failure(L, "cancelled", "%s", (const char *)ctx);
}

static void cancel_thread(struct tg_thread *thread, const char *message)
{
  struct tg_wait *wait = thread->wait;
  thread->cancelled = true;
  thread->wait = NULL;
  abandon(wait);
  struct finish finish = {.thread = thread, .push = push_cancelled, .ctx = (void *)message};
  if (!tg_protect(thread->state, NULL, TG_BUDGET_HOST, push_finish, &finish))
    lua_settop(thread->L, 0);
  run(thread, finish.count);
}

void tg_thread_cancel(struct tg_state *state, const void *ctx, const char *message)
{
  struct tg_thread *thread = state->threads;
  while (thread && thread->ctx != ctx)
    thread = thread->next;
  if (thread && thread->wait)
    cancel_thread(thread, message);
}

void tg_threads_cancel(struct tg_state *state, bool keep_outliving)
{
  bool again = true;
  while (again) { /* what runs here may end others: start anew after each */
    again = false;
    for (struct tg_thread *thread = state->threads; thread; thread = thread->next) {
      if (!thread->wait || (keep_outliving && thread->outlives))
        continue;
      thread->outlives = thread->outlives && keep_outliving;
      cancel_thread(thread, "cancelled: the script was reloaded");
      again = true;
      break;
    }
  }
}

void tg_threads_drop(struct tg_state *state)
{
  while (state->threads) {
    struct tg_thread *thread = state->threads;
    unlink_thread(thread);
    if (thread->wait)
      abandon(thread->wait);
    thread->dropped = true;
    if (thread->done)
      thread->done(thread, thread->ctx, false, 0);
    discard(thread);
  }
  while (state->pool) {
    struct tg_thread *thread = state->pool;
    state->pool = thread->next;
    discard(thread);
  }
  state->pooled = 0;
}
