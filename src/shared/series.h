#pragma once

/* What scripts count (gateway.metrics): series in the statistics page, made once
 * and never taken away, so that they outlive reloads and, on a worker's page,
 * the worker. The same rules as in stats.h: one writer, any reader.
 *
 *     struct tg_series *series = tg_series(tg_stats(), TG_SERIES_COUNTER, &text, NULL, 0);
 *     tg_series_add(series, 1); */

#include "shared/stats.h"

enum { TG_SERIES_MAX = 10000, TG_SERIES_LIMITS_MAX = 32, TG_SERIES_TEXT_MAX = 4096 };

/* The gateway's own family in which errors of plugins are counted, each under its label. */
#define TG_LUA_ERRORS "tidegate_lua_errors_total"

enum tg_series_kind { TG_SERIES_COUNTER, TG_SERIES_GAUGE, TG_SERIES_HISTOGRAM };

/* One counter, gauge or histogram with its labels. It is made once, stays at its
 * address, and is found again by the worker's next process. */
struct tg_series {
  uint32_t size; /* of all of it, a multiple of 8 */
  uint32_t hash; /* of name and labels */
  uint8_t kind;
  uint8_t limit_count;
  uint16_t name_length;
  uint32_t label_length;
  uint32_t help_length;
  _Atomic uint32_t live; /* a gauge: set since the process began */
  _Atomic double value;  /* of a histogram the sum of what was observed */
  /* Then: double limits[limit_count]; _Atomic uint64_t counts[limit_count + 1]
   * (not cumulative); name, labels (as in Prometheus's text, without braces) and
   * help, each with a NUL. */
};

struct tg_series_text {
  const char *name, *labels, *help;
  size_t name_length, labels_length, help_length; /* of a view */
};

/* Finds or makes. NULL: there is no room for more, or a text is too long.
 * `limits` ascend; a histogram that exists keeps its own. */
struct tg_series *tg_series(struct tg_stats *stats, enum tg_series_kind kind,
                            const struct tg_series_text *text, const double *limits, int limit_count);

/* Whether there is a series of that name, and of what kind. */
bool tg_series_kind(const struct tg_stats *stats, const char *name, enum tg_series_kind *kind);

void tg_series_add(struct tg_series *series, double amount);
void tg_series_set(struct tg_series *series, double value);
void tg_series_observe(struct tg_series *series, double value);
double tg_series_value(const struct tg_series *series); /* of a histogram the number of observations */

/* A series as somebody else reads it. The texts are in the page, and end where
 * they are said to only as long as nobody breaks it. */
struct tg_series_view {
  enum tg_series_kind kind;
  bool live; /* false only of gauges */
  struct tg_series_text text;
  double value;
  int limit_count;
  double limits[TG_SERIES_LIMITS_MAX];
  uint64_t counts[TG_SERIES_LIMITS_MAX + 1];
};

/* Walks from *offset = 0. False: no more. Skips gauges that are not live. */
bool tg_series_next(const struct tg_stats *stats, size_t *offset, struct tg_series_view *view);

/* Part of tg_stats_clear_gauges(): forgets gauges, and cuts off what somebody
 * has broken. */
void tg_series_begin(struct tg_stats *stats);
