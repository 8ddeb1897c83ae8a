#include "delivery/delivery_internal.h"

#include "base/buf.h"
#include "base/log.h"
#include "delivery/reshard/seats.h"
#include "delivery/sinks/lane_parcel.h"

#include <stdlib.h>
#include <string.h>

enum { DRAIN_LOOK = 100 /* ms */ };

/* --- memory and reports ------------------------------------------------------ */

static void free_all(void *ctx)
{
  struct tg_delivery *delivery = ctx;
  tg_lanes_free(&delivery->lanes);
  tg_feeds_free(&delivery->feeds);
  tg_senders_free(&delivery->senders);
  tg_guilds_free(delivery);
  tg_message_cache_free(delivery->messages);
  free(delivery);
}

static void report_waiting(const struct tg_delivery *delivery)
{
  uint64_t delivered = 0, retried = 0, dropped = 0, dead = 0;
  int64_t oldest = 0;
  if (tg_lanes_waiting(&delivery->lanes) == 0)
    return;
  for (int i = 0; i < delivery->lanes.count; i++) {
    if (!delivery->lanes.at[i])
      continue;
    struct tg_shard_row *row = delivery->lanes.at[i]->feed->row;
    int64_t since = atomic_load(&row->oldest_queued_at);
    if (since != 0 && (oldest == 0 || since < oldest))
      oldest = since;
    delivered += atomic_load(&row->delivered);
    retried += atomic_load(&row->retried);
    dropped += atomic_load(&row->dropped);
    dead += atomic_load(&row->dead);
  }
  uint64_t bytes = delivery->lanes.queued.bytes + delivery->lanes.spilled.bytes;
  tg_log_with(TG_INFO, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(EVENTS, tg_lanes_waiting(&delivery->lanes)), TG_NUMBER(BYTES, bytes),
                      TG_NUMBER(DURATION, oldest ? tg_steady_clock() - oldest : 0)),
              "events wait for the event handler; so far %llu are delivered, %llu were sent again, %llu "
              "dropped, %llu dead letters",
              (unsigned long long)delivered, (unsigned long long)retried, (unsigned long long)dropped,
              (unsigned long long)dead);
}

static void on_report(uv_timer_t *timer)
{
  struct tg_delivery *delivery = timer->data;
  tg_overflow_report(&delivery->lanes);
  tg_overflow_expire(&delivery->lanes);
  tg_interactions_report(&delivery->interactions);
  for (int i = 0; i < delivery->senders.count; i++)
    tg_refusals_report(delivery->senders.at[i]);
  tg_backlog_tend(&delivery->lanes);
  report_waiting(delivery);
}

bool tg_delivery_open_log(struct tg_delivery *delivery, bool (*wanted)(void *ctx, tg_shard_ref ref),
                          uint64_t stamp, bool moved, struct tg_error *error)
{
  return tg_backlog_open(&delivery->lanes, wanted, delivery->ctx, stamp, moved, error);
}

