#pragma once

/* Which guilds a shard is in, so that a GUILD_CREATE can be told apart: lazy loading after READY, a guild
 * that came back from an outage, or the bot was added to a guild. What each event does:
 *
 *   READY                       the set is these ids, all loading
 *   GUILD_CREATE, full          loading guild: "loading"; known, or in outage: "available";
 *                               unknown: "joined"
 *   GUILD_CREATE, unavailable   a stub, never a join yet: a loading guild's is "loading", any
 *                               other "available"; the guild counts as in outage. One that was
 *                               unknown is "joined" when its full GUILD_CREATE comes
 *   GUILD_DELETE, unavailable   outage: stays known, its next GUILD_CREATE is "available"
 *   GUILD_DELETE                left: forgotten, so that a rejoin is "joined". But of a guild of
 *                               READY's list that has not been seen, during the start, it may be
 *                               an outage as well: its next GUILD_CREATE is "loading" then, and
 *                               afterwards if it has the key "unavailable", which Discord leaves
 *                               out for fresh joins only
 *
 * The set belongs to a session, and outlives the process with it (guild_set.h): after
 * a RESUME by the next one a guild that is known is still known. An event that comes
 * again, because the process died before it was safe, gets the answer of before.
 *
 * Where the set was lost, READY's list is missing. Then an unknown guild that
 * carries "unavailable" (false) is "available", and one without the key "joined". */

#include "delivery/caches/guild_set.h"
#include "proto/event.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_guild_cache {
  struct tg_guild_set set;
  uint32_t count;   /* guilds that the bot is in */
  uint32_t loading; /* of these, not seen yet */
  bool complete;    /* READY's list is in the set */
};

void tg_guild_cache_init(struct tg_guild_cache *cache, struct tg_guild_store *store, int shard_id);
void tg_guild_cache_free(struct tg_guild_cache *cache);

/* Another session. What an earlier process knew of it is taken up; else what comes is of a session whose
 * READY was not seen here. */
void tg_guild_cache_adopt(struct tg_guild_cache *cache, uint64_t epoch);

/* What a GUILD_CREATE is. Changes nothing. TG_GUILD_NONE: `data` names no guild.
 * `sequence` 0: it has none. */
enum tg_guild_create tg_guild_cache_kind(const struct tg_guild_cache *cache, struct tg_span data,
                                         uint64_t sequence);

/* Takes in READY's, GUILD_CREATE's, GUILD_DELETE's d. */
void tg_guild_cache_ready(struct tg_guild_cache *cache, struct tg_span data, uint64_t epoch);
void tg_guild_cache_create(struct tg_guild_cache *cache, struct tg_span data, uint64_t sequence);
/* True: the bot is no longer in that guild (no outage). */
bool tg_guild_cache_delete(struct tg_guild_cache *cache, struct tg_span data);

/* Whoever takes the events knows all guilds already: those that are still to come are "available" then. */
void tg_guild_cache_all_known(struct tg_guild_cache *cache);
/* The session goes on under another epoch. */
void tg_guild_cache_rename(struct tg_guild_cache *cache, uint64_t epoch);
/* Whether the guild is there, or in outage. Both are false for one that still loads. */
bool tg_guild_cache_is_up(const struct tg_guild_cache *cache, uint64_t id);
bool tg_guild_cache_is_down(const struct tg_guild_cache *cache, uint64_t id);
/* Walks the guilds that the bot is in; start with *at = 0. False at the end. */
bool tg_guild_cache_next(const struct tg_guild_cache *cache, uint32_t *at, uint64_t *id);

/* Between READY and the last guild of its list, or tg_guild_cache_loaded(). */
bool tg_guild_cache_starting(const struct tg_guild_cache *cache);
void tg_guild_cache_loaded(struct tg_guild_cache *cache);
