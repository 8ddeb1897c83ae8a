#include "shared/series.h"

#include <string.h>

_Static_assert(sizeof(struct tg_series) % 8 == 0, "what follows a series must be aligned");

static double *limits_of(const struct tg_series *series) { return (double *)(series + 1); }

static _Atomic uint64_t *counts_of(const struct tg_series *series)
{
  return (_Atomic uint64_t *)(limits_of(series) + series->limit_count);
}

static char *text_of(const struct tg_series *series)
{
  bool histogram = series->kind == TG_SERIES_HISTOGRAM;
  return (char *)(counts_of(series) + (histogram ? series->limit_count + 1 : 0));
}

static uint32_t hash(const char *name, const char *labels)
{
  uint32_t state = 0x811c9dc5u;
  for (const char *at = name; *at; at++)
    state = (state ^ (unsigned char)*at) * 0x01000193u;
  for (const char *at = labels; *at; at++)
    state = (state ^ (unsigned char)*at) * 0x01000193u;
  return state;
}

/* ---- the writer's side ---- */

static struct tg_series *find(struct tg_stats *stats, const struct tg_series_text *text, uint32_t key)
{
  uint32_t used = atomic_load(&stats->series_used);
  for (uint32_t at = 0; at < used;) {
    struct tg_series *series = (struct tg_series *)(stats->series + at);
    const char *name = text_of(series);
    if (series->hash == key && strcmp(name, text->name) == 0 &&
        strcmp(name + series->name_length + 1, text->labels) == 0)
      return series;
    at += series->size;
  }
  return NULL;
}

static struct tg_series *append(struct tg_stats *stats, enum tg_series_kind kind,
                                const struct tg_series_text *text, uint32_t key, const double *limits,
                                int limit_count)
{
  size_t name = strlen(text->name), labels = strlen(text->labels), help = strlen(text->help);
  size_t numbers = kind == TG_SERIES_HISTOGRAM ? 2 * (size_t)limit_count + 1 : 0;
  size_t size = (sizeof(struct tg_series) + numbers * 8 + name + labels + help + 3 + 7) & ~(size_t)7;
  uint32_t used = atomic_load(&stats->series_used);
  if (name > TG_SERIES_TEXT_MAX || labels > TG_SERIES_TEXT_MAX || help > TG_SERIES_TEXT_MAX ||
      size > TG_STATS_SERIES_BYTES - used || atomic_load(&stats->series_count) >= TG_SERIES_MAX)
    return NULL;
  struct tg_series *series = (struct tg_series *)(stats->series + used);
  memset(series, 0, size); /* somebody may have died here */
  series->size = (uint32_t)size;
  series->hash = key;
  series->kind = (uint8_t)kind;
  series->limit_count = (uint8_t)limit_count;
  series->name_length = (uint16_t)name;
  series->label_length = (uint32_t)labels;
  series->help_length = (uint32_t)help;
  if (limit_count > 0)
    memcpy(limits_of(series), limits, (size_t)limit_count * sizeof *limits);
  char *to = text_of(series);
  memcpy(to, text->name, name);
  memcpy(to + name + 1, text->labels, labels);
  memcpy(to + name + labels + 2, text->help, help);
  atomic_fetch_add(&stats->series_count, 1);
  atomic_store(&stats->series_used, used + (uint32_t)size);
  return series;
}

struct tg_series *tg_series(struct tg_stats *stats, enum tg_series_kind kind,
                            const struct tg_series_text *text, const double *limits, int limit_count)
{
  uint32_t key = hash(text->name, text->labels);
  struct tg_series *series = find(stats, text, key);
  return series ? series
                : append(stats, kind, text, key, limits, kind == TG_SERIES_HISTOGRAM ? limit_count : 0);
}

bool tg_series_kind(const struct tg_stats *stats, const char *name, enum tg_series_kind *kind)
{
  uint32_t used = atomic_load(&stats->series_used);
  for (uint32_t at = 0; at < used;) {
    const struct tg_series *series = (const struct tg_series *)(stats->series + at);
    if (strcmp(text_of(series), name) == 0) {
      *kind = (enum tg_series_kind)series->kind;
      return true;
    }
    at += series->size;
  }
  return false;
}

void tg_series_set(struct tg_series *series, double value)
{
  atomic_store_explicit(&series->value, value, memory_order_relaxed);
  atomic_store_explicit(&series->live, 1, memory_order_relaxed);
}

