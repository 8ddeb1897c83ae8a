#pragma once

/* Reads a gateway message's envelope - op, s, t and the span of d - in one
 * pass over the bytes, without a tree and without memory of its own.
 *
 * Keys may come in any order and others may stand between them (reference,
 * section 2). The whole text must be one JSON object that is closed where the
 * text ends; inside d only strings and brackets are followed. */

#include "base/json_scan.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_envelope {
  int op;             /* -1: no op, or not a small whole number */
  bool has_sequence;  /* s is a number */
  uint64_t sequence;
  struct tg_span name; /* t without its quotes; .at NULL: absent or null */
  struct tg_span data; /* d; .at NULL: absent */
};

/* False: not a JSON object, or one without a usable op. */
bool tg_envelope_scan(const char *text, size_t length, struct tg_envelope *envelope);
