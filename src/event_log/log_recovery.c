#include "event_log/log_internal.h"

#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is in the files when a log is opened. Every byte may be damaged: a
 * record counts if its CRC is right, wherever it stands; where records are
 * missing is told by the chain that those of a shard form. Where a record of
 * nothing has been written over them they were done, or dropped. */

enum { READ_AHEAD = 1 << 20 };

struct stretch {
  tg_log_position from, to;
};

struct recovery {
  struct tg_event_log *log;
  struct tg_buf skipped; /* struct stretch: records of nothing, by their places */
  struct tg_buf gaps; /* of struct tg_log_gap */
  bool rebooted;      /* files that are missing had been delivered, very probably: the cursor is older */
  int damaged;        /* places */

  struct tg_log_segment *segment; /* being read, and a piece of it: */
  char *bytes;
  size_t capacity, length;
  uint32_t start;
  bool unreadable;
};

/* --- the cursors ---------------------------------------------------------------- */

static void merge(void *ctx, const struct tg_log_state *state)
{
  struct recovery *recovery = ctx;
  struct tg_event_log *log = recovery->log;
  uint32_t acked = tg_log_segment_of(state->acked.position),
           written = tg_log_segment_of(state->written.position);
  uint32_t highest = acked > written ? acked : written;
  if (highest > log->highest)
    log->highest = highest; /* positions must never be used twice */
  if (log->wanted && !log->wanted(log->ctx, state->shard_id))
    return;
  struct tg_log_shard *shard = tg_log_shard(log, state->shard_id);
  shard->known = true;
  if (state->acked.position >= shard->state.acked.position) {
    shard->state.acked = state->acked;
    shard->state.lost = state->lost;
    shard->state.reason = state->reason;
  }
  if (state->written.position > shard->state.written.position)
    shard->state.written = state->written;
}

static void merge_file(void *ctx, const char *name)
{
  struct recovery *recovery = ctx;
  if (!tg_log_cursor_scan(recovery->log->directory_fd, name, merge, recovery, &recovery->rebooted))
    tg_log(TG_WARN, TG_NO_SHARD, "%s/%s is damaged: what had been delivered by it is delivered again",
           recovery->log->directory, name);
}

static void merge_cursors(struct recovery *recovery)
{
  struct tg_event_log *log = recovery->log;
  struct tg_log_state state;
  recovery->rebooted = log->cursor.rebooted;
  for (uint32_t place = 0; place < log->cursor.used; place++) {
    if (!tg_log_cursor_get(&log->cursor, place, &state))
      continue;
    merge(recovery, &state);
    struct tg_log_shard *shard = tg_log_find_shard(log, state.shard_id);
    if (shard)
      shard->place = place;
  }
  if (log->shared && faccessat(log->directory_fd, "cursor", F_OK, 0) == 0)
    merge_file(recovery, "cursor");
  tg_log_each_reader_cursor(log->directory_fd, merge_file, recovery);
  for (int i = 0; i < log->shard_count; i++) {
    struct tg_log_shard *shard = log->shards[i];
    shard->passed = shard->settled = shard->state.acked;
  }
}

static void remove_file(void *ctx, const char *name)
{
  struct recovery *recovery = ctx;
  unlinkat(recovery->log->directory_fd, name, 0);
}

/* What the readers had noted is now in the log's own cursor. */
static void absorb_cursors(struct recovery *recovery)
{
  for (int i = 0; i < recovery->log->shard_count; i++)
    if (recovery->log->shards[i]->known)
      tg_log_put_state(recovery->log, recovery->log->shards[i]);
  tg_log_each_reader_cursor(recovery->log->directory_fd, remove_file, recovery);
}

/* --- gaps ------------------------------------------------------------------------ */

static void add_gap(struct recovery *recovery, struct tg_log_shard *shard, struct tg_log_gap gap)
{
  gap.shard_id = shard->id;
  gap.reason = shard->state.lost > 0 ? shard->state.reason : TG_LOSS_DAMAGED;
  if (gap.from > gap.to && gap.to != 0)
    gap.from = gap.to = 0;
  tg_buf_append(&recovery->gaps, &gap, sizeof gap);
}

