#include "manager/reshard/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SPARE_PART = 20 /* one identify more for so many shards */ };

/* ---- the budget ---- */

int tg_check_identifies(int to)
{
  return to + (to + SPARE_PART - 1) / SPARE_PART;
}

bool tg_check_budget(int remaining, int reserve, int to)
{
  return remaining - tg_check_identifies(to) >= reserve;
}

/* ---- the new total ---- */

static bool is_full(const struct tg_check_facts *facts)
{
  uint64_t room = (uint64_t)facts->range->total * TG_CHECK_SHARD_FULL;
  return facts->guilds * 100 >= room * (uint64_t)facts->config->resharding.shards_full_percentage;
}

static bool is_outgrown(const struct tg_check_facts *facts)
{
  return (int64_t)facts->info->shards * 5 >= (int64_t)facts->range->total * 6;
}

/* The least total whose shards would not be full. */
static uint64_t roomy(const struct tg_check_facts *facts)
{
  int percent = facts->config->resharding.shards_full_percentage;
  return facts->guilds * 100 / ((uint64_t)TG_CHECK_SHARD_FULL * (uint64_t)percent) + 1;
}

/* Before rules and workers are asked. */
static int wanted_total(const struct tg_check_facts *facts)
{
  uint64_t spread = (facts->guilds + TG_CHECK_SHARD_WANT - 1) / TG_CHECK_SHARD_WANT;
  uint64_t wanted = (uint64_t)facts->info->shards;
  if (wanted < spread)
    wanted = spread;
  if (is_full(facts) && wanted < roomy(facts))
    wanted = roomy(facts);
  if (facts->refused && wanted <= (uint64_t)facts->range->total)
    wanted = (uint64_t)facts->range->total + 1;
  return wanted < TG_SHARDS_MAX ? (int)wanted : TG_SHARDS_MAX;
}

static bool needs_regroup(const struct tg_check_facts *facts, int to)
{
  struct tg_deal deal;
  tg_deal_make(&deal, facts->range->total, to, facts->owners);
  bool regroup = deal.regroup;
  tg_deal_free(&deal);
  return regroup;
}

/* Of the totals from `wanted` to its double that Discord allows; 0: none is possible. */
static int choose_total(const struct tg_check_facts *facts, int wanted)
{
  int near = wanted + wanted / 4, most = wanted < TG_SHARDS_MAX / 2 ? 2 * wanted : TG_SHARDS_MAX;
  int possible = 0, to = 0;
  for (int at = wanted; at <= (possible ? near : most); at++) {
    int next = tg_total_shards_of(at, facts->info->max_concurrency);
    if (next <= to) /* the same, or the end of them */
      continue;
    to = next;
    struct tg_deal_wish wish = {facts->config, facts->range, to, facts->guilds};
    if ((possible && to > near) || !tg_deal_check(&wish, NULL))
      continue;
    if (!needs_regroup(facts, to))
      return to;
    if (!possible)
      possible = to;
  }
  return possible;
}

/* Adds to `why` what stands in the way. */
static void format_impossible(const struct tg_check_facts *facts, int wanted, char *why, size_t size)
{
  struct tg_deal_wish wish = {facts->config, facts->range, wanted, facts->guilds};
  struct tg_error error = {0};
  tg_deal_check(&wish, &error);
  size_t length = strlen(why);
  snprintf(why + length, size - length, "; but no total near %d is possible: %s", wanted, error.message);
}

int tg_check_total(const struct tg_check_facts *facts, char *why, size_t size)
{
  if (facts->refused)
    snprintf(why, size, "Discord refuses shards of %d: they have too many guilds", facts->range->total);
  else if (is_full(facts))
    snprintf(why, size, "%" PRIu64 " guilds are %d %% of what %d shards may have", facts->guilds,
             (int)(facts->guilds * 100 / ((uint64_t)facts->range->total * TG_CHECK_SHARD_FULL)),
             facts->range->total);
  else if (is_outgrown(facts))
    snprintf(why, size, "Discord recommends %d shards, and there are %d", facts->info->shards,
             facts->range->total);
  else
    return 0;
  int wanted = wanted_total(facts), total = wanted > facts->range->total ? choose_total(facts, wanted) : 0;
  if (total == 0)
    format_impossible(facts, wanted, why, size);
  return total;
}
