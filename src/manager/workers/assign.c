#include "manager/workers/assign.h"

enum { LARGE_BOT_SHARDS = 150, USUAL_MULTIPLE = 16 };

static int at_most(int value, int limit)
{
  return value < limit ? value : limit;
}

int tg_worker_count(const struct tg_config *config, const struct tg_shard_range *range, int cores)
{
  int shards = range->last - range->first + 1;
  int blocks = (shards + config->shards_per_worker - 1) / config->shards_per_worker;
  int count;
  if (config->total_workers > 0)
    count = at_most(config->total_workers, config->spread_shards_in_round_robin ? shards : blocks);
  else
    count = at_most(cores, blocks);
  if (count < 1)
    count = 1;
  return at_most(count, TG_MAX_WORKERS);
}

int tg_worker_of(const struct tg_config *config, const struct tg_shard_range *range, int workers,
                 int shard_id)
{
  int index = shard_id - range->first;
  if (config->spread_shards_in_round_robin)
    return index % workers;
  return at_most(index / config->shards_per_worker, workers - 1);
}

int tg_total_shards_of(int recommended, int max_concurrency)
{
  if (recommended < LARGE_BOT_SHARDS)
    return recommended;
  int multiple = max_concurrency > 1 ? max_concurrency : USUAL_MULTIPLE;
  int most = TG_SHARDS_MAX / multiple * multiple;
  return at_most((recommended + multiple - 1) / multiple * multiple, most);
}

int tg_shard_of_guild(uint64_t guild_id, int total)
{
  return (int)((guild_id >> 22) % (uint64_t)total);
}
