#include "delivery/delivery_internal.h"
#include "delivery/sinks/lane_parcel.h"

#include "base/buf.h"
#include "base/log.h"
#include "proto/intents.h"

#include <stdlib.h>
#include <string.h>

/* --- memory and reports ------------------------------------------------------ */

static void free_all(void *ctx)
{
  struct tg_delivery *delivery = ctx;
  for (int i = 0; i < delivery->lane_count; i++)
    if (delivery->lanes[i])
      tg_lane_free(delivery->lanes[i]);
  free(delivery->lanes);
  tg_senders_free(&delivery->senders);
  free(delivery->spare_row);
  tg_message_cache_free(delivery->messages);
  free(delivery);
}

static void report_waiting(const struct tg_delivery *delivery)
{
  uint64_t delivered = 0, retried = 0, dropped = 0, dead = 0;
  int64_t oldest = 0;
  if (tg_delivery_waiting(delivery) == 0)
    return;
  for (int i = 0; i < delivery->lane_count; i++) {
    if (!delivery->lanes[i])
      continue;
    struct tg_shard_row *row = delivery->lanes[i]->row;
    int64_t since = atomic_load(&row->oldest_queued_at);
    if (since != 0 && (oldest == 0 || since < oldest))
      oldest = since;
    delivered += atomic_load(&row->delivered);
    retried += atomic_load(&row->retried);
    dropped += atomic_load(&row->dropped);
    dead += atomic_load(&row->dead);
  }
  uint64_t bytes = delivery->queued.bytes + delivery->spilled.bytes;
  tg_log_with(TG_INFO, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(EVENTS, tg_delivery_waiting(delivery)), TG_NUMBER(BYTES, bytes),
                      TG_NUMBER(DURATION, oldest ? tg_steady_clock() - oldest : 0)),
              "events wait for the event handler; so far %llu are delivered, %llu were sent again, %llu "
              "dropped, %llu dead letters",
              (unsigned long long)delivered, (unsigned long long)retried, (unsigned long long)dropped,
              (unsigned long long)dead);
}

static void on_report(uv_timer_t *timer)
{
  struct tg_delivery *delivery = timer->data;
  tg_overflow_report(delivery);
  tg_overflow_expire(delivery);
  tg_interactions_report(delivery);
  for (int i = 0; i < delivery->senders.count; i++)
    tg_refusals_report(delivery->senders.at[i]);
  tg_backlog_tend(delivery);
  report_waiting(delivery);
}

bool tg_delivery_open_log(struct tg_delivery *delivery, bool (*wanted)(void *ctx, int shard_id),
                          uint64_t stamp, struct tg_error *error)
{
  return tg_backlog_open(delivery, wanted, stamp, error);
}

bool tg_delivery_has_log(const struct tg_delivery *delivery)
{
  return delivery->own != NULL;
}

