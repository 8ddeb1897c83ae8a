#pragma once

/* A copy of an event that is held back: the message as it came, and where in it everything lies. */

#include "base/clock.h"
#include "proto/event.h"
#include "proto/event_key.h"

#include <stddef.h>

struct tg_hold {
  struct tg_event event; /* its spans point behind this struct */
  enum tg_guild_change change;
  tg_ms came_at;
  size_t size; /* what it takes */
};

/* How much a copy of it takes. */
size_t tg_hold_size(const struct tg_event *event);

/* The caller's, to be freed. What a script has put in place of the message is not copied: no script has seen
 * an event that is held. */
struct tg_hold *tg_hold_copy(const struct tg_event *event, enum tg_guild_change change, tg_ms now);
