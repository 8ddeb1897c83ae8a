/* What people want out of the queues: by shard, type and age, in memory and in the logs. */

#include "delivery/lanes/lanes.h"
#include "delivery/lanes/queue.h"

enum {
  READ_AT_ONCE = 8 << 20 /* bytes of logs, in a turn of the loop: of a type a log knows only by its records */
};

static bool is_meant(const struct tg_lane *lane, int shard_id)
{
  return (shard_id < 0 || lane->feed->shard_id == shard_id) && !lane->feed->left;
}

/* --- in memory ------------------------------------------------------------------------ */

static bool matches(const struct tg_queue_filter *filter, const struct tg_queued *queued)
{
  return !queued->in_flight && !queued->marker && (filter->any_type || queued->type == filter->type) &&
         queued->queued_at + tg_steady_ahead() < filter->before;
}

static uint64_t discard_at_hand(struct tg_lane *lane, struct tg_lane_queue *queue,
                                const struct tg_queue_filter *filter)
{
  uint64_t dropped = 0;
  for (struct tg_queued *queued = queue->head, *next; queued; queued = next) {
    next = queued->next;
    if (!matches(filter, queued))
      continue;
    if (queue == &lane->log.late)
      tg_overflow_drop_late(lane, queued, TG_DROP_SCRIPT);
    else
      tg_overflow_drop(lane, queued, TG_DROP_SCRIPT);
    dropped++;
  }
  return dropped;
}

/* --- in the logs alone ------------------------------------------------------------------ */

/* What cannot be read is seen to when its turn comes. */
static bool is_of_type(struct tg_lane *lane, struct tg_log_source *source, const struct tg_log_entry *entry,
                       uint16_t type, uint64_t *budget)
{
  struct tg_log_record record;
  struct tg_stored stored;
  struct tg_error error;
  *budget -= *budget < entry->length ? *budget : entry->length;
  return tg_event_log_read(source->log, lane->feed->ref, entry->position, &record, &error) &&
         tg_stored_read(&record, &stored, &error) && stored.type == type;
}

static bool matches_entry(struct tg_lane *lane, struct tg_log_source *source,
                          const struct tg_queue_filter *filter, const struct tg_log_entry *entry,
                          uint64_t *budget)
{
  return entry->kind == TG_LOG_EVENT && entry->at < filter->before &&
         (filter->any_type || is_of_type(lane, source, entry, filter->type, budget));
}

/* Those that follow each other become one gap. */
struct discarded_run {
  struct tg_lane *lane;
  struct tg_log_source *source;
  struct tg_gap gap;
};

static void end_run(struct discarded_run *run, tg_log_position before)
{
  if (run->gap.count > 0)
    tg_lane_add_gap(run->lane, run->source->order, before, &run->gap);
  run->gap.count = 0;
}

static void add_to_run(struct discarded_run *run, const struct tg_log_entry *entry)
{
  if (run->gap.count == 0)
    run->gap = (struct tg_gap){
        .epoch = entry->epoch, .from = entry->sequence, .reason = tg_log_loss_name(TG_LOSS_OVERFLOW)};
  run->gap.to = entry->sequence;
  run->gap.count++;
  if (run->lane->lanes->handler->markers)
    tg_event_log_drop(run->source->log, run->lane->feed->ref, entry->position, TG_LOSS_OVERFLOW);
  else
    tg_event_log_ack(run->source->log, run->lane->feed->ref, entry->position);
}

