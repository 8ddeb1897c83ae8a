#include "delivery/lanes/lanes.h"

#include "base/buf.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  LOCK_PATIENCE = 3000, /* ms for a process that is ending, or tidying up */
  LOCK_STEP = 20,
  OWN_TRIES = 10,
  SYNC_INTERVAL = 1000,
};

/* --- opening ---------------------------------------------------------------------- */

struct opening {
  struct tg_lanes *lanes;
  bool (*wanted)(void *ctx, tg_shard_ref ref);
  char *parent;
  char *stamp;  /* of this run of the gateway, as in the directories' names */
  bool moved;   /* shards have gone from one worker to another in this run */
  tg_ms newest; /* number of a log that is there */
  struct tg_log_source **last;
  int count;
  int waited; /* ms for locks, in all */
};

static bool is_wanted(void *ctx, tg_shard_ref ref)
{
  struct tg_lanes *lanes = ((struct tg_log_source *)ctx)->lanes;
  return lanes->logs.wanted(lanes->logs.wanted_ctx, ref);
}

static void free_source(struct tg_log_source *source)
{
  free(source->directory);
  free(source);
}

/* Of another worker of this run. Mostly shards stay with their worker as long as the
 * manager lives, and none of ours are in it. Where some have moved, the workers between
 * which they did have ended: then it is one that nobody writes. */
static bool is_of_another(const struct opening *opening, const char *name)
{
  const char *dot = strrchr(name, '.');
  int id;
  return dot && strncmp(dot, opening->stamp, strlen(opening->stamp)) == 0 &&
         sscanf(name, "worker-%d.", &id) == 1 && id != opening->lanes->env->worker_id;
}

static struct tg_event_log *open_patiently(struct opening *opening,
                                           const struct tg_event_log_options *options, struct tg_error *error)
{
  for (;; opening->waited += LOCK_STEP) {
    struct tg_event_log *log = tg_event_log_open(options, error);
    if (log || strcmp(error->code, "locked") != 0 || opening->waited >= LOCK_PATIENCE)
      return log;
    usleep(LOCK_STEP * 1000);
  }
}

/* What a worker that lives writes has no lock to wait for, and nothing of ours. */
static struct tg_event_log *open_log(struct opening *opening, const char *name,
                                     const struct tg_event_log_options *options, struct tg_error *error)
{
  return is_of_another(opening, name) ? tg_event_log_open(options, error)
                                      : open_patiently(opening, options, error);
}

static bool is_in_order(const struct opening *opening, const char *name, const struct tg_error *error)
{
  return strcmp(error->code, "missing") == 0 || /* another worker has removed it, just now */
         (strcmp(error->code, "locked") == 0 && is_of_another(opening, name));
}

/* What it has counts as received from here on. Whoever wrote it may have been killed before it was synced. */
static void make_safe(const struct tg_lanes *lanes, struct tg_log_source *source)
{
  struct tg_error error = {0};
  if (lanes->limits->sync != TG_SYNC_NONE && !tg_event_log_sync_now(source->log, &error))
    tg_log(TG_WARN, TG_NO_SHARD, "%s; a power cut would lose what waits in it", error.message);
}

static void take_over(struct opening *opening, const char *name)
{
  struct tg_lanes *lanes = opening->lanes;
  struct tg_buf path = {0};
  tg_buf_printf(&path, "%s/%s", opening->parent, name);
  struct tg_log_source *source = tg_calloc(1, sizeof *source);
  source->lanes = lanes;
  source->directory = tg_buf_take(&path);
  source->order = opening->count++;
  source->older = strstr(name, opening->stamp) == NULL;
  char reader[32];
  snprintf(reader, sizeof reader, "worker-%d", lanes->env->worker_id);
  struct tg_event_log_options options = {
      .directory = source->directory,
      .mode = TG_LOG_DRAIN,
      .max_age = lanes->limits->max_age,
      .on_gap = tg_gaps_note,
      .ctx = source,
      .wanted = lanes->logs.wanted ? is_wanted : NULL,
      .reader = reader,
  };
  struct tg_error error = {0};
  source->log = open_log(opening, name, &options, &error);
  if (!source->log) {
    tg_log(is_in_order(opening, name, &error) ? TG_DEBUG : TG_ERROR, TG_NO_SHARD,
           "%s; its events wait for the next start", error.message);
    free_source(source);
    return;
  }
  *opening->last = source;
  opening->last = &source->next;
  make_safe(lanes, source);
}

