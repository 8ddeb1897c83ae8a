#pragma once

/* What the files of a class share.
 *
 *     class.c          members, their sessions and connections
 *     class_show.c     an event: the same as which?
 *     class_expire.c   what has no copy: the clocks, what is too old, types in which the sides differ
 *     class_states.c   whether it may be switched, or must
 *     class_safe.c     what of a session is done
 *     class_switch.c   the skip list, the switch, and what an earlier process has left */

#include "delivery/reshard/class.h"
#include "delivery/reshard/match.h"
#include "delivery/reshard/order.h"

/* A shard of the class. */
struct tg_class_member {
  tg_shard_ref ref;
  uint64_t epoch; /* the highest that is known; its session's, if it has one */
  bool session;   /* it has one, or one that will be resumed */
  bool loaded;
  enum tg_class_link link;

  uint64_t first_epoch; /* of its session, before it was raised: what came in these epochs has one count */
  uint64_t unseen;  /* tg_entry.order: what was shown up to here was before its session, or its next one */
  uint64_t seen;    /* the highest number that was shown, or does not come again */
  uint64_t settled; /* what it delivered is safe up to here */
  uint64_t alone;   /* the highest number of what it delivered and the other side has certainly not shown */
  uint64_t passed;  /* the highest number of what belongs to the session alone */
  /* What comes again after a death, and was dealt with before: up to here what belongs to the session is
   * delivered, and the types that are cut by time have been dropped. */
  uint64_t passed_before, cut_before;
  uint64_t taken_at; /* the highest number that it had shown when the other side took over */

  /* For each member of the other side, on the clock of this one's side: when that had shown what this one has
   * reached, too. Before that it has nothing that this one has yet to show. */
  tg_ms *reach;

  /* What it has shown, in order, and that is held, or dropped and not settled; what is done waits for those
   * in front of it. */
  struct tg_entry_list pending;
  struct tg_entry *last_safe; /* of those in front, that need no more heed; NULL: none */
  size_t held_bytes;
};

struct tg_class_type {
  uint32_t matched, missed; /* of those that count */
  uint32_t moments;         /* at so many of which those were shown that were missed */
  tg_ms moment;             /* the last one */
  uint64_t unmatched;
  tg_ms missed_at; /* on the common clock; 0: never */
  bool cut;
};

/* A clock that runs while all members that it is about are up. */
struct tg_class_clock {
  tg_ms time; /* from 1 */
  bool runs;
};

enum { TG_CLASS_COMMON = TG_SIDES, TG_CLASS_CLOCKS };

struct tg_class {
  struct tg_class_options options; /* .skip: as it was given, till it is read */
  struct tg_skip_file *skip;       /* of the last switch; NULL: there was none */
  bool skip_read;
  int ruling;
  bool has_ruled[TG_SIDES];
  bool waits; /* the side that rules has taken over, and other hosts do not know yet */
  uint64_t seed;

  struct tg_class_member *members;
  int member_count, old_count;
  tg_ms *reach; /* of all members */

  struct tg_match match;
  struct tg_order order;
  uint64_t held, held_bytes, held_interactions;
  uint64_t open[TG_SIDES]; /* delivered by that side */
  bool unsafe;             /* some of the skip file are not marked as safe there */
  uint64_t unmatched, overflowed;
  struct tg_class_type *types; /* TG_EVENT_TYPE_MAX */

  struct tg_class_clock clocks[TG_CLASS_CLOCKS]; /* of each side; of both together */
  tg_ms now;                                     /* the last that was given */

  tg_ms
      orphaned_since; /* on the other side's clock: a shard of the ruler has no session, that side has all */
  uint64_t uses;      /* so often something was noted in the skip file ... */
  uint64_t told;      /* ... as far as others know */
  bool synced; /* it is known of each event which side has shown it */
  /* On the common clock: when a side last left something out; and since when the other has been far enough
   * for its copies of that to have come, so that they are old by now. */
  tg_ms broken_at, clean_since;
  bool suspect[TG_SIDES]; /* which side that was */
  enum tg_class_urge urge;
  int lost;
  uint32_t missing;
  uint64_t missing_example;
  bool emptied, settled, closed;
};

