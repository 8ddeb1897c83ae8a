#include "delivery/delivery_internal.h"
#include "delivery/reshard/seats.h"

#include "base/log.h"
#include "proto/envelope.h"

#include <stdlib.h>
#include <string.h>

/* --- messages: message_updates --------------------------------------------- */

static bool changed(const struct tg_delivery *delivery, const struct tg_message_facts *facts)
{
  return !delivery->messages || tg_message_cache_changed(delivery->messages, facts);
}

bool tg_delivery_message_changed(struct tg_delivery *delivery, const struct tg_event *event)
{
  struct tg_message_facts facts;
  return event->type != TG_EVENT_MESSAGE_UPDATE || delivery->env.config->message_updates == TG_UPDATES_ALL ||
         !tg_message_facts(event->data, &facts) || changed(delivery, &facts);
}

/* False: the update changes nothing that anybody did to the message. */
static bool on_message(struct tg_delivery *delivery, struct tg_event *event)
{
  struct tg_hooks *hooks = delivery->env.hooks;
  bool keep = true;
  struct tg_message_facts facts;
  if (hooks->want[TG_EVENT_MESSAGE_UPDATE] & TG_WANT_DROP)
    return true;
  bool read =
      delivery->env.config->message_updates == TG_UPDATES_CONTENT && tg_message_facts(event->data, &facts);
  if (event->type == TG_EVENT_MESSAGE_UPDATE) {
    struct tg_value argument = tg_value_event(event), result;
    if (tg_hooked(hooks, TG_METHOD_cache_message_changed) &&
        tg_hook_call(hooks, TG_METHOD_cache_message_changed, &argument, 1, &result))
      keep = result.boolean;
    else
      keep = !read || changed(delivery, &facts);
  }
  if (read) {
    if (!delivery->messages)
      delivery->messages = tg_message_cache_new(TG_MESSAGE_CACHE_SIZE);
    tg_message_cache_store(delivery->messages, &facts);
  }
  return keep;
}

/* --- the path --------------------------------------------------------------- */

/* False: a cache has found the event to say nothing new. */
static bool run_caches(struct tg_delivery *delivery, struct tg_event *event)
{
  switch (event->type) {
  case TG_EVENT_READY:
    tg_storms_learn(&delivery->storms, event);
    tg_guilds_on_ready(tg_guilds_of(delivery, tg_event_ref(event)), event);
    return true;
  case TG_EVENT_GUILD_CREATE:
    tg_guilds_on_create(tg_guilds_of(delivery, tg_event_ref(event)), event);
    return true;
  case TG_EVENT_GUILD_DELETE:
    tg_guilds_on_delete(tg_guilds_of(delivery, tg_event_ref(event)), event);
    return true;
  case TG_EVENT_MESSAGE_CREATE:
  case TG_EVENT_MESSAGE_UPDATE:
    return on_message(delivery, event);
  }
  return true;
}

static void count_received(struct tg_feed *feed, const struct tg_event *event)
{
  struct tg_stats_type *counts = tg_stats_type(event->type);
  tg_count(&feed->row->received);
  tg_count(&feed->row->traffic[tg_traffic_places[event->type]]);
  tg_count(&counts->received);
  tg_count_by(&counts->bytes, event->raw.length);
}

static void count_filtered(struct tg_feed *feed, const struct tg_event *event)
{
  tg_count(&feed->row->filtered);
  tg_count(&tg_stats_type(event->type)->filtered);
}

/* A handler may be the end of the process. The event is safe by then, and what is
 * sent again does not meet the handlers again: it is delivered without them. */
static void run_handlers(struct tg_delivery *delivery, struct tg_feed *feed, struct tg_shard *shard,
                         struct tg_event *event)
{
  bool unseen = event->late && (event->unseen || event->epoch != feed->session.epoch);
  if (event->sequence > 0 && event->sequence <= feed->session.handled && !unseen)
    return;
  tg_feeds_write(&delivery->feeds);
  if (event->late) {
    tg_last_is_safe(&delivery->storms.last);
  } else {
    atomic_store_explicit(&feed->row->handled_epoch, feed->session.epoch, memory_order_relaxed);
    atomic_store_explicit(&feed->row->handled_sequence, event->sequence, memory_order_relaxed);
  }
  delivery->env.hooks->dispatch(delivery->env.hooks->script, shard, event);
}

static void run_script(struct tg_delivery *delivery, struct tg_feed *feed, struct tg_shard *shard,
                       struct tg_event *event, uint8_t want)
{
  struct tg_hooks *hooks = delivery->env.hooks;
  if ((want & TG_WANT_FILTER) && hooks->filter(hooks->script, event) == TG_DROP) {
    count_filtered(feed, event);
    return;
  }
  if (tg_hooked(hooks, TG_METHOD_delivery_handle_discord_payload)) {
    struct tg_value args[] = {tg_value_shard(shard), tg_value_event(event)};
    if (!tg_hook_call(hooks, TG_METHOD_delivery_handle_discord_payload, args, 2, NULL))
      tg_delivery_enqueue(delivery, event);
  } else {
    tg_delivery_enqueue(delivery, event);
  }
  if (want & TG_WANT_HANDLER)
    run_handlers(delivery, feed, shard, event);
}

/* A RESUMED takes a number, but is no part of the next replay: where a
 * connection broke before ours came, it leaves a hole in which nothing was. The RESUMED of the replay that
 * runs is still to come. */
static bool was_resumed(struct tg_feed *feed, const struct tg_event *event, uint64_t missing)
{
  uint32_t unheard = atomic_load_explicit(&feed->row->unheard, memory_order_relaxed);
  if (!event->replayed || feed->session.holes + missing >= unheard)
    return false;
  feed->session.holes += (uint32_t)missing;
  return true;
}

