#include "delivery/lanes/feed.h"

#include "base/buf.h"
#include "delivery/lanes/lanes.h"
#include "proto/event_key.h"

#include <stdlib.h>
#include <string.h>

/* --- all of them ----------------------------------------------------------------- */

struct tg_shard_row *tg_feeds_row(const struct tg_feeds *feeds, tg_shard_ref ref)
{
  struct tg_shard_table *table = tg_ref_is_left(ref) ? NULL : feeds->tables[tg_ref_side(ref)];
  return table && tg_ref_id(ref) < tg_shard_table_total(table) ? tg_shard_table_row(table, tg_ref_id(ref))
                                                               : NULL;
}

static void find_row(struct tg_feed *feed)
{
  struct tg_feeds *feeds = feed->all;
  int side = tg_ref_side(feed->ref);
  struct tg_shard_table *table = feeds->tables[side];
  bool was_stray = feed->stray;
  feed->stray = !feed->left && !table && feeds->tables[!side];
  feeds->live += was_stray - feed->stray; /* strays have no window */
  feeds->strays += feed->stray - was_stray;
  feed->total_shards = feed->shard_id < feeds->totals[side] ? feeds->totals[side] : 0;
  feed->row = tg_feeds_row(feeds, tg_ref_live(feed->ref)); /* what is left is counted there */
  if (feed->row)
    return;
  if (!feeds->spare_row)
    feeds->spare_row = tg_calloc(1, sizeof *feeds->spare_row);
  feed->row = feeds->spare_row;
}

static struct tg_feed *new_feed(struct tg_feeds *feeds, tg_shard_ref ref)
{
  struct tg_feed *feed = tg_calloc(1, sizeof *feed);
  feed->all = feeds;
  feed->ref = ref;
  feed->shard_id = tg_ref_id(ref);
  feed->left = tg_ref_is_left(ref);
  feeds->live += !feed->left;
  find_row(feed);
  for (int i = 0; i < feeds->places; i++)
    if (feeds->sinks[i])
      feed->lanes[i] = tg_lane_new(feeds->sinks[i], feed);
  tg_feed_set_session(feed, 0, 0);
  return feed;
}

struct tg_feed *tg_feed_of(struct tg_feeds *feeds, tg_shard_ref ref)
{
  int index = tg_ref_index(ref);
  if (index >= feeds->count) {
    int count = (index | 15) + 1;
    feeds->at = tg_realloc(feeds->at, (size_t)count * sizeof feeds->at[0]);
    memset(feeds->at + feeds->count, 0, (size_t)(count - feeds->count) * sizeof feeds->at[0]);
    feeds->count = count;
  }
  struct tg_feed *feed = feeds->at[index];
  if (__builtin_expect(!feed, 0))
    feed = feeds->at[index] = new_feed(feeds, ref);
  return feed;
}

void tg_feeds_free(struct tg_feeds *feeds)
{
  for (int i = 0; i < feeds->count; i++)
    free(feeds->at[i]);
  free(feeds->at);
  free(feeds->spare_row);
}

void tg_feeds_add_sink(struct tg_feeds *feeds, struct tg_lanes *lanes)
{
  feeds->sinks[lanes->index] = lanes;
  if (feeds->places <= lanes->index)
    feeds->places = lanes->index + 1;
  for (int i = 0; i < feeds->count; i++) {
    struct tg_feed *feed = feeds->at[i];
    if (!feed)
      continue;
    feed->lanes[lanes->index] = tg_lane_new(lanes, feed);
    tg_lane_begin_session(feed->lanes[lanes->index]);
  }
}

void tg_feeds_remove_sink(struct tg_feeds *feeds, const struct tg_lanes *lanes)
{
  feeds->sinks[lanes->index] = NULL;
  while (feeds->places > 0 && !feeds->sinks[feeds->places - 1])
    feeds->places--;
  for (int i = 0; i < feeds->count; i++)
    if (feeds->at[i]) {
      feeds->at[i]->lanes[lanes->index] = NULL;
      tg_feed_publish(feeds->at[i]);
    }
}

bool tg_feeds_have_log(const struct tg_feeds *feeds)
{
  for (int i = 0; i < feeds->places; i++)
    if (feeds->sinks[i] && feeds->sinks[i]->logs.own)
      return true;
  return false;
}

void tg_feeds_write(struct tg_feeds *feeds)
{
  for (int i = 0; i < feeds->places; i++)
    if (feeds->sinks[i])
      tg_backlog_write(feeds->sinks[i]);
}

