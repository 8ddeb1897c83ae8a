#include "delivery/reshard/class_impl.h"

#include "base/buf.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the list --------------------------------------------------------------------------- */

/* What is noted of the entry while the list is made. */
struct skip_listing {
  const struct tg_class *class;
  struct tg_skip_list *list;
  uint64_t epoch;                     /* of those that take over; 0: theirs are above already */
  uint32_t places[TG_EVENT_TYPE_MAX]; /* of the types' names, and 1 */
};

static uint32_t name_place(struct skip_listing *listing, uint16_t type)
{
  struct tg_skip_list *list = listing->list;
  if (listing->places[type] == 0) {
    list->names = tg_realloc(list->names, (size_t)(list->name_count + 1) * sizeof *list->names);
    memset(list->names[list->name_count], 0, sizeof *list->names);
    snprintf(list->names[list->name_count++], sizeof *list->names, "%s", tg_event_type_name(type));
    listing->places[type] = (uint32_t)list->name_count;
  }
  return listing->places[type] - 1;
}

uint16_t tg_class_type_of(const char *name)
{
  if (strcmp(name, tg_event_type_name(TG_EVENT_OTHER)) == 0)
    return TG_EVENT_OTHER;
  return tg_event_type(name, strlen(name));
}

static uint64_t epoch_afterwards(const struct skip_listing *listing, int m)
{
  const struct tg_class *class = listing->class;
  return tg_class_rules(class, m) || !listing->epoch ? class->members[m].epoch : listing->epoch;
}

/* Of a cluster: all hosts know a session by its epoch, which so does not change without need. */
static bool are_above(const struct tg_class *class)
{
  uint64_t lowest = UINT64_MAX, highest = 0;
  for (int m = 0; m < class->member_count; m++) {
    uint64_t epoch = class->members[m].epoch;
    if (!tg_class_rules(class, m) && epoch < lowest)
      lowest = epoch;
    else if (tg_class_rules(class, m) && epoch > highest)
      highest = epoch;
  }
  return class->options.clustered && lowest > highest;
}

static void list_members(struct skip_listing *listing)
{
  const struct tg_class *class = listing->class;
  struct tg_skip_list *list = listing->list;
  list->member_count = class->member_count;
  list->members = tg_calloc((unsigned)class->member_count, sizeof *list->members);
  for (int m = 0; m < class->member_count; m++) {
    const struct tg_class_member *member = &class->members[m];
    uint64_t passed = member->passed < member->settled ? member->passed : member->settled;
    uint64_t seen = member->seen > member->cut_before ? member->seen : member->cut_before;
    list->members[m] = (struct tg_skip_member){
        .ref = member->ref,
        .seen = (uint32_t)seen,
        .passed = (uint32_t)(passed > member->passed_before ? passed : member->passed_before),
        .flags = class->options.clustered && !tg_class_rules(class, m) ? TG_SKIP_WAITS : 0,
        .epoch = epoch_afterwards(listing, m),
    };
  }
}

/* What was shown in a session that goes on is found again by the epoch that it has from now on. */
static struct tg_skip_place place_of(const struct skip_listing *listing, const struct tg_entry_place *place)
{
  const struct tg_class_member *member = &listing->class->members[place->m];
  bool goes_on = member->session && place->epoch >= member->first_epoch;
  return (struct tg_skip_place){
      .ref = member->ref,
      .sequence = (uint32_t)place->sequence,
      .epoch = goes_on ? epoch_afterwards(listing, place->m) : place->epoch,
  };
}

static struct tg_skip_entry *list_entry(struct skip_listing *listing, const struct tg_entry *entry,
                                        const struct tg_entry_place *given)
{
  struct tg_skip_list *list = listing->list;
  struct tg_skip_entry *row = &list->entries[list->entry_count++];
  *row = (struct tg_skip_entry){
      .guild = entry->key.guild,
      .hash = entry->key.hash,
      .given = place_of(listing, given),
      .use = {.ref = TG_NO_SHARD},
      .type = name_place(listing, entry->type),
      .flags = tg_class_is_safe(listing->class, given) ? TG_SKIP_SAFE : 0,
  };
  return row;
}

