#include "delivery/reshard/match.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS_MIN = 64, SPARES_MAX = 256, RECENT = 1024 };

static void make_buckets(struct tg_match *match, size_t count)
{
  match->buckets = tg_alloc(count * sizeof *match->buckets);
  match->bucket_count = count;
  for (size_t i = 0; i < count; i++)
    TAILQ_INIT(&match->buckets[i]);
}

void tg_match_init(struct tg_match *match)
{
  *match = (struct tg_match){0};
  TAILQ_INIT(&match->all);
  TAILQ_INIT(&match->spare);
  match->recent = tg_calloc(RECENT, sizeof *match->recent);
  make_buckets(match, BUCKETS_MIN);
}

void tg_match_free(struct tg_match *match)
{
  struct tg_entry *entry;
  while ((entry = TAILQ_FIRST(&match->all))) {
    TAILQ_REMOVE(&match->all, entry, of_all);
    free(entry);
  }
  while ((entry = TAILQ_FIRST(&match->spare))) {
    TAILQ_REMOVE(&match->spare, entry, pending);
    free(entry);
  }
  free(match->buckets);
  free(match->recent);
}

struct tg_entry *tg_match_new_entry(struct tg_match *match)
{
  struct tg_entry *entry = TAILQ_FIRST(&match->spare);
  if (!entry)
    return tg_calloc(1, sizeof *entry);
  TAILQ_REMOVE(&match->spare, entry, pending);
  match->spare_count--;
  memset(entry, 0, sizeof *entry);
  return entry;
}

void tg_match_free_entry(struct tg_match *match, struct tg_entry *entry)
{
  free(entry->hold);
  if (match->spare_count == SPARES_MAX) {
    free(entry);
    return;
  }
  TAILQ_INSERT_HEAD(&match->spare, entry, pending);
  match->spare_count++;
}

static struct tg_entry_list *bucket_of(const struct tg_match *match, struct tg_event_key key)
{
  return &match->buckets[(key.hash ^ key.guild * 0x9e3779b97f4a7c15u) & (match->bucket_count - 1)];
}

/* Those of one key lie in one bucket before and afterwards: walked in order, they stay in order. */
static void grow(struct tg_match *match)
{
  struct tg_entry_list *old = match->buckets;
  size_t count = match->bucket_count;
  make_buckets(match, 2 * count);
  for (size_t i = 0; i < count; i++) {
    struct tg_entry *entry;
    while ((entry = TAILQ_FIRST(&old[i]))) {
      TAILQ_REMOVE(&old[i], entry, of_key);
      TAILQ_INSERT_TAIL(bucket_of(match, entry->key), entry, of_key);
    }
  }
  free(old);
}

struct tg_entry *tg_match_find(const struct tg_match *match, struct tg_event_key key)
{
  struct tg_entry *entry;
  TAILQ_FOREACH(entry, bucket_of(match, key), of_key)
  if (tg_event_key_equal(entry->key, key))
    return entry;
  return NULL;
}

struct tg_entry *tg_match_next(const struct tg_entry *entry)
{
  struct tg_entry *next = TAILQ_NEXT(entry, of_key);
  while (next && !tg_event_key_equal(next->key, entry->key))
    next = TAILQ_NEXT(next, of_key);
  return next;
}

static bool is_again(struct tg_match *match, struct tg_event_key key)
{
  uint64_t hash = key.hash ^ key.guild, *recent = &match->recent[hash % RECENT];
  bool again = *recent == hash;
  *recent = hash;
  return again;
}

void tg_match_add(struct tg_match *match, struct tg_entry *entry)
{
  if (match->count >= match->bucket_count)
    grow(match);
  const struct tg_entry *first = tg_match_find(match, entry->key);
  entry->since = first ? first->since : entry->at;
  TAILQ_INSERT_TAIL(bucket_of(match, entry->key), entry, of_key);
  TAILQ_INSERT_TAIL(&match->all, entry, of_all);
  entry->order = ++match->orders;
  entry->repeats = is_again(match, entry->key) || first;
  match->count++;
}

void tg_match_take(struct tg_match *match, struct tg_entry *entry)
{
  TAILQ_REMOVE(bucket_of(match, entry->key), entry, of_key);
  TAILQ_REMOVE(&match->all, entry, of_all);
  match->count--;
}
