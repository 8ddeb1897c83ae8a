#include "delivery/reshard/class_impl.h"

enum { SAMPLE = 100, SOME = 5, MANY = 10, FAR_MORE = 4, MOMENTS = 6, MOMENT = 1000 /* ms */ };

/* --- types in which the sides differ ------------------------------------------------- */

void tg_class_count_match(struct tg_class *class, const struct tg_entry *entry)
{
  if (entry->counts)
    class->types[entry->type].matched++;
}

static void cut(struct tg_class *class, uint16_t type)
{
  struct tg_entry *entry = TAILQ_FIRST(&class->match.all), *next;
  class->types[type].cut = true;
  for (; entry; entry = next) {
    next = TAILQ_NEXT(entry, of_all);
    if (entry->type == type && entry->kind == TG_ENTRY_OPEN)
      tg_class_close_entry(class, entry);
    else if (entry->type == type)
      tg_class_unhold(class, entry);
  }
}

/* The names of guild changes, messages and interactions are Discord's own: they are the same for both. What
 * has no copy there was not shown. */
static bool may_differ(const struct tg_class *class, uint16_t type)
{
  return !class->types[type].cut && tg_event_key_rule(type) == TG_KEY_DATA;
}

/* Of the types whose names are Discord's own: how many lack a copy because they were not shown. */
static struct tg_class_type control(const struct tg_class *class)
{
  struct tg_class_type all = {0};
  for (uint16_t type = 0; type < tg_event_type_count(); type++) {
    if (tg_event_key_rule(type) != TG_KEY_ID)
      continue;
    all.matched += class->types[type].matched;
    all.missed += class->types[type].missed;
  }
  return all;
}

/* Far more of them lack a copy than of those that have one if they were shown. */
static bool differs(const struct tg_class_type *type, const struct tg_class_type *same)
{
  uint64_t seen = (uint64_t)type->matched + type->missed, of_same = (uint64_t)same->matched + same->missed;
  if (type->moments < MOMENTS) /* what was left out once lacks its copies at one time */
    return false;
  if (of_same > 0 && type->missed * of_same <= FAR_MORE * same->missed * seen)
    return false;
  if (seen < SAMPLE)
    return same->matched >= SOME && type->missed >= SOME && type->missed > type->matched;
  return type->missed >= MANY && type->missed > seen / SAMPLE;
}

static void count_missed(struct tg_class *class, const struct tg_entry *entry)
{
  struct tg_class_type *type = &class->types[entry->type];
  class->unmatched++;
  type->unmatched++;
  if (!entry->counts)
    return;
  type->missed++;
  type->moments += entry->at / MOMENT != type->moment;
  type->moment = entry->at / MOMENT;
  type->missed_at = class->clocks[TG_CLASS_COMMON].time;
}

/* --- what is too old ----------------------------------------------------------------- */

/* The member that would show the copy; -1: it may be any of its side. */
static int shard_of_copy(const struct tg_class *class, const struct tg_entry *entry)
{
  const struct tg_class_options *options = &class->options;
  int side = tg_other_side(tg_class_side(class, entry->shown.m));
  int total = side == options->old_side ? options->from : options->to;
  if (entry->key.guild == 0 && tg_ref_id(class->members[entry->shown.m].ref) != 0)
    return -1; /* but the bot's own: 0 */
  return tg_class_member_of(class, tg_ref_of((int)((entry->key.guild >> 22) % (uint64_t)total), side));
}

bool tg_class_is_unseen(const struct tg_class *class, const struct tg_entry *entry)
{
  int side = tg_class_side(class, entry->shown.m), only = shard_of_copy(class, entry);
  if (entry->kind == TG_ENTRY_HELD && class->urge == TG_CLASS_LOST)
    return false; /* it is about to be delivered for just that */
  if (only >= 0)
    return entry->order <= class->members[only].unseen;
  for (int m = 0; m < class->member_count; m++)
    if (tg_class_side(class, m) != side && entry->order > class->members[m].unseen)
      return false;
  return true;
}