/* What was dropped, and is not durable, comes again after a death. */
static void list_pending(struct skip_listing *listing, int m)
{
  const struct tg_class *class = listing->class;
  const struct tg_entry *entry;
  int other = m < class->old_count ? class->old_count : 0; /* some member of the other side */
  TAILQ_FOREACH(entry, &class->members[m].pending, pending)
  {
    if (entry->kind == TG_ENTRY_HELD || class->types[entry->type].cut)
      continue;
    struct tg_entry_place unknown = {other, 0, 0};
    const struct tg_entry_place *given = entry->kind == TG_ENTRY_PAIRED ? &entry->given : &unknown;
    list_entry(listing, entry, given)->use = place_of(listing, &entry->shown);
  }
}

void tg_class_list(const struct tg_class *class, struct tg_skip_list *list)
{
  *list = (struct tg_skip_list){
      .number = class->options.number,
      .from = class->options.from,
      .to = class->options.to,
      .old_side = class->options.old_side,
      .ruling = tg_other_side(class->ruling),
      .seed = class->seed,
  };
  struct skip_listing listing = {class, list, are_above(class) ? 0 : tg_class_next_epoch(class), {0}};
  const struct tg_entry *entry;
  size_t room = class->match.count;
  list_members(&listing);
  for (uint16_t type = 0; type < tg_event_type_count(); type++)
    if (class->types[type].cut)
      name_place(&listing, type);
  list->cut_count = list->name_count;
  for (int m = 0; m < class->member_count; m++)
    TAILQ_FOREACH(entry, &class->members[m].pending, pending)
  room++;
  list->entries = tg_calloc(room + 1, sizeof *list->entries);
  for (int m = 0; m < class->member_count; m++)
    list_pending(&listing, m);
  TAILQ_FOREACH(entry, &class->match.all, of_all)
  {
    if (entry->kind == TG_ENTRY_OPEN)
      list_entry(&listing, entry, &entry->shown);
  }
}

/* --- the switch ------------------------------------------------------------------------- */

/* The open ones stand last in the list, in this order. */
static void take_slots(struct tg_class *class)
{
  const struct tg_skip_list *list = tg_skip_file_list(class->skip);
  int slot = list->entry_count - (int)(class->open[0] + class->open[1]);
  struct tg_entry *entry;
  class->unsafe = false;
  TAILQ_FOREACH(entry, &class->match.all, of_all)
  {
    if (entry->kind != TG_ENTRY_OPEN)
      continue;
    entry->slot = slot;
    entry->safe = list->entries[slot++].flags & TG_SKIP_SAFE;
    class->unsafe |= !entry->safe;
  }
}

/* What is held of the member is as if it had just been shown, and delivered. */
static struct tg_hold **open_held(struct tg_class *class, int m, size_t *count)
{
  struct tg_class_member *member = &class->members[m];
  struct tg_hold **holds = NULL;
  struct tg_entry *entry = TAILQ_FIRST(&member->pending), *next;
  for (*count = 0; entry; entry = next) {
    next = TAILQ_NEXT(entry, pending);
    if (entry->kind != TG_ENTRY_HELD)
      continue;
    TAILQ_REMOVE(&member->pending, entry, pending);
    if (entry->shown.sequence <= member->settled) /* the lane did not have it */
      member->settled = entry->shown.sequence - 1;
    holds = tg_realloc(holds, (*count + 1) * sizeof(struct tg_hold *));
    holds[*count] = tg_class_open_held(class, entry);
    holds[(*count)++]->event.epoch = member->epoch;
  }
  return holds;
}

