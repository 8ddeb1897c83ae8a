#include "event_log/log_index.h"

#include "base/buf.h"

#include <stdlib.h>

enum { SMALLEST = 64, KEPT_WHEN_EMPTY = 4096 };

static void resize(struct tg_log_index *index, uint64_t capacity)
{
  struct tg_index_entry *ring = tg_alloc(capacity * sizeof *ring);
  for (uint64_t i = index->first; i < tg_index_end(index); i++)
    ring[i & (capacity - 1)] = *tg_index_at(index, i);
  free(index->ring);
  index->ring = ring;
  index->capacity = capacity;
}

void tg_index_push(struct tg_log_index *index, const struct tg_index_entry *entry)
{
  if (index->count == index->capacity)
    resize(index, index->capacity ? index->capacity * 2 : SMALLEST);
  *tg_index_at(index, tg_index_end(index)) = *entry;
  index->count++;
}

void tg_index_pop(struct tg_log_index *index)
{
  index->first++;
  index->count--;
  if (index->count == 0 && index->capacity > KEPT_WHEN_EMPTY) {
    free(index->ring);
    index->ring = NULL;
    index->capacity = 0;
  } else if (index->capacity > KEPT_WHEN_EMPTY && index->count < index->capacity / 8) {
    resize(index, index->capacity / 4);
  }
}

uint64_t tg_index_from(struct tg_log_index *index, tg_log_position position)
{
  uint64_t low = index->first, high = tg_index_end(index);
  /* Lanes walk: the answer is the last one, or the one behind it. */
  if (index->hint >= low && index->hint < high && tg_index_at(index, index->hint)->position <= position) {
    low = index->hint;
    if (high - low > 4 && tg_index_at(index, low + 3)->position >= position)
      high = low + 3;
  }
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (tg_index_at(index, middle)->position < position)
      low = middle + 1;
    else
      high = middle;
  }
  index->hint = low;
  return low;
}

uint64_t tg_index_find(struct tg_log_index *index, tg_log_position position)
{
  uint64_t ordinal = tg_index_from(index, position);
  if (ordinal == tg_index_end(index) || tg_index_at(index, ordinal)->position != position)
    return TG_NO_ENTRY;
  return ordinal;
}

void tg_index_free(struct tg_log_index *index)
{
  free(index->ring);
  *index = (struct tg_log_index){0};
}
