#include "delivery/lanes/lanes.h"

#include "base/log.h"

#include <stdlib.h>
#include <string.h>

enum { FLUSH_AT = 1 << 20 /* bytes of what is written again */ };

void tg_lane_touch(struct tg_lane *lane)
{
  struct tg_lanes *lanes = lane->lanes;
  if (lane->log.touched || !lanes->logs.own)
    return;
  lane->log.touched = true;
  lane->log.next_touched = lanes->logs.touched;
  lanes->logs.touched = lane;
}

uint64_t tg_lane_safe(const struct tg_lane *lane)
{
  const struct tg_queued *first = lane->log.first_unlogged;
  uint64_t received = lane->feed->session.received;
  if (!first)
    return received > lane->ahead ? received : lane->ahead;
  uint64_t sequence = first->gap ? tg_gap_of(first).from : first->sequence;
  return sequence > 0 ? sequence - 1 : 0;
}

/* Memory is shared out evenly, so that the sum is bounded and no lane starves. */
static uint64_t window(const struct tg_lanes *lanes)
{
  int live = lanes->feeds->live > 0 ? lanes->feeds->live : 1;
  return lanes->limits->memory_bytes / (uint64_t)live;
}

bool tg_lane_has_window(const struct tg_lane *lane, uint64_t size)
{
  return !lane->log.spilled && (!lane->queue.head || lane->queue.bytes + size <= window(lane->lanes));
}

static void count_spilled(struct tg_lane *lane, uint64_t events, uint64_t bytes)
{
  struct tg_lanes *lanes = lane->lanes;
  lanes->spilled.events += events - lane->log.spilled_events;
  lanes->spilled.bytes += bytes - lane->log.spilled_bytes;
  lane->log.spilled_events = events;
  lane->log.spilled_bytes = bytes;
}

void tg_lane_forget_spilled(struct tg_lane *lane)
{
  count_spilled(lane, 0, 0);
  lane->log.spilled = false;
}

void tg_lane_spill(struct tg_lane *lane, tg_log_position position, uint64_t length)
{
  if (!lane->log.spilled) {
    lane->log.spilled = true;
    lane->log.source = lane->lanes->logs.own;
    lane->log.after = position - 1;
  }
  count_spilled(lane, lane->log.spilled_events + 1, lane->log.spilled_bytes + length);
}

/* Of a left feed what is asked for alone; the rest may wait for ever. */
static void count_logged(const struct tg_lane *lane, uint64_t *events, uint64_t *bytes)
{
  *events = *bytes = 0;
  for (struct tg_log_source *source = lane->lanes->logs.sources; source; source = source->next) {
    struct tg_log_figures figures;
    tg_event_log_shard_figures(source->log, lane->feed->ref, &figures);
    *events += figures.events;
    *bytes += figures.bytes;
    struct tg_log_entry entry;
    tg_log_position at = 0;
    while (lane->feed->left && (at = tg_event_log_next(source->log, lane->feed->ref, at, &entry)) != 0)
      if (!tg_feed_is_asked_for(lane->feed, entry.epoch, entry.sequence)) {
        *events -= 1;
        *bytes -= entry.length;
      }
  }
}

void tg_lane_recount(struct tg_lane *lane)
{
  uint64_t events, bytes;
  if (!lane->log.spilled)
    return; /* all of it is in the queue */
  count_logged(lane, &events, &bytes);
  for (const struct tg_queued *event = lane->queue.head; event; event = event->next) {
    if (!event->source)
      continue;
    events -= events > 0;
    uint64_t its = tg_queued_record_length(event);
    bytes -= its < bytes ? its : bytes;
  }
  uint64_t kept, kept_bytes;
  tg_lane_count_accepted(lane, &kept, &kept_bytes);
  count_spilled(lane, events > kept ? events - kept : 0, bytes > kept_bytes ? bytes - kept_bytes : 0);
}

void tg_lanes_read(struct tg_lanes *lanes, struct tg_log_source *source)
{
  for (int i = 0, id; (id = tg_event_log_shard_at(source->log, i)) >= 0; i++) {
    struct tg_log_figures figures;
    tg_event_log_shard_figures(source->log, id, &figures);
    if (figures.events == 0 || tg_ref_is_left(id)) /* that waits until somebody asks for it */
      continue;
    struct tg_lane *lane = tg_lane_of(lanes, id);
    if (!lane->log.spilled) {
      lane->log.spilled = true;
      lane->log.source = source;
      lane->log.after = 0;
    }
    tg_lane_recount(lane);
  }
}

/* An event of the log is done. If it was the shard's last one in a log of an earlier process, nothing stands
 * in front of what that log has lost any more, and the log may go. */
