#pragma once

/* A set of guilds, each with a mark of 32 bits, that outlives its process: a hash
 * table in a memory-mapped file, "guilds/<shard>" of the state directory (of the
 * second set of shards "guilds.1/<shard>"), 16 bytes
 * a guild. What is put in is there for the next process, after kill -9, too; after
 * a power cut it may be damaged, which is seen when it is read.
 *
 * A file belongs to one session: that of its epoch. It is written aside and then
 * takes the place of the one before whole. Where no file can be made the set is in
 * memory alone, and the log says so once. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where the sets of a worker are. */
struct tg_guild_store {
  char *directory;   /* NULL: in memory alone */
  uint64_t identity; /* of the bot and its number of shards */
  bool told;         /* the log knows that files cannot be written */
};

struct tg_guild_set {
  struct tg_guild_store *store;
  int shard_id;
  struct tg_guild_page *page; /* NULL: empty */
  bool mapped, published;
  uint32_t used; /* marks that are not 0 */
};

/* The first three bits of a mark; 0: there is none. What is gone keeps its place
 * until the set grows. */
enum tg_guild_state {
  TG_GUILD_NOWHERE,
  TG_GUILD_LOADS,   /* in READY's list, not seen yet */
  TG_GUILD_IS_UP,   /* seen */
  TG_GUILD_IS_DOWN, /* in outage */
  TG_GUILD_JOINS,   /* unknown before its stub came */
  TG_GUILD_MISSED,  /* in READY's list, and said to be left before it was seen */
  TG_GUILD_GONE,
  TG_GUILD_STATE_BITS = 7,
};

/* Makes the directory. */
void tg_guild_store_open(struct tg_guild_store *store, const char *state_dir, int side, uint64_t identity);
/* Removes the files of shards that are no more. */
void tg_guild_store_sweep(const struct tg_guild_store *store, int total_shards);
void tg_guild_store_close(struct tg_guild_store *store);

/* Forgets what is in memory; the file stays. */
void tg_guild_set_free(struct tg_guild_set *set);

/* Takes up the file of that session. False: there is none that could be used. */
bool tg_guild_set_load(struct tg_guild_set *set, uint64_t epoch);

/* An empty set for a session, with room for so many guilds. Its file counts from
 * tg_guild_set_publish() on. */
void tg_guild_set_begin(struct tg_guild_set *set, uint64_t epoch, uint32_t room);
void tg_guild_set_publish(struct tg_guild_set *set);

/* 0: the guild is not in it. */
uint32_t tg_guild_set_mark(const struct tg_guild_set *set, uint64_t id);
/* `mark` is not 0. */
void tg_guild_set_put(struct tg_guild_set *set, uint64_t id, uint32_t mark);

/* Walks the marks; start with *at = 0. False at the end. */
bool tg_guild_set_next(const struct tg_guild_set *set, uint32_t *at, uint32_t *mark);

/* The guild of the mark that was last found so. */
uint64_t tg_guild_set_last_id(const struct tg_guild_set *set, uint32_t at);

/* The session goes on under another epoch. */
void tg_guild_set_rename(struct tg_guild_set *set, uint64_t epoch);

/* Between READY and the last of its guilds; kept in the file. */
bool tg_guild_set_starting(const struct tg_guild_set *set);
void tg_guild_set_started(struct tg_guild_set *set);
