#pragma once

/* Storms: events of a kind that come faster than a rule allows. Looked at first of all, before anything is
 * decoded, cached, shown to the script or logged; what a rule drops is as if a filter had dropped it. Where
 * two sets of shards show the same events, only those are looked at that are about to be delivered.
 *
 * Each rule has a bucket for each of its keys (buckets.h), which an event takes a token out of. The storm of
 * a key begins when there is none, and is over when its bucket is full again.
 *
 * What of it is held back for later says last.h.
 *
 * Each worker counts by itself: a guild and a shard are in one worker, a user and a type may be in all. */

#include "config/storm_values.h"
#include "delivery/env.h"
#include "delivery/storm/buckets.h"
#include "delivery/storm/last.h"
#include "proto/event.h"
#include "proto/event_types.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct tg_stats_storm;

struct tg_storm_limit {
  enum tg_storm_per per;
  enum tg_storm_keep keep;
  char title[TG_STORM_TITLE_SIZE];
  double rate; /* a second, as configured */
  struct tg_stats_storm *stats;
};

struct tg_storms {
  bool on; /* there are rules, or the bot's own updates are dropped */
  struct tg_delivery_env *env;
  bool drops_self;
  uint64_t self; /* the bot's id; 0: not known */
  int count;     /* of rules; one more for the bot's own updates */
  struct tg_storm_limit rules[TG_STORM_RULES_MAX + 1];
  struct tg_bucket_limit limits[TG_STORM_RULES_MAX + 1];
  uint32_t of_type[TG_EVENT_TYPE_MAX]; /* the rules of a type, as bits */
  struct tg_buckets buckets;
  struct tg_last last;
  json_t *config;   /* as it was taken over ... */
  bool of_script;   /* ... at run time, and not from the configuration */
  int storming;     /* so many keys are in a storm ... */
  uv_timer_t timer; /* ... and it runs then */
};

/* The environment is borrowed, and its configuration tells who the bot is. */
void tg_storms_begin(struct tg_storms *storms, struct tg_delivery_env *env);
/* From now on these rules; those that are the same as before go on as if nothing had been, else all that is
 * held is released. */
void tg_storms_configure(struct tg_storms *storms, const struct tg_storm_config *config);
/* The timer closes, storms that run are told to be over. */
void tg_storms_end(struct tg_storms *storms);
/* When the handles are closed. */
void tg_storms_free(struct tg_storms *storms);

/* Who the bot is; the token says it, too, unless it is made up. */
void tg_storms_learn(struct tg_storms *storms, const struct tg_event *ready);

/* Only while storms->on. True: the event is dropped, and counted for its rule; it may come later all the
 * same. */
bool tg_storms_drop(struct tg_storms *storms, const struct tg_event *event);
/* The same for one that comes late, from `rule` (1 + its number): those behind that one are asked. */
bool tg_storms_drop_late(struct tg_storms *storms, int rule, const struct tg_event *event);
