/* The next generation of a script, or the same one anew: a whole new state is
 * built beside the running one; then one function without a wait swaps them. */

#include "script/vm/sched.h"
#include "script/vm/watchdog.h"

#include "base/human.h"
#include "base/log.h"

#include <stdlib.h>

enum {
  UNLOAD_DEADLINE = 5000,
  SOON = 60000,  /* a state that is at its limit again before that ... */
  TOO_OFTEN = 2, /* ... so many times runs without what took the memory */
  SHARE = 4,     /* the part of script.memory that gateway.state may bring into a fresh state: a quarter */
};

/* What was tried is remembered: --watch waits for one of its files to change. */
static void give_up(struct tg_script *script, struct tg_state *state)
{
  tg_sources_free(&script->tried);
  script->tried = state->sources;
  state->sources = (struct tg_sources){0};
  tg_state_free(state);
}

bool tg_script_prepare(struct tg_script *script, char **problem)
{
  tg_script_abort(script);
  struct tg_state *state = tg_state_new(script, script->generation + 1, problem);
  if (!state)
    return false;
  if (script->state)
    tg_state_show_values(script->state, state, SIZE_MAX);
  if (!tg_state_load(state, problem)) {
    give_up(script, state);
    return false;
  }
  tg_sources_free(&script->tried);
  script->next = state;
  return true;
}

void tg_script_abort(struct tg_script *script)
{
  if (script->next)
    give_up(script, script->next);
  script->next = NULL;
}

/* `next` is live from here on; the old state has run its unload handlers. */
static void swap(struct tg_script *script, struct tg_state *next)
{
  struct tg_state *old = script->state;
  script->state = next;
  next->phase = TG_STATE_LIVE;
  tg_watchdog_set_patience(next->config->script.kill_after / 2);
  atomic_store(&script->stats->lua_off, script->off);
  atomic_store(&script->stats->lua_memory, next->memory.used);
  tg_hooks_fill(script);
  if (old) {
    tg_waiting_hand_over(old, next);
    tg_state_retire(old);
  }
  tg_script_started(script);
}

void tg_script_commit(struct tg_script *script, int generation)
{
  struct tg_state *old = script->state, *next = script->next;
  script->generation = generation;
  atomic_store(&script->stats->generation, generation);
  if (!next) {
    if (old)
      old->generation = generation;
    return;
  }
  next->generation = generation;
  script->next = NULL;
  if (old) {
    tg_run_life_on(old, TG_LIFE_unload, NULL, NULL, true);
    tg_state_take_values(old, next, SIZE_MAX);
    tg_config_carry_over(old->config, next->config);
  }
  script->off = 0;
  script->renewals = 0;
  atomic_store(&script->stats->lua_switched_off, 0);
  swap(script, next);
  json_t *details = json_pack("{s:i}", "generation", generation);
  tg_run_life_on(next, TG_LIFE_reload, NULL, details, false);
  json_decref(details);
}

/* ---- the same generation anew: its state is at script.memory ---- */

static struct tg_state *build_anew(const struct tg_state *old, bool with_values, char **problem)
{
  struct tg_state *state = tg_state_new(old->script, old->generation, problem);
  if (!state)
    return NULL;
  size_t most = state->memory.used + old->memory.limit / SHARE;
  tg_sources_copy(&state->sources, &old->sources);
  state->bare = old->bare;
  if (with_values && !tg_state_show_values((struct tg_state *)old, state, most)) {
    tg_state_free(state);
    tg_log(
        TG_ERROR, TG_NO_SHARD,
        "gateway.state is larger than a quarter of script.memory: the fresh state begins with an empty one");
    return build_anew(old, false, problem);
  }
  if (tg_state_load(state, problem))
    return state;
  tg_state_free(state);
  return NULL;
}

/* The configuration stays where it is: the core holds it. */
static void take_over(struct tg_state *old, struct tg_state *next)
{
  tg_run_life_on(old, TG_LIFE_unload, NULL, NULL, true);
  if (!tg_state_take_values(old, next, next->memory.used + next->memory.limit / SHARE))
    tg_log(TG_ERROR, TG_NO_SHARD,
           "what unload handlers put into gateway.state is larger than a quarter of script.memory, and lost");
  tg_config_free(next->config);
  free(next->config);
  next->config = old->config;
  old->config = NULL;
}

/* The script stays as it is, and rests. */
static void stop_all(struct tg_script *script, const char *problem)
{
  struct tg_state *state = script->state;
  tg_log(TG_ERROR, TG_NO_SHARD, "the script does not load anew:\n%s", problem);
  script->off = TG_ALL_OFF;
  tg_hooks_fill(script);
  tg_waiting_drop(state, "the script does not load anew");
  tg_timers_close(state);
  tg_threads_cancel(state, false);
}