struct tg_delivery *tg_delivery_new(const struct tg_delivery_options *options)
{
  struct tg_delivery *delivery = tg_calloc(1, sizeof *delivery);
  delivery->env.loop = options->loop;
  delivery->env.hooks = options->hooks;
  delivery->table = options->table;
  delivery->env.worker_id = options->worker_id;
  delivery->find_shard = options->find_shard;
  delivery->ctx = options->ctx;
  delivery->sink = &tg_senders_sink;
  delivery->senders = (struct tg_senders){.env = &delivery->env,
                                          .delivery = delivery,
                                          .http = options->http,
                                          .tell = options->tell,
                                          .ctx = options->ctx};
  if (options->identity)
    tg_guild_store_open(&delivery->guilds, options->config->state_dir, options->identity);
  if (options->identity && options->worker_id == 0)
    tg_guild_store_sweep(&delivery->guilds, tg_shard_table_total(options->table));
  tg_handles_init(&delivery->env.handles, options->loop, free_all, delivery);
  tg_handles_timer(&delivery->env.handles, &delivery->report, delivery);
  tg_handles_timer(&delivery->env.handles, &delivery->drain, delivery);
  tg_senders_begin(&delivery->senders);
  tg_interactions_begin(delivery);
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
  tg_overflow_report(delivery);
  tg_interactions_report(delivery);
  tg_interactions_end(delivery);
  for (int i = 0; i < delivery->lane_count; i++) {
    struct tg_lane *lane = delivery->lanes[i];
    if (!lane)
      continue;
    if (lane->parcel.sender)
      tg_sender_withdraw(&lane->parcel);
    tg_handles_close(&delivery->env.handles, &lane->retry);
    tg_handles_close(&delivery->env.handles, &lane->quiet);
  }
  tg_guild_store_close(&delivery->guilds);
  tg_backlog_close(delivery);
  tg_senders_end(&delivery->senders);
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

void tg_delivery_reconfigure(struct tg_delivery *delivery, const struct tg_config *config)
{
  delivery->env.config = config;
  memset(delivery->drop_first, 0, sizeof delivery->drop_first);
  for (int i = 0; i < config->queue.drop_first.count; i++) {
    const char *name = config->queue.drop_first.items[i];
    delivery->drop_first[tg_event_type(name, strlen(name))] = true;
  }
  tg_backlog_reconfigure(delivery);
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
  struct tg_lane *lane = tg_lane_of(delivery, event->shard_id);
  if (!lane->sender && tg_senders_scripted(&delivery->senders)) /* since a moment ago */
    tg_delivery_reconfigure(delivery, delivery->env.config);
  if (lane->sender) {
    tg_lane_push(lane, event);
  } else if (script_takes(delivery, event->type)) {
    tg_count(&lane->row->delivered);
    tg_count(&tg_stats_type(event->type)->delivered);
  }
}

void tg_delivery_publish(const struct tg_delivery *delivery)
{
  int64_t bytes = 0;
  for (const struct tg_source *source = delivery->sources; source; source = source->next) {
    struct tg_log_figures left = {.bytes = 0}; /* of a log that others may read, too: its own share */
    if (source != delivery->own)
      tg_event_log_figures(source->log, &left);
    bytes += (int64_t)(source == delivery->own ? tg_event_log_disk(source->log) : left.bytes);
  }
  struct tg_stats *stats = tg_stats();
  atomic_store_explicit(&stats->log_bytes, delivery->own ? bytes : -1, memory_order_relaxed);
  atomic_store_explicit(&stats->memory_bytes, delivery->queued.bytes, memory_order_relaxed);
}

uint64_t tg_delivery_settled(struct tg_delivery *delivery, int shard_id)
{
  return tg_lane_settled(tg_lane_of(delivery, shard_id));
}

bool tg_delivery_durable(struct tg_delivery *delivery, int shard_id, uint64_t *sequence)
{
  if (!delivery->own)
    return false;
  struct tg_lane *lane = tg_lane_of(delivery, shard_id);
  bool in_memory = lane->first_unlogged || delivery->log_alarmed_at != 0;
  uint64_t safe = in_memory ? lane->received : lane->durable;
  if (safe > lane->announced)
    lane->announced = safe;
  *sequence = lane->announced;
  return true;
}

void tg_delivery_new_session(struct tg_delivery *delivery, int shard_id, uint64_t epoch)
{
  struct tg_lane *lane = tg_lane_of(delivery, shard_id);
  if (lane->epoch > 0 && epoch > lane->epoch) {
    struct tg_gap lost = {
        .epoch = lane->epoch, .from = lane->received > 0 ? lane->received + 1 : 0, .reason = "session_lost"};
    tg_lane_missed(lane, &lost);
  }
  tg_lane_set_session(lane, epoch, 0);
  tg_guild_cache_free(&lane->guilds);
  lane->guilds_loading = false;
  uv_timer_stop(&lane->quiet);
  tg_lane_publish(lane);
}

void tg_delivery_adopt_session(struct tg_delivery *delivery, int shard_id, uint64_t epoch, uint64_t settled)
{
  struct tg_lane *lane = tg_lane_of(delivery, shard_id);
  if (delivery->own)
    settled = tg_lane_heal(lane, epoch, settled);
  tg_lane_set_session(lane, epoch, settled);
  tg_guild_cache_adopt(&lane->guilds, epoch);
  lane->guilds_loading = tg_guild_cache_starting(&lane->guilds);
  if (atomic_load(&lane->row->handled_epoch) == epoch)
    lane->handled = atomic_load(&lane->row->handled_sequence);
  tg_lane_publish(lane);
  if (delivery->own)
    tg_lane_told(lane); /* the row says from where on Discord is asked again */
  delivery->source_done = true;
}

/* --- the end ---------------------------------------------------------------------- */

/* With a log nothing is lost by not waiting for a handler that is down. */
static bool is_hopeless(const struct tg_delivery *delivery)
{
  bool hope = delivery->own == NULL;
  for (int i = 0; i < delivery->senders.count && !hope; i++)
    hope = delivery->senders.at[i]->circuit.state == TG_CIRCUIT_CLOSED;
  return !hope;
}

static void on_drain(uv_timer_t *timer)
{
  struct tg_delivery *delivery = timer->data;
  uint64_t left = tg_delivery_waiting(delivery);
  tg_ms now = tg_env_now(&delivery->env);
  bool goes_on = (left > 0 && !is_hopeless(delivery)) || tg_interactions_busy(delivery);
  if (goes_on && now < delivery->drain_until) {
    tg_ms wait = delivery->drain_until - now;
    uv_timer_start(timer, on_drain, (uint64_t)(wait < TG_DRAIN_LOOK ? wait : TG_DRAIN_LOOK), 0);
    return;
  }
  void (*done)(void *ctx, uint64_t left) = delivery->drained;
  delivery->drained = NULL;
  if (done)
    done(delivery->drained_ctx, left);
}

void tg_delivery_drain(struct tg_delivery *delivery, tg_ms deadline, void (*done)(void *ctx, uint64_t left),
                       void *ctx)
{
  delivery->drained = done;
  delivery->drained_ctx = ctx;
  delivery->drain_until = tg_env_now(&delivery->env) + deadline;
  uv_timer_start(&delivery->drain, on_drain, 0, 0);
}
