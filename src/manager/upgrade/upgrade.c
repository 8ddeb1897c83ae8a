#include "manager/upgrade/upgrade.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/timer.h"
#include "base/utf8.h"
#include "manager/upgrade/candidate.h"
#include "manager/upgrade/handed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  LOAD_PATIENCE = 10000, /* ms on top of the script's own time to load */
  REST_PATIENCE = 30000, /* ms until all is at rest: an identify that is under way takes half of that */
  REST_LOOK = 10,
  PROBATION = 1000,
  WORKER_TIME = 700, /* ms for a worker to close its shards, and to deliver what is on its way */
  UP_PATIENCE = 10000,
  LOOK = 20,
};

enum step { IDLE, TRYING, RESTING, PROBATION_TIME, REPLACING, RISING };

struct tg_upgrade {
  struct tg_upgrade_options options;
  enum step step;
  uv_timer_t *timer;
  struct tg_candidate *candidate;
  struct tg_waiter *waiters;
  char *from, *to; /* versions */
  char *failed;    /* why the other program does not stay: this is the way back, or the end of it */
  tg_ms began, until;
  int worker;            /* that is replaced now */
  const char *waits_for; /* NULL: nothing */
  bool began_next;       /* the worker's next process has been started */
  tg_ms since;           /* this program runs */
  struct tg_upgrade_counts counts;
  struct {
    const char *result; /* "done", "failed"; NULL: there was none */
    char *from, *to, *problem;
    tg_ms ended, duration;
  } last;
};

static void set_text(char **place, const char *text)
{
  char *copy = text ? tg_strdup(text) : NULL;
  free(*place);
  *place = copy;
}

static void look_in(struct tg_upgrade *upgrade, uv_timer_cb callback, tg_ms wait)
{
  tg_timer_start(upgrade->timer, callback, wait);
}

/* ---- the end ---- */

static void note_end(struct tg_upgrade *upgrade, const char *problem)
{
  *(problem ? &upgrade->counts.failed : &upgrade->counts.done) += 1;
  upgrade->last.result = problem ? "failed" : "done";
  set_text(&upgrade->last.from, upgrade->from);
  set_text(&upgrade->last.to, upgrade->to);
  set_text(&upgrade->last.problem, problem);
  upgrade->last.ended = tg_now();
  upgrade->last.duration = upgrade->last.ended - upgrade->began;
  upgrade->step = IDLE;
  upgrade->waits_for = NULL;
  uv_timer_stop(upgrade->timer);
  upgrade->options.news(upgrade->options.ctx, false);
}

/* Nothing has changed. */
static void refuse(struct tg_upgrade *upgrade, const char *code, const char *problem)
{
  tg_log_with(TG_ERROR, TG_NO_SHARD,
              TG_WITH(TG_TEXT(PATH, upgrade->options.successor->path), TG_TEXT(REASON, problem)),
              "the upgrade does not take place; all goes on as it was");
  tg_waiters_end(&upgrade->waiters, code, problem);
  note_end(upgrade, problem);
}

static void finish(struct tg_upgrade *upgrade)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  char *problem = upgrade->failed;
  upgrade->failed = NULL;
  if (problem)
    tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, problem)),
                "the upgrade has failed: %s runs on, with all its workers", TG_VERSION);
  else
    tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_NUMBER(DURATION, tg_now() - upgrade->began)),
                "upgraded from %s to %s", upgrade->from, upgrade->to);
  options->successor->over(options->successor_ctx);
  note_end(upgrade, problem);
  free(problem);
}

/* ---- worker after worker ---- */

static void replace_next(struct tg_upgrade *upgrade);

static void on_rising(uv_timer_t *timer)
{
  struct tg_upgrade *upgrade = timer->data;
  const struct tg_manager_env *env = upgrade->options.env;
  if (env->stopping)
    return;
  if (tg_now() < upgrade->until && tg_shard_set_count_resuming(&env->shards, upgrade->worker) > 0) {
    look_in(upgrade, on_rising, LOOK);
    return;
  }
  upgrade->worker++;
  replace_next(upgrade);
}

static void on_ended(void *ctx)
{
  struct tg_upgrade *upgrade = ctx;
  upgrade->began_next = true;
}

static void on_replaced(void *ctx)
{
  struct tg_upgrade *upgrade = ctx;
  upgrade->step = RISING;
  upgrade->until = tg_now() + UP_PATIENCE;
  look_in(upgrade, on_rising, 0);
}

