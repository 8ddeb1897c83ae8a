#include "event_log/log_internal.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- records that are dropped ------------------------------------------------------ */

/* What one sweep has dropped; the reports go out when the log is whole again. */
struct sweep {
  struct tg_event_log *log;
  enum tg_log_loss reason;
  struct tg_buf gaps; /* of struct tg_log_gap */
  uint64_t records;
};

/* `apart`: something that stays lies between it and what was dropped before. */
static void note_gap(struct sweep *sweep, size_t first_of_shard, const struct tg_log_shard *shard,
                     const struct tg_index_entry *entry, bool apart)
{
  struct tg_log_gap *last = NULL;
  if (sweep->gaps.length > first_of_shard && !apart)
    last = (struct tg_log_gap *)(sweep->gaps.data + sweep->gaps.length) - 1;
  if (!last || last->epoch != entry->epoch) {
    last = (struct tg_log_gap *)tg_buf_reserve(&sweep->gaps, sizeof *last);
    *last = (struct tg_log_gap){
        .shard_id = shard->id,
        .epoch = entry->epoch,
        .from = entry->sequence,
        .reason = sweep->reason,
        .before = entry->position,
    };
    sweep->gaps.length += sizeof *last;
  }
  last->to = entry->sequence;
  last->count += !entry->marker;
}

/* Drops the shard's records from `ordinal` on, as long as `goes_on` says so. */
static void sweep_shard(struct sweep *sweep, struct tg_log_shard *shard, uint64_t ordinal,
                        bool (*goes_on)(const struct tg_index_entry *entry, uint64_t limit), uint64_t limit,
                        bool spare_kept)
{
  struct tg_event_log *log = sweep->log;
  size_t first = sweep->gaps.length;
  uint64_t records = 0;
  bool apart = false;
  for (; ordinal < tg_index_end(&shard->index); ordinal++) {
    const struct tg_index_entry *entry = tg_index_at(&shard->index, ordinal);
    if (!goes_on(entry, limit))
      break;
    if (entry->done)
      continue;
    if (spare_kept && entry->keep) {
      apart = true;
      continue;
    }
    note_gap(sweep, first, shard, entry, apart);
    apart = false;
    tg_segments_find(&log->segments, tg_log_segment_of(entry->position))->live--;
    tg_log_finish(log, shard, ordinal, true);
    records++;
  }
  if (records == 0)
    return;
  tg_log_count_lost(log, shard, records, sweep->reason);
  sweep->records += records;
  for (; first < sweep->gaps.length; first += sizeof(struct tg_log_gap)) {
    struct tg_log_gap *gap = (struct tg_log_gap *)(sweep->gaps.data + first);
    gap->before = tg_event_log_next(log, shard->id, gap->before, NULL);
  }
}

static void report(struct sweep *sweep)
{
  struct tg_event_log *log = sweep->log;
  const struct tg_log_gap *gaps = (const struct tg_log_gap *)sweep->gaps.data;
  for (size_t i = 0; log->on_gap && i < sweep->gaps.length / sizeof *gaps; i++)
    log->on_gap(log->ctx, &gaps[i]);
  tg_buf_free(&sweep->gaps);
}

/* --- room that is given back --------------------------------------------------------- */

struct extent {
  uint32_t from, to;
};

static int by_place(const void *one, const void *two)
{
  const struct extent *a = one, *b = two;
  return (a->from > b->from) - (a->from < b->from);
}

/* Leaves of a segment only what still waits in it. */
static bool thin(struct tg_event_log *log, struct tg_log_segment *segment)
{
  struct tg_buf kept = {0};
  struct tg_error error = {0};
  for (int i = 0; i < log->shard_count; i++) {
    struct tg_log_index *index = &log->shards[i]->index;
    uint64_t ordinal = tg_index_from(index, tg_log_position_of(segment->number, 0));
    for (; ordinal < tg_index_end(index); ordinal++) {
      const struct tg_index_entry *entry = tg_index_at(index, ordinal);
      if (tg_log_segment_of(entry->position) != segment->number)
        break;
      uint32_t from = tg_log_offset_of(entry->position);
      struct extent extent = {from, from + (uint32_t)tg_record_size(entry->length)};
      if (!entry->done)
        tg_buf_append(&kept, &extent, sizeof extent);
    }
  }
  struct extent end = {segment->end, segment->end};
  tg_buf_append(&kept, &end, sizeof end);
  struct extent *extents = (struct extent *)kept.data;
  size_t count = kept.length / sizeof *extents;
  qsort(extents, count, sizeof *extents, by_place);
  uint32_t from = TG_SEGMENT_HEADER;
  bool done = true;
  for (size_t i = 0; done && i < count; i++) {
    if (extents[i].from > from)
      done = tg_segment_punch(&log->segments, segment, from, extents[i].from, &error);
    from = extents[i].to;
  }
  tg_buf_free(&kept);
  if (!done)
    tg_log(TG_WARN, TG_NO_SHARD, "what is to be kept of a full log goes, too: %s", error.message);
  segment->thinned = true;
  tg_segment_measure(&log->segments, segment);
  return done;
}

