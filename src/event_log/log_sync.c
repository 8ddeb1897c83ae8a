#include "event_log/log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A job syncs what was flushed when it began, by descriptors of its own, so
 * that the log may remove segments, or be closed, while it runs. */

struct waiter {
  tg_log_synced *done;
  void *ctx;
};

struct tg_log_sync {
  uv_work_t work;
  struct tg_event_log *log; /* NULL: closed meanwhile */
  uv_loop_t *loop;
  struct tg_buf waiters; /* of struct waiter */
  struct tg_buf files;   /* of int: segments, then cursor, then directory */
  tg_log_position through;
  int code;
};

static void add_file(struct tg_log_sync *job, int fd)
{
  int copy = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy >= 0)
    tg_buf_append(&job->files, &copy, sizeof copy);
  else if (job->code == 0)
    job->code = errno ? errno : EIO;
}

static void gather(struct tg_event_log *log, struct tg_log_sync *job)
{
  struct tg_error error;
  for (size_t i = 0; i < log->segments.count; i++) {
    struct tg_log_segment *segment = log->segments.at[i];
    if (segment->unsynced)
      add_file(job, tg_segment_fd(&log->segments, segment, &error));
    segment->unsynced = false;
  }
  add_file(job, log->cursor.fd);
  add_file(job, log->directory_fd);
  if (log->current)
    job->through = tg_log_position_of(log->current->number, log->current->end - 1);
}

static void sync_files(struct tg_log_sync *job)
{
  const int *files = (const int *)job->files.data;
  for (size_t i = 0; i < job->files.length / sizeof *files; i++) {
    if (fdatasync(files[i]) != 0 && job->code == 0)
      job->code = errno;
    close(files[i]);
  }
  job->files.length = 0;
}

/* What could not be synced is tried again with the next job. */
static void note_failure(struct tg_event_log *log, struct tg_log_sync *job, struct tg_error *error)
{
  for (size_t i = 0; i < log->segments.count; i++)
    log->segments.at[i]->unsynced = true;
  tg_fail(error, "disk", "the log %s cannot be synced: %s", log->directory, strerror(job->code));
}

static void run(uv_work_t *work)
{
  sync_files(work->data);
}

static void start(struct tg_event_log *log, struct tg_log_sync *job);

static void free_job(struct tg_log_sync *job)
{
  tg_buf_free(&job->waiters);
  tg_buf_free(&job->files);
  free(job);
}

static void finished(uv_work_t *work, int status)
{
  struct tg_log_sync *job = work->data;
  struct tg_event_log *log = job->log;
  struct tg_error error = {0};
  if (status != 0 && job->code == 0) { /* cancelled with the loop */
    sync_files(job);
    job->code = ECANCELED;
  }
  if (log && job->code != 0)
    note_failure(log, job, &error);
  /* Any of these may close the log. */
  const struct waiter *waiters = (const struct waiter *)job->waiters.data;
  for (size_t i = 0; job->log && i < job->waiters.length / sizeof *waiters; i++)
    waiters[i].done(waiters[i].ctx, job->code == 0, job->through, &error);
  if (job->log) {
    struct tg_log_sync *next = log->next_sync;
    log->sync = log->next_sync = NULL;
    if (next)
      start(log, next);
  }
  free_job(job);
}

static void start(struct tg_event_log *log, struct tg_log_sync *job)
{
  log->sync = job;
  gather(log, job);
  uv_queue_work(job->loop, &job->work, run, finished);
}

void tg_event_log_sync(struct tg_event_log *log, uv_loop_t *loop, tg_log_synced *done, void *ctx)
{
  struct tg_log_sync *job = log->next_sync;
  if (!job) {
    job = tg_calloc(1, sizeof *job);
    job->log = log;
    job->loop = loop;
    job->work.data = job;
    log->next_sync = job;
  }
  struct waiter waiter = {done, ctx};
  tg_buf_append(&job->waiters, &waiter, sizeof waiter);
  if (log->sync)
    return;
  log->next_sync = NULL;
  start(log, job);
}

void tg_log_sync_detach(struct tg_event_log *log)
{
  if (log->sync)
    log->sync->log = NULL;
  if (log->next_sync)
    free_job(log->next_sync);
  log->sync = log->next_sync = NULL;
}

bool tg_event_log_sync_now(struct tg_event_log *log, struct tg_error *error)
{
  struct tg_log_sync job = {.log = log};
  if (!tg_log_write_pending(log, error))
    return false;
  gather(log, &job);
  sync_files(&job);
  tg_buf_free(&job.files);
  if (job.code != 0)
    note_failure(log, &job, error);
  return job.code == 0;
}
