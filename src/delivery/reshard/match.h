#pragma once

/* Events that one side has shown and the other has not: a multiset by key, first in, first out. Each is an
 * entry; it leaves when its copy comes, or expires. Nothing here knows which side rules.
 *
 * Equal events that come again and again cannot be told apart. If one of them has no copy (a shard has shown
 * it before the other one had its session), the copy of the next is taken for its own, that of the one after
 * for the next one's, and so on: one always waits, and would be missed when sides change. But a guild's
 * events come in one order to both sides: order.h says of which no copy comes any more. And a shard that has
 * shown what came seconds later to the other side will not show it: class_expire.c. */

#include "base/clock.h"
#include "delivery/reshard/hold.h"
#include "proto/event_key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

enum tg_entry_kind {
  TG_ENTRY_OPEN,   /* delivered; the other side's copy is to be dropped */
  TG_ENTRY_HELD,   /* not delivered; if the other side's copy comes, that is */
  TG_ENTRY_PAIRED, /* dropped, because the other side has delivered it: no longer in the set */
  TG_ENTRY_DONE,   /* nobody waits for it any more: no longer in the set */
};

/* Which member has shown an event, in which session, under which number. */
struct tg_entry_place {
  int m; /* -1: none */
  uint64_t epoch, sequence;
};

struct tg_entry {
  struct tg_event_key key;
  enum tg_entry_kind kind;
  uint16_t type;
  bool counts;                 /* for whether the sides differ in that type */
  bool safe;                   /* of one in the skip file: marked as safe there */
  int slot;                    /* in the skip file; -1: it is not there */
  uint64_t noted;              /* tg_class_uses(), when its use was noted there */
  struct tg_entry_place shown; /* where; of an open one: the copy that was delivered */
  struct tg_entry_place given; /* of a paired one: the copy of the other side, which was delivered */
  /* On the clock of the side whose copy is awaited: when it was shown, and since when there was always one of
   * this key that waited. */
  tg_ms at, since;
  uint64_t order;       /* among all that were ever put in */
  bool repeats;         /* an equal one was put in before, not long ago */
  struct tg_hold *hold; /* of a held one */

  TAILQ_ENTRY(tg_entry) of_key;  /* in the set */
  TAILQ_ENTRY(tg_entry) of_all;  /* in the set */
  TAILQ_ENTRY(tg_entry) pending; /* of the member (class_impl.h); all but the open ones */
};

TAILQ_HEAD(tg_entry_list, tg_entry);

struct tg_match {
  struct tg_entry_list *buckets; /* in each, those of one key stand in order */
  size_t bucket_count;           /* a power of 2 */
  size_t count;
  struct tg_entry_list all;
  uint64_t orders;
  uint64_t *recent;           /* hashes of keys that were put in, each in its place */
  struct tg_entry_list spare; /* by their `pending` */
  size_t spare_count;
};

void tg_match_init(struct tg_match *match);
/* With the entries that are in it, and not their holds. */
void tg_match_free(struct tg_match *match);

/* A zeroed entry that is in nothing. */
struct tg_entry *tg_match_new_entry(struct tg_match *match);
/* It is in nothing any more. Its hold is freed, too. */
void tg_match_free_entry(struct tg_match *match, struct tg_entry *entry);

/* The first entry of that key; NULL: none. */
struct tg_entry *tg_match_find(const struct tg_match *match, struct tg_event_key key);
/* The next one of the same key. */
struct tg_entry *tg_match_next(const struct tg_entry *entry);
/* Puts it behind those of its key, and sets its `since`. */
void tg_match_add(struct tg_match *match, struct tg_entry *entry);
void tg_match_take(struct tg_match *match, struct tg_entry *entry);
