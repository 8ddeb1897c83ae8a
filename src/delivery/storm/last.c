#include "delivery/storm/last.h"

#include "base/buf.h"
#include "base/log.h"
#include "shared/stats.h"

#include <stdlib.h>

enum { LOOK = 100 /* ms between two looks at whether there are tokens */ };

static void on_look(uv_timer_t *timer);

static void look_in(struct tg_last *last, uint64_t wait)
{
  uv_timer_start(&last->timer, on_look, wait, LOOK);
}

/* --- those that are held -------------------------------------------------------------- */

static struct tg_held *add(struct tg_last *last, struct tg_held_room *room, struct tg_held_copy *copy)
{
  struct tg_held *held = tg_calloc(1, sizeof *held);
  held->room = room;
  held->copy = copy;
  if (TAILQ_EMPTY(&last->held))
    look_in(last, LOOK);
  TAILQ_INSERT_TAIL(&last->held, held, link);
  return held;
}

static void take_out(struct tg_last *last, struct tg_held *held)
{
  TAILQ_REMOVE(&last->held, held, link);
  if (held->bucket)
    held->bucket->held = NULL;
  if (TAILQ_EMPTY(&last->held))
    uv_timer_stop(&last->timer);
}

static void drop_copy(struct tg_held *held)
{
  if (held->copy)
    tg_held_drop(held->room, held->copy);
  held->copy = NULL;
}

bool tg_last_hold(struct tg_last *last, struct tg_bucket *bucket, struct tg_stats_storm *stats,
                  const struct tg_event *event)
{
  struct tg_held *held = bucket->held;
  if (!last->room)
    return false;
  uint64_t fence = last->fence ? last->fence(last->ctx, tg_event_ref(event)) : 0;
  struct tg_held_copy *copy =
      tg_held_put(last->room, held ? held->copy : NULL, event, fence, bucket->at + tg_steady_ahead());
  if (!copy)
    return false;
  if (!held) {
    held = bucket->held = add(last, last->room, copy);
    held->bucket = bucket;
    held->stats = stats;
  } else if (TAILQ_NEXT(held, link)) { /* released in the order in which they came */
    TAILQ_REMOVE(&last->held, held, link);
    TAILQ_INSERT_TAIL(&last->held, held, link);
  }
  held->copy = copy;
  return true;
}

void tg_last_forget(struct tg_last *last, struct tg_held *held)
{
  take_out(last, held);
  drop_copy(held);
  free(held);
}

/* --- release --------------------------------------------------------------------------- */

void tg_last_is_safe(struct tg_last *last)
{
  if (last->leaves)
    drop_copy(last->leaves);
}

/* Nothing is held any more in what an earlier process has left. */
static void leave(struct tg_held_room *room)
{
  LIST_REMOVE(room, link);
  tg_held_room_free(room);
}

static void release(struct tg_last *last, struct tg_held *held)
{
  take_out(last, held);
  if (held->stats)
    tg_count(&held->stats->released);
  last->leaves = held;
  last->release(last->ctx, held->copy, tg_held_message(held->room, held->copy));
  last->leaves = NULL;
  drop_copy(held);
  if (held->room != last->room && !tg_held_next(held->room, NULL))
    leave(held->room);
  free(held);
}

static bool is_due(const struct tg_last *last, struct tg_held *held, tg_ms now)
{
  struct tg_bucket *bucket = held->bucket;
  if (!bucket)
    return true;
  tg_bucket_fill(bucket, &last->limits[bucket->rule - 1], now);
  if (bucket->level < 1)
    return false;
  bucket->level--;
  return true;
}

static void on_look(uv_timer_t *timer)
{
  struct tg_last *last = timer->data;
  tg_ms now = tg_env_now(last->env);
  for (struct tg_held *held = TAILQ_FIRST(&last->held), *next; held; held = next) {
    next = TAILQ_NEXT(held, link);
    if (is_due(last, held, now))
      release(last, held);
  }
}

void tg_last_release(struct tg_last *last, tg_shard_ref ref)
{
  for (struct tg_held *held = TAILQ_FIRST(&last->held), *next; held; held = next) {
    next = TAILQ_NEXT(held, link);
    if (ref == TG_ALL_SHARDS || held->copy->ref == ref)
      release(last, held);
  }
}

/* --- what earlier processes have held ----------------------------------------------------- */

void tg_last_find(struct tg_last *last, tg_ms since, bool (*wanted)(void *ctx, tg_shard_ref ref), void *ctx)
{
  if (last->env->config->state_dir)
    tg_held_rooms_find(&last->earlier, last->env->config->state_dir, since, wanted, ctx);
}

/* Behind what was received Discord sends all again. */
static bool comes_again(const struct tg_held_copy *copy, struct tg_place received)
{
  return tg_place_is_behind((struct tg_place){copy->epoch, copy->sequence}, received);
}

static bool is_held(const struct tg_last *last, const struct tg_held_copy *copy)
{
  const struct tg_held *held;
  TAILQ_FOREACH(held, &last->held, link)
  {
    if (held->copy == copy)
      return true;
  }
  return false;
}

static void take_from(struct tg_last *last, struct tg_held_room *room, tg_shard_ref ref,
                      struct tg_place received, uint64_t fence)
{
  for (struct tg_held_copy *copy = NULL; (copy = tg_held_next(room, copy)) != NULL;) {
    if (copy->ref != ref || is_held(last, copy))
      continue;
    if (comes_again(copy, received) || copy->fence != fence)
      tg_held_drop(room, copy);
    else
      add(last, room, copy);
  }
  if (!tg_held_next(room, NULL))
    leave(room);
}

void tg_last_found(struct tg_last *last, tg_shard_ref ref, struct tg_place received)
{
  struct tg_held_room *room = LIST_FIRST(&last->earlier), *next;
  uint64_t fence = room && last->fence ? last->fence(last->ctx, ref) : 0;
  for (; room; room = next) {
    next = LIST_NEXT(room, link);
    take_from(last, room, ref, received, fence);
    if (!TAILQ_EMPTY(&last->held))
      look_in(last, 0);
  }
}

/* --- life ----------------------------------------------------------------------------------- */

void tg_last_begin(struct tg_last *last, struct tg_delivery_env *env, const struct tg_bucket_limit *limits)
{
  last->env = env;
  last->limits = limits;
  TAILQ_INIT(&last->held);
  LIST_INIT(&last->earlier);
  tg_handles_timer(&env->handles, &last->timer, last);
  uv_unref((uv_handle_t *)&last->timer);
}

void tg_last_prepare(struct tg_last *last)
{
  if (!last->room)
    last->room = tg_held_room_new(last->env->config->state_dir, last->env->worker_id);
}

void tg_last_end(struct tg_last *last)
{
  tg_handles_close(&last->env->handles, &last->timer);
}

void tg_last_free(struct tg_last *last)
{
  struct tg_held *held;
  struct tg_held_room *room;
  while ((held = TAILQ_FIRST(&last->held)) != NULL) {
    TAILQ_REMOVE(&last->held, held, link);
    free(held);
  }
  tg_held_room_free(last->room);
  while ((room = LIST_FIRST(&last->earlier)) != NULL) {
    LIST_REMOVE(room, link);
    tg_held_room_free(room);
  }
}
