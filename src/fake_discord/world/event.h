#pragma once

/* A dispatch before it has a sequence number: name and d. One may be in the
 * replay buffers of many sessions, so it is counted. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_fake_event {
  int references;
  bool once; /* READY and RESUMED are not replayed */
  char name[64];
  uint64_t number; /* running number of its shard; 0: not a numbered event */
  uint64_t guild_id; /* whose order it keeps; 0: that of no guild */
  const char *t;   /* as JSON text; NULL: the name in quotes */
  size_t length;
  char data[]; /* d as JSON text, and what `t` points to */
};

/* Copies; the caller holds the first reference. */
struct tg_fake_event *tg_fake_event_new(const char *name, const char *data, size_t length);
struct tg_fake_event *tg_fake_event_new_as(const char *name, const char *t, const char *data, size_t length);
struct tg_fake_event *tg_fake_event_ref(struct tg_fake_event *event);
void tg_fake_event_unref(struct tg_fake_event *event);

/* Whether a session with `intents` gets events of this name that belong to a
 * guild (or to none, when `guild` is false). Names
 * nobody documented always pass. */
bool tg_fake_event_wanted(const char *name, bool guild, uint64_t intents);
