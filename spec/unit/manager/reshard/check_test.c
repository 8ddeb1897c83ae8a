/* When a bot needs more shards, how many, and whether there is room for them. */

#include "manager/reshard/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct {
  struct tg_config config;
  struct tg_gateway_info info;
  struct tg_shard_range range;
  int owners[1024];
  char why[600];
} bot;

/* Workers have blocks of 25 shards. */
static int needed(int total, uint64_t guilds, int recommended, bool refused)
{
  bot.range = (struct tg_shard_range){0, total - 1, total};
  bot.info.shards = recommended;
  for (int id = 0; id < total; id++)
    bot.owners[id] = id / 25;
  struct tg_check_facts facts = {&bot.config, &bot.info, &bot.range, bot.owners, guilds, refused};
  bot.why[0] = '\0';
  return tg_check_total(&facts, bot.why, sizeof bot.why);
}

static int usual(void **state)
{
  (void)state;
  memset(&bot, 0, sizeof bot);
  bot.config.shards_per_worker = 25;
  bot.config.resharding.shards_full_percentage = 80;
  bot.info.max_concurrency = 1;
  return 0;
}

static void nothing_is_needed_below_the_bounds(void **state)
{
  (void)state;
  assert_int_equal(needed(4, 7999, 4, false), 0);
  assert_int_equal(needed(10, 0, 11, false), 0);
  assert_int_equal(needed(16, 30000, 8, false), 0); /* down: by hand alone */
  assert_string_equal(bot.why, "");
}

static void full_shards_need_more(void **state)
{
  (void)state;
  assert_int_equal(needed(4, 8000, 4, false), 8); /* 1,000 guilds a shard */
  assert_string_equal(bot.why, "8000 guilds are 80 % of what 4 shards may have");
  bot.config.resharding.shards_full_percentage = 50;
  assert_int_equal(needed(4, 5000, 4, false), 5);
  assert_int_equal(needed(4, 4999, 4, false), 0);
  bot.config.resharding.shards_full_percentage = 20; /* fewer guilds a shard than that are wanted */
  assert_int_equal(needed(4, 2000, 4, false), 5);
  assert_int_equal(needed(4, 5600, 4, false), 12);
}

static void a_fifth_more_recommended_is_followed(void **state)
{
  (void)state;
  assert_int_equal(needed(10, 9000, 12, false), 12);
  assert_string_equal(bot.why, "Discord recommends 12 shards, and there are 10");
  assert_int_equal(needed(10, 9000, 11, false), 0);
  assert_int_equal(needed(1, 100, 2, false), 2);
}

static void at_most_a_thousand_guilds_a_shard(void **state)
{
  (void)state;
  assert_int_equal(needed(10, 14001, 12, false), 15);
}

static void a_refused_shard_needs_more_whatever_is_recommended(void **state)
{
  (void)state;
  assert_int_equal(needed(2, 1500, 2, true), 3);
  assert_string_equal(bot.why, "Discord refuses shards of 2: they have too many guilds");
  assert_int_equal(needed(2, 5100, 2, true), 6);
}

static void large_bots_get_legal_multiples(void **state)
{
  (void)state;
  assert_int_equal(needed(100, 90000, 150, false), 160);
  bot.info.max_concurrency = 16;
  assert_int_equal(needed(160, 190000, 200, false) % 16, 0);
}

static void a_near_total_without_regroup_is_preferred(void **state)
{
  (void)state;
  /* 50 shards in two workers: only of a multiple of 50 no class lies in both. */
  assert_int_equal(needed(50, 50000, 80, false), 100);
  assert_int_equal(needed(50, 50000, 75, false), 75); /* too far */
  assert_int_equal(needed(25, 25000, 30, false), 30); /* one worker has them all */
}

static void a_total_that_cannot_be_is_passed_over(void **state)
{
  (void)state;
  assert_int_equal(needed(60, 60000, 73, false), 74); /* 73: one class of 133 sessions */
  assert_int_equal(needed(53, 50000, 70, false), 106);
  assert_int_equal(needed(79, 60000, 95, false), 0);
  assert_non_null(strstr(bot.why, "but no total near 95 is possible"));
  assert_non_null(strstr(bot.why, "shards_per_worker"));
}

static void there_is_an_end(void **state)
{
  (void)state;
  static int owners[TG_SHARDS_MAX];
  struct tg_shard_range range = {0, TG_SHARDS_MAX - 1, TG_SHARDS_MAX};
  bot.info.shards = TG_SHARDS_MAX;
  struct tg_check_facts facts = {&bot.config, &bot.info, &range, owners, UINT64_C(500000000), true};
  assert_int_equal(tg_check_total(&facts, bot.why, sizeof bot.why), 0);
}

static void the_budget_keeps_the_reserve(void **state)
{
  (void)state;
  assert_int_equal(tg_check_identifies(8), 9);
  assert_int_equal(tg_check_identifies(20), 21);
  assert_int_equal(tg_check_identifies(21), 23);
  assert_true(tg_check_budget(109, 100, 8));
  assert_false(tg_check_budget(108, 100, 8));
  assert_false(tg_check_budget(0, 0, 1));
}

#define CHECK(name) cmocka_unit_test_setup(name, usual)

int main(void)
{
  const struct CMUnitTest tests[] = {
      CHECK(nothing_is_needed_below_the_bounds),
      CHECK(full_shards_need_more),
      CHECK(a_fifth_more_recommended_is_followed),
      CHECK(at_most_a_thousand_guilds_a_shard),
      CHECK(a_refused_shard_needs_more_whatever_is_recommended),
      CHECK(large_bots_get_legal_multiples),
      CHECK(a_near_total_without_regroup_is_preferred),
      CHECK(a_total_that_cannot_be_is_passed_over),
      CHECK(there_is_an_end),
      CHECK(the_budget_keeps_the_reserve),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
