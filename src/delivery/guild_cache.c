#include "delivery/guild_cache.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum guild_state {
  GUILD_LOADING, /* in READY's list, not seen yet */
  GUILD_AVAILABLE,
  GUILD_OUTAGE,
  GUILD_JOINING, /* unknown before its stub came */
};

enum unavailable { UNAVAILABLE_ABSENT, UNAVAILABLE_FALSE, UNAVAILABLE_TRUE };

void tg_guild_cache_free(struct tg_guild_cache *cache)
{
  free(cache->ids);
  free(cache->states);
  *cache = (struct tg_guild_cache){0};
}

void tg_guild_cache_reset(struct tg_guild_cache *cache)
{
  tg_guild_cache_free(cache);
}

/* The index of `id`, or where it would stand. */
static uint32_t position(const struct tg_guild_cache *cache, uint64_t id, bool *found)
{
  uint32_t low = 0, high = cache->count;
  while (low < high) {
    uint32_t middle = low + (high - low) / 2;
    if (cache->ids[middle] < id)
      low = middle + 1;
    else
      high = middle;
  }
  *found = low < cache->count && cache->ids[low] == id;
  return low;
}

static void reserve(struct tg_guild_cache *cache, uint32_t count)
{
  if (count <= cache->capacity)
    return;
  cache->capacity = count + count / 16 + 8;
  cache->ids = tg_realloc(cache->ids, cache->capacity * sizeof cache->ids[0]);
  cache->states = tg_realloc(cache->states, cache->capacity);
}

static void set_state(struct tg_guild_cache *cache, uint64_t id, enum guild_state state)
{
  bool found;
  uint32_t at = position(cache, id, &found);
  if (!found) {
    reserve(cache, cache->count + 1);
    memmove(cache->ids + at + 1, cache->ids + at, (cache->count - at) * sizeof cache->ids[0]);
    memmove(cache->states + at + 1, cache->states + at, cache->count - at);
    cache->ids[at] = id;
    cache->count++;
  } else if (cache->states[at] == GUILD_LOADING) {
    cache->loading--;
  }
  cache->states[at] = (uint8_t)state;
}

static bool read_guild(struct tg_span data, uint64_t *id, enum unavailable *unavailable)
{
  struct tg_span value;
  const char *end = data.at + data.length;
  if (!data.at || !tg_json_find(data.at, end, "id", &value) || !tg_json_uint(value, id))
    return false;
  *unavailable = UNAVAILABLE_ABSENT;
  if (tg_json_find(data.at, end, "unavailable", &value))
    *unavailable = tg_json_is(value, "true") ? UNAVAILABLE_TRUE : UNAVAILABLE_FALSE;
  return true;
}

enum tg_guild_create tg_guild_cache_kind(const struct tg_guild_cache *cache, struct tg_span data)
{
  uint64_t id;
  enum unavailable unavailable;
  if (!read_guild(data, &id, &unavailable))
    return TG_GUILD_NONE;
  bool found;
  uint32_t at = position(cache, id, &found);
  if (found && cache->states[at] == GUILD_LOADING)
    return TG_GUILD_LOADING;
  if (unavailable == UNAVAILABLE_TRUE)
    return TG_GUILD_AVAILABLE;
  if (found)
    return cache->states[at] == GUILD_JOINING ? TG_GUILD_JOINED : TG_GUILD_AVAILABLE;
  return !cache->complete && unavailable == UNAVAILABLE_FALSE ? TG_GUILD_AVAILABLE : TG_GUILD_JOINED;
}

static int by_number(const void *a, const void *b)
{
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return left < right ? -1 : left > right;
}

void tg_guild_cache_ready(struct tg_guild_cache *cache, struct tg_span data)
{
  tg_guild_cache_reset(cache);
  cache->complete = true;
  struct tg_span guilds, element, value;
  if (!data.at || !tg_json_find(data.at, data.at + data.length, "guilds", &guilds))
    return;
  uint32_t count = 0;
  for (const char *at = NULL; tg_json_next(guilds, &at, &element);)
    count++;
  reserve(cache, count);
  for (const char *at = NULL; tg_json_next(guilds, &at, &element);) {
    uint64_t id;
    if (tg_json_find(element.at, element.at + element.length, "id", &value) && tg_json_uint(value, &id))
      cache->ids[cache->count++] = id;
  }
  if (cache->count == 0)
    return;
  qsort(cache->ids, cache->count, sizeof cache->ids[0], by_number);
  uint32_t kept = 1;
  for (uint32_t i = 1; i < cache->count; i++)
    if (cache->ids[i] != cache->ids[kept - 1])
      cache->ids[kept++] = cache->ids[i];
  cache->count = cache->loading = kept;
  memset(cache->states, GUILD_LOADING, kept);
}

void tg_guild_cache_create(struct tg_guild_cache *cache, struct tg_span data)
{
  uint64_t id;
  enum unavailable unavailable;
  if (!read_guild(data, &id, &unavailable))
    return;
  bool found;
  uint32_t at = position(cache, id, &found);
  if (unavailable != UNAVAILABLE_TRUE)
    set_state(cache, id, GUILD_AVAILABLE);
  else if (!found || cache->states[at] == GUILD_JOINING)
    set_state(cache, id, GUILD_JOINING);
  else
    set_state(cache, id, GUILD_OUTAGE);
}

bool tg_guild_cache_delete(struct tg_guild_cache *cache, struct tg_span data)
{
  uint64_t id;
  enum unavailable unavailable;
  if (!read_guild(data, &id, &unavailable))
    return false;
  bool found;
  uint32_t at = position(cache, id, &found);
  if (unavailable == UNAVAILABLE_TRUE) {
    bool joining = found && cache->states[at] == GUILD_JOINING;
    set_state(cache, id, joining ? GUILD_JOINING : GUILD_OUTAGE);
    return false;
  }
  if (!found)
    return true;
  if (cache->states[at] == GUILD_LOADING)
    cache->loading--;
  cache->count--;
  memmove(cache->ids + at, cache->ids + at + 1, (cache->count - at) * sizeof cache->ids[0]);
  memmove(cache->states + at, cache->states + at + 1, cache->count - at);
  return true;
}
