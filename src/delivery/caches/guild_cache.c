#include "delivery/caches/guild_cache.h"

enum unavailable { UNAVAILABLE_ABSENT, UNAVAILABLE_FALSE, UNAVAILABLE_TRUE };

/* A mark: the state, and of the GUILD_CREATE that was the first of the guild what it
 * was, and its sequence (0: it was not seen, or does not fit). */
enum { JOINED = TG_GUILD_STATE_BITS + 1, SEQUENCE_SHIFT = 4, SEQUENCE_MAX = (1 << 28) - 1 };

static enum tg_guild_state state_of(uint32_t mark) { return mark & TG_GUILD_STATE_BITS; }

static bool is_member(enum tg_guild_state state)
{
  return state != TG_GUILD_NOWHERE && state != TG_GUILD_MISSED && state != TG_GUILD_GONE;
}

void tg_guild_cache_init(struct tg_guild_cache *cache, struct tg_guild_store *store, int shard_id)
{
  *cache = (struct tg_guild_cache){.set = {.store = store, .shard_id = shard_id}};
}

void tg_guild_cache_free(struct tg_guild_cache *cache)
{
  tg_guild_set_free(&cache->set);
  cache->count = cache->loading = 0;
  cache->complete = false;
}

static void count_mark(struct tg_guild_cache *cache, uint32_t mark, int change)
{
  cache->count += (uint32_t)(is_member(state_of(mark)) ? change : 0);
  cache->loading += (uint32_t)(state_of(mark) == TG_GUILD_LOADS ? change : 0);
}

void tg_guild_cache_adopt(struct tg_guild_cache *cache, uint64_t epoch)
{
  tg_guild_cache_free(cache);
  cache->complete = tg_guild_set_load(&cache->set, epoch);
  uint32_t mark;
  for (uint32_t at = 0; tg_guild_set_next(&cache->set, &at, &mark);)
    count_mark(cache, mark, 1);
}

static void put(struct tg_guild_cache *cache, uint64_t id, uint32_t before, uint32_t mark)
{
  count_mark(cache, before, -1);
  count_mark(cache, mark, 1);
  tg_guild_set_put(&cache->set, id, mark);
}

static uint32_t in_state(uint32_t mark, enum tg_guild_state state)
{
  return (mark & ~(uint32_t)TG_GUILD_STATE_BITS) | state;
}

static bool read_guild(struct tg_span data, uint64_t *id, enum unavailable *unavailable)
{
  struct tg_span value;
  if (!tg_json_member(data, "id", &value) || !tg_json_uint(value, id))
    return false;
  *unavailable = UNAVAILABLE_ABSENT;
  if (tg_json_member(data, "unavailable", &value))
    *unavailable = tg_json_is(value, "true") ? UNAVAILABLE_TRUE : UNAVAILABLE_FALSE;
  return true;
}

static enum tg_guild_create judge(const struct tg_guild_cache *cache, uint32_t mark,
                                  enum unavailable unavailable, uint64_t sequence)
{
  if (sequence > 0 && mark >> SEQUENCE_SHIFT == sequence)
    return mark & JOINED ? TG_GUILD_JOINED : TG_GUILD_LOADING;
  switch (state_of(mark)) {
  case TG_GUILD_LOADS:
    return TG_GUILD_LOADING;
  case TG_GUILD_MISSED:
    if (unavailable != UNAVAILABLE_ABSENT || tg_guild_set_starting(&cache->set))
      return TG_GUILD_LOADING;
    return TG_GUILD_JOINED;
  case TG_GUILD_IS_UP:
  case TG_GUILD_IS_DOWN:
    return TG_GUILD_AVAILABLE;
  case TG_GUILD_JOINS:
    return unavailable == UNAVAILABLE_TRUE ? TG_GUILD_AVAILABLE : TG_GUILD_JOINED;
  default:
    break;
  }
  bool hint = !cache->complete && unavailable == UNAVAILABLE_FALSE;
  return hint || unavailable == UNAVAILABLE_TRUE ? TG_GUILD_AVAILABLE : TG_GUILD_JOINED;
}

enum tg_guild_create tg_guild_cache_kind(const struct tg_guild_cache *cache, struct tg_span data,
                                         uint64_t sequence)
{
  uint64_t id;
  enum unavailable unavailable;
  if (!read_guild(data, &id, &unavailable))
    return TG_GUILD_NONE;
  return judge(cache, tg_guild_set_mark(&cache->set, id), unavailable, sequence);
}