static void go_back(struct tg_upgrade *upgrade, const char *problem);

static void on_worker_late(uv_timer_t *timer)
{
  struct tg_upgrade *upgrade = timer->data;
  char text[80];
  snprintf(text, sizeof text, "its worker %d does not come up", upgrade->worker);
  if (!upgrade->options.env->stopping)
    go_back(upgrade, text);
}

static void replace_next(struct tg_upgrade *upgrade)
{
  struct tg_workers *workers = upgrade->options.workers;
  const struct tg_config *config = upgrade->options.env->config;
  int count = tg_workers_count(workers);
  while (upgrade->worker < count && !tg_workers_is_adopted(workers, upgrade->worker))
    upgrade->worker++; /* it has ended meanwhile, and its next process is of this program anyway */
  if (upgrade->worker >= count) {
    finish(upgrade);
    return;
  }
  bool *affected = tg_calloc((size_t)count, sizeof *affected);
  affected[upgrade->worker] = true;
  upgrade->step = REPLACING;
  upgrade->began_next = false;
  look_in(upgrade, on_worker_late, LOAD_PATIENCE + config->script.load_budget);
  tg_workers_regroup(
      workers, affected,
      &(struct tg_regroup){.ended = on_ended, .done = on_replaced, .ctx = upgrade, .patience = WORKER_TIME});
  free(affected);
}

void tg_upgrade_worker_gone(struct tg_upgrade *upgrade, int worker)
{
  char text[80];
  if (upgrade->step != REPLACING || worker != upgrade->worker || !upgrade->began_next)
    return;
  snprintf(text, sizeof text, "its worker %d has ended before it was up", worker);
  upgrade->waits_for = NULL;
  go_back(upgrade, text);
}

/* ---- in place of this program ---- */

static json_t *state_of(struct tg_upgrade *upgrade)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  return options->hand_over(options->ctx);
}

static void wake_up(struct tg_upgrade *upgrade, const char *code, const char *problem)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  options->rest(options->ctx, false);
  options->successor->rest(options->successor_ctx, false);
  refuse(upgrade, code, problem);
}

static void execute(struct tg_upgrade *upgrade, bool back)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  struct tg_error error = {0};
  options->successor->execute(options->successor_ctx, state_of(upgrade), back, &error);
  wake_up(upgrade, "upgrade_failed", error.message);
}

static bool is_at_rest(struct tg_upgrade *upgrade)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  upgrade->waits_for = NULL;
  return options->at_rest(options->ctx, &upgrade->waits_for);
}

static void on_resting(uv_timer_t *timer)
{
  struct tg_upgrade *upgrade = timer->data;
  const struct tg_upgrade_options *options = &upgrade->options;
  struct tg_error error;
  if (options->env->stopping)
    return;
  if (!upgrade->failed && !options->may(options->ctx, &error)) { /* not any more */
    wake_up(upgrade, error.code, error.message);
    return;
  }
  if (is_at_rest(upgrade)) {
    if (options->successor->at_rest(options->successor_ctx)) {
      execute(upgrade, upgrade->failed != NULL);
      return;
    }
  } else if (tg_now() >= upgrade->until) {
    char text[200];
    snprintf(text, sizeof text, "the gateway does not come to rest: it waits for %s", upgrade->waits_for);
    wake_up(upgrade, "upgrade_failed", text);
    return;
  }
  look_in(upgrade, on_resting, REST_LOOK);
}

static void come_to_rest(struct tg_upgrade *upgrade)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  upgrade->step = RESTING;
  upgrade->until = tg_now() + REST_PATIENCE;
  options->rest(options->ctx, true);
  options->successor->rest(options->successor_ctx, true);
  look_in(upgrade, on_resting, 0);
}

/* The workers of this program do not come up. */
static void go_back(struct tg_upgrade *upgrade, const char *problem)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  if (!options->successor->can_return || upgrade->failed)
    return; /* it is started again and again, as any worker */
  tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, problem)),
              "the upgrade fails: the program before takes over again");
  set_text(&upgrade->failed, problem);
  tg_workers_break_off(options->workers);
  come_to_rest(upgrade);
}

/* ---- tried first ---- */

