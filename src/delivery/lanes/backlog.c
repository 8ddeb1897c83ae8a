#include "delivery/delivery_internal.h"

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
  SYNC_INTERVAL = 1000,
};

/* What a log has reported, until the call that it was in has ended. */
struct noted_gap {
  struct tg_source *source;
  struct tg_log_gap gap;
};

static void on_gap(void *ctx, const struct tg_log_gap *gap)
{
  struct tg_source *source = ctx;
  struct noted_gap noted = {source, *gap};
  tg_buf_append(&source->delivery->noted_gaps, &noted, sizeof noted);
}

void tg_backlog_take_gaps(struct tg_delivery *delivery)
{
  while (delivery->noted_gaps.length > 0 && delivery->walking == 0) {
    struct tg_buf noted = delivery->noted_gaps;
    delivery->noted_gaps = (struct tg_buf){0};
    const struct noted_gap *gaps = (const struct noted_gap *)noted.data;
    size_t count = noted.length / sizeof *gaps;
    for (size_t i = 0; i < count; i++)
      tg_lane_lost(tg_lane_of(delivery, gaps[i].gap.shard_id), gaps[i].source, &gaps[i].gap);
    for (size_t i = 0; i < count; i++) /* not before: an event under way is in front of the gaps to come */
      tg_lane_gaps_placed(tg_lane_of(delivery, gaps[i].gap.shard_id));
    tg_buf_free(&noted);
  }
}

/* --- opening ---------------------------------------------------------------------- */

struct opening {
  struct tg_delivery *delivery;
  bool (*wanted)(void *ctx, int shard_id);
  char *parent;
  char *stamp; /* of this run of the gateway, as in the directories' names */
  tg_ms newest; /* number of a log that is there */
  struct tg_source **last;
  int count;
  int waited; /* ms for locks, in all */
};

static bool is_wanted(void *ctx, int shard_id)
{
  struct tg_delivery *delivery = ((struct tg_source *)ctx)->delivery;
  return delivery->wanted(delivery->ctx, shard_id);
}

static void free_source(struct tg_source *source)
{
  free(source->directory);
  free(source);
}

/* Of another worker of this run: shards stay with their worker as long as the
 * manager lives, so none of ours are in it. */
static bool is_of_another(const struct opening *opening, const char *name)
{
  const char *dot = strrchr(name, '.');
  int id;
  return dot && strncmp(dot, opening->stamp, strlen(opening->stamp)) == 0 &&
         sscanf(name, "worker-%d.", &id) == 1 && id != opening->delivery->env.worker_id;
}

static struct tg_event_log *open_patiently(struct opening *opening,
                                           const struct tg_event_log_options *options,
                                           struct tg_error *error)
{
  for (;; opening->waited += LOCK_STEP) {
    struct tg_event_log *log = tg_event_log_open(options, error);
    if (log || strcmp(error->code, "locked") != 0 || opening->waited >= LOCK_PATIENCE)
      return log;
    usleep(LOCK_STEP * 1000);
  }
}

static void take_over(struct opening *opening, const char *name)
{
  struct tg_delivery *delivery = opening->delivery;
  struct tg_buf path = {0};
  tg_buf_printf(&path, "%s/%s", opening->parent, name);
  struct tg_source *source = tg_calloc(1, sizeof *source);
  source->delivery = delivery;
  source->directory = tg_buf_take(&path);
  source->order = opening->count++;
  source->older = strstr(name, opening->stamp) == NULL;
  char reader[32];
  snprintf(reader, sizeof reader, "worker-%d", delivery->env.worker_id);
  struct tg_event_log_options options = {
      .directory = source->directory,
      .mode = TG_LOG_DRAIN,
      .max_age = delivery->env.config->queue.max_age,
      .on_gap = on_gap,
      .ctx = source,
      .wanted = delivery->wanted ? is_wanted : NULL,
      .reader = reader,
  };
  struct tg_error error = {0};
  source->log = open_patiently(opening, &options, &error);
  if (!source->log) {
    bool removed = strcmp(error.code, "missing") == 0; /* by another worker, just now */
    tg_log(removed ? TG_DEBUG : TG_ERROR, TG_NO_SHARD, "%s; its events wait for the next start",
           error.message);
    free_source(source);
    return;
  }
  *opening->last = source;
  opening->last = &source->next;
}

