#include "manager/workers/reload.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/utf8.h"
#include "manager/workers/workers_impl.h"
#include "shared/poison.h"

#include <stdlib.h>
#include <string.h>

enum { ANSWER_TIMEOUT = 5000, PROBLEM_MAX = 16 << 10 /* bytes that are kept of a traceback */ };

struct tg_reload_run {
  struct tg_reloads *reloads; /* NULL: the gateway is stopping */
  int generation;
  bool prepared; /* in this process */
  bool committing;
  int asked;             /* workers that have not answered yet, and one for the asking itself */
  struct tg_buf problem; /* why not; "" so far all is well */
  struct tg_waiter *waiters;
  struct tg_waiter *next; /* they asked meanwhile: the script may have changed again */
  tg_ms began;
};

struct tg_reloads {
  const struct tg_manager_env *env;
  struct tg_workers *workers;
  const struct tg_reload *script; /* the manager's own */
  void (*on_news)(void *ctx, enum tg_reload_news news);
  void *ctx;
  struct tg_reload_run *run; /* NULL: none */
  struct tg_reload_counts counts;
  tg_ms last_at;         /* tg_now(): of the last one; 0: there was none */
  char *last_problem;    /* why it failed; NULL: it did not */
  json_t *needs_restart; /* keys that the last reload could not change; NULL: none */
};

struct reload_question {
  struct tg_reload_run *run;
  struct tg_reloads *reloads; /* without a run: catching up */
  struct tg_worker_process to;
};

static void begin(struct tg_reloads *reloads, struct tg_waiter *waiters);
static void catch_up(struct tg_reloads *reloads, struct tg_managed_worker *worker);
static void answered(struct tg_reload_run *run);

/* NULL: that process of the worker is gone. */
static struct tg_managed_worker *worker_of(struct tg_reloads *reloads, const struct reload_question *question)
{
  return tg_workers_line_of(reloads->workers, question->to) ? &reloads->workers->list[question->to.worker]
                                                            : NULL;
}

static struct reload_question *make_question(struct tg_reload_run *run, struct tg_reloads *reloads,
                                             const struct tg_managed_worker *worker)
{
  struct reload_question *question = tg_alloc(sizeof *question);
  *question = (struct reload_question){run, reloads, {worker->id, worker->incarnation}};
  return question;
}

static void add_problem(struct tg_reload_run *run, int worker_id, const char *text)
{
  if (run->problem.length > 0)
    tg_buf_puts(&run->problem, "\n");
  if (worker_id < 0)
    tg_buf_printf(&run->problem, "manager: %s", text);
  else
    tg_buf_printf(&run->problem, "worker %d: %s", worker_id, text);
}

static struct reload_question *ask(struct tg_reload_run *run, const struct tg_managed_worker *worker)
{
  run->asked++;
  return make_question(run, run->reloads, worker);
}

/* The text of a refusal; NULL: it is ready. */
static const char *refusal(const json_t *data, const struct tg_error *error)
{
  if (error)
    return error->message;
  return json_string_value(json_object_get(data, "problem"));
}

void tg_reload_note_files(struct tg_reloads *reloads, int generation, const json_t *files)
{
  const struct tg_reload *script = reloads->script;
  if (script->note_files)
    script->note_files(script->ctx, generation, files);
}

static void on_prepared(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct reload_question question = *(struct reload_question *)ctx;
  free(ctx);
  const char *problem = refusal(data, error);
  struct tg_reloads *reloads = question.run->reloads;
  struct tg_managed_worker *worker = reloads && !error ? worker_of(reloads, &question) : NULL;
  if (worker)
    tg_reload_note_files(reloads, question.run->generation, json_object_get(data, "files"));
  if (problem)
    add_problem(question.run, question.to.worker, problem);
  else if (worker)
    worker->prepared = question.run->generation;
  answered(question.run);
}

static void on_committed(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct reload_question question = *(struct reload_question *)ctx;
  free(ctx);
  struct tg_reloads *reloads = question.run->reloads;
  struct tg_managed_worker *worker = reloads ? worker_of(reloads, &question) : NULL;
  if (worker && !error)
    worker->generation = question.run->generation;
  else if (worker)
    tg_log_with(TG_ERROR, TG_NO_SHARD,
                TG_WITH(TG_NUMBER(WORKER, question.to.worker), TG_TEXT(REASON, error->message)),
                "a worker did not confirm the reload");
  answered(question.run);
}

static void on_aborted(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)ctx, (void)data, (void)error;
}

/* Ready, and (`prepared`) of those that said yes. A worker that has become
 * ready meanwhile has read the new script anyway, and is caught up with. */
static struct tg_managed_worker *next_worker(struct tg_reload_run *run, int *index, bool prepared)
{
  struct tg_reloads *reloads = run->reloads;
  while (*index < reloads->workers->count) {
    struct tg_managed_worker *worker = &reloads->workers->list[(*index)++];
    if (worker->ipc && worker->state == TG_WORKER_READY && (worker->prepared == run->generation) == prepared)
      return worker;
  }
  return NULL;
}