static void on_judged(void *ctx, const char *version, const char *problem)
{
  struct tg_upgrade *upgrade = ctx;
  const struct tg_upgrade_options *options = &upgrade->options;
  struct tg_error error;
  tg_ms loading = tg_now() - upgrade->began - TG_CANDIDATE_LIFE;
  upgrade->candidate = NULL;
  set_text(&upgrade->to, version ? version : "an unknown version");
  if (problem) {
    refuse(upgrade, "upgrade_refused", problem);
    return;
  }
  if (!options->may(options->ctx, &error)) {
    refuse(upgrade, error.code, error.message);
    return;
  }
  if (options->env->clustered && loading > TG_HOST_LOADS) {
    char text[200];
    snprintf(
        text, sizeof text,
        "it takes %lld ms to load, and a host of a cluster may do so for %d: others would take its shards. "
        "Restart the hosts one after the other",
        (long long)loading, TG_HOST_LOADS);
    refuse(upgrade, "upgrade_refused", text);
    return;
  }
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(PATH, options->successor->path)),
              "version %s takes over from %s, in this process", upgrade->to, TG_VERSION);
  while (upgrade->waiters) {
    struct tg_waiter *waiter = upgrade->waiters;
    upgrade->waiters = waiter->next;
    tg_reply_value(waiter->reply, waiter->ctx,
                   json_pack("{s:s, s:s}", "from", TG_VERSION, "to", upgrade->to));
    free(waiter);
  }
  come_to_rest(upgrade);
}

static bool try_it(struct tg_upgrade *upgrade, struct tg_error *error)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  const struct tg_successor *successor = options->successor;
  int state = successor->show(upgrade->options.successor_ctx, state_of(upgrade));
  if (state < 0)
    return tg_fail(error, "upgrade_failed", "there is no memory for what the next program has to know");
  const struct tg_candidate_options candidate = {
      .loop = options->env->loop,
      .path = successor->path,
      .environment = successor->environment,
      .script = options->script_path,
      .state = state,
      .patience = LOAD_PATIENCE + options->env->config->script.load_budget,
  };
  upgrade->candidate = tg_candidate_start(&candidate, on_judged, upgrade, error);
  close(state);
  return upgrade->candidate != NULL;
}

static bool may_start(const struct tg_upgrade *upgrade, struct tg_error *error)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  if (upgrade->step != IDLE)
    return tg_fail(error, "upgrade_running", "an upgrade is under way");
  if (!options->successor)
    return tg_fail(error, "upgrade_refused", "this gateway runs inside of another program");
  if (options->successor->container)
    return tg_fail(error, "upgrade_refused", "%s", options->successor->container);
  return options->may(options->ctx, error);
}

void tg_upgrade_start(struct tg_upgrade *upgrade, tg_manager_reply *reply, void *ctx)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  struct tg_error error;
  if (!may_start(upgrade, &error)) {
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, error.message)), "no upgrade for now");
    reply(ctx, NULL, &error);
    return;
  }
  upgrade->step = TRYING;
  upgrade->began = tg_now();
  upgrade->worker = 0;
  set_text(&upgrade->from, TG_VERSION);
  set_text(&upgrade->to, NULL);
  tg_waiter_add(&upgrade->waiters, reply, ctx);
  options->news(options->ctx, true);
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(PATH, options->successor->path)),
              "upgrade: trying the program beside this one");
  if (!try_it(upgrade, &error))
    refuse(upgrade, error.code, error.message);
}

bool tg_upgrade_returns(const struct tg_upgrade *upgrade)
{
  return upgrade->failed != NULL;
}

/* ---- of the next program ---- */

json_t *tg_upgrade_hand_over(const struct tg_upgrade *upgrade)
{
  return json_pack("{s:s, s:s?, s:s?, s:I, s:I, s:I}", "from", upgrade->from, "to", upgrade->to, "failed",
                   upgrade->failed, "began", (json_int_t)upgrade->began, "ended_well",
                   (json_int_t)upgrade->counts.done, "ended_badly", (json_int_t)upgrade->counts.failed);
}

static void on_probation_over(uv_timer_t *timer)
{
  struct tg_upgrade *upgrade = timer->data;
  const struct tg_upgrade_options *options = &upgrade->options;
  if (options->env->stopping)
    return;
  options->successor->settled(options->successor_ctx);
  options->rest(options->ctx, false);
  upgrade->worker = 0;
  replace_next(upgrade);
}

