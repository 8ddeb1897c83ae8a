#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "manager/cluster/post_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What other hosts ask of shards here. */

static void end_job(struct tg_post_job *job)
{
  LIST_REMOVE(job, link);
  free(job->call);
  free(job->answer);
  free(job);
}

/* ---- the answer ---- */

static void post_part(struct tg_post_job *job);

static void answer_error(struct tg_post_job *job, const char *code, const char *message)
{
  free(job->answer);
  snprintf(job->code, sizeof job->code, "%s", code);
  json_t *text = tg_json_text(message); /* whole characters, which may stand in JSON */
  job->answer = tg_strdup(json_string_value(text));
  json_decref(text);
  job->length = strlen(job->answer);
  job->answered = true;
  job->until = tg_now() + TG_POST_READ_MAX;
  post_part(job);
}

static size_t length_of_part(const struct tg_post_job *job)
{
  size_t left = job->length - job->taken;
  return left < TG_POST_PIECE ? left : TG_POST_PIECE;
}

static bool is_last_part(const struct tg_post_job *job)
{
  return job->taken + length_of_part(job) == job->length;
}

/* A part may have been read, and the next one be posted, before its own post is answered here. */
static void on_posted(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct tg_post_job *job = ctx;
  (void)text, (void)length;
  job->posting--;
  if (job->posting > 0)
    return;
  if (!job->office) {
    free(job);
  } else if (!error && is_last_part(job)) {
    end_job(job);
  } else if (error && strcmp(error->code, "oom") == 0 && job->length > TG_POST_SMALL) {
    /* Events have filled Redis' memory: there is no room for an answer of that size. */
    char message[TG_ERROR_MESSAGE_SIZE + 80];
    snprintf(message, sizeof message, "the answer, which another host has, cannot come: %s", error->message);
    job->taken = 0; /* a small one may come all the same */
    answer_error(job, "redis_away", message);
  } else if (error) {
    job->due = true; /* it may have come; then the next one is passed by */
  }
}

static json_t *header_of(const struct tg_post_job *job)
{
  json_t *header = json_pack("{s:s, s:s, s:i}", "id", job->id, "host", job->office->host, "part", job->part);
  if (!is_last_part(job))
    json_object_set_new(header, "more", json_true());
  if (job->code[0])
    json_object_set_new(header, "code", json_string(job->code));
  return header;
}

static bool post_text(struct tg_post_job *job, const struct tg_buf *body)
{
  struct tg_post_office *office = job->office;
  if (!tg_post_is_linked(office))
    return false;
  if (body->length > TG_POST_SMALL || job->taken > 0) /* a part may begin within a character */
    return tg_redis_link_post(office->link, job->from, "answer", body->data, body->length, on_posted, job);
  return tg_post_call(
      office, "post",
      json_pack("{s:s, s:s, s:s%}", "to", job->from, "word", "answer", "body", body->data, body->length),
      on_posted, job);
}

static void post_part(struct tg_post_job *job)
{
  struct tg_buf body = {0};
  json_t *header = header_of(job);
  char *line = json_dumps(header, JSON_COMPACT);
  tg_buf_puts(&body, line);
  tg_buf_puts(&body, "\n");
  tg_buf_append(&body, job->answer + job->taken, length_of_part(job));
  free(line);
  json_decref(header);
  job->due = !post_text(job, &body);
  job->posting += !job->due;
  tg_buf_free(&body);
}

static struct tg_post_job *find(struct tg_post_office *office, const char *id, const char *from)
{
  struct tg_post_job *job;
  LIST_FOREACH(job, &office->jobs, link)
  {
    if (strcmp(job->id, id) == 0 && strcmp(job->from, from) == 0)
      return job;
  }
  return NULL;
}

void tg_post_job_more(struct tg_post_office *office, const json_t *more)
{
  const char *id = json_string_value(json_object_get(more, "id"));
  const char *from = json_string_value(json_object_get(more, "from"));
  json_int_t part = json_integer_value(json_object_get(more, "part"));
  struct tg_post_job *job = id && from ? find(office, id, from) : NULL;
  if (!job || !job->answered || part != job->part + 1 || is_last_part(job))
    return;
  job->taken += length_of_part(job);
  job->part++;
  job->until = tg_now() + TG_POST_READ_MAX;
  post_part(job);
}

/* ---- doing it ---- */

static void on_done(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_post_job *job = ctx;
  if (!job->office) {
    free(job);
    return;
  }
  if (error) {
    answer_error(job, error->code, error->message);
    return;
  }
  job->answer = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : tg_strdup("null");
  job->length = strlen(job->answer);
  if (job->length > TG_POST_ANSWER_MAX) {
    answer_error(job, "too_large",
                 "the answer, which another host has, takes over 128 MiB: ask for less at a time");
    return;
  }
  job->answered = true;
  job->until = tg_now() + TG_POST_READ_MAX;
  post_part(job);
}

