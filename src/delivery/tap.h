#pragma once

/* Events as they pass, for people who look at them: those that come, before caches, filters and scripts, on
 * one line each, with their secrets masked. Bounded for each who looks: what is too much is counted, and
 * told. While nobody looks it costs one branch an event. Loop thread only. */

#include "base/buf.h"
#include "base/clock.h"
#include "proto/event.h"

#include <jansson.h>
#include <stdbool.h>

enum {
  TG_TAP_VIEWERS = 8,
  TG_TAP_RATE = 100,        /* events a second and viewer, of a worker */
  TG_TAP_MESSAGE_MAX = 4096 /* bytes: of a longer message the type alone is shown */
};

struct tg_tap_viewer {
  int64_t id;        /* 0: a free place */
  json_t *types;     /* {TYPE: true}; NULL: all */
  uint64_t guild_id; /* 0: of any, or none */
  int shard_id;      /* -1: of any */
  double tokens;
  tg_ms filled_at;
  uint64_t skipped; /* since the last that was shown */
};

struct tg_tap {
  bool on;
  struct tg_tap_viewer viewers[TG_TAP_VIEWERS];
  struct tg_buf line;
  void (*shown)(void *ctx, int64_t viewer, const char *line);
  void *ctx;
};

/* Who looks: [{"id", "types": [TYPE], "guild": id, "shard": n}], each but the first may be missing. */
void tg_tap_set(struct tg_tap *tap, const json_t *viewers);
void tg_tap_event(struct tg_tap *tap, const struct tg_event *event, tg_ms now);
void tg_tap_free(struct tg_tap *tap);
