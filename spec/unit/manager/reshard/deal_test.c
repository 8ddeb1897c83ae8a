/* Which totals make sense, and which worker has which class of guilds. */

#include "manager/reshard/deal.h"
#include "shared/class_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct tg_config config = {.shards_per_worker = 25};
static struct tg_error error;

static bool check(int from, int to, uint64_t guilds)
{
  struct tg_shard_range range = {0, from - 1, from};
  struct tg_deal_wish wish = {&config, &range, to, guilds};
  error = (struct tg_error){0};
  return tg_deal_check(&wish, &error);
}

static void assert_says(const char *text)
{
  assert_string_equal(error.code, "bad_argument");
  if (!strstr(error.message, text))
    fail_msg("\"%s\" is not in \"%s\"", text, error.message);
}

/* Blocks of so many shards, as workers usually have them. */
static struct tg_deal deal_blocks(int from, int to, int block, int *owners)
{
  struct tg_deal deal;
  for (int id = 0; id < from; id++)
    owners[id] = id / block;
  tg_deal_make(&deal, from, to, owners);
  return deal;
}

static void classes_are_the_greatest_common_divisor(void **state)
{
  (void)state;
  assert_int_equal(tg_class_count(16, 32), 16);
  assert_int_equal(tg_class_count(16, 24), 8);
  assert_int_equal(tg_class_count(32, 16), 16);
  assert_int_equal(tg_class_count(3, 4), 1);
  assert_int_equal(tg_class_count(1, 5), 1);
}

static void usual_totals_are_good(void **state)
{
  (void)state;
  assert_true(check(4, 8, 0));
  assert_true(check(4, 6, 7000));
  assert_true(check(8, 4, 0));
  assert_true(check(1, 3, 2400));
  assert_true(check(3, 4, 0));
  assert_true(check(160, 176, 200000));
  assert_true(check(16, 8, 8 * 2300));
}

static void the_same_number_is_refused(void **state)
{
  (void)state;
  assert_false(check(8, 8, 0));
  assert_says("the bot has 8 shards already");
  assert_says("7 and 9");
}

static void numbers_out_of_bounds_are_refused(void **state)
{
  (void)state;
  assert_false(check(8, 0, 0));
  assert_says("from 1 to 65536 shards, not 0");
  assert_says("is 1");
  assert_false(check(8, -5, 0));
  assert_says("is 1");
  assert_false(check(32768, 65537, 0));
  assert_says("from 1 to 65536 shards, not 65537");
  assert_says("is 65536");
  assert_true(check(32768, 65536, 0));
}

static void crowded_shards_are_refused(void **state)
{
  (void)state;
  assert_false(check(16, 8, 8 * 2300 + 1));
  assert_says("8 shards for 18401 guilds");
  assert_says("the nearest total that is possible is 9");
}

static void large_classes_are_refused(void **state)
{
  (void)state;
  assert_false(check(160, 161, 0));
  assert_says("321 sessions");
  assert_says("more than 100");
  assert_says("156 and 164"); /* 4 classes of 79 and of 81 sessions */
  assert_true(check(160, 156, 0));
  assert_true(check(160, 164, 0));
  config.shards_per_worker = 1;
  assert_false(check(2, 3, 0));
  assert_says("1 and 4");
  config.shards_per_worker = TG_SHARDS_MAX; /* must not overflow */
  assert_true(check(160, 161, 0));
  config.shards_per_worker = 25;
}

static void a_part_of_the_bot_is_refused(void **state)
{
  (void)state;
  struct tg_shard_range range = {0, 7, 16};
  struct tg_deal_wish wish = {&config, &range, 32, 0};
  assert_false(tg_deal_check(&wish, &error));
  assert_says("shards 0 to 7 of 16");
}

static void hosts_of_a_cluster_go_over_to_a_multiple(void **state)
{
  (void)state;
  static char redis[] = "redis://10.0.0.1", name[] = "bot";
  config.cluster.url = redis;
  config.cluster.name = name;
  assert_false(check(4, 6, 0));
  assert_says("hosts of the cluster \"bot\" go over to a multiple of the 4 shards that there are");
  assert_says("not to 6; the nearest total that is possible is 8");
  assert_false(check(4, 11, 0));
  assert_says("not to 11; the nearest totals that are possible are 8 and 12");
  assert_false(check(4, 2, 0));
  assert_says("not to 2; the nearest total that is possible is 8");
  assert_false(check(4, 4, 0));
  assert_says("4 shards already; the nearest total that is possible is 8");
  assert_false(check(40000, 60000, 0));
  assert_says("not to 60000; no other total is possible");
  assert_false(check(4, 9, 20000)); /* 8 would be crowded */
  assert_says("not to 9; the nearest total that is possible is 12");
  assert_true(check(4, 8, 0));
  assert_true(check(4, 12, 7 * 1000));
  config.cluster.url = NULL;
}

