#pragma once

/* Event names as small integers, so that filters are bitmaps and comparisons
 * are cheap. Documented names have fixed numbers (the enum); names never seen
 * before get the next free number, until the table is full: after that all
 * further ones share TG_EVENT_OTHER. One table a process, loop thread only. */

#include "proto/event_names.h"

#include <stddef.h>
#include <stdint.h>

enum tg_event_type {
  TG_EVENT_OTHER,
#define X(name) TG_EVENT_##name,
  TG_EVENT_NAMES(X)
#undef X
      TG_EVENT_KNOWN_COUNT
};

enum { TG_EVENT_TYPE_MAX = 512 }; /* numbers are below this */

/* Finds the number of a name; gives a new name its number. */
uint16_t tg_event_type(const char *name, size_t length);

/* The name of a number; "OTHER" for TG_EVENT_OTHER. */
const char *tg_event_type_name(uint16_t type);

/* Numbers given so far: all are below this. */
uint16_t tg_event_type_count(void);