static bool in_segment(const struct tg_index_entry *entry, uint64_t number)
{
  return tg_log_segment_of(entry->position) == number;
}

static void sweep_segment(struct sweep *sweep, uint32_t number, bool spare_kept)
{
  for (int i = 0; i < sweep->log->shard_count; i++) {
    struct tg_log_shard *shard = sweep->log->shards[i];
    uint64_t ordinal = tg_index_from(&shard->index, tg_log_position_of(number, 0));
    sweep_shard(sweep, shard, ordinal, in_segment, number, spare_kept);
  }
}

/* The oldest of those that are written and not thinned yet, else the oldest. */
static struct tg_log_segment *choose_victim(const struct tg_event_log *log)
{
  struct tg_log_segment *thinned = NULL;
  for (size_t i = 0; i < log->segments.count; i++) {
    struct tg_log_segment *segment = log->segments.at[i];
    if (!segment->sealed || segment == log->current || segment->emptied)
      continue;
    if (!segment->thinned)
      return segment;
    if (!thinned)
      thinned = segment;
  }
  return thinned;
}

/* At once, then once a minute as long as it goes on. */
static void log_drops(struct tg_event_log *log, enum tg_log_loss reason)
{
  tg_ms now = tg_now();
  if (log->dropped == 0 || now < log->drops_logged_at)
    return;
  const char *why = "queue.disk_bytes is reached: the event handler is too slow or down";
  if (reason == TG_LOSS_DISK_FULL)
    why = "the disk is full: give the state directory more room, or lower queue.disk_bytes";
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, log->dropped), TG_TEXT(PATH, log->directory)),
              "dropped the oldest events from the log. %s", why);
  log->dropped = 0;
  log->drops_logged_at = now + TG_LOG_DROPS_LOGGED;
}

static bool drop_oldest(struct tg_event_log *log, enum tg_log_loss reason)
{
  struct tg_log_segment *segment = log->shared ? NULL : choose_victim(log);
  if (!segment)
    return false;
  struct sweep sweep = {.log = log, .reason = reason};
  sweep_segment(&sweep, segment->number, !segment->thinned);
  if (segment->live > 0 && !thin(log, segment))
    sweep_segment(&sweep, segment->number, false);
  tg_log_release(log, segment);
  log->dropped += sweep.records;
  log_drops(log, reason);
  report(&sweep);
  return true;
}

bool tg_event_log_drop_oldest(struct tg_event_log *log, enum tg_log_loss reason)
{
  log->retry_at = 0;
  return drop_oldest(log, reason);
}

void tg_event_log_reclaim(struct tg_event_log *log)
{
  for (size_t i = 0; i < log->segments.count && !log->shared; i++) {
    struct tg_log_segment *segment = log->segments.at[i];
    if (!segment->sealed || segment == log->current || segment->emptied)
      continue;
    bool thinned = segment->thinned; /* that is: all but what is to be kept was dropped */
    thin(log, segment);
    segment->thinned = thinned;
  }
}

static bool is_older(const struct tg_index_entry *entry, uint64_t limit)
{
  return entry->at < limit;
}