static void note_done(struct tg_lane *lane, struct tg_log_source *source)
{
  struct tg_log_figures figures;
  if (source == lane->lanes->logs.own)
    return;
  tg_event_log_shard_figures(source->log, lane->feed->ref, &figures);
  if (figures.events > 0)
    return;
  tg_lane_told(lane);
  lane->lanes->logs.source_done = true;
}

void tg_lane_ack(struct tg_lane *lane, struct tg_log_source *source, tg_log_position position)
{
  tg_event_log_ack(source->log, lane->feed->ref, position);
  note_done(lane, source);
}

/* --- reading back --------------------------------------------------------------- */

/* Of what came while the log could not be written, the first, if it is its turn. */
static bool take_late(struct tg_lane *lane, tg_log_position next)
{
  struct tg_queued *late = lane->log.late.head;
  if (!late || lane->log.source != lane->lanes->logs.own || (next != 0 && late->position >= next))
    return false;
  tg_lane_pass_gaps(lane, lane->log.source->order, late->position);
  tg_lane_queue_remove(&lane->log.late, &lane->lanes->queued, late);
  tg_lane_queue_push(&lane->queue, &lane->lanes->queued, late);
  return true;
}

static void damaged(struct tg_lane *lane, tg_log_position position, const struct tg_log_entry *entry,
                    const struct tg_error *error)
{
  struct tg_gap gap = {.epoch = entry->epoch,
                       .from = entry->sequence,
                       .to = entry->sequence,
                       .count = 1,
                       .reason = tg_log_loss_name(TG_LOSS_DAMAGED)};
  tg_log_with(TG_ERROR, lane->feed->shard_id,
              TG_WITH(TG_NUMBER(EPOCH, entry->epoch), TG_NUMBER(SEQUENCE, entry->sequence),
                      TG_TEXT(REASON, error->message)),
              "an event is lost");
  tg_lane_count(lane, dropped, 1);
  tg_event_log_drop(lane->log.source->log, lane->feed->ref, position, TG_LOSS_DAMAGED);
  tg_lane_add_gap(lane, lane->log.source->order, position, &gap);
  note_done(lane, lane->log.source);
}

static void read_back(struct tg_lane *lane, tg_log_position position, const struct tg_log_entry *entry)
{
  struct tg_lanes *lanes = lane->lanes;
  struct tg_log_record record;
  struct tg_stored stored;
  struct tg_error error = {0};
  lane->log.after = position;
  uint64_t bytes = entry->length < lane->log.spilled_bytes ? entry->length : lane->log.spilled_bytes;
  count_spilled(lane, lane->log.spilled_events - (lane->log.spilled_events > 0),
                lane->log.spilled_bytes - bytes);
  if (!tg_event_log_read(lane->log.source->log, lane->feed->ref, position, &record, &error) ||
      !tg_stored_read(&record, &stored, &error)) {
    damaged(lane, position, entry, &error);
    return;
  }
  if (__builtin_expect(record.marks != 0, 0) && lanes->watch->is_over(lane, &record, stored.message)) {
    tg_lane_ack(lane, lane->log.source, position);
    return;
  }
  stored.late |= lane->feed->left;
  struct tg_queued *event = tg_queued_new(&stored);
  event->queued_at = tg_env_since(lanes->env, record.at);
  event->keep = record.flags & TG_LOG_KEEP;
  event->logged = true;
  event->source = lane->log.source;
  event->position = position;
  if (event->keep && !event->marker)
    lanes->watch->read_back(lane, event, record.marks);
  tg_lane_queue_push(&lane->queue, &lanes->queued, event);
}

void tg_lane_skip(struct tg_lane *lane, struct tg_log_source *source, tg_log_position position)
{
  struct tg_log_entry entry;
  if (tg_event_log_next(source->log, lane->feed->ref, position - 1, &entry) != position)
    return;
  uint64_t bytes = entry.length < lane->log.spilled_bytes ? entry.length : lane->log.spilled_bytes;
  count_spilled(lane, lane->log.spilled_events - (lane->log.spilled_events > 0),
                lane->log.spilled_bytes - bytes);
  tg_lane_ack(lane, source, position);
  tg_feed_publish(lane->feed);
}

