/* Token buckets in a table that does not grow. */

#include "delivery/storm/buckets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { SLOW, FAST };
static const struct tg_bucket_limit limits[] = {[SLOW] = {.rate = 0.001, .size = 2}, [FAST] = {1, 10}};
static struct tg_buckets buckets;

static int begin(void **state)
{
  (void)state;
  tg_buckets_init(&buckets, limits, 42);
  return 0;
}

static int end(void **state)
{
  (void)state;
  tg_buckets_free(&buckets);
  return 0;
}

static double level(int rule, uint64_t id, tg_ms now)
{
  return tg_buckets_get(&buckets, rule, id, now)->level;
}

static void they_fill_with_time_up_to_their_size(void **state)
{
  (void)state;
  tg_buckets_get(&buckets, SLOW, 1, 1000)->level = 0;
  assert_float_equal(level(SLOW, 1, 1500), 0.5, 1e-9);
  assert_float_equal(level(SLOW, 1, 1200), 0.5, 1e-9); /* time of an event that has waited */
  assert_float_equal(level(SLOW, 1, 2500), 1.5, 1e-9);
  assert_float_equal(level(SLOW, 1, 100000), 2, 1e-9);
}

static void rules_and_keys_have_their_own(void **state)
{
  (void)state;
  tg_buckets_get(&buckets, SLOW, 1, 0)->level = 0;
  tg_buckets_get(&buckets, FAST, 1, 0)->level = 3;
  assert_float_equal(level(SLOW, 2, 0), 2, 1e-9);
  assert_float_equal(level(SLOW, 1, 0), 0, 1e-9);
  assert_float_equal(level(FAST, 1, 0), 3, 1e-9);
}

/* So many keys that each place is wanted many times. */
static void full_ones_give_their_places(void **state)
{
  (void)state;
  for (uint64_t id = 1; id <= 100; id++) {
    struct tg_bucket *bucket = tg_buckets_get(&buckets, SLOW, id, 0);
    bucket->level = 0;
    bucket->storming = true;
  }
  for (uint64_t id = 1000; id < 200000; id++)
    assert_non_null(tg_buckets_get(&buckets, FAST, id, 0));
  for (uint64_t id = 1; id <= 100; id++)
    assert_float_equal(level(SLOW, id, 0), 0, 1e-9);
}

static void one_that_is_almost_full_goes_first(void **state)
{
  (void)state;
  int emptied = 0, kept = 0;
  for (uint64_t id = 0; id < 4 * TG_BUCKETS; id++) {
    struct tg_bucket *bucket = tg_buckets_get(&buckets, FAST, id, 0);
    bucket->level = id < 100 ? 0 : 9; /* of 10 */
  }
  for (uint64_t id = 0; id < 100; id++)
    level(FAST, id, 0) == 0 ? kept++ : emptied++;
  assert_int_equal(kept, 100);
  assert_int_equal(emptied, 0);
}

static void where_all_are_in_a_storm_there_is_no_place(void **state)
{
  (void)state;
  struct tg_bucket *bucket;
  int without = 0;
  for (uint64_t id = 0; id < 4 * TG_BUCKETS; id++) {
    if ((bucket = tg_buckets_get(&buckets, FAST, id, 0)))
      bucket->storming = true;
    else
      without++;
  }
  assert_int_equal(without, 3 * TG_BUCKETS);
}

int main(void)
{
#define IN_TABLE(test) cmocka_unit_test_setup_teardown(test, begin, end)
  const struct CMUnitTest tests[] = {
      IN_TABLE(they_fill_with_time_up_to_their_size),
      IN_TABLE(rules_and_keys_have_their_own),
      IN_TABLE(full_ones_give_their_places),
      IN_TABLE(one_that_is_almost_full_goes_first),
      IN_TABLE(where_all_are_in_a_storm_there_is_no_place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