uint64_t tg_event_log_expire(struct tg_event_log *log, tg_ms now)
{
  if (log->max_age <= 0 || now <= log->max_age)
    return 0;
  uint64_t limit = (uint64_t)(now - log->max_age) / 1000;
  struct sweep sweep = {.log = log, .reason = TG_LOSS_EXPIRED};
  for (int i = 0; i < log->shard_count; i++)
    sweep_shard(&sweep, log->shards[i], log->shards[i]->index.first, is_older, limit, false);
  for (size_t i = log->segments.count; sweep.records > 0 && i-- > 0;)
    tg_log_release(log, log->segments.at[i]);
  if (sweep.records > 0)
    tg_log_with(TG_WARN, TG_NO_SHARD,
                TG_WITH(TG_NUMBER(EVENTS, sweep.records), TG_TEXT(PATH, log->directory),
                        TG_TEXT(KEY, "queue.max_age")),
                "dropped events from the log: they are too old");
  report(&sweep);
  return sweep.records;
}

/* --- the next segment ------------------------------------------------------------------ */

/* From the second full one on they are large. */
static uint32_t choose_size(const struct tg_event_log *log)
{
  for (size_t i = 0; i < log->segments.count; i++)
    if (log->segments.at[i]->sealed && log->segments.at[i]->live > 0)
      return log->large_segment;
  return log->small_segment;
}

uint32_t tg_event_log_wants_room(const struct tg_event_log *log, uint64_t size)
{
  uint64_t end = log->current->end + log->pending.length + size;
  bool due = log->disk_bytes > 0 && !log->prepared && end > log->current->size / 4 * 3;
  return due && log->segments.disk + choose_size(log) > log->disk_bytes ? log->current->number : 0;
}

static struct tg_log_segment *make_segment(struct tg_event_log *log, uint64_t need, struct tg_error *error)
{
  struct tg_error problem = {0};
  uint64_t least = (need + 4095) & ~(uint64_t)4095;
  if (least < TG_LOG_SEGMENT_MIN)
    least = TG_LOG_SEGMENT_MIN;
  uint64_t size = choose_size(log);
  if (size < least)
    size = least;
  while (log->disk_bytes && log->segments.disk + size > log->disk_bytes && drop_oldest(log, TG_LOSS_OVERFLOW))
    ;
  for (;;) {
    if (log->highest >= UINT32_MAX - 1) {
      tg_fail(&problem, "disk", "the log %s has used up its numbers: remove the directory", log->directory);
      break;
    }
    struct tg_log_segment *segment =
        tg_segments_create(&log->segments, ++log->highest, (uint32_t)size, &problem);
    if (segment)
      return segment;
    bool is_too_large = strcmp(problem.code, "disk_full") == 0 || strcmp(problem.code, "file_size") == 0;
    if (!is_too_large || size == least)
      break;
    size = size / 4 > least ? size / 4 / 4096 * 4096 : least;
  }
  log->retry_at = tg_now() + TG_LOG_RETRY;
  if (error)
    *error = problem;
  return NULL;
}

void tg_log_prepare(struct tg_event_log *log)
{
  if (!log->prepared && tg_now() >= log->retry_at)
    log->prepared = make_segment(log, 0, NULL);
}

bool tg_log_next_segment(struct tg_event_log *log, uint64_t size, struct tg_error *error)
{
  if (!tg_log_write_pending(log, error))
    return false;
  uint64_t need = size + TG_SEGMENT_HEADER;
  struct tg_log_segment *next = log->prepared;
  log->prepared = NULL;
  if (next && next->size < need) {
    tg_segments_remove(&log->segments, next);
    next = NULL;
  }
  if (!next)
    next = make_segment(log, need, error);
  if (!next)
    return false;
  struct tg_log_segment *full = log->current;
  log->current = next;
  if (full) {
    tg_segment_seal(&log->segments, full);
    tg_log_release(log, full);
  }
  return true;
}

/* --- the room that a backlog has taken --------------------------------------------------- */

static bool is_large(const struct tg_event_log *log, const struct tg_log_segment *segment)
{
  return segment && segment->size > log->small_segment;
}

void tg_event_log_shrink(struct tg_event_log *log)
{
  struct tg_error error = {0};
  bool has_large = is_large(log, log->current) || is_large(log, log->prepared);
  if (log->mode != TG_LOG_WRITE || log->events > 0 || log->pending.length > 0 || !has_large ||
      tg_now() < log->retry_at)
    return;
  if (is_large(log, log->prepared)) {
    tg_segments_remove(&log->segments, log->prepared);
    log->prepared = NULL;
  }
  if (is_large(log, log->current))
    tg_log_next_segment(log, 0, &error); /* if there is no room for a small one, this one stays */
}