static void tell_of_limit(const struct tg_state *state)
{
  char used[TG_HUMAN_SIZE], limit[TG_HUMAN_SIZE];
  struct tg_buf holders = {0};
  tg_human_bytes(state->memory.used, used, sizeof used);
  tg_human_bytes(state->memory.limit, limit, sizeof limit);
  tg_memory_describe(state, &holders);
  tg_log_with(
      TG_ERROR, TG_NO_SHARD, TG_WITH(TG_NUMBER(BYTES, (int64_t)state->memory.used)),
      "the script holds %s of %s (script.memory), which no collection brings back: a fresh state of it "
      "takes over, what waits in this one is cancelled. In use by: %s",
      used, limit, holders.data);
  tg_buf_free(&holders);
}

/* What is off, and what is done instead. */
static void tell_of_off(const struct tg_script *script)
{
  static const struct {
    uint32_t groups;
    const char *words;
  } parts[] = {
      {1 << TG_LUA_handler, "handlers of gateway.on"},
      {1 << TG_LUA_life_cycle, "life-cycle handlers"},
      {1 << TG_LUA_broadcast, "handlers of broadcasts"},
      {1 << TG_LUA_timer, "timers and gateway.spawn"},
      {1 << TG_LUA_route, "routes of plugins"},
      {1 << TG_LUA_filter, "filters that are functions (their events pass)"},
      {1 << TG_LUA_manager, "methods of gateway.manager (the defaults run)"},
      {1 << TG_LUA_shard, "methods of gateway.shard (the defaults run)"},
      {1 << TG_LUA_delivery, "methods of gateway.delivery (the defaults run)"},
      {1 << TG_LUA_sink, "functions of gateway.sink (the defaults run)"},
      {1 << TG_LUA_cache, "methods of gateway.cache (the defaults run)"},
  };
  struct tg_buf list = {0};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    if (script->off & parts[i].groups)
      tg_buf_printf(&list, "%s%s", list.length > 0 ? ", " : "", parts[i].words);
  }
  tg_log(
      TG_ERROR, TG_NO_SHARD,
      "the script comes back to script.memory again and again: until the next reload it runs without %.*s; "
      "events are delivered all the same",
      (int)list.length, list.data);
  tg_buf_free(&list);
}

/* Bits of what is to be off in the fresh state. */
static uint32_t too_much(struct tg_script *script)
{
  tg_ms now = tg_script_now(script);
  bool soon = script->renewals > 0 && now - script->renewed_at < SOON;
  script->renewals = soon ? script->renewals + 1 : 1;
  script->renewed_at = now;
  if (script->renewals <= TOO_OFTEN)
    return script->off;
  uint32_t culprits = tg_memory_culprits(script->state);
  if (script->renewals > TOO_OFTEN + 1 || (culprits & 1u << TG_LUA_load))
    return TG_ALL_OFF;
  return script->off | culprits | 1u << TG_LUA_handler;
}

void tg_script_renew(struct tg_script *script)
{
  struct tg_state *old = script->state;
  uint32_t off = too_much(script);
  char *problem = NULL;
  tell_of_limit(old);
  tg_count(&script->stats->lua_renewed);
  struct tg_state *next = build_anew(old, true, &problem);
  if (next) {
    bool less = off != script->off;
    script->off = off;
    take_over(old, next);
    swap(script, next);
    if (less)
      tell_of_off(script);
    return;
  }
  stop_all(script, problem);
  free(problem);
  atomic_store(&script->stats->lua_off, script->off);
  tell_of_off(script);
}

/* ---- the end of a state ---- */

/* A large heap takes its time to be freed: that is done in slices. */
static void close_state(void *ctx)
{
  struct tg_state *state = ctx;
  struct tg_script *script = state->script;
  if (!state->emptied) {
    tg_threads_cancel(state, false);
    tg_state_empty(state);
  }
  tg_ms pause;
  if (tg_memory_drain(state, &pause)) {
    tg_alarm_set(state->deadline, pause);
    return;
  }
  struct tg_state **link = &script->old;
  while (*link && *link != state)
    link = &(*link)->older;
  if (*link)
    *link = state->older;
  tg_state_free(state);
}

void tg_state_retire(struct tg_state *state)
{
  struct tg_script *script = state->script;
  state->phase = TG_STATE_RETIRED;
  state->older = script->old;
  script->old = state;
  state->deadline = tg_alarm_new(script, close_state, state);
  tg_alarm_set(state->deadline, UNLOAD_DEADLINE);
  tg_timers_close(state);
  tg_threads_cancel(state, true);
  /* Whoever still holds the old configuration has it until the next reload. */
  if (state->config && script->previous_config) {
    tg_config_free(script->previous_config);
    free(script->previous_config);
  }
  if (state->config)
    script->previous_config = state->config;
  state->config = NULL;
  tg_state_close_if_idle(state);
}

/* Not from here: the caller may be on the state's own stack. */
void tg_state_close_if_idle(struct tg_state *state)
{
  if (state->phase == TG_STATE_RETIRED && !state->threads && state->deadline)
    tg_alarm_set(state->deadline, 0);
}