static bool begin_own(struct opening *opening, struct tg_error *error)
{
  struct tg_delivery *delivery = opening->delivery;
  struct tg_source *source = tg_calloc(1, sizeof *source);
  struct tg_buf path = {0};
  tg_ms number = tg_steady_clock();
  if (number <= opening->newest)
    number = opening->newest + 1;
  tg_buf_printf(&path, "%s/worker-%d%s%" PRId64, opening->parent, delivery->env.worker_id, opening->stamp,
                (int64_t)number);
  source->delivery = delivery;
  source->directory = tg_buf_take(&path);
  source->order = TG_ORDER_LAST;
  struct tg_event_log_options options = {
      .directory = source->directory,
      .mode = TG_LOG_WRITE,
      .disk_bytes = delivery->env.config->queue.disk_bytes,
      .max_age = delivery->env.config->queue.max_age,
      .on_gap = on_gap,
      .ctx = source,
  };
  source->log = tg_event_log_open(&options, error);
  if (!source->log) {
    free_source(source);
    return false;
  }
  *opening->last = delivery->own = source;
  return true;
}

/* --- the bounds --------------------------------------------------------------------- */

/* What earlier logs take counts, too; but the own one gets an eighth of it at
 * least. */
static uint64_t own_bound(const struct tg_delivery *delivery)
{
  uint64_t limit = delivery->env.config->queue.disk_bytes, taken = 0;
  for (const struct tg_source *source = delivery->sources; source != delivery->own; source = source->next) {
    struct tg_log_figures figures;
    tg_event_log_figures(source->log, &figures);
    taken += figures.bytes;
  }
  return taken < limit - limit / 8 ? limit - taken : limit / 8;
}

void tg_backlog_reconfigure(struct tg_delivery *delivery)
{
  if (!delivery->own)
    return;
  const struct tg_config *config = delivery->env.config;
  delivery->own_bound = own_bound(delivery);
  for (struct tg_source *source = delivery->sources; source; source = source->next)
    tg_event_log_set_bounds(source->log, source == delivery->own ? delivery->own_bound : 0,
                            config->queue.max_age);
}

void tg_backlog_tend(struct tg_delivery *delivery)
{
  for (struct tg_source *source = delivery->sources; source; source = source->next)
    if (tg_event_log_expire(source->log, tg_steady_clock()) > 0)
      delivery->source_done = true;
  tg_backlog_take_gaps(delivery);
}

uint64_t tg_backlog_last(const struct tg_delivery *delivery, int shard_id, uint64_t epoch, uint64_t settled)
{
  for (const struct tg_source *source = delivery->sources; source; source = source->next) {
    uint64_t its_epoch, sequence;
    if (tg_event_log_last(source->log, shard_id, &its_epoch, &sequence) && its_epoch == epoch &&
        sequence > settled)
      settled = sequence;
  }
  return settled;
}

/* --- the end of a turn ------------------------------------------------------------------ */

static void advance(struct tg_lane *lane, uint64_t safe)
{
  if (safe > lane->durable)
    lane->durable = safe;
  tg_lane_publish(lane);
}

static void sync_touched(struct tg_delivery *delivery);

static void on_synced(void *ctx, bool ok, tg_log_position through, const struct tg_error *error)
{
  struct tg_delivery *delivery = ctx;
  (void)through;
  delivery->syncing = false;
  if (!ok)
    tg_backlog_alarm(delivery, error);
  while (delivery->synced) {
    struct tg_lane *lane = delivery->synced;
    delivery->synced = lane->next_synced;
    if (ok && lane->synced_epoch == lane->epoch)
      advance(lane, lane->synced_safe);
    else
      tg_lane_touch(lane);
  }
  if (ok && delivery->env.config->queue.sync == TG_SYNC_BATCH)
    sync_touched(delivery);
}

