#include "delivery/lanes/lanes.h"

#include "base/buf.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of its key, and in the log: not beyond what was received. */
static uint64_t sequence_of(const struct tg_gap *gap)
{
  if (gap->to > 0)
    return gap->to;
  return gap->from > 0 ? gap->from - 1 : 0;
}

/* --- where a marker stands ------------------------------------------------------ */

/* Whether the event comes behind that place in the logs. */
static bool is_behind(const struct tg_queued *event, int order, tg_log_position point)
{
  if (event->gap)
    return false;
  int own_order = event->source ? event->source->order : TG_ORDER_LAST;
  return own_order > order || (own_order == order && event->position >= point);
}

static bool same_hole(const struct tg_gap *gap, const struct tg_gap *next)
{
  return gap->epoch == next->epoch && strcmp(gap->reason, next->reason) == 0 && gap->to != 0 &&
         next->from > gap->to;
}

static void widen(struct tg_gap *gap, const struct tg_gap *next)
{
  gap->to = next->to;
  gap->count = gap->count && next->count ? gap->count + next->count : 0;
}

/* --- what is ahead of a marker ------------------------------------------------------ */

/* With order = "guild" events of other guilds may be under way that stand behind what is lost. Once a log
 * hears that they are done it takes what is lost in front of them for told (tg_event_log_drop()). So it does
 * not before the marker is delivered. */

static bool is_beyond(const struct tg_queued *event, const struct tg_gap *gap)
{
  return event->epoch > gap->epoch || (event->epoch == gap->epoch && event->sequence > gap->to);
}

static void note_those_of(const struct tg_guild_line *line, const struct tg_gap *gap)
{
  for (struct tg_queued *event = line->first; event; event = event->line_next)
    event->ahead |= event->trying && is_beyond(event, gap);
}

static void note_ahead(struct tg_lane *lane, const struct tg_gap *gap)
{
  static const enum tg_line_state states[] = {TG_LINE_SENDING, TG_LINE_WAITING};
  for (int i = 0; lane->queue.lines && i < 2; i++) {
    const struct tg_guild_line *line;
    TAILQ_FOREACH(line, &lane->queue.lines->of[states[i]], link)
    {
      note_those_of(line, gap);
    }
  }
}

struct kept_ack {
  struct tg_log_source *source;
  tg_log_position position;
};

bool tg_lane_keep_ack(struct tg_lane *lane, const struct tg_queued *event)
{
  struct kept_ack kept = {event->source, event->position};
  if (!event->source || lane->log.gaps_queued == 0)
    return false;
  tg_buf_append(&lane->log.ahead, &kept, sizeof kept);
  return true;
}

void tg_lane_drop_kept(struct tg_lane *lane, const struct tg_log_source *source)
{
  struct kept_ack *kept = (struct kept_ack *)lane->log.ahead.data;
  for (size_t i = 0; i < lane->log.ahead.length / sizeof *kept; i++)
    if (kept[i].source == source)
      kept[i].source = NULL;
}

void tg_lane_ack_kept(struct tg_lane *lane)
{
  if (lane->log.gaps_queued > 0 || lane->log.ahead.length == 0)
    return;
  struct tg_buf acks = lane->log.ahead;
  lane->log.ahead = (struct tg_buf){0};
  const struct kept_ack *kept = (const struct kept_ack *)acks.data;
  for (size_t i = 0; i < acks.length / sizeof *kept; i++)
    if (kept[i].source)
      tg_lane_ack(lane, kept[i].source, kept[i].position);
  tg_buf_free(&acks);
}

/* --- markers -------------------------------------------------------------------------- */

/* In front of `place`, or behind all. `logged`: that the events are gone is known to a log, too. */
static struct tg_queued *put_marker(struct tg_lane *lane, struct tg_lane_queue *queue,
                                    const struct tg_gap *gap, struct tg_queued *place, bool logged)
{
  struct tg_lanes *lanes = lane->lanes;
  struct tg_queued *before = place ? place->previous : queue->tail;
  note_ahead(lane, gap);
  if (before && before->gap && before->logged == logged && !before->in_flight && !before->trying) {
    struct tg_gap known = tg_gap_of(before);
    if (same_hole(&known, gap)) {
      widen(&known, gap);
      before->sequence = known.to;
      memcpy(before->bytes + before->front, &known, sizeof known);
      return before;
    }
  }
  struct tg_stored stored = {.epoch = gap->epoch,
                             .sequence = sequence_of(gap),
                             .marker = TG_MARKER_GAP,
                             .late = lane->feed->left,
                             .message = {(const char *)gap, sizeof *gap}};
  struct tg_queued *marker = tg_queued_new(&stored);
  marker->queued_at = tg_env_now(lanes->env);
  marker->keep = marker->gap = true;
  marker->logged = logged;
  if (place) {
    marker->position = place->position;
    marker->trying = place->trying && !place->line; /* in the middle of a batch: part of it */
    marker->suspect = place->suspect && !place->line;
    tg_lane_queue_insert(queue, &lanes->queued, marker, place);
  } else {
    tg_lane_queue_push(queue, &lanes->queued, marker);
  }
  lane->log.gaps_queued++;
  return marker;
}