void tg_delivery_ignore_logs(const struct tg_delivery *delivery)
{
  tg_backlog_ignore(&delivery->lanes);
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

static bool has_delivered(void *ctx, tg_shard_ref ref)
{
  return tg_skip_files_have_ruled(ctx, ref);
}

void tg_delivery_end_strays(struct tg_delivery *delivery)
{
  for (int side = 0; side < TG_SIDES; side++)
    if (!delivery->feeds.tables[side])
      tg_lanes_end_strays(&delivery->lanes, side, has_delivered, delivery->env.config->state_dir);
  tg_feeds_unshut(&delivery->feeds);
}

bool tg_delivery_side_waits(const struct tg_delivery *delivery, int side, uint64_t epoch)
{
  return tg_lanes_side_waits(&delivery->lanes, side, epoch);
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
  delivery->ctx = options->ctx;
  delivery->feeds.env = env;
  delivery->lanes = (struct tg_lanes){
      .env = env, .feeds = &delivery->feeds, .sink = &tg_senders_sink, .sink_ctx = &delivery->senders};
  delivery->senders = (struct tg_senders){.env = env,
                                          .lanes = &delivery->lanes,
                                          .http = options->http,
                                          .tell = options->tell,
                                          .ctx = options->ctx};
  delivery->lanes.stats = tg_stats_sink("bot");
  delivery->feeds.shut = options->seats_follow;
  delivery->feeds.totals[options->side] = options->total_shards;
  tg_delivery_add_side(delivery, options->side, options->table, options->identity);
  tg_handles_init(&env->handles, options->loop, free_all, delivery);
  tg_handles_timer(&env->handles, &delivery->report, delivery);
  tg_handles_timer(&env->handles, &delivery->drain, delivery);
  tg_feeds_add_sink(&delivery->feeds, &delivery->lanes);
  tg_senders_begin(&delivery->senders);
  tg_interactions_begin(&delivery->interactions, &delivery->lanes, &delivery->senders);
  uint64_t interval = (uint64_t)tg_patience(TG_REPORT_INTERVAL);
  uv_timer_start(&delivery->report, on_report, interval, interval);
  uv_unref((uv_handle_t *)&delivery->report);
  tg_delivery_reconfigure(delivery, options->config);
  return delivery;
}

void tg_delivery_free(struct tg_delivery *delivery)
{
  if (!delivery || delivery->env.stopping)
    return;
  delivery->env.stopping = true;
  tg_seats_end(delivery);
  tg_overflow_report(&delivery->lanes);
  tg_interactions_report(&delivery->interactions);
  tg_interactions_end(&delivery->interactions);
  tg_senders_end(&delivery->senders);
  tg_guilds_end(delivery);
  tg_lanes_end(&delivery->lanes);
  tg_handles_close(&delivery->env.handles, &delivery->report);
  tg_handles_close(&delivery->env.handles, &delivery->drain);
  tg_handles_end(&delivery->env.handles);
}

/* --- events that nobody takes ----------------------------------------------------- */

static bool script_takes(const struct tg_delivery *delivery, uint16_t type)
{
  return (delivery->env.hooks->want[type] & TG_WANT_HANDLER) ||
         tg_hooked(delivery->env.hooks, TG_METHOD_delivery_handle_discord_payload);
}

static bool nobody_takes(const struct tg_delivery *delivery)
{
  bool taken = delivery->senders.count > 0 || delivery->env.hooks->away;
  for (int type = 0; type < TG_WANT_SIZE && !taken; type++)
    taken = script_takes(delivery, (uint16_t)type);
  return !taken;
}

/* The first worker speaks for all. */
static void look_for_takers(struct tg_delivery *delivery)
{
  bool before = delivery->nobody_takes;
  delivery->nobody_takes = nobody_takes(delivery);
  if (delivery->nobody_takes && !before && delivery->env.worker_id == 0)
    tg_log(
        TG_WARN, TG_NO_SHARD,
        "events go nowhere: there are no event_handler.urls (EVENT_HANDLER_URL), and no script takes events "
        "(gateway.on, or an override of gateway.delivery's deliver, handle_queue or handle_discord_payload)");
}

/* Those that Discord adds, and that nobody has named, are among them. */
static void leave_out(struct tg_delivery *delivery)
{
  const struct tg_config *config = delivery->env.config;
  const struct tg_strings *events = &config->event_handler.events;
  bool all = tg_config_wants_all_events(config);
  memset(delivery->unhandled, !all, sizeof delivery->unhandled);
  for (int i = 0; i < events->count && !all; i++)
    delivery->unhandled[tg_event_type(events->items[i], strlen(events->items[i]))] = false;
}

void tg_delivery_reconfigure(struct tg_delivery *delivery, const struct tg_config *config)
{
  delivery->env.config = config;
  delivery->lanes.handler = &config->event_handler;
  delivery->lanes.limits = &config->queue;
  leave_out(delivery);
  tg_lanes_reconfigure(&delivery->lanes);
  tg_senders_reconfigure(&delivery->senders);
  look_for_takers(delivery);
}

void tg_delivery_hear(struct tg_delivery *delivery, const char *url, bool up, tg_ms asked)
{
  for (int i = 0; i < delivery->senders.count; i++) {
    struct tg_sender *sender = delivery->senders.at[i];
    if (sender->url && strcmp(sender->url, url) == 0)
      tg_sender_hear(sender, up, asked);
  }
}

/* --- sessions ------------------------------------------------------------------- */

void tg_delivery_enqueue(struct tg_delivery *delivery, const struct tg_event *event)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, tg_event_ref(event));
  struct tg_lane *lane = feed->lanes[0];
  if (!lane->sender && tg_senders_scripted(&delivery->senders)) /* since a moment ago */
    tg_delivery_reconfigure(delivery, delivery->env.config);
  if (lane->sender && __builtin_expect(delivery->unhandled[event->type], 0)) {
    tg_count(&feed->row->filtered);
    tg_count(&tg_stats_type(event->type)->filtered);
  } else if (lane->sender) {
    tg_feed_push(feed, event);
  } else if (script_takes(delivery, event->type)) {
    tg_lane_count(lane, delivered, 1);
    tg_count(&tg_stats_type(event->type)->delivered);
  }
}