/* queue.sync = "batch": what is flushed counts when it is on the disk itself. */
static void sync_touched(struct tg_delivery *delivery)
{
  if (delivery->syncing || !delivery->touched || tg_event_log_unflushed(delivery->own->log))
    return;
  while (delivery->touched) {
    struct tg_lane *lane = delivery->touched;
    delivery->touched = lane->next_touched;
    lane->touched = false;
    lane->synced_safe = tg_lane_safe(lane);
    lane->synced_epoch = lane->epoch;
    lane->next_synced = delivery->synced;
    delivery->synced = lane;
  }
  delivery->syncing = true;
  delivery->synced_at = tg_env_now(&delivery->env);
  tg_event_log_sync(delivery->own->log, delivery->env.loop, on_synced, delivery);
}

/* Nothing waits in it, and no marker of what it has lost is on its way. */
static bool is_settled(struct tg_delivery *delivery, struct tg_source *source)
{
  struct tg_log_figures figures;
  tg_event_log_figures(source->log, &figures);
  for (int i = 0; figures.events == 0 && i < delivery->lane_count; i++)
    if (delivery->lanes[i])
      tg_lane_told(delivery->lanes[i]);
  return tg_event_log_settled(source->log);
}

static void remove_drained(struct tg_delivery *delivery)
{
  delivery->source_done = false;
  for (struct tg_source **at = &delivery->sources; *at != delivery->own;) {
    struct tg_source *source = *at;
    struct tg_error error = {0};
    if (!is_settled(delivery, source)) {
      at = &source->next;
      continue;
    }
    for (int i = 0; i < delivery->lane_count; i++)
      if (delivery->lanes[i])
        tg_lane_leave_source(delivery->lanes[i], source);
    *at = source->next;
    if (tg_event_log_remove(source->log, &error))
      tg_log_with(TG_INFO, TG_NO_SHARD, TG_WITH(TG_TEXT(PATH, source->directory)),
                  "nothing waits in this log any more: it is removed");
    else if (strcmp(error.code, "disk") == 0)
      tg_log(TG_WARN, TG_NO_SHARD, "%s", error.message);
    free_source(source);
  }
  tg_backlog_reconfigure(delivery);
}

static void end_turn(struct tg_delivery *delivery, bool at_once)
{
  if (delivery->log_refuses)
    tg_backlog_write_again(delivery, at_once);
  if (delivery->noted_gaps.length > 0)
    tg_backlog_take_gaps(delivery);
  if (delivery->touched)
    delivery->tight = tg_event_log_disk(delivery->own->log) > delivery->own_bound - delivery->own_bound / 5;
  if (delivery->touched && tg_backlog_flush(delivery, at_once)) {
    if (delivery->env.config->queue.sync == TG_SYNC_BATCH && !at_once)
      sync_touched(delivery);
    else
      while (delivery->touched) {
        struct tg_lane *lane = delivery->touched;
        delivery->touched = lane->next_touched;
        lane->touched = false;
        advance(lane, tg_lane_safe(lane));
      }
  }
  if (delivery->env.config->queue.sync == TG_SYNC_INTERVAL && delivery->unsynced && !delivery->syncing &&
      tg_env_now(&delivery->env) - delivery->synced_at >= SYNC_INTERVAL) {
    delivery->unsynced = false;
    delivery->syncing = true;
    delivery->synced_at = tg_env_now(&delivery->env);
    tg_event_log_sync(delivery->own->log, delivery->env.loop, on_synced, delivery);
  }
  if (delivery->source_done)
    remove_drained(delivery);
  if (!at_once)
    tg_event_log_shrink(delivery->own->log);
}

/* Before the loop sleeps, and after it has read: what timers bring must not
 * wait for the next packet. */
static void on_prepare(uv_prepare_t *handle) { end_turn(handle->data, false); }
static void on_check(uv_check_t *handle) { end_turn(handle->data, false); }

/* --- the whole -------------------------------------------------------------------------- */

static void watch_turns(struct tg_delivery *delivery)
{
  uv_prepare_init(delivery->env.loop, &delivery->prepare);
  uv_check_init(delivery->env.loop, &delivery->check);
  delivery->prepare.data = delivery->check.data = delivery;
  uv_prepare_start(&delivery->prepare, on_prepare);
  uv_check_start(&delivery->check, on_check);
  uv_unref((uv_handle_t *)&delivery->prepare);
  uv_unref((uv_handle_t *)&delivery->check);
  tg_handles_add(&delivery->env.handles);
  tg_handles_add(&delivery->env.handles);
  tg_handles_timer(&delivery->env.handles, &delivery->log_retry, delivery);
  uv_unref((uv_handle_t *)&delivery->log_retry);
}