/* Between `last` and `next`, both still there; `lost` is what the cursor says of it. */
static void add_gaps(struct recovery *recovery, struct tg_log_shard *shard, const struct tg_log_point *last,
                     uint64_t next_epoch, uint64_t next_sequence, tg_log_position before, uint64_t lost)
{
  if (last->epoch == next_epoch) {
    add_gap(recovery, shard,
            (struct tg_log_gap){.epoch = next_epoch,
                                .from = last->sequence + 1,
                                .to = next_sequence - 1,
                                .count = lost,
                                .before = before});
    return;
  }
  if (last->epoch != 0)
    add_gap(recovery, shard,
            (struct tg_log_gap){
                .epoch = last->epoch, .from = last->sequence + 1, .count = lost, .before = before});
  if (next_sequence > 1 || last->epoch == 0)
    add_gap(recovery, shard,
            (struct tg_log_gap){.epoch = next_epoch,
                                .from = 1,
                                .to = next_sequence - 1,
                                .count = last->epoch ? 0 : lost,
                                .before = before});
}

/* Whether that record was done and given back, before others in front of it. What was dropped the cursor
 * tells of. */
static bool was_done(const struct recovery *recovery, const struct tg_log_shard *shard,
                     tg_log_position position)
{
  const struct stretch *stretches = (const struct stretch *)recovery->skipped.data;
  size_t low = 0, high = recovery->skipped.length / sizeof *stretches;
  if (shard->state.lost > 0)
    return false;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (stretches[middle].to <= position)
      low = middle + 1;
    else
      high = middle;
  }
  return low < recovery->skipped.length / sizeof *stretches && stretches[low].from <= position;
}

static void take(struct recovery *recovery, const struct tg_log_record *record, tg_log_position previous)
{
  struct tg_event_log *log = recovery->log;
  if (log->wanted && !log->wanted(log->ctx, record->shard_id))
    return;
  struct tg_log_shard *shard = tg_log_shard(log, record->shard_id);
  struct tg_log_point here = {record->position, record->epoch, record->sequence};
  const struct tg_log_point *acked = &shard->state.acked;
  if (record->position > acked->position) {
    bool seen = shard->chain != 0, first = shard->chain <= acked->position;
    const struct tg_log_point *last = first ? acked : &shard->passed;
    bool gone = recovery->rebooted && !tg_segments_find(&log->segments, tg_log_segment_of(previous));
    if (previous > last->position && (seen || shard->known) && !gone && !was_done(recovery, shard, previous))
      add_gaps(recovery, shard, last, record->epoch, record->sequence, record->position,
               first ? shard->state.lost : 0);
    tg_log_enter(log, shard, recovery->segment, record);
  }
  shard->passed = here; /* while reading: the last one seen */
  shard->chain = record->position;
  tg_log_note_last(shard, &here);
}

static void end_shard(struct recovery *recovery, struct tg_log_shard *shard)
{
  const struct tg_log_state *state = &shard->state;
  struct tg_log_point seen = shard->chain > state->acked.position ? shard->passed : state->acked;
  shard->passed = state->acked;
  bool last_done = was_done(recovery, shard, state->written.position);
  if (last_done)
    tg_log_note_last(shard, &state->written);
  else if (state->written.position > seen.position)
    add_gaps(recovery, shard, &seen, state->written.epoch, state->written.sequence + 1, 0,
             shard->index.count == 0 ? state->lost : 0);
  if (shard->chain < state->acked.position)
    shard->chain = state->acked.position;
  if (shard->chain < state->written.position)
    shard->chain = state->written.position;
  tg_log_note_last(shard, &state->acked); /* its segment may be gone */
}

/* --- reading a segment -------------------------------------------------------------- */

