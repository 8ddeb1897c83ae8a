/* The next generation of a script (design 7.4): a whole new state is built
 * beside the running one; then one function without a wait swaps them. */

#include "script/sched.h"
#include "script/watchdog.h"

#include <stdlib.h>

enum { UNLOAD_DEADLINE = 5000 };

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
    tg_state_show_values(script->state, state);
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
    tg_state_take_values(old, next);
    tg_config_carry_over(old->config, next->config);
  }
  script->state = next;
  atomic_store(&script->stats->lua_switched_off, 0);
  next->phase = TG_STATE_LIVE;
  tg_watchdog_set_patience(next->config->script.kill_after / 2);
  tg_hooks_fill(script);
  if (old)
    tg_state_retire(old);
  tg_script_started(script);
  json_t *details = json_pack("{s:i}", "generation", generation);
  tg_run_life_on(next, TG_LIFE_reload, NULL, details, false);
  json_decref(details);
}

/* ---- the end of a state ---- */

static void close_state(void *ctx)
{
  struct tg_state *state = ctx;
  struct tg_script *script = state->script;
  tg_threads_cancel(state, false);
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
  if (script->previous_config) {
    tg_config_free(script->previous_config);
    free(script->previous_config);
  }
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