static void queue_marker(struct tg_lane *lane, const struct tg_gap *gap, struct tg_queued *place)
{
  put_marker(lane, &lane->queue, gap, place, true);
}

void tg_lane_mark_drop(struct tg_lane *lane, struct tg_lane_queue *queue, struct tg_queued *event,
                       const struct tg_gap *gap)
{
  struct tg_queued *marker = put_marker(lane, queue, gap, event, event->logged || !lane->lanes->logs.own);
  /* The events are asked for again, should the process die before it has told of them. */
  if (event == lane->log.first_unlogged && !marker->logged)
    lane->log.first_unlogged = marker;
}

static void keep_pending(struct tg_lane *lane, int order, tg_log_position point, const struct tg_gap *gap)
{
  struct tg_pending_gap **at = &lane->log.gaps, *last = NULL;
  while (*at && ((*at)->order < order || ((*at)->order == order && (*at)->point <= point))) {
    last = *at;
    at = &last->next;
  }
  struct tg_log_source *source = lane->lanes->logs.sources;
  while (source && source->order != order)
    source = source->next;
  /* What stood between the two may be gone by now. */
  if (last && last->order == order && same_hole(&last->gap, gap) && source &&
      (last->point == point || !tg_event_log_waits(source->log, lane->feed->ref, last->point))) {
    widen(&last->gap, gap);
    last->point = point;
    return;
  }
  struct tg_pending_gap *pending = tg_alloc(sizeof *pending);
  *pending = (struct tg_pending_gap){.next = *at, .order = order, .point = point, .gap = *gap};
  *at = pending;
}

/* Of a left feed: whether it lies in what is asked for, or some of it does. */
static bool is_asked_for(const struct tg_lane *lane, const struct tg_gap *gap)
{
  const struct tg_hole *hole = lane->feed->hole;
  uint64_t to = gap->to > 0 ? gap->to : gap->from, first = gap->from > 0 ? gap->from : to;
  struct tg_place begins = {gap->epoch, first}, ends = {gap->epoch, to};
  return hole && !tg_place_is_behind(begins, hole->to) && tg_place_is_behind(ends, hole->from);
}

void tg_lane_add_gap(struct tg_lane *lane, int order, tg_log_position point, const struct tg_gap *gap)
{
  if (!lane->lanes->handler->markers)
    return;
  if (__builtin_expect(lane->feed->left, 0) && !is_asked_for(lane, gap)) {
    keep_pending(lane, order, point, gap);
    return;
  }
  struct tg_queued *place = lane->queue.head;
  while (place && !is_behind(place, order, point))
    place = place->next;
  while (place && place->in_flight)
    place = place->next; /* too late: right behind it */
  bool unread = lane->log.spilled && (lane->log.source->order < order ||
                                      (lane->log.source->order == order && lane->log.after < point));
  if (place || !unread)
    queue_marker(lane, gap, place);
  else
    keep_pending(lane, order, point, gap);
}

void tg_lane_pass_gaps(struct tg_lane *lane, int order, tg_log_position position)
{
  struct tg_pending_gap **at = &lane->log.gaps, *first;
  while ((first = *at) != NULL &&
         (first->order < order || (first->order == order && first->point <= position))) {
    if (__builtin_expect(lane->feed->left, 0) && !is_asked_for(lane, &first->gap)) {
      at = &first->next;
      continue;
    }
    *at = first->next;
    queue_marker(lane, &first->gap, NULL);
    free(first);
  }
}

void tg_lane_forget_gaps(struct tg_lane *lane, bool some)
{
  struct tg_pending_gap **at = &lane->log.gaps, *gap;
  while ((gap = *at) != NULL) {
    if (some && is_asked_for(lane, &gap->gap)) {
      at = &gap->next;
      continue;
    }
    *at = gap->next;
    free(gap);
  }
  tg_lane_told(lane);
}