/* Once: a worker that takes the place of another finds again what is left of it. */
static void count_recovered(struct tg_lane *lane)
{
  uint64_t events = 0;
  for (struct tg_source *source = lane->delivery->sources; source; source = source->next) {
    struct tg_log_figures figures = {.events = 0};
    if (source->older)
      tg_event_log_shard_figures(source->log, lane->shard_id, &figures);
    events += figures.events;
  }
  if (atomic_load(&lane->row->recovered) == 0)
    tg_count_by(&lane->row->recovered, events);
}

static void begin_lanes(struct tg_delivery *delivery)
{
  for (struct tg_source *source = delivery->sources; source; source = source->next)
    tg_lanes_begin(delivery, source);
  for (int i = 0; i < delivery->lane_count; i++)
    if (delivery->lanes[i])
      count_recovered(delivery->lanes[i]);
  delivery->watch->opened(delivery);
  tg_backlog_tend(delivery);
  for (int i = 0; i < delivery->lane_count; i++)
    if (delivery->lanes[i]) {
      tg_lane_refill(delivery->lanes[i]);
      tg_lane_publish(delivery->lanes[i]);
    }
  for (int i = 0; i < delivery->lane_count; i++)
    if (delivery->lanes[i])
      tg_lane_go_on(delivery->lanes[i]);
  delivery->source_done = true;
}

bool tg_backlog_open(struct tg_delivery *delivery, bool (*wanted)(void *ctx, int shard_id), uint64_t stamp,
                     struct tg_error *error)
{
  struct tg_buf parent = {0}, text = {0};
  tg_buf_printf(&parent, "%s/log", delivery->env.config->state_dir);
  tg_buf_printf(&text, ".%" PRIu64 "-", stamp);
  struct opening opening = {.delivery = delivery, .last = &delivery->sources};
  opening.parent = tg_buf_take(&parent);
  opening.stamp = tg_buf_take(&text);
  delivery->wanted = wanted;
  char **names = tg_event_log_list(opening.parent);
  for (size_t i = 0; names && names[i]; i++) {
    tg_ms number = tg_event_log_number(names[i]);
    if (number > opening.newest)
      opening.newest = number;
    if (!is_of_another(&opening, names[i]))
      take_over(&opening, names[i]);
  }
  tg_event_log_list_free(names);
  bool done = begin_own(&opening, error);
  free(opening.parent);
  free(opening.stamp);
  if (!done) {
    tg_backlog_close(delivery);
    return false;
  }
  tg_backlog_reconfigure(delivery);
  watch_turns(delivery);
  begin_lanes(delivery);
  return true;
}

void tg_delivery_ignore_logs(const struct tg_delivery *delivery)
{
  struct tg_buf parent = {0};
  tg_buf_printf(&parent, "%s/log", delivery->env.config->state_dir);
  char *directory = tg_buf_take(&parent), **names = tg_event_log_list(directory);
  int count = 0;
  while (names && names[count])
    count++;
  tg_event_log_list_free(names);
  if (count > 0)
    tg_log(TG_WARN, TG_NO_SHARD,
           "queue.durability is \"memory\", but logs of earlier runs (%d) are in %s: their events are not "
           "delivered. Start once with \"log\" to deliver them, or remove the directory",
           count, directory);
  free(directory);
}

void tg_backlog_close(struct tg_delivery *delivery)
{
  if (delivery->own) {
    end_turn(delivery, true);
    if (delivery->env.config->queue.sync != TG_SYNC_NONE)
      tg_event_log_sync_now(delivery->own->log, NULL);
    tg_handles_close(&delivery->env.handles, &delivery->prepare);
    tg_handles_close(&delivery->env.handles, &delivery->check);
    tg_handles_close(&delivery->env.handles, &delivery->log_retry);
  }
  delivery->own = NULL;
  delivery->touched = NULL;
  while (delivery->sources) {
    struct tg_source *source = delivery->sources;
    delivery->sources = source->next;
    struct tg_error error = {0};
    if (is_settled(delivery, source))
      tg_event_log_remove(source->log, &error);
    else
      tg_event_log_close(source->log);
    free_source(source);
  }
  tg_buf_free(&delivery->noted_gaps);
}