void tg_guild_cache_ready(struct tg_guild_cache *cache, struct tg_span data, uint64_t epoch)
{
  tg_guild_cache_free(cache);
  cache->complete = true;
  struct tg_span guilds = {0}, element, value;
  uint32_t count = 0;
  if (tg_json_member(data, "guilds", &guilds))
    for (const char *at = NULL; tg_json_next(guilds, &at, &element);)
      count++;
  tg_guild_set_begin(&cache->set, epoch, count);
  for (const char *at = NULL; count > 0 && tg_json_next(guilds, &at, &element);) {
    uint64_t id;
    if (tg_json_member(element, "id", &value) && tg_json_uint(value, &id))
      put(cache, id, tg_guild_set_mark(&cache->set, id), TG_GUILD_LOADS);
  }
  tg_guild_set_publish(&cache->set);
}

void tg_guild_cache_create(struct tg_guild_cache *cache, struct tg_span data, uint64_t sequence)
{
  uint64_t id;
  enum unavailable unavailable;
  if (!read_guild(data, &id, &unavailable))
    return;
  uint32_t before = tg_guild_set_mark(&cache->set, id), mark = before;
  enum tg_guild_create kind = judge(cache, before, unavailable, sequence);
  if (kind != TG_GUILD_AVAILABLE) /* the first of its guild */
    mark = (uint32_t)(sequence <= SEQUENCE_MAX ? sequence << SEQUENCE_SHIFT : 0) |
           (kind == TG_GUILD_JOINED ? JOINED : 0);
  if (unavailable != UNAVAILABLE_TRUE)
    mark = in_state(mark, TG_GUILD_IS_UP);
  else if (!is_member(state_of(before)) && state_of(before) != TG_GUILD_MISSED)
    mark = in_state(0, TG_GUILD_JOINS);
  else
    mark = in_state(mark, state_of(before) == TG_GUILD_JOINS ? TG_GUILD_JOINS : TG_GUILD_IS_DOWN);
  put(cache, id, before, mark);
}

bool tg_guild_cache_delete(struct tg_guild_cache *cache, struct tg_span data)
{
  uint64_t id;
  enum unavailable unavailable;
  if (!read_guild(data, &id, &unavailable))
    return false;
  uint32_t mark = tg_guild_set_mark(&cache->set, id);
  enum tg_guild_state state = state_of(mark);
  if (unavailable == UNAVAILABLE_TRUE) {
    put(cache, id, mark, in_state(mark, state == TG_GUILD_JOINS ? TG_GUILD_JOINS : TG_GUILD_IS_DOWN));
    return false;
  }
  bool missed = state == TG_GUILD_LOADS && tg_guild_set_starting(&cache->set);
  if (is_member(state))
    put(cache, id, mark, in_state(mark, missed ? TG_GUILD_MISSED : TG_GUILD_GONE));
  return true;
}

bool tg_guild_cache_starting(const struct tg_guild_cache *cache)
{
  return cache->loading > 0 && tg_guild_set_starting(&cache->set);
}

void tg_guild_cache_loaded(struct tg_guild_cache *cache) { tg_guild_set_started(&cache->set); }

void tg_guild_cache_all_known(struct tg_guild_cache *cache)
{
  uint32_t mark;
  for (uint32_t at = 0; cache->loading > 0 && tg_guild_set_next(&cache->set, &at, &mark);)
    if (state_of(mark) == TG_GUILD_LOADS)
      put(cache, tg_guild_set_last_id(&cache->set, at), mark, in_state(mark, TG_GUILD_IS_DOWN));
  tg_guild_set_started(&cache->set);
}

void tg_guild_cache_rename(struct tg_guild_cache *cache, uint64_t epoch)
{
  tg_guild_set_rename(&cache->set, epoch);
}

bool tg_guild_cache_next(const struct tg_guild_cache *cache, uint32_t *at, uint64_t *id)
{
  uint32_t mark;
  while (tg_guild_set_next(&cache->set, at, &mark))
    if (is_member(state_of(mark))) {
      *id = tg_guild_set_last_id(&cache->set, *at);
      return true;
    }
  return false;
}

bool tg_guild_cache_is_up(const struct tg_guild_cache *cache, uint64_t id)
{
  return state_of(tg_guild_set_mark(&cache->set, id)) == TG_GUILD_IS_UP;
}

bool tg_guild_cache_is_down(const struct tg_guild_cache *cache, uint64_t id)
{
  return state_of(tg_guild_set_mark(&cache->set, id)) == TG_GUILD_IS_DOWN;
}
