#include "manager/letters/letters_impl.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { LOOK_INTERVAL = 2000 /* ms */ };

void tg_letter_filter_free(struct tg_letter_filter *filter)
{
  free(filter->numbers);
  free(filter->type);
  free(filter->sink);
  *filter = (struct tg_letter_filter){.shard = -1, .status = -1};
}

void tg_letter_answers_free(struct tg_dead_answer *answers, size_t count)
{
  for (size_t i = 0; i < count; i++)
    free((char *)answers[i].text);
  free(answers);
}

/* ---- jobs, one after the other ---- */

struct tg_letter_job *tg_letter_job_new(struct tg_letters *letters, struct tg_letter_filter *filter)
{
  struct tg_letter_job *job = tg_calloc(1, sizeof *job);
  job->of = letters;
  job->state_dir = tg_strdup(letters->env->state_dir);
  job->filter = (struct tg_letter_filter){.shard = -1, .status = -1};
  if (filter) {
    job->filter = *filter;
    *filter = (struct tg_letter_filter){.shard = -1, .status = -1};
  }
  return job;
}

void tg_letter_job_free(struct tg_letter_job *job)
{
  tg_letter_filter_free(&job->filter);
  tg_letter_answers_free(job->answers, job->answer_count);
  tg_buf_free(&job->text);
  tg_buf_free(&job->found);
  free(job->state_dir);
  free(job);
}

void tg_letter_job_reply(struct tg_letter_job *job, json_t *value)
{
  tg_manager_reply *reply = job->reply;
  job->reply = NULL;
  if (reply)
    reply(job->ctx, job->ok ? value : NULL, job->ok ? NULL : &job->error);
  json_decref(value);
}

static void run(uv_work_t *request)
{
  struct tg_letter_job *job = request->data;
  job->work(job);
}

static void start_next(struct tg_letters *letters);

static void finished(uv_work_t *request, int status)
{
  struct tg_letter_job *job = request->data;
  struct tg_letters *letters = job->of;
  (void)status;
  if (!letters) {
    tg_letter_job_free(job);
    return;
  }
  letters->first = job->next;
  if (!letters->first)
    letters->last = &letters->first;
  start_next(letters);
  job->done(job);
}

static void start_next(struct tg_letters *letters)
{
  if (letters->first)
    uv_queue_work(letters->env->loop, &letters->first->request, run, finished);
}

void tg_letter_job_start(struct tg_letter_job *job, void (*work)(struct tg_letter_job *job),
                         void (*done)(struct tg_letter_job *job))
{
  struct tg_letters *letters = job->of;
  bool idle = !letters->first;
  job->work = work;
  job->done = done;
  job->request.data = job;
  *letters->last = job;
  letters->last = &job->next;
  if (idle)
    start_next(letters);
}

/* ---- life ---- */

static void on_done_quietly(struct tg_letter_job *job)
{
  if (!job->ok)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, job->error.message)),
                "dead letters that were removed still take room");
  tg_letters_changed(job->of);
  tg_letter_job_free(job);
}

struct tg_letters *tg_letters_new(const struct tg_manager_env *env, struct tg_workers *workers)
{
  struct tg_letters *letters = tg_calloc(1, sizeof *letters);
  letters->env = env;
  letters->workers = workers;
  letters->last = &letters->first;
  return letters;
}

void tg_letters_end(struct tg_letters *letters)
{
  struct tg_error error;
  struct tg_letter_job *job = letters->first, *next;
  tg_fail(&error, "stopping", "the gateway is stopping");
  letters->first = NULL;
  letters->last = &letters->first;
  for (bool runs = true; job; job = next, runs = false) {
    next = job->next;
    job->ok = false; /* as far as anybody hears */
    tg_manager_reply *reply = job->reply;
    void *ctx = job->ctx;
    job->of = NULL;
    job->reply = NULL;
    if (!runs)
      tg_letter_job_free(job);
    if (reply)
      reply(ctx, NULL, &error);
  }
  tg_letter_retry_end(letters);
}

void tg_letters_free(struct tg_letters *letters)
{
  free(letters);
}

/* ---- how many there are ---- */

void tg_letters_changed(struct tg_letters *letters)
{
  letters->sum.count = 0;
  letters->look_at = 0;
}

static void on_looked(struct tg_letter_job *job)
{
  struct tg_letters *letters = job->of;
  letters->looking = false;
  if (job->ok && letters->look_at > 0) /* else it has changed since */
    letters->sum = job->sum;
  tg_letter_job_free(job);
}

void tg_letters_look(struct tg_letters *letters)
{
  tg_ms now = tg_now();
  if (letters->looking || now < letters->look_at || letters->env->stopping)
    return;
  if (!letters->begun) /* what a process has left that was killed */
    tg_letter_job_start(tg_letter_job_new(letters, NULL), tg_letter_work_tidy, on_done_quietly);
  letters->begun = letters->looking = true;
  letters->look_at = now + tg_patience(LOOK_INTERVAL);
  struct tg_letter_job *job = tg_letter_job_new(letters, NULL);
  job->sum = letters->sum;
  tg_letter_job_start(job, tg_letter_work_look, on_looked);
}

