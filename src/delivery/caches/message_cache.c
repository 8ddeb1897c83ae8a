#include "delivery/caches/message_cache.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum { WAYS = 8 };

struct entry {
  uint64_t id;
  int64_t edited;
  uint32_t hashes[TG_MESSAGE_PARTS];
};

struct tg_message_cache {
  size_t mask;            /* sets - 1 */
  struct entry entries[]; /* sets of WAYS, the last used first */
};

struct tg_message_cache *tg_message_cache_new(size_t capacity)
{
  size_t sets = 1;
  while (sets * WAYS < capacity)
    sets *= 2;
  struct tg_message_cache *cache = tg_calloc(1, sizeof *cache + sets * WAYS * sizeof(struct entry));
  cache->mask = sets - 1;
  return cache;
}

void tg_message_cache_free(struct tg_message_cache *cache)
{
  free(cache);
}

/* Snowflakes count up in their low bits: spread them. */
static size_t set_of(const struct tg_message_cache *cache, uint64_t id)
{
  return ((id * 0x9e3779b97f4a7c15u) >> 32 & cache->mask) * WAYS;
}

/* What an update does not say, it does not change; what all of a message does
 * not say is gone. */
static bool counts(const struct tg_message_facts *facts, int part)
{
  return facts->whole || (facts->present >> part & 1);
}

bool tg_message_cache_changed(const struct tg_message_cache *cache, const struct tg_message_facts *facts)
{
  const struct entry *known = NULL, *set = &cache->entries[set_of(cache, facts->id)];
  for (int i = 0; i < WAYS && !known; i++)
    if (set[i].id == facts->id)
      known = &set[i];
  if (!known || facts->edited > known->edited)
    return true;
  for (int part = 0; part < TG_MESSAGE_PARTS; part++)
    if (counts(facts, part) && facts->hashes[part] != known->hashes[part])
      return true;
  return false;
}

void tg_message_cache_store(struct tg_message_cache *cache, const struct tg_message_facts *facts)
{
  struct entry *set = &cache->entries[set_of(cache, facts->id)];
  int at = 0;
  while (at < WAYS - 1 && set[at].id != facts->id)
    at++;
  struct entry entry = {.id = facts->id, .edited = facts->edited};
  memcpy(entry.hashes, facts->hashes, sizeof entry.hashes);
  if (set[at].id == facts->id) {
    if (entry.edited < set[at].edited)
      entry.edited = set[at].edited;
    for (int part = 0; part < TG_MESSAGE_PARTS; part++)
      if (!counts(facts, part))
        entry.hashes[part] = set[at].hashes[part];
  }
  memmove(set + 1, set, (size_t)at * sizeof set[0]);
  set[0] = entry;
}
