#include "delivery/reshard/class_impl.h"

enum { SAMPLE = 100, SMALL_SAMPLE = 4 };

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

static bool differs(const struct tg_class_type *type)
{
  uint32_t seen = type->matched + type->missed;
  if (seen < SAMPLE)
    return type->missed >= SMALL_SAMPLE && type->missed > type->matched;
  return type->missed > seen / SAMPLE;
}

static void count_missed(struct tg_class *class, const struct tg_entry *entry)
{
  struct tg_class_type *type = &class->types[entry->type];
  class->unmatched++;
  type->unmatched++;
  if (!entry->counts)
    return;
  type->missed++;
  type->missed_at = class->clocks[TG_CLASS_COMMON].time;
}

/* --- what is too old ----------------------------------------------------------------- */

/* Whether that member has certainly shown what had been shown to the other side by then. */
static bool has_passed(const struct tg_class_member *member, const struct tg_entry *entry)
{
  return member->reach - entry->at >= tg_patience(TG_CLASS_COPY);
}

static bool is_passed(const struct tg_class *class, const struct tg_entry *entry)
{
  const struct tg_class_options *options = &class->options;
  int side = tg_other_side(tg_class_side(class, entry->shown.m));
  int total = side == options->old_side ? options->from : options->to;
  int m = entry->key.guild == 0
              ? -1
              : tg_class_member_of(class, tg_ref_of((int)((entry->key.guild >> 22) % (uint64_t)total), side));
  if (m >= 0)
    return has_passed(&class->members[m], entry);
  for (m = 0; m < class->member_count; m++)
    if (tg_class_side(class, m) == side && !has_passed(&class->members[m], entry))
      return false;
  return true;
}

/* A shard whose heart beats may yet be behind: then all that the other side shows waits, and none of it is to
 * be given up. */
static bool is_over(const struct tg_class *class, const struct tg_entry *entry)
{
  tg_ms now = tg_class_clock_for(class, entry);
  if (now - entry->at < tg_patience(TG_CLASS_COPY))
    return false;
  return now - entry->since >= tg_patience(TG_CLASS_PATIENCE) || is_passed(class, entry);
}

void tg_class_expire(struct tg_class *class)
{
  struct tg_entry *entry = TAILQ_FIRST(&class->match.all), *next;
  uint16_t types = tg_event_type_count();
  for (; entry; entry = next) {
    next = TAILQ_NEXT(entry, of_all);
    if (!is_over(class, entry))
      continue;
    count_missed(class, entry);
    if (entry->kind == TG_ENTRY_OPEN)
      tg_class_close_entry(class, entry);
    else
      tg_class_unhold(class, entry);
  }
  for (uint16_t type = 0; type < types; type++)
    if (class->types[type].missed > 0 && may_differ(class, type) && differs(&class->types[type]))
      cut(class, type);
}
