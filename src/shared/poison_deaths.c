#include "shared/poison_impl.h"

#include "hooks/methods.h"
#include "proto/event_types.h"

#include <stdio.h>

static void name_hook(const struct tg_poison_call *call, char name[TG_POISON_NAME])
{
  const char *of = "";
  const char *text = "the script";
  switch ((enum tg_lua_group)call->group) {
  case TG_LUA_manager:
  case TG_LUA_shard:
  case TG_LUA_delivery:
  case TG_LUA_cache:
    text = call->number < TG_METHOD_COUNT ? tg_methods[call->number].full : "a method";
    break;
  case TG_LUA_filter:
    text = "gateway.filter";
    break;
  case TG_LUA_handler:
    text = "gateway.on";
    break;
  case TG_LUA_life_cycle:
    text = "gateway.on ";
    of = call->number < TG_LIFE_COUNT ? tg_life_names[call->number] : "?";
    break;
  case TG_LUA_broadcast:
    text = "gateway.on_broadcast";
    break;
  case TG_LUA_timer:
    text = "gateway.spawn, after or every";
    break;
  case TG_LUA_load:
    text = call->number == 0 ? "the top level of the script" : "the top level of the script, in a reload,";
    break;
  case TG_LUA_route:
    text = "self:route";
    break;
  case TG_LUA_sink:
    text = "gateway.sink(...).deliver";
    break;
  case TG_LUA_GROUP_COUNT:
    break;
  }
  snprintf(name, TG_POISON_NAME, "%s%s", text, of);
}

/* ---- the lists ---- */

static struct tg_poison_event *find_event(struct tg_poison_file *file, const struct tg_poison_call *call)
{
  for (int i = 0; i < TG_POISON_EVENTS; i++) {
    struct tg_poison_event *event = &file->events[i];
    if (atomic_load(&event->sequence) == call->sequence && event->last == call->last &&
        event->epoch == call->epoch && event->shard_id == call->shard_id)
      return event;
  }
  return NULL;
}

/* A free place, or that of the oldest. */
static struct tg_poison_event *place_for_event(struct tg_poison_file *file)
{
  for (int i = 0; i < TG_POISON_EVENTS; i++)
    if (atomic_load(&file->events[i].sequence) == 0)
      return &file->events[i];
  return &file->events[file->next_event++ % TG_POISON_EVENTS];
}

/* Returns how many processes it has ended. */
static int add_event(struct tg_poison_file *file, const struct tg_poison_call *call, const char *where)
{
  struct tg_poison_event *event = find_event(file, call);
  if (event) {
    event->deaths += event->deaths < TG_POISON_DEATHS_OF_EVENT;
    return event->deaths;
  }
  event = place_for_event(file);
  atomic_store(&event->sequence, 0);
  event->last = call->last;
  event->epoch = call->epoch;
  event->shard_id = call->shard_id;
  event->group = call->group;
  event->number = call->number;
  event->deaths = 1;
  snprintf(event->where, sizeof event->where, "%s", where);
  atomic_store_explicit(&event->sequence, call->sequence, memory_order_release);
  tg_poison_count(file);
  return 1;
}

/* The hook's place; else a free one, or that of the hook that died longest ago
 * and is not off. NULL: all are off. */
static struct tg_poison_hook *hook_of(struct tg_poison_file *file, bool manager,
                                      const struct tg_poison_call *call, const char *where)
{
  struct tg_poison_hook *best = NULL;
  for (int i = 0; i < TG_POISON_HOOKS; i++) {
    struct tg_poison_hook *hook = &file->hooks[i];
    if (hook->deaths > 0 && hook->manager == manager &&
        tg_poison_same_hook(call, where, hook->group, hook->number, hook->where))
      return hook;
    bool better = !best || (best->deaths > 0 && (hook->deaths == 0 || hook->died_at < best->died_at));
    if (!hook->off && better)
      best = hook;
  }
  if (!best)
    return NULL;
  *best = (struct tg_poison_hook){.group = call->group, .number = call->number, .manager = manager};
  snprintf(best->where, sizeof best->where, "%s", where);
  return best;
}