void tg_lane_refill(struct tg_lane *lane)
{
  struct tg_lanes *lanes = lane->lanes;
  uint64_t limit = window(lanes);
  for (int i = 0; lane->log.spilled; i++) {
    if (lane->queue.head && (i >= TG_REFILL_MAX || lane->queue.bytes >= limit ||
                             lanes->queued.bytes >= lanes->limits->memory_bytes))
      break;
    struct tg_log_entry entry;
    struct tg_log_source *source = lane->log.source;
    tg_log_position next = tg_event_log_next(source->log, lane->feed->ref, lane->log.after, &entry);
    if (take_late(lane, next))
      continue;
    if (next != 0 && __builtin_expect(lane->feed->left, 0) &&
        !tg_feed_is_asked_for(lane->feed, entry.epoch, entry.sequence)) {
      lane->log.after = next;
      continue;
    }
    if (next != 0) {
      tg_lane_pass_gaps(lane, source->order, next);
      read_back(lane, next, &entry);
      continue;
    }
    tg_lane_pass_gaps(lane, source->order, UINT64_MAX);
    if (source != lanes->logs.own)
      lanes->logs.source_done = true;
    lane->log.source = source->next;
    lane->log.after = 0;
    if (!lane->log.source) {
      lane->log.spilled = false;
      count_spilled(lane, 0, 0);
    }
  }
  if (__builtin_expect(lane->feed->left, 0) && !lane->queue.head)
    lane->feed->all->left_moved(lane->feed);
  tg_lane_wants_turn(lane);
}

void tg_lane_read_hole(struct tg_lane *lane)
{
  lane->log.spilled = true;
  lane->log.source = lane->lanes->logs.sources;
  lane->log.after = 0;
  tg_lane_recount(lane);
  tg_lane_refill(lane);
  tg_lane_go_on(lane);
}

/* --- giving memory back ---------------------------------------------------------- */

static bool may_leave(const struct tg_lane *lane, const struct tg_queued *event)
{
  return event != lane->queue.head && !event->in_flight && !event->trying && !event->suspect && !event->gap;
}

static void make_late(struct tg_lane *lane, struct tg_queued *event)
{
  struct tg_queue_total *total = &lane->lanes->queued;
  tg_lane_queue_remove(&lane->queue, total, event);
  if (lane->log.late.head)
    tg_lane_queue_insert(&lane->log.late, total, event, lane->log.late.head);
  else
    tg_lane_queue_push(&lane->log.late, total, event);
}

/* The event is in a log, too, where it is found again when its turn comes. */
static void free_logged(struct tg_lane *lane, struct tg_lane_queue *queue, struct tg_queued *event)
{
  if (event->interaction)
    lane->lanes->watch->unloaded(event);
  tg_lane_queue_remove(queue, &lane->lanes->queued, event);
  tg_lane_free_event(lane, event);
}

static void unload(struct tg_lane *lane, struct tg_queued *event)
{
  lane->log.spilled = true;
  lane->log.source = event->source;
  lane->log.after = event->position - 1;
  count_spilled(lane, lane->log.spilled_events + 1, lane->log.spilled_bytes + tg_queued_record_length(event));
  free_logged(lane, &lane->queue, event);
}

bool tg_lane_unload(struct tg_lane *lane)
{
  struct tg_queued *event = lane->queue.tail;
  uint64_t enough = lane->queue.bytes / 2;
  while (event && may_leave(lane, event) && !event->source)
    event = event->previous;
  if (!event || !may_leave(lane, event))
    return false;
  while (!lane->queue.tail->source)
    make_late(lane, lane->queue.tail);
  do
    unload(lane, lane->queue.tail);
  while (lane->queue.bytes > enough && may_leave(lane, lane->queue.tail) && lane->queue.tail->source);
  return true;
}

/* A marker stands in front of the record that it has the place of. */
static void leave(struct tg_lane *lane, struct tg_queued *event)
{
  if (event->source) {
    free_logged(lane, &lane->queue, event);
    return;
  }
  if (event->gap)
    event->position = event->position > 0 ? event->position - 1 : lane->log.last_position;
  make_late(lane, event);
}

void tg_lane_read_again(struct tg_lane *lane, struct tg_log_source *source, tg_log_position from)
{
  while (lane->queue.tail)
    leave(lane, lane->queue.tail);
  lane->log.spilled = true;
  lane->log.source = source;
  lane->log.after = from - 1;
}

/* --- writing what the log has refused --------------------------------------------- */

static void note_in_log(struct tg_lane *lane, struct tg_queued *event, tg_log_position position)
{
  lane->log.last_position = event->position = position;
  event->source = lane->lanes->logs.own;
  event->logged = true;
  if (event->keep && !event->marker)
    lane->lanes->watch->logged(event);
}

static bool log_event(struct tg_lane *lane, struct tg_queued *event, uint64_t *budget)
{
  tg_log_position position = *budget > 0 ? tg_backlog_append_queued(lane, event) : 0;
  if (position == 0)
    return false;
  uint64_t bytes = tg_queued_record_length(event);
  *budget -= *budget < bytes ? *budget : bytes;
  note_in_log(lane, event, position);
  return tg_event_log_unflushed(lane->lanes->logs.own->log) < FLUSH_AT || tg_backlog_flush(lane->lanes, true);
}