void tg_letters_status(const struct tg_letters *letters, struct tg_letters_status *status)
{
  const struct tg_letter_retry *retry = letters->retry;
  *status = (struct tg_letters_status){
      .letters = letters->sum.letters,
      .bytes = letters->sum.letters > 0 ? letters->sum.bytes : 0,
      .newest = letters->sum.newest,
      .delivered = letters->delivered,
      .refused = letters->refused,
      .failed = letters->failed,
      .retrying = retry != NULL,
      .of = retry ? tg_letter_job_count(retry->found) : 0,
      .done = retry ? retry->next - retry->in_flight : 0,
  };
}

/* ---- what others ask ---- */

static void on_listed(struct tg_letter_job *job)
{
  struct tg_letters_status status;
  tg_letters_status(job->of, &status);
  if (status.retrying)
    tg_buf_printf(&job->text, ",\"retry\":{\"letters\":%zu,\"done\":%zu}}", status.of, status.done);
  else
    tg_buf_puts(&job->text, ",\"retry\":null}");
  char *text = tg_buf_take(&job->text);
  tg_letter_job_reply(job, tg_json_text(text));
  free(text);
  tg_letter_job_free(job);
}

void tg_letters_list(struct tg_letters *letters, struct tg_letter_filter *filter, size_t limit,
                     uint64_t before, tg_manager_reply *reply, void *ctx)
{
  struct tg_letter_job *job = tg_letter_job_new(letters, filter);
  job->limit = limit < 1 ? 1 : limit < TG_LETTERS_LISTED ? limit : TG_LETTERS_LISTED;
  job->before = before;
  job->reply = reply;
  job->ctx = ctx;
  tg_letter_job_start(job, tg_letter_work_list, on_listed);
}

static void on_shown(struct tg_letter_job *job)
{
  char *text = tg_buf_take(&job->text);
  tg_letter_job_reply(job, tg_json_text(text));
  free(text);
  tg_letter_job_free(job);
}

void tg_letters_show(struct tg_letters *letters, uint64_t number, tg_manager_reply *reply, void *ctx)
{
  struct tg_letter_job *job = tg_letter_job_new(letters, NULL);
  job->before = number;
  job->reply = reply;
  job->ctx = ctx;
  tg_letter_job_start(job, tg_letter_work_show, on_shown);
}

/* What is being sent has its places, which have to stay. */
static bool refuse_while_retrying(const struct tg_letters *letters, struct tg_letter_filter *filter,
                                  tg_manager_reply *reply, void *ctx)
{
  if (!letters->retry && !letters->retry_begins)
    return false;
  tg_letter_filter_free(filter);
  tg_reply_error(reply, ctx, "retry_running",
                 "dead letters are being sent again: wait until that is done (GET /dead says how far it is)");
  return true;
}

static void on_found(struct tg_letter_job *job)
{
  struct tg_letters *letters = job->of;
  letters->retry_begins = false;
  if (job->ok) {
    tg_letter_retry_begin(letters, job);
    return;
  }
  tg_letter_job_reply(job, NULL);
  tg_letter_job_free(job);
}

void tg_letters_retry(struct tg_letters *letters, struct tg_letter_filter *filter, tg_manager_reply *reply,
                      void *ctx)
{
  if (refuse_while_retrying(letters, filter, reply, ctx))
    return;
  struct tg_letter_job *job = tg_letter_job_new(letters, filter);
  letters->retry_begins = true;
  job->reply = reply;
  job->ctx = ctx;
  tg_letter_job_start(job, tg_letter_work_find, on_found);
}

static void on_purged(struct tg_letter_job *job)
{
  if (job->removed > 0)
    tg_log(TG_INFO, TG_NO_SHARD, "%zu dead letters are removed by request", job->removed);
  if (!job->ok && job->removed > 0) {
    struct tg_error why = job->error;
    tg_fail(&job->error, why.code, "%zu letters are removed, but not all is done: %s", job->removed,
            why.message);
  }
  tg_letters_changed(job->of);
  tg_letter_job_reply(job, json_pack("{s:I}", "removed", (json_int_t)job->removed));
  tg_letter_job_free(job);
}

void tg_letters_purge(struct tg_letters *letters, struct tg_letter_filter *filter, tg_manager_reply *reply,
                      void *ctx)
{
  if (refuse_while_retrying(letters, filter, reply, ctx))
    return;
  struct tg_letter_job *job = tg_letter_job_new(letters, filter);
  job->reply = reply;
  job->ctx = ctx;
  tg_letter_job_start(job, tg_letter_work_purge, on_purged);
}
