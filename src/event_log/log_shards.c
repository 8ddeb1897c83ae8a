#include "event_log/log_internal.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* --- shards ------------------------------------------------------------------- */

static uint32_t first_probe(const struct tg_event_log *log, int shard_id)
{
  return ((uint32_t)shard_id * 0x9e3779b1u) & (log->by_id_size - 1);
}

struct tg_log_shard *tg_log_find_shard(const struct tg_event_log *log, int shard_id)
{
  if (log->by_id_size == 0)
    return NULL;
  for (uint32_t at = first_probe(log, shard_id);; at = (at + 1) & (log->by_id_size - 1)) {
    if (log->by_id[at] < 0)
      return NULL;
    if (log->shards[log->by_id[at]]->id == shard_id)
      return log->shards[log->by_id[at]];
  }
}

static void hash_in(struct tg_event_log *log, int place)
{
  uint32_t at = first_probe(log, log->shards[place]->id);
  while (log->by_id[at] >= 0)
    at = (at + 1) & (log->by_id_size - 1);
  log->by_id[at] = place;
}

struct tg_log_shard *tg_log_shard(struct tg_event_log *log, int shard_id)
{
  struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  if (shard)
    return shard;
  if (log->shard_count == log->shard_capacity) {
    log->shard_capacity = log->shard_capacity ? log->shard_capacity * 2 : 32;
    log->shards = tg_realloc(log->shards, (size_t)log->shard_capacity * sizeof *log->shards);
    log->by_id_size = (uint32_t)log->shard_capacity * 2;
    log->by_id = tg_realloc(log->by_id, log->by_id_size * sizeof *log->by_id);
    memset(log->by_id, 0xff, log->by_id_size * sizeof *log->by_id);
    for (int i = 0; i < log->shard_count; i++)
      hash_in(log, i);
  }
  shard = tg_calloc(1, sizeof *shard);
  shard->id = shard->state.shard_id = shard_id;
  shard->place = TG_NO_PLACE;
  log->shards[log->shard_count++] = shard;
  hash_in(log, log->shard_count - 1);
  return shard;
}

void tg_log_put_state(struct tg_event_log *log, struct tg_log_shard *shard)
{
  struct tg_error error = {0};
  if (shard->place == TG_NO_PLACE && !tg_log_cursor_add(&log->cursor, &shard->place, &error)) {
    tg_log(TG_WARN, shard->id, "what has been delivered cannot be noted: %s", error.message);
    return;
  }
  tg_log_cursor_put(&log->cursor, shard->place, &shard->state);
}

/* --- what waits of them ---------------------------------------------------------- */

void tg_log_note_last(struct tg_log_shard *shard, const struct tg_log_point *point)
{
  struct tg_log_point *last = &shard->last;
  if (point->position != 0 && (last->position == 0 || point->epoch > last->epoch ||
                               (point->epoch == last->epoch && point->sequence > last->sequence)))
    *last = *point;
}

void tg_log_enter(struct tg_event_log *log, struct tg_log_shard *shard, struct tg_log_segment *segment,
                  const struct tg_log_record *record)
{
  struct tg_index_entry entry = {
      .position = record->position,
      .epoch = (uint32_t)record->epoch,
      .sequence = (uint32_t)record->sequence,
      .at = (uint32_t)(record->at / 1000),
      .length = (uint32_t)record->payload.length & 0xfffffff,
      .keep = (record->flags & TG_LOG_KEEP) != 0,
      .marker = record->kind == TG_LOG_MARKER,
  };
  tg_index_push(&shard->index, &entry);
  segment->live++;
  shard->events++;
  shard->bytes += entry.length;
  log->events++;
  log->bytes += entry.length;
}

tg_log_position tg_event_log_next(struct tg_event_log *log, int shard_id, tg_log_position after,
                                  struct tg_log_entry *found)
{
  struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  if (!shard)
    return 0;
  struct tg_log_index *index = &shard->index;
  uint64_t ordinal = after == 0 ? index->first : tg_index_from(index, after + 1);
  for (; ordinal < tg_index_end(index); ordinal++) {
    const struct tg_index_entry *entry = tg_index_at(index, ordinal);
    if (entry->done)
      continue;
    if (found)
      *found = (struct tg_log_entry){
          .position = entry->position,
          .epoch = entry->epoch,
          .sequence = entry->sequence,
          .length = entry->length,
          .at = (tg_ms)entry->at * 1000,
          .kind = entry->marker ? TG_LOG_MARKER : TG_LOG_EVENT,
          .flags = entry->keep ? TG_LOG_KEEP : 0,
      };
    return entry->position;
  }
  return 0;
}