/* How long things take, on the clocks. */
enum {
  TG_CLASS_JITTER =
      2000, /* what comes to two shards in one order for each guild, comes so much apart for two */
  TG_CLASS_BEHIND = 5000,     /* what awaits its copy for so long says that a shard is behind */
  TG_CLASS_COPY = 10000,      /* a copy that comes at all comes within that, once its shard is that far */
  TG_CLASS_LATE = 12000,      /* what waits longer leaves a doubt */
  TG_CLASS_OVERLAPS = 15000,  /* so long both sides must show the same */
  TG_CLASS_PATIENCE = 60000,  /* so long a shard may be behind the others, unnoticed by its heartbeats */
  TG_CLASS_OPEN_MAX = 1 << 15 /* open entries of the ruler */
};

static inline int tg_class_side(const struct tg_class *class, int m)
{
  return tg_ref_side(class->members[m].ref);
}

static inline int tg_other_side(int side)
{
  return 1 - side;
}

/* The clock of the side from which the copy is to come. */
static inline tg_ms tg_class_clock_for(const struct tg_class *class, const struct tg_entry *entry)
{
  return class->clocks[tg_other_side(tg_class_side(class, entry->shown.m))].time;
}

/* --- class.c --- */

void tg_class_clocks(struct tg_class *class, tg_ms now);
/* The side has not shown, or not to this process, what the other has. */
void tg_class_break(struct tg_class *class, int side);
/* The member does not show something that its side should have shown. */
void tg_class_trouble(struct tg_class *class, int m, enum tg_class_urge urge);

/* --- class_show.c --- */

/* What is held of it is dropped, and counts as done. */
void tg_class_unhold(struct tg_class *class, struct tg_entry *entry);
/* It becomes an open one, in its place among those of its key. Returns the copy, which is the caller's then.
 */
struct tg_hold *tg_class_open_held(struct tg_class *class, struct tg_entry *entry);
/* An open entry has no purpose any more: it is freed. */
void tg_class_close_entry(struct tg_class *class, struct tg_entry *entry);

/* --- class_expire.c --- */

void tg_class_count_match(struct tg_class *class, const struct tg_entry *entry);
/* What has had a copy, and what had none, is counted anew. */
void tg_class_forget_counts(struct tg_class *class);
/* Whether the shard that would have shown the copy has shown what came to the other side by so much later. */
bool tg_class_is_passed(const struct tg_class *class, const struct tg_entry *entry, tg_ms by);
/* Whether its copy will not come, since the session that would show it began later. */
bool tg_class_is_unseen(const struct tg_class *class, const struct tg_entry *entry);
/* Whether the copy will not come, since the side has shown later events of that guild, and the entry is so
 * old. */
bool tg_class_is_left_behind(const struct tg_class *class, const struct tg_entry *entry, tg_ms age);
/* Nobody waits for its copy any more: it is counted, and freed, or done if it was held. */
void tg_class_give_up(struct tg_class *class, struct tg_entry *entry);
void tg_class_expire(struct tg_class *class);

/* --- class_states.c --- */

/* Some shard of the ruler has no session. */
bool tg_class_has_orphans(const struct tg_class *class);

/* --- class_safe.c --- */

bool tg_class_is_safe(const struct tg_class *class, const struct tg_entry_place *place);
/* Its session is over: nothing of it comes again. */
void tg_class_forget_pending(struct tg_class *class, struct tg_class_member *member);
void tg_class_trim(struct tg_class *class, struct tg_class_member *member);

/* --- class_switch.c --- */

/* The type whose name stands in a file. */
uint16_t tg_class_type_of(const char *name);

/* Takes in the entries that an earlier process has left, when all sessions are known. */
void tg_class_read_skip(struct tg_class *class);
/* The copy of a paired entry has come, and is noted in the file. */
void tg_class_note_use(struct tg_class *class, struct tg_entry *entry);
