#include "delivery/delivery_internal.h"

#include "base/buf.h"
#include "base/log.h"
#include "delivery/reshard/seats.h"
#include "delivery/sinks/lane_parcel.h"

#include <stdlib.h>
#include <string.h>

enum { DRAIN_LOOK = 100 /* ms */ };

/* --- events that nobody takes ----------------------------------------------------- */

static bool script_takes(const struct tg_delivery *delivery, uint16_t type)
{
  return (delivery->env.hooks->want[type] & TG_WANT_HANDLER) ||
         tg_hooked(delivery->env.hooks, TG_METHOD_delivery_handle_discord_payload);
}

static bool nobody_takes(const struct tg_delivery *delivery)
{
  bool taken = tg_sinks_are_taken(delivery) || delivery->env.hooks->away;
  for (int type = 0; type < TG_WANT_SIZE && !taken; type++)
    taken = script_takes(delivery, (uint16_t)type);
  return !taken;
}

/* The first worker speaks for all. */
static void look_for_takers(struct tg_delivery *delivery)
{
  bool before = delivery->nobody_takes;
  tg_sinks_tell_untaken(delivery);
  delivery->sink_changes = delivery->env.hooks->sink_changes;
  delivery->nobody_takes = nobody_takes(delivery);
  if (delivery->nobody_takes && !before && delivery->env.worker_id == 0)
    tg_log(
        TG_WARN, TG_NO_SHARD,
        "events go nowhere: there are no event_handler.urls (EVENT_HANDLER_URL), and no script takes events "
        "(gateway.on, or an override of gateway.delivery's deliver, handle_queue or handle_discord_payload)");
}

/* --- memory and reports ------------------------------------------------------ */

static void free_all(void *ctx)
{
  struct tg_delivery *delivery = ctx;
  tg_feeds_free(&delivery->feeds);
  tg_storms_free(&delivery->storms);
  tg_tap_free(&delivery->tap);
  tg_guilds_free(delivery);
  tg_message_cache_free(delivery->messages);
  free(delivery);
}

static void on_report(uv_timer_t *timer)
{
  struct tg_delivery *delivery = timer->data;
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i])
      tg_sink_report(delivery->sinks[i]);
  tg_interactions_report(&delivery->interactions);
}

static void on_leases(uv_timer_t *timer)
{
  struct tg_delivery *delivery = timer->data;
  tg_feeds_look_at_leases(&delivery->feeds);
}

static void begin_leases(struct tg_delivery *delivery)
{
  tg_handles_timer(&delivery->env.handles, &delivery->leases, delivery);
  uv_timer_start(&delivery->leases, on_leases, TG_LEASE_LOOK, TG_LEASE_LOOK);
  uv_unref((uv_handle_t *)&delivery->leases);
}

static void end_leases(struct tg_delivery *delivery)
{
  tg_left_end(delivery);
  if (delivery->feeds.clustered)
    tg_handles_close(&delivery->env.handles, &delivery->leases);
}

void tg_delivery_tap(struct tg_delivery *delivery, const json_t *viewers)
{
  tg_tap_set(&delivery->tap, viewers);
}

bool tg_delivery_has_log(const struct tg_delivery *delivery)
{
  return tg_feeds_have_log(&delivery->feeds);
}

void tg_delivery_add_side(struct tg_delivery *delivery, int side, struct tg_shard_table *table,
                          uint64_t identity)
{
  struct tg_guild_store *store = &delivery->guild_stores[side];
  tg_feeds_add_side(&delivery->feeds, side, table);
  if (!identity)
    return;
  tg_guild_store_open(store, delivery->env.config->state_dir, side, identity);
  if (delivery->env.worker_id == 0)
    tg_guild_store_sweep(store, tg_shard_table_total(table));
}

