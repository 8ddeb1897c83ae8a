#include "delivery/reshard/class_impl.h"

#include "base/buf.h"

#include <stdlib.h>

static void add_members(struct tg_class *class, int total, int side)
{
  const struct tg_class_options *options = &class->options;
  int step = tg_class_count(options->from, options->to);
  for (int id = options->number; id < total; id += step) {
    struct tg_class_member *member = &class->members[class->member_count++];
    *member = (struct tg_class_member){.ref = tg_ref_of(id, side)};
    TAILQ_INIT(&member->pending);
  }
}

/* What the file of an earlier process says of the members; its entries wait until their sessions are known.
 */
static void begin_with_file(struct tg_class *class)
{
  const struct tg_skip_list *list = tg_skip_file_list(class->skip);
  class->seed = list->seed;
  class->ruling = list->ruling;
  class->has_ruled[tg_other_side(class->ruling)] = true;
  class->waits = tg_skip_file_waits(class->skip);
  class->has_ruled[class->ruling] = !class->waits;
  for (int i = 0; i < list->member_count; i++) {
    int m = tg_class_member_of(class, list->members[i].ref);
    if (m >= 0)
      tg_class_know(class, m, list->members[i].epoch);
  }
  for (int i = 0; i < list->cut_count; i++)
    class->types[tg_class_type_of(list->names[i])].cut = true;
}

struct tg_class *tg_class_new(const struct tg_class_options *options)
{
  int count = options->from > 0 && options->to > 0 ? tg_class_count(options->from, options->to) : 0;
  if (options->number < 0 || options->number >= count) {
    tg_skip_file_close(options->skip);
    return NULL;
  }
  struct tg_class *class = tg_calloc(1, sizeof *class);
  class->options = *options;
  if (options->member_bytes == 0)
    class->options.member_bytes = TG_HOLD_MEMBER_BYTES;
  if (options->worker_bytes == 0)
    class->options.worker_bytes = TG_HOLD_WORKER_BYTES;
  class->seed = options->seed;
  class->skip = options->skip;
  class->ruling = options->old_side;
  class->has_ruled[class->ruling] = true;
  class->lost = -1;
  class->old_count = options->from / count;
  size_t members = (size_t)(class->old_count + options->to / count);
  class->members = tg_calloc(members, sizeof *class->members);
  class->reach = tg_calloc(members * members, sizeof *class->reach);
  class->types = tg_calloc(TG_EVENT_TYPE_MAX, sizeof *class->types);
  add_members(class, options->from, options->old_side);
  add_members(class, options->to, tg_other_side(options->old_side));
  for (size_t m = 0; m < members; m++)
    class->members[m].reach = class->reach + m * members;
  for (int i = 0; i < TG_CLASS_CLOCKS; i++)
    class->clocks[i].time = 1;
  class->broken_at = class->clean_since = 1;
  class->suspect[0] = class->suspect[1] = true;
  tg_match_init(&class->match);
  if (class->skip)
    begin_with_file(class);
  return class;
}

void tg_class_free(struct tg_class *class)
{
  for (int m = 0; m < class->member_count; m++)
    tg_class_forget_pending(class, &class->members[m]);
  tg_match_free(&class->match);
  tg_order_free(&class->order);
  tg_skip_file_close(class->skip);
  free(class->members);
  free(class->reach);
  free(class->types);
  free(class);
}

int tg_class_number(const struct tg_class *class)
{
  return class->options.number;
}

int tg_class_members(const struct tg_class *class)
{
  return class->member_count;
}

int tg_class_member_of(const struct tg_class *class, tg_shard_ref ref)
{
  const struct tg_class_options *options = &class->options;
  int count = options->from / class->old_count, id = tg_ref_id(ref);
  bool is_old = tg_ref_side(ref) == options->old_side;
  if (ref < 0 || id % count != options->number || id >= (is_old ? options->from : options->to))
    return -1;
  return id / count + (is_old ? 0 : class->old_count);
}

tg_shard_ref tg_class_ref(const struct tg_class *class, int m)
{
  return class->members[m].ref;
}

int tg_class_ruling_side(const struct tg_class *class)
{
  return class->ruling;
}

bool tg_class_rules(const struct tg_class *class, int m)
{
  return tg_class_side(class, m) == class->ruling;
}

bool tg_class_has_ruled(const struct tg_class *class, int m)
{
  return class->has_ruled[tg_class_side(class, m)];
}

/* --- clocks ------------------------------------------------------------------------- */

static bool is_up(const struct tg_class_member *member)
{
  return member->session && member->link == TG_CLASS_UP;
}

