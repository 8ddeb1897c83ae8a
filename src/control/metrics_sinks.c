/* Metrics of each sink, from the statistics pages: what was counted of all workers together, and what a
 * worker has of its own of what bounds it. */

#include "control/metrics.h"
#include "manager/letters/letters.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Those of one worker, and their names. */
#define EACH_SINK(stats, sink, name)                                                                         \
  for (int place_ = 0; place_ < TG_STATS_SINKS; place_++)                                                    \
    for (const struct tg_stats_sink *sink =                                                                  \
             tg_stats_sink_name(stats, place_, name) ? &(stats)->sinks[place_] : NULL;                       \
         sink; sink = NULL)

static void label_share(struct tg_exposition *exposition, const char *name, int worker)
{
  tg_label(exposition, "sink", name);
  tg_label_process(exposition, worker);
}

static void write_room(struct tg_exposition *exposition, struct tg_manager *manager)
{
  char name[TG_STATS_SINK_NAME_SIZE];
  tg_family(exposition, "tidegate_queue_memory_bytes", "gauge",
            "What events that wait take of queue.memory_bytes.");
  TG_EACH_PAGE(manager, 0, worker, stats)
  EACH_SINK(stats, sink, name)
  {
    if (atomic_load(&sink->up) < 0)
      continue;
    label_share(exposition, name, worker);
    tg_sample_uint(exposition, tg_load(&sink->memory_bytes));
  }
  tg_family(exposition, "tidegate_log_bytes", "gauge",
            "What the event log takes on disk, of queue.disk_bytes.");
  TG_EACH_PAGE(manager, 0, worker, stats)
  EACH_SINK(stats, sink, name)
  {
    int64_t bytes = atomic_load(&sink->log_bytes);
    if (bytes < 0)
      continue;
    label_share(exposition, name, worker);
    tg_sample_uint(exposition, (uint64_t)bytes);
  }
}

static void write_counters(struct tg_exposition *exposition, const struct tg_sink_status *sinks, int count)
{
#define FIELD(field) offsetof(struct tg_sink_status, field)
  static const struct {
    const char *name, *help;
    size_t offset; /* of a uint64_t */
  } families[] = {
      {"tidegate_sink_delivered_total", "Events the sink has accepted.", FIELD(delivered)},
      {"tidegate_sink_retried_total", "Deliveries that failed and were tried again.", FIELD(retried)},
      {"tidegate_sink_dropped_total", "Events lost to the bounds of the sink's queue.", FIELD(dropped)},
      {"tidegate_sink_dead_total", "Events the sink has refused for good: dead letters.", FIELD(dead)},
  };
#undef FIELD
  for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
    tg_family(exposition, families[i].name, "counter", families[i].help);
    for (int k = 0; k < count; k++) {
      uint64_t value;
      memcpy(&value, (const char *)&sinks[k] + families[i].offset, sizeof value);
      tg_label(exposition, "sink", sinks[k].name);
      tg_sample_uint(exposition, value);
    }
  }
}

/* Of those that are used: nothing waits for the others. */
static void write_queues(struct tg_exposition *exposition, const struct tg_sink_status *sinks, int count)
{
  tg_family(exposition, "tidegate_sink_up", "gauge", "0 when somebody who takes the sink's events is down.");
  for (int i = 0; i < count; i++) {
    if (!sinks[i].used)
      continue;
    tg_label(exposition, "sink", sinks[i].name);
    tg_sample_uint(exposition, sinks[i].up);
  }
  tg_family(exposition, "tidegate_sink_queue_events", "gauge", "Events that wait for the sink.");
  for (int i = 0; i < count; i++) {
    if (!sinks[i].used)
      continue;
    tg_label(exposition, "sink", sinks[i].name);
    tg_sample_uint(exposition, sinks[i].queued_events);
  }
  tg_family(exposition, "tidegate_sink_queue_bytes", "gauge", "What the events that wait take.");
  for (int i = 0; i < count; i++) {
    if (!sinks[i].used)
      continue;
    tg_label(exposition, "sink", sinks[i].name);
    tg_sample_uint(exposition, sinks[i].queued_bytes);
  }
  int64_t now = tg_steady_clock();
  tg_family(exposition, "tidegate_sink_queue_oldest_seconds", "gauge",
            "How long the oldest event has waited; 0: none waits.");
  for (int i = 0; i < count; i++) {
    int64_t oldest = sinks[i].oldest_queued_at;
    if (!sinks[i].used)
      continue;
    tg_label(exposition, "sink", sinks[i].name);
    tg_sample_ms(exposition, oldest > 0 && oldest < now ? now - oldest : 0);
  }
}

static void write_latency(struct tg_exposition *exposition, const struct tg_sink_status *sinks, int count)
{
  double limits[TG_LATENCY_COUNT];
  for (int i = 0; i < TG_LATENCY_COUNT; i++)
    limits[i] = tg_latency_limits[i] / 1000.0;
  tg_family(exposition, "tidegate_delivery_latency_seconds", "histogram",
            "From the arrival of an event to its acceptance by the sink.");
  for (int i = 0; i < count; i++) {
    char label[sizeof "sink=\"\"" + TG_STATS_SINK_NAME_SIZE];
    snprintf(label, sizeof label, "sink=\"%.*s\"", TG_STATS_SINK_NAME_SIZE,
             sinks[i].name); /* needs no escapes */
    tg_histogram(exposition, label, limits, sinks[i].latency, TG_LATENCY_COUNT,
                 (double)sinks[i].milliseconds / 1000);
  }
}

static void write_letters(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_letters_status status;
  tg_letters_status(tg_gateway_letters(manager), &status);
  tg_family(exposition, "tidegate_dead_letters", "gauge", "Dead letters that are kept.");
  tg_sample_uint(exposition, status.letters);
  tg_family(exposition, "tidegate_dead_letters_bytes", "gauge", "What their files take on disk.");
  tg_sample_uint(exposition, status.bytes);
  tg_family(exposition, "tidegate_dead_letters_retried_total", "counter",
            "Dead letters that were sent again by request.");
  tg_label(exposition, "result", "delivered");
  tg_sample_uint(exposition, status.delivered);
  tg_label(exposition, "result", "refused");
  tg_sample_uint(exposition, status.refused);
  tg_label(exposition, "result", "failed");
  tg_sample_uint(exposition, status.failed);
}

void tg_metrics_sinks(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct tg_sink_status sinks[TG_STATS_SINKS];
  int count = tg_gateway_sinks(manager, sinks);
  write_counters(exposition, sinks, count);
  write_queues(exposition, sinks, count);
  write_room(exposition, manager);
  write_latency(exposition, sinks, count);
  write_letters(exposition, manager);
}
