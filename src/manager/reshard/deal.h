#pragma once

/* Going over from N shards to M: which classes of guilds that makes, which worker
 * has which, and which M make no sense. Pure.
 *
 * With g = gcd(N, M), class c is the guilds of (id >> 22) % g == c. The old and the
 * new shards that are congruent to c have them, and no others: so a class can go
 * over by itself, and all of its shards live in one worker. */

#include "base/error.h"
#include "config/config.h"
#include "manager/workers/assign.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  TG_DEAL_CLASS_MAX = 4,    /* x shards_per_worker: sessions of a class */
  TG_DEAL_GUILDS_MAX = 2300 /* a new shard; Discord's end is 2500 */
};

struct tg_deal_wish {
  const struct tg_config *config;
  const struct tg_shard_range *range; /* of the shards that there are */
  int to;
  uint64_t guilds; /* that are known; 0: none */
};

/* False: `error` ("bad_argument") says why not, with the good totals that are nearest. */
bool tg_deal_check(const struct tg_deal_wish *wish, struct tg_error *error);

struct tg_deal {
  int from, to;
  int classes;
  int *workers; /* of each class */
  bool regroup; /* old shards of some class lie in another worker */
};

/* `owners`: the worker of each old shard. A class goes to the worker that has most
 * of its old shards; among equals to the one with the fewest shards so far. */
void tg_deal_make(struct tg_deal *deal, int from, int to, const int *owners);
void tg_deal_free(struct tg_deal *deal);

/* The worker of a shard of either set. */
static inline int tg_deal_worker(const struct tg_deal *deal, int shard_id)
{
  return deal->workers[shard_id % deal->classes];
}

/* Whether that worker gives old shards away or gets some. */
bool tg_deal_affects(const struct tg_deal *deal, const int *owners, int worker);
