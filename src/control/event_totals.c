#include "control/event_totals.h"

#include "control/metrics.h"

#include <stdio.h>
#include <string.h>

/* Where the types that every process knows by the same number are, so that few names have to be compared. */
struct known {
  struct tg_event_total *at[TG_EVENT_KNOWN_COUNT];
};

/* Names that come when the table is full share that of the types without one. */
static struct tg_event_total *total_of(struct tg_event_totals *totals, const char *name)
{
  const char *others = tg_event_type_name(TG_EVENT_OTHER);
  for (int i = 0; i < totals->count; i++)
    if (strcmp(totals->items[i].name, name) == 0)
      return &totals->items[i];
  if (totals->count >= TG_EVENT_TYPE_MAX && strcmp(name, others) != 0)
    return total_of(totals, others);
  struct tg_event_total *total = &totals->items[totals->count++];
  snprintf(total->name, sizeof total->name, "%s", name);
  return total;
}

static void add_page(struct tg_event_totals *totals, struct known *known, const struct tg_stats *stats)
{
  char buffer[TG_STATS_NAME_SIZE];
  for (int place = 0; place < TG_EVENT_TYPE_MAX; place++) {
    const char *name = tg_stats_type_name(stats, place, buffer);
    if (!name)
      continue;
    struct tg_event_total *total = place < TG_EVENT_KNOWN_COUNT ? known->at[place] : NULL;
    if (!total)
      total = total_of(totals, name);
    if (place < TG_EVENT_KNOWN_COUNT)
      known->at[place] = total;
    const struct tg_stats_type *row = &stats->types[place];
    total->received += tg_load(&row->received);
    total->filtered += tg_load(&row->filtered);
    total->delivered += tg_load(&row->delivered);
    total->bytes += tg_load(&row->bytes);
  }
}

struct tg_event_totals *tg_event_totals(struct tg_manager *manager)
{
  struct tg_event_totals *totals = tg_calloc(1, sizeof *totals);
  struct known known = {{NULL}};
  TG_EACH_PAGE(manager, 0, worker, stats)
  add_page(totals, &known, stats);
  return totals;
}