void tg_delivery_end_strays(struct tg_delivery *delivery)
{
  for (int i = 0; i < TG_SINKS_MAX && !delivery->feeds.clustered; i++)
    if (delivery->sinks[i])
      tg_sinks_end_strays(delivery, delivery->sinks[i]);
  tg_feeds_unshut(&delivery->feeds);
  if (delivery->feeds.clustered)
    tg_delivery_leave_lost(delivery);
}

bool tg_delivery_side_waits(const struct tg_delivery *delivery, int side, uint64_t epoch)
{
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i] && tg_lanes_side_waits(&delivery->sinks[i]->lanes, side, epoch))
      return true;
  return false;
}

void tg_delivery_drop_side(struct tg_delivery *delivery, int side)
{
  tg_seats_remove_files(delivery);
  tg_seats_end(delivery);
  tg_feeds_drop_side(&delivery->feeds, side);
  for (int i = 0; i < delivery->guilds_count; i++)
    if (delivery->guilds[i] && tg_ref_side(tg_ref_at(i)) == side)
      tg_guilds_new_session(delivery->guilds[i]);
  struct tg_guild_store *store = &delivery->guild_stores[side];
  if (store->directory)
    tg_guild_store_sweep(store, 0);
  tg_guild_store_close(store);
}

/* --- storms: what is held back ---------------------------------------------------- */

static bool release_held(void *ctx, const struct tg_held *held, int rule)
{
  return tg_delivery_release(ctx, held, rule);
}

static uint64_t fence_of(void *ctx, tg_shard_ref ref)
{
  struct tg_delivery *delivery = ctx;
  return atomic_load(&tg_feed_of(&delivery->feeds, ref)->row->fence);
}

static void begin_storms(struct tg_delivery *delivery)
{
  tg_storms_begin(&delivery->storms, &delivery->env);
  delivery->storms.last.release = release_held;
  delivery->storms.last.fence = delivery->feeds.clustered ? fence_of : NULL;
  delivery->storms.last.ctx = delivery;
  tg_storms_configure(&delivery->storms, &delivery->env.config->storm);
}

/* --- life ------------------------------------------------------------------------- */

struct tg_delivery *tg_delivery_new(const struct tg_delivery_options *options)
{
  struct tg_delivery *delivery = tg_calloc(1, sizeof *delivery);
  struct tg_delivery_env *env = &delivery->env;
  env->loop = options->loop;
  env->clock = options->clock;
  env->hooks = options->hooks;
  env->worker_id = options->worker_id;
  env->config = options->config;
  delivery->find_shard = options->find_shard;
  delivery->class_told = options->class_told;
  delivery->tap.shown = options->tapped;
  delivery->tap.ctx = options->ctx;
  delivery->ctx = options->ctx;
  delivery->http = options->http;
  delivery->tell = options->tell;
  delivery->feeds.env = env;
  delivery->feeds.shut = options->seats_follow;
  delivery->feeds.clustered = options->clustered;
  delivery->feeds.totals[options->side] = options->total_shards;
  tg_delivery_add_side(delivery, options->side, options->table, options->identity);
  tg_handles_init(&env->handles, options->loop, free_all, delivery);
  tg_handles_timer(&env->handles, &delivery->report, delivery);
  tg_handles_timer(&env->handles, &delivery->drain, delivery);
  uint64_t interval = (uint64_t)tg_patience(TG_REPORT_INTERVAL);
  uv_timer_start(&delivery->report, on_report, interval, interval);
  uv_unref((uv_handle_t *)&delivery->report);
  begin_storms(delivery);
  tg_left_begin(delivery);
  if (options->clustered)
    begin_leases(delivery);
  tg_sinks_reconfigure(delivery);
  tg_interactions_begin(&delivery->interactions, &delivery->env, &tg_delivery_bot(delivery)->lanes,
                        &tg_delivery_bot(delivery)->senders);
  look_for_takers(delivery);
  return delivery;
}

