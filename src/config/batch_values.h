#pragma once

/* batch: how many events go in one request.
 *
 *     batch = false | true | { events = 64, bytes = 262144, linger = 0 }
 *
 * The field is a struct tg_batch_config. */

#include "base/clock.h"
#include "config/schema.h"

#include <stdbool.h>

struct tg_batch_config {
  int events;     /* of a request, at most; 0: one a request, and not in a list */
  uint64_t bytes; /* of its body, at most; an event that is larger goes alone */
  tg_ms linger;   /* so long its first event waits for others; 0: for none */
};

enum { TG_BATCH_EVENTS = 64, TG_BATCH_BYTES = 256 << 10 };

/* What `true` means, and the defaults of the table's keys. */
#define TG_BATCH_USUAL ((struct tg_batch_config){.events = TG_BATCH_EVENTS, .bytes = TG_BATCH_BYTES})

void tg_read_batch(const struct tg_reader *reader, const json_t *value, void *field);
/* As short as it can be said: false, true, or the table. */
json_t *tg_write_batch(const void *field);