/* Another worker may look into the directory before the lock is ours, and takes it for one that was left. */
static struct tg_event_log *open_own(const struct opening *opening, struct tg_log_source *source,
                                     struct tg_error *error)
{
  const struct tg_lanes *lanes = opening->lanes;
  tg_ms number = tg_steady_clock();
  if (number <= opening->newest)
    number = opening->newest + 1;
  for (int tries = 0;; tries++, number++) {
    struct tg_buf path = {0};
    tg_buf_printf(&path, "%s/worker-%d%s%" PRId64, opening->parent, lanes->env->worker_id, opening->stamp,
                  (int64_t)number);
    free(source->directory);
    source->directory = tg_buf_take(&path);
    struct tg_event_log_options options = {
        .directory = source->directory,
        .mode = TG_LOG_WRITE,
        .disk_bytes = lanes->limits->disk_bytes,
        .max_age = lanes->limits->max_age,
        .on_gap = tg_gaps_note,
        .ctx = source,
    };
    struct tg_event_log *log = tg_event_log_open(&options, error);
    if (log || strcmp(error->code, "locked") != 0 || tries == OWN_TRIES)
      return log;
  }
}

static bool begin_own(struct opening *opening, struct tg_error *error)
{
  struct tg_lanes *lanes = opening->lanes;
  struct tg_log_source *source = tg_calloc(1, sizeof *source);
  source->lanes = lanes;
  source->order = TG_ORDER_LAST;
  source->log = open_own(opening, source, error);
  if (!source->log) {
    free_source(source);
    return false;
  }
  *opening->last = lanes->logs.own = source;
  return true;
}

/* --- the bounds --------------------------------------------------------------------- */

/* What earlier logs take counts, too; but the own one gets an eighth of it at
 * least. */
static uint64_t own_bound(const struct tg_lanes *lanes)
{
  uint64_t limit = lanes->limits->disk_bytes, taken = 0;
  for (const struct tg_log_source *source = lanes->logs.sources; source != lanes->logs.own;
       source = source->next) {
    struct tg_log_figures figures;
    tg_event_log_figures(source->log, &figures);
    taken += figures.bytes;
  }
  return taken < limit - limit / 8 ? limit - taken : limit / 8;
}

void tg_backlog_reconfigure(struct tg_lanes *lanes)
{
  if (!lanes->logs.own)
    return;
  lanes->logs.own_bound = own_bound(lanes);
  for (struct tg_log_source *source = lanes->logs.sources; source; source = source->next)
    tg_event_log_set_bounds(source->log, source == lanes->logs.own ? lanes->logs.own_bound : 0,
                            lanes->limits->max_age);
}

void tg_backlog_tend(struct tg_lanes *lanes)
{
  tg_lanes_release(lanes, tg_env_now(lanes->env) - lanes->limits->max_age / 2); /* they are not lost */
  for (struct tg_log_source *source = lanes->logs.sources; source; source = source->next)
    if (tg_event_log_expire(source->log, tg_steady_clock()) > 0)
      lanes->logs.source_done = true;
  tg_gaps_take(lanes);
}

/* --- the end of a turn ------------------------------------------------------------------ */

static void advance(struct tg_lane *lane, uint64_t safe)
{
  if (safe > lane->safe)
    lane->safe = safe;
  tg_lane_unhold(lane);
  tg_feed_publish(lane->feed);
}

void tg_lane_flushed(struct tg_lane *lane)
{
  advance(lane, tg_lane_safe(lane));
}

static void sync_touched(struct tg_lanes *lanes);

static void on_synced(void *ctx, bool ok, tg_log_position through, const struct tg_error *error)
{
  struct tg_lanes *lanes = ctx;
  (void)through;
  lanes->logs.syncing = false;
  if (!ok)
    tg_backlog_alarm(lanes, error);
  while (lanes->logs.synced) {
    struct tg_lane *lane = lanes->logs.synced;
    lanes->logs.synced = lane->log.next_synced;
    if (ok && lane->log.synced_epoch == lane->feed->session.epoch)
      advance(lane, lane->log.synced_safe);
    else
      tg_lane_touch(lane);
  }
  if (ok && lanes->limits->sync == TG_SYNC_BATCH)
    sync_touched(lanes);
}

/* queue.sync = "batch": what is flushed counts when it is on the disk itself. */
static void sync_touched(struct tg_lanes *lanes)
{
  if (lanes->logs.syncing || !lanes->logs.touched || tg_event_log_unflushed(lanes->logs.own->log))
    return;
  while (lanes->logs.touched) {
    struct tg_lane *lane = lanes->logs.touched;
    lanes->logs.touched = lane->log.next_touched;
    lane->log.touched = false;
    lane->log.synced_safe = tg_lane_safe(lane);
    lane->log.synced_epoch = lane->feed->session.epoch;
    lane->log.next_synced = lanes->logs.synced;
    lanes->logs.synced = lane;
  }
  lanes->logs.syncing = true;
  lanes->logs.synced_at = tg_env_now(lanes->env);
  tg_event_log_sync(lanes->logs.own->log, lanes->env->loop, on_synced, lanes);
}

