#include "control/page/history.h"

#include "base/timer.h"
#include "control/event_totals.h"
#include "control/metrics.h"

#include <inttypes.h>
#include <stdlib.h>

/* Column, and what it says. */
#define COLUMNS(X)                                                                                           \
  X(at)        /* Unix time, ms */                                                                           \
  X(up)        /* shards that are Connected */                                                               \
  X(shards)    /* of how many */                                                                             \
  X(received)  /* events, a counter, as the next three are */                                                \
  X(delivered) /* to the bot */                                                                              \
  X(retried)                                                                                                 \
  X(dropped)                                                                                                 \
  X(queued) /* events that wait, at all sinks */                                                             \
  X(oldest) /* ms that the oldest of them has waited */                                                      \
  X(cpu)    /* ms of all processes, a counter */                                                             \
  X(memory) /* bytes of all processes */                                                                     \
  X(lag)    /* ms, of the process whose loop was busy longest */

struct point {
#define X(name) int64_t name;
  COLUMNS(X)
#undef X
};

struct tg_history {
  struct tg_manager *manager;
  uv_timer_t *timer;
  uint64_t count; /* the next point goes to points[count % TG_HISTORY_POINTS] */
  struct point points[TG_HISTORY_POINTS];
};

static void add_sinks(struct tg_manager *manager, struct point *point)
{
  struct tg_sink_status sinks[TG_STATS_SINKS];
  int count = tg_gateway_sinks(manager, sinks);
  tg_ms now = tg_steady_clock();
  for (int i = 0; i < count; i++) {
    point->retried += (int64_t)sinks[i].retried;
    point->dropped += (int64_t)sinks[i].dropped;
    point->queued += (int64_t)sinks[i].queued_events;
    tg_ms age = sinks[i].oldest_queued_at > 0 ? now - sinks[i].oldest_queued_at : 0;
    point->oldest = age > point->oldest ? age : point->oldest;
  }
}

static void add_processes(struct tg_manager *manager, struct point *point)
{
  struct tg_process_usage usage;
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  {
    (void)stats;
    tg_gateway_usage(manager, worker, &usage);
    int64_t lag = tg_gateway_loop_lag(manager, worker);
    point->cpu += (int64_t)usage.cpu;
    point->memory += (int64_t)usage.memory;
    point->lag = lag > point->lag ? lag : point->lag;
  }
}

static void add_events(struct tg_manager *manager, struct point *point)
{
  struct tg_event_totals *totals = tg_event_totals(manager);
  for (int i = 0; i < totals->count; i++) {
    point->received += (int64_t)totals->items[i].received;
    point->delivered += (int64_t)totals->items[i].delivered;
  }
  free(totals);
}

static void take_point(struct tg_history *history)
{
  struct tg_gateway_status status;
  tg_gateway_status(history->manager, &status);
  struct point *point = &history->points[history->count++ % TG_HISTORY_POINTS];
  *point = (struct point){.at = tg_wall_clock(), .up = status.up, .shards = status.held};
  add_sinks(history->manager, point);
  add_processes(history->manager, point);
  add_events(history->manager, point);
}

static void on_time(uv_timer_t *timer)
{
  struct tg_history *history = timer->data;
  tg_timer_start(timer, on_time, tg_patience(TG_HISTORY_EVERY));
  take_point(history);
}

struct tg_history *tg_history_new(uv_loop_t *loop, struct tg_manager *manager)
{
  struct tg_history *history = tg_calloc(1, sizeof *history);
  history->manager = manager;
  history->timer = tg_timer_new(loop, history);
  tg_timer_start(history->timer, on_time, 0);
  return history;
}

void tg_history_stop(struct tg_history *history)
{
  uv_timer_stop(history->timer);
}

void tg_history_free(struct tg_history *history)
{
  tg_timer_free(history->timer);
  free(history);
}

uint64_t tg_history_count(const struct tg_history *history)
{
  return history->count;
}

void tg_history_write(const struct tg_history *history, uint64_t most, struct tg_buf *out)
{
#define X(name) ",\"" #name "\""
  static const char columns[] = COLUMNS(X);
#undef X
  uint64_t kept = history->count < TG_HISTORY_POINTS ? history->count : TG_HISTORY_POINTS;
  kept = most < kept ? most : kept;
  tg_buf_printf(out, "{\"every\":%d,\"columns\":[%s],\"points\":[", (int)tg_patience(TG_HISTORY_EVERY),
                columns + 1);
  for (uint64_t i = history->count - kept; i < history->count; i++) {
    const struct point *point = &history->points[i % TG_HISTORY_POINTS];
    const char *before = i == history->count - kept ? "[" : ",[";
#define X(name)                                                                                              \
  tg_buf_printf(out, "%s%" PRId64, before, point->name);                                                     \
  before = ",";
    COLUMNS(X)
#undef X
    tg_buf_puts(out, "]");
  }
  tg_buf_puts(out, "]}");
}
