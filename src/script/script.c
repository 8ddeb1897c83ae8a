#include "script/script.h"

#include "script/vm/sched.h"
#include "script/vm/watchdog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct tg_script *tg_script_new(enum tg_role role, uv_loop_t *loop, int worker_id)
{
  struct tg_script *script = tg_calloc(1, sizeof *script);
  script->role = role;
  script->loop = loop;
  script->worker_id = worker_id;
  script->core = &tg_core_real;
  script->stats = tg_stats();
  script->last_broadcast = &script->broadcasts;
  tg_hooks_init(script);
  tg_watchdog_start();
  return script;
}

static void tell_of_bare(const struct tg_script *script)
{
  if (script->path)
    tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TEXT(SCRIPT, script->path)),
                "the script is not run, since it ends workers as it loads: what it configures holds, "
                "everything else goes by the defaults until the next reload");
  else
    tg_log(TG_ERROR, TG_NO_SHARD,
           "the plugins are not loaded, since they end workers as they load: everything goes by the defaults "
           "until the next reload");
}

bool tg_script_load(struct tg_script *script, const char *path, char **problem)
{
  script->path = path ? tg_strdup(path) : NULL;
  struct tg_state *state = tg_state_new(script, 1, problem);
  if (!state)
    return false;
  state->sources = script->given;
  state->bare = script->bare;
  script->given = (struct tg_sources){0};
  if (!tg_state_load(state, problem)) {
    tg_state_free(state);
    return false;
  }
  script->state = state;
  script->generation = 1;
  atomic_store(&script->stats->generation, 1);
  atomic_store(&script->stats->lua_memory, state->memory.used);
  state->phase = TG_STATE_LIVE;
  tg_watchdog_set_patience(state->config->script.kill_after / 2);
  tg_hooks_fill(script);
  if (state->bare)
    tell_of_bare(script);
  return true;
}

void tg_script_go_without(struct tg_script *script)
{
  script->bare = true;
}

void tg_script_started(struct tg_script *script)
{
  struct tg_state *state = script->state;
  if (!state || script->stopped)
    return;
  if (tg_is_off(script, TG_LUA_timer)) {
    tg_timers_close(state);
  } else {
    tg_timers_start(state);
    tg_jobs_start(state);
  }
  if (!tg_is_off(script, TG_LUA_life_cycle))
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
  tg_waiting_drop(script->state, "the gateway ends");
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
  tg_sources_free(&script->given);
  tg_sources_free(&script->tried);
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

/* ---- sources ---- */

void tg_script_give_sources(struct tg_script *script, int fd)
{
  if (!tg_sources_take_fd(&script->given, fd))
    tg_log(TG_WARN, TG_NO_SHARD, "the manager's copy of the script cannot be read; it is read from disk");
}

uint64_t tg_script_sum(const struct tg_script *script)
{
  return script->state ? script->state->sum : 0;
}

int tg_script_sources(const struct tg_script *script)
{
  const struct tg_state *state = script->state;
  if (!state || (!script->path && json_object_size(state->config->plugins) == 0))
    return -1;
  bool delivers = state->override[TG_METHOD_delivery_deliver].ref != LUA_NOREF ||
                  state->override[TG_METHOD_delivery_handle_queue].ref != LUA_NOREF;
  json_t *sinks = json_array();
  for (int i = 0; i < state->sink_count; i++)
    if (state->sinks[i].deliver.ref != LUA_NOREF)
      json_array_append_new(sinks, json_string(state->sinks[i].name));
  json_t *settings =
      json_pack("{s:b, s:o, s:O*}", "delivers", delivers, "sinks", sinks, "configuration", state->given);
  char *text = json_dumps(settings, JSON_COMPACT);
  json_decref(settings);
  int fd = tg_sources_to_fd(&state->sources, text ? text : "{}");
  free(text);
  if (fd < 0)
    tg_log(TG_WARN, TG_NO_SHARD, "no copy of the script can be made for a worker (%s): it reads from disk",
           strerror(errno));
  return fd;
}

static const struct tg_sources *newest(const struct tg_script *script)
{
  static const struct tg_sources none;
  if (script->next)
    return &script->next->sources;
  if (script->tried.count > 0)
    return &script->tried;
  return script->state ? &script->state->sources : &none;
}

json_t *tg_script_files(const struct tg_script *script)
{
  const struct tg_sources *sources = newest(script);
  json_t *files = json_array();
  for (int i = 0; i < sources->count; i++) {
    json_t *path = sources->items[i].given ? NULL : json_string(sources->items[i].path);
    if (path)
      json_array_append_new(files, path);
  }
  return files;
}

void tg_script_note_files(struct tg_script *script, int generation, const json_t *files)
{
  struct tg_state *state = script->state;
  if (script->next && script->next->generation == generation)
    state = script->next;
  if (!state || state->generation != generation)
    return;
  for (size_t i = 0; i < json_array_size(files); i++) {
    const char *path = json_string_value(json_array_get(files, i));
    if (path)
      tg_sources_read(&state->sources, path);
  }
}

const char *tg_script_changed_file(const struct tg_script *script, uint64_t *sum)
{
  return tg_sources_changed(newest(script), sum);
}
