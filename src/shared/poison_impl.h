#pragma once

/* The inside of the notes on scripts: what lies in the file. poison.c has those
 * who run scripts, and the file; poison_deaths.c what the manager makes of a
 * death. */

#include "shared/poison.h"

#include <stdatomic.h>
#include <string.h>

enum { TG_POISON_NOTES = 8 }; /* calls inside of each other; further ones are only counted */

struct tg_poison_note {
  struct tg_poison_call call;
  char where[TG_WHERE_SIZE];
  char event[TG_POISON_NAME]; /* of types that have no fixed number */
};

struct tg_poison_place {
  _Atomic uint32_t depth;
  struct tg_poison_note notes[TG_POISON_NOTES];
};

struct tg_poison_event {
  _Atomic uint64_t sequence; /* 0: a free place */
  uint64_t last, epoch;
  int32_t shard_id;
  uint8_t group, number;
  uint8_t deaths;
  char where[TG_WHERE_SIZE];
};

struct tg_poison_hook {
  uint8_t group, number;
  uint8_t manager, off; /* no bool: whatever has been scribbled there is a value */
  int32_t deaths;       /* 0: a free place */
  int64_t died_at;      /* wall clock */
  char where[TG_WHERE_SIZE];
};

struct tg_poison_file {
  char magic[8];
  uint32_t version, layout;
  uint64_t script;
  _Atomic uint32_t event_count, off_count;
  struct tg_poison_event events[TG_POISON_EVENTS];
  uint32_t next_event;
  struct tg_poison_hook hooks[TG_POISON_HOOKS];
  struct tg_poison_place places[TG_POISON_PLACES];
};

/* What this process has mapped; never NULL. */
struct tg_poison_file *tg_poison_file(void);

/* Makes the counts those of the lists. */
void tg_poison_count(struct tg_poison_file *file);

static inline bool tg_poison_is_method(int group)
{
  return group == TG_LUA_manager || group == TG_LUA_shard || group == TG_LUA_delivery ||
         group == TG_LUA_cache;
}

static inline bool tg_poison_same_hook(const struct tg_poison_call *call, const char *where, int group,
                                       int number, const char *its_where)
{
  if (call->group != group || call->number != number)
    return false;
  return tg_poison_is_method(group) || strncmp(where ? where : "", its_where, TG_WHERE_SIZE) == 0;
}