static void do_it(struct tg_post_job *job)
{
  enum tg_method method;
  json_t *args;
  if (!tg_post_read_call(job->call, &method, &args)) {
    answer_error(job, "bad_argument", "another host does not know what is asked: is it of another release?");
    return;
  }
  tg_post_do(job->office, method, args, on_done, job);
  json_decref(args);
}

/* ---- whether to do it ---- */

/* True: nobody waits for what was called. */
static bool is_over(struct tg_post_job *job)
{
  if (job->office)
    return false;
  free(job);
  return true;
}

/* Who has asked asks again where it came to nothing. */
static void on_sent_after(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct tg_post_job *job = ctx;
  if (is_over(job))
    return;
  json_t *answer = error ? NULL : json_loadb(text, length, 0, NULL);
  if (json_is_true(json_object_get(answer, "here")))
    do_it(job); /* it has come back */
  else
    end_job(job);
  json_decref(answer);
}

static void send_after(struct tg_post_job *job)
{
  json_t *body = json_pack("{s:i, s:s, s:s, s:i, s:s}", "shard", job->shard_id, "id", job->id, "from",
                           job->from, "hops", job->hops + 1, "call", job->call);
  if (!tg_post_call(job->office, "command", body, on_sent_after, job))
    end_job(job);
}

static void on_begun(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct tg_post_job *job = ctx;
  if (is_over(job))
    return;
  json_t *answer = error ? NULL : json_loadb(text, length, 0, NULL);
  const char *refused = json_string_value(json_object_get(answer, "refused"));
  if (error)
    answer_error(job, "redis_away", "Redis has gone away from the host that was asked; try again");
  else if (!refused)
    do_it(job);
  else if (strcmp(refused, "moved") == 0 && job->hops == 0)
    send_after(job);
  else
    end_job(job);
  json_decref(answer);
}

void tg_post_job_heard(struct tg_post_office *office, const json_t *command)
{
  const char *id = json_string_value(json_object_get(command, "id"));
  const char *from = json_string_value(json_object_get(command, "from"));
  const char *call = json_string_value(json_object_get(command, "call"));
  if (!id || !from || !call || strlen(id) >= TG_POST_ID_SIZE || strlen(from) >= TG_POST_HOST_SIZE) {
    tg_log(TG_WARN, TG_NO_SHARD, "a command in this host's stream of the cluster makes no sense");
    return;
  }
  if (find(office, id, from))
    return; /* it was asked again */
  struct tg_post_job *job = tg_calloc(1, sizeof *job);
  job->office = office;
  strcpy(job->id, id);
  strcpy(job->from, from);
  job->shard_id = (int)json_number_value(json_object_get(command, "shard"));
  job->hops = (int)json_number_value(json_object_get(command, "hops"));
  job->call = tg_strdup(call);
  LIST_INSERT_HEAD(&office->jobs, job, link);
  tg_post_watch(office);
  if (!tg_post_call(office, "begin", json_pack("{s:i, s:s}", "shard", job->shard_id, "id", id), on_begun,
                    job))
    end_job(job);
}

/* ---- time ---- */

void tg_post_jobs_look(struct tg_post_office *office, tg_ms now)
{
  struct tg_post_job *job = LIST_FIRST(&office->jobs), *next;
  for (; job; job = next) {
    next = LIST_NEXT(job, link);
    if (!job->answered || job->posting > 0)
      continue;
    if (now >= job->until)
      end_job(job); /* nobody reads it */
    else if (job->due)
      post_part(job);
  }
}

/* Nobody hears of what becomes of this one. */
static void say_that_it_ends(const struct tg_post_job *job)
{
  static const char why[] = "the host that was asked is stopping; it is not known whether it has done "
                            "what was asked";
  struct tg_buf body = {0};
  tg_buf_printf(&body, "{\"id\":\"%s\",\"host\":\"%s\",\"part\":0,\"code\":\"stopping\"}\n%s", job->id,
                job->office->host, why);
  tg_redis_link_post(job->office->link, job->from, "answer", body.data, body.length, NULL, NULL);
  tg_buf_free(&body);
}

/* What is under way yet ends with its last callback. */
void tg_post_jobs_end(struct tg_post_office *office)
{
  struct tg_post_job *job;
  while ((job = LIST_FIRST(&office->jobs))) {
    bool is_awaited = !job->answered || job->posting > 0;
    if (!job->answered && tg_post_is_linked(office))
      say_that_it_ends(job);
    LIST_REMOVE(job, link);
    free(job->call);
    free(job->answer);
    job->office = NULL;
    if (!is_awaited)
      free(job);
  }
}
