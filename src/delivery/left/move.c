#include "base/buf.h"
#include "base/log.h"
#include "delivery/interactions/interaction.h"
#include "delivery/left/left.h"

#include <stdlib.h>
#include <string.h>

/* --- names ----------------------------------------------------------------------------- */

/* Several markers may stand at one place: these differ in what they tell. */
struct tg_left_name {
  uint64_t epoch, sequence;
  uint32_t marker; /* length of what it tells; 0: it is an event */
};

static struct tg_left_name name_of(const struct tg_log_entry *entry)
{
  return (struct tg_left_name){entry->epoch, entry->sequence,
                               entry->kind == TG_LOG_MARKER ? entry->length : 0};
}

static int compare(const void *one, const void *two)
{
  const struct tg_left_name *a = one, *b = two;
  if (a->epoch != b->epoch)
    return a->epoch < b->epoch ? -1 : 1;
  if (a->sequence != b->sequence)
    return a->sequence < b->sequence ? -1 : 1;
  return (a->marker > b->marker) - (a->marker < b->marker);
}

void tg_left_names_read(struct tg_left_names *names, const struct tg_lane *lane)
{
  struct tg_buf text = {0};
  tg_shard_ref ref = tg_ref_left(lane->feed->ref);
  for (struct tg_log_source *source = lane->lanes->logs.sources; source; source = source->next) {
    struct tg_log_entry entry;
    tg_log_position at = 0;
    while ((at = tg_event_log_next(source->log, ref, at, &entry)) != 0) {
      struct tg_left_name name = name_of(&entry);
      tg_buf_append(&text, &name, sizeof name);
    }
  }
  names->count = text.length / sizeof *names->at;
  names->at = (struct tg_left_name *)tg_buf_take(&text);
  if (names->count > 1)
    qsort(names->at, names->count, sizeof *names->at, compare);
}

void tg_left_names_free(struct tg_left_names *names)
{
  free(names->at);
  *names = (struct tg_left_names){0};
}

static bool has_name(const struct tg_left_names *names, const struct tg_log_entry *entry)
{
  struct tg_left_name name = name_of(entry);
  return names->count > 0 && bsearch(&name, names->at, names->count, sizeof name, compare);
}

/* --- out of memory ----------------------------------------------------------------------- */

static bool refused(const struct tg_lane *lane, struct tg_error *error)
{
  return tg_fail(error, "disk", "the event log of %s cannot be written", lane->lanes->title);
}

static bool flush(struct tg_lane *lane, struct tg_error *error)
{
  return tg_backlog_flush(lane->lanes, true) || refused(lane, error);
}

/* What is lost is told by memory alone, if a log has lost it. */
static bool keep_gap(struct tg_lane *lane, const struct tg_gap *gap, struct tg_error *error)
{
  struct tg_error problem = {0};
  return tg_backlog_append_gap(lane, tg_ref_left(lane->feed->ref), gap, &problem) != 0 ||
         tg_fail(error, "disk", "%s", problem.message);
}

static bool keep_gaps(struct tg_lane *lane, struct tg_error *error)
{
  if (!lane->lanes->handler->markers)
    return true;
  for (const struct tg_queued *event = lane->queue.head; event; event = event->next) {
    struct tg_gap gap;
    if (!event->gap || event->source)
      continue;
    gap = tg_gap_of(event);
    if (!keep_gap(lane, &gap, error))
      return false;
  }
  for (const struct tg_pending_gap *pending = lane->log.gaps; pending; pending = pending->next)
    if (!keep_gap(lane, &pending->gap, error))
      return false;
  return lane->log.lost_tail.epoch == 0 || keep_gap(lane, &lane->log.lost_tail, error);
}

static void forget(struct tg_lane *lane)
{
  lane->lanes->watch->leaves(lane);
  while (lane->queue.head) {
    struct tg_queued *event = lane->queue.head;
    tg_lane_queue_remove(&lane->queue, &lane->lanes->queued, event);
    tg_lane_free_event(lane, event);
  }
  tg_lane_forget_backlog(lane);
  tg_lane_forget_spilled(lane);
  lane->log.first_unlogged = NULL;
  lane->log.refused = lane->log.lost_tail = (struct tg_gap){0};
  lane->log.gaps_queued = 0;
}

bool tg_left_empty(struct tg_lane *lane, struct tg_error *error)
{
  uint64_t budget = UINT64_MAX;
  tg_lane_stop(lane);
  if (lane->lanes->logs.own) {
    tg_overflow_tell(lane, true);
    tg_lane_release(lane, INT64_MAX); /* the sink has them */
    if (!tg_lane_log_again(lane, &budget))
      return refused(lane, error);
    if (!keep_gaps(lane, error) || !flush(lane, error))
      return false;
  }
  forget(lane); /* what no log has goes with it: whoever has the shard asks Discord for it again */
  return true;
}

