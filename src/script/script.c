#include "script/script.h"

#include "script/sched.h"
#include "script/watchdog.h"

#include <stdlib.h>
#include <string.h>

struct tg_script *tg_script_new(enum tg_role role, uv_loop_t *loop, int worker_id)
{
  struct tg_script *script = tg_calloc(1, sizeof *script);
  script->role = role;
  script->loop = loop;
  script->worker_id = worker_id;
  script->core = &tg_core_real;
  script->last_broadcast = &script->broadcasts;
  tg_hooks_init(script);
  tg_watchdog_start();
  return script;
}

bool tg_script_load(struct tg_script *script, const char *path, char **problem)
{
  script->path = path ? tg_strdup(path) : NULL;
  struct tg_state *state = tg_state_new(script, 1, problem);
  if (!state)
    return false;
  if (!tg_state_load(state, problem)) {
    tg_state_free(state);
    return false;
  }
  script->state = state;
  script->generation = 1;
  state->phase = TG_STATE_LIVE;
  tg_hooks_fill(script);
  return true;
}

void tg_script_started(struct tg_script *script)
{
  struct tg_state *state = script->state;
  if (!state || script->stopped)
    return;
  tg_timers_start(state);
  tg_jobs_start(state);
  tg_run_life_on(state, TG_LIFE_load, NULL, NULL, false);
}

void tg_script_stop(struct tg_script *script)
{
  if (script->stopped)
    return;
  script->stopped = true;
  tg_hooks_fill(script);
  tg_broadcasts_drop(script);
  if (!script->state)
    return;
  tg_run_life_on(script->state, TG_LIFE_unload, NULL, NULL, false);
  tg_threads_drop(script->state);
  tg_timers_close(script->state);
  script->state->phase = TG_STATE_RETIRED;
}

void tg_script_free(struct tg_script *script)
{
  if (!script)
    return;
  tg_script_stop(script);
  while (script->old) {
    struct tg_state *state = script->old;
    script->old = state->older;
    tg_state_free(state);
  }
  tg_state_free(script->next);
  tg_state_free(script->state);
  if (script->previous_config) {
    tg_config_free(script->previous_config);
    free(script->previous_config);
  }
  tg_metrics_free(script->metrics);
  free(script->path);
  free(script);
  tg_watchdog_stop();
}

const struct tg_config *tg_script_config(const struct tg_script *script)
{
  return script->state ? script->state->config : NULL;
}

struct tg_hooks *tg_script_hooks(struct tg_script *script)
{
  return &script->hooks;
}
int tg_script_generation(const struct tg_script *script)
{
  return script->generation;
}

void tg_script_attach_http(struct tg_script *script, struct tg_http *http)
{
  script->http = http;
}

void tg_script_attach_manager(struct tg_script *script, struct tg_manager *manager)
{
  script->manager = manager;
}

void tg_script_attach_worker(struct tg_script *script, struct tg_worker *worker)
{
  script->worker = worker;
}
