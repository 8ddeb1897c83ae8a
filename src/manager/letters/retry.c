/* Dead letters that are sent again: by the workers, a few at a time, each of them once. */

#include "base/buf.h"
#include "base/log.h"
#include "base/utf8.h"
#include "delivery/sinks/outcome.h"
#include "manager/letters/letters_impl.h"

#include <stdlib.h>
#include <string.h>

enum {
  IN_FLIGHT = 8,       /* beside what handlers get anyway */
  PROBLEMS = 20,       /* that are told one by one */
  PATIENCE = 5000,     /* ms, for what the worker does beside */
  SCRIPT_PATIENCE = 7, /* times the timeout: a script's deliver has 6, and then the default delivers */
};

/* One that a worker has. */
struct sent_letter {
  struct tg_letters *letters;
  size_t index;
};

/* ---- what has come of it ---- */

static void add_problem(struct tg_letter_retry *retry, const struct tg_found_letter *letter,
                        const char *outcome, long status, const char *text)
{
  if (json_array_size(retry->problems) < PROBLEMS)
    json_array_append_new(retry->problems,
                          json_pack("{s:I, s:s, s:I, s:o}", "n", (json_int_t)letter->place.number, "outcome",
                                    outcome, "status", (json_int_t)status, "reason", tg_json_text(text)));
}

static bool is_stuck(const struct tg_letter_retry *retry, const char *sink)
{
  for (int i = 0; i < retry->stuck_count; i++)
    if (strcmp(retry->stuck[i], sink) == 0)
      return true;
  return false;
}

static void stick(struct tg_letter_retry *retry, const char *sink)
{
  if (is_stuck(retry, sink) || retry->stuck_count == TG_STATS_SINKS)
    return;
  memcpy(retry->stuck[retry->stuck_count++], sink, strlen(sink) + 1); /* a sink's name */
}

static void note_answer(struct tg_letter_retry *retry, uint64_t number, const json_t *data)
{
  retry->answers = tg_realloc(retry->answers, (retry->answer_count + 1) * sizeof *retry->answers);
  const char *text = json_string_value(json_object_get(data, "answer"));
  retry->answers[retry->answer_count++] = (struct tg_dead_answer){
      .number = number,
      .at = tg_wall_clock(),
      .status = (long)json_integer_value(json_object_get(data, "status")),
      .text = tg_strdup(text ? text : ""),
      .bytes = (size_t)json_integer_value(json_object_get(data, "bytes")),
  };
}

static const char *text_of(const json_t *data, const char *key, const char *otherwise)
{
  const char *text = json_string_value(json_object_get(data, key));
  return text && *text ? text : otherwise;
}

static void on_delivered(struct tg_letters *letters, const struct tg_found_letter *letter, const json_t *data)
{
  struct tg_letter_retry *retry = letters->retry;
  retry->delivered++;
  letters->delivered++;
  retry->masked += letter->masked;
  if (!json_is_true(json_object_get(data, "removed")))
    add_problem(retry, letter, "delivered", 0, text_of(data, "reason", "the letter could not be removed"));
}

static void on_outcome(struct tg_letters *letters, const struct tg_found_letter *letter, const json_t *data)
{
  struct tg_letter_retry *retry = letters->retry;
  const char *outcome = text_of(data, "outcome", "other"), *reason = text_of(data, "reason", "not delivered");
  long status = (long)json_integer_value(json_object_get(data, "status"));
  if (strcmp(outcome, tg_outcome_name(TG_OUTCOME_DELIVERED)) == 0) {
    on_delivered(letters, letter, data);
    return;
  }
  if (strcmp(outcome, tg_outcome_name(TG_OUTCOME_REFUSED)) == 0) {
    retry->refused++;
    letters->refused++;
    note_answer(retry, letter->place.number, data);
    add_problem(retry, letter, outcome, status, text_of(data, "answer", reason));
    return;
  }
  /* It is down, or wants to be left alone: so would be each of the others. */
  retry->failed++;
  letters->failed++;
  add_problem(retry, letter, outcome, status, reason);
  stick(retry, letter->sink);
}

static void on_error(struct tg_letters *letters, const struct tg_found_letter *letter,
                     const struct tg_error *error)
{
  struct tg_letter_retry *retry = letters->retry;
  if (strcmp(error->code, "no_letter") == 0) {
    retry->gone++;
    return;
  }
  retry->failed++;
  letters->failed++;
  add_problem(retry, letter, error->code, 0, error->message);
  if (strcmp(error->code, "no_sink") == 0 || strcmp(error->code, "unavailable") == 0)
    stick(retry, letter->sink);
}

/* ---- the end ---- */

static json_t *describe(const struct tg_letter_retry *retry)
{
  json_t *stuck = json_array();
  for (int i = 0; i < retry->stuck_count; i++)
    json_array_append_new(stuck, json_string(retry->stuck[i]));
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:O}", "letters",
                   (json_int_t)tg_letter_job_count(retry->found), "delivered", (json_int_t)retry->delivered,
                   "refused", (json_int_t)retry->refused, "failed", (json_int_t)retry->failed, "untried",
                   (json_int_t)retry->untried, "gone", (json_int_t)retry->gone, "masked",
                   (json_int_t)retry->masked, "stuck", stuck, "problems", retry->problems);
}

static void free_retry(struct tg_letter_retry *retry)
{
  json_decref(retry->problems);
  tg_letter_answers_free(retry->answers, retry->answer_count);
  tg_letter_job_free(retry->found);
  free(retry);
}

