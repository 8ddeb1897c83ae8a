#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "shard/limiter.h"

static void allows_the_limit_and_then_waits(void **state)
{
  (void)state;
  struct tg_limiter limiter;
  tg_limiter_init(&limiter, 3, 60000);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(tg_limiter_wait(&limiter, 1000 + i), 0);
    tg_limiter_take(&limiter, 1000 + i);
  }
  assert_int_equal(tg_limiter_wait(&limiter, 1003), 59997);
  assert_int_equal(tg_limiter_wait(&limiter, 60999), 1);
  assert_int_equal(tg_limiter_wait(&limiter, 61000), 0);
}

/* Two full windows may never touch, as they do with a fixed window. */
static void never_exceeds_the_limit_in_any_window(void **state)
{
  (void)state;
  enum { LIMIT = 115, WINDOW = 60000, SENDS = 1000 };
  struct tg_limiter limiter;
  tg_limiter_init(&limiter, LIMIT, WINDOW);
  tg_ms now = 59000, sent[SENDS];
  uint64_t seed = 7;
  for (int i = 0; i < SENDS; i++) {
    now += tg_limiter_wait(&limiter, now);
    tg_limiter_take(&limiter, now);
    sent[i] = now;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    now += (tg_ms)(seed >> 33) % 700;
    if (i >= LIMIT)
      assert_true(sent[i] - sent[i - LIMIT] >= WINDOW);
  }
}

static void a_limit_of_zero_never_allows(void **state)
{
  (void)state;
  struct tg_limiter limiter;
  tg_limiter_init(&limiter, 0, 60000);
  assert_int_equal(tg_limiter_wait(&limiter, 5), 60000);
  tg_limiter_take(&limiter, 5);
  assert_int_equal(tg_limiter_wait(&limiter, 600000), 60000);
}

static void a_new_connection_has_a_new_budget(void **state)
{
  (void)state;
  struct tg_limiter limiter;
  tg_limiter_init(&limiter, 1, 60000);
  tg_limiter_take(&limiter, 10);
  assert_true(tg_limiter_wait(&limiter, 11) > 0);
  tg_limiter_init(&limiter, 1, 60000);
  assert_int_equal(tg_limiter_wait(&limiter, 11), 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(allows_the_limit_and_then_waits),
      cmocka_unit_test(never_exceeds_the_limit_in_any_window),
      cmocka_unit_test(a_limit_of_zero_never_allows),
      cmocka_unit_test(a_new_connection_has_a_new_budget),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