/* --- from record to record ------------------------------------------------------------------ */

static bool append(struct tg_lane *lane, const struct tg_log_record *record, struct tg_error *error)
{
  struct tg_error problem = {0};
  struct tg_buf text = {0}; /* it may lie where the log writes */
  struct tg_log_record copy = *record;
  tg_buf_append(&text, record->payload.at, record->payload.length);
  copy.payload = (struct tg_span){text.data, text.length};
  bool done = tg_backlog_append_as(lane->lanes, tg_ref_left(lane->feed->ref), &copy, &problem) != 0;
  tg_buf_free(&text);
  return done || tg_fail(error, "disk", "%s", problem.message);
}

/* In its place stands what tells of it. */
static bool append_damaged(struct tg_lane *lane, const struct tg_log_entry *entry, const char *why,
                           struct tg_error *error)
{
  const struct tg_gap gap = {.epoch = entry->epoch,
                             .from = entry->sequence,
                             .to = entry->sequence,
                             .count = 1,
                             .reason = tg_log_loss_name(TG_LOSS_DAMAGED)};
  if (lane->lanes->handler->markers && !keep_gap(lane, &gap, error))
    return false;
  tg_log_with(
      TG_ERROR, lane->feed->shard_id,
      TG_WITH(TG_NUMBER(EPOCH, entry->epoch), TG_NUMBER(SEQUENCE, entry->sequence), TG_TEXT(REASON, why)),
      "an event is lost");
  tg_lane_count(lane, dropped, 1);
  return true;
}

static bool move_record(struct tg_lane *lane, struct tg_log_source *source, const struct tg_log_entry *entry,
                        struct tg_error *error)
{
  struct tg_log_record record;
  struct tg_error problem = {0};
  if (!tg_event_log_read(source->log, lane->feed->ref, entry->position, &record, &problem))
    return append_damaged(lane, entry, problem.message, error);
  if (record.marks & TG_MARK_DONE)
    return true;
  return append(lane, &record, error);
}

static void ack_up_to(struct tg_lane *lane, struct tg_log_source *source, tg_log_position last)
{
  tg_log_position at = 0;
  while ((at = tg_event_log_next(source->log, lane->feed->ref, at, NULL)) != 0 && at <= last)
    tg_event_log_ack(source->log, lane->feed->ref, at);
  if (source != lane->lanes->logs.own)
    lane->lanes->logs.source_done = true;
}

/* Records are done where they were only when they are safe where they are. */
static bool end_slice(struct tg_lane *lane, struct tg_log_source *source, tg_log_position last,
                      struct tg_error *error)
{
  if (last == 0)
    return true;
  if (!flush(lane, error))
    return false;
  ack_up_to(lane, source, last);
  return true;
}

/* For a moment the log is larger by what moves, which is no reason to drop anything of it; then what has
 * moved out of the middle of its files gives that room back. */
static void set_bound(const struct tg_lanes *lanes, bool on)
{
  const struct tg_logs *logs = &lanes->logs;
  if (on && logs->own_bound > 0 && tg_event_log_disk(logs->own->log) > logs->own_bound)
    tg_event_log_reclaim(logs->own->log);
  tg_event_log_set_bounds(logs->own->log, on ? logs->own_bound : 0, lanes->limits->max_age);
}

/* False: the disk refuses it. */
static bool move_source(struct tg_lane *lane, struct tg_log_source *source, const struct tg_left_names *names,
                        uint64_t *budget, struct tg_error *error)
{
  struct tg_log_entry entry;
  tg_log_position at = 0, last = 0;
  bool done = true;
  set_bound(lane->lanes, false);
  while (done && *budget > 0 && (at = tg_event_log_next(source->log, lane->feed->ref, at, &entry)) != 0) {
    done = has_name(names, &entry) || move_record(lane, source, &entry, error);
    uint64_t size = entry.length + sizeof entry;
    *budget -= size < *budget ? size : *budget;
    if (done)
      last = at;
  }
  done = end_slice(lane, source, last, error) && done;
  set_bound(lane->lanes, true);
  return done;
}

bool tg_left_move(struct tg_lane *lane, const struct tg_left_names *names, uint64_t *budget, bool *more,
                  struct tg_error *error)
{
  *more = false;
  for (struct tg_log_source *source = lane->lanes->logs.sources; source; source = source->next) {
    if (!move_source(lane, source, names, budget, error))
      return false;
    if (tg_event_log_next(source->log, lane->feed->ref, 0, NULL) != 0) {
      *more = true;
      return true;
    }
    tg_event_log_told(source->log, lane->feed->ref); /* what is left tells of what is lost */
  }
  lane->lanes->logs.source_done = true;
  return true;
}