/* Whoever has asked hears of it when the files are as they should be. */
static void on_tidied(struct tg_letter_job *job)
{
  struct tg_letters *letters = job->of;
  struct tg_letter_retry *retry = letters->retry;
  letters->retry = NULL;
  if (!job->ok)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, job->error.message)),
                "the files of the dead letters are not tidied: what was delivered is gone, but takes room");
  if (retry->delivered + retry->refused + retry->failed > 0)
    tg_log_with(
        TG_INFO, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, tg_letter_job_count(retry->found))),
        "dead letters were sent again by request: %zu are delivered, %zu were refused again, %zu could "
        "not be delivered, %zu were not tried",
        retry->delivered, retry->refused, retry->failed, retry->untried);
  tg_letters_changed(letters);
  if (retry->reply)
    tg_reply_value(retry->reply, retry->ctx, describe(retry));
  free_retry(retry);
  tg_letter_job_free(job);
}

static int by_number(const void *a, const void *b)
{
  const struct tg_dead_answer *left = a, *right = b;
  return left->number < right->number ? -1 : left->number > right->number;
}

static void finish(struct tg_letters *letters)
{
  struct tg_letter_retry *retry = letters->retry;
  struct tg_letter_job *job = tg_letter_job_new(letters, NULL);
  retry->over = true;
  if (retry->answer_count > 0)
    qsort(retry->answers, retry->answer_count, sizeof *retry->answers, by_number);
  job->answers = retry->answers;
  job->answer_count = retry->answer_count;
  retry->answers = NULL;
  retry->answer_count = 0;
  tg_letter_job_start(job, tg_letter_work_tidy, on_tidied);
}

/* ---- one after the other ---- */

/* Any worker can send it; that of its shard, if there is one, is not asked by others. NULL: none is up. */
static struct tg_ipc *line_for(const struct tg_letters *letters, int shard_id)
{
  const struct tg_managed_shard *shard = tg_shard_set_find(tg_current_set(letters->env), shard_id);
  struct tg_ipc *line = shard ? tg_workers_line(letters->workers, shard->worker_id) : NULL;
  for (int i = 0; !line && i < tg_workers_count(letters->workers); i++)
    line = tg_workers_line(letters->workers, i);
  return line;
}

static tg_ms patience_with(const struct tg_letters *letters, const char *name)
{
  const struct tg_config *config = letters->env->config;
  const struct tg_sink_config *sink = tg_config_sink(config, name);
  return SCRIPT_PATIENCE * (sink ? sink->handler.timeout : config->event_handler.timeout) + PATIENCE;
}

static void pump(struct tg_letters *letters);

static void on_answer(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct sent_letter sent = *(struct sent_letter *)ctx;
  struct tg_letter_retry *retry = sent.letters ? sent.letters->retry : NULL;
  free(ctx);
  if (!retry || sent.letters->env->stopping)
    return;
  const struct tg_found_letter *letter = &tg_letter_job_found(retry->found)[sent.index];
  retry->in_flight--;
  if (error)
    on_error(sent.letters, letter, error);
  else
    on_outcome(sent.letters, letter, data);
  pump(sent.letters);
}

static void send_letter(struct tg_letters *letters, size_t index)
{
  struct tg_letter_retry *retry = letters->retry;
  const struct tg_found_letter *letter = &tg_letter_job_found(retry->found)[index];
  struct tg_ipc *line = is_stuck(retry, letter->sink) ? NULL : line_for(letters, letter->shard_id);
  if (!line) {
    retry->untried++;
    if (!is_stuck(retry, letter->sink) && !retry->nobody)
      add_problem(retry, letter, "worker_down", 0, "no worker is up that could send it, or those behind it");
    retry->nobody = retry->nobody || !is_stuck(retry, letter->sink);
    return;
  }
  struct sent_letter *sent = tg_alloc(sizeof *sent);
  *sent = (struct sent_letter){letters, index};
  retry->in_flight++;
  tg_ask(line, patience_with(letters, letter->sink), on_answer, sent, send_letter,
         .number = (int64_t)letter->place.number, .inode = (int64_t)letter->place.inode,
         .at = (int64_t)letter->place.at, .length = (int64_t)letter->place.length);
}

static void pump(struct tg_letters *letters)
{
  struct tg_letter_retry *retry = letters->retry;
  size_t count = tg_letter_job_count(retry->found);
  while (retry->in_flight < IN_FLIGHT && retry->next < count)
    send_letter(letters, retry->next++);
  if (retry->in_flight == 0 && retry->next == count && !retry->over)
    finish(letters);
}

void tg_letter_retry_begin(struct tg_letters *letters, struct tg_letter_job *found)
{
  struct tg_letter_retry *retry = tg_calloc(1, sizeof *retry);
  retry->found = found;
  retry->problems = json_array();
  retry->reply = found->reply;
  retry->ctx = found->ctx;
  found->reply = NULL;
  letters->retry = retry;
  pump(letters);
}

void tg_letter_retry_end(struct tg_letters *letters)
{
  struct tg_letter_retry *retry = letters->retry;
  letters->retry = NULL;
  if (!retry)
    return;
  tg_reply_error(retry->reply, retry->ctx, "stopping",
                 "the gateway is stopping; %zu dead letters are delivered, the others stay",
                 retry->delivered);
  free_retry(retry);
}
