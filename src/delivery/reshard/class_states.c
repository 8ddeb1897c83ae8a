#include "delivery/reshard/class_impl.h"

#include <stdio.h>

enum { LOOK = 1000 };

/* --- whether the sides agree --------------------------------------------------------- */

/* For how long something has waited for its copy of that side. */
static tg_ms longest_wait(const struct tg_class *class, int side)
{
  const struct tg_entry *entry;
  tg_ms longest = 0;
  TAILQ_FOREACH(entry, &class->match.all, of_all)
  {
    tg_ms waits = class->clocks[side].time - entry->since;
    if (tg_class_side(class, entry->shown.m) != side && waits > longest)
      longest = waits;
  }
  return longest;
}

/* The class has tried long enough: what differs now and then will go on to do so. */
static bool is_patience_over(const struct tg_class *class)
{
  return class->clocks[TG_CLASS_COMMON].time - class->broken_at >= tg_patience(TG_CLASS_PATIENCE);
}

/* Something waits so long that it is in doubt whether its copy comes at all; or, in the end, only that of
 * which this is certain to be known soon, since its shard is not that far. */
static bool is_late(const struct tg_class *class)
{
  const struct tg_entry *entry;
  bool give_up = is_patience_over(class);
  TAILQ_FOREACH(entry, &class->match.all, of_all)
  {
    tg_ms waits = tg_class_clock_for(class, entry) - entry->since;
    if (waits >= tg_patience(TG_CLASS_LATE) &&
        (!give_up || !tg_class_is_passed(class, entry, TG_CLASS_JITTER)))
      return true;
  }
  return false;
}

/* One side has left something out, and the other is not yet as far: it will show it late. */
static void await_other_side(struct tg_class *class)
{
  tg_ms common = class->clocks[TG_CLASS_COMMON].time;
  if (is_patience_over(class))
    return;
  for (int side = 0; side < TG_SIDES; side++)
    if (class->suspect[side] && longest_wait(class, tg_other_side(side)) >= tg_patience(TG_CLASS_BEHIND))
      class->clean_since = common;
}

/* Events of a type had no copy, and it is not known yet whether they never have. */
static bool is_disputed(const struct tg_class *class)
{
  tg_ms now = class->clocks[TG_CLASS_COMMON].time;
  if (is_patience_over(class))
    return false;
  for (uint16_t type = 0; type < tg_event_type_count(); type++) {
    const struct tg_class_type *seen = &class->types[type];
    if (!seen->cut && seen->missed_at > 0 && now - seen->missed_at < tg_patience(TG_CLASS_OVERLAPS))
      return true;
  }
  return false;
}

static bool has_guilds(const struct tg_class *class)
{
  for (int m = 0; m < class->member_count; m++)
    if (tg_class_side(class, m) != class->options.old_side && !class->members[m].loaded)
      return false;
  return true;
}

static bool is_loaded(const struct tg_class *class)
{
  return has_guilds(class) && class->missing == 0;
}

static bool overlaps(const struct tg_class *class)
{
  const struct tg_class_clock *common = &class->clocks[TG_CLASS_COMMON];
  return common->runs && common->time - class->clean_since >= tg_patience(TG_CLASS_OVERLAPS);
}

/* Both sides have shown all for long enough. */
static void look_for_agreement(struct tg_class *class)
{
  if (class->synced)
    return;
  await_other_side(class);
  class->synced = is_loaded(class) && overlaps(class) && !is_late(class) && !is_disputed(class);
  if (!class->synced)
    return;
  class->suspect[0] = class->suspect[1] = false;
  tg_class_forget_counts(class);
}

bool tg_class_is_through(struct tg_class *class)
{
  uint64_t bound;
  if ((class->skip && !class->skip_read) || class->open[tg_other_side(class->ruling)] > 0)
    return false;
  for (int m = 0; m < class->member_count; m++)
    if (tg_class_rules(class, m) && tg_class_bound(class, m, &bound))
      return false;
  return true;
}