/* It stands behind what is in the log alone, and is part of that from now on. */
static void spill_late(struct tg_lane *lane, struct tg_queued *event)
{
  struct tg_log_entry entry = {0};
  tg_event_log_next(event->source->log, lane->feed->ref, event->position - 1, &entry);
  count_spilled(lane, lane->log.spilled_events + 1, lane->log.spilled_bytes + entry.length);
  lane->log.gaps_queued -= event->gap;
  free_logged(lane, &lane->log.late, event);
}

/* What is not taken comes behind what is; what is too large for any log stays. False: some is left. */
static bool log_events(struct tg_lane *lane, struct tg_lane_queue *queue, bool goes_on, uint64_t *budget)
{
  for (struct tg_queued *event = queue->head, *next; event; event = next) {
    next = event->next;
    if (event->logged)
      continue;
    if (goes_on && tg_queued_record_length(event) <= TG_LOG_PAYLOAD_MAX)
      goes_on = log_event(lane, event, budget);
    if (!event->logged)
      event->position = lane->log.last_position;
    else if (queue == &lane->log.late)
      spill_late(lane, event);
  }
  return goes_on;
}

static struct tg_queued *find_unlogged(const struct tg_lane *lane)
{
  struct tg_queued *const heads[] = {lane->queue.head, lane->log.late.head};
  for (int i = 0; i < 2; i++)
    for (struct tg_queued *event = heads[i]; event; event = event->next)
      if (!event->logged && event->epoch >= lane->feed->session.began)
        return event;
  return NULL;
}

bool tg_lane_log_again(struct tg_lane *lane, uint64_t *budget)
{
  tg_log_position before = lane->log.last_position;
  bool done = log_events(lane, &lane->queue, true, budget);
  done = log_events(lane, &lane->log.late, done, budget);
  if (lane->log.last_position == before)
    return done;
  lane->log.first_unlogged = find_unlogged(lane);
  tg_lane_touch(lane);
  tg_feed_publish(lane->feed);
  return done;
}

/* --- events that are done -------------------------------------------------------- */

static struct tg_queued *skip_logged(struct tg_queued *event)
{
  while (event && event->logged)
    event = event->next;
  return event;
}

static void next_unlogged(struct tg_lane *lane, const struct tg_queued *event)
{
  struct tg_queued *next = skip_logged(event->next);
  lane->log.first_unlogged = next ? next : skip_logged(lane->log.late.head);
  tg_lane_touch(lane);
}

void tg_lane_remove_late(struct tg_lane *lane, struct tg_queued *event)
{
  bool first = event == lane->log.first_unlogged;
  tg_lane_queue_remove(&lane->log.late, &lane->lanes->queued, event);
  tg_lane_free_event(lane, event);
  if (first)
    lane->log.first_unlogged = skip_logged(lane->log.late.head);
  tg_lane_touch(lane);
  tg_feed_publish(lane->feed);
}

void tg_lane_settle(struct tg_lane *lane, const struct tg_queued *event, bool accepted)
{
  const struct tg_lanes *lanes = lane->lanes;
  if (event == lane->log.first_unlogged)
    next_unlogged(lane, event);
  if (event->epoch >= lane->feed->session.began && !event->gap)
    lane->delivered = event->sequence;
  if (event->gap) {
    lane->log.gaps_queued--;
    tg_lane_ack_kept(lane);
    tg_lane_told(lane);
    lane->lanes->logs.source_done = true;
  }
  bool late = lane->feed->left || event->named_epoch; /* is not taken back */
  bool kept = lanes->keeps && !lanes->logs.tight && !late;
  if (__builtin_expect(event->ahead, 0) && tg_lane_keep_ack(lane, event))
    return;
  if (event->source && accepted && kept)
    tg_lane_accepted(lane, event);
  else if (event->source)
    tg_lane_ack(lane, event->source, event->position);
}

void tg_lane_forget_backlog(struct tg_lane *lane)
{
  tg_lane_forget_accepted(lane);
  tg_buf_free(&lane->log.ahead);
  while (lane->log.gaps) {
    struct tg_pending_gap *first = lane->log.gaps;
    lane->log.gaps = first->next;
    free(first);
  }
  while (lane->log.late.head) {
    struct tg_queued *event = lane->log.late.head;
    tg_lane_queue_remove(&lane->log.late, &lane->lanes->queued, event);
    tg_lane_free_event(lane, event);
  }
}

void tg_lane_leave_source(struct tg_lane *lane, struct tg_log_source *source)
{
  lane->lanes->watch->leaves_source(lane, source);
  tg_lane_drop_kept(lane, source);
  for (struct tg_queued *event = lane->queue.head; event; event = event->next)
    if (event->source == source)
      event->source = NULL; /* in flight, and gone meanwhile */
  if (!lane->log.spilled || lane->log.source != source)
    return;
  lane->log.source = source->next;
  lane->log.after = 0;
  tg_lane_refill(lane);
  tg_lane_go_on(lane);
}
