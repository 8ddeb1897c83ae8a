#include "proto/event_types.h"

#include "base/buf.h"

#include <stdbool.h>
#include <string.h>

enum { SLOTS = 2048, LONGEST_NAME = 64 }; /* a quarter full at most, so that probes stay short */

struct type_name {
  const char *text;
  size_t length;
};

static const struct type_name known[TG_EVENT_KNOWN_COUNT] = {
    {"OTHER", 5},
#define X(name) {#name, sizeof #name - 1},
    TG_EVENT_NAMES(X)
#undef X
};

/* Numbers are indexes into `names`; a slot holds a number, 0 = free. */
static struct {
  struct type_name names[TG_EVENT_TYPE_MAX];
  uint16_t slots[SLOTS];
  uint16_t count;
} the_types;

static uint32_t hash_name(const char *name, size_t length)
{
  uint64_t hash = length * 0x9e3779b97f4a7c15u;
  while (length > 0) {
    uint64_t word = 0;
    size_t step = length < sizeof word ? length : sizeof word;
    memcpy(&word, name, step);
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
    name += step;
    length -= step;
  }
  return (uint32_t)hash % SLOTS;
}

/* The slot that holds the name, or the free one where it belongs. */
static uint16_t *find_slot(const char *name, size_t length)
{
  for (uint32_t i = hash_name(name, length);; i = (i + 1) % SLOTS) {
    uint16_t *slot = &the_types.slots[i];
    const struct type_name *there = &the_types.names[*slot];
    if (*slot == TG_EVENT_OTHER || (there->length == length && memcmp(there->text, name, length) == 0))
      return slot;
  }
}

static void fill(void)
{
  memcpy(the_types.names, known, sizeof known);
  the_types.count = TG_EVENT_KNOWN_COUNT;
  for (uint16_t type = TG_EVENT_OTHER + 1; type < TG_EVENT_KNOWN_COUNT; type++)
    *find_slot(known[type].text, known[type].length) = type;
}

uint16_t tg_event_type(const char *name, size_t length)
{
  if (the_types.count == 0)
    fill();
  if (length == 0 || length > LONGEST_NAME || memchr(name, '\0', length)) /* kept as a text */
    return TG_EVENT_OTHER;
  uint16_t *slot = find_slot(name, length);
  if (*slot == TG_EVENT_OTHER && the_types.count < TG_EVENT_TYPE_MAX) {
    the_types.names[the_types.count] = (struct type_name){tg_strndup(name, length), length};
    *slot = the_types.count++;
  }
  return *slot;
}

const char *tg_event_type_name(uint16_t type)
{
  if (the_types.count == 0)
    fill();
  return the_types.names[type < the_types.count ? type : TG_EVENT_OTHER].text;
}

uint16_t tg_event_type_count(void)
{
  if (the_types.count == 0)
    fill();
  return the_types.count;
}