void tg_series_add(struct tg_series *series, double amount)
{
  bool from_nothing = series->kind == TG_SERIES_GAUGE && !atomic_load(&series->live);
  double before = from_nothing ? 0 : atomic_load_explicit(&series->value, memory_order_relaxed);
  tg_series_set(series, before + amount);
}

void tg_series_observe(struct tg_series *series, double value)
{
  const double *limits = limits_of(series);
  int bucket = 0;
  while (bucket < series->limit_count && value > limits[bucket])
    bucket++;
  tg_count(&counts_of(series)[bucket]);
  tg_series_add(series, value);
}

double tg_series_value(const struct tg_series *series)
{
  if (series->kind == TG_SERIES_GAUGE && !atomic_load(&series->live))
    return 0;
  if (series->kind != TG_SERIES_HISTOGRAM)
    return atomic_load_explicit(&series->value, memory_order_relaxed);
  uint64_t count = 0;
  for (int i = 0; i <= series->limit_count; i++)
    count += atomic_load_explicit(&counts_of(series)[i], memory_order_relaxed);
  return (double)count;
}

/* ---- the reader's side ---- */

/* The text of `length` bytes and its NUL, within `left`. NULL: it is not there. */
static const char *take_text(const char **at, size_t *left, size_t length)
{
  const char *text = *at;
  if (length >= *left || memchr(text, '\0', length + 1) != text + length)
    return NULL;
  *at += length + 1;
  *left -= length + 1;
  return text;
}

static bool read_series(const struct tg_series *series, size_t size, struct tg_series_view *view)
{
  struct tg_series head;
  memcpy(&head, series, sizeof head); /* looked at once: what was checked holds */
  bool histogram = head.kind == TG_SERIES_HISTOGRAM;
  size_t numbers = histogram ? 2 * (size_t)head.limit_count + 1 : 0;
  if (head.kind > TG_SERIES_HISTOGRAM || head.limit_count > (histogram ? TG_SERIES_LIMITS_MAX : 0) ||
      sizeof head + numbers * 8 > size)
    return false;
  const char *at = (const char *)(series + 1) + numbers * 8;
  size_t left = size - sizeof head - numbers * 8;
  view->kind = (enum tg_series_kind)head.kind;
  view->live = head.kind != TG_SERIES_GAUGE || head.live != 0;
  view->value = head.value;
  view->limit_count = histogram ? head.limit_count : 0;
  const _Atomic uint64_t *counts = (const _Atomic uint64_t *)(limits_of(series) + view->limit_count);
  memcpy(view->limits, limits_of(series), (size_t)view->limit_count * sizeof(double));
  for (int i = 0; histogram && i <= view->limit_count; i++)
    view->counts[i] = atomic_load_explicit(&counts[i], memory_order_relaxed);
  view->text.name_length = head.name_length;
  view->text.labels_length = head.label_length;
  view->text.help_length = head.help_length;
  view->text.name = take_text(&at, &left, head.name_length);
  view->text.labels = view->text.name ? take_text(&at, &left, head.label_length) : NULL;
  view->text.help = view->text.labels ? take_text(&at, &left, head.help_length) : NULL;
  return view->text.help != NULL;
}

/* The whole series at that place; NULL: there is none, or it is broken. */
static const struct tg_series *series_at(const struct tg_stats *stats, size_t offset, size_t *size,
                                         struct tg_series_view *view)
{
  size_t used = atomic_load_explicit(&stats->series_used, memory_order_acquire);
  if (used > TG_STATS_SERIES_BYTES || offset + sizeof(struct tg_series) > used)
    return NULL;
  const struct tg_series *series = (const struct tg_series *)(stats->series + offset);
  *size = *(const volatile uint32_t *)&series->size;
  if (*size < sizeof *series || *size % 8 != 0 || *size > used - offset || !read_series(series, *size, view))
    return NULL;
  return series;
}

bool tg_series_next(const struct tg_stats *stats, size_t *offset, struct tg_series_view *view)
{
  size_t size;
  while (series_at(stats, *offset, &size, view)) {
    *offset += size;
    if (view->live)
      return true;
  }
  return false;
}

void tg_series_begin(struct tg_stats *stats)
{
  struct tg_series_view view;
  const struct tg_series *series;
  uint32_t count = 0;
  size_t at = 0, size;
  for (; (series = series_at(stats, at, &size, &view)) != NULL; at += size, count++)
    atomic_store(&((struct tg_series *)series)->live, 0);
  atomic_store(&stats->series_used, (uint32_t)at);
  atomic_store(&stats->series_count, count);
}