/* A log knows which events its sink has. Those that another sink lacks are asked for again, and must not come
 * twice to this one (tg_feed_adopt()): so it stays until all sinks have them, whoever has the shard. */
static bool may_go(void *ctx, const struct tg_event_log *log)
{
  struct tg_lanes *lanes = ctx;
  struct tg_session session;
  uint64_t epoch, sequence;
  int ref;
  for (int i = 0; (ref = tg_event_log_shard_at(log, i)) >= 0; i++) {
    struct tg_shard_row *row = tg_feeds_row(lanes->feeds, ref);
    if (row && tg_event_log_last(log, ref, &epoch, &sequence) && tg_session_load(row, &session) &&
        session.epoch == epoch && session.sequence < sequence)
      return false;
  }
  return true;
}

/* Nothing waits in it, no marker of what it has lost is on its way, and nobody needs what it knows. */
static bool is_settled(struct tg_lanes *lanes, struct tg_log_source *source)
{
  struct tg_log_figures figures;
  tg_event_log_figures(source->log, &figures);
  for (int i = 0; figures.events == 0 && i < lanes->count; i++)
    if (lanes->at[i])
      tg_lane_told(lanes->at[i]);
  return tg_event_log_settled(source->log) && may_go(lanes, source->log);
}

static void remove_drained(struct tg_lanes *lanes)
{
  lanes->logs.source_done = false;
  for (struct tg_log_source **at = &lanes->logs.sources; *at != lanes->logs.own;) {
    struct tg_log_source *source = *at;
    struct tg_error error = {0};
    if (!is_settled(lanes, source)) {
      at = &source->next;
      continue;
    }
    for (int i = 0; i < lanes->count; i++)
      if (lanes->at[i])
        tg_lane_leave_source(lanes->at[i], source);
    *at = source->next;
    if (tg_event_log_remove(source->log, may_go, lanes, &error))
      tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(PATH, source->directory)),
                  "nothing waits in this log any more: it is removed");
    else if (strcmp(error.code, "disk") == 0)
      tg_log(TG_WARN, TG_NO_SHARD, "%s", error.message);
    free_source(source);
  }
  tg_backlog_reconfigure(lanes);
}

static void end_turn(struct tg_lanes *lanes, bool at_once)
{
  if (lanes->logs.refuses)
    tg_backlog_write_again(lanes, at_once);
  if (lanes->logs.noted_gaps.length > 0)
    tg_gaps_take(lanes);
  if (lanes->logs.touched)
    lanes->logs.tight =
        tg_event_log_disk(lanes->logs.own->log) > lanes->logs.own_bound - lanes->logs.own_bound / 5;
  if (__builtin_expect(lanes->logs.tight, 0))
    tg_lanes_release(lanes, INT64_MAX); /* what waits needs the room more */
  if (lanes->logs.touched && tg_backlog_flush(lanes, at_once)) {
    if (lanes->limits->sync == TG_SYNC_BATCH && !at_once)
      sync_touched(lanes);
    else
      while (lanes->logs.touched) {
        struct tg_lane *lane = lanes->logs.touched;
        lanes->logs.touched = lane->log.next_touched;
        lane->log.touched = false;
        advance(lane, tg_lane_safe(lane));
      }
  }
  if (lanes->limits->sync == TG_SYNC_INTERVAL && lanes->logs.unsynced && !lanes->logs.syncing &&
      tg_env_now(lanes->env) - lanes->logs.synced_at >= SYNC_INTERVAL) {
    lanes->logs.unsynced = false;
    lanes->logs.syncing = true;
    lanes->logs.synced_at = tg_env_now(lanes->env);
    tg_event_log_sync(lanes->logs.own->log, lanes->env->loop, on_synced, lanes);
  }
  if (lanes->logs.source_done)
    remove_drained(lanes);
  if (!at_once)
    tg_event_log_shrink(lanes->logs.own->log);
}

/* Before the loop sleeps, and after it has read: what timers bring must not
 * wait for the next packet. */
static void on_prepare(uv_prepare_t *handle)
{
  end_turn(handle->data, false);
}
static void on_check(uv_check_t *handle)
{
  end_turn(handle->data, false);
}

/* --- the whole -------------------------------------------------------------------------- */

