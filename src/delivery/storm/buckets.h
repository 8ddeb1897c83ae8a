#pragma once

/* Token buckets, one for each key of each rule that was lately in use: a guild, a user, a shard, a type.
 * Pure: time is given.
 *
 * They have a fixed number of places. A bucket that is full says no more than none at all, so that it gives
 * its place to any other. Where a place is wanted and none of those that it may have is full, the fullest one
 * goes, of which too much may pass then; those in a storm stay. */

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_bucket_limit {
  double rate; /* tokens a millisecond */
  double size;
};

struct tg_held;

struct tg_bucket {
  uint64_t id;
  double level; /* tokens, at: */
  tg_ms at;
  tg_ms began, dropped_at; /* its storm: the first and the last that it has dropped ... */
  uint64_t dropped;        /* ... how many, and ... */
  struct tg_held *held;    /* ... its last one, until it is released; NULL: there is none */
  int shard_id;            /* where it has begun */
  uint8_t rule;            /* 1 + its number; 0: the place is free */
  bool storming;
};

enum { TG_BUCKETS = 8192, TG_BUCKETS_WAYS = 8 };

struct tg_buckets {
  struct tg_bucket *at;                 /* TG_BUCKETS, in sets of TG_BUCKETS_WAYS */
  uint64_t seed;                        /* nobody can choose ids that meet in one set */
  const struct tg_bucket_limit *limits; /* by rule; borrowed */
};

void tg_buckets_init(struct tg_buckets *buckets, const struct tg_bucket_limit *limits, uint64_t seed);
void tg_buckets_free(struct tg_buckets *buckets);

/* The bucket of that key, with what has flowed into it until now; a new one is full. NULL: all places that it
 * may have are in a storm. Valid until the next call. */
struct tg_bucket *tg_buckets_get(struct tg_buckets *buckets, int rule, uint64_t id, tg_ms now);
/* What flows into it until then. True: it is full. */
bool tg_bucket_fill(struct tg_bucket *bucket, const struct tg_bucket_limit *limit, tg_ms now);
