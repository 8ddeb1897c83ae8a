/* Watches the memory of a state from outside of Lua: helps the collector, keeps
 * handlers waiting, and has the state replaced when nothing else helps. */

#include "script/vm/sched.h"

#include "base/human.h"
#include "base/log.h"

#include <stdlib.h>
#include <time.h>

enum {
  SLICE = 2000,   /* microseconds of processor time that are collected at a time ... */
  STEP = 16,      /* ... in steps of so many KiB */
  SHARE = 3,      /* times as long as a slice took the loop turns without one: a delivery is several turns */
  LAST_SHARE = 1, /* ... at the limit, where memory still grows meanwhile */
  PAUSE = 2,      /* ms between two lots of handlers that are started */
  REST = 20, /* ms between two collections while handlers wait and others end; twice what the last one took
                if that is more */
  LONG_REST = 1000, /* while none ends */
  PATIENCE = 60000, /* ms without the end of a handler, while others wait */
  TELL_AFTER = 1000,
  TELL_EVERY = 60000,
  TRIES = 8,               /* collections at the limit, if each helps a little */
  DRY = 4,                 /* times the limit: no hook is run until memory was collected */
  SMALL = 4 * 1024 * 1024, /* bytes that are freed at once */
};

/* Handlers start below this. */
static size_t gate(const struct tg_memory *memory)
{
  return memory->limit / 5 * 4;
}

/* LuaJIT begins a collection when the heap has doubled: too late for one that
 * is nearer to the gate than that. */
static size_t first_help(const struct tg_memory *memory)
{
  size_t grown = memory->after + memory->limit / 8, most = memory->limit / 8 * 5;
  return grown > most ? grown : most;
}

/* What is used after a collection is as good as at the limit. */
static bool is_still_there(const struct tg_memory *memory)
{
  return memory->used >= memory->limit / 16 * 15;
}

/* Another one may bring back more: LuaJIT's buffers shrink by half each time. */
static bool has_helped(const struct tg_memory *memory)
{
  return memory->most > memory->used && memory->most - memory->used >= memory->limit / 16;
}

static void set_look(struct tg_memory *memory)
{
  if (memory->dry)
    memory->look = SIZE_MAX;
  else if (memory->at_limit)
    memory->look = DRY * memory->limit;
  else if (memory->closed)
    memory->look = memory->limit;
  else if (memory->cycles == 0 && first_help(memory) < gate(memory))
    memory->look = first_help(memory);
  else
    memory->look = gate(memory);
}

void tg_memory_set_limit(struct tg_state *state, size_t limit)
{
  struct tg_memory *memory = &state->memory;
  memory->limit = limit;
  if (memory->stop != SIZE_MAX && memory->stop > memory->used + limit)
    memory->stop = memory->used + limit;
  set_look(memory);
}

void tg_memory_free(struct tg_state *state)
{
  tg_alarm_free(state->memory.alarm);
  state->memory.alarm = NULL;
}

/* ---- collecting ---- */

