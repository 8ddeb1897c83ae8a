#include "manager/workers/figures.h"

#include "base/buf.h"
#include "manager/workers/workers_impl.h"
#include "shared/loop_lag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BEAT = 1000 /* ms: a worker that is well says so at least so often */ };

const struct tg_stats *tg_workers_stats(const struct tg_workers *workers, int worker)
{
  return worker == TG_MANAGER_ITSELF ? tg_stats() : workers->list[worker].stats;
}

/* ---- what the kernel says ---- */

/* /proc is no way to know: workers keep what is in it from their own user, too. */
static bool cpu_of(int pid, uint64_t *ms)
{
  clockid_t clock;
  struct timespec used;
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
    return false;
  *ms = (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
  return true;
}

static void look_at(struct tg_process_usage *usage, int pid, const struct tg_stats *stats)
{
  uint64_t cpu;
  if (pid <= 0)
    return; /* there is none; what it has used stays */
  if (cpu_of(pid, &cpu))
    usage->cpu = usage->cpu_earlier + cpu;
  if (stats)
    usage->memory = atomic_load(&stats->resident);
}

static void look_at_manager(struct tg_workers *workers)
{
  tg_stats_note_memory();
  look_at(&workers->usage, getpid(), tg_stats());
}

static void look_at_worker(struct tg_managed_worker *worker)
{
  look_at(&worker->usage, worker->process ? tg_child_pid(worker->process) : 0, worker->stats);
}

void tg_workers_usage(struct tg_workers *workers, int worker, struct tg_process_usage *usage)
{
  if (worker == TG_MANAGER_ITSELF)
    look_at_manager(workers);
  else
    look_at_worker(&workers->list[worker]);
  *usage = worker == TG_MANAGER_ITSELF ? workers->usage : workers->list[worker].usage;
}

/* ---- what the workers say ---- */

static struct tg_handler_status *entry_of(struct tg_handler_status *list, int *count, int max,
                                          const char *url)
{
  for (int i = 0; i < *count && i < max; i++)
    if (strcmp(list[i].url, url) == 0)
      return &list[i];
  if ((*count)++ >= max)
    return NULL;
  struct tg_handler_status *entry = &list[*count - 1];
  memset(entry, 0, sizeof *entry);
  snprintf(entry->url, sizeof entry->url, "%s", url);
  return entry;
}

/* Down since the first worker says so, up since the last one does. */
static void add_handler(struct tg_handler_status *entry, const struct tg_stats_handler *handler)
{
  bool down = atomic_load(&handler->down) > 0;
  int64_t since = atomic_load(&handler->since);
  entry->in_flight += atomic_load(&handler->in_flight);
  entry->microseconds += atomic_load(&handler->microseconds);
  for (int i = 0; i < TG_STATS_OUTCOMES; i++)
    entry->requests[i] += atomic_load(&handler->requests[i]);
  if (down && (!entry->down || since < entry->since))
    entry->since = since;
  else if (!down && !entry->down && since > entry->since)
    entry->since = since;
  entry->down = entry->down || down;
}

int tg_workers_handlers(const struct tg_workers *workers, struct tg_handler_status *list, int max)
{
  int count = 0;
  for (int i = 0; i < workers->count; i++) {
    const struct tg_stats *stats = workers->list[i].stats;
    for (int k = 0; stats && k < TG_STATS_HANDLERS; k++) {
      char url[TG_STATS_URL_SIZE];
      snprintf(url, sizeof url, "%.*s", (int)sizeof url - 1, stats->handlers[k].url);
      if (!url[0])
        break;
      struct tg_handler_status *entry =
          atomic_load(&stats->handlers[k].users) > 0 ? entry_of(list, &count, max, url) : NULL;
      if (entry)
        add_handler(entry, &stats->handlers[k]);
    }
  }
  return count;
}

static int by_name(const void *a, const void *b)
{
  const struct tg_sink_status *left = a, *right = b;
  bool is_bot = strcmp(left->name, "bot") == 0;
  if (is_bot != (strcmp(right->name, "bot") == 0))
    return is_bot ? -1 : 1;
  return strcmp(left->name, right->name);
}

static struct tg_sink_status *sink_of(struct tg_sink_status *list, int *count, const char *name)
{
  for (int i = 0; i < *count; i++)
    if (strcmp(list[i].name, name) == 0)
      return &list[i];
  if (*count == TG_STATS_SINKS)
    return NULL;
  struct tg_sink_status *sink = &list[(*count)++];
  memset(sink, 0, sizeof *sink);
  snprintf(sink->name, sizeof sink->name, "%s", name);
  return sink;
}

static void add_sink_gauges(struct tg_sink_status *sum, const struct tg_stats_sink *sink)
{
  int64_t oldest = atomic_load(&sink->oldest_queued_at), log_bytes = atomic_load(&sink->log_bytes);
  int up = atomic_load(&sink->up);
  if (up >= 0) {
    sum->up = up > 0 && (sum->up || !sum->used);
    sum->used = true;
  }
  sum->queued_events += atomic_load(&sink->queued_events);
  sum->queued_bytes += atomic_load(&sink->queued_bytes);
  if (oldest > 0 && (sum->oldest_queued_at == 0 || oldest < sum->oldest_queued_at))
    sum->oldest_queued_at = oldest;
  if (log_bytes >= 0) {
    sum->logged = true;
    sum->log_bytes += (uint64_t)log_bytes;
  }
}

static void add_sink(struct tg_sink_status *sum, const struct tg_stats_sink *sink)
{
  sum->delivered += atomic_load(&sink->delivered);
  sum->retried += atomic_load(&sink->retried);
  sum->dropped += atomic_load(&sink->dropped);
  sum->dead += atomic_load(&sink->dead);
  sum->milliseconds += atomic_load(&sink->latency.milliseconds);
  for (int i = 0; i <= TG_LATENCY_COUNT; i++)
    sum->latency[i] += atomic_load(&sink->latency.counts[i]);
  add_sink_gauges(sum, sink);
}

int tg_workers_sinks(const struct tg_workers *workers, struct tg_sink_status list[TG_STATS_SINKS])
{
  int count = 0;
  for (int i = 0; i < workers->count; i++) {
    const struct tg_stats *stats = workers->list[i].stats;
    for (int place = 0; stats && place < TG_STATS_SINKS; place++) {
      char name[TG_STATS_SINK_NAME_SIZE];
      struct tg_sink_status *sum =
          tg_stats_sink_name(stats, place, name) ? sink_of(list, &count, name) : NULL;
      if (sum)
        add_sink(sum, &stats->sinks[place]);
    }
  }
  qsort(list, (size_t)count, sizeof *list, by_name);
  return count;
}

static struct tg_storm_status *storm_of(struct tg_storm_status *list, int *count, const char *rule)
{
  for (int i = 0; i < *count; i++)
    if (strcmp(list[i].rule, rule) == 0)
      return &list[i];
  if (*count == TG_STATS_STORMS)
    return NULL;
  struct tg_storm_status *storm = &list[(*count)++];
  *storm = (struct tg_storm_status){0};
  snprintf(storm->rule, sizeof storm->rule, "%s", rule);
  return storm;
}

int tg_workers_storms(const struct tg_workers *workers, struct tg_storm_status list[TG_STATS_STORMS])
{
  int count = 0;
  for (int i = 0; i < workers->count; i++) {
    const struct tg_stats *stats = workers->list[i].stats;
    for (int place = 0; stats && place < TG_STATS_STORMS; place++) {
      char rule[TG_STATS_RULE_SIZE];
      struct tg_storm_status *sum =
          tg_stats_storm_rule(stats, place, rule) ? storm_of(list, &count, rule) : NULL;
      if (!sum)
        continue;
      int running = atomic_load(&stats->storms[place].running);
      sum->dropped += atomic_load(&stats->storms[place].dropped);
      sum->storms += atomic_load(&stats->storms[place].storms);
      sum->released += atomic_load(&stats->storms[place].released);
      sum->running += running > 0 ? running : 0;
    }
  }
  return count;
}

static int by_events(const void *a, const void *b)
{
  const struct tg_lane_status *left = a, *right = b;
  if (left->events != right->events)
    return left->events > right->events ? -1 : 1;
  return left->ref != right->ref ? (left->ref > right->ref) - (left->ref < right->ref)
                                 : strcmp(left->sink, right->sink);
}

static void add_lanes(struct tg_buf *list, uint64_t *all, const char *name, const struct tg_stats_sink *sink)
{
  struct tg_stats_lanes lanes;
  if (!tg_stats_get_lanes(sink, &lanes))
    return;
  *all += lanes.waiting;
  for (uint32_t i = 0; i < lanes.count; i++) {
    const struct tg_stats_lane *lane = &lanes.list[i];
    struct tg_lane_status status = {.ref = lane->ref,
                                    .events = lane->events,
                                    .bytes = lane->bytes,
                                    .oldest_queued_at = lane->oldest_queued_at};
    memcpy(status.sink, name, sizeof status.sink);
    tg_buf_append(list, &status, sizeof status);
  }
}

struct tg_lane_status *tg_workers_lanes(const struct tg_workers *workers, int *count, uint64_t *all)
{
  struct tg_buf list = {0};
  *all = 0;
  for (int i = 0; i < workers->count; i++) {
    const struct tg_stats *stats = workers->list[i].stats;
    for (int place = 0; stats && place < TG_STATS_SINKS; place++) {
      char name[TG_STATS_SINK_NAME_SIZE];
      if (tg_stats_sink_name(stats, place, name))
        add_lanes(&list, all, name, &stats->sinks[place]);
    }
  }
  *count = (int)(list.length / sizeof(struct tg_lane_status));
  if (*count > 0)
    qsort(list.data, (size_t)*count, sizeof(struct tg_lane_status), by_events);
  return (struct tg_lane_status *)(void *)list.data;
}

/* ---- lag ---- */

/* A loop that turns says so at least once in BEAT; 0: it does, or there is none. */
static tg_ms overdue(const struct tg_stats *stats, tg_ms now)
{
  tg_ms alive_at = atomic_load(&stats->alive_at);
  return alive_at > 0 && now - alive_at > BEAT ? now - alive_at - BEAT : 0;
}

static void note_lag(const struct tg_stats *stats, tg_ms now, int64_t *lag)
{
  tg_ms longest = stats ? tg_loop_lag_longest(stats, now) : 0, late = stats ? overdue(stats, now) : 0;
  longest = late > longest ? late : longest;
  if (longest > *lag)
    *lag = longest;
}

int64_t tg_workers_loop_lag(struct tg_workers *workers, int worker)
{
  int64_t *lag = worker == TG_MANAGER_ITSELF ? &workers->lag : &workers->list[worker].lag;
  note_lag(tg_workers_stats(workers, worker), tg_now(), lag);
  int64_t longest = *lag;
  *lag = 0;
  return longest;
}

void tg_figures_look(struct tg_workers *workers)
{
  tg_ms now = tg_now();
  look_at_manager(workers);
  note_lag(tg_stats(), now, &workers->lag);
  for (int i = 0; i < workers->count; i++) {
    struct tg_managed_worker *worker = &workers->list[i];
    look_at_worker(worker);
    note_lag(worker->stats, now, &worker->lag);
  }
}

/* It may have been killed for standing still: that was its longest turn. */
void tg_figures_worker_gone(struct tg_managed_worker *worker)
{
  tg_ms now = tg_now();
  if (worker->stats) { /* else it counts where this program cannot read */
    tg_loop_lag_note(worker->stats, overdue(worker->stats, now), now);
    tg_stats_clear_gauges(worker->stats);
  }
  worker->usage.cpu_earlier = worker->usage.cpu;
  worker->usage.memory = 0;
}
