/* A reload: prepared in every process, then committed in every process; or
 * nothing changes anywhere. */

#include "base/buf.h"
#include "base/log.h"
#include "base/utf8.h"
#include "manager/internal.h"
#include "shared/poison.h"

#include <stdlib.h>
#include <string.h>

enum { ANSWER_TIMEOUT = 5000 };

struct tg_reload_run {
  struct tg_manager *manager; /* NULL: the gateway is stopping */
  int generation;
  bool prepared; /* in this process */
  bool committing;
  int asked;             /* workers that have not answered yet, and one for the asking itself */
  struct tg_buf problem; /* why not; "" so far all is well */
  struct tg_waiter *waiters;
  struct tg_waiter *next; /* they asked meanwhile: the script may have changed again */
  tg_ms began;
};

struct question {
  struct tg_reload_run *run;
  struct tg_manager *manager; /* without a run: catching up */
  int worker_id;
  unsigned incarnation;
};

static void begin(struct tg_manager *manager, struct tg_waiter *waiters);
static void answered(struct tg_reload_run *run);

/* NULL: that process of the worker is gone. */
static struct tg_managed_worker *worker_of(struct tg_manager *manager, const struct question *question)
{
  struct tg_managed_worker *worker = &manager->workers[question->worker_id];
  return worker->ipc && worker->incarnation == question->incarnation ? worker : NULL;
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

static struct question *ask(struct tg_reload_run *run, const struct tg_managed_worker *worker)
{
  struct question *question = tg_alloc(sizeof *question);
  *question = (struct question){run, run->manager, worker->id, worker->incarnation};
  run->asked++;
  return question;
}

/* The text of a refusal; NULL: it is ready. */
static const char *refusal(const json_t *data, const struct tg_error *error)
{
  if (error)
    return error->message;
  return json_string_value(json_object_get(data, "problem"));
}

void tg_reload_note_files(struct tg_manager *manager, int generation, const json_t *files)
{
  const struct tg_reload *reload = &manager->options.reload;
  if (reload->note_files)
    reload->note_files(reload->ctx, generation, files);
}

static void on_prepared(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct question question = *(struct question *)ctx;
  free(ctx);
  const char *problem = refusal(data, error);
  struct tg_manager *manager = question.run->manager;
  struct tg_managed_worker *worker = manager && !error ? worker_of(manager, &question) : NULL;
  if (worker)
    tg_reload_note_files(manager, question.run->generation, json_object_get(data, "files"));
  if (problem)
    add_problem(question.run, question.worker_id, problem);
  else if (worker)
    worker->prepared = question.run->generation;
  answered(question.run);
}

static void on_committed(void *ctx, const json_t *data, const struct tg_error *error)
{
  (void)data;
  struct question question = *(struct question *)ctx;
  free(ctx);
  struct tg_manager *manager = question.run->manager;
  struct tg_managed_worker *worker = manager ? worker_of(manager, &question) : NULL;
  if (worker && !error)
    worker->generation = question.run->generation;
  else if (worker)
    tg_log_with(TG_ERROR, TG_NO_SHARD,
                TG_WITH(TG_NUMBER(WORKER, question.worker_id), TG_TEXT(REASON, error->message)),
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
  struct tg_manager *manager = run->manager;
  while (*index < manager->worker_count) {
    struct tg_managed_worker *worker = &manager->workers[(*index)++];
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
    json_t *keys = run->manager->needs_restart;
    tg_reply_value(waiter->reply, waiter->ctx,
                   json_pack("{s:i, s:O}", "generation", run->generation, "needs_restart", keys));
    free(waiter);
  }
}

static void finish(struct tg_reload_run *run)
{
  struct tg_manager *manager = run->manager;
  struct tg_waiter *next = run->next;
  if (manager) {
    manager->reload = NULL;
    tg_manager_tell(manager, run->problem.length > 0 ? TG_MANAGER_RELOAD_FAILED : TG_MANAGER_RELOADED);
    if (run->problem.length > 0)
      reply_failure(run);
    else
      reply_success(run);
  }
  tg_buf_free(&run->problem);
  free(run);
  if (next)
    begin(manager, next);
}

static void commit(struct tg_reload_run *run)
{
  struct tg_manager *manager = run->manager;
  run->committing = true;
  run->asked = 1;
  manager->generation = run->generation;
  tg_poison_forgive();
  int index = 0;
  for (struct tg_managed_worker *worker; (worker = next_worker(run, &index, true));)
    tg_ask(worker->ipc, ANSWER_TIMEOUT, on_committed, ask(run, worker), commit_reload,
           .generation = run->generation);
  json_decref(manager->needs_restart);
  manager->needs_restart = json_array();
  const struct tg_reload *reload = &manager->options.reload;
  reload->commit(reload->ctx, run->generation); /* may reconfigure us */
  tg_poison_script(reload->sum ? reload->sum(reload->ctx) : 0);
  manager->reloads.done++;
  tg_log_with(TG_INFO, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(GENERATION, run->generation), TG_NUMBER(DURATION, tg_now() - run->began)),
              "reloaded");
  index = 0;
  for (struct tg_managed_worker *worker; (worker = next_worker(run, &index, false));)
    tg_reload_catch_up(manager, worker);
  answered(run);
}

static void abort_run(struct tg_reload_run *run)
{
  struct tg_manager *manager = run->manager;
  *tg_buf_reserve(&run->problem, 1) = '\0';
  if (run->prepared)
    manager->options.reload.abort(manager->options.reload.ctx);
  int index = 0;
  for (struct tg_managed_worker *worker; (worker = next_worker(run, &index, true));) {
    worker->prepared = 0;
    tg_ask(worker->ipc, ANSWER_TIMEOUT, on_aborted, NULL, abort_reload, .generation = run->generation);
  }
  manager->reloads.failed++;
  tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TOLD_NUMBER(GENERATION, manager->generation)),
              "the reload failed, nothing has changed:\n%s", run->problem.data);
  finish(run);
}