static int64_t microseconds(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* On a busy machine a slice is not over just because others had their turn. */
static int collect_slice(lua_State *L, void *ctx)
{
  struct tg_memory *memory = ctx;
  int64_t until = microseconds(CLOCK_THREAD_CPUTIME_ID) + SLICE;
  while (memory->cycles > 0 && microseconds(CLOCK_THREAD_CPUTIME_ID) < until) {
    if (lua_gc(L, LUA_GCSTEP, STEP))
      memory->cycles--;
  }
  return 0;
}

static int collect_all(lua_State *L, void *ctx)
{
  (void)ctx;
  lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}

/* Finalizers run in it, which are the script's. */
static void collect(struct tg_state *state)
{
  struct tg_memory *memory = &state->memory;
  int64_t began = microseconds(CLOCK_MONOTONIC);
  if (memory->most < memory->used)
    memory->most = memory->used;
  if (!tg_protect(state, "the collection of garbage", TG_BUDGET_SLICE, collect_slice, memory) &&
      !state->emptied)
    tg_fault_log(state, TG_LUA_timer, TG_NO_SHARD, "a finalizer (__gc)", "it has ended");
  int64_t took = microseconds(CLOCK_MONOTONIC) - began;
  memory->spent += took;
  memory->pause = took * (memory->at_limit ? LAST_SHARE : SHARE) / 1000 + 1;
}

/* All that is garbage by now is to be found. A cycle of the collector that is
 * under way already does not find it: then the end of the next one is waited
 * for. LuaJIT begins one by itself when the heap has doubled. */
static void begin(struct tg_memory *memory)
{
  bool rests = memory->cycles == 0 && memory->used < memory->after / 2 * 3;
  if (memory->cycles == 0)
    memory->spent = 0;
  memory->cycles = rests ? 1 : 2;
}

/* ---- what follows from it ---- */

/* Events wait, but no handler is there whose end could bring memory back. */
static bool is_starved(const struct tg_state *state)
{
  if (!state->waiting)
    return false;
  tg_ms since =
      state->handler_ended_at > state->memory.closed_at ? state->handler_ended_at : state->memory.closed_at;
  return state->handlers_running == 0 || tg_script_now(state->script) - since > tg_patience(PATIENCE);
}

static void open_gate(struct tg_state *state)
{
  struct tg_memory *memory = &state->memory;
  memory->closed = false;
  if (memory->told_at >= memory->closed_at && memory->told_at > 0)
    tg_log_with(TG_INFO, TG_NO_SHARD,
                TG_WITH(TG_NUMBER(DURATION, tg_script_now(state->script) - memory->closed_at)),
                "the handlers of gateway.on start again");
}

/* A collection has come to its end. True: it is of no use. */
static bool judge(struct tg_state *state)
{
  struct tg_memory *memory = &state->memory;
  bool helped = has_helped(memory);
  memory->after = memory->most = memory->used;
  memory->judged_at = tg_script_now(state->script);
  if (memory->at_limit && is_still_there(memory)) {
    begin(memory);
    return !helped || ++memory->tries == TRIES;
  }
  memory->at_limit = false;
  memory->tries = 0;
  if (memory->dry) {
    memory->dry = false;
    tg_hooks_fill(state->script);
  }
  if (memory->closed && memory->used < gate(memory))
    open_gate(state);
  /* What handlers that have ended meanwhile held is only found by the next collection. */
  bool starved = memory->closed && !helped && state->handlers_ended == 0 && is_starved(state);
  state->handlers_ended = 0;
  return starved;
}

static void tell_of_wait(struct tg_state *state)
{
  struct tg_memory *memory = &state->memory;
  tg_ms now = tg_script_now(state->script);
  if (!memory->closed || !state->waiting || now - memory->closed_at < TELL_AFTER ||
      (memory->told_at > 0 && now - memory->told_at < TELL_EVERY))
    return;
  memory->told_at = now;
  char used[TG_HUMAN_SIZE], limit[TG_HUMAN_SIZE];
  struct tg_buf holders = {0};
  tg_human_bytes(memory->used, used, sizeof used);
  tg_human_bytes(memory->limit, limit, sizeof limit);
  tg_memory_describe(state, &holders);
  tg_log_with(
      TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, (int64_t)state->script->waiting.events)),
      "the script holds %s of %s (script.memory): from four fifths on no handler of gateway.on starts, "
      "their events wait; delivery goes on. In use by: %s",
      used, limit, holders.data);
  tg_buf_free(&holders);
}

/* ---- when ---- */

static void tend(void *ctx);

/* While handlers wait: when it is worth while to collect again. */
static tg_ms next_collection(const struct tg_state *state)
{
  const struct tg_memory *memory = &state->memory;
  tg_ms rest = state->handlers_ended > 0 ? REST : LONG_REST, twice = 2 * memory->spent / 1000;
  if (memory->used < gate(memory)) /* it came back by itself */
    return tg_script_now(state->script);
  return memory->judged_at + (rest > twice ? rest : twice);
}

