/* What scripts count with gateway.metrics. Counters and histograms of equal name
 * and labels are added up over the processes; gauges are not, what each process
 * says stands under its `worker`. */

#include "control/metrics.h"

#include "base/utf8.h"
#include "shared/series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A series of a process, with texts of its own: what a worker does to its page
 * meanwhile is not seen. */
struct series_entry {
  struct tg_series_view view;
  int worker; /* TG_MANAGER_ITSELF */
  char texts[];
};

struct entries {
  struct series_entry **items;
  size_t count, room;
};

/* ---- what a broken page may hold must not spoil the rest ---- */

static bool is_letter(char c, bool first, bool colon)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':') ||
         (!first && c >= '0' && c <= '9');
}

/* The end of a name that begins at `at`; `at` itself: there is none. */
static const char *skip_name(const char *at, bool colon)
{
  const char *start = at;
  while (is_letter(*at, at == start, colon))
    at++;
  return at;
}

/* a="1",b="2", or nothing */
static bool are_labels(const char *at)
{
  for (const char *start = at; *at; start = at) {
    at = skip_name(at, false);
    if (at == start || at[0] != '=' || at[1] != '"')
      return false;
    for (at += 2; *at && *at != '"'; at++)
      if (*at == '\n' || (*at == '\\' && *++at == '\0'))
        return false;
    if (*at++ != '"' || (*at == ',' && !*++at))
      return false;
  }
  return true;
}

static bool is_sound(const struct tg_series_text *text)
{
  const char *end = skip_name(text->name, true);
  size_t length = strlen(text->labels);
  return end > text->name && !*end && are_labels(text->labels) &&
         tg_utf8_valid(text->labels, length) == length;
}

static char *copy_text(char **to, const char *text, size_t length)
{
  char *copy = memcpy(*to, text, length);
  copy[length] = '\0';
  *to += length + 1;
  return copy;
}

static struct series_entry *new_entry(const struct tg_series_view *view, int worker)
{
  const struct tg_series_text *text = &view->text;
  size_t length = text->name_length + text->labels_length + text->help_length + 3;
  struct series_entry *entry = tg_alloc(sizeof *entry + length);
  *entry = (struct series_entry){.view = *view, .worker = worker};
  char *to = entry->texts;
  entry->view.text.name = copy_text(&to, text->name, text->name_length);
  entry->view.text.labels = copy_text(&to, text->labels, text->labels_length);
  entry->view.text.help = copy_text(&to, text->help, text->help_length);
  return entry;
}

/* Those in which errors of plugins are counted, or all others. */
static void collect(struct entries *entries, const struct tg_stats *stats, int worker, bool plugins)
{
  struct tg_series_view view;
  for (size_t offset = 0; tg_series_next(stats, &offset, &view);) {
    struct series_entry *entry = new_entry(&view, worker);
    bool of_plugins = strcmp(entry->view.text.name, TG_LUA_ERRORS) == 0;
    if (!is_sound(&entry->view.text) || of_plugins != plugins) {
      free(entry);
      continue;
    }
    if (entries->count == entries->room) {
      entries->room = entries->room ? entries->room * 2 : 64;
      entries->items = tg_realloc(entries->items, entries->room * sizeof *entries->items);
    }
    entries->items[entries->count++] = entry;
  }
}

/* ---- writing ---- */

/* One family after the other, in it one set of labels after the other. */
static int by_place(const void *a, const void *b)
{
  const struct series_entry *first = *(struct series_entry *const *)a;
  const struct series_entry *second = *(struct series_entry *const *)b;
  int order = strcmp(first->view.text.name, second->view.text.name);
  if (order == 0)
    order = strcmp(first->view.text.labels, second->view.text.labels);
  return order ? order : first->worker - second->worker;
}