void tg_class_switch(struct tg_class *class, struct tg_skip_file *file, tg_ms now,
                     void (*release)(void *ctx, int m, const struct tg_class_held *held), void *ctx)
{
  bool uneven = class->urge == TG_CLASS_LOST || class->urge == TG_CLASS_MISSED;
  const struct tg_skip_list *list = tg_skip_file_list(file);
  tg_class_clocks(class, now);
  tg_skip_file_close(class->skip);
  class->skip = file;
  class->skip_read = true;
  for (int m = 0; m < class->member_count; m++) {
    tg_class_know(class, m, list->members[m].epoch);
    class->members[m].taken_at = list->members[m].seen;
  }
  take_slots(class);
  class->ruling = list->ruling;
  class->waits = tg_skip_file_waits(file);
  class->has_ruled[class->ruling] = !class->waits;
  class->uses++;
  class->emptied = class->settled = false;
  class->lost = class->urge == TG_CLASS_LOST ? class->lost : -1;
  class->urge = TG_CLASS_CALM;
  if (uneven)
    tg_class_break(class, tg_other_side(class->ruling));
  for (int m = 0; m < class->member_count; m++) {
    size_t count;
    struct tg_hold **holds = open_held(class, m, &count);
    for (size_t i = 0; i < count; i++) {
      struct tg_class_held held = {&holds[i]->event, holds[i]->change, holds[i]->came_at};
      release(ctx, m, &held);
      free(holds[i]);
    }
    free(holds);
  }
}

void tg_class_note_use(struct tg_class *class, struct tg_entry *entry)
{
  const struct tg_class_member *member = &class->members[entry->shown.m];
  tg_skip_file_use(class->skip, entry->slot,
                   (struct tg_skip_place){
                       .ref = member->ref,
                       .sequence = (uint32_t)entry->shown.sequence,
                       .epoch = member->epoch,
                   });
  entry->noted = ++class->uses;
}

/* --- other hosts -------------------------------------------------------------------------- */

bool tg_class_waits_for_word(const struct tg_class *class)
{
  return class->waits;
}

void tg_class_publish(struct tg_class *class)
{
  if (!class->waits)
    return;
  tg_skip_file_publish(class->skip);
  class->waits = false;
  class->has_ruled[class->ruling] = true;
}

uint64_t tg_class_uses(const struct tg_class *class)
{
  return class->uses;
}

void tg_class_told(struct tg_class *class, uint64_t uses)
{
  class->told = uses;
}

const struct tg_skip_list *tg_class_skip_list(const struct tg_class *class)
{
  return class->skip ? tg_skip_file_list(class->skip) : NULL;
}

/* --- what an earlier process has left ----------------------------------------------------- */

/* Whether the copy that was dropped comes again: it was not durable, and its session goes on. */
static bool comes_again(const struct tg_class *class, const struct tg_skip_place *use)
{
  if (use->ref == TG_NO_SHARD)
    return true;
  int m = use->epoch == UINT64_MAX ? -1 : tg_class_member_of(class, use->ref);
  const struct tg_class_member *member = m < 0 ? NULL : &class->members[m];
  return member && member->session && use->epoch >= member->first_epoch && use->sequence > member->seen;
}

static void read_entry(struct tg_class *class, const struct tg_skip_list *list, int slot)
{
  const struct tg_skip_entry *row = &list->entries[slot];
  int m = tg_class_member_of(class, row->given.ref);
  if (m < 0 || !comes_again(class, &row->use))
    return;
  struct tg_entry_place given = {m, row->given.epoch, row->given.sequence};
  bool safe = row->flags & TG_SKIP_SAFE || (class->members[m].session && tg_class_is_safe(class, &given));
  /* What was delivered into memory alone is lost, and is delivered by the other side. Either is noted: the
   * numbers go on, and would say something else to the next process. */
  if (!safe) {
    tg_skip_file_use(class->skip, slot, TG_SKIP_NEVER);
    return;
  }
  tg_skip_file_safe(class->skip, slot);
  struct tg_entry *entry = tg_match_new_entry(&class->match);
  entry->key = (struct tg_event_key){row->guild, row->hash};
  entry->kind = TG_ENTRY_OPEN;
  entry->type = tg_class_type_of(list->names[row->type]);
  entry->safe = true;
  entry->slot = slot;
  entry->shown = given;
  entry->given.m = -1;
  entry->at = tg_class_clock_for(class, entry);
  tg_match_add(&class->match, entry);
  class->open[tg_class_side(class, m)]++;
}

void tg_class_read_skip(struct tg_class *class)
{
  if (class->skip_read)
    return;
  class->skip_read = true;
  class->uses++;
  const struct tg_skip_list *list = class->skip ? tg_skip_file_list(class->skip) : NULL;
  for (int i = 0; list && i < list->entry_count; i++)
    read_entry(class, list, i);
}