bool tg_lane_has_gap(const struct tg_lane *lane)
{
  for (const struct tg_pending_gap *gap = lane->log.gaps; gap; gap = gap->next)
    if (is_asked_for(lane, &gap->gap))
      return true;
  return false;
}

/* --- what is lost ----------------------------------------------------------------- */

/* What the log no longer has is not delivered from memory either: the marker
 * says that it is gone. */
static void forget_lost(struct tg_lane *lane, struct tg_log_source *source, tg_log_position before,
                        struct tg_gap *gap)
{
  struct tg_queued *event = lane->queue.head, *next;
  bool begun = false; /* something in front of the event is lost */
  for (; event; event = next) {
    next = event->next;
    if (event->source == source && before != 0 && event->position >= before)
      break;
    if (event->source != source || tg_event_log_waits(source->log, lane->feed->ref, event->position))
      continue;
    if (event->in_flight) { /* it may still arrive: not part of what is lost */
      event->source = NULL;
      if (event->epoch == gap->epoch && gap->to > 0 && event->sequence >= gap->from) {
        gap->from = begun ? gap->from : event->sequence + 1;
        gap->count -= gap->count > 0 && !event->marker;
      }
      continue;
    }
    begun = true;
    tg_lane_queue_remove(&lane->queue, &lane->lanes->queued, event);
    tg_lane_free_event(lane, event);
  }
}

/* As long as a marker is on its way the logs have to keep what it says: it would die with the process. And no
 * log is told before the older ones are: that it is tells the next process that these are done with. */
void tg_lane_told(struct tg_lane *lane)
{
  struct tg_log_source *source = lane->lanes->logs.sources;
  if (lane->log.gaps || lane->log.gaps_queued > 0 || lane->log.lost_tail.epoch != 0)
    return;
  for (struct tg_log_figures figures = {0}; source && figures.events == 0; source = source->next) {
    tg_event_log_told(source->log, lane->feed->ref);
    tg_event_log_shard_figures(source->log, lane->feed->ref, &figures);
  }
}

static void name_loss(struct tg_lane *lane, int order, tg_log_position point, const struct tg_gap *gap)
{
  tg_overflow_lost(lane, gap);
  tg_lane_add_gap(lane, order, point, gap);
}

/* Of the shard's end in an older log. A newer log tells with which event the next process has gone on; if
 * there is none, Discord may still have what is lost. */
static void lose_tail(struct tg_lane *lane, const struct tg_log_source *source, struct tg_gap *gap)
{
  uint64_t epoch, sequence;
  const struct tg_log_source *newer = source->next;
  while (newer && !tg_event_log_first(newer->log, lane->feed->ref, &epoch, &sequence))
    newer = newer->next;
  if (!newer) {
    lane->log.lost_tail = *gap;
    lane->log.lost_tail_order = source->order;
    return;
  }
  if (sequence == 0 || (epoch == gap->epoch && sequence <= gap->from))
    return; /* it was told, or sent again */
  if (epoch == gap->epoch && sequence <= gap->to)
    gap->to = sequence - 1;
  name_loss(lane, source->order, UINT64_MAX, gap);
}

static void lose(struct tg_lane *lane, struct tg_log_source *source, const struct tg_log_gap *lost)
{
  struct tg_lanes *lanes = lane->lanes;
  struct tg_gap gap = {.epoch = lost->epoch,
                       .from = lost->from,
                       .to = lost->to,
                       .count = lost->count,
                       .reason = tg_log_loss_name(lost->reason)};
  tg_log_position point = lost->before;
  if (point == 0)
    point = source == lanes->logs.own ? lane->log.last_position + 1 : UINT64_MAX;
  forget_lost(lane, source, lost->before, &gap);
  tg_lane_recount(lane);
  bool tail = source != lanes->logs.own && lost->reason == TG_LOSS_DAMAGED && lost->before == 0;
  if (tail && gap.to > 0 && !lane->feed->left)
    lose_tail(lane, source, &gap);
  else if (gap.to == 0 || gap.from <= gap.to)
    name_loss(lane, source->order, point, &gap);
  if (!lanes->handler->markers && lost->reason != TG_LOSS_DAMAGED)
    tg_event_log_told(source->log, lane->feed->ref);
}

static void go_on(struct tg_lane *lane)
{
  tg_lane_refill(lane);
  tg_feed_publish(lane->feed);
  tg_lane_go_on(lane);
}

