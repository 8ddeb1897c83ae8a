#pragma once

/* Which shard belongs where: the arithmetic of shards, workers and guilds.
 * Pure functions. */

#include "config/config.h"

#include <stdint.h>

/* The shards of this gateway, of all shards of the bot. */
struct tg_shard_range {
  int first, last; /* both included */
  int total;
};

enum { TG_MAX_WORKERS = 256 };

/* How many workers `range` needs: as configured, or one a core, but none
 * without a shard. */
int tg_worker_count(const struct tg_config *config, const struct tg_shard_range *range, int cores);

/* Blocks of shards_per_worker, the last worker takes the rest; or round robin. */
int tg_worker_of(const struct tg_config *config, const struct tg_shard_range *range, int workers,
                 int shard_id);

/* What Discord recommends; from 150 shards on (where bots are large, and
 * Discord refuses other numbers with 4010) rounded up to a multiple
 * of max_concurrency, of 16 when that is 1; or down to the last one below
 * TG_SHARDS_MAX. */
int tg_total_shards_of(int recommended, int max_concurrency);

/* (guild_id >> 22) % total */
int tg_shard_of_guild(uint64_t guild_id, int total);
