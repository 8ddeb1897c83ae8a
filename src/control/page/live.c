#include "control/page/live.h"

#include "base/timer.h"
#include "control/page/history.h"
#include "control/page/snapshot.h"

#include <stdlib.h>

/* Each gets all of an event or nothing of it. What it has missed, since it had not taken what came before, is
 * sent with the next one; snapshots are whole, so that of those only the newest counts. */
struct viewer {
  struct tg_request *request;
  uint64_t points, warnings; /* how many of them it has seen */
};

struct tg_live {
  struct tg_manager *manager;
  struct tg_history *history;
  uv_timer_t *timer; /* runs while somebody looks */
  struct viewer viewers[TG_LIVE_VIEWERS];
  int count;
  uint64_t made; /* snapshots */
  tg_ms made_at; /* the snapshot; 0: none yet */
  /* Events, made once for all viewers, and up to where they go. */
  struct tg_buf snapshot, warnings, point, hour;
  uint64_t warnings_of, points_of, hour_of;
  uint64_t before; /* up to where `point` goes on from */
};

/* ---- events ---- */

static void begin_event(struct tg_buf *text, const char *name)
{
  tg_buf_reset(text, 64 << 10);
  tg_buf_printf(text, "event: %s\ndata: ", name);
}

/* Only what is JSON on one line goes in between. */
static void end_event(struct tg_buf *text)
{
  tg_buf_puts(text, "\n\n");
}

static void make_events(struct tg_live *live)
{
  uint64_t points = tg_history_count(live->history), warnings = tg_snapshot_warning_count(live->manager);
  live->made_at = tg_now();
  live->made++;
  begin_event(&live->snapshot, "snapshot");
  tg_snapshot_write(live->manager, &live->snapshot);
  end_event(&live->snapshot);
  if (live->point.length == 0 || live->points_of != points) {
    begin_event(&live->point, "point");
    tg_history_write(live->history, points - live->points_of, &live->point);
    end_event(&live->point);
    live->before = live->points_of;
  }
  if (live->warnings.length == 0 || live->warnings_of != warnings) {
    begin_event(&live->warnings, "warnings");
    tg_snapshot_warnings(live->manager, &live->warnings);
    end_event(&live->warnings);
  }
  live->points_of = points;
  live->warnings_of = warnings;
}

static bool send_event(struct viewer *viewer, const struct tg_buf *text)
{
  return tg_respond_more(viewer->request, text->data, text->length);
}

/* Only who does not have the rest of the hour gets all of it. */
static const struct tg_buf *points_for(struct tg_live *live, const struct viewer *viewer)
{
  if (viewer->points == live->before)
    return &live->point;
  if (live->hour.length == 0 || live->hour_of != live->points_of) {
    begin_event(&live->hour, "history");
    tg_history_write(live->history, TG_HISTORY_POINTS, &live->hour);
    end_event(&live->hour);
    live->hour_of = live->points_of;
  }
  return &live->hour;
}

/* What is seldom goes first: a snapshot is due every second, and would always be in the way. */
static void show(struct tg_live *live, struct viewer *viewer)
{
  if (viewer->warnings != live->warnings_of && send_event(viewer, &live->warnings))
    viewer->warnings = live->warnings_of;
  if (viewer->points != live->points_of && send_event(viewer, points_for(live, viewer)))
    viewer->points = live->points_of;
  send_event(viewer, &live->snapshot);
}

static void on_time(uv_timer_t *timer)
{
  struct tg_live *live = timer->data;
  tg_timer_start(timer, on_time, TG_LIVE_EVERY);
  make_events(live);
  for (int i = 0; i < live->count; i++)
    show(live, &live->viewers[i]);
}

/* ---- viewers ---- */

static void on_gone(struct tg_request *request)
{
  struct tg_live *live = request->ctx;
  for (int i = 0; i < live->count; i++) {
    if (live->viewers[i].request != request)
      continue;
    live->viewers[i] = live->viewers[--live->count];
    break;
  }
  if (live->count == 0)
    uv_timer_stop(live->timer);
  tg_respond_end(request);
}

void tg_live_join(struct tg_live *live, struct tg_request *request)
{
  if (live->count == TG_LIVE_VIEWERS) {
    static const char body[] = "{\"error\":\"64 viewers look at this gateway already: there is room when one "
                               "of them has closed its page\","
                               "\"code\":\"crowded\"}";
    tg_respond(request, 503, "application/json", "Retry-After: 5\r\n", body, sizeof body - 1);
    return;
  }
  request->on_gone = on_gone;
  request->ctx = live;
  if (!tg_respond_begin(request, "text/event-stream", "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n"))
    return;
  struct viewer *viewer = &live->viewers[live->count++];
  *viewer = (struct viewer){.request = request, .points = UINT64_MAX, .warnings = UINT64_MAX};
  /* Who comes and goes all the time has nothing made that is not made anyway. */
  if (live->made_at == 0 || tg_now() - live->made_at >= TG_LIVE_EVERY)
    make_events(live);
  if (live->count == 1)
    tg_timer_start(live->timer, on_time, TG_LIVE_EVERY);
  show(live, viewer);
}

int tg_live_viewers(const struct tg_live *live)
{
  return live->count;
}

uint64_t tg_live_snapshots(const struct tg_live *live)
{
  return live->made;
}

/* ---- life ---- */

struct tg_live *tg_live_new(uv_loop_t *loop, struct tg_manager *manager)
{
  struct tg_live *live = tg_calloc(1, sizeof *live);
  live->manager = manager;
  live->history = tg_history_new(loop, manager);
  live->timer = tg_timer_new(loop, live);
  return live;
}

void tg_live_close(struct tg_live *live)
{
  uv_timer_stop(live->timer);
  tg_history_stop(live->history);
  while (live->count > 0) {
    struct tg_request *request = live->viewers[--live->count].request;
    request->on_gone = NULL;
    tg_respond_end(request);
  }
}

void tg_live_free(struct tg_live *live)
{
  tg_history_free(live->history);
  tg_timer_free(live->timer);
  tg_buf_free(&live->snapshot);
  tg_buf_free(&live->point);
  tg_buf_free(&live->hour);
  tg_buf_free(&live->warnings);
  free(live);
}
