#pragma once

/* Where an event stands among all that its shard ever brings, and a part of that. A shard's epochs rise, and
 * its numbers in each: whatever host has had it. */

#include <stdbool.h>
#include <stdint.h>

struct tg_place {
  uint64_t epoch, sequence;
};

static inline bool tg_place_is_behind(struct tg_place place, struct tg_place other)
{
  return place.epoch > other.epoch || (place.epoch == other.epoch && place.sequence > other.sequence);
}

/* What other hosts have not got from Discord, and this one may have: behind `from`, up to and with `to`. */
struct tg_hole {
  struct tg_place from, to;
};

static inline bool tg_hole_has(const struct tg_hole *hole, uint64_t epoch, uint64_t sequence)
{
  struct tg_place place = {epoch, sequence};
  return tg_place_is_behind(place, hole->from) && !tg_place_is_behind(place, hole->to);
}