/* At least `need` bytes from `offset` on, if the file has them. Returns how many there are. */
static size_t view(struct recovery *recovery, uint32_t offset, uint64_t need, const char **bytes)
{
  uint64_t size = recovery->segment->size;
  if (offset >= size || recovery->unreadable)
    return 0;
  if (need > size - offset)
    need = size - offset;
  if (offset < recovery->start || offset + need > recovery->start + recovery->length) {
    uint64_t want = size - offset < READ_AHEAD ? size - offset : READ_AHEAD;
    want = need > want ? need : want;
    if (want > recovery->capacity) {
      recovery->bytes = tg_realloc(recovery->bytes, want);
      recovery->capacity = want;
    }
    struct tg_error error = {0};
    ssize_t got =
        tg_segment_read(&recovery->log->segments, recovery->segment, offset, recovery->bytes, want, &error);
    recovery->start = offset;
    recovery->length = got > 0 ? (size_t)got : 0;
    if (got < 0) {
      tg_log(TG_ERROR, TG_NO_SHARD, "%s: the rest of it counts as lost", error.message);
      recovery->unreadable = true;
    }
  }
  *bytes = recovery->bytes + (offset - recovery->start);
  return recovery->length - (offset - recovery->start);
}

static enum tg_record_state decode(struct recovery *recovery, uint32_t offset, struct tg_log_record *record,
                                   tg_log_position *previous, uint64_t *size)
{
  const char *bytes;
  tg_log_position position = tg_log_position_of(recovery->segment->number, offset);
  size_t available = view(recovery, offset, TG_RECORD_HEADER, &bytes);
  if (available < TG_RECORD_HEADER)
    return TG_RECORD_SHORT;
  enum tg_record_state state = tg_record_decode(bytes, available, position, record, previous, size);
  if (state != TG_RECORD_SHORT || *size > recovery->segment->size - offset)
    return state;
  available = view(recovery, offset, *size, &bytes);
  return tg_record_decode(bytes, available, position, record, previous, size);
}

/* Where data goes on behind a stretch that was never written. */
static uint32_t skip_hole(struct recovery *recovery, uint32_t offset)
{
  struct tg_error error = {0};
  int fd = tg_segment_fd(&recovery->log->segments, recovery->segment, &error);
  off_t data = fd < 0 ? offset : lseek(fd, offset, SEEK_DATA);
  if (data < 0)
    return errno == ENXIO ? recovery->segment->size : offset;
  return data >= recovery->segment->size ? recovery->segment->size : (uint32_t)data & ~(uint32_t)7;
}

/* How many of the bytes are zeros, in steps of 8: no record begins there. */
static size_t count_zeros(const char *bytes, size_t available)
{
  size_t count = 0;
  for (uint64_t word; count + sizeof word + TG_RECORD_HEADER <= available; count += sizeof word) {
    memcpy(&word, bytes + count, sizeof word);
    if (word != 0)
      break;
  }
  return count;
}

/* The next whole record behind damage at `offset`, or the end of the file. */
static uint32_t find_record(struct recovery *recovery, uint32_t offset)
{
  struct tg_log_record record;
  uint64_t size, end = recovery->segment->size;
  for (uint64_t at = (uint64_t)offset + 8; at + TG_RECORD_HEADER <= end; at += 8) {
    const char *bytes;
    size_t available = view(recovery, (uint32_t)at, TG_RECORD_HEADER, &bytes);
    if (available < TG_RECORD_HEADER)
      break;
    size_t zeros = count_zeros(bytes, available);
    at += zeros;
    if (!tg_record_plausible(bytes + zeros))
      continue;
    enum tg_record_state state = decode(recovery, (uint32_t)at, &record, NULL, &size);
    if (state == TG_RECORD_WHOLE || state == TG_RECORD_SKIP)
      return (uint32_t)at;
  }
  return (uint32_t)end;
}

static void skip(struct recovery *recovery, uint32_t offset, uint64_t size)
{
  tg_log_position from = tg_log_position_of(recovery->segment->number, offset);
  struct stretch stretch = {from, from + size};
  tg_buf_append(&recovery->skipped, &stretch, sizeof stretch);
}

