/* The only place where C runs Lua. */

#include "script/vm/held.h"
#include "script/vm/measure.h"
#include "script/vm/sched.h"
#include "script/vm/watchdog.h"

#include <luajit.h>
#include <stdlib.h>
#include <string.h>

/* What was running, to be restored when a call returns. */
struct frame {
  struct tg_watch watch;
  lua_State *now;
  struct tg_thread *running;
  const char *what;
  uint32_t owner;
  tg_ms began;
};

static tg_ms budget_of(const struct tg_state *state, enum tg_budget budget)
{
  static const tg_ms before_configure[] = {0, 5, 50, 500};
  if (!state->config)
    return before_configure[budget];
  switch (budget) {
  case TG_BUDGET_INLINE:
    return state->config->script.inline_budget;
  case TG_BUDGET_SLICE:
    return state->config->script.slice_budget;
  case TG_BUDGET_LOAD:
    return state->config->script.load_budget;
  case TG_BUDGET_HOST:
    break;
  }
  return 0;
}

static void enter(struct frame *frame, struct tg_state *state, const char *what, struct tg_thread *running,
                  enum tg_budget budget)
{
  frame->now = state->now;
  frame->running = state->running;
  frame->what = state->what;
  frame->owner = state->memory.owner;
  state->running = running;
  if (what)
    state->what = what;
  if (state->depth++ == 0) {
    state->memory.stop = budget == TG_BUDGET_HOST ? SIZE_MAX : state->memory.used + state->memory.limit;
    state->memory.stopping = false;
  }
  frame->began = tg_held_clock();
  tg_watchdog_enter(&frame->watch, state, budget_of(state, budget));
}

static void leave(const struct frame *frame, struct tg_state *state)
{
  tg_watchdog_leave(&frame->watch);
  tg_held_look(state, frame->began);
  state->now = frame->now;
  state->running = frame->running;
  state->what = frame->what;
  state->memory.owner = frame->owner;
  if (--state->depth > 0)
    return;
  state->held_told = false;
  state->memory.stop = SIZE_MAX;
  if (state->phase == TG_STATE_LIVE)
    atomic_store_explicit(&state->script->stats->lua_memory, state->memory.used, memory_order_relaxed);
  if (state->hooked) {
    lua_sethook(state->L, NULL, 0, 0);
    state->hooked = false;
  }
  if (__builtin_expect(state->memory.used >= state->memory.look, 0))
    tg_memory_look(state);
}

struct job {
  tg_body *body;
  void *ctx;
};

int tg_trampoline(lua_State *L)
{
  struct job *job = lua_touserdata(L, 1);
  lua_settop(L, 0);
  return job->body(L, job->ctx);
}

static void keep_error(struct tg_state *state, lua_State *L)
{
  free(state->error);
  const char *text = lua_tostring(L, -1);
  state->error = tg_strdup(text ? text : "unknown error");
  lua_pop(L, 1);
}

/* Calls the job, between enter() and leave(). Its results are on the stack of *at. */
static bool call_job(struct tg_state *state, struct job *job, int results, lua_State **at)
{
  bool outermost = state->depth == 1;
  lua_State *L = *at = outermost ? state->L : state->now;
  int handler = TG_STACK_TRACEBACK;
  if (outermost) {
    lua_pushvalue(L, TG_STACK_TRAMPOLINE);
  } else {
    lua_checkstack(L, LUA_MINSTACK);
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_traceback);
    handler = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, state->ref_trampoline);
  }
  lua_pushlightuserdata(L, job);
  int status = lua_pcall(L, 1, results, handler);
  if (status != 0)
    keep_error(state, L);
  if (!outermost)
    lua_remove(L, handler);
  return status == 0;
}

static bool protect(struct tg_state *state, const char *what, enum tg_budget budget, struct job *job,
                    int results, lua_State **at)
{
  struct frame frame;
  enter(&frame, state, what, NULL, budget);
  bool ok = call_job(state, job, results, at);
  leave(&frame, state);
  return ok;
}

bool tg_protect(struct tg_state *state, const char *what, enum tg_budget budget, tg_body *body, void *ctx)
{
  struct job job = {body, ctx};
  lua_State *L;
  return protect(state, what, budget, &job, 0, &L);
}

bool tg_protect_call(struct tg_state *state, enum tg_lua_group group, const char *what, enum tg_budget budget,
                     tg_body *body, void *ctx)
{
  struct tg_measure measure;
  tg_count(&state->script->stats->lua[group].calls);
  tg_measure_begin(&measure, state, group);
  bool ok = tg_protect(state, what, budget, body, ctx);
  tg_measure_end(&measure);
  return ok;
}

bool tg_protect_results(struct tg_state *state, tg_body *body, void *ctx, lua_State **L, int *count)
{
  struct job job = {body, ctx};
  int top = lua_gettop(state->depth > 0 ? state->now : state->L);
  bool ok = protect(state, NULL, TG_BUDGET_HOST, &job, LUA_MULTRET, L);
  *count = ok ? lua_gettop(*L) - top : 0;
  return ok;
}

/* A coroutine that failed keeps its stack: the traceback is made from it. */
static int trace_thread(lua_State *L, void *ctx)
{
  const struct tg_thread *thread = ctx;
  return tg_trace_thread(L, thread->L);
}

static void keep_trace(struct tg_thread *thread)
{
  struct tg_state *state = thread->state;
  lua_State *L = NULL;
  int count = 0;
  if (tg_protect_results(state, trace_thread, thread, &L, &count) && count > 0) {
    keep_error(state, L);
    lua_pop(L, count - 1);
  }
}

struct start {
  struct tg_thread *thread;
  tg_body *push;
  void *ctx;
  int count; /* of the values that it has pushed */
};

static int push_start(lua_State *L, void *ctx)
{
  struct start *start = ctx;
  lua_State *to = start->thread->L;
  start->count = start->push(L, start->ctx);
  lua_checkstack(to, start->count + LUA_MINSTACK);
  lua_xmove(L, to, start->count);
  return 0;
}

/* With `push`, what that pushes comes first: one way in for both. */
static int resume(struct tg_thread *thread, int arguments, tg_body *push, void *ctx)
{
  struct tg_state *state = thread->state;
  struct frame frame;
  struct tg_measure measure;
  struct start start = {.thread = thread, .push = push, .ctx = ctx, .count = arguments + 1};
  struct job job = {push_start, &start};
  lua_State *L;
  tg_measure_begin(&measure, state, thread->group);
  enter(&frame, state, thread->what, thread, TG_BUDGET_SLICE);
  state->memory.owner = thread->owner;
  bool pushed = !push || call_job(state, &job, 0, &L);
  int status = pushed ? lua_resume(thread->L, start.count - 1) : LUA_ERRRUN;
  leave(&frame, state);
  tg_measure_end(&measure);
  if (pushed && status != 0 && status != LUA_YIELD)
    keep_trace(thread);
  return status;
}

int tg_resume(struct tg_thread *thread, int arguments)
{
  return resume(thread, arguments, NULL, NULL);
}

int tg_begin(struct tg_thread *thread, tg_body *push, void *ctx)
{
  return resume(thread, 0, push, ctx);
}
