#include "delivery/storm/buckets.h"

#include "base/buf.h"

#include <stdlib.h>

void tg_buckets_init(struct tg_buckets *buckets, const struct tg_bucket_limit *limits, uint64_t seed)
{
  *buckets = (struct tg_buckets){
      .at = tg_calloc(TG_BUCKETS, sizeof(struct tg_bucket)), .seed = seed, .limits = limits};
}

void tg_buckets_free(struct tg_buckets *buckets)
{
  free(buckets->at);
  *buckets = (struct tg_buckets){0};
}

bool tg_bucket_fill(struct tg_bucket *bucket, const struct tg_bucket_limit *limit, tg_ms now)
{
  if (now > bucket->at) {
    bucket->level += (double)(now - bucket->at) * limit->rate;
    bucket->at = now;
  }
  if (bucket->level > limit->size)
    bucket->level = limit->size;
  return bucket->level >= limit->size;
}

/* The finaliser of splitmix64. */
static uint64_t mix(uint64_t x)
{
  x ^= x >> 30;
  x *= UINT64_C(0xbf58476d1ce4e5b9);
  x ^= x >> 27;
  x *= UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

struct tg_bucket *tg_buckets_get(struct tg_buckets *buckets, int rule, uint64_t id, tg_ms now)
{
  const struct tg_bucket_limit *limit = &buckets->limits[rule];
  uint64_t set = mix(mix(id ^ buckets->seed) + (uint64_t)rule) % (TG_BUCKETS / TG_BUCKETS_WAYS);
  struct tg_bucket *first = &buckets->at[set * TG_BUCKETS_WAYS], *place = NULL;
  double best = -1;
  for (struct tg_bucket *bucket = first; bucket < first + TG_BUCKETS_WAYS; bucket++) {
    if (bucket->rule == rule + 1 && bucket->id == id) {
      tg_bucket_fill(bucket, limit, now);
      return bucket;
    }
    if (bucket->storming || bucket->held)
      continue;
    double full = 1;
    if (bucket->rule > 0) {
      const struct tg_bucket_limit *its = &buckets->limits[bucket->rule - 1];
      tg_bucket_fill(bucket, its, now);
      full = bucket->level / its->size;
    }
    if (full > best) {
      best = full;
      place = bucket;
    }
  }
  if (place)
    *place = (struct tg_bucket){.id = id, .rule = (uint8_t)(rule + 1), .level = limit->size, .at = now};
  return place;
}
