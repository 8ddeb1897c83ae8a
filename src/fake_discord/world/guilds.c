#include "fake_discord/world/guilds.h"

#include "base/buf.h"

#include <stdlib.h>

/* Milliseconds from Discord's epoch to a day in 2021, a multiple of all numbers
 * up to 16 and of the usual shard counts, so that guild 0 is on shard 0. */
enum { STEP = 720720 };
static const uint64_t first_millisecond = (uint64_t)STEP * 260000;

struct tg_fake_guilds *tg_fake_guilds_new(const struct tg_fake *fake, int count)
{
  struct tg_fake_guilds *guilds = tg_calloc(1, sizeof *guilds);
  guilds->all = tg_calloc((size_t)count, sizeof *guilds->all);
  guilds->count = (size_t)count;
  for (size_t i = 0; i < guilds->count; i++)
    guilds->all[i].id = (first_millisecond + i) << 22 | (tg_fake_mix(fake, i) & 0x3fffff);
  return guilds;
}

void tg_fake_guilds_reset(struct tg_fake *fake)
{
  struct tg_fake_guilds *guilds = fake->guilds;
  guilds->count = (size_t)fake->options->guilds;
  for (size_t i = 0; i < guilds->count; i++) {
    struct tg_fake_guild *guild = &guilds->all[i];
    guild->left = guild->unavailable = false;
    guild->out_for = 0;
    guild->members_asked = 0;
  }
}

void tg_fake_guilds_free(struct tg_fake_guilds *guilds)
{
  free(guilds->all);
  free(guilds);
}

struct tg_fake_guild *tg_fake_guild_add(struct tg_fake *fake, uint64_t id)
{
  struct tg_fake_guilds *guilds = fake->guilds;
  for (size_t i = 0; i < guilds->count; i++)
    if (guilds->all[i].id == id) {
      guilds->all[i].left = false;
      return &guilds->all[i];
    }
  guilds->all = tg_realloc(guilds->all, (guilds->count + 1) * sizeof *guilds->all);
  struct tg_fake_guild *guild = &guilds->all[guilds->count++];
  *guild = (struct tg_fake_guild){.id = id};
  return guild;
}

struct tg_fake_guild *tg_fake_guild_find(struct tg_fake *fake, uint64_t id)
{
  struct tg_fake_guilds *guilds = fake->guilds;
  uint64_t place = (id >> 22) - first_millisecond;
  if (place < guilds->count && guilds->all[place].id == id)
    return guilds->all[place].left ? NULL : &guilds->all[place];
  for (size_t i = 0; i < guilds->count; i++)
    if (guilds->all[i].id == id)
      return guilds->all[i].left ? NULL : &guilds->all[i];
  return NULL;
}

struct tg_fake_guild *tg_fake_guild_next(struct tg_fake *fake, int shard_id, int total, size_t *at)
{
  struct tg_fake_guilds *guilds = fake->guilds;
  while (*at < guilds->count) {
    struct tg_fake_guild *guild = &guilds->all[(*at)++];
    if (!guild->left && (guild->id >> 22) % (uint64_t)total == (uint64_t)shard_id)
      return guild;
  }
  return NULL;
}

size_t tg_fake_guild_count(struct tg_fake *fake, int shard_id, int total)
{
  size_t at = 0, count = 0;
  while (tg_fake_guild_next(fake, shard_id, total, &at))
    count++;
  return count;
}