bool tg_feeds_flush(struct tg_feeds *feeds)
{
  bool done = true;
  for (int i = 0; i < feeds->places; i++) {
    struct tg_lanes *lanes = feeds->sinks[i];
    if (lanes && lanes->logs.own)
      done = tg_backlog_flush(lanes, true) && !lanes->logs.refuses && done;
  }
  return done;
}

/* --- sets of shards ---------------------------------------------------------------- */

static void let_all_go(struct tg_feeds *feeds)
{
  for (int i = 0; i < feeds->places; i++)
    if (feeds->sinks[i])
      tg_lanes_let_go(feeds->sinks[i]);
}

void tg_feeds_look_at_leases(struct tg_feeds *feeds)
{
  if (!feeds->withheld)
    return;
  feeds->withheld = false;
  let_all_go(feeds);
}

void tg_feeds_unshut(struct tg_feeds *feeds)
{
  if (!feeds->shut)
    return;
  feeds->shut = false;
  let_all_go(feeds);
}

void tg_feeds_add_side(struct tg_feeds *feeds, int side, struct tg_shard_table *table)
{
  feeds->tables[side] = table;
  if (table)
    feeds->totals[side] = tg_shard_table_total(table);
  for (int i = 0; i < feeds->count; i++)
    if (feeds->at[i] && tg_ref_side(feeds->at[i]->ref) == side)
      find_row(feeds->at[i]);
}

void tg_feeds_drop_side(struct tg_feeds *feeds, int side)
{
  feeds->tables[side] = NULL;
  feeds->totals[side] = 0;
  for (int i = 0; i < feeds->count; i++) {
    struct tg_feed *feed = feeds->at[i];
    if (!feed || tg_ref_side(feed->ref) != side)
      continue;
    find_row(feed);
    if (feed->left)
      continue;
    feed->gate = NULL;
    feed->seat = NULL;
    for (int k = 0; k < feeds->places; k++)
      if (feed->lanes[k])
        tg_lane_clear(feed->lanes[k]);
    tg_feed_set_session(feed, 0, 0);
  }
}

/* --- the session --------------------------------------------------------------------- */

void tg_feed_set_session(struct tg_feed *feed, uint64_t epoch, uint64_t received)
{
  feed->session = (struct tg_feed_session){.epoch = epoch, .began = epoch, .received = received};
  for (int i = 0; i < feed->all->places; i++)
    if (feed->lanes[i])
      tg_lane_begin_session(feed->lanes[i]);
}

/* Whether what is durable of the feed waits for that lane. Beside the bot's only for one with a log: what
 * another sink has in memory alone may be as far behind as Discord keeps nothing any more, and would cost the
 * session. */
static bool counts(const struct tg_lane *lane)
{
  return lane && (lane->lanes->index == TG_SINK_BOT || lane->lanes->logs.own);
}

uint64_t tg_feed_adopt(struct tg_feed *feed, uint64_t epoch, uint64_t settled, bool heal)
{
  uint64_t had[TG_SINKS_MAX], least = UINT64_MAX, most = settled;
  int places = feed->all->places;
  for (int i = 0; i < places; i++) {
    struct tg_lane *lane = feed->lanes[i];
    had[i] = settled;
    if (lane && lane->lanes->logs.own) {
      uint64_t healed = tg_lane_heal(lane, epoch, settled);
      had[i] = heal ? healed : settled; /* else its log has what is its own alone */
      most = healed > most ? healed : most;
    }
    if (counts(lane) && had[i] < least)
      least = had[i];
  }
  least = least == UINT64_MAX ? settled : least;
  tg_feed_set_session(feed, epoch, least);
  feed->session.ahead = most > least ? most : 0;
  for (int i = 0; i < places; i++)
    if (feed->lanes[i] && had[i] > least)
      tg_lane_is_ahead(feed->lanes[i], had[i]);
  return least;
}

/* What waits of it was put in under the epoch that it had. */
void tg_feed_raise_epoch(struct tg_feed *feed, uint64_t epoch)
{
  if (atomic_load(&feed->row->handled_epoch) == feed->session.epoch)
    atomic_store(&feed->row->handled_epoch, epoch);
  feed->session.epoch = epoch;
  for (int i = 0; i < feed->all->places; i++)
    if (feed->lanes[i])
      feed->lanes[i]->queue.epoch = epoch;
}

void tg_feed_hold_from(struct tg_feed *feed, uint64_t sequence)
{
  if (sequence == feed->session.held_from)
    return;
  feed->session.held_from = sequence;
  for (int i = 0; i < feed->all->places; i++)
    if (feed->lanes[i])
      tg_lane_unhold(feed->lanes[i]);
  tg_feed_publish(feed);
}

/* --- what is durable ------------------------------------------------------------------- */