bool tg_class_has_orphans(const struct tg_class *class)
{
  for (int m = 0; m < class->member_count; m++)
    if (tg_class_rules(class, m) && !class->members[m].session)
      return true;
  return false;
}

/* A shard of the ruler has no session, and is not about to get one, as when Discord has refused it: the other
 * side's is all there is, whatever is known of the rest. What that side has held since is shown then. */
static bool is_forsaken(struct tg_class *class)
{
  const struct tg_class_clock *other = &class->clocks[tg_other_side(class->ruling)];
  if (!tg_class_has_orphans(class) || !other->runs || class->closed || !has_guilds(class))
    class->orphaned_since = other->time;
  return other->time - class->orphaned_since >= tg_patience(TG_CLASS_OVERLAPS);
}

/* An interaction has to be answered within seconds. */
static bool must_answer(const struct tg_class *class)
{
  if (class->held_interactions == 0 || class->options.grace == 0 || class->clocks[class->ruling].runs)
    return false;
  const struct tg_entry *entry;
  TAILQ_FOREACH(entry, &class->match.all, of_all)
  {
    if (entry->kind == TG_ENTRY_HELD && entry->type == TG_EVENT_INTERACTION_CREATE &&
        class->now - entry->hold->came_at >= class->options.grace / 2)
      return true;
  }
  return false;
}

tg_ms tg_class_tick(struct tg_class *class, tg_ms now)
{
  tg_class_clocks(class, now);
  tg_class_read_skip(class);
  tg_class_expire(class);
  for (int m = 0; m < class->member_count; m++)
    tg_class_trim(class, &class->members[m]);
  look_for_agreement(class);
  if (class->synced && class->urge == TG_CLASS_CALM && must_answer(class))
    class->urge = TG_CLASS_AWAY;
  if (is_forsaken(class))
    class->urge = TG_CLASS_LOST;
  if (class->emptied && tg_class_is_through(class))
    class->settled = true;
  tg_ms look = tg_patience(LOOK), answer = class->options.grace / 4;
  if (class->held_interactions > 0 && answer > 0 && answer < look)
    look = answer;
  return now + (look > 10 ? look : 10);
}

enum tg_class_urge tg_class_urges(const struct tg_class *class)
{
  return class->urge;
}

const char *tg_class_urge_text(enum tg_class_urge urge)
{
  switch (urge) {
  case TG_CLASS_LOST:
    return "a session of the shards that deliver was lost";
  case TG_CLASS_MISSED:
    return "the shards that deliver were not shown some events";
  case TG_CLASS_AWAY:
    return "an interaction waits, and the shard that delivers it has no connection";
  case TG_CLASS_OVERFULL:
    return "more events are held than may be";
  case TG_CLASS_CALM:
    break;
  }
  return "";
}

/* --- states -------------------------------------------------------------------------- */

/* Of a class that came from another host when it had switched: nobody has the old shard any more. */
static bool is_no_more(const struct tg_class *class, int m)
{
  return class->options.clustered && !class->waits && class->ruling != class->options.old_side &&
         m < class->old_count && !class->members[m].session;
}

static int without_session(const struct tg_class *class)
{
  for (int m = 0; m < class->member_count; m++)
    if (!class->members[m].session && !is_no_more(class, m))
      return m;
  return -1;
}

enum tg_class_state tg_class_state(const struct tg_class *class)
{
  if (class->closed)
    return TG_CLASS_GONE;
  if (class->ruling != class->options.old_side)
    return class->settled ? TG_CLASS_SETTLED : TG_CLASS_SWITCHED;
  for (int m = class->old_count; m < class->member_count; m++)
    if (!class->members[m].session)
      return TG_CLASS_WAITING;
  if (!is_loaded(class))
    return TG_CLASS_LOADING;
  return class->synced ? TG_CLASS_READY : TG_CLASS_OVERLAP;
}

