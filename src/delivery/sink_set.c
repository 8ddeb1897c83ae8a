#include "delivery/delivery_internal.h"

#include "base/buf.h"
#include "base/log.h"
#include "delivery/reshard/skip_file.h"

#include <string.h>

/* Which sinks there are. One that is configured as before keeps its lanes, its log and its circuits over a
 * reload; one that comes gets what comes from then on; what one that goes has in its log stays there. */

struct tg_sink *tg_sinks_find(const struct tg_delivery *delivery, const char *name)
{
  for (int i = TG_SINK_BOT + 1; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i] && strcmp(delivery->sinks[i]->name, name) == 0)
      return delivery->sinks[i];
  return NULL;
}

static struct tg_sink *make(struct tg_delivery *delivery, int index, const char *name)
{
  const struct tg_sink_options options = {
      .env = &delivery->env,
      .feeds = &delivery->feeds,
      .index = index,
      .name = name,
      .http = delivery->http,
      .tell = delivery->tell,
      .ctx = delivery->ctx,
  };
  return delivery->sinks[index] = tg_sink_new(&options);
}

/* What no log has is lost with it. */
static void remove_sink(struct tg_delivery *delivery, int index)
{
  struct tg_sink *sink = delivery->sinks[index];
  uint64_t waiting = tg_lanes_waiting(&sink->lanes);
  bool kept = sink->lanes.logs.own && !sink->lanes.logs.refuses;
  tg_sink_unconfigure(sink);
  delivery->sinks[index] = NULL;
  tg_feeds_remove_sink(&delivery->feeds, &sink->lanes);
  if (waiting > 0)
    tg_log_with(kept ? TG_INFO : TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(EVENTS, waiting)),
                "%s is not configured any more: what waits for it %s", sink->title,
                kept ? "stays in its event log" : "is lost");
  for (int i = 0; i < sink->lanes.count && !kept; i++)
    if (sink->lanes.at[i])
      tg_lane_count(sink->lanes.at[i], dropped, tg_lane_waiting(sink->lanes.at[i]));
  tg_sink_end(sink);
}

/* It cannot be waited for without the sessions being lost. */
static void open_log(struct tg_delivery *delivery, struct tg_sink *sink)
{
  struct tg_error error = {0};
  struct tg_log_opening how = delivery->opening;
  how.moved = true; /* the bot may have gone over to other shards while the sink was away */
  if (!tg_backlog_open(&sink->lanes, &how, &error))
    tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_TEXT(REASON, error.message)),
                "the event log of %s cannot be opened: what waits for it is kept in memory alone until the "
                "next start",
                sink->title);
}

static bool has_delivered(void *ctx, tg_shard_ref ref)
{
  return tg_skip_files_have_ruled(ctx, ref);
}

/* A sink that was away may have missed the whole change, and the files that tell who ruled in it are gone. */
static bool may_have_delivered(void *ctx, tg_shard_ref ref)
{
  (void)ctx, (void)ref;
  return true;
}

void tg_sinks_end_strays(struct tg_delivery *delivery, struct tg_sink *sink)
{
  bool of_bot = sink == tg_delivery_bot(delivery);
  for (int side = 0; side < TG_SIDES; side++)
    if (!delivery->feeds.tables[side])
      tg_lanes_end_strays(&sink->lanes, side, of_bot ? has_delivered : may_have_delivered,
                          delivery->env.config->state_dir);
}

static void add_sink(struct tg_delivery *delivery, const struct tg_sink_config *of)
{
  int index = TG_SINK_BOT + 1;
  while (index < TG_SINKS_MAX && delivery->sinks[index])
    index++;
  if (index == TG_SINKS_MAX)
    return; /* the configuration lets no more pass */
  struct tg_sink *sink = make(delivery, index, of->name);
  tg_sink_configure(sink, delivery->env.config, &of->handler, &of->queue, &of->redis);
  tg_feeds_add_sink(&delivery->feeds, &sink->lanes);
  if (!delivery->opening.done || of->queue.durability != TG_DURABILITY_LOG)
    return;
  open_log(delivery, sink);
  if (delivery->feeds.clustered)
    tg_delivery_leave_lost(delivery);
  else if (!delivery->feeds.shut)
    tg_sinks_end_strays(delivery, sink);
}

void tg_sinks_reconfigure(struct tg_delivery *delivery)
{
  const struct tg_config *config = delivery->env.config;
  if (!tg_delivery_bot(delivery)) {
    make(delivery, TG_SINK_BOT, "bot");
    tg_feeds_add_sink(&delivery->feeds, &tg_delivery_bot(delivery)->lanes);
  }
  for (int i = TG_SINK_BOT + 1; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i] && !tg_config_sink(config, delivery->sinks[i]->name))
      remove_sink(delivery, i);
  tg_sink_configure(tg_delivery_bot(delivery), config, &config->event_handler, &config->queue, NULL);
  for (int i = 0; i < config->sink_count; i++) {
    const struct tg_sink_config *of = &config->sinks[i];
    struct tg_sink *sink = tg_sinks_find(delivery, of->name);
    if (sink)
      tg_sink_configure(sink, config, &of->handler, &of->queue, &of->redis);
    else
      add_sink(delivery, of);
  }
}

void tg_sinks_tell_untaken(struct tg_delivery *delivery)
{
  for (int i = TG_SINK_BOT + 1; i < TG_SINKS_MAX; i++) {
    struct tg_sink *sink = delivery->sinks[i];
    if (!sink)
      continue;
    bool untaken = !tg_sink_is_taken(sink);
    if (untaken && !sink->is_untaken && delivery->env.worker_id == 0)
      tg_log(
          TG_WARN, TG_NO_SHARD,
          "events for %s go nowhere: sinks.%s has no url, and the script has no gateway.sink(\"%s\").deliver",
          sink->title, sink->name, sink->name);
    sink->is_untaken = untaken;
  }
}

bool tg_sinks_are_taken(const struct tg_delivery *delivery)
{
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i] && tg_sink_is_taken(delivery->sinks[i]))
      return true;
  return false;
}

uint64_t tg_sinks_waiting(const struct tg_delivery *delivery)
{
  uint64_t waiting = 0;
  for (int i = 0; i < TG_SINKS_MAX; i++)
    if (delivery->sinks[i])
      waiting += tg_lanes_waiting(&delivery->sinks[i]->lanes);
  return waiting;
}

/* --- their logs --------------------------------------------------------------------- */

bool tg_delivery_open_logs(struct tg_delivery *delivery, bool (*wanted)(void *ctx, tg_shard_ref ref),
                           uint64_t stamp, bool moved, struct tg_error *error)
{
  delivery->opening = (struct tg_log_opening){
      .wanted = wanted, .ctx = delivery->ctx, .stamp = stamp, .moved = moved, .done = true};
  for (int i = 0; i < TG_SINKS_MAX; i++) {
    struct tg_sink *sink = delivery->sinks[i];
    if (!sink)
      continue;
    if (sink->lanes.limits->durability != TG_DURABILITY_LOG) {
      if (delivery->env.worker_id == 0)
        tg_backlog_ignore(&sink->lanes);
      continue;
    }
    if (!tg_backlog_open(&sink->lanes, &delivery->opening, error))
      return false;
  }
  tg_ms max_age = tg_delivery_bot(delivery)->lanes.limits->max_age;
  tg_ms since = max_age > 0 ? tg_steady_clock() - max_age : 0;
  tg_last_find(&delivery->storms.last, since, wanted, delivery->ctx);
  return true;
}