/* The least of what its lanes have; `of`: of one of them. */
static uint64_t least(const struct tg_feed *feed, uint64_t (*of)(const struct tg_lane *lane))
{
  uint64_t sequence = UINT64_MAX;
  for (int i = 0; i < feed->all->places; i++)
    if (counts(feed->lanes[i])) {
      uint64_t its = of(feed->lanes[i]);
      sequence = its < sequence ? its : sequence;
    }
  return sequence != UINT64_MAX ? sequence : tg_feed_unheld(feed, feed->session.received);
}

static uint64_t durable_of(const struct tg_lane *lane)
{
  return lane->lanes->logs.own ? lane->durable : tg_feed_unheld(lane->feed, tg_lane_delivered(lane));
}

static uint64_t durable_alone_of(const struct tg_lane *lane)
{
  return lane->lanes->logs.own ? lane->safe : tg_lane_delivered(lane);
}

static uint64_t delivered_of(const struct tg_lane *lane)
{
  return tg_feed_unheld(lane->feed, tg_lane_delivered(lane));
}

/* A log that refuses events cannot be waited for without the session being lost: what memory holds counts. */
static uint64_t announced_of(const struct tg_lane *lane)
{
  bool in_memory = !lane->lanes->logs.own || lane->log.first_unlogged || lane->lanes->logs.alarmed_at != 0;
  return in_memory ? tg_feed_unheld(lane->feed, lane->feed->session.received) : lane->durable;
}

uint64_t tg_feed_durable(const struct tg_feed *feed)
{
  return least(feed, durable_of);
}

uint64_t tg_feed_durable_alone(const struct tg_feed *feed)
{
  return least(feed, durable_alone_of);
}

uint64_t tg_feed_announce(struct tg_feed *feed)
{
  uint64_t safe = least(feed, announced_of);
  if (safe > feed->session.announced)
    feed->session.announced = safe;
  return feed->session.announced;
}

uint64_t tg_feed_last_logged(const struct tg_feed *feed, uint64_t epoch)
{
  uint64_t last = UINT64_MAX;
  for (int i = 0; i < feed->all->places; i++) {
    const struct tg_lane *lane = feed->lanes[i];
    uint64_t its = lane && lane->lanes->logs.own ? tg_lane_last_logged(lane, epoch, 0) : UINT64_MAX;
    last = its < last ? its : last;
  }
  return last == UINT64_MAX ? 0 : last;
}

/* --- events ------------------------------------------------------------------------------ */

bool tg_feed_push(struct tg_feed *feed, const struct tg_event *event)
{
  bool wanted = false;
  for (int i = 0; i < feed->all->places; i++) {
    struct tg_lane *lane = feed->lanes[i];
    if (!lane || !lane->sender || __builtin_expect(lane->lanes->unwanted[event->type], 0))
      continue;
    tg_lane_push(lane, event);
    wanted = true;
  }
  return wanted;
}

void tg_feed_missed(struct tg_feed *feed, const struct tg_gap *gap)
{
  tg_count(&feed->row->gaps);
  for (int i = 0; i < feed->all->places; i++)
    if (feed->lanes[i])
      tg_lane_missed(feed->lanes[i], gap);
}

void tg_feed_tell_handover(struct tg_feed *feed, uint64_t sequence, const struct tg_handover *handover)
{
  for (int i = 0; i < feed->all->places; i++)
    if (feed->lanes[i])
      tg_lane_tell_handover(feed->lanes[i], sequence, handover);
}

void tg_feed_touch(struct tg_feed *feed)
{
  for (int i = 0; i < feed->all->places; i++)
    if (feed->lanes[i])
      tg_lane_touch(feed->lanes[i]);
}

void tg_feed_flushed(struct tg_feed *feed)
{
  for (int i = 0; i < feed->all->places; i++)
    if (feed->lanes[i] && feed->lanes[i]->lanes->logs.own)
      tg_lane_flushed(feed->lanes[i]);
}

void tg_feed_told(struct tg_feed *feed)
{
  for (int i = 0; i < feed->all->places; i++) {
    struct tg_lane *lane = feed->lanes[i];
    if (!lane || !lane->lanes->logs.own)
      continue;
    tg_lane_told(lane);
    lane->lanes->logs.source_done = true;
  }
}

bool tg_feed_waits(const struct tg_feed *feed)
{
  for (int i = 0; i < feed->all->places; i++)
    if (feed->lanes[i] && tg_lane_waits(feed->lanes[i]))
      return true;
  return false;
}

bool tg_feed_owes(const struct tg_feed *feed)
{
  for (int i = 0; i < feed->all->places; i++)
    if (counts(feed->lanes[i]) && tg_lane_waits(feed->lanes[i]))
      return true;
  return false;
}

