#pragma once

/* Prometheus' text format, version 0.0.4: what GET /metrics answers with.
 *
 *     struct tg_exposition exposition = {.out = &text};
 *     tg_family(&exposition, "tidegate_shard_rtt_seconds", "gauge", "Way there and back.");
 *     tg_label_int(&exposition, "shard", 3);
 *     tg_sample_ms(&exposition, 41);
 *
 * gives
 *
 *     # HELP tidegate_shard_rtt_seconds Way there and back.
 *     # TYPE tidegate_shard_rtt_seconds gauge
 *     tidegate_shard_rtt_seconds{shard="3"} 0.041
 *
 * All samples of a family follow its head; a family without a sample leaves no
 * trace. Labels hold for the next sample alone. Texts may be any bytes: they are
 * escaped, and what is not UTF-8 is replaced. */

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_exposition {
  struct tg_buf *out;
  const char *name, *type, *help; /* of the family; borrowed */
  bool begun;                     /* its head is written */
  bool labelled;                  /* the next sample has labels */
};

void tg_family(struct tg_exposition *exposition, const char *name, const char *type, const char *help);

void tg_label(struct tg_exposition *exposition, const char *name, const char *value);
void tg_label_int(struct tg_exposition *exposition, const char *name, int64_t value);
/* Labels as they stand in the text already: a="1",b="2". May be empty. */
void tg_labels(struct tg_exposition *exposition, const char *text);

void tg_sample_uint(struct tg_exposition *exposition, uint64_t value);
void tg_sample_ms(struct tg_exposition *exposition, int64_t ms); /* in seconds */
void tg_sample_double(struct tg_exposition *exposition, double value);

/* A histogram's samples, under `labels`: counts[limit_count + 1], not
 * cumulative. */
void tg_histogram(struct tg_exposition *exposition, const char *labels, const double *limits,
                  const uint64_t *counts, int limit_count, double sum);