void tg_delivery_publish(const struct tg_delivery *delivery)
{
  tg_lanes_publish(&delivery->lanes, tg_senders_up(&delivery->senders));
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
  if (delivers && feed->session.epoch > 0 && epoch > feed->session.epoch) {
    struct tg_gap lost = {.epoch = feed->session.epoch,
                          .from = feed->session.received > 0 ? feed->session.received + 1 : 0,
                          .reason = "session_lost"};
    tg_feed_missed(feed, &lost);
  }
  tg_feed_set_session(feed, epoch, 0);
  if (feed->seat)
    tg_seat_session(feed, true, 0);
  tg_guilds_new_session(tg_guilds_of(delivery, ref));
  tg_feed_publish(feed);
}

void tg_delivery_adopt_session(struct tg_delivery *delivery, tg_shard_ref ref, uint64_t epoch,
                               uint64_t settled)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  if (feed->seat && feed->session.epoch == epoch && epoch > 0)
    return; /* with all of its class, before */
  tg_feed_adopt(feed, epoch, settled, !feed->seat || tg_seat_rules(feed));
  tg_guilds_adopt(tg_guilds_of(delivery, ref), epoch);
  if (atomic_load(&feed->row->handled_epoch) == epoch)
    feed->session.handled = atomic_load(&feed->row->handled_sequence);
  tg_feed_publish(feed);
  tg_feed_told(feed); /* the row says from where on Discord is asked again */
}

/* --- the end ---------------------------------------------------------------------- */

/* With a log nothing is lost by not waiting for a handler that is down. */
static bool is_hopeless(const struct tg_delivery *delivery)
{
  bool hope = delivery->lanes.logs.own == NULL;
  for (int i = 0; i < delivery->senders.count && !hope; i++)
    hope = delivery->senders.at[i]->circuit.state == TG_CIRCUIT_CLOSED;
  return !hope;
}

static void on_drain(uv_timer_t *timer)
{
  struct tg_delivery *delivery = timer->data;
  uint64_t left = tg_lanes_waiting(&delivery->lanes);
  tg_ms now = tg_env_now(&delivery->env);
  bool goes_on = (left > 0 && tg_lanes_may_go(&delivery->lanes) > 0 && !is_hopeless(delivery)) ||
                 tg_interactions_busy(&delivery->interactions);
  if (goes_on && now < delivery->drain_until) {
    tg_ms wait = delivery->drain_until - now;
    uv_timer_start(timer, on_drain, (uint64_t)(wait < DRAIN_LOOK ? wait : DRAIN_LOOK), 0);
    return;
  }
  void (*done)(void *ctx, uint64_t left) = delivery->drained;
  delivery->drained = NULL;
  delivery->lanes.emptied = NULL;
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
  delivery->lanes.emptied = on_emptied;
  delivery->lanes.emptied_ctx = delivery;
  delivery->drained = done;
  delivery->drained_ctx = ctx;
  delivery->drain_until = tg_env_now(&delivery->env) + deadline;
  uv_timer_start(&delivery->drain, on_drain, 0, 0);
}
