#include "delivery/reshard/class_impl.h"

#include <stdlib.h>

/* --- what becomes of entries ---------------------------------------------------------- */

static void count_held(struct tg_class *class, const struct tg_entry *entry, int by)
{
  int64_t bytes = by * (int64_t)entry->hold->size;
  class->held += (uint64_t)by;
  class->held_bytes += (uint64_t)bytes;
  class->members[entry->shown.m].held_bytes += (size_t)bytes;
  *class->options.held_bytes += (uint64_t)bytes;
  if (entry->type == TG_EVENT_INTERACTION_CREATE)
    class->held_interactions += (uint64_t)by;
}

/* It is not in the set any more; the copy is not needed. */
static void leave_hold(struct tg_class *class, struct tg_entry *entry, enum tg_entry_kind kind)
{
  tg_match_take(&class->match, entry);
  count_held(class, entry, -1);
  free(entry->hold);
  entry->hold = NULL;
  entry->kind = kind;
}

void tg_class_unhold(struct tg_class *class, struct tg_entry *entry)
{
  leave_hold(class, entry, TG_ENTRY_DONE);
}

struct tg_hold *tg_class_open_held(struct tg_class *class, struct tg_entry *entry)
{
  struct tg_hold *hold = entry->hold;
  count_held(class, entry, -1);
  entry->kind = TG_ENTRY_OPEN;
  entry->shown.epoch = class->members[entry->shown.m].epoch;
  entry->hold = NULL;
  class->open[tg_class_side(class, entry->shown.m)]++;
  return hold;
}

static void leave_open(struct tg_class *class, struct tg_entry *entry)
{
  tg_match_take(&class->match, entry);
  class->open[tg_class_side(class, entry->shown.m)]--;
}

void tg_class_close_entry(struct tg_class *class, struct tg_entry *entry)
{
  if (entry->slot >= 0) {
    tg_skip_file_use(class->skip, entry->slot, TG_SKIP_NEVER);
    class->uses++;
  }
  leave_open(class, entry);
  tg_match_free_entry(&class->match, entry);
}

static struct tg_entry *new_entry(struct tg_class *class, int m, const struct tg_event *event,
                                  struct tg_event_key key, enum tg_entry_kind kind)
{
  struct tg_entry *entry = tg_match_new_entry(&class->match);
  tg_ms common = class->clocks[TG_CLASS_COMMON].time;
  entry->key = key;
  entry->kind = kind;
  entry->type = event->type;
  entry->slot = -1;
  entry->shown = (struct tg_entry_place){m, class->members[m].epoch, event->sequence};
  entry->given.m = -1;
  entry->at = tg_class_clock_for(class, entry);
  entry->counts = common - class->broken_at >= tg_patience(TG_CLASS_COPY);
  return entry;
}

/* --- the ruler ----------------------------------------------------------------------- */

/* What the ruler delivers piles up while the other side is away. */
static void make_room(struct tg_class *class)
{
  struct tg_entry *entry;
  TAILQ_FOREACH(entry, &class->match.all, of_all)
  {
    if (entry->kind != TG_ENTRY_OPEN || !tg_class_rules(class, entry->shown.m))
      continue;
    tg_class_close_entry(class, entry);
    break;
  }
  tg_class_break(class, class->ruling);
}

static void await_copy(struct tg_class *class, int m, const struct tg_event *event, struct tg_event_key key)
{
  if (class->open[class->ruling] >= TG_CLASS_OPEN_MAX)
    make_room(class);
  tg_match_add(&class->match, new_entry(class, m, event, key, TG_ENTRY_OPEN));
  class->open[class->ruling]++;
}

/* --- pairs --------------------------------------------------------------------------- */

/* Both members have shown the event now: each is as far as the other was. */
static void note_reach(struct tg_class *class, int m, const struct tg_entry *entry)
{
  int earlier = entry->shown.m;
  tg_ms *reach = &class->members[m].reach[earlier];
  if (entry->at > *reach)
    *reach = entry->at;
  class->members[earlier].reach[m] = class->clocks[tg_class_side(class, earlier)].time;
  if (tg_event_key_rule(entry->type) != TG_KEY_ID || entry->repeats)
    return;
  tg_order_note(&class->order, entry->key.guild, tg_class_side(class, m), entry->order);
  tg_order_note(&class->order, entry->key.guild, tg_class_side(class, earlier), class->match.orders);
}

/* Member m shows what the other side has delivered: its copy is dropped. */
static void drop_copy(struct tg_class *class, int m, const struct tg_event *event, struct tg_entry *entry)
{
  leave_open(class, entry);
  entry->kind = TG_ENTRY_PAIRED;
  entry->given = entry->shown;
  entry->shown = (struct tg_entry_place){m, class->members[m].epoch, event->sequence};
  TAILQ_INSERT_TAIL(&class->members[m].pending, entry, pending);
  if (entry->slot >= 0)
    tg_class_note_use(class, entry);
}

/* The ruler's member m shows what the other side holds. */
static void drop_held(struct tg_class *class, int m, const struct tg_event *event, struct tg_entry *entry)
{
  leave_hold(class, entry, TG_ENTRY_PAIRED);
  entry->given = (struct tg_entry_place){m, class->members[m].epoch, event->sequence};
}

/* --- holding ------------------------------------------------------------------------- */

static bool has_room(const struct tg_class *class, const struct tg_class_member *member, size_t size,
                     size_t times)
{
  return member->held_bytes + size <= times * class->options.member_bytes &&
         *class->options.held_bytes + size <= times * class->options.worker_bytes;
}

