#include "delivery/lanes/lanes.h"

#include "base/log.h"

#include <string.h>

enum {
  DROPS_A_LOOK = 32,
  TELL_AFTER = 1000, /* a marker for what is not queued comes once in so long: there may be thousands */
};

/* --- what is told of it ---------------------------------------------------------- */

static const char *bound(const struct tg_lanes *lanes)
{
  return lanes->logs.own && !lanes->logs.refuses ? "queue.disk_bytes" : "queue.memory_bytes";
}

static void first_drop(struct tg_lanes *lanes)
{
  lanes->overflow.dropping = true;
  uint64_t bytes = lanes->queued.bytes, limit = lanes->limits->memory_bytes;
  if (lanes->logs.own && !lanes->logs.refuses) {
    bytes = tg_event_log_disk(lanes->logs.own->log);
    limit = lanes->logs.own_bound;
  }
  tg_log_with(TG_WARN, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(EVENTS, tg_lanes_waiting(lanes)), TG_NUMBER(BYTES, bytes),
                      TG_TEXT(KEY, bound(lanes))),
              "the queue for %s is filling up: events are dropped from now on "
              "(queue.drop_first above 80 %% of its %llu bytes, the oldest ones when it is full)",
              lanes->title, (unsigned long long)limit);
}

void tg_overflow_count(struct tg_lane *lane, enum tg_drop reason, uint64_t count)
{
  struct tg_lanes *lanes = lane->lanes;
  if (!lanes->overflow.dropping && (reason == TG_DROP_FIRST || reason == TG_DROP_OLDEST))
    first_drop(lanes);
  lanes->overflow.drops[reason] += count;
  tg_lane_count(lane, dropped, count);
}

static const char *reason_of(enum tg_drop reason)
{
  if (reason == TG_DROP_INTERACTION)
    return "interaction_expired";
  return tg_log_loss_name(reason == TG_DROP_EXPIRED ? TG_LOSS_EXPIRED : TG_LOSS_OVERFLOW);
}

static void report_drops(struct tg_lanes *lanes)
{
  uint64_t drops[TG_DROP_REASONS], all = 0;
  for (int i = 0; i < TG_DROP_REASONS; i++) {
    all += drops[i] = lanes->overflow.drops[i];
    lanes->overflow.drops[i] = 0;
  }
  lanes->overflow.dropping = all > 0;
  if (all == 0)
    return;
  tg_log(TG_WARN, TG_NO_SHARD,
         "dropped %llu events in the last minute: %llu of types in queue.drop_first, %llu oldest ones, %llu "
         "by the script or by hand, %llu older than queue.max_age, %llu interactions nobody could answer any "
         "more; "
         "%llu events (%llu bytes) wait, since %s takes fewer than come. A faster handler, "
         "more URLs, a filter, or a larger %s helps",
         (unsigned long long)all, (unsigned long long)drops[TG_DROP_FIRST],
         (unsigned long long)drops[TG_DROP_OLDEST], (unsigned long long)drops[TG_DROP_SCRIPT],
         (unsigned long long)drops[TG_DROP_EXPIRED], (unsigned long long)drops[TG_DROP_INTERACTION],
         (unsigned long long)tg_lanes_waiting(lanes),
         (unsigned long long)(lanes->queued.bytes + lanes->spilled.bytes), lanes->title, bound(lanes));
}

static void report_losses(struct tg_lanes *lanes)
{
  struct tg_losses *losses = &lanes->overflow.losses;
  if (losses->gaps == 0)
    return;
  tg_log_with(
      TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, losses->events), TG_TEXT(REASON, losses->reason)),
      "since the last such line more events are lost, in %llu places", (unsigned long long)losses->gaps);
  *losses = (struct tg_losses){.told_at = tg_env_now(lanes->env)};
}

void tg_overflow_report(struct tg_lanes *lanes)
{
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i] && !lanes->env->stopping)
      tg_overflow_tell(lanes->at[i], true);
  report_drops(lanes);
  report_losses(lanes);
}

void tg_overflow_lost(struct tg_lane *lane, const struct tg_gap *gap)
{
  struct tg_losses *losses = &lane->lanes->overflow.losses;
  tg_ms now = tg_env_now(lane->lanes->env);
  tg_count(&lane->feed->row->gaps);
  tg_lane_count(lane, dropped, gap->count);
  if (losses->told_at != 0 && now - losses->told_at < TG_REPORT_INTERVAL) {
    losses->gaps++;
    losses->events += gap->count;
    losses->reason = gap->reason;
    return;
  }
  losses->told_at = now ? now : 1;
  tg_log_with(TG_WARN, lane->feed->shard_id,
              TG_WITH(TG_NUMBER(EPOCH, gap->epoch), TG_NUMBER(SEQUENCE, gap->from), TG_NUMBER(LAST, gap->to),
                      TG_NUMBER(EVENTS, gap->count), TG_TEXT(REASON, gap->reason)),
              "events are lost");
}