/* Nothing waits in memory alone that only the side that rules can be sent again. */
static bool is_safe_alone(const struct tg_class *class)
{
  for (int m = 0; m < class->member_count; m++)
    if (class->members[m].alone > class->members[m].settled)
      return false;
  return true;
}

bool tg_class_may_switch(const struct tg_class *class, bool back)
{
  bool switched = class->ruling != class->options.old_side;
  return switched == back && !class->closed && class->synced && class->clocks[TG_CLASS_COMMON].runs &&
         is_safe_alone(class);
}

static void shard_text(const struct tg_class *class, int m, const char *what, char *text, size_t size)
{
  const char *set = tg_class_side(class, m) == class->options.old_side ? "old" : "new";
  snprintf(text, size, "%s shard %d %s", set, tg_ref_id(class->members[m].ref), what);
}

bool tg_class_waits_for(const struct tg_class *class, char *text, size_t size)
{
  const struct tg_class_clock *common = &class->clocks[TG_CLASS_COMMON];
  int m = without_session(class);
  text[0] = '\0';
  if (class->closed)
    return false;
  if (m >= 0)
    return shard_text(class, m, "has no session", text, size), true;
  for (m = class->old_count; m < class->member_count; m++)
    if (!class->members[m].loaded)
      return shard_text(class, m, "gets its guilds", text, size), true;
  for (m = 0; m < class->member_count; m++)
    if (class->members[m].link != TG_CLASS_UP && !is_no_more(class, m))
      return shard_text(class, m, "connects again", text, size), true;
  tg_ms left = tg_patience(TG_CLASS_OVERLAPS) - (common->time - class->clean_since);
  bool compares = !class->synced && !is_no_more(class, 0);
  if (class->missing > 0)
    snprintf(text, size, "%u guilds are unavailable to one set of shards alone: %llu", class->missing,
             (unsigned long long)class->missing_example);
  else if (compares && left > 0)
    snprintf(text, size, "both sets of shards to show the same for %lld s more",
             (long long)((left + 999) / 1000));
  else if (compares && is_late(class))
    snprintf(text, size, "one set of shards is behind the other");
  else if (compares)
    snprintf(text, size, "events of some type differ between the sets of shards");
  else if (!is_safe_alone(class))
    snprintf(text, size, "what only the shards that deliver have shown to be accepted");
  else if (class->waits)
    snprintf(text, size, "all hosts to know that it has switched");
  else if (class->ruling != class->options.old_side && !class->emptied)
    snprintf(text, size, "events of the old shards to be delivered");
  else if (class->ruling != class->options.old_side && !class->settled)
    snprintf(text, size, "the new shards to show what the old ones have delivered");
  else if (class->ruling == class->options.old_side &&
           class->open[tg_other_side(class->options.old_side)] > 0)
    snprintf(text, size, "the old shards to show what the new ones have delivered");
  return text[0] != '\0';
}

void tg_class_emptied(struct tg_class *class, tg_ms now)
{
  tg_class_clocks(class, now);
  class->emptied = true;
}

void tg_class_closed(struct tg_class *class, tg_ms now)
{
  tg_class_clocks(class, now);
  class->closed = true;
}

/* --- figures ------------------------------------------------------------------------- */

void tg_class_figures(const struct tg_class *class, struct tg_class_figures *figures)
{
  *figures = (struct tg_class_figures){
      .held = class->held,
      .held_bytes = class->held_bytes,
      .open = class->open[0] + class->open[1],
      .unmatched = class->unmatched,
      .overflowed = class->overflowed,
      .lost = class->lost,
  };
}

uint64_t tg_class_unmatched(const struct tg_class *class, uint16_t type)
{
  return class->types[type].unmatched;
}

bool tg_class_is_cut(const struct tg_class *class, uint16_t type)
{
  return class->types[type].cut;
}
