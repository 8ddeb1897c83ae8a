#pragma once

/* Whether a bot needs another number of shards, and which: the default of
 * gateway.manager:resharding_needed. Pure. */

#include "manager/gateway_info.h"
#include "manager/reshard/deal.h"

enum {
  TG_CHECK_SHARD_FULL = 2500, /* guilds, at which Discord ends a shard */
  TG_CHECK_SHARD_WANT = 1000, /* guilds a shard of the new total, at most */
};

struct tg_check_facts {
  const struct tg_config *config;
  const struct tg_gateway_info *info; /* what Discord recommends, and max_concurrency */
  const struct tg_shard_range *range;
  const int *owners; /* worker of each shard */
  uint64_t guilds;   /* that these shards have seen */
  bool refused;      /* a shard that had lost its session was refused with 4011 */
};

/* 0: none is needed (`why` is empty), or none is possible. `why`: in words, for the log. The
 * new total is one that Discord allows to large bots, and of those up to a quarter
 * above what is wanted one for which no worker has to give shards away. */
int tg_check_total(const struct tg_check_facts *facts, char *why, size_t size);

/* How many session starts it takes to go over to that many shards: some sessions
 * will be lost on the way. */
int tg_check_identifies(int to);
/* Whether `remaining` of them are enough to keep `reserve`. */
bool tg_check_budget(int remaining, int reserve, int to);