static void write_gauge(struct tg_exposition *exposition, const struct series_entry *entry)
{
  tg_labels(exposition, entry->view.text.labels);
  if (entry->worker == TG_MANAGER_ITSELF)
    tg_label(exposition, "worker", "manager");
  else
    tg_label_int(exposition, "worker", entry->worker);
  tg_sample_double(exposition, entry->view.value);
}

/* Limits may differ when they were changed by a reload: counts go to the next
 * limit above their own, which may only say too little. */
static void add_counts(struct tg_series_view *sum, const struct tg_series_view *view)
{
  int to = 0;
  for (int i = 0; i <= view->limit_count; i++) {
    double limit = i < view->limit_count ? view->limits[i] : INFINITY;
    while (to < sum->limit_count && sum->limits[to] < limit)
      to++;
    sum->counts[to] += view->counts[i];
  }
}

/* The entries of one name and one set of labels, those of another kind than the
 * family's left out. */
static void write_entries(struct tg_exposition *exposition, struct series_entry **entries, size_t count,
                          enum tg_series_kind kind)
{
  struct tg_series_view *sum = NULL;
  for (size_t i = 0; i < count; i++) {
    struct tg_series_view *view = &entries[i]->view;
    if (view->kind != kind)
      continue;
    if (kind == TG_SERIES_GAUGE) {
      write_gauge(exposition, entries[i]);
    } else if (!sum) {
      sum = view;
    } else {
      sum->value += view->value;
      if (kind == TG_SERIES_HISTOGRAM)
        add_counts(sum, view);
    }
  }
  if (!sum)
    return;
  if (kind == TG_SERIES_HISTOGRAM) {
    tg_histogram(exposition, sum->text.labels, sum->limits, sum->counts, sum->limit_count, sum->value);
    return;
  }
  tg_labels(exposition, sum->text.labels);
  tg_sample_double(exposition, sum->value);
}

static bool same_name(const struct entries *entries, size_t a, size_t b)
{
  return b < entries->count &&
         strcmp(entries->items[a]->view.text.name, entries->items[b]->view.text.name) == 0;
}

static void write_all(struct tg_exposition *exposition, const struct entries *entries)
{
  static const char *const types[] = {"counter", "gauge", "histogram"};
  enum tg_series_kind kind = TG_SERIES_COUNTER; /* of the family: as its first entry has it */
  for (size_t i = 0, next; i < entries->count; i = next) {
    const struct tg_series_view *view = &entries->items[i]->view;
    const char *help = view->text.help[0] ? view->text.help : "Counted by the script.";
    if (i == 0 || !same_name(entries, i - 1, i)) {
      kind = view->kind;
      tg_family(exposition, view->text.name, types[kind], help);
    }
    for (next = i + 1; same_name(entries, i, next); next++)
      if (strcmp(view->text.labels, entries->items[next]->view.text.labels) != 0)
        break;
    write_entries(exposition, &entries->items[i], next - i, kind);
  }
}

static void forget(struct entries *entries)
{
  for (size_t i = 0; i < entries->count; i++)
    free(entries->items[i]);
  free(entries->items);
}

void tg_metrics_scripts(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct entries entries = {0};
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  {
    collect(&entries, stats, worker, false);
  }
  if (entries.count == 0)
    return;
  qsort(entries.items, entries.count, sizeof *entries.items, by_place);
  write_all(exposition, &entries);
  forget(&entries);
}

void tg_metrics_plugin_errors(struct tg_exposition *exposition, struct tg_manager *manager)
{
  struct entries entries = {0};
  TG_EACH_PAGE(manager, TG_MANAGER_ITSELF, worker, stats)
  {
    collect(&entries, stats, worker, true);
  }
  for (size_t i = 0; i < entries.count; i++) {
    tg_label_process(exposition, entries.items[i]->worker);
    tg_labels(exposition, entries.items[i]->view.text.labels);
    tg_sample_double(exposition, entries.items[i]->view.value);
  }
  forget(&entries);
}
