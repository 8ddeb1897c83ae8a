#include "delivery/lanes/lanes.h"

#include "base/log.h"

#include <string.h>

/* What the own log refuses (a full disk, one that fails, no descriptor left) waits
 * in memory, and everything that comes after it, too, so that the log never holds an
 * event whose forerunner it lacks: who starts after a kill takes the last event in
 * the log for the last that needs not be asked for again. Once a second the log is
 * tried; when it takes events again they go into it in order, and only then what
 * comes new does. */

enum {
  LOG_RETRY = 1000,
  WRITE_AGAIN_MAX = 4 << 20, /* bytes in one loop turn */
};

/* --- what is told of it ---------------------------------------------------------- */

void tg_backlog_alarm(struct tg_lanes *lanes, const struct tg_error *error)
{
  tg_ms now = tg_env_now(lanes->env);
  if (lanes->logs.alarmed_at != 0 && now - lanes->logs.alarmed_at < TG_REPORT_INTERVAL)
    return;
  lanes->logs.alarmed_at = now ? now : 1;
  tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, error->message)),
              "the log cannot be written: events are kept in memory alone (queue.memory_bytes) until it can. "
              "If this process ends meanwhile, Discord is asked for them again, as far back as it has them");
}

static void calm(struct tg_lanes *lanes)
{
  if (lanes->logs.alarmed_at == 0 || lanes->logs.refuses)
    return;
  lanes->logs.alarmed_at = 0;
  tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TOLD_NUMBER(EVENTS, lanes->logs.written_again)),
              "the log is written again, and has %llu events that waited in memory",
              (unsigned long long)lanes->logs.written_again);
  lanes->logs.written_again = 0;
}

/* The end of the turn does it. */
static void on_retry(uv_timer_t *timer)
{
  (void)timer;
}

static void try_again_in(struct tg_lanes *lanes, tg_ms wait)
{
  lanes->logs.retry_at = tg_env_now(lanes->env) + wait;
  uv_timer_start(&lanes->logs.retry, on_retry, (uint64_t)wait, 0);
}

static void refuse(struct tg_lanes *lanes, const struct tg_error *error)
{
  tg_backlog_alarm(lanes, error);
  if (strcmp(error->code, "too_large") == 0 || strcmp(error->code, "misuse") == 0)
    return; /* that one event will never be taken */
  lanes->logs.refuses = true;
  lanes->logs.disk_is_full = strcmp(error->code, "disk_full") == 0;
  try_again_in(lanes, LOG_RETRY);
}

/* --- writing ------------------------------------------------------------------------ */

static tg_log_position append_item(struct tg_lanes *lanes, tg_shard_ref ref, const struct tg_item *item,
                                   tg_ms at, struct tg_error *error)
{
  char head[TG_STORED_HEAD_MAX];
  const struct tg_span parts[] = {{head, tg_stored_head(head, &item->event)}, item->event.message};
  struct tg_place place = tg_stored_place(&item->event);
  struct tg_log_event event = {
      .shard_id = ref,
      .epoch = place.epoch,
      .sequence = place.sequence,
      .from = item->from,
      .at = at + tg_steady_ahead(),
      .kind = item->event.marker ? TG_LOG_MARKER : TG_LOG_EVENT,
      .flags = item->keep ? TG_LOG_KEEP : 0,
      .parts = parts,
      .part_count = 2,
  };
  return tg_event_log_append(lanes->logs.own->log, &event, error);
}

static tg_log_position append(struct tg_lanes *lanes, tg_shard_ref ref, const struct tg_item *item, tg_ms at)
{
  struct tg_error error = {0};
  tg_log_position position = append_item(lanes, ref, item, at, &error);
  if (__builtin_expect(position == 0, 0))
    refuse(lanes, &error);
  return position;
}

tg_log_position tg_backlog_append_as(struct tg_lanes *lanes, tg_shard_ref ref,
                                     const struct tg_log_record *record, struct tg_error *error)
{
  struct tg_event_log *log = lanes->logs.own->log;
  struct tg_log_event event = {
      .shard_id = ref,
      .epoch = record->epoch,
      .sequence = record->sequence,
      .at = record->at,
      .kind = record->kind,
      .flags = record->flags,
      .parts = &record->payload,
      .part_count = 1,
  };
  tg_log_position position = tg_event_log_append(log, &event, error);
  if (position != 0 && record->marks != 0)
    tg_event_log_mark(log, position, record->marks, NULL); /* it is in the buffer: that succeeds */
  return position;
}

