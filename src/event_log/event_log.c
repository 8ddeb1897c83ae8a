#include "event_log/log_internal.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *tg_log_loss_name(enum tg_log_loss reason)
{
  switch (reason) {
  case TG_LOSS_DAMAGED:
    return "log_damaged";
  case TG_LOSS_OVERFLOW:
    return "overflow";
  case TG_LOSS_DISK_FULL:
    return "disk_full";
  case TG_LOSS_EXPIRED:
    return "expired";
  }
  return "log_damaged";
}

/* --- open and close -------------------------------------------------------------- */

static void take_options(struct tg_event_log *log, const struct tg_event_log_options *options)
{
  uint64_t limit = options->disk_bytes ? options->disk_bytes / 8 / 4096 * 4096 : UINT32_MAX;
  if (limit < TG_LOG_SEGMENT_MIN)
    limit = TG_LOG_SEGMENT_MIN;
  log->directory = tg_strdup(options->directory);
  log->reader = tg_strdup(options->reader ? options->reader : "reader");
  log->mode = options->mode;
  log->shared = options->mode == TG_LOG_DRAIN && options->wanted;
  log->disk_bytes = options->disk_bytes;
  log->max_age = options->max_age;
  log->small_segment = options->small_segment ? options->small_segment : TG_LOG_SMALL_SEGMENT;
  log->large_segment = options->large_segment ? options->large_segment : TG_LOG_LARGE_SEGMENT;
  if (log->large_segment > limit)
    log->large_segment = (uint32_t)limit;
  if (log->small_segment > log->large_segment)
    log->small_segment = log->large_segment;
  log->on_gap = options->on_gap;
  log->wanted = log->shared ? options->wanted : NULL;
  log->ctx = options->ctx;
}

static bool begin(struct tg_event_log *log, struct tg_error *error)
{
  char name[200];
  snprintf(name, sizeof name, "cursor%s%s", log->shared ? "." : "", log->shared ? log->reader : "");
  log->directory_fd = tg_log_directory_open(log->directory, log->mode == TG_LOG_WRITE, error);
  if (log->directory_fd < 0)
    return false;
  log->segments.directory_fd = log->directory_fd;
  log->segments.directory = log->directory;
  log->lock_fd = tg_log_directory_lock(log->directory_fd, log->directory, log->shared, error);
  if (log->lock_fd < 0 || !tg_log_cursor_open(&log->cursor, log->directory_fd, log->directory, name, error) ||
      !tg_segments_list(&log->segments, error))
    return false;
  tg_log_recover(log);
  return log->mode == TG_LOG_DRAIN || tg_log_next_segment(log, 0, error);
}

struct tg_event_log *tg_event_log_open(const struct tg_event_log_options *options, struct tg_error *error)
{
  struct tg_event_log *log = tg_calloc(1, sizeof *log);
  log->directory_fd = log->lock_fd = log->cursor.fd = -1;
  take_options(log, options);
  if (!begin(log, error)) {
    tg_event_log_close(log);
    return NULL;
  }
  return log;
}

void tg_event_log_close(struct tg_event_log *log)
{
  if (!log)
    return;
  tg_log_sync_detach(log);
  tg_log_windows_free(log);
  for (int i = 0; i < log->shard_count; i++) {
    tg_index_free(&log->shards[i]->index);
    free(log->shards[i]);
  }
  free(log->shards);
  free(log->by_id);
  tg_segments_free(&log->segments);
  tg_log_cursor_close(&log->cursor);
  tg_buf_free(&log->pending);
  if (log->directory_fd >= 0)
    close(log->directory_fd);
  if (log->lock_fd >= 0)
    close(log->lock_fd);
  free(log->directory);
  free(log->reader);
  free(log);
}

static bool wants_all(void *ctx, int shard_id)
{
  (void)ctx, (void)shard_id;
  return true;
}

/* A log that several drain is looked through beside the others, and taken for oneself
 * only when nothing is left in it: who finds it locked meanwhile misses nothing. */
bool tg_event_log_remove(struct tg_event_log *log, tg_log_may_go *may_go, void *ctx, struct tg_error *error)
{
  char *directory = tg_strdup(log->directory), *reader = tg_strdup(log->reader);
  struct tg_event_log_options options = {.directory = directory,
                                         .mode = TG_LOG_DRAIN,
                                         .wanted = log->shared ? wants_all : NULL,
                                         .reader = reader};
  tg_event_log_close(log);
  log = tg_event_log_open(&options, error);
  bool removed = false;
  if (log && !tg_event_log_settled(log))
    tg_fail(error, "waiting", "the log %s still holds %llu events that wait, or losses that are not told",
            directory, (unsigned long long)log->events);
  else if (log && may_go && !may_go(ctx, log))
    tg_fail(error, "waiting", "what the log %s tells of its shards is needed still", directory);
  else if (log &&
           (!log->shared || tg_log_directory_seize(log->directory_fd, log->lock_fd, directory, error)) &&
           !(removed = tg_log_directory_remove(directory, log->directory_fd)))
    tg_fail(error, "disk", "the directory %s cannot be removed: %s", directory, strerror(errno));
  tg_event_log_close(log);
  free(directory);
  free(reader);
  return removed;
}

