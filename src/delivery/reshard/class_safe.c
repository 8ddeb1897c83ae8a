#include "delivery/reshard/class_impl.h"

bool tg_class_is_safe(const struct tg_class *class, const struct tg_entry_place *place)
{
  const struct tg_class_member *member = &class->members[place->m];
  if (place->epoch == 0)
    return true; /* nobody knows which it was: it was long ago */
  if (place->epoch >= member->first_epoch)
    return place->sequence <= member->settled;
  return member->settled > 0; /* a lane keeps the order of its sessions */
}

static void drop_first(struct tg_class *class, struct tg_class_member *member)
{
  struct tg_entry *first = TAILQ_FIRST(&member->pending);
  if (first == member->last_safe)
    member->last_safe = NULL;
  TAILQ_REMOVE(&member->pending, first, pending);
  tg_match_free_entry(&class->match, first);
}

/* Other hosts have still to hear that this copy was dropped. */
static bool is_untold(const struct tg_class *class, const struct tg_entry *entry)
{
  return class->options.clustered && entry->noted > class->told;
}

/* Nothing that was held or dropped comes again for its own sake. */
static bool is_done(const struct tg_class *class, const struct tg_entry *entry)
{
  return entry->kind == TG_ENTRY_DONE || (entry->kind == TG_ENTRY_PAIRED && !is_untold(class, entry) &&
                                          (entry->safe || tg_class_is_safe(class, &entry->given)));
}

/* The first one that is not; NULL: all are. */
static const struct tg_entry *first_in_doubt(const struct tg_class *class, struct tg_class_member *member)
{
  struct tg_entry *entry;
  while (
      (entry = member->last_safe ? TAILQ_NEXT(member->last_safe, pending) : TAILQ_FIRST(&member->pending)) &&
      is_done(class, entry))
    member->last_safe = entry;
  return entry;
}

/* It may come again as long as the lane has something in front of it that is not safe. */
void tg_class_trim(struct tg_class *class, struct tg_class_member *member)
{
  const struct tg_entry *doubt = first_in_doubt(class, member), *first;
  while ((first = TAILQ_FIRST(&member->pending)) != doubt && first->shown.sequence <= member->settled)
    drop_first(class, member);
}

void tg_class_forget_pending(struct tg_class *class, struct tg_class_member *member)
{
  struct tg_entry *first;
  while ((first = TAILQ_FIRST(&member->pending))) {
    if (first->kind == TG_ENTRY_HELD)
      tg_class_unhold(class, first);
    drop_first(class, member);
  }
}

/* What was delivered before the switch has become safe only now. */
static void mark_safe(struct tg_class *class)
{
  struct tg_entry *entry;
  class->unsafe = false;
  TAILQ_FOREACH(entry, &class->match.all, of_all)
  {
    if (entry->slot < 0 || entry->safe)
      continue;
    if ((entry->safe = tg_class_is_safe(class, &entry->shown))) {
      tg_skip_file_safe(class->skip, entry->slot);
      class->uses++;
    } else
      class->unsafe = true;
  }
}

void tg_class_settled(struct tg_class *class, int m, uint64_t epoch, uint64_t through)
{
  struct tg_class_member *member = &class->members[m];
  if (epoch < member->first_epoch || through <= member->settled)
    return;
  member->settled = through;
  if (class->unsafe)
    mark_safe(class);
}

/* What it has shown since the other side took over counts for nobody but this host. */
static bool is_kept_back(const struct tg_class *class, int m)
{
  return class->waits && !tg_class_rules(class, m) && class->members[m].session;
}

bool tg_class_bound(struct tg_class *class, int m, uint64_t *sequence)
{
  struct tg_class_member *member = &class->members[m];
  tg_class_trim(class, member);
  const struct tg_entry *first = first_in_doubt(class, member);
  uint64_t bound = first && first->shown.sequence > 0 ? first->shown.sequence - 1 : 0;
  if (is_kept_back(class, m) && (!first || member->taken_at < bound))
    bound = member->taken_at;
  else if (!first)
    return false;
  *sequence = bound;
  return true;
}