static void note_resumed(struct tg_feed *feed, const struct tg_event *event)
{
  feed->session.resumed = event->sequence;
  feed->session.heard = atomic_load_explicit(&feed->row->unheard, memory_order_relaxed);
}

static void note_missing(struct tg_feed *feed, const struct tg_event *event)
{
  struct tg_gap gap = {.epoch = feed->session.epoch,
                       .from = feed->session.received + 1,
                       .to = event->sequence - 1,
                       .count = event->sequence - feed->session.received - 1,
                       .reason = "skipped"};
  if (was_resumed(feed, event, gap.count) || (feed->seat && tg_seat_skipped(feed)))
    return;
  tg_feed_missed(feed, &gap);
  tg_log_with(TG_WARN, feed->shard_id,
              TG_WITH(TG_NUMBER(EPOCH, gap.epoch), TG_NUMBER(SEQUENCE, gap.from), TG_NUMBER(LAST, gap.to),
                      TG_NUMBER(EVENTS, gap.count)),
              "events of this session never came");
}

/* What was received before, and what Discord left out. */
static bool is_next(struct tg_feed *feed, const struct tg_event *event)
{
  if (event->sequence <= feed->session.received && event->sequence > 0) {
    tg_count(&feed->row->replayed);
    return false;
  }
  if (feed->session.received > 0 && event->sequence > feed->session.received + 1)
    note_missing(feed, event);
  if (event->type == TG_EVENT_RESUMED)
    note_resumed(feed, event);
  if (event->sequence > 0)
    feed->session.received = event->sequence;
  return true;
}

/* Behind the storms. The way of each event: a call costs 20 ns here. */
static inline __attribute__((always_inline)) void go_on(struct tg_delivery *delivery, struct tg_feed *feed,
                                                        struct tg_shard *shard, struct tg_event *event)
{
  uint8_t want = delivery->env.hooks->want[event->type];
  if (!run_caches(delivery, event) || (want & TG_WANT_DROP))
    count_filtered(feed, event);
  else if ((want & TG_WANT_FILTER) ||
           tg_hooked(delivery->env.hooks, TG_METHOD_delivery_handle_discord_payload) ||
           (want & TG_WANT_HANDLER))
    run_script(delivery, feed, shard, event, want);
  else
    tg_delivery_enqueue(delivery, event);
  if (event->replacement.at) {
    free((char *)event->replacement.at);
    event->replacement = (struct tg_span){0};
  }
}

/* What one of the logs has already is decided: the sinks that lack it get it. One that an earlier process
 * has held back is in no log, and was not handled, though others behind it are and were. */
static bool is_dropped(struct tg_delivery *delivery, const struct tg_feed *feed, struct tg_event *event)
{
  struct tg_storms *storms = &delivery->storms;
  if (tg_last_awaits(&storms->last) && tg_last_came(&storms->last, feed->ref, event->sequence)) {
    event->late = event->unseen = true;
    return false;
  }
  return storms->on && event->sequence > feed->session.ahead && tg_storms_drop(storms, event);
}

static bool is_looked_at(const struct tg_storms *storms)
{
  return storms->on || tg_last_awaits(&storms->last);
}

void tg_delivery_pass_on(struct tg_delivery *delivery, struct tg_feed *feed, struct tg_shard *shard,
                         struct tg_event *event)
{
  count_received(feed, event);
  if (__builtin_expect(delivery->tap.on, 0))
    tg_tap_event(&delivery->tap, event, tg_env_now(&delivery->env));
  if (__builtin_expect(is_looked_at(&delivery->storms), 0) && is_dropped(delivery, feed, event))
    count_filtered(feed, event);
  else
    go_on(delivery, feed, shard, event);
}

bool tg_delivery_release(struct tg_delivery *delivery, const struct tg_held *held, int rule)
{
  char name[256];
  struct tg_envelope envelope;
  const struct tg_held_copy *copy = held->copy;
  struct tg_span message = tg_held_message(held->room, copy);
  if (!tg_envelope_scan(message.at, message.length, &envelope) || envelope.sequence != copy->sequence)
    return false;
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, copy->ref);
  struct tg_event event = {
      .shard_id = tg_ref_id(copy->ref),
      .side = (uint8_t)tg_ref_side(copy->ref),
      .total_shards = copy->total_shards,
      .epoch = copy->epoch,
      .sequence = copy->sequence,
      .name = tg_envelope_name(&envelope, name, sizeof name),
      .raw = message,
      .data = envelope.data,
      .late = true,
      .unseen = !held->stats,
  };
  event.type = tg_event_type(event.name.at, event.name.length);
  if (rule > 0 && tg_storms_drop_late(&delivery->storms, rule, &event))
    return false;
  go_on(delivery, feed, delivery->find_shard ? delivery->find_shard(delivery->ctx, copy->ref) : NULL, &event);
  tg_feeds_write(&delivery->feeds);
  tg_feed_publish(feed);
  tg_feed_touch(feed);
  return true;
}

void tg_delivery_event(struct tg_delivery *delivery, struct tg_shard *shard, struct tg_event *event)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, tg_event_ref(event));
  if (event->epoch != feed->session.epoch)
    tg_delivery_new_session(delivery, tg_event_ref(event), event->epoch);
  if (!is_next(feed, event))
    return;
  if (__builtin_expect(!feed->seat, 1) || !tg_seat_takes(delivery, feed, event))
    tg_delivery_pass_on(delivery, feed, shard, event);
  tg_feed_publish(feed);
  tg_feed_touch(feed);
  struct tg_shard_guilds *guilds = tg_guilds_of(delivery, tg_event_ref(event));
  if (__builtin_expect(guilds->loading, 0))
    tg_guilds_look(guilds, shard);
}
