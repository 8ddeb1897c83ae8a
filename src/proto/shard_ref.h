#pragma once

/* Which shard of which set. While a bot goes over from N shards to M, two sets of shards live side by side
 * (sides 0 and 1), and both may have a shard 3. Whatever is kept by shard inside of the gateway is kept by
 * such a reference; people and bots see the shard's id alone, which is its name within the set.
 *
 * A reference of side 0 is the shard's id itself: so it stands in the logs of gateways that knew one set. */

#include <stdint.h>

typedef int tg_shard_ref; /* below 0 (TG_NO_SHARD): none */

enum { TG_REF_SIDE_BIT = 20, TG_REF_ID_MASK = (1 << TG_REF_SIDE_BIT) - 1, TG_SIDES = 2 };

static inline tg_shard_ref tg_ref_of(int shard_id, int side)
{
  return shard_id | side << TG_REF_SIDE_BIT;
}

static inline int tg_ref_id(tg_shard_ref ref)
{
  return ref & TG_REF_ID_MASK;
}

static inline int tg_ref_side(tg_shard_ref ref)
{
  return ref >> TG_REF_SIDE_BIT & 1;
}

/* Its place in an array that has both sets; and back. */
static inline int tg_ref_index(tg_shard_ref ref)
{
  return tg_ref_id(ref) * TG_SIDES + tg_ref_side(ref);
}

static inline tg_shard_ref tg_ref_at(int index)
{
  return tg_ref_of(index / TG_SIDES, index % TG_SIDES);
}
