#include "manager/reshard/deal.h"

#include "base/buf.h"
#include "shared/class_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- which totals make sense ---- */

static int sessions_of_class(int from, int to)
{
  return (from + to) / tg_class_count(from, to);
}

static int class_limit(const struct tg_config *config)
{
  return config->shards_per_worker < TG_SHARDS_MAX / TG_DEAL_CLASS_MAX
             ? config->shards_per_worker * TG_DEAL_CLASS_MAX
             : TG_SHARDS_MAX;
}

static bool is_crowded(const struct tg_deal_wish *wish, int to)
{
  return wish->guilds > (uint64_t)to * TG_DEAL_GUILDS_MAX;
}

/* Hosts have shards each for itself: a guild's old shard and its new one are the same host's if each class
 * has one old shard. */
static bool splits_across_hosts(const struct tg_deal_wish *wish, int to)
{
  int from = wish->range->total;
  return wish->config->cluster.url && (to <= from || to % from != 0);
}

static bool is_good(const struct tg_deal_wish *wish, int to)
{
  int from = wish->range->total;
  return to >= 1 && to <= TG_SHARDS_MAX && to != from && !is_crowded(wish, to) &&
         !splits_across_hosts(wish, to) && sessions_of_class(from, to) <= class_limit(wish->config);
}

/* The nearest good totals below and above; 0: there is none. */
static int nearest(const struct tg_deal_wish *wish, int step)
{
  int start = wish->to < 0 ? 0 : wish->to > TG_SHARDS_MAX ? TG_SHARDS_MAX + 1 : wish->to;
  for (int to = start + step; to >= 1 && to <= TG_SHARDS_MAX; to += step) {
    if (is_good(wish, to))
      return to;
  }
  return 0;
}

static void format_nearest(const struct tg_deal_wish *wish, char *text, size_t size)
{
  int below = nearest(wish, -1), above = nearest(wish, 1);
  if (below && above)
    snprintf(text, size, "the nearest totals that are possible are %d and %d", below, above);
  else if (below || above)
    snprintf(text, size, "the nearest total that is possible is %d", below ? below : above);
  else
    snprintf(text, size, "no other total is possible");
}

/* What is so of any total: this gateway does not see all. */
static bool may_reshard(const struct tg_deal_wish *wish, struct tg_error *error)
{
  const struct tg_shard_range *range = wish->range;
  if (range->first != 0 || range->last != range->total - 1)
    return tg_fail(error, "bad_argument",
                   "this gateway has shards %d to %d of %d (first_shard_id, last_shard_id): only a gateway "
                   "that has all shards of the bot can reshard it",
                   range->first, range->last, range->total);
  return true;
}

bool tg_deal_check(const struct tg_deal_wish *wish, struct tg_error *error)
{
  int from = wish->range->total, to = wish->to;
  char others[80];
  if (!may_reshard(wish, error))
    return false;
  format_nearest(wish, others, sizeof others);
  if (to < 1 || to > TG_SHARDS_MAX)
    return tg_fail(error, "bad_argument", "a bot has from 1 to %d shards, not %d; %s", TG_SHARDS_MAX, to,
                   others);
  if (to == from)
    return tg_fail(error, "bad_argument", "the bot has %d shard%s already; %s", from, from == 1 ? "" : "s",
                   others);
  if (is_crowded(wish, to))
    return tg_fail(error, "bad_argument",
                   "%d shard%s for %" PRIu64 " guilds would be more than %d guilds a shard, and Discord ends "
                   "shards at 2500; %s",
                   to, to == 1 ? "" : "s", wish->guilds, TG_DEAL_GUILDS_MAX, others);
  if (splits_across_hosts(wish, to))
    return tg_fail(
        error, "bad_argument",
        "hosts of the cluster \"%s\" go over to a multiple of the %d shard%s that there %s, so that "
        "each guild stays with its host, and not to %d; %s",
        wish->config->cluster.name, from, from == 1 ? "" : "s", from == 1 ? "is" : "are", to, others);
  if (!is_good(wish, to))
    return tg_fail(
        error, "bad_argument",
        "from %d to %d shards %d sessions would have to live in one worker at a time, which is more "
        "than %d (%d times shards_per_worker): take a total that has more divisors in common with "
        "%d; %s",
        from, to, sessions_of_class(from, to), class_limit(wish->config), TG_DEAL_CLASS_MAX, from, others);
  return true;
}

/* ---- which worker has which class ---- */

/* Of the workers that have old shards of the class. */
static int choose_worker(const struct tg_deal *deal, int class, const int *owners, const int *dealt)
{
  int count[TG_MAX_WORKERS] = {0}, best = owners[class];
  for (int id = class; id < deal->from; id += deal->classes)
    count[owners[id]]++;
  for (int worker = 0; worker < TG_MAX_WORKERS; worker++) {
    if (count[worker] > count[best] || (count[worker] == count[best] && dealt[worker] < dealt[best]))
      best = worker;
  }
  return best;
}

void tg_deal_make(struct tg_deal *deal, int from, int to, const int *owners)
{
  int dealt[TG_MAX_WORKERS] = {0};
  *deal = (struct tg_deal){.from = from, .to = to, .classes = tg_class_count(from, to)};
  deal->workers = tg_calloc((size_t)deal->classes, sizeof *deal->workers);
  for (int class = 0; class < deal->classes; class ++) {
    int worker = choose_worker(deal, class, owners, dealt);
    deal->workers[class] = worker;
    dealt[worker] += sessions_of_class(from, to);
  }
  for (int id = 0; id < from; id++)
    deal->regroup = deal->regroup || owners[id] != tg_deal_worker(deal, id);
}

bool tg_deal_affects(const struct tg_deal *deal, const int *owners, int worker)
{
  for (int id = 0; id < deal->from; id++) {
    int then = tg_deal_worker(deal, id);
    if (owners[id] != then && (owners[id] == worker || then == worker))
      return true;
  }
  return false;
}

void tg_deal_free(struct tg_deal *deal)
{
  free(deal->workers);
  *deal = (struct tg_deal){0};
}