/* --- its row ------------------------------------------------------------------------------- */

/* From here on another process would not be sent that RESUMED's number either. */
static void settle_resumed(struct tg_feed *feed)
{
  uint32_t unheard = atomic_load_explicit(&feed->row->unheard, memory_order_relaxed);
  unheard = unheard > feed->session.heard ? unheard - feed->session.heard : 0;
  atomic_store_explicit(&feed->row->unheard, unheard, memory_order_relaxed);
  feed->session.resumed = feed->session.holes = 0;
}

/* No log is kept for what it tells of the feed any more. */
static void catch_up(struct tg_feed *feed)
{
  feed->session.ahead = 0;
  for (int i = 0; i < feed->all->places; i++)
    if (feed->lanes[i])
      feed->lanes[i]->lanes->logs.source_done = feed->lanes[i]->lanes->logs.sources != NULL;
}

static bool comes_alone(const struct tg_queued *event)
{
  return event->marker ? event->marker == TG_MARKER_HANDOVER
                       : !event->gap && tg_event_key_rule(event->type) == TG_KEY_SESSION;
}

/* Of a shard whose guilds another one has, too, READY waits until it takes over, and what tells of that. All
 * that came behind READY is dealt with meanwhile: whoever resumes the session must not ask for it again. */
static const struct tg_queued *first_owed(const struct tg_lane *lane)
{
  const struct tg_queued *event = lane->queue.head;
  if (__builtin_expect(!lane->feed->seat, 1))
    return event;
  while (event && comes_alone(event))
    event = event->next;
  return event || !lane->log.spilled ? event : lane->queue.head;
}

/* In front of what waits first at that lane: numbers of the epoch that it is of. */
static struct tg_place done_by(const struct tg_lane *lane)
{
  const struct tg_feed_session *session = &lane->feed->session;
  const struct tg_queued *head = first_owed(lane);
  if (!head)
    return (struct tg_place){session->epoch, tg_feed_unheld(lane->feed, session->received)};
  uint64_t first = head->gap ? tg_gap_of(head).from : head->sequence;
  return (struct tg_place){head->epoch, first > 0 ? first - 1 : 0};
}

static void publish_owed(const struct tg_feed *feed)
{
  struct tg_place least = {feed->session.epoch, tg_feed_unheld(feed, feed->session.received)};
  for (int i = 0; i < feed->all->places; i++) {
    const struct tg_lane *lane = feed->lanes[i];
    if (!counts(lane))
      continue;
    struct tg_place its = done_by(lane);
    if (tg_place_is_behind(least, its))
      least = its;
  }
  tg_row_set_owed(feed->row, least.epoch, least.sequence);
}

static void publish_session(struct tg_feed *feed)
{
  struct tg_shard_row *row = feed->row;
  uint64_t durable = tg_feed_durable(feed);
  atomic_store_explicit(&row->durable_sequence, durable, memory_order_relaxed);
  atomic_store_explicit(&row->delivered_sequence, least(feed, delivered_of), memory_order_relaxed);
  if (__builtin_expect(feed->all->clustered, 0))
    publish_owed(feed);
  if (__builtin_expect(feed->session.resumed != 0, 0) && durable >= feed->session.resumed)
    settle_resumed(feed);
  if (__builtin_expect(feed->session.ahead != 0, 0) && durable >= feed->session.ahead)
    catch_up(feed);
}

static void publish_queues(const struct tg_feed *feed)
{
  struct tg_shard_row *row = feed->row;
  uint64_t events = 0, bytes = 0;
  tg_ms oldest = 0;
  for (int i = 0; i < feed->all->places; i++) {
    const struct tg_lane *lane = feed->lanes[i];
    if (!lane)
      continue;
    const struct tg_queued *head = lane->queue.head;
    tg_ms at = head ? head->queued_at + tg_steady_ahead() : 0;
    events += tg_lane_waiting(lane);
    bytes += lane->queue.bytes + lane->log.late.bytes + lane->log.spilled_bytes;
    oldest = at != 0 && (oldest == 0 || at < oldest) ? at : oldest;
  }
  atomic_store_explicit(&row->queued_events, events, memory_order_relaxed);
  atomic_store_explicit(&row->queued_bytes, bytes, memory_order_relaxed);
  atomic_store_explicit(&row->oldest_queued_at, oldest, memory_order_relaxed);
}

void tg_feed_publish(struct tg_feed *feed)
{
  if (feed->session.epoch > 0) /* else the row still tells what is to be adopted */
    publish_session(feed);
  else if (feed->left)
    return;
  publish_queues(feed);
  if (__builtin_expect(feed->seat != NULL, 0))
    feed->all->settled(feed);
}
