#pragma once

/* The bot's guilds. Their ids follow from the seed, and consecutive guilds
 * belong to consecutive shards, whatever the shard count. */

#include "fake_discord/fake.h"

enum { TG_FAKE_REPEATS = 3, TG_FAKE_REPEATED_USERS = 2 };

struct tg_fake_guild {
  uint64_t id;
  bool left; /* the bot is no longer there */
  bool unavailable;
  int out_for; /* unavailable to sessions of so many shards alone; 0: to none */
  uint64_t numbered; /* running number of the last numbered event */
  uint32_t repeated[TG_FAKE_REPEATS][TG_FAKE_REPEATED_USERS]; /* emit/repeats.h: how many there were */
  struct {
    struct tg_fake_session *session; /* NULL: the bot is in no channel */
    uint64_t channel;
    bool self_mute, self_deaf;
  } voice; /* gateway/voice.h */
  tg_ms members_asked; /* when op 8 asked for all members; 0: never */
};

struct tg_fake_guilds {
  struct tg_fake_guild *all;
  size_t count;
};

struct tg_fake_guilds *tg_fake_guilds_new(const struct tg_fake *fake, int count);
void tg_fake_guilds_free(struct tg_fake_guilds *guilds);

/* As at the start: who joined or left, outages and requests are forgotten. */
void tg_fake_guilds_reset(struct tg_fake *fake);

/* Adds one that the bot has joined. */
struct tg_fake_guild *tg_fake_guild_add(struct tg_fake *fake, uint64_t id);

/* NULL: the bot is not in it. */
struct tg_fake_guild *tg_fake_guild_find(struct tg_fake *fake, uint64_t id);

/* Walks the guilds of a shard; start with *at = 0; NULL at the end. */
struct tg_fake_guild *tg_fake_guild_next(struct tg_fake *fake, int shard_id, int total, size_t *at);

size_t tg_fake_guild_count(struct tg_fake *fake, int shard_id, int total);

/* What sessions of so many shards would find it. */
static inline bool tg_fake_guild_is_out(const struct tg_fake_guild *guild, int total)
{
  return guild->unavailable || guild->out_for == total;
}