void tg_upgrade_go_on(struct tg_upgrade *upgrade, const json_t *handed)
{
  const struct tg_upgrade_options *options = &upgrade->options;
  const char *failed = json_string_value(json_object_get(handed, "failed"));
  set_text(&upgrade->from, json_string_value(json_object_get(handed, "from")));
  set_text(&upgrade->to, json_string_value(json_object_get(handed, "to")));
  set_text(&upgrade->failed, failed ? failed : options->successor->failure);
  upgrade->began = json_integer_value(json_object_get(handed, "began"));
  upgrade->counts.done = (uint64_t)json_integer_value(json_object_get(handed, "ended_well"));
  upgrade->counts.failed = (uint64_t)json_integer_value(json_object_get(handed, "ended_badly"));
  upgrade->step = PROBATION_TIME;
  if (options->successor->failure)
    tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, options->successor->failure)),
                "the upgrade fails: the program before has taken over again");
  else
    tg_log(TG_INFO, TG_NO_SHARD, "version %s has taken over%s", TG_VERSION, failed ? " again" : "");
  options->news(options->ctx, true);
  options->rest(options->ctx, true); /* what the other one would not know of, should it go on */
  look_in(upgrade, on_probation_over, PROBATION);
}

/* ---- for people ---- */

static const char *step_name(const struct tg_upgrade *upgrade)
{
  static const char *const names[] = {
      [IDLE] = "idle",           [TRYING] = "trying",   [RESTING] = "resting", [PROBATION_TIME] = "probation",
      [REPLACING] = "replacing", [RISING] = "replacing"};
  return names[upgrade->step];
}

static json_t *text_or_null(const char *text)
{
  return text ? tg_json_text(text) : json_null();
}

static json_t *last_json(const struct tg_upgrade *upgrade)
{
  if (!upgrade->last.result)
    return json_null();
  return json_pack("{s:s, s:o, s:o, s:o, s:I, s:I}", "result", upgrade->last.result, "from",
                   text_or_null(upgrade->last.from), "to", text_or_null(upgrade->last.to), "problem",
                   text_or_null(upgrade->last.problem), "ago", (json_int_t)(tg_now() - upgrade->last.ended),
                   "duration", (json_int_t)upgrade->last.duration);
}

json_t *tg_upgrade_status(const struct tg_upgrade *upgrade)
{
  json_t *json =
      json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "state", step_name(upgrade), "version", TG_VERSION, "since",
                (json_int_t)(tg_now() - upgrade->since), "done", (json_int_t)upgrade->counts.done, "failed",
                (json_int_t)upgrade->counts.failed, "last", last_json(upgrade));
  if (upgrade->step == IDLE)
    return json;
  json_object_set_new(json, "from", text_or_null(upgrade->from));
  json_object_set_new(json, "to", text_or_null(upgrade->to));
  json_object_set_new(json, "replaced", json_integer(upgrade->step >= REPLACING ? upgrade->worker : 0));
  json_object_set_new(json, "workers", json_integer(tg_workers_count(upgrade->options.workers)));
  json_object_set_new(json, "waitsFor", text_or_null(upgrade->waits_for));
  json_object_set_new(json, "problem", text_or_null(upgrade->failed));
  return json;
}

struct tg_upgrade_counts tg_upgrade_counts(const struct tg_upgrade *upgrade)
{
  return upgrade->counts;
}

/* ---- life ---- */

struct tg_upgrade *tg_upgrade_new(const struct tg_upgrade_options *options)
{
  struct tg_upgrade *upgrade = tg_calloc(1, sizeof *upgrade);
  upgrade->options = *options;
  upgrade->timer = tg_timer_new(options->env->loop, upgrade);
  upgrade->since = tg_now();
  return upgrade;
}

void tg_upgrade_end(struct tg_upgrade *upgrade)
{
  tg_candidate_end(upgrade->candidate);
  upgrade->candidate = NULL;
  uv_timer_stop(upgrade->timer);
  upgrade->step = IDLE;
  tg_waiters_end(&upgrade->waiters, "stopping", "the gateway is stopping");
}

void tg_upgrade_free(struct tg_upgrade *upgrade)
{
  tg_timer_free(upgrade->timer);
  free(upgrade->from);
  free(upgrade->to);
  free(upgrade->failed);
  free(upgrade->last.from);
  free(upgrade->last.to);
  free(upgrade->last.problem);
  free(upgrade);
}