void tg_delivery_free(struct tg_delivery *delivery)
{
  if (!delivery || delivery->env.stopping)
    return;
  delivery->env.stopping = true;
  tg_seats_end(delivery);
  end_leases(delivery);
  tg_interactions_report(&delivery->interactions);
  tg_interactions_end(&delivery->interactions);
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i])
      tg_sink_end(delivery->sinks[i]);
  tg_guilds_end(delivery);
  tg_storms_end(&delivery->storms);
  tg_handles_close(&delivery->env.handles, &delivery->report);
  tg_handles_close(&delivery->env.handles, &delivery->drain);
  tg_handles_end(&delivery->env.handles);
}

void tg_delivery_reconfigure(struct tg_delivery *delivery, const struct tg_config *config)
{
  delivery->env.config = config;
  tg_sinks_reconfigure(delivery);
  look_for_takers(delivery);
  if (!delivery->storms.of_script)
    tg_storms_configure(&delivery->storms, &config->storm);
}

void tg_delivery_set_storm(struct tg_delivery *delivery, const struct tg_storm_config *storm)
{
  delivery->storms.of_script = storm != NULL;
  tg_storms_configure(&delivery->storms, storm ? storm : &delivery->env.config->storm);
}

void tg_delivery_hear(struct tg_delivery *delivery, const char *url, bool up, tg_ms asked)
{
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i])
      tg_senders_hear(&delivery->sinks[i]->senders, url, up, asked);
}

/* --- sessions ------------------------------------------------------------------- */

void tg_delivery_enqueue(struct tg_delivery *delivery, const struct tg_event *event)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, tg_event_ref(event));
  bool bot_taken = __builtin_expect(!feed->lanes[TG_SINK_BOT]->sender, 0) &&
                   tg_senders_scripted(&tg_delivery_bot(delivery)->senders);
  bool sinks_changed = delivery->sink_changes != delivery->env.hooks->sink_changes;
  if (__builtin_expect(bot_taken || sinks_changed, 0)) /* since a moment ago */
    tg_delivery_reconfigure(delivery, delivery->env.config);
  if (__builtin_expect(tg_feed_push(feed, event), 1))
    return;
  if (tg_sinks_are_taken(delivery)) {
    tg_count(&feed->row->filtered);
    tg_count(&tg_stats_type(event->type)->filtered);
  } else if (script_takes(delivery, event->type)) {
    tg_lane_count(feed->lanes[TG_SINK_BOT], delivered, 1);
    tg_count(&tg_stats_type(event->type)->delivered);
  }
}

void tg_delivery_publish(const struct tg_delivery *delivery)
{
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i])
      tg_lanes_publish(&delivery->sinks[i]->lanes, tg_senders_up(&delivery->sinks[i]->senders));
}

uint64_t tg_delivery_settled(struct tg_delivery *delivery, tg_shard_ref ref)
{
  return tg_feed_durable(tg_feed_of(&delivery->feeds, ref));
}

bool tg_delivery_durable(struct tg_delivery *delivery, tg_shard_ref ref, uint64_t *sequence)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  if (!tg_feeds_have_log(&delivery->feeds)) {
    *sequence = tg_feed_unheld(feed, feed->session.received);
    return feed->session.held_from != 0;
  }
  *sequence = tg_feed_announce(feed);
  return true;
}

void tg_delivery_new_session(struct tg_delivery *delivery, tg_shard_ref ref, uint64_t epoch)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  bool delivers = !feed->seat || tg_seat_rules(feed);
  tg_last_release(&delivery->storms.last, ref); /* what the session begins with is newer */
  if (delivers && feed->session.epoch > 0 && epoch > feed->session.epoch) {
    struct tg_gap lost = {.epoch = feed->session.epoch,
                          .from = feed->session.received > 0 ? feed->session.received + 1 : 0,
                          .reason = "session_lost"};
    tg_feed_missed(feed, &lost);
  }
  tg_feed_set_session(feed, epoch, 0);
  tg_last_found(&delivery->storms.last, ref, (struct tg_place){epoch, 0}, 0);
  tg_last_release(&delivery->storms.last, ref);
  if (feed->seat)
    tg_seat_session(feed, true, 0);
  tg_guilds_new_session(tg_guilds_of(delivery, ref));
  tg_feed_publish(feed);
}