/* Time passes by what was so up to now. */
void tg_class_clocks(struct tg_class *class, tg_ms now)
{
  tg_ms passed = class->now > 0 && now > class->now ? now - class->now : 0;
  for (int i = 0; i < TG_CLASS_CLOCKS; i++)
    class->clocks[i].time += class->clocks[i].runs ? passed : 0;
  class->now = now;
}

static void look_at_links(struct tg_class *class)
{
  bool up[TG_SIDES] = {true, true};
  for (int m = 0; m < class->member_count; m++)
    up[tg_class_side(class, m)] &= is_up(&class->members[m]);
  class->clocks[0].runs = up[0];
  class->clocks[1].runs = up[1];
  class->clocks[TG_CLASS_COMMON].runs = up[0] && up[1];
}

/* --- sessions ----------------------------------------------------------------------- */

void tg_class_know(struct tg_class *class, int m, uint64_t epoch)
{
  if (epoch > class->members[m].epoch)
    class->members[m].epoch = epoch;
}

uint64_t tg_class_epoch(const struct tg_class *class, int m)
{
  return class->members[m].epoch;
}

uint64_t tg_class_next_epoch(const struct tg_class *class)
{
  uint64_t highest = 0;
  for (int m = 0; m < class->member_count; m++)
    if (class->members[m].epoch > highest)
      highest = class->members[m].epoch;
  return highest + 1;
}

void tg_class_break(struct tg_class *class, int side)
{
  struct tg_entry *entry;
  TAILQ_FOREACH(entry, &class->match.all, of_all)
  {
    entry->counts = false;
  }
  tg_class_forget_counts(class);
  class->synced = false;
  class->suspect[side] = true;
  class->broken_at = class->clean_since = class->clocks[TG_CLASS_COMMON].time;
}

void tg_class_trouble(struct tg_class *class, int m, enum tg_class_urge urge)
{
  if (class->synced && tg_class_rules(class, m))
    class->urge = urge;
  else
    tg_class_break(class, tg_class_side(class, m));
}

/* The file says of this very session what was dealt with before the switch. */
static void take_up(struct tg_class *class, struct tg_class_member *member)
{
  const struct tg_skip_list *list = class->skip ? tg_skip_file_list(class->skip) : NULL;
  for (int i = 0; list && i < list->member_count; i++) {
    const struct tg_skip_member *known = &list->members[i];
    if (known->ref != member->ref || known->epoch != member->epoch)
      continue;
    member->cut_before = member->taken_at = known->seen;
    if (known->passed > member->passed_before)
      member->passed_before = known->passed;
  }
}

static void lose(struct tg_class *class, int m)
{
  struct tg_class_member *member = &class->members[m];
  member->session = member->loaded = false;
  class->lost = tg_class_side(class, m);
  tg_class_forget_pending(class, member);
  tg_class_trouble(class, m, TG_CLASS_LOST);
  look_at_links(class);
}

void tg_class_session(struct tg_class *class, int m, const struct tg_class_session *session, tg_ms now)
{
  struct tg_class_member *member = &class->members[m];
  tg_class_clocks(class, now);
  if (member->session && session->epoch == member->epoch)
    return;
  if (member->session)
    lose(class, m);
  tg_class_know(class, m, session->epoch);
  tg_class_forget_pending(class, member);
  member->session = true;
  member->first_epoch = member->epoch;
  member->seen = member->settled = session->through;
  member->passed = member->passed_before = session->logged;
  member->alone = member->cut_before = member->taken_at = 0;
  if (!session->fresh)
    take_up(class, member);
  look_at_links(class);
}

void tg_class_link(struct tg_class *class, int m, enum tg_class_link link, tg_ms now)
{
  struct tg_class_member *member = &class->members[m];
  tg_class_clocks(class, now);
  member->link = link;
  if (link == TG_CLASS_DOWN && !member->session)
    member->unseen = class->match.orders;
  look_at_links(class);
}

void tg_class_lost(struct tg_class *class, int m, tg_ms now)
{
  tg_class_clocks(class, now);
  if (!class->members[m].session)
    return;
  lose(class, m);
  class->members[m].unseen = class->match.orders;
}

void tg_class_skipped(struct tg_class *class, int m, tg_ms now)
{
  tg_class_clocks(class, now);
  tg_class_trouble(class, m, TG_CLASS_MISSED);
}

void tg_class_loaded(struct tg_class *class, int m, tg_ms now)
{
  tg_class_clocks(class, now);
  class->members[m].loaded = true;
}

void tg_class_missing(struct tg_class *class, uint32_t guilds, uint64_t example, tg_ms now)
{
  tg_class_clocks(class, now);
  class->missing = guilds;
  class->missing_example = example;
}
