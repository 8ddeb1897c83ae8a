#include "event_log/log_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Lanes that drain a backlog side by side read at about the same place, each its
 * own records, so the file is read in blocks, and what one lane has fetched
 * serves the others. When lanes are too far apart for that, most of a block is
 * read in vain: then records are read one by one for a while. */

enum {
  BLOCK = 128 << 10,
  OVERLAP = 16 << 10, /* a block's last record goes on into the next one */
  DIRECT_READS = 1024,
};

static bool damaged(const struct tg_event_log *log, tg_log_position position, struct tg_error *error)
{
  return tg_fail(error, "log_damaged", "the record at %u:%u of the log %s is damaged or gone",
                 tg_log_segment_of(position), tg_log_offset_of(position), log->directory);
}

/* The bytes of a record that is not flushed yet; NULL: it is. */
static char *in_buffer(const struct tg_event_log *log, tg_log_position position)
{
  if (!log->current || tg_log_segment_of(position) != log->current->number)
    return NULL;
  uint32_t offset = tg_log_offset_of(position);
  if (offset < log->current->end || offset - log->current->end >= log->pending.length)
    return NULL;
  return log->pending.data + (offset - log->current->end);
}

static enum tg_record_state decode(const struct tg_log_window *window, tg_log_position position,
                                   struct tg_log_record *record, uint64_t *size)
{
  if (position < window->position || position >= window->position + window->length)
    return TG_RECORD_SHORT;
  size_t skipped = (size_t)(position - window->position);
  return tg_record_decode(window->bytes + skipped, window->length - skipped, position, record, NULL, size);
}

/* Reads up to `length` bytes from the window's position on, behind what it holds already. */
static bool fill(struct tg_event_log *log, struct tg_log_window *window, uint32_t length,
                 struct tg_error *error)
{
  struct tg_log_segment *segment = tg_segments_find(&log->segments, tg_log_segment_of(window->position));
  uint32_t offset = tg_log_offset_of(window->position);
  uint32_t there = segment && segment->end > offset ? segment->end - offset : 0;
  if (length > there)
    length = there;
  if (length > window->capacity) {
    window->bytes = tg_realloc(window->bytes, length);
    window->capacity = length;
  }
  if (length <= window->length)
    return true;
  ssize_t got = tg_segment_read(&log->segments, segment, offset + window->length,
                                window->bytes + window->length, length - window->length, error);
  if (got > 0)
    window->length += (uint32_t)got;
  return got >= 0;
}

static struct tg_log_window *find_block(struct tg_event_log *log, tg_log_position base)
{
  for (int i = 0; i < TG_LOG_WINDOWS; i++)
    if (log->windows[i].position == base && log->windows[i].length > 0)
      return &log->windows[i];
  return NULL;
}

/* The block not used for longest, to be filled again. */
static struct tg_log_window *take_block(struct tg_event_log *log, tg_log_position base)
{
  struct tg_log_window *block = &log->windows[0];
  for (int i = 1; i < TG_LOG_WINDOWS; i++)
    if (log->windows[i].used < block->used)
      block = &log->windows[i];
  if (block->useful < block->length / 3)
    log->direct_reads = DIRECT_READS;
  block->position = base;
  block->length = 0;
  block->useful = 0;
  return block;
}

static bool read_direct(struct tg_event_log *log, tg_log_position position, uint32_t length,
                        struct tg_log_record *record, struct tg_error *error)
{
  struct tg_log_window *window = &log->single;
  uint64_t size;
  window->position = position;
  window->length = 0;
  return fill(log, window, (uint32_t)tg_record_size(length), error) &&
         decode(window, position, record, &size) == TG_RECORD_WHOLE;
}

static bool read_from_file(struct tg_event_log *log, tg_log_position position, uint32_t length,
                           struct tg_log_record *record, struct tg_error *error)
{
  tg_log_position base = position & ~(tg_log_position)(BLOCK - 1);
  struct tg_log_window *block = find_block(log, base);
  uint64_t size = tg_record_size(length);
  bool fits = position + size <= base + BLOCK + OVERLAP;
  if (!fits || (!block && log->direct_reads > 0)) {
    log->direct_reads -= log->direct_reads > 0;
    return read_direct(log, position, length, record, error);
  }
  if (!block)
    block = take_block(log, base);
  block->used = ++log->uses;
  enum tg_record_state state = decode(block, position, record, &size);
  if (state == TG_RECORD_SHORT) {
    if (!fill(log, block, BLOCK + OVERLAP, error))
      return false;
    state = decode(block, position, record, &size);
  }
  block->useful += size;
  return state == TG_RECORD_WHOLE;
}

bool tg_event_log_read(struct tg_event_log *log, int shard_id, tg_log_position position,
                       struct tg_log_record *record, struct tg_error *error)
{
  struct tg_error problem = {0};
  struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  uint64_t size, ordinal = shard ? tg_index_find(&shard->index, position) : TG_NO_ENTRY;
  if (ordinal == TG_NO_ENTRY)
    return damaged(log, position, error);
  const char *bytes = in_buffer(log, position);
  if (bytes)
    return tg_record_decode(bytes, log->pending.length - (size_t)(bytes - log->pending.data), position,
                            record, NULL, &size) == TG_RECORD_WHOLE ||
           damaged(log, position, error);
  if (read_from_file(log, position, tg_index_at(&shard->index, ordinal)->length, record, &problem))
    return true;
  return problem.code[0] ? tg_fail(error, "log_damaged", "%s", problem.message)
                         : damaged(log, position, error);
}

bool tg_event_log_mark(struct tg_event_log *log, tg_log_position position, uint8_t marks,
                       struct tg_error *error)
{
  if (marks > TG_LOG_MARKS_MAX)
    return tg_fail(error, "misuse", "the marks %d do not fit into the log", marks);
  uint16_t stored = tg_marks_encode(marks);
  const char bytes[2] = {(char)(stored & 0xff), (char)(stored >> 8)};
  char *buffered = in_buffer(log, position);
  if (buffered) {
    memcpy(buffered + TG_RECORD_MARKS, bytes, sizeof bytes);
    return true;
  }
  struct tg_log_segment *segment = tg_segments_find(&log->segments, tg_log_segment_of(position));
  if (!segment || tg_log_offset_of(position) + TG_RECORD_HEADER > segment->end)
    return damaged(log, position, error);
  for (int i = 0; i < TG_LOG_WINDOWS; i++) {
    struct tg_log_window *window = &log->windows[i];
    tg_log_position at = position + TG_RECORD_MARKS;
    if (at >= window->position && at + sizeof bytes <= window->position + window->length)
      memcpy(window->bytes + (at - window->position), bytes, sizeof bytes);
  }
  return tg_segment_write(&log->segments, segment, tg_log_offset_of(position) + TG_RECORD_MARKS, bytes,
                          sizeof bytes, error);
}

void tg_log_windows_free(struct tg_event_log *log)
{
  for (int i = 0; i < TG_LOG_WINDOWS; i++)
    free(log->windows[i].bytes);
  free(log->single.bytes);
}
