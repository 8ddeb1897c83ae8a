#include "shared/loop_lag.h"

enum { SLOT = 10000 }; /* ms */

static struct {
  uv_prepare_t prepare;
  uv_check_t check;
  tg_ms woke_at;
} the_watch;

void tg_loop_lag_note(struct tg_stats *stats, tg_ms busy, tg_ms now)
{
  struct tg_stats_lag *lag = &stats->lag[now / SLOT % TG_LAG_SLOTS];
  int64_t slot = now / SLOT;
  if (atomic_load_explicit(&lag->slot, memory_order_relaxed) != slot) {
    atomic_store_explicit(&lag->longest, 0, memory_order_relaxed);
    atomic_store_explicit(&lag->slot, slot, memory_order_release);
  }
  if (busy > atomic_load_explicit(&lag->longest, memory_order_relaxed))
    atomic_store_explicit(&lag->longest, busy, memory_order_relaxed);
}

tg_ms tg_loop_lag_longest(const struct tg_stats *stats, tg_ms now)
{
  tg_ms longest = 0;
  for (int i = 0; i < TG_LAG_SLOTS; i++) {
    int64_t age = now / SLOT - atomic_load_explicit(&stats->lag[i].slot, memory_order_acquire);
    tg_ms busy = atomic_load_explicit(&stats->lag[i].longest, memory_order_relaxed);
    if (age >= 0 && age < TG_LAG_SLOTS && busy > longest)
      longest = busy;
  }
  return longest;
}

/* The loop is about to sleep. */
static void on_prepare(uv_prepare_t *handle)
{
  (void)handle;
  tg_ms now = tg_now();
  tg_loop_lag_note(tg_stats(), now - the_watch.woke_at, now);
}

/* It has slept, and has worked off what had come; its own time says since when. */
static void on_check(uv_check_t *handle) { the_watch.woke_at = (tg_ms)uv_now(handle->loop); }

void tg_loop_lag_watch(uv_loop_t *loop)
{
  uv_prepare_init(loop, &the_watch.prepare);
  uv_check_init(loop, &the_watch.check);
  uv_prepare_start(&the_watch.prepare, on_prepare);
  uv_check_start(&the_watch.check, on_check);
  uv_unref((uv_handle_t *)&the_watch.prepare);
  uv_unref((uv_handle_t *)&the_watch.check);
}

void tg_loop_lag_begin(void) { the_watch.woke_at = tg_now(); }
