#pragma once

/* Reads a gateway message's envelope - op, s, t and the span of d - in one
 * pass over the bytes, without a tree and without memory of its own.
 *
 * Keys may come in any order and others may stand between them. The whole text must be one JSON object that
 * is closed where the text ends; inside d only strings and brackets are followed. */

#include "base/json_scan.h"

#include <stdbool.h>
#include <stdint.h>

/* A session's events are counted from 1, and what waits for the bot keeps that number
 * in 32 bits. No session gets there; an `s` above it is nonsense. */
#define TG_SEQUENCE_MAX UINT32_MAX

struct tg_envelope {
  int op;              /* -1: no op, or not a small whole number */
  bool has_sequence;   /* s is a whole number */
  uint64_t sequence;   /* UINT64_MAX: larger than this field */
  struct tg_span name; /* t without its quotes, as it stands; .at NULL: absent, or no text */
  bool name_escaped;   /* there are backslashes in it */
  struct tg_span data; /* d; .at NULL: absent */
};

/* False: not a JSON object, or one without a usable op. */
bool tg_envelope_scan(const char *text, size_t length, struct tg_envelope *envelope);

/* The name in plain text: it points into the envelope's text, or into `buffer` if
 * it has escapes (what is too long for that stays as it stands). Empty, and never
 * NULL, when there is none. */
struct tg_span tg_envelope_name(const struct tg_envelope *envelope, char *buffer, size_t size);
