#pragma once

/* The inside of letters.h: letters.c (life, and what others ask), jobs.c (what the other thread does),
 * retry.c. */

#include "delivery/sinks/dead_files.h"
#include "manager/letters/letters.h"

/* One that is meant. */
struct tg_found_letter {
  struct tg_dead_place place;
  int shard_id;
  bool masked;
  char sink[TG_STATS_SINK_NAME_SIZE];
};

/* Work on the files. `work` is done in the other thread and touches nothing but the job; `done` on the loop.
 */
struct tg_letter_job {
  struct tg_letter_job *next;
  struct tg_letters *of; /* NULL: nobody waits any more */
  uv_work_t request;
  void (*work)(struct tg_letter_job *job);
  void (*done)(struct tg_letter_job *job);
  tg_manager_reply *reply;
  void *ctx;

  char *state_dir;
  struct tg_letter_filter filter;
  size_t limit;
  uint64_t before;

  bool ok; /* else `error` */
  struct tg_error error;
  struct tg_buf text;
  struct tg_buf found; /* of struct tg_found_letter */
  uint64_t matching;
  size_t removed;
  struct tg_dead_sum sum;
  struct tg_dead_answer *answers; /* with their texts */
  size_t answer_count;
};

/* Answers of letters that were refused again, and what has come of the rest. */
struct tg_letter_retry {
  struct tg_letter_job *found; /* what it is about */
  size_t next, in_flight;
  bool nobody; /* no worker was up, which has been told */
  bool over;   /* the files are being tidied */
  size_t delivered, refused, failed, untried, gone, masked;
  char stuck[TG_STATS_SINKS][TG_STATS_SINK_NAME_SIZE]; /* sinks that are not asked any more */
  int stuck_count;
  json_t *problems;
  struct tg_dead_answer *answers;
  size_t answer_count;
  tg_manager_reply *reply;
  void *ctx;
};

struct tg_letters {
  const struct tg_manager_env *env;
  struct tg_workers *workers;
  struct tg_letter_job *first, **last; /* the first one is under way */
  struct tg_letter_retry *retry;       /* NULL: none runs */
  bool retry_begins;                   /* or its letters are being looked for */
  bool begun, looking;
  tg_ms look_at; /* tg_now() */
  struct tg_dead_sum sum;
  uint64_t delivered, refused, failed;
};

static inline struct tg_found_letter *tg_letter_job_found(const struct tg_letter_job *job)
{
  return (struct tg_found_letter *)job->found.data;
}

static inline size_t tg_letter_job_count(const struct tg_letter_job *job)
{
  return job->found.length / sizeof(struct tg_found_letter);
}

/* ---- letters.c ---- */

/* A job for the end of the line. `filter` (NULL: none) is taken over. */
struct tg_letter_job *tg_letter_job_new(struct tg_letters *letters, struct tg_letter_filter *filter);
void tg_letter_job_start(struct tg_letter_job *job, void (*work)(struct tg_letter_job *job),
                         void (*done)(struct tg_letter_job *job));
void tg_letter_job_free(struct tg_letter_job *job);
/* Replies with the text, or the error. */
void tg_letter_job_reply(struct tg_letter_job *job, json_t *value);
void tg_letter_answers_free(struct tg_dead_answer *answers, size_t count);
/* What is kept is to be counted anew. */
void tg_letters_changed(struct tg_letters *letters);

/* ---- jobs.c: for the other thread ---- */

void tg_letter_work_list(struct tg_letter_job *job);
void tg_letter_work_show(struct tg_letter_job *job);
void tg_letter_work_find(struct tg_letter_job *job);
void tg_letter_work_purge(struct tg_letter_job *job);
void tg_letter_work_tidy(struct tg_letter_job *job);
void tg_letter_work_look(struct tg_letter_job *job);

/* ---- retry.c ---- */

/* The letters are found: takes the job over. */
void tg_letter_retry_begin(struct tg_letters *letters, struct tg_letter_job *found);
void tg_letter_retry_end(struct tg_letters *letters);
