#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shared/loop_lag.h"

#include <stdbool.h>
#include <string.h>

static void the_longest_of_a_minute_is_told(void **state)
{
  (void)state;
  struct tg_stats *stats = tg_stats();
  tg_ms now = 5000000;
  memset(stats->lag, 0, sizeof stats->lag);
  assert_int_equal(tg_loop_lag_longest(stats, now), 0);
  tg_loop_lag_note(stats, 3, now);
  tg_loop_lag_note(stats, 900, now + 10);
  tg_loop_lag_note(stats, 40, now + 20);
  assert_int_equal(tg_loop_lag_longest(stats, now + 20), 900);
  for (tg_ms later = 100; later < 60000; later += 100)
    tg_loop_lag_note(stats, 5, now + later);
  assert_int_equal(tg_loop_lag_longest(stats, now + 60000), 900);
  tg_loop_lag_note(stats, 50, now + 65000);
  assert_int_equal(tg_loop_lag_longest(stats, now + 70000), 50);
  assert_int_equal(tg_loop_lag_longest(stats, now + 1000000), 0); /* nobody has turned since */
}

/* ---- a real loop ---- */

static void work(tg_ms ms)
{
  for (tg_ms until = tg_now() + ms; tg_now() < until;) {
  }
}

static void on_timer(uv_timer_t *timer)
{
  (void)timer;
  work(30);
}

static void on_async(uv_async_t *async)
{
  work(70);
  uv_close((uv_handle_t *)async, NULL);
}

static void on_end(uv_timer_t *timer) { uv_stop(timer->loop); }

static void close_handle(uv_handle_t *handle, void *ctx)
{
  (void)ctx;
  if (!uv_is_closing(handle))
    uv_close(handle, NULL);
}

/* Returns the longest turn of a loop that otherwise sleeps for 300 ms. */
static tg_ms turn(bool in_timer, bool by_input)
{
  uv_loop_t loop;
  uv_timer_t timer, end;
  uv_async_t async;
  memset(tg_stats()->lag, 0, sizeof tg_stats()->lag);
  uv_loop_init(&loop);
  tg_loop_lag_watch(&loop);
  uv_timer_init(&loop, &timer);
  uv_timer_init(&loop, &end);
  uv_async_init(&loop, &async, on_async);
  uv_timer_start(&end, on_end, 300, 0);
  if (in_timer)
    uv_timer_start(&timer, on_timer, 20, 0);
  if (by_input)
    uv_async_send(&async);
  tg_loop_lag_begin();
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_walk(&loop, close_handle, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  return tg_loop_lag_longest(tg_stats(), tg_now());
}

static void every_part_of_a_turn_counts(void **state)
{
  (void)state;
  assert_in_range(turn(true, false), 29, 10000);
  assert_in_range(turn(false, true), 69, 10000);
}

/* On a loaded machine a turn may well take longer than it should: once is enough. */
static void sleep_is_no_lag(void **state)
{
  (void)state;
  for (int i = 0; i < 20; i++)
    if (turn(false, false) < 100)
      return;
  fail_msg("a loop that sleeps counts as busy");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_longest_of_a_minute_is_told),
      cmocka_unit_test(every_part_of_a_turn_counts),
      cmocka_unit_test(sleep_is_no_lag),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
