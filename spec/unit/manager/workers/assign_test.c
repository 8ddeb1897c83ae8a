/* Shards to workers, guilds to shards, and how many shards there are. */

#include "manager/workers/assign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct tg_config configured(int shards_per_worker, int total_workers, bool round_robin)
{
  return (struct tg_config){.shards_per_worker = shards_per_worker,
                            .total_workers = total_workers,
                            .spread_shards_in_round_robin = round_robin};
}

static void blocks_and_the_last_takes_the_rest(void **state)
{
  (void)state;
  struct tg_config config = configured(2, 3, false);
  struct tg_shard_range range = {0, 9, 10};
  int workers = tg_worker_count(&config, &range, 64);
  assert_int_equal(workers, 3);
  static const int expected[] = {0, 0, 1, 1, 2, 2, 2, 2, 2, 2};
  for (int id = 0; id < 10; id++)
    assert_int_equal(tg_worker_of(&config, &range, workers, id), expected[id]);
}

static void round_robin_spreads(void **state)
{
  (void)state;
  struct tg_config config = configured(25, 4, true);
  struct tg_shard_range range = {0, 9, 10};
  int workers = tg_worker_count(&config, &range, 1);
  assert_int_equal(workers, 4);
  for (int id = 0; id < 10; id++)
    assert_int_equal(tg_worker_of(&config, &range, workers, id), id % 4);
}

static void a_range_counts_from_its_first_shard(void **state)
{
  (void)state;
  struct tg_config config = configured(25, 2, false);
  struct tg_shard_range range = {100, 149, 200};
  int workers = tg_worker_count(&config, &range, 1);
  assert_int_equal(workers, 2);
  assert_int_equal(tg_worker_of(&config, &range, workers, 100), 0);
  assert_int_equal(tg_worker_of(&config, &range, workers, 124), 0);
  assert_int_equal(tg_worker_of(&config, &range, workers, 125), 1);
  assert_int_equal(tg_worker_of(&config, &range, workers, 149), 1);
}

static void no_worker_without_a_shard(void **state)
{
  (void)state;
  struct tg_shard_range four = {0, 3, 4}, many = {0, 999, 1000}, one = {5, 5, 6};
  struct tg_config config = configured(25, 0, false);
  assert_int_equal(tg_worker_count(&config, &four, 8), 1);
  assert_int_equal(tg_worker_count(&config, &many, 8), 8);
  assert_int_equal(tg_worker_count(&config, &many, 64), 40);
  config = configured(25, 16, false);
  assert_int_equal(tg_worker_count(&config, &four, 8), 1);
  config = configured(25, 16, true);
  assert_int_equal(tg_worker_count(&config, &four, 8), 4);
  assert_int_equal(tg_worker_count(&config, &one, 8), 1);
  config = configured(1, 100000, false);
  assert_int_equal(tg_worker_count(&config, &many, 8), TG_MAX_WORKERS);
}

static void every_shard_has_a_worker_that_exists(void **state)
{
  (void)state;
  for (int per = 1; per < 9; per++) {
    for (int total = 1; total < 40; total++) {
      for (int robin = 0; robin < 2; robin++) {
        struct tg_config config = configured(per, 5, robin);
        struct tg_shard_range range = {0, total - 1, total};
        int workers = tg_worker_count(&config, &range, 2), used = 0;
        for (int id = 0; id < total; id++) {
          int worker = tg_worker_of(&config, &range, workers, id);
          assert_in_range(worker, 0, workers - 1);
          used |= 1 << worker;
        }
        assert_int_equal(used, (1 << workers) - 1);
      }
    }
  }
}

static void small_bots_take_what_is_recommended(void **state)
{
  (void)state;
  assert_int_equal(tg_total_shards_of(1, 1), 1);
  assert_int_equal(tg_total_shards_of(4, 16), 4);
  assert_int_equal(tg_total_shards_of(149, 1), 149);
}

static void large_bots_round_up_to_a_legal_multiple(void **state)
{
  (void)state;
  assert_int_equal(tg_total_shards_of(150, 1), 160);
  assert_int_equal(tg_total_shards_of(160, 1), 160);
  assert_int_equal(tg_total_shards_of(161, 16), 176);
  assert_int_equal(tg_total_shards_of(1000, 64), 1024);
}

static void no_multiple_is_above_the_largest_number(void **state)
{
  (void)state;
  assert_int_equal(tg_total_shards_of(65535, 1), 65536);
  assert_int_equal(tg_total_shards_of(65536, 16), 65536);
  assert_int_equal(tg_total_shards_of(65535, 48), 65520); /* 65568 would be the next one */
  for (int multiple = 1; multiple <= TG_SHARDS_MAX; multiple++) {
    int total = tg_total_shards_of(65535, multiple);
    assert_in_range(total, 1, TG_SHARDS_MAX);
    assert_int_equal(total % multiple, 0);
  }
}

static void guilds_map_as_discord_says(void **state)
{
  (void)state;
  assert_int_equal(tg_shard_of_guild(820588789004115970u, 4), 1);
  assert_int_equal(tg_shard_of_guild(820588789004115970u, 1), 0);
  assert_int_equal(tg_shard_of_guild(UINT64_MAX, 3), (int)((UINT64_MAX >> 22) % 3));
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_and_the_last_takes_the_rest),
      cmocka_unit_test(round_robin_spreads),
      cmocka_unit_test(a_range_counts_from_its_first_shard),
      cmocka_unit_test(no_worker_without_a_shard),
      cmocka_unit_test(every_shard_has_a_worker_that_exists),
      cmocka_unit_test(small_bots_take_what_is_recommended),
      cmocka_unit_test(large_bots_round_up_to_a_legal_multiple),
      cmocka_unit_test(no_multiple_is_above_the_largest_number),
      cmocka_unit_test(guilds_map_as_discord_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
