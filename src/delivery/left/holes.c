#include "base/buf.h"
#include "base/log.h"
#include "delivery/left/left.h"

#include <stdlib.h>

/* A hole that is asked for. */
struct tg_asked_hole {
  TAILQ_ENTRY(tg_asked_hole) link;
  struct tg_hole hole;
  struct tg_left_waiter *waiters;
};

/* What is asked for of a shard: the first of them is being delivered, once nothing of the shard moves any
 * more. */
struct tg_left {
  LIST_ENTRY(tg_left) link;
  tg_shard_ref ref;     /* of the shard */
  struct tg_feed *feed; /* what is left of it */
  TAILQ_HEAD(, tg_asked_hole) fillings;
};

static struct tg_left *find(const struct tg_delivery *delivery, tg_shard_ref ref)
{
  struct tg_left *left;
  LIST_FOREACH(left, &delivery->lefts, link)
  {
    if (left->ref == ref)
      return left;
  }
  return NULL;
}

static bool is_same(const struct tg_hole *one, const struct tg_hole *two)
{
  return one->from.epoch == two->from.epoch && one->from.sequence == two->from.sequence &&
         one->to.epoch == two->to.epoch && one->to.sequence == two->to.sequence;
}

/* --- the logs ---------------------------------------------------------------------------------- */

static bool is_asked_for(const struct tg_left *left, const struct tg_log_entry *entry)
{
  const struct tg_asked_hole *filling;
  TAILQ_FOREACH(filling, &left->fillings, link)
  {
    if (tg_hole_has(&filling->hole, entry->epoch, entry->sequence))
      return true;
  }
  return false;
}

/* Whether something of the hole waits at that sink. */
static bool waits(const struct tg_lane *lane)
{
  for (struct tg_log_source *source = lane->lanes->logs.sources; source; source = source->next) {
    struct tg_log_entry entry;
    tg_log_position at = 0;
    while ((at = tg_event_log_next(source->log, lane->feed->ref, at, &entry)) != 0)
      if (tg_feed_is_asked_for(lane->feed, entry.epoch, entry.sequence))
        return true;
  }
  return tg_lane_has_gap(lane);
}

/* Throws away what waits there, but for what is spared. Returns how much that was. */
static uint64_t throw_away(struct tg_lane *lane,
                           bool (*spares)(const struct tg_left *left, const struct tg_log_entry *entry),
                           const struct tg_left *left)
{
  uint64_t events = 0;
  for (struct tg_log_source *source = lane->lanes->logs.sources; source; source = source->next) {
    struct tg_log_entry entry;
    tg_log_position at = 0;
    while ((at = tg_event_log_next(source->log, lane->feed->ref, at, &entry)) != 0)
      if (!left || !spares(left, &entry)) {
        tg_event_log_ack(source->log, lane->feed->ref, at);
        events += entry.kind == TG_LOG_EVENT;
      }
  }
  lane->lanes->logs.source_done = lane->lanes->logs.sources != NULL;
  return events;
}

static bool is_not_in_hole(const struct tg_left *left, const struct tg_log_entry *entry)
{
  return !tg_feed_is_asked_for(left->feed, entry->epoch, entry->sequence);
}

/* --- holes ---------------------------------------------------------------------------------------- */

/* True: the lane has still something of the hole to deliver. */
static bool goes_on(struct tg_left *left, struct tg_lane *lane)
{
  if (!lane->lanes->logs.own)
    return false;
  if (tg_lane_waits(lane))
    return true;
  if (!waits(lane))
    return false;
  if (!lane->sender) { /* there is nobody (any more) to take it */
    tg_lane_count(lane, dropped, throw_away(lane, is_not_in_hole, left));
    tg_lane_forget_backlog(lane);
    return false;
  }
  tg_lane_read_hole(lane);
  return tg_lane_waits(lane) || waits(lane); /* if it can be read at all */
}

static bool deliver(struct tg_delivery *delivery, struct tg_left *left)
{
  bool busy = false;
  left->feed->hole = &TAILQ_FIRST(&left->fillings)->hole;
  for (int i = 0; i < delivery->feeds.places; i++)
    if (left->feed->lanes[i])
      busy = goes_on(left, left->feed->lanes[i]) || busy;
  return busy;
}