bool tg_event_log_waits(struct tg_event_log *log, int shard_id, tg_log_position position)
{
  struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  uint64_t ordinal = shard ? tg_index_find(&shard->index, position) : TG_NO_ENTRY;
  return ordinal != TG_NO_ENTRY && !tg_index_at(&shard->index, ordinal)->done;
}

void tg_event_log_shard_figures(const struct tg_event_log *log, int shard_id, struct tg_log_figures *figures)
{
  const struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  *figures = (struct tg_log_figures){0};
  if (!shard)
    return;
  figures->events = shard->events;
  figures->bytes = shard->bytes;
  if (shard->index.count > 0)
    figures->oldest_at = (tg_ms)tg_index_at(&shard->index, shard->index.first)->at * 1000;
}

void tg_event_log_figures(const struct tg_event_log *log, struct tg_log_figures *figures)
{
  *figures = (struct tg_log_figures){
      .events = log->events,
      .bytes = log->bytes,
      .disk_bytes = log->segments.disk,
      .segments = (int)log->segments.count,
  };
  for (int i = 0; i < log->shard_count; i++) {
    struct tg_log_figures one;
    tg_event_log_shard_figures(log, log->shards[i]->id, &one);
    if (one.events > 0 && (figures->oldest_at == 0 || one.oldest_at < figures->oldest_at))
      figures->oldest_at = one.oldest_at;
  }
}

int tg_event_log_shard_at(const struct tg_event_log *log, int index)
{
  return index >= 0 && index < log->shard_count ? log->shards[index]->id : -1;
}

bool tg_event_log_last(const struct tg_event_log *log, int shard_id, uint64_t *epoch, uint64_t *sequence)
{
  const struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  if (!shard || shard->last.position == 0)
    return false;
  *epoch = shard->last.epoch;
  *sequence = shard->last.sequence;
  return true;
}

bool tg_event_log_last_waiting(const struct tg_event_log *log, int shard_id, uint64_t *epoch,
                               uint64_t *sequence)
{
  const struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  if (!shard)
    return false;
  for (uint64_t ordinal = tg_index_end(&shard->index); ordinal-- > shard->index.first;) {
    const struct tg_index_entry *entry = tg_index_at(&shard->index, ordinal);
    if (entry->done)
      continue;
    *epoch = entry->epoch;
    *sequence = entry->sequence;
    return true;
  }
  return false;
}

bool tg_event_log_first(const struct tg_event_log *log, int shard_id, uint64_t *epoch, uint64_t *sequence)
{
  const struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  if (!shard)
    return false;
  const struct tg_log_point *acked = &shard->state.acked;
  if (acked->epoch != 0) {
    *epoch = acked->epoch;
    *sequence = acked->position == 0 ? acked->sequence + 1 : 0;
    return true;
  }
  if (shard->index.count == 0)
    return false;
  const struct tg_index_entry *entry = tg_index_at(&shard->index, shard->index.first);
  *epoch = entry->epoch;
  *sequence = entry->sequence;
  return true;
}

/* --- acks --------------------------------------------------------------------------- */

/* Whether some of its records were acked before others of their shard that stand in front of it. After a kill
 * the cursor does not say so, and without the segment they would count as lost. */
static bool is_ahead(const struct tg_event_log *log, const struct tg_log_segment *segment)
{
  for (int i = 0; i < log->shard_count; i++) {
    struct tg_log_index *index = &log->shards[i]->index;
    if (index->count == 0 || tg_log_segment_of(tg_index_at(index, index->first)->position) >= segment->number)
      continue;
    uint64_t ordinal = tg_index_from(index, tg_log_position_of(segment->number, 0));
    if (segment->emptied || (ordinal < tg_index_end(index) &&
                             tg_log_segment_of(tg_index_at(index, ordinal)->position) == segment->number))
      return true;
  }
  return false;
}

/* Its file stays, and says that there was something: see log_recovery.c. */
static void empty(struct tg_event_log *log, struct tg_log_segment *segment)
{
  struct tg_error error = {0};
  if (segment->emptied)
    return;
  segment->emptied = true;
  log->emptied++;
  if (tg_segment_punch(&log->segments, segment, TG_SEGMENT_HEADER, segment->end, &error))
    tg_segment_measure(&log->segments, segment);
  else
    tg_log(TG_WARN, TG_NO_SHARD, "%s: it keeps its room", error.message);
}

static void remove_segment(struct tg_event_log *log, struct tg_log_segment *segment)
{
  log->emptied -= segment->emptied;
  tg_segments_remove(&log->segments, segment);
}

void tg_log_release(struct tg_event_log *log, struct tg_log_segment *segment)
{
  if (segment->live > 0 || !segment->sealed || segment == log->current || log->shared)
    return;
  if (is_ahead(log, segment))
    empty(log, segment);
  else
    remove_segment(log, segment);
}

