/* The guilds of a shard: what Discord says of them, any text, and the file that
 * keeps them, to which anything may have happened meanwhile.
 *
 * Two bytes say how long the damage is; behind it stand the events, a line each:
 * R, C or D (READY, GUILD_CREATE, GUILD_DELETE), a letter for the sequence, d. */

#include "fuzz.h"

#include "delivery/caches/guild_cache.h"

enum { SHARD = 3, EPOCH = 7 };

static const char ready[] =
    "{\"guilds\":[{\"id\":\"1\",\"unavailable\":true},{\"id\":\"2\"},{\"id\":\"3\"}]}";

static void check(const struct tg_guild_cache *cache)
{
  uint32_t mark, members = 0, loading = 0;
  for (uint32_t at = 0; tg_guild_set_next(&cache->set, &at, &mark);) {
    uint32_t state = mark & TG_GUILD_STATE_BITS;
    require(state != TG_GUILD_NOWHERE && state <= TG_GUILD_GONE);
    members += state != TG_GUILD_MISSED && state != TG_GUILD_GONE;
    loading += state == TG_GUILD_LOADS;
  }
  require(cache->count == members && cache->loading == loading && loading <= members);
  tg_guild_cache_starting(cache);
}

static void happen(struct tg_guild_cache *cache, const char *line, size_t length)
{
  if (length < 2)
    return;
  struct tg_span data = {line + 2, length - 2};
  uint64_t sequence = (unsigned char)line[1];
  switch (line[0]) {
  case 'R':
    tg_guild_cache_ready(cache, data, EPOCH);
    break;
  case 'C':
    tg_guild_cache_kind(cache, data, sequence);
    tg_guild_cache_create(cache, data, sequence);
    break;
  case 'D':
    tg_guild_cache_delete(cache, data);
    break;
  case 'L':
    tg_guild_cache_loaded(cache);
    break;
  }
  check(cache);
}

static void write_guilds(struct tg_guild_store *store)
{
  struct tg_guild_cache cache;
  tg_guild_cache_init(&cache, store, SHARD);
  tg_guild_cache_ready(&cache, (struct tg_span){ready, sizeof ready - 1}, EPOCH);
  check(&cache);
  tg_guild_cache_free(&cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  if (length < 2)
    return 0;
  size_t damage = (size_t)(bytes[0] << 8 | bytes[1]);
  bytes += 2, length -= 2;
  if (damage > length)
    damage = length;
  fuzz_be_silent();
  struct tg_guild_store store;
  tg_guild_store_open(&store, fuzz_fresh_directory(), 0, 5);
  write_guilds(&store);
  fuzz_damage("guilds/3", bytes, damage);

  struct tg_guild_cache cache;
  tg_guild_cache_init(&cache, &store, SHARD);
  tg_guild_cache_adopt(&cache, EPOCH);
  check(&cache);
  char *text = fuzz_text(bytes + damage, length - damage), *end = text + length - damage;
  for (char *line = text; line < end;) {
    char *behind = memchr(line, '\n', (size_t)(end - line));
    happen(&cache, line, (size_t)((behind ? behind : end) - line));
    line = behind ? behind + 1 : end;
  }
  free(text);

  uint32_t count = cache.count, loading = cache.loading;
  bool is_kept = cache.set.published;
  tg_guild_cache_adopt(&cache, EPOCH); /* by the next process */
  check(&cache);
  require(!is_kept || (cache.count == count && cache.loading == loading));
  tg_guild_cache_free(&cache);
  tg_guild_store_close(&store);
  return 0;
}
