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
  room->used++;
  if (TAILQ_EMPTY(&last->held))
    look_in(last, LOOK);
  TAILQ_INSERT_TAIL(&last->held, held, link);
  return held;
}

static void unlink_held(struct tg_last *last, struct tg_held *held)
{
  if (last->next == held)
    last->next = TAILQ_NEXT(held, link);
  TAILQ_REMOVE(&last->held, held, link);
}

static void take_out(struct tg_last *last, struct tg_held *held)
{
  unlink_held(last, held);
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
    unlink_held(last, held);
    TAILQ_INSERT_TAIL(&last->held, held, link);
  }
  held->copy = copy;
  return true;
}

/* What an earlier process has left goes when nothing is held in it any more. */
static void stop_using(const struct tg_last *last, struct tg_held_room *room)
{
  if (--room->used > 0 || room == last->room || tg_held_next(room, NULL))
    return;
  LIST_REMOVE(room, link);
  tg_held_room_free(room);
}

static void end_held(const struct tg_last *last, struct tg_held *held)
{
  drop_copy(held);
  stop_using(last, held->room);
  free(held);
}

void tg_last_forget(struct tg_last *last, struct tg_held *held)
{
  take_out(last, held);
  end_held(last, held);
}

/* --- release --------------------------------------------------------------------------- */

void tg_last_is_safe(struct tg_last *last)
{
  if (last->leaves)
    drop_copy(last->leaves);
}

static void release(struct tg_last *last, struct tg_held *held, int rule)
{
  take_out(last, held);
  last->leaves = held;
  if (last->release(last->ctx, held, rule) && held->stats)
    tg_count(&held->stats->released);
  last->leaves = NULL;
  end_held(last, held);
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
  last->next = TAILQ_FIRST(&last->held);
  for (struct tg_held *held; (held = last->next) != NULL;) {
    last->next = TAILQ_NEXT(held, link); /* another rule may hold what is released, or forget another one */
    if (is_due(last, held, now))
      release(last, held, held->bucket ? held->bucket->rule : 0);
  }
}

void tg_last_release(struct tg_last *last, tg_shard_ref ref)
{
  for (struct tg_held *held = TAILQ_FIRST(&last->held), *next; held; held = next) {
    next = TAILQ_NEXT(held, link);
    if (ref == TG_ALL_SHARDS || held->copy->ref == ref)
      release(last, held, 0);
  }
}

/* --- what earlier processes have held ----------------------------------------------------- */

void tg_last_find(struct tg_last *last, tg_ms since, bool (*wanted)(void *ctx, tg_shard_ref ref), void *ctx)
{
  if (last->env->config->state_dir)
    tg_held_rooms_find(&last->earlier, last->env->config->state_dir, since, wanted, ctx);
}

static bool is_awaited(const struct tg_held_copy *copy, tg_shard_ref ref, struct tg_place received)
{
  return copy->ref == ref && copy->epoch == received.epoch && copy->sequence > received.sequence;
}

/* Those of later epochs wait for theirs. */
static bool is_to_be_released(const struct tg_held_copy *copy, tg_shard_ref ref, struct tg_place received)
{
  return copy->ref == ref && !tg_place_is_behind((struct tg_place){copy->epoch, copy->sequence}, received);
}

static void await_no_more(const struct tg_last *last, struct tg_held_awaited *awaited)
{
  LIST_REMOVE(awaited, link);
  for (int i = awaited->next; i < awaited->count; i++)
    stop_using(last, awaited->list[i].room);
  free(awaited);
}

static struct tg_held_awaited *awaited_of(const struct tg_last *last, tg_shard_ref ref)
{
  struct tg_held_awaited *awaited = LIST_FIRST(&last->awaited);
  while (awaited && awaited->ref != ref)
    awaited = LIST_NEXT(awaited, link);
  return awaited;
}

