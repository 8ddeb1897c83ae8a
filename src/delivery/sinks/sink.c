#include "delivery/sinks/sink.h"

#include "base/buf.h"
#include "base/log.h"
#include "config/handler_rules.h"
#include "delivery/sinks/lane_parcel.h"

#include <stdlib.h>
#include <string.h>

/* --- nobody watches over single events, but the bot's ----------------------------- */

static void arrived(struct tg_lane *lane, const struct tg_event *event, tg_log_position position)
{
  (void)lane, (void)event, (void)position;
}

static void opened(struct tg_lanes *lanes)
{
  (void)lanes;
}

static bool is_over(struct tg_lane *lane, const struct tg_log_record *record, struct tg_span message)
{
  (void)lane, (void)record, (void)message;
  return false;
}

static void read_back(struct tg_lane *lane, struct tg_queued *event, uint8_t marks)
{
  (void)lane, (void)event, (void)marks;
}

static void of_event(struct tg_queued *event)
{
  (void)event;
}

static void of_lane(struct tg_lane *lane)
{
  (void)lane;
}

static bool has_turn(struct tg_lane *lane, struct tg_queued *event)
{
  (void)lane, (void)event;
  return false;
}

static bool busy(const struct tg_lane *lane)
{
  (void)lane;
  return false;
}

static void leaves_source(struct tg_lane *lane, const struct tg_log_source *source)
{
  (void)lane, (void)source;
}

static const struct tg_lane_watch nobody = {
    .arrived = arrived,
    .opened = opened,
    .is_over = is_over,
    .read_back = read_back,
    .logged = of_event,
    .unloaded = of_event,
    .has_turn = has_turn,
    .gone = of_event,
    .busy = busy,
    .stopped = of_lane,
    .leaves = of_lane,
    .leaves_source = leaves_source,
};

/* --- life ----------------------------------------------------------------------------- */

static void free_sink(void *ctx)
{
  struct tg_sink *sink = ctx;
  tg_lanes_free(&sink->lanes);
  tg_senders_free(&sink->senders);
  free(sink->name);
  free(sink->title);
  free(sink);
}

static char *title_of(int index, const char *name)
{
  struct tg_buf title = {0};
  if (index == TG_SINK_BOT)
    tg_buf_puts(&title, "the event handler");
  else
    tg_buf_printf(&title, "the sink \"%s\"", name);
  return tg_buf_take(&title);
}

static char *directory_of(int index, const char *state_dir, const char *name)
{
  struct tg_buf directory = {0};
  if (!state_dir)
    return NULL;
  if (index == TG_SINK_BOT)
    tg_buf_printf(&directory, "%s/log", state_dir);
  else
    tg_buf_printf(&directory, "%s/sinks/%s", state_dir, name);
  return tg_buf_take(&directory);
}

struct tg_sink *tg_sink_new(const struct tg_sink_options *options)
{
  struct tg_sink *sink = tg_calloc(1, sizeof *sink);
  sink->env = *options->env;
  sink->name = tg_strdup(options->name);
  sink->title = title_of(options->index, options->name);
  tg_handles_init(&sink->env.handles, options->env->loop, free_sink, sink);
  sink->lanes = (struct tg_lanes){
      .env = &sink->env,
      .feeds = options->feeds,
      .index = options->index,
      .name = sink->name,
      .title = sink->title,
      .directory = directory_of(options->index, options->env->config->state_dir, options->name),
      .stats = tg_stats_sink(options->name),
      .sink = &tg_senders_sink,
      .sink_ctx = &sink->senders,
      .watch = &nobody,
  };
  sink->senders = (struct tg_senders){.env = &sink->env,
                                      .lanes = &sink->lanes,
                                      .http = options->http,
                                      .tell = options->tell,
                                      .ctx = options->ctx};
  tg_senders_begin(&sink->senders);
  return sink;
}

/* Those that Discord adds, and that nobody has named, are among them. */
static void leave_out(struct tg_sink *sink, const struct tg_handler_config *handler)
{
  const struct tg_strings *events = &handler->events;
  bool all = tg_handler_takes_all(handler);
  memset(sink->lanes.unwanted, !all, sizeof sink->lanes.unwanted);
  for (int i = 0; i < events->count && !all; i++)
    sink->lanes.unwanted[tg_event_type(events->items[i], strlen(events->items[i]))] = false;
}

void tg_sink_configure(struct tg_sink *sink, const struct tg_config *config,
                       const struct tg_handler_config *handler, const struct tg_queue_config *limits,
                       const struct tg_redis_config *redis)
{
  sink->env.config = config;
  sink->lanes.handler = handler;
  sink->lanes.limits = limits;
  sink->lanes.redis = redis;
  sink->last_handler = (struct tg_handler_config){.timeout = handler->timeout, .markers = handler->markers};
  sink->last_limits = *limits;
  sink->last_limits.drop_first = (struct tg_strings){0};
  leave_out(sink, handler);
  tg_lanes_reconfigure(&sink->lanes);
  tg_senders_reconfigure(&sink->senders);
}

void tg_sink_unconfigure(struct tg_sink *sink)
{
  sink->lanes.handler = &sink->last_handler;
  sink->lanes.limits = &sink->last_limits;
  sink->lanes.redis = NULL;
}

void tg_sink_drain(struct tg_sink *sink)
{
  sink->env.draining = true;
  tg_lanes_let_go(&sink->lanes);
}

void tg_sink_end(struct tg_sink *sink)
{
  sink->env.stopping = true;
  tg_overflow_report(&sink->lanes);
  tg_stats_clear_sink(sink->lanes.stats);
  tg_senders_end(&sink->senders);
  tg_lanes_end(&sink->lanes);
  tg_handles_end(&sink->env.handles);
}

/* --- figures ---------------------------------------------------------------------------- */

static void report_waiting(const struct tg_sink *sink)
{
  const struct tg_stats_sink *stats = sink->lanes.stats;
  if (tg_lanes_waiting(&sink->lanes) == 0)
    return;
  int64_t since = atomic_load(&stats->oldest_queued_at); /* as of the last beat */
  uint64_t bytes = sink->lanes.queued.bytes + sink->lanes.spilled.bytes;
  tg_log_with(TG_INFO, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(EVENTS, tg_lanes_waiting(&sink->lanes)), TG_NUMBER(BYTES, bytes),
                      TG_NUMBER(DURATION, since ? tg_steady_clock() - since : 0)),
              "events wait for %s; so far %llu are delivered, %llu were sent again, %llu "
              "dropped, %llu dead letters",
              sink->title, (unsigned long long)atomic_load(&stats->delivered),
              (unsigned long long)atomic_load(&stats->retried),
              (unsigned long long)atomic_load(&stats->dropped),
              (unsigned long long)atomic_load(&stats->dead));
}

void tg_sink_report(struct tg_sink *sink)
{
  tg_overflow_report(&sink->lanes);
  tg_overflow_expire(&sink->lanes);
  for (int i = 0; i < sink->senders.count; i++)
    tg_refusals_report(sink->senders.at[i]);
  tg_backlog_tend(&sink->lanes);
  report_waiting(sink);
}

bool tg_sink_has_hope(const struct tg_sink *sink)
{
  bool is_lost = sink->lanes.limits->durability == TG_DURABILITY_MEMORY;
  if (tg_lanes_may_go(&sink->lanes) == 0)
    return false;
  for (int i = 0; i < sink->senders.count && !is_lost; i++)
    is_lost = sink->senders.at[i]->circuit.state == TG_CIRCUIT_CLOSED;
  return is_lost;
}
