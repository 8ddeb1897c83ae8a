#pragma once

/* Which guilds a shard is in, so that a GUILD_CREATE can be told apart
 * (reference, section 7.2): lazy loading after READY, a guild that came back
 * from an outage, or the bot was added to a guild.
 *
 * Sorted array of ids, 9 bytes a guild. What each event does:
 *
 *   READY                       the set is these ids, all loading
 *   GUILD_CREATE, full          loading guild: "loading"; known, or in outage: "available";
 *                               unknown: "joined"
 *   GUILD_CREATE, unavailable   a stub, never a join yet: a loading guild's is "loading", any
 *                               other "available"; the guild counts as in outage. One that was
 *                               unknown is "joined" when its full GUILD_CREATE comes
 *   GUILD_DELETE, unavailable   outage: stays known, its next GUILD_CREATE is "available"
 *   GUILD_DELETE                left: forgotten, so that a rejoin is "joined"
 *
 * After a RESUME in a new process READY's list is missing. Then an unknown
 * guild that carries "unavailable" (false) is "available", and one without the
 * key is "joined": Discord leaves the key out for fresh joins only. */

#include "proto/event.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_guild_cache {
  uint64_t *ids; /* ascending */
  uint8_t *states;
  uint32_t count, capacity;
  uint32_t loading;
  bool complete; /* READY was seen */
};

void tg_guild_cache_free(struct tg_guild_cache *cache);

/* Forgets all; what comes is of a session whose READY was not seen here. */
void tg_guild_cache_reset(struct tg_guild_cache *cache);

/* What a GUILD_CREATE is. Changes nothing. TG_GUILD_NONE: `data` names no guild. */
enum tg_guild_create tg_guild_cache_kind(const struct tg_guild_cache *cache, struct tg_span data);

/* Takes in READY's, GUILD_CREATE's, GUILD_DELETE's d. */
void tg_guild_cache_ready(struct tg_guild_cache *cache, struct tg_span data);
void tg_guild_cache_create(struct tg_guild_cache *cache, struct tg_span data);
/* True: the bot is no longer in that guild (no outage). */
bool tg_guild_cache_delete(struct tg_guild_cache *cache, struct tg_span data);