static void watch_turns(struct tg_lanes *lanes)
{
  uv_prepare_init(lanes->env->loop, &lanes->logs.prepare);
  uv_check_init(lanes->env->loop, &lanes->logs.check);
  lanes->logs.prepare.data = lanes->logs.check.data = lanes;
  uv_prepare_start(&lanes->logs.prepare, on_prepare);
  uv_check_start(&lanes->logs.check, on_check);
  uv_unref((uv_handle_t *)&lanes->logs.prepare);
  uv_unref((uv_handle_t *)&lanes->logs.check);
  tg_handles_add(&lanes->env->handles);
  tg_handles_add(&lanes->env->handles);
  tg_handles_timer(&lanes->env->handles, &lanes->logs.retry, lanes);
  uv_unref((uv_handle_t *)&lanes->logs.retry);
}

/* Once: a worker that takes the place of another finds again what is left of it. */
static void count_recovered(struct tg_lane *lane)
{
  uint64_t events = 0;
  for (struct tg_log_source *source = lane->lanes->logs.sources; source; source = source->next) {
    struct tg_log_figures figures = {.events = 0};
    if (source->older)
      tg_event_log_shard_figures(source->log, lane->feed->ref, &figures);
    events += figures.events;
  }
  if (atomic_load(&lane->feed->row->recovered) == 0)
    tg_count_by(&lane->feed->row->recovered, events);
}

static void begin_lanes(struct tg_lanes *lanes)
{
  for (struct tg_log_source *source = lanes->logs.sources; source; source = source->next)
    tg_lanes_read(lanes, source);
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i])
      count_recovered(lanes->at[i]);
  lanes->watch->opened(lanes);
  tg_backlog_tend(lanes);
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i]) {
      tg_lane_refill(lanes->at[i]);
      tg_feed_publish(lanes->at[i]->feed);
    }
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i])
      tg_lane_go_on(lanes->at[i]);
  lanes->logs.source_done = true;
}

bool tg_backlog_open(struct tg_lanes *lanes, const struct tg_log_opening *how, struct tg_error *error)
{
  struct tg_buf parent = {0}, text = {0};
  tg_buf_puts(&parent, lanes->directory);
  tg_buf_printf(&text, ".%" PRIu64 "-", how->stamp);
  struct opening opening = {.lanes = lanes, .last = &lanes->logs.sources, .moved = how->moved};
  opening.parent = tg_buf_take(&parent);
  opening.stamp = tg_buf_take(&text);
  lanes->logs.wanted = how->wanted;
  lanes->logs.wanted_ctx = how->ctx;
  char **names = tg_event_log_list(opening.parent);
  for (size_t i = 0; names && names[i]; i++) {
    tg_ms number = tg_event_log_number(names[i]);
    if (number > opening.newest)
      opening.newest = number;
    if (how->moved || !is_of_another(&opening, names[i]))
      take_over(&opening, names[i]);
  }
  tg_event_log_list_free(names);
  bool done = begin_own(&opening, error);
  free(opening.parent);
  free(opening.stamp);
  if (!done) {
    tg_backlog_close(lanes);
    return false;
  }
  tg_backlog_reconfigure(lanes);
  watch_turns(lanes);
  begin_lanes(lanes);
  return true;
}

void tg_backlog_ignore(const struct tg_lanes *lanes)
{
  char **names = lanes->directory ? tg_event_log_list(lanes->directory) : NULL;
  bool of_bot = lanes->index == TG_SINK_BOT;
  int count = 0;
  while (names && names[count])
    count++;
  tg_event_log_list_free(names);
  if (count > 0)
    tg_log(TG_WARN, TG_NO_SHARD,
           "%s%s%squeue.durability is \"%s\", but logs of earlier runs (%d) are in %s: their events are not "
           "delivered. Start once with \"log\" to deliver them, or remove the directory",
           of_bot ? "" : "sinks.", of_bot ? "" : lanes->name, of_bot ? "" : ".",
           lanes->limits->durability == TG_DURABILITY_MEMORY ? "memory" : "none", count, lanes->directory);
}

void tg_backlog_close(struct tg_lanes *lanes)
{
  if (lanes->logs.own) {
    end_turn(lanes, true);
    if (lanes->limits->sync != TG_SYNC_NONE)
      tg_event_log_sync_now(lanes->logs.own->log, NULL);
    tg_handles_close(&lanes->env->handles, &lanes->logs.prepare);
    tg_handles_close(&lanes->env->handles, &lanes->logs.check);
    tg_handles_close(&lanes->env->handles, &lanes->logs.retry);
  }
  lanes->logs.own = NULL;
  lanes->logs.touched = NULL;
  while (lanes->logs.sources) {
    struct tg_log_source *source = lanes->logs.sources;
    lanes->logs.sources = source->next;
    struct tg_error error = {0};
    if (is_settled(lanes, source))
      tg_event_log_remove(source->log, may_go, lanes, &error);
    else
      tg_event_log_close(source->log);
    free_source(source);
  }
  tg_buf_free(&lanes->logs.noted_gaps);
}