/* ---- the end of a run ---- */

static void reply_failure(struct tg_reload_run *run)
{
  struct tg_error error;
  tg_fail(&error, "reload_failed", "the reload failed, nothing has changed: %s", run->problem.data);
  json_t *value = json_pack("{s:o}", "problem", tg_json_text(run->problem.data));
  while (run->waiters) {
    struct tg_waiter *waiter = run->waiters;
    run->waiters = waiter->next;
    if (waiter->reply)
      waiter->reply(waiter->ctx, value, &error);
    free(waiter);
  }
  json_decref(value);
}

static void reply_success(struct tg_reload_run *run)
{
  while (run->waiters) {
    struct tg_waiter *waiter = run->waiters;
    run->waiters = waiter->next;
    json_t *keys = run->reloads->needs_restart;
    tg_reply_value(waiter->reply, waiter->ctx,
                   json_pack("{s:i, s:O}", "generation", run->generation, "needs_restart", keys));
    free(waiter);
  }
}

static void finish(struct tg_reload_run *run)
{
  struct tg_reloads *reloads = run->reloads;
  struct tg_waiter *next = run->next;
  if (reloads) {
    reloads->run = NULL;
    reloads->on_news(reloads->ctx, run->problem.length > 0 ? TG_RELOAD_HAS_FAILED : TG_RELOAD_IS_DONE);
    if (run->problem.length > 0)
      reply_failure(run);
    else
      reply_success(run);
  }
  tg_buf_free(&run->problem);
  free(run);
  if (next)
    begin(reloads, next);
}

/* `problem` NULL: it took effect. */
static void note_end(struct tg_reloads *reloads, const char *problem)
{
  free(reloads->last_problem);
  reloads->last_at = tg_now();
  reloads->last_problem = problem ? tg_strdup(problem) : NULL;
  if (!problem)
    return;
  tg_log_make_safe(reloads->last_problem); /* first: a secret that is cut in two would not be found */
  size_t length = strlen(reloads->last_problem);
  reloads->last_problem[tg_utf8_cut(reloads->last_problem, length, PROBLEM_MAX)] = '\0';
}

static void commit(struct tg_reload_run *run)
{
  struct tg_reloads *reloads = run->reloads;
  run->committing = true;
  run->asked = 1;
  reloads->workers->generation = run->generation;
  tg_poison_forgive();
  int index = 0;
  for (struct tg_managed_worker *worker; (worker = next_worker(run, &index, true));)
    tg_ask(worker->ipc, ANSWER_TIMEOUT, on_committed, ask(run, worker), commit_reload,
           .generation = run->generation);
  json_decref(reloads->needs_restart);
  reloads->needs_restart = json_array();
  reloads->script->commit(reloads->script->ctx, run->generation); /* may reconfigure us */
  tg_reload_tell_sum(reloads->script);
  reloads->counts.done++;
  note_end(reloads, NULL);
  tg_log_with(TG_INFO, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(GENERATION, run->generation), TG_NUMBER(DURATION, tg_now() - run->began)),
              "reloaded");
  index = 0;
  for (struct tg_managed_worker *worker; (worker = next_worker(run, &index, false));)
    catch_up(reloads, worker);
  answered(run);
}

static void abort_run(struct tg_reload_run *run)
{
  struct tg_reloads *reloads = run->reloads;
  *tg_buf_reserve(&run->problem, 1) = '\0';
  if (run->prepared)
    reloads->script->abort(reloads->script->ctx);
  int index = 0;
  for (struct tg_managed_worker *worker; (worker = next_worker(run, &index, true));) {
    worker->prepared = 0;
    tg_ask(worker->ipc, ANSWER_TIMEOUT, on_aborted, NULL, abort_reload, .generation = run->generation);
  }
  reloads->counts.failed++;
  note_end(reloads, run->problem.data);
  tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TOLD_NUMBER(GENERATION, reloads->workers->generation)),
              "the reload failed, nothing has changed:\n%s", run->problem.data);
  finish(run);
}

static void answered(struct tg_reload_run *run)
{
  if (--run->asked > 0)
    return;
  if (!run->reloads || run->committing)
    finish(run);
  else if (run->problem.length > 0)
    abort_run(run);
  else
    commit(run);
}

/* ---- the start of a run ---- */

static void begin(struct tg_reloads *reloads, struct tg_waiter *waiters)
{
  struct tg_reload_run *run = tg_calloc(1, sizeof *run);
  *run = (struct tg_reload_run){.reloads = reloads,
                                .generation = reloads->workers->generation + 1,
                                .asked = 1,
                                .waiters = waiters,
                                .began = tg_now()};
  reloads->run = run;
  reloads->on_news(reloads->ctx, TG_RELOAD_BEGINS);
  char *problem = NULL;
  run->prepared = reloads->script->prepare(reloads->script->ctx, &problem);
  int index = 0;
  if (!run->prepared)
    add_problem(run, -1, problem ? problem : "the script does not load");
  else
    for (struct tg_managed_worker *worker; (worker = next_worker(run, &index, false));)
      tg_ask(worker->ipc, ANSWER_TIMEOUT, on_prepared, ask(run, worker), prepare_reload,
             .generation = run->generation);
  free(problem);
  answered(run);
}

