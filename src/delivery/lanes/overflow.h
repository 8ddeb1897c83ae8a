#pragma once

/* Bounds: what is not queued, what is dropped, and who hears of it. */

#include "delivery/lanes/backlog.h"
#include "delivery/lanes/lane_queue.h"
#include "proto/event_types.h"

struct tg_lane;
struct tg_lanes;

enum { TG_REPORT_INTERVAL = 60000 /* of what the program's log hears now and then */ };

/* Why policy drops an event. */
enum tg_drop {
  TG_DROP_FIRST,       /* queue.drop_first, from 80 % of the bound on */
  TG_DROP_OLDEST,      /* the bound is reached */
  TG_DROP_SCRIPT,      /* a script, or a person, has said so */
  TG_DROP_EXPIRED,     /* queue.max_age */
  TG_DROP_INTERACTION, /* nobody could answer it any more */
  TG_DROP_REASONS,
};

/* Gaps that the program's log has not told of yet. */
struct tg_losses {
  uint64_t gaps, events;
  const char *reason; /* of the last one */
  tg_ms told_at;      /* uv_now(); 0: never */
};

struct tg_overflow {
  bool drop_first[TG_EVENT_TYPE_MAX];
  struct tg_lane *fullest; /* as of the last look */
  int drops_until_look, drops_until_unload;
  uint64_t drops[TG_DROP_REASONS]; /* since the last report */
  bool dropping;                   /* the program's log has said so */
  struct tg_losses losses;
  bool asking;        /* queue_overflow */
  uint32_t asked_for; /* the segment of the log for which it was asked last */
};

void tg_overflow_reconfigure(struct tg_lanes *lanes);
/* Whether an event that no log holds may be queued: makes room for it, if need be. */
bool tg_overflow_admit(struct tg_lane *lane, const struct tg_item *item, uint64_t size);
/* The event is not queued. */
void tg_overflow_refuse(struct tg_lane *lane, const struct tg_item *item, enum tg_drop reason);
/* Queues a marker for what was refused, if it was a second ago or more, or `at_once`. */
void tg_overflow_tell(struct tg_lane *lane, bool at_once);
/* Policy drops an event that waits in the lane's memory, and that is not in flight. */
void tg_overflow_drop(struct tg_lane *lane, struct tg_queued *event, enum tg_drop reason);
/* The same of an event in lane->log.late. */
void tg_overflow_drop_late(struct tg_lane *lane, struct tg_queued *event, enum tg_drop reason);
/* The script's queue_overflow, before `size` bytes more come into the log. */
void tg_overflow_ask_for_log(struct tg_lanes *lanes, uint64_t size);
/* The oldest one goes, an interaction last; of the fullest lane. False: there is none. */
bool tg_overflow_drop_oldest(struct tg_lanes *lanes, enum tg_drop reason);
/* Counts `count` more; with a log nothing else is to be done. */
void tg_overflow_count(struct tg_lane *lane, enum tg_drop reason, uint64_t count);
/* Once a minute: events in memory alone that are older than queue.max_age. */
void tg_overflow_expire(struct tg_lanes *lanes);
/* What was lost, for the program's log: the first is told at once, the others once a minute. */
void tg_overflow_lost(struct tg_lane *lane, const struct tg_gap *gap);
/* Once a minute, and at the end. */
void tg_overflow_report(struct tg_lanes *lanes);