/* The ruler shows all of it, too, sooner or later. */
static void drop_all_held(struct tg_class *class)
{
  for (int m = 0; m < class->member_count; m++) {
    struct tg_entry *entry;
    TAILQ_FOREACH(entry, &class->members[m].pending, pending)
    {
      if (entry->kind != TG_ENTRY_HELD)
        continue;
      tg_class_unhold(class, entry);
      class->overflowed++;
    }
  }
  class->overflowed++; /* the one for which there was no room */
  tg_class_break(class, tg_other_side(class->ruling));
}

static enum tg_class_verdict hold(struct tg_class *class, int m, const struct tg_event *event,
                                  struct tg_event_key key, enum tg_guild_change change)
{
  struct tg_class_member *member = &class->members[m];
  size_t size = tg_hold_size(event);
  if (!has_room(class, member, size, 1)) {
    if (!class->synced || !has_room(class, member, size, 2)) {
      drop_all_held(class);
      return TG_CLASS_SKIP;
    }
    class->urge = TG_CLASS_OVERFULL;
  }
  struct tg_entry *entry = new_entry(class, m, event, key, TG_ENTRY_HELD);
  entry->hold = tg_hold_copy(event, change, class->now);
  tg_match_add(&class->match, entry);
  TAILQ_INSERT_TAIL(&member->pending, entry, pending);
  count_held(class, entry, 1);
  return TG_CLASS_HOLD;
}

/* --- an event ------------------------------------------------------------------------ */

/* Whether the member's session is as young as what delivers now, though it does not. */
static bool is_late_comer(const struct tg_class *class, int m)
{
  for (int i = 0; i < class->member_count; i++)
    if (tg_class_rules(class, i) && class->members[m].epoch >= class->members[i].epoch)
      return true;
  return false;
}

/* A side that has ruled, and does not any more, has nothing to say but answers to what it was asked before.
 * That a session of it begins, or goes on, is nobody's matter; and for a bot that knows the highest epoch of
 * a shard id, what follows a new one would hide what the other side delivers. */
static bool is_silent(const struct tg_class *class, int m, uint16_t type)
{
  return !tg_class_rules(class, m) && tg_class_has_ruled(class, m) &&
         (type == TG_EVENT_READY || type == TG_EVENT_RESUMED || is_late_comer(class, m));
}

/* What belongs to the session alone is no matter of the other side. */
static enum tg_class_verdict show_own(struct tg_class *class, int m, const struct tg_event *event)
{
  struct tg_class_member *member = &class->members[m];
  if (event->sequence <= member->passed_before)
    return TG_CLASS_SKIP;
  member->passed = event->sequence;
  return is_silent(class, m, event->type) ? TG_CLASS_SKIP : TG_CLASS_PASS;
}

/* What the other side has shown, and this one has not. Of equal ones the first; but one whose copy will not
 * come any more must not take that of the next. */
static struct tg_entry *find_copy(struct tg_class *class, struct tg_event_key key, int side)
{
  struct tg_entry *entry = tg_match_find(&class->match, key), *next;
  for (; entry; entry = next) {
    next = tg_match_next(entry);
    if (tg_class_side(class, entry->shown.m) == side)
      continue;
    if (!tg_class_is_unseen(class, entry) &&
        !tg_class_is_left_behind(class, entry, entry->repeats ? 0 : TG_CLASS_JITTER))
      break;
    tg_class_give_up(class, entry);
  }
  return entry;
}

static enum tg_class_verdict compare(struct tg_class *class, int m, const struct tg_event *event,
                                     enum tg_guild_change change)
{
  struct tg_event_key key = tg_event_key(event, change, class->seed);
  struct tg_entry *copy = find_copy(class, key, tg_class_side(class, m));
  if (copy) {
    note_reach(class, m, copy);
    tg_class_count_match(class, copy);
  }
  if (copy && copy->kind == TG_ENTRY_OPEN) {
    drop_copy(class, m, event, copy);
    return TG_CLASS_SKIP;
  }
  if (!tg_class_rules(class, m))
    return hold(class, m, event, key, change);
  if (copy)
    drop_held(class, m, event, copy);
  else
    await_copy(class, m, event, key);
  return TG_CLASS_PASS;
}

/* The owner could not switch: what the ruler shows now is delivered behind what it has left out. */
static void give_up_urge(struct tg_class *class)
{
  if (class->urge == TG_CLASS_LOST || class->urge == TG_CLASS_MISSED)
    tg_class_break(class, class->ruling);
  class->urge = TG_CLASS_CALM;
}

enum tg_class_verdict tg_class_show(struct tg_class *class, int m, const struct tg_event *event,
                                    enum tg_guild_change change, tg_ms now)
{
  struct tg_class_member *member = &class->members[m];
  bool rules = tg_class_rules(class, m);
  tg_class_clocks(class, now);
  tg_class_read_skip(class);
  if (class->urge != TG_CLASS_CALM && rules)
    give_up_urge(class);
  if (event->sequence > member->seen)
    member->seen = event->sequence;
  if (tg_event_key_rule(event->type) == TG_KEY_SESSION)
    return show_own(class, m, event);
  if (change == TG_GUILD_CHANGE_LOADING)
    return rules ? TG_CLASS_PASS : TG_CLASS_SKIP;
  if (class->types[event->type].cut)
    return rules && event->sequence > member->cut_before ? TG_CLASS_PASS : TG_CLASS_SKIP;
  return compare(class, m, event, change);
}