/* Whether that member has come behind the place where it would have shown the copy, by so much. */
static bool has_passed(const struct tg_class_member *member, const struct tg_entry *entry, tg_ms by)
{
  return member->reach[entry->shown.m] - entry->at >= tg_patience(by);
}

bool tg_class_is_passed(const struct tg_class *class, const struct tg_entry *entry, tg_ms by)
{
  int m = shard_of_copy(class, entry);
  if (m >= 0)
    return has_passed(&class->members[m], entry, by);
  /* It may come to any shard that has shown events of that one. */
  bool passed = false;
  for (m = 0; m < class->member_count; m++) {
    if (class->members[m].reach[entry->shown.m] == 0)
      continue;
    passed = has_passed(&class->members[m], entry, by);
    if (!passed)
      break;
  }
  return passed;
}

bool tg_class_is_left_behind(const struct tg_class *class, const struct tg_entry *entry, tg_ms age)
{
  int side = tg_other_side(tg_class_side(class, entry->shown.m));
  return tg_class_clock_for(class, entry) - entry->at >= tg_patience(age) &&
         entry->order <= tg_order_reached(&class->order, entry->key.guild, side);
}

/* One of equal ones, before the next comes: for a type in which the sides differ it is no sign. */
static bool is_given_up_early(const struct tg_class *class, const struct tg_entry *entry)
{
  return entry->repeats && tg_class_clock_for(class, entry) - entry->at < tg_patience(TG_CLASS_COPY);
}

void tg_class_give_up(struct tg_class *class, struct tg_entry *entry)
{
  struct tg_class_member *member = &class->members[entry->shown.m];
  if (tg_class_is_unseen(class, entry) || is_given_up_early(class, entry))
    entry->counts = false;
  count_missed(class, entry);
  if (entry->kind == TG_ENTRY_HELD) {
    tg_class_unhold(class, entry);
    return;
  }
  if (entry->shown.epoch >= member->first_epoch && entry->shown.sequence > member->alone)
    member->alone = entry->shown.sequence;
  tg_class_close_entry(class, entry);
}

/* A shard whose heart beats may yet be behind: then all that the other side shows waits, and none of it is to
 * be given up. */
static bool is_over(const struct tg_class *class, const struct tg_entry *entry)
{
  tg_ms now = tg_class_clock_for(class, entry);
  /* Of a shard that gets no session at all, the other side's is what there is. */
  bool orphan = entry->kind == TG_ENTRY_HELD && tg_class_has_orphans(class);
  if ((tg_class_is_unseen(class, entry) && !orphan) || tg_class_is_left_behind(class, entry, TG_CLASS_BEHIND))
    return true;
  if (entry->repeats && now - entry->at >= tg_patience(TG_CLASS_JITTER) &&
      tg_class_is_passed(class, entry, TG_CLASS_JITTER))
    return true; /* before the next one comes, and is taken for it */
  if (now - entry->at < tg_patience(TG_CLASS_COPY))
    return false;
  return now - entry->since >= tg_patience(TG_CLASS_PATIENCE) ||
         tg_class_is_passed(class, entry, TG_CLASS_COPY);
}

void tg_class_forget_counts(struct tg_class *class)
{
  for (uint16_t type = 0; type < tg_event_type_count(); type++)
    class->types[type].matched = class->types[type].missed = class->types[type].moments = 0;
}

void tg_class_expire(struct tg_class *class)
{
  struct tg_entry *entry = TAILQ_FIRST(&class->match.all), *next;
  uint16_t types = tg_event_type_count();
  for (; entry; entry = next) {
    next = TAILQ_NEXT(entry, of_all);
    if (is_over(class, entry))
      tg_class_give_up(class, entry);
  }
  const struct tg_class_type same = control(class);
  for (uint16_t type = 0; type < types; type++)
    if (class->types[type].missed > 0 && may_differ(class, type) && differs(&class->types[type], &same))
      cut(class, type);
}