static void read_segment(struct recovery *recovery, struct tg_log_segment *segment)
{
  const char *header;
  size_t skipped = recovery->skipped.length;
  uint64_t records = 0;
  recovery->segment = segment;
  recovery->length = 0;
  recovery->unreadable = false;
  segment->end = TG_SEGMENT_HEADER;
  if (segment->size == 0)
    return; /* made, but killed before it had its room */
  if (view(recovery, 0, TG_SEGMENT_HEADER, &header) < TG_SEGMENT_HEADER ||
      !tg_segment_header_decode(header, segment->number, &segment->created))
    recovery->damaged++;
  for (uint64_t at = TG_SEGMENT_HEADER, size; at < segment->size;) {
    struct tg_log_record record;
    tg_log_position previous;
    enum tg_record_state state = decode(recovery, (uint32_t)at, &record, &previous, &size);
    if (state == TG_RECORD_WHOLE || state == TG_RECORD_SKIP) {
      if (state == TG_RECORD_WHOLE)
        take(recovery, &record, previous);
      else
        skip(recovery, (uint32_t)at, size);
      records += state == TG_RECORD_WHOLE;
      at += size;
      segment->end = at < segment->size ? (uint32_t)at : segment->size;
      continue;
    }
    uint32_t from = state == TG_RECORD_END ? skip_hole(recovery, (uint32_t)at) : (uint32_t)at;
    at = find_record(recovery, from > at ? from - 8 : (uint32_t)at);
    recovery->damaged += at < segment->size || state != TG_RECORD_END;
  }
  if (recovery->unreadable)
    segment->end = segment->size;
  segment->unreadable = recovery->unreadable;
  segment->emptied = records == 0 && !segment->unreadable && recovery->skipped.length > skipped;
  recovery->log->emptied += segment->emptied;
}

/* --- the whole ------------------------------------------------------------------------ */

static void tidy(struct recovery *recovery)
{
  struct tg_event_log *log = recovery->log;
  absorb_cursors(recovery);
  for (size_t i = log->segments.count; i-- > 0;) {
    struct tg_log_segment *segment = log->segments.at[i];
    if (segment->live > 0 && segment->end < segment->size)
      tg_segment_seal(&log->segments, segment);
    if (segment->live == 0 && segment->unreadable)
      tg_segments_forget(&log->segments, segment); /* the next start may have more luck */
    else
      tg_log_release(log, segment);
  }
}

static void tell(struct recovery *recovery)
{
  struct tg_event_log *log = recovery->log;
  const struct tg_log_gap *gaps = (const struct tg_log_gap *)recovery->gaps.data;
  int count = (int)(recovery->gaps.length / sizeof *gaps);
  if (log->events > 0)
    tg_log_with(
        TG_INFO, TG_NO_SHARD,
        TG_WITH(TG_NUMBER(EVENTS, log->events), TG_NUMBER(BYTES, log->bytes), TG_TEXT(PATH, log->directory)),
        "the log holds events that wait");
  if (recovery->damaged > 0 || count > 0)
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_TEXT(PATH, log->directory)),
                "the log has %d damaged places%s and %d gaps", recovery->damaged,
                recovery->rebooted ? " (the machine was restarted)" : "", count);
  for (int i = 0; log->on_gap && i < count; i++)
    log->on_gap(log->ctx, &gaps[i]);
}

void tg_log_recover(struct tg_event_log *log)
{
  struct recovery recovery = {.log = log};
  merge_cursors(&recovery);
  for (size_t i = 0; i < log->segments.count; i++) {
    read_segment(&recovery, log->segments.at[i]);
    if (log->segments.at[i]->number > log->highest)
      log->highest = log->segments.at[i]->number;
  }
  for (int i = 0; i < log->shard_count; i++)
    end_shard(&recovery, log->shards[i]);
  if (!log->shared)
    tidy(&recovery);
  tell(&recovery);
  tg_buf_free(&recovery.gaps);
  tg_buf_free(&recovery.skipped);
  free(recovery.bytes);
}