/* What was in front of them may be done by now. */
static void release_emptied(struct tg_event_log *log)
{
  for (size_t i = log->segments.count; log->emptied > 0 && i-- > 0;)
    if (log->segments.at[i]->emptied && !is_ahead(log, log->segments.at[i]))
      remove_segment(log, log->segments.at[i]);
}

void tg_log_finish(struct tg_event_log *log, struct tg_log_shard *shard, uint64_t ordinal, bool dropped)
{
  struct tg_index_entry *entry = tg_index_at(&shard->index, ordinal);
  entry->done = 1;
  entry->dropped = dropped;
  if (dropped && entry->position > shard->dropped)
    shard->dropped = entry->position;
  shard->events--;
  shard->bytes -= entry->length;
  log->events--;
  log->bytes -= entry->length;
  while (shard->index.count > 0) {
    const struct tg_index_entry *front = tg_index_at(&shard->index, shard->index.first);
    if (!front->done)
      break;
    shard->passed = (struct tg_log_point){front->position, front->epoch, front->sequence};
    if (!front->dropped)
      shard->settled = shard->passed;
    tg_index_pop(&shard->index);
  }
}

/* The shard, if the record did wait; then *segment is where it stands. */
static struct tg_log_shard *finish(struct tg_event_log *log, int shard_id, tg_log_position position,
                                   bool dropped, struct tg_log_segment **segment)
{
  struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  uint64_t ordinal = shard ? tg_index_find(&shard->index, position) : TG_NO_ENTRY;
  if (ordinal == TG_NO_ENTRY || tg_index_at(&shard->index, ordinal)->done)
    return NULL;
  *segment = tg_segments_find(&log->segments, tg_log_segment_of(position));
  (*segment)->live--;
  tg_log_finish(log, shard, ordinal, dropped);
  return shard;
}

/* One of its records is done. */
static void release(struct tg_event_log *log, struct tg_log_segment *segment)
{
  if (segment->live > 0)
    return;
  tg_log_release(log, segment);
  release_emptied(log);
}

static void set_acked(struct tg_event_log *log, struct tg_log_shard *shard, const struct tg_log_point *point)
{
  if (point->position <= shard->state.acked.position)
    return;
  shard->state.acked = *point;
  if (point->position >= shard->dropped)
    shard->state.lost = 0;
  tg_log_put_state(log, shard);
}

void tg_event_log_ack(struct tg_event_log *log, int shard_id, tg_log_position position)
{
  struct tg_log_segment *segment;
  struct tg_log_shard *shard = finish(log, shard_id, position, false, &segment);
  if (!shard)
    return;
  set_acked(log, shard, &shard->settled);
  release(log, segment);
}

void tg_log_count_lost(struct tg_event_log *log, struct tg_log_shard *shard, uint64_t count,
                       enum tg_log_loss reason)
{
  uint64_t lost = shard->state.lost + count;
  shard->state.lost = lost < TG_LOG_LOST_MAX ? (uint32_t)lost : TG_LOG_LOST_MAX;
  shard->state.reason = reason;
  tg_log_put_state(log, shard);
}

void tg_event_log_drop(struct tg_event_log *log, int shard_id, tg_log_position position,
                       enum tg_log_loss reason)
{
  struct tg_log_segment *segment;
  struct tg_log_shard *shard = finish(log, shard_id, position, true, &segment);
  if (!shard)
    return;
  tg_log_count_lost(log, shard, 1, reason);
  release(log, segment);
}

void tg_event_log_told(struct tg_event_log *log, int shard_id)
{
  struct tg_log_shard *shard = tg_log_find_shard(log, shard_id);
  if (!shard)
    return;
  set_acked(log, shard, &shard->passed);
  if (shard->index.count == 0)
    set_acked(log, shard, &shard->state.written); /* a lost tail */
}

bool tg_event_log_settled(const struct tg_event_log *log)
{
  for (int i = 0; i < log->shard_count; i++) {
    const struct tg_log_state *state = &log->shards[i]->state;
    if (state->written.position > state->acked.position)
      return false;
  }
  return log->events == 0;
}

/* --- to the disk ------------------------------------------------------------------------ */

bool tg_log_write_pending(struct tg_event_log *log, struct tg_error *error)
{
  struct tg_log_segment *segment = log->current;
  if (log->pending.length == 0)
    return true;
  if (!tg_segment_write(&log->segments, segment, segment->end, log->pending.data, log->pending.length, error))
    return false;
  segment->end += (uint32_t)log->pending.length;
  tg_buf_reset(&log->pending, TG_LOG_BUFFER_KEPT);
  while (log->touched) {
    struct tg_log_shard *shard = log->touched;
    log->touched = shard->next_touched;
    shard->touched = false;
    shard->state.written = (struct tg_log_point){shard->chain, shard->last.epoch, shard->last.sequence};
    tg_log_put_state(log, shard);
  }
  return true;
}