static void schedule(struct tg_state *state)
{
  struct tg_memory *memory = &state->memory;
  struct tg_script *script = state->script;
  tg_ms now = tg_script_now(script), due;
  if (memory->cycles > 0)
    due = now + memory->pause;
  else if (memory->closed && state->waiting)
    due = next_collection(state);
  else if (tg_waiting_is_ready(state))
    due = now + PAUSE;
  else
    return;
  if (memory->due > 0 && memory->due <= due)
    return;
  if (!memory->alarm)
    memory->alarm = tg_alarm_new(script, tend, state);
  if (!script->clock)
    uv_update_time(script->loop); /* a slice may just have taken its time */
  tg_alarm_set(memory->alarm, due > now ? due - now : 0);
  memory->due = due;
}

static bool is_watched(const struct tg_state *state)
{
  return state->phase == TG_STATE_LIVE && state == state->script->state && !state->script->stopped &&
         state->script->off != TG_ALL_OFF;
}

static void tend(void *ctx)
{
  struct tg_state *state = ctx;
  struct tg_memory *memory = &state->memory;
  memory->due = 0;
  if (!is_watched(state))
    return;
  if (memory->closed && memory->used < gate(memory))
    open_gate(state);
  if (memory->closed && state->waiting && memory->cycles == 0 &&
      tg_script_now(state->script) >= next_collection(state))
    begin(memory);
  if (memory->cycles > 0) {
    collect(state);
    if (memory->cycles == 0 && judge(state)) {
      tg_script_renew(state->script);
      return;
    }
  }
  set_look(memory);
  tell_of_wait(state);
  tg_waiting_pump(state);
  schedule(state);
}

void tg_memory_tend_soon(struct tg_state *state)
{
  if (is_watched(state))
    schedule(state);
}

void tg_memory_look(struct tg_state *state)
{
  struct tg_memory *memory = &state->memory;
  if (!is_watched(state))
    return;
  if (memory->used >= DRY * memory->limit) {
    memory->dry = true;
    tg_hooks_fill(state->script);
  }
  if (memory->used >= memory->limit && !memory->at_limit) {
    memory->at_limit = true;
    begin(memory);
  }
  if (memory->used >= gate(memory) && !memory->closed) {
    memory->closed = true;
    memory->closed_at = tg_script_now(state->script);
  } else if (!memory->closed && memory->cycles == 0) {
    begin(memory);
  }
  set_look(memory);
  schedule(state);
}

bool tg_memory_drain(struct tg_state *state, tg_ms *pause)
{
  struct tg_memory *memory = &state->memory;
  if (memory->cycles == 0 || memory->used < SMALL)
    return false;
  collect(state);
  *pause = memory->pause;
  return true;
}

bool tg_memory_suffices(struct tg_state *state, char **problem)
{
  struct tg_memory *memory = &state->memory;
  tg_protect(state, NULL, TG_BUDGET_HOST, collect_all, NULL);
  memory->after = memory->used;
  set_look(memory);
  if (memory->used < gate(memory))
    return true;
  char used[TG_HUMAN_SIZE], limit[TG_HUMAN_SIZE];
  tg_human_bytes(memory->used, used, sizeof used);
  tg_human_bytes(memory->limit, limit, sizeof limit);
  struct tg_buf words = {0};
  tg_buf_printf(
      &words,
      "once it is loaded the script holds %s, and script.memory is %s, of which handlers may use the "
      "first four fifths: give it more, or have the script keep less. In use by: ",
      used, limit);
  struct tg_buf holders = {0};
  tg_memory_describe(state, &holders);
  tg_buf_puts(&words, holders.data);
  tg_buf_free(&holders);
  *problem = tg_buf_take(&words);
  return false;
}