void tg_delivery_adopt(struct tg_delivery *delivery, struct tg_feed *feed, uint64_t epoch, uint64_t settled)
{
  tg_feed_adopt(feed, epoch, settled, !feed->seat || tg_seat_rules(feed));
  tg_guilds_adopt(tg_guilds_of(delivery, feed->ref), epoch);
  if (atomic_load(&feed->row->handled_epoch) == epoch)
    feed->session.handled = atomic_load(&feed->row->handled_sequence);
  tg_feed_publish(feed);
  tg_feed_told(feed); /* the row says from where on Discord is asked again */
  uint64_t decided =
      feed->session.handled > feed->session.ahead ? feed->session.handled : feed->session.ahead;
  tg_last_found(&delivery->storms.last, feed->ref, (struct tg_place){epoch, feed->session.received}, decided);
}

void tg_delivery_adopt_session(struct tg_delivery *delivery, tg_shard_ref ref, uint64_t epoch,
                               uint64_t settled)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  if (!feed->seat || feed->session.epoch != epoch || epoch == 0) /* else with all of its class, before */
    tg_delivery_adopt(delivery, feed, epoch, settled);
}

/* --- the end ---------------------------------------------------------------------- */

/* With a log nothing is lost by not waiting for a handler that is down. */
static bool is_hopeless(const struct tg_delivery *delivery)
{
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i] && tg_sink_has_hope(delivery->sinks[i]))
      return false;
  return true;
}

/* `emptied`: NULL, nobody cares any more. */
static void tell_when_emptied(struct tg_delivery *delivery, void (*emptied)(void *ctx))
{
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i]) {
      delivery->sinks[i]->lanes.emptied = emptied;
      delivery->sinks[i]->lanes.emptied_ctx = delivery;
    }
}

static void on_drain(uv_timer_t *timer)
{
  struct tg_delivery *delivery = timer->data;
  uint64_t left = tg_sinks_waiting(delivery);
  tg_ms now = tg_env_now(&delivery->env);
  bool goes_on = (left > 0 && !is_hopeless(delivery)) || tg_interactions_busy(&delivery->interactions);
  if (goes_on && now < delivery->drain_until) {
    tg_ms wait = delivery->drain_until - now;
    uv_timer_start(timer, on_drain, (uint64_t)(wait < DRAIN_LOOK ? wait : DRAIN_LOOK), 0);
    return;
  }
  void (*done)(void *ctx, uint64_t left) = delivery->drained;
  delivery->drained = NULL;
  tell_when_emptied(delivery, NULL);
  if (done)
    done(delivery->drained_ctx, left);
}

static void on_emptied(void *ctx)
{
  struct tg_delivery *delivery = ctx;
  uv_timer_start(&delivery->drain, on_drain, 0, 0);
}

void tg_delivery_drain(struct tg_delivery *delivery, tg_ms deadline, void (*done)(void *ctx, uint64_t left),
                       void *ctx)
{
  bool bot_down = tg_senders_up(&tg_delivery_bot(delivery)->senders) == 0;
  if (tg_feeds_have_log(&delivery->feeds) || !bot_down) /* else the next process has more use of it */
    tg_last_release(&delivery->storms.last, TG_ALL_SHARDS);
  tell_when_emptied(delivery, on_emptied);
  delivery->drained = done;
  delivery->drained_ctx = ctx;
  delivery->drain_until = tg_env_now(&delivery->env) + deadline;
  uv_timer_start(&delivery->drain, on_drain, 0, 0);
  delivery->env.draining = true;
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i])
      tg_sink_drain(delivery->sinks[i]);
}