/* `after` is where it has come to; 0: to the end. */
static uint64_t discard_in_log(struct discarded_run *run, const struct tg_queue_filter *filter,
                               tg_log_position *after, uint64_t *budget)
{
  struct tg_lane *lane = run->lane;
  struct tg_log_entry entry;
  uint64_t dropped = 0;
  tg_log_position at = *after;
  while (*budget > 0 && (at = tg_event_log_next(run->source->log, lane->feed->ref, at, &entry)) != 0) {
    *after = entry.position = at;
    bool goes = matches_entry(lane, run->source, filter, &entry, budget);
    if (!goes || run->gap.epoch != entry.epoch)
      end_run(run, at);
    if (!goes)
      continue;
    add_to_run(run, &entry);
    dropped++;
  }
  tg_log_position end = run->source == lane->lanes->logs.own ? lane->log.last_position + 1 : UINT64_MAX;
  tg_log_position next = at != 0 ? tg_event_log_next(run->source->log, lane->feed->ref, at, NULL) : 0;
  end_run(run, next != 0 ? next : end);
  if (at == 0)
    *after = 0;
  return dropped;
}

static uint64_t discard_spilled(struct tg_lane *lane, const struct tg_queue_filter *filter,
                                struct tg_queue_cursor *cursor, uint64_t *budget)
{
  uint64_t dropped = 0;
  struct tg_log_source *source = lane->log.spilled ? lane->log.source : NULL;
  tg_log_position first = lane->log.after; /* what is in front of it is in the queue */
  for (; source && *budget > 0; source = source->next, first = 0) {
    if (source->order < cursor->order)
      continue;
    tg_log_position after = source->order == cursor->order && cursor->after > first ? cursor->after : first;
    struct discarded_run run = {.lane = lane, .source = source};
    cursor->order = source->order;
    dropped += discard_in_log(&run, filter, &after, budget);
    cursor->after = after;
  }
  return dropped;
}

/* --- a lane after the other ----------------------------------------------------------------- */

static uint64_t discard_of(struct tg_lane *lane, const struct tg_queue_filter *filter,
                           struct tg_queue_cursor *cursor, uint64_t *budget)
{
  lane->lanes->sink->looked_at(lane);
  uint64_t dropped = discard_at_hand(lane, &lane->queue, filter);
  uint64_t in_logs = discard_spilled(lane, filter, cursor, budget);
  tg_overflow_count(lane, TG_DROP_SCRIPT, in_logs);
  dropped += in_logs + discard_at_hand(lane, &lane->log.late, filter);
  tg_lane_recount(lane);
  tg_lane_refill(lane);
  tg_feed_publish(lane->feed);
  return dropped;
}

uint64_t tg_queues_discard(struct tg_lanes *lanes, const struct tg_queue_filter *filter,
                           struct tg_queue_cursor *at)
{
  uint64_t dropped = 0, budget = READ_AT_ONCE;
  if (lanes->walking > 0) /* a script looks at them */
    return 0;
  while (at->lane < lanes->count && budget > 0) {
    struct tg_lane *lane = lanes->at[at->lane];
    if (lane && is_meant(lane, filter->shard_id))
      dropped += discard_of(lane, filter, at, &budget);
    if (budget > 0)
      *at = (struct tg_queue_cursor){.lane = at->lane + 1};
  }
  at->done = at->lane >= lanes->count;
  return dropped;
}

/* --- looking ---------------------------------------------------------------------------------- */

static void add_types(const struct tg_lane_queue *queue, struct tg_queue_of_type types[TG_EVENT_TYPE_MAX])
{
  for (const struct tg_queued *queued = queue->head; queued; queued = queued->next) {
    if (queued->marker)
      continue;
    struct tg_queue_of_type *type = &types[queued->type];
    tg_ms at = queued->queued_at + tg_steady_ahead();
    type->events++;
    type->bytes += queued->length;
    type->oldest = type->events == 1 || at < type->oldest ? at : type->oldest;
  }
}

uint64_t tg_queues_types(struct tg_lanes *lanes, int shard_id,
                         struct tg_queue_of_type types[TG_EVENT_TYPE_MAX])
{
  uint64_t elsewhere = 0;
  for (int i = 0; i < lanes->count; i++) {
    const struct tg_lane *lane = lanes->at[i];
    if (!lane || !is_meant(lane, shard_id))
      continue;
    add_types(&lane->queue, types);
    add_types(&lane->log.late, types);
    elsewhere += lane->log.spilled_events;
  }
  return elsewhere;
}
