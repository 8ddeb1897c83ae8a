#pragma once

/* What waits of one shard, in order of position: a ring of 24 bytes a record.
 * Internal to the log. An entry is named by its ordinal, which it keeps as
 * long as it is there; the first one has the ordinal `first`. Entries that are
 * done in the middle stay until all before them are done. */

#include "event_log/event_log.h"

struct tg_index_entry {
  tg_log_position position;
  uint32_t epoch, sequence;
  uint32_t at; /* seconds since 1970 */
  uint32_t length : 28;
  uint32_t keep : 1;
  uint32_t marker : 1;
  uint32_t done : 1;    /* acked or dropped */
  uint32_t dropped : 1; /* ... the latter */
};

_Static_assert(sizeof(struct tg_index_entry) == 24, "there are millions of these");
_Static_assert(TG_LOG_PAYLOAD_MAX < 1 << 28, "a length has 28 bits");

struct tg_log_index {
  struct tg_index_entry *ring;
  uint64_t capacity; /* a power of two, or 0 */
  uint64_t first, count;
  uint64_t hint; /* the ordinal last found */
};

#define TG_NO_ENTRY UINT64_MAX

static inline struct tg_index_entry *tg_index_at(const struct tg_log_index *index, uint64_t ordinal)
{
  return &index->ring[ordinal & (index->capacity - 1)];
}
static inline uint64_t tg_index_end(const struct tg_log_index *index)
{
  return index->first + index->count;
}

void tg_index_push(struct tg_log_index *index, const struct tg_index_entry *entry);

/* Takes the first one out; gives memory back when the backlog is gone. */
void tg_index_pop(struct tg_log_index *index);

/* The ordinal of the first entry at `position` or behind it; the end if there is none. */
uint64_t tg_index_from(struct tg_log_index *index, tg_log_position position);

/* The ordinal of the entry at `position`, or TG_NO_ENTRY. */
uint64_t tg_index_find(struct tg_log_index *index, tg_log_position position);

void tg_index_free(struct tg_log_index *index);