/* --- writing ---------------------------------------------------------------------- */

static bool check(const struct tg_event_log *log, const struct tg_log_event *event, uint64_t length,
                  struct tg_error *error)
{
  if (log->mode != TG_LOG_WRITE)
    return tg_fail(error, "misuse", "%s is only open to be drained", log->directory);
  if (length == 0 || length > TG_LOG_PAYLOAD_MAX)
    return tg_fail(error, "too_large",
                   "an event of %" PRIu64 " bytes cannot be put into the log (1 to %d bytes)", length,
                   TG_LOG_PAYLOAD_MAX);
  if (event->epoch > UINT32_MAX || event->sequence > UINT32_MAX || event->shard_id < 0 || event->at < 0)
    return tg_fail(error, "misuse",
                   "shard %d, epoch %" PRIu64 ", sequence %" PRIu64 " do not fit into the log",
                   event->shard_id, event->epoch, event->sequence);
  return true;
}

/* What was before its first record is not this log's affair: no gap begins there. */
static void note_first(struct tg_log_shard *shard, const struct tg_log_event *event)
{
  struct tg_log_point *acked = &shard->state.acked;
  if (shard->chain != 0 || acked->epoch != 0)
    return;
  uint64_t first = event->kind == TG_LOG_MARKER ? event->from : event->sequence;
  acked->epoch = event->epoch;
  acked->sequence = first > 0 ? first - 1 : 0;
}

static bool has_room(const struct tg_event_log *log, uint64_t size)
{
  return log->current->end + log->pending.length + size <= log->current->size;
}

bool tg_event_log_ready(struct tg_event_log *log, const uint32_t *lengths, int count, struct tg_error *error)
{
  uint64_t size = 0;
  for (int i = 0; i < count; i++)
    size += tg_record_size(lengths[i]);
  return has_room(log, size) || tg_log_next_segment(log, size, error);
}

tg_log_position tg_event_log_append(struct tg_event_log *log, const struct tg_log_event *event,
                                    struct tg_error *error)
{
  uint64_t length = 0;
  for (int i = 0; i < event->part_count; i++)
    length += event->parts[i].length;
  if (!check(log, event, length, error))
    return 0;
  struct tg_log_shard *shard = tg_log_shard(log, event->shard_id);
  if (shard->place == TG_NO_PLACE && !tg_log_cursor_add(&log->cursor, &shard->place, error))
    return 0;
  uint64_t size = tg_record_size((uint32_t)length);
  if (!has_room(log, size) && !tg_log_next_segment(log, size, error))
    return 0;

  uint32_t offset = log->current->end + (uint32_t)log->pending.length;
  struct tg_log_record record = {
      .position = tg_log_position_of(log->current->number, offset),
      .shard_id = event->shard_id,
      .epoch = event->epoch,
      .sequence = event->sequence,
      .at = event->at,
      .kind = event->kind,
      .flags = event->flags,
  };
  char *header = tg_buf_reserve(&log->pending, size), *at = header + TG_RECORD_HEADER;
  for (int i = 0; i < event->part_count; i++) {
    if (event->parts[i].length > 0)
      memcpy(at, event->parts[i].at, event->parts[i].length);
    at += event->parts[i].length;
  }
  memset(at, 0, (size_t)(header + size - at));
  record.payload = (struct tg_span){header + TG_RECORD_HEADER, length};
  tg_record_encode(header, &record, (uint8_t)record.kind, shard->chain, record.payload.at, (uint32_t)length);
  log->pending.length += size;

  tg_log_enter(log, shard, log->current, &record);
  note_first(shard, event);
  shard->chain = record.position;
  tg_log_note_last(shard, &(struct tg_log_point){record.position, event->epoch, event->sequence});
  if (!shard->touched) {
    shard->touched = true;
    shard->next_touched = log->touched;
    log->touched = shard;
  }
  return record.position;
}

size_t tg_event_log_unflushed(const struct tg_event_log *log)
{
  return log->pending.length;
}

bool tg_event_log_flush(struct tg_event_log *log, struct tg_error *error)
{
  if (log->pending.length == 0)
    return true;
  if (!tg_log_write_pending(log, error))
    return false;
  if (log->current->end > log->current->size / 4 * 3)
    tg_log_prepare(log);
  return true;
}

/* --- the rest --------------------------------------------------------------------------- */

uint64_t tg_event_log_disk(const struct tg_event_log *log)
{
  return log->segments.disk;
}

void tg_event_log_set_bounds(struct tg_event_log *log, uint64_t disk_bytes, tg_ms max_age)
{
  log->disk_bytes = disk_bytes;
  log->max_age = max_age;
}