/* --- events that are not queued ---------------------------------------------------- */

void tg_overflow_refuse(struct tg_lane *lane, const struct tg_item *item, enum tg_drop reason)
{
  struct tg_gap *gap = &lane->log.refused;
  if (item->event.marker)
    return;
  tg_overflow_count(lane, reason, 1);
  if (!lane->lanes->handler->markers)
    return;
  struct tg_place place = tg_stored_place(&item->event);
  if (gap->count > 0 && gap->epoch != place.epoch)
    tg_overflow_tell(lane, true);
  if (gap->count == 0) {
    *gap = (struct tg_gap){.epoch = place.epoch, .from = place.sequence, .reason = reason_of(reason)};
    lane->log.refused_since = tg_env_now(lane->lanes->env);
  }
  gap->to = place.sequence;
  gap->count++;
}

void tg_overflow_tell(struct tg_lane *lane, bool at_once)
{
  struct tg_gap gap = lane->log.refused;
  if (gap.count == 0)
    return;
  if (!at_once && gap.epoch == lane->feed->session.epoch &&
      tg_env_now(lane->lanes->env) - lane->log.refused_since < TELL_AFTER)
    return;
  lane->log.refused.count = 0;
  tg_count(&lane->feed->row->gaps);
  tg_lane_missed(lane, &gap);
}

/* --- events that are dropped ------------------------------------------------------- */

/* In a log: who is to be told hears of it again, should the process die. */
static void settle_in_log(struct tg_lane *lane, struct tg_queued *event)
{
  if (!event->source || !lane->lanes->handler->markers)
    return;
  tg_event_log_drop(event->source->log, lane->feed->ref, event->position, TG_LOSS_OVERFLOW);
}

static void drop(struct tg_lane *lane, struct tg_lane_queue *queue, struct tg_queued *event,
                 enum tg_drop reason)
{
  struct tg_gap gap = {.epoch = event->epoch,
                       .from = event->sequence,
                       .to = event->sequence,
                       .count = 1,
                       .reason = reason_of(reason)};
  if (!event->marker) {
    tg_overflow_count(lane, reason, 1);
    if (lane->lanes->handler->markers)
      tg_lane_mark_drop(lane, queue, event, &gap); /* joins that of the one before */
  }
  if (queue == &lane->log.late) {
    tg_lane_remove_late(lane, event);
    return;
  }
  settle_in_log(lane, event);
  tg_lane_remove(lane, event);
}

void tg_overflow_drop(struct tg_lane *lane, struct tg_queued *event, enum tg_drop reason)
{
  drop(lane, &lane->queue, event, reason);
}

void tg_overflow_drop_late(struct tg_lane *lane, struct tg_queued *event, enum tg_drop reason)
{
  drop(lane, &lane->log.late, event, reason);
}

/* Memory is given back by dropping what no log has: the rest of a lane that is
 * read from a log would only be read on. */
static struct tg_lane_queue *victims(struct tg_lane *lane)
{
  return lane->log.spilled ? &lane->log.late : &lane->queue;
}

static struct tg_lane *find_fullest(struct tg_lanes *lanes, bool any)
{
  struct tg_lane *fullest = NULL;
  for (int i = 0; i < lanes->count; i++) {
    struct tg_lane *lane = lanes->at[i];
    if (lane && (!fullest || victims(lane)->bytes > victims(fullest)->bytes) &&
        tg_lane_queue_oldest(victims(lane), any))
      fullest = lane;
  }
  return fullest;
}

/* The lane to take from is looked for once in a while only: under overflow
 * every event drops another. */
static struct tg_queued *choose_victim(struct tg_lanes *lanes, struct tg_lane **from)
{
  struct tg_queued *event = NULL;
  if (lanes->overflow.fullest && lanes->overflow.drops_until_look-- > 0)
    event = tg_lane_queue_oldest(victims(lanes->overflow.fullest), false);
  for (int any = 0; any < 2 && !event; any++) {
    lanes->overflow.fullest = find_fullest(lanes, any);
    lanes->overflow.drops_until_look = DROPS_A_LOOK;
    if (lanes->overflow.fullest)
      event = tg_lane_queue_oldest(victims(lanes->overflow.fullest), any);
  }
  *from = lanes->overflow.fullest;
  return event;
}