static void count_death(struct tg_poison_file *file, bool manager, struct tg_poison_death *death)
{
  struct tg_poison_hook *hook = hook_of(file, manager, &death->call, death->where);
  int64_t now = tg_wall_clock();
  if (!hook)
    return;
  bool counts = hook->died_at <= now && hook->died_at >= now - TG_POISON_WINDOW;
  if (!counts || hook->deaths < 0 || hook->deaths == INT32_MAX)
    hook->deaths = 0;
  hook->died_at = now;
  death->deaths = ++hook->deaths;
  int enough = death->call.sequence > 0 ? TG_POISON_EVENT_DEATHS : TG_POISON_DEATHS;
  if (hook->off || hook->deaths < enough)
    return;
  hook->off = 1;
  death->off = true;
  tg_poison_count(file);
}

/* ---- deaths ---- */

static void make_sound(char *text, size_t size)
{
  text[size - 1] = '\0';
  for (; *text; text++)
    if ((unsigned char)*text < ' ')
      *text = '?';
}

static bool is_sound(const struct tg_poison_call *call)
{
  return call->group < TG_LUA_GROUP_COUNT && call->last >= call->sequence;
}

bool tg_poison_take(int worker, bool guilty, struct tg_poison_death *death)
{
  struct tg_poison_file *file = tg_poison_file();
  struct tg_poison_place *place = &file->places[worker == TG_POISON_MANAGER ? 0 : worker + 1];
  uint32_t depth = atomic_exchange(&place->depth, 0);
  if (depth == 0)
    return false;
  struct tg_poison_note note = place->notes[depth < TG_POISON_NOTES ? depth - 1 : TG_POISON_NOTES - 1];
  if (!is_sound(&note.call))
    return false;
  make_sound(note.where, sizeof note.where);
  make_sound(note.event, sizeof note.event);
  *death = (struct tg_poison_death){.call = note.call};
  name_hook(&note.call, death->hook);
  memcpy(death->where, note.where, sizeof death->where);
  bool is_reload = note.call.group == TG_LUA_load && note.call.number != 0;
  bool is_event = note.call.sequence > 0;
  if (is_event) {
    bool known = note.call.type < TG_EVENT_KNOWN_COUNT;
    memcpy(death->event, note.event, sizeof death->event);
    if (known)
      snprintf(death->event, sizeof death->event, "%s", tg_event_type_name(note.call.type));
    death->every_hook = add_event(file, &note.call, death->where) >= TG_POISON_DEATHS_OF_EVENT;
  }
  if (!is_reload && (guilty || !is_event))
    count_death(file, worker == TG_POISON_MANAGER, death);
  return true;
}

static bool has_passed(struct tg_shard_table *table, const struct tg_poison_event *event)
{
  if (!table || event->shard_id < 0 || event->shard_id >= tg_shard_table_total(table))
    return true;
  struct tg_shard_row *row = tg_shard_table_row(table, event->shard_id);
  struct tg_session session;
  tg_session_load(row, &session);
  if (event->epoch > session.epoch || atomic_load(&row->queued_events) > 0) /* one of those may be it */
    return false;
  return event->epoch < session.epoch || atomic_load(&row->delivered_sequence) >= event->last;
}

void tg_poison_tidy(struct tg_shard_table *table, struct tg_shard_table *other)
{
  struct tg_poison_file *file = tg_poison_file();
  if (atomic_load(&file->event_count) == 0)
    return;
  for (int i = 0; i < TG_POISON_EVENTS; i++)
    if (atomic_load(&file->events[i].sequence) != 0 && has_passed(table, &file->events[i]) &&
        has_passed(other, &file->events[i]))
      atomic_store(&file->events[i].sequence, 0);
  tg_poison_count(file);
}