static void blocks_need_no_regroup_for_a_multiple(void **state)
{
  (void)state;
  int owners[50];
  struct tg_deal deal = deal_blocks(50, 100, 25, owners);
  assert_int_equal(deal.classes, 50);
  assert_false(deal.regroup);
  for (int id = 0; id < 50; id++) {
    assert_int_equal(tg_deal_worker(&deal, id), id / 25);
    assert_int_equal(tg_deal_worker(&deal, id + 50), id / 25);
  }
  assert_false(tg_deal_affects(&deal, owners, 0));
  assert_false(tg_deal_affects(&deal, owners, 1));
  tg_deal_free(&deal);
}

static void classes_that_are_spread_go_where_most_of_them_are(void **state)
{
  (void)state;
  int owners[32];
  struct tg_deal deal = deal_blocks(32, 16, 25, owners);
  assert_true(deal.regroup);
  for (int class = 0; class < 9; class ++) /* both old shards in worker 0 */
    assert_int_equal(deal.workers[class], 0);
  for (int class = 9; class < 16; class ++) /* one in each: to the one that has less so far */
    assert_int_equal(deal.workers[class], 1);
  assert_true(tg_deal_affects(&deal, owners, 0));
  assert_true(tg_deal_affects(&deal, owners, 1));
  assert_false(tg_deal_affects(&deal, owners, 2));
  tg_deal_free(&deal);
}

static void only_workers_that_give_or_get_are_affected(void **state)
{
  (void)state;
  /* 6 -> 4: classes {0 2 4} and {1 3 5}; worker 2 has nothing of either. */
  static const int owners[] = {0, 1, 0, 1, 3, 1};
  struct tg_deal deal;
  tg_deal_make(&deal, 6, 4, owners);
  assert_int_equal(deal.classes, 2);
  assert_int_equal(deal.workers[0], 0);
  assert_int_equal(deal.workers[1], 1);
  assert_true(deal.regroup);
  assert_true(tg_deal_affects(&deal, owners, 0)); /* gets shard 4 */
  assert_false(tg_deal_affects(&deal, owners, 1));
  assert_false(tg_deal_affects(&deal, owners, 2));
  assert_true(tg_deal_affects(&deal, owners, 3));
  tg_deal_free(&deal);
}

/* Whatever the numbers: all shards of a class are in its worker, and nobody is affected without a regroup. */
static void deals_hold_together(void **state)
{
  (void)state;
  int owners[64];
  srand(7);
  for (int round = 0; round < 2000; round++) {
    int from = 1 + rand() % 64, to = 1 + rand() % 64, workers = 1 + rand() % 5, affected = 0;
    for (int id = 0; id < from; id++)
      owners[id] = rand() % workers;
    struct tg_deal deal;
    tg_deal_make(&deal, from, to, owners);
    for (int class = 0; class < deal.classes; class ++)
      assert_in_range(deal.workers[class], 0, workers - 1);
    for (int worker = 0; worker < workers; worker++)
      affected += tg_deal_affects(&deal, owners, worker);
    assert_int_equal(deal.regroup, affected > 0);
    tg_deal_free(&deal);
  }
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(classes_are_the_greatest_common_divisor),
      cmocka_unit_test(usual_totals_are_good),
      cmocka_unit_test(the_same_number_is_refused),
      cmocka_unit_test(numbers_out_of_bounds_are_refused),
      cmocka_unit_test(crowded_shards_are_refused),
      cmocka_unit_test(large_classes_are_refused),
      cmocka_unit_test(a_part_of_the_bot_is_refused),
      cmocka_unit_test(hosts_of_a_cluster_go_over_to_a_multiple),
      cmocka_unit_test(blocks_need_no_regroup_for_a_multiple),
      cmocka_unit_test(classes_that_are_spread_go_where_most_of_them_are),
      cmocka_unit_test(only_workers_that_give_or_get_are_affected),
      cmocka_unit_test(deals_hold_together),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
