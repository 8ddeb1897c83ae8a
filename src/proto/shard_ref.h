#pragma once

/* Which shard of which set. While a bot goes over from N shards to M, two sets of shards live side by side
 * (sides 0 and 1), and both may have a shard 3. Whatever is kept by shard inside of the gateway is kept by
 * such a reference; people and bots see the shard's id alone, which is its name within the set.
 *
 * Where several hosts share the shards, a shard may go from this one to another, and what this one has not
 * delivered by then is left: it is kept by the shard's left reference, beside what the shard may bring when
 * it is back. A left reference names no shard that runs.
 *
 * A reference of side 0 is the shard's id itself: so it stands in the logs of gateways that knew one set. */

#include <stdbool.h>

#include <stdint.h>

typedef int tg_shard_ref; /* below 0 (TG_NO_SHARD): none */

enum {
  TG_REF_SIDE_BIT = 20,
  TG_REF_LEFT_BIT = 21,
  TG_REF_ID_MASK = (1 << TG_REF_SIDE_BIT) - 1,
  TG_SIDES = 2,
  TG_REF_PLACES = 2 * TG_SIDES, /* of one id in an array by tg_ref_index() */
};

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

/* Under which what is left of a shard is kept. */
static inline tg_shard_ref tg_ref_left(tg_shard_ref ref)
{
  return ref | 1 << TG_REF_LEFT_BIT;
}

static inline bool tg_ref_is_left(tg_shard_ref ref)
{
  return ref >> TG_REF_LEFT_BIT & 1;
}

/* The shard of which it is left; of any other reference that itself. */
static inline tg_shard_ref tg_ref_live(tg_shard_ref ref)
{
  return ref & ~(1 << TG_REF_LEFT_BIT);
}

/* Its place in an array that has both sets, and what is left of them; and back. */
static inline int tg_ref_index(tg_shard_ref ref)
{
  return tg_ref_id(ref) * TG_REF_PLACES + (ref >> TG_REF_SIDE_BIT & (TG_REF_PLACES - 1));
}

static inline tg_shard_ref tg_ref_at(int index)
{
  return index / TG_REF_PLACES | index % TG_REF_PLACES << TG_REF_SIDE_BIT;
}