void tg_reload_start(struct tg_reloads *reloads, tg_manager_reply *reply, void *ctx)
{
  if (reloads->env->stopping) {
    tg_reply_error(reply, ctx, "stopping", "the gateway is stopping");
    return;
  }
  if (reloads->env->upgrading) {
    tg_reply_error(reply, ctx, "upgrade_running",
                   "an upgrade is under way, which loads the script anew; wait for its end");
    return;
  }
  if (!reloads->script->prepare) {
    tg_reply_error(reply, ctx, "no_script", "there is no script to reload");
    return;
  }
  if (reloads->run) {
    tg_waiter_add(&reloads->run->next, reply, ctx);
    return;
  }
  struct tg_waiter *waiters = NULL;
  tg_waiter_add(&waiters, reply, ctx);
  begin(reloads, waiters);
}

void tg_reloads_end(struct tg_reloads *reloads)
{
  struct tg_reload_run *run = reloads->run;
  if (!run)
    return;
  reloads->run = NULL;
  if (run->prepared && !run->committing)
    reloads->script->abort(reloads->script->ctx);
  tg_waiters_end(&run->waiters, "stopping", "the gateway is stopping");
  tg_waiters_end(&run->next, "stopping", "the gateway is stopping");
  run->reloads = NULL; /* freed with the last answer that is still out */
}

/* ---- one worker alone ---- */

static void on_caught_up(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct reload_question question = *(struct reload_question *)ctx;
  free(ctx);
  (void)data;
  struct tg_managed_worker *worker = error ? NULL : worker_of(question.reloads, &question);
  if (worker)
    worker->generation = question.reloads->workers->generation;
}

static void on_prepared_alone(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct reload_question *question = ctx;
  struct tg_managed_worker *worker = error ? NULL : worker_of(question->reloads, question);
  const char *problem = refusal(data, error);
  if (worker)
    tg_reload_note_files(question->reloads, question->reloads->workers->generation,
                         json_object_get(data, "files"));
  if (problem)
    tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, question->to.worker)),
                "a worker does not follow the reload:\n%s", problem);
  if (!worker || problem) {
    free(question);
    return;
  }
  tg_ask(worker->ipc, ANSWER_TIMEOUT, on_caught_up, question, commit_reload,
         .generation = question->reloads->workers->generation);
}

static void catch_up(struct tg_reloads *reloads, struct tg_managed_worker *worker)
{
  int generation = reloads->workers->generation;
  if (worker->generation == generation || (reloads->run && !reloads->run->committing) || !worker->ipc)
    return;
  tg_ask(worker->ipc, ANSWER_TIMEOUT, on_prepared_alone, make_question(NULL, reloads, worker), prepare_reload,
         .generation = generation);
}

void tg_reload_catch_up(struct tg_reloads *reloads, int worker)
{
  catch_up(reloads, &reloads->workers->list[worker]);
}

/* ---- the rest ---- */

void tg_reload_tell_sum(const struct tg_reload *script)
{
  tg_poison_script(script->sum ? script->sum(script->ctx) : 0);
}

void tg_reload_note_restart(struct tg_reloads *reloads, json_t *keys)
{
  json_decref(reloads->needs_restart);
  reloads->needs_restart = keys;
}

const json_t *tg_reload_needs_restart(const struct tg_reloads *reloads)
{
  return reloads->needs_restart;
}

bool tg_reload_runs(const struct tg_reloads *reloads)
{
  return reloads->run != NULL;
}

void tg_reload_take_over(struct tg_reloads *reloads, const struct tg_reload_counts *counts)
{
  reloads->counts = *counts;
}

struct tg_reload_counts tg_reload_counts(const struct tg_reloads *reloads)
{
  return reloads->counts;
}

struct tg_last_reload tg_reload_last(const struct tg_reloads *reloads)
{
  return (struct tg_last_reload){reloads->last_at, reloads->last_problem};
}

struct tg_reloads *tg_reloads_new(const struct tg_manager_env *env, struct tg_workers *workers,
                                  const struct tg_reload *script,
                                  void (*on_news)(void *ctx, enum tg_reload_news news), void *ctx)
{
  struct tg_reloads *reloads = tg_calloc(1, sizeof *reloads);
  *reloads =
      (struct tg_reloads){.env = env, .workers = workers, .script = script, .on_news = on_news, .ctx = ctx};
  return reloads;
}

void tg_reloads_free(struct tg_reloads *reloads)
{
  json_decref(reloads->needs_restart);
  free(reloads->last_problem);
  free(reloads);
}