static void answered(struct tg_reload_run *run)
{
  if (--run->asked > 0)
    return;
  if (!run->manager || run->committing)
    finish(run);
  else if (run->problem.length > 0)
    abort_run(run);
  else
    commit(run);
}

/* ---- the start of a run ---- */

static void begin(struct tg_manager *manager, struct tg_waiter *waiters)
{
  struct tg_reload_run *run = tg_calloc(1, sizeof *run);
  *run = (struct tg_reload_run){.manager = manager,
                                .generation = manager->generation + 1,
                                .asked = 1,
                                .waiters = waiters,
                                .began = tg_now()};
  manager->reload = run;
  tg_manager_tell(manager, TG_MANAGER_RELOADING);
  char *problem = NULL;
  run->prepared = manager->options.reload.prepare(manager->options.reload.ctx, &problem);
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

void tg_manager_reload(struct tg_manager *manager, tg_manager_reply *reply, void *ctx)
{
  if (tg_manager_stopping(manager)) {
    tg_reply_error(reply, ctx, "stopping", "the gateway is stopping");
    return;
  }
  if (!manager->options.reload.prepare) {
    tg_reply_error(reply, ctx, "no_script", "there is no script to reload");
    return;
  }
  if (manager->reload) {
    tg_waiter_add(&manager->reload->next, reply, ctx);
    return;
  }
  struct tg_waiter *waiters = NULL;
  tg_waiter_add(&waiters, reply, ctx);
  begin(manager, waiters);
}

void tg_reload_end(struct tg_manager *manager)
{
  struct tg_reload_run *run = manager->reload;
  if (!run)
    return;
  manager->reload = NULL;
  if (run->prepared && !run->committing)
    manager->options.reload.abort(manager->options.reload.ctx);
  tg_waiters_end(&run->waiters, "stopping", "the gateway is stopping");
  tg_waiters_end(&run->next, "stopping", "the gateway is stopping");
  run->manager = NULL; /* freed with the last answer that is still out */
}

/* ---- one worker alone ---- */

static void on_caught_up(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct question question = *(struct question *)ctx;
  free(ctx);
  (void)data;
  struct tg_managed_worker *worker = error ? NULL : worker_of(question.manager, &question);
  if (worker)
    worker->generation = question.manager->generation;
}

static void on_prepared_alone(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct question *question = ctx;
  struct tg_managed_worker *worker = error ? NULL : worker_of(question->manager, question);
  const char *problem = refusal(data, error);
  if (worker)
    tg_reload_note_files(question->manager, question->manager->generation, json_object_get(data, "files"));
  if (problem)
    tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, question->worker_id)),
                "a worker does not follow the reload:\n%s", problem);
  if (!worker || problem) {
    free(question);
    return;
  }
  tg_ask(worker->ipc, ANSWER_TIMEOUT, on_caught_up, question, commit_reload,
         .generation = question->manager->generation);
}

void tg_reload_catch_up(struct tg_manager *manager, struct tg_managed_worker *worker)
{
  if (worker->generation == manager->generation || (manager->reload && !manager->reload->committing) ||
      !worker->ipc)
    return;
  struct question *question = tg_alloc(sizeof *question);
  *question = (struct question){NULL, manager, worker->id, worker->incarnation};
  tg_ask(worker->ipc, ANSWER_TIMEOUT, on_prepared_alone, question, prepare_reload,
         .generation = manager->generation);
}