static void end_first(struct tg_left *left, const struct tg_error *error)
{
  struct tg_asked_hole *filling = TAILQ_FIRST(&left->fillings);
  struct tg_left_waiter *waiters = filling->waiters;
  TAILQ_REMOVE(&left->fillings, filling, link);
  left->feed->hole = NULL;
  free(filling);
  tg_left_tell(&waiters, error);
}

static void forget(struct tg_left *left)
{
  LIST_REMOVE(left, link);
  free(left);
}

/* What waits in the shard's own lanes is to be with the rest first. */
static bool is_ready(struct tg_delivery *delivery, const struct tg_left *left)
{
  if (!tg_left_is_due(delivery, left->ref))
    return true;
  tg_delivery_leave(delivery, left->ref, NULL, NULL);
  return false;
}

void tg_fillings_tend(struct tg_delivery *delivery)
{
  for (struct tg_left *left = LIST_FIRST(&delivery->lefts), *next; left; left = next) {
    next = LIST_NEXT(left, link);
    while (!TAILQ_EMPTY(&left->fillings) && is_ready(delivery, left) && !deliver(delivery, left))
      end_first(left, NULL);
    if (TAILQ_EMPTY(&left->fillings))
      forget(left);
  }
}

void tg_fillings_fail(struct tg_delivery *delivery, tg_shard_ref ref, const struct tg_error *error)
{
  struct tg_left *left = find(delivery, ref);
  while (left && !TAILQ_EMPTY(&left->fillings))
    end_first(left, error);
}

void tg_fillings_end(struct tg_delivery *delivery)
{
  struct tg_error error;
  tg_fail(&error, "closed", "this worker ends");
  while (!LIST_EMPTY(&delivery->lefts)) {
    struct tg_left *left = LIST_FIRST(&delivery->lefts);
    while (!TAILQ_EMPTY(&left->fillings))
      end_first(left, &error);
    forget(left);
  }
}

void tg_delivery_fill(struct tg_delivery *delivery, tg_shard_ref ref, const struct tg_hole *hole,
                      tg_left_done *done, void *ctx)
{
  struct tg_left *left = find(delivery, ref);
  if (!left) {
    left = tg_calloc(1, sizeof *left);
    left->ref = ref;
    left->feed = tg_feed_of(&delivery->feeds, tg_ref_left(ref));
    TAILQ_INIT(&left->fillings);
    LIST_INSERT_HEAD(&delivery->lefts, left, link);
  }
  struct tg_asked_hole *filling;
  TAILQ_FOREACH(filling, &left->fillings, link)
  {
    if (is_same(&filling->hole, hole))
      break;
  }
  if (!filling) {
    filling = tg_calloc(1, sizeof *filling);
    filling->hole = *hole;
    TAILQ_INSERT_TAIL(&left->fillings, filling, link);
  }
  tg_left_wait(&filling->waiters, done, ctx);
  tg_left_wake(delivery);
}

/* --- void -------------------------------------------------------------------------------------------- */

void tg_delivery_void(struct tg_delivery *delivery, tg_shard_ref ref)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, tg_ref_left(ref));
  const struct tg_left *left = find(delivery, ref);
  uint64_t events = 0;
  for (int i = 0; i < delivery->feeds.places; i++) {
    struct tg_lane *lane = feed->lanes[i];
    if (!lane || !lane->lanes->logs.own)
      continue;
    events += throw_away(lane, is_asked_for, left);
    tg_lane_forget_gaps(lane, left != NULL);
  }
  if (events > 0)
    tg_log_with(TG_DEBUG, feed->shard_id, TG_WITH(TG_NUMBER(EVENTS, events)),
                "what was left of the shard is others' now");
}

void tg_delivery_void_side(struct tg_delivery *delivery, int side)
{
  for (int i = 0; i < delivery->feeds.count; i++) {
    const struct tg_feed *feed = delivery->feeds.at[i];
    if (feed && feed->left && tg_ref_side(feed->ref) == side)
      tg_delivery_void(delivery, tg_ref_live(feed->ref));
  }
}