static uint64_t last_in_logs(const struct tg_lane *lane, uint64_t epoch, uint64_t last,
                             bool (*find)(const struct tg_event_log *log, int ref, uint64_t *epoch,
                                          uint64_t *sequence))
{
  for (const struct tg_log_source *source = lane->lanes->logs.sources; source; source = source->next) {
    uint64_t its_epoch, sequence;
    if (find(source->log, lane->feed->ref, &its_epoch, &sequence) && its_epoch == epoch && sequence > last)
      last = sequence;
  }
  return last;
}

uint64_t tg_lane_last_logged(const struct tg_lane *lane, uint64_t epoch, uint64_t last)
{
  return last_in_logs(lane, epoch, last, tg_event_log_last);
}

uint64_t tg_lane_last_waiting(const struct tg_lane *lane, uint64_t epoch, uint64_t last)
{
  return last_in_logs(lane, epoch, last, tg_event_log_last_waiting);
}

/* Where others may have the shard in between, the log may tell of events from before that, up to beyond those
 * that are to come: only what waits is known to be of now. */
static uint64_t last_of_ours(const struct tg_lane *lane, uint64_t epoch, uint64_t settled)
{
  return lane->feed->all->clustered ? tg_lane_last_waiting(lane, epoch, settled)
                                    : tg_lane_last_logged(lane, epoch, settled);
}

uint64_t tg_lane_heal(struct tg_lane *lane, uint64_t epoch, uint64_t settled)
{
  struct tg_gap tail = lane->log.lost_tail;
  lane->log.lost_tail = (struct tg_gap){0};
  uint64_t last = last_of_ours(lane, epoch, settled);
  if (tail.epoch == 0)
    return last;
  if (tail.epoch != epoch || settled == 0) {
    name_loss(lane, lane->log.lost_tail_order, UINT64_MAX, &tail);
    go_on(lane);
    return settled;
  }
  if (last < tail.from)
    return last;
  tg_log_with(TG_INFO, lane->feed->shard_id,
              TG_WITH(TG_NUMBER(EPOCH, tail.epoch), TG_NUMBER(SEQUENCE, tail.from)),
              "the log has lost its last events: Discord is asked for them again");
  return tail.from - 1;
}

struct tg_item tg_gap_item(const struct tg_lane *lane, const struct tg_gap *gap, char text[TG_GAP_MAX])
{
  return (struct tg_item){
      .event = {.shard_id = lane->feed->shard_id,
                .total_shards = lane->feed->total_shards,
                .epoch = gap->epoch,
                .sequence = sequence_of(gap),
                .marker = TG_MARKER_GAP,
                .message = {text, tg_gap_write(text, gap)}},
      .from = gap->from,
      .keep = true,
  };
}

void tg_lane_missed(struct tg_lane *lane, const struct tg_gap *gap)
{
  char text[TG_GAP_MAX];
  bool had = gap->to > 0 && gap->to <= lane->ahead;
  if (!lane->lanes->handler->markers || !lane->sender || had)
    return;
  struct tg_item item = tg_gap_item(lane, gap, text);
  tg_lane_put(lane, &item);
}

/* --- what a log reports ---------------------------------------------------------------- */

/* Until the call that it was in has ended. */
struct noted_gap {
  struct tg_log_source *source;
  struct tg_log_gap gap;
};

void tg_gaps_note(void *ctx, const struct tg_log_gap *gap)
{
  struct tg_log_source *source = ctx;
  struct noted_gap noted = {source, *gap};
  tg_buf_append(&source->lanes->logs.noted_gaps, &noted, sizeof noted);
}

/* While what waits of a shard goes to what is left of it, that is told what is lost of it. */
static struct tg_lane *whose(struct tg_lanes *lanes, tg_shard_ref ref)
{
  struct tg_lane *lane = tg_lane_of(lanes, ref);
  return lane->feed->leaving ? tg_lane_of(lanes, tg_ref_left(ref)) : lane;
}

void tg_gaps_take(struct tg_lanes *lanes)
{
  while (lanes->logs.noted_gaps.length > 0 && lanes->walking == 0) {
    struct tg_buf noted = lanes->logs.noted_gaps;
    lanes->logs.noted_gaps = (struct tg_buf){0};
    const struct noted_gap *gaps = (const struct noted_gap *)noted.data;
    size_t count = noted.length / sizeof *gaps;
    for (size_t i = 0; i < count; i++)
      lose(whose(lanes, gaps[i].gap.shard_id), gaps[i].source, &gaps[i].gap);
    for (size_t i = 0; i < count; i++) /* not before: an event under way is in front of the gaps to come */
      go_on(tg_lane_of(lanes, gaps[i].gap.shard_id));
    tg_buf_free(&noted);
  }
}