static int compare(const void *a, const void *b)
{
  uint64_t one = ((const struct tg_held_in *)a)->copy->sequence,
           other = ((const struct tg_held_in *)b)->copy->sequence;
  return one < other ? -1 : one > other;
}

/* A list for `count` of them. */
static void await_again(struct tg_last *last, tg_shard_ref ref, struct tg_place received, uint64_t decided,
                        int count)
{
  struct tg_held_awaited *awaited = tg_calloc(1, sizeof *awaited + (size_t)count * sizeof awaited->list[0]);
  struct tg_held_room *room;
  awaited->ref = ref;
  awaited->decided = decided;
  LIST_FOREACH(room, &last->earlier, link)
  {
    for (struct tg_held_copy *copy = NULL; (copy = tg_held_next(room, copy)) != NULL;)
      if (is_awaited(copy, ref, received) && awaited->count < count) {
        awaited->list[awaited->count++] = (struct tg_held_in){room, copy};
        room->used++;
      }
  }
  qsort(awaited->list, (size_t)awaited->count, sizeof awaited->list[0], compare);
  LIST_INSERT_HEAD(&last->awaited, awaited, link);
}

/* Those that are to be released go to the others. Returns how many are awaited. */
static int take_from(struct tg_last *last, struct tg_held_room *room, tg_shard_ref ref,
                     struct tg_place received, uint64_t fence)
{
  int awaited = 0;
  for (struct tg_held_copy *copy = NULL; (copy = tg_held_next(room, copy)) != NULL;) {
    bool *taken = tg_held_taken(room, copy);
    if (copy->ref == ref && copy->fence != fence && !*taken) {
      tg_held_drop(room, copy);
    } else if (is_to_be_released(copy, ref, received) && !*taken) {
      add(last, room, copy);
      *taken = true;
    }
    awaited += copy->whole && is_awaited(copy, ref, received);
  }
  room->used++;
  stop_using(last, room); /* it may be empty by now */
  return awaited;
}

void tg_last_found(struct tg_last *last, tg_shard_ref ref, struct tg_place received, uint64_t decided)
{
  struct tg_held_awaited *before = awaited_of(last, ref);
  if (before)
    await_no_more(last, before);
  struct tg_held_room *room = LIST_FIRST(&last->earlier), *next;
  uint64_t fence = room && last->fence ? last->fence(last->ctx, ref) : 0;
  int count = 0;
  for (; room; room = next) {
    next = LIST_NEXT(room, link);
    count += take_from(last, room, ref, received, fence);
  }
  if (count > 0)
    await_again(last, ref, received, decided, count);
  if (!TAILQ_EMPTY(&last->held))
    look_in(last, 0);
}

bool tg_last_came(struct tg_last *last, tg_shard_ref ref, uint64_t sequence)
{
  struct tg_held_awaited *awaited = awaited_of(last, ref);
  bool held = false;
  while (awaited && awaited->next < awaited->count) {
    struct tg_held_in *next = &awaited->list[awaited->next];
    if (next->copy->sequence > sequence)
      return held;
    held |= next->copy->sequence == sequence && sequence <= awaited->decided;
    tg_held_drop(next->room, next->copy);
    stop_using(last, next->room);
    awaited->next++;
  }
  if (awaited)
    await_no_more(last, awaited);
  return held;
}

/* --- life ----------------------------------------------------------------------------------- */

void tg_last_begin(struct tg_last *last, struct tg_delivery_env *env, const struct tg_bucket_limit *limits)
{
  last->env = env;
  last->limits = limits;
  TAILQ_INIT(&last->held);
  LIST_INIT(&last->earlier);
  LIST_INIT(&last->awaited);
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
  while (!LIST_EMPTY(&last->awaited))
    await_no_more(last, LIST_FIRST(&last->awaited));
  tg_held_room_free(last->room);
  while ((room = LIST_FIRST(&last->earlier)) != NULL) {
    LIST_REMOVE(room, link);
    tg_held_room_free(room);
  }
}