tg_log_position tg_backlog_append_gap(struct tg_lane *lane, tg_shard_ref ref, const struct tg_gap *gap,
                                      struct tg_error *error)
{
  char text[TG_GAP_MAX];
  struct tg_item item = tg_gap_item(lane, gap, text);
  return append_item(lane->lanes, ref, &item, tg_env_now(lane->lanes->env), error);
}

tg_log_position tg_backlog_append(struct tg_lanes *lanes, tg_shard_ref ref, const struct tg_item *item)
{
  if (__builtin_expect(lanes->logs.refuses, 0))
    return 0;
  return append(lanes, ref, item, tg_env_now(lanes->env));
}

bool tg_backlog_flush(struct tg_lanes *lanes, bool at_once)
{
  struct tg_event_log *log = lanes->logs.own->log;
  struct tg_error error = {0};
  if (tg_event_log_unflushed(log) == 0)
    return true;
  if (!at_once && tg_env_now(lanes->env) < lanes->logs.flush_retry_at)
    return false;
  bool done = tg_event_log_flush(log, &error);
  if (done) {
    calm(lanes);
  } else {
    lanes->logs.flush_retry_at = tg_env_now(lanes->env) + LOG_RETRY;
    refuse(lanes, &error);
  }
  lanes->logs.unsynced = true;
  return done;
}

void tg_backlog_write(struct tg_lanes *lanes)
{
  if (lanes->logs.own)
    tg_backlog_flush(lanes, false);
}

/* --- what waits in memory alone -------------------------------------------------------- */

/* A marker for what was dropped would fit into the rest of a segment that no event fits into, and what it
 * tells of would not be asked for again: it goes when the event behind it goes, too. */
static bool may_go(struct tg_lanes *lanes, const struct tg_queued *event)
{
  const struct tg_queued *next = event->next;
  struct tg_error error = {0};
  if (!event->gap || !next || next->logged || tg_queued_record_length(next) > TG_LOG_PAYLOAD_MAX / 2)
    return true;
  const uint32_t lengths[] = {TG_MARKER_MAX,
                              next->gap ? TG_MARKER_MAX : (uint32_t)tg_queued_record_length(next)};
  if (tg_event_log_ready(lanes->logs.own->log, lengths, 2, &error))
    return true;
  refuse(lanes, &error);
  return false;
}

tg_log_position tg_backlog_append_queued(struct tg_lane *lane, struct tg_queued *event)
{
  struct tg_lanes *lanes = lane->lanes;
  char text[TG_GAP_MAX];
  if (!may_go(lanes, event))
    return 0;
  struct tg_item item = {
      .event = tg_lane_stored(lane, event, text),
      .from = event->gap ? tg_gap_of(event).from : 0,
      .keep = event->keep,
  };
  tg_log_position position = append(lanes, lane->feed->ref, &item, event->queued_at);
  lanes->logs.written_again += position != 0;
  return position;
}

/* At most `budget` bytes, which becomes what is left of it. True: nothing waits in memory alone any more. */
static bool write_lanes(struct tg_lanes *lanes, uint64_t *budget)
{
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i] && !tg_lane_log_again(lanes->at[i], budget))
      return false;
  return true;
}

void tg_backlog_write_again(struct tg_lanes *lanes, bool at_once)
{
  uint64_t all = at_once ? UINT64_MAX : WRITE_AGAIN_MAX, budget = all;
  if (lanes->walking > 0 || (!at_once && tg_env_now(lanes->env) < lanes->logs.retry_at))
    return;
  bool done = tg_backlog_flush(lanes, true) && write_lanes(lanes, &budget);
  if (budget < all)
    lanes->logs.disk_is_taken = false;
  if (done && tg_backlog_flush(lanes, true)) {
    lanes->logs.refuses = false;
    calm(lanes);
  } else if (budget == 0) {
    try_again_in(lanes, 0);
  }
}

/* Returns whether anything could be written, or there was nothing to write. */
static bool write_some(struct tg_lanes *lanes)
{
  uint64_t budget = WRITE_AGAIN_MAX;
  return write_lanes(lanes, &budget) || budget < WRITE_AGAIN_MAX;
}

bool tg_backlog_make_room(struct tg_lanes *lanes)
{
  if (!lanes->logs.refuses || !lanes->logs.disk_is_full || lanes->logs.disk_is_taken || lanes->walking > 0)
    return false;
  uint64_t before = lanes->logs.written_again;
  if (!write_some(lanes))
    lanes->logs.disk_is_taken =
        !tg_event_log_drop_oldest(lanes->logs.own->log, TG_LOSS_DISK_FULL) || !write_some(lanes);
  lanes->overflow.drops_until_unload = 0;
  return lanes->logs.written_again > before;
}
