#pragma once

/* How far a side is in each guild. The events of a guild come to both sides in one order: a side that shows
 * an event has shown all that the other side had shown of that guild in front of it, or never will; and what
 * it has itself shown in front of it, the other side has, too. Places are those of entries (tg_entry.order).
 */

#include "proto/shard_ref.h"

#include <stddef.h>
#include <stdint.h>

struct tg_guild_place {
  uint64_t guild;             /* 0: none */
  uint64_t reached[TG_SIDES]; /* that side has shown the copies of all up to here that it ever will */
};

struct tg_order {
  struct tg_guild_place *places; /* hashed by guild */
  size_t room, count;            /* a power of 2, or 0 */
};

void tg_order_free(struct tg_order *order);

void tg_order_note(struct tg_order *order, uint64_t guild, int side, uint64_t place);

/* 0: nothing is known. */
uint64_t tg_order_reached(const struct tg_order *order, uint64_t guild, int side);