/* What a log has, too, need not be in memory. */
static bool unload(struct tg_lanes *lanes)
{
  bool done = false;
  if (!lanes->logs.own || lanes->overflow.drops_until_unload-- > 0)
    return false;
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i] && tg_lane_unload(lanes->at[i]))
      done = true;
  lanes->overflow.drops_until_unload = done ? 0 : DROPS_A_LOOK;
  return done;
}

bool tg_overflow_drop_oldest(struct tg_lanes *lanes, enum tg_drop reason)
{
  struct tg_lane *lane;
  struct tg_queued *event = choose_victim(lanes, &lane);
  if (!event)
    return false;
  drop(lane, victims(lane), event, reason);
  return true;
}

/* The script decides what goes; what it leaves is the default's. */
static void ask(struct tg_lanes *lanes)
{
  if (lanes->overflow.asking) /* it queues something itself */
    return;
  struct tg_value argument = tg_value_queue(TG_ALL_SHARDS);
  lanes->overflow.asking = true;
  tg_hook_call(lanes->env->hooks, TG_METHOD_delivery_queue_overflow, &argument, 1, NULL);
  lanes->overflow.asking = false;
}

void tg_overflow_ask_for_log(struct tg_lanes *lanes, uint64_t size)
{
  struct tg_event_log *log = lanes->logs.own->log;
  uint32_t segment = tg_event_log_wants_room(log, size);
  if (segment == 0 || segment == lanes->overflow.asked_for || lanes->walking > 0 || lanes->overflow.asking)
    return;
  lanes->overflow.asked_for = segment;
  uint64_t before = lanes->overflow.drops[TG_DROP_SCRIPT];
  ask(lanes);
  if (lanes->overflow.drops[TG_DROP_SCRIPT] != before)
    tg_event_log_reclaim(log);
}

/* False: there is no room, and none can be made. */
static bool make_room(struct tg_lanes *lanes, uint64_t size)
{
  uint64_t limit = lanes->limits->memory_bytes;
  if (lanes->walking > 0 || size > limit)
    return size <= limit;
  bool hooked = tg_lanes_hooked(lanes, TG_METHOD_delivery_queue_overflow);
  while (lanes->queued.bytes + size > limit) {
    if (unload(lanes))
      continue;
    if (hooked)
      ask(lanes);
    else if (!tg_backlog_make_room(lanes) && !tg_overflow_drop_oldest(lanes, TG_DROP_OLDEST))
      return false;
    hooked = false; /* it was asked */
  }
  return true;
}

bool tg_overflow_admit(struct tg_lane *lane, const struct tg_item *item, uint64_t size)
{
  struct tg_lanes *lanes = lane->lanes;
  uint64_t limit = lanes->limits->memory_bytes, roomy = limit - limit / 5;
  if (__builtin_expect(lanes->queued.bytes + size <= roomy, 1))
    return true;
  bool early = lanes->overflow.drop_first[item->event.type];
  while (early && lanes->queued.bytes + size > roomy && unload(lanes))
    ;
  if (lanes->queued.bytes + size <= roomy || (!early && make_room(lanes, size)))
    return true;
  tg_overflow_refuse(lane, item, early ? TG_DROP_FIRST : TG_DROP_OLDEST);
  return false;
}

/* What is in a log is looked after there. */
static void expire_lane(struct tg_lane *lane, tg_ms limit)
{
  struct tg_queued *event = lane->queue.head, *next;
  for (; event && event->queued_at < limit; event = next) {
    next = event->next;
    if (!event->in_flight && !event->source && !event->gap)
      tg_overflow_drop(lane, event, TG_DROP_EXPIRED);
  }
}

void tg_overflow_expire(struct tg_lanes *lanes)
{
  tg_ms limit = tg_env_now(lanes->env) - lanes->limits->max_age;
  if (lanes->limits->max_age <= 0)
    return;
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i])
      expire_lane(lanes->at[i], limit);
}

void tg_overflow_reconfigure(struct tg_lanes *lanes)
{
  const struct tg_strings *names = &lanes->limits->drop_first;
  bool *drop_first = lanes->overflow.drop_first;
  memset(drop_first, 0, sizeof lanes->overflow.drop_first);
  for (int i = 0; i < names->count; i++)
    drop_first[tg_event_type(names->items[i], strlen(names->items[i]))] = true;
}
