#pragma once

/* Who watches over single events of lanes (interactions). A lane keeps for him what he likes
 * (tg_queued.interaction, tg_lane.interactions), and tells him what becomes of them. */

#include "event_log/event_log.h"
#include "proto/event.h"

struct tg_lanes;
struct tg_lane;
struct tg_queued;
struct tg_log_source;

struct tg_lane_watch {
  /* The event has just been put into its lane; `position`: in the own log, 0: it is not in it. Only of
   * events that are kept (tg_queued.keep). */
  void (*arrived)(struct tg_lane *lane, const struct tg_event *event, tg_log_position position);
  /* The logs of earlier processes are open; nothing has been read back. */
  void (*opened)(struct tg_lanes *lanes);
  /* The record is the next one that the lane reads back, and it is marked (tg_event_log_mark()); `message`:
   * what it has. True: nothing more is to be done for it. */
  bool (*is_over)(struct tg_lane *lane, const struct tg_log_record *record, struct tg_span message);
  /* The event was read back, with its marks in the log. */
  void (*read_back)(struct tg_lane *lane, struct tg_queued *event, uint8_t marks);
  /* The event waited in memory alone, and has been put into its log (tg_queued.source). */
  void (*logged)(struct tg_queued *event);
  /* The event has left memory, but waits in its log. */
  void (*unloaded)(struct tg_queued *event);
  /* The event is about to be sent. True: it was of no use any more, and is gone. */
  bool (*has_turn)(struct tg_lane *lane, struct tg_queued *event);
  /* The event is delivered or dropped, and about to be freed. */
  void (*gone)(struct tg_queued *event);
  /* Whether something of the lane is sent beside it, and is in flight. */
  bool (*busy)(const struct tg_lane *lane);
  /* That is taken back. */
  void (*stopped)(struct tg_lane *lane);
  /* All that waits in the lane is another host's to see to. */
  void (*leaves)(struct tg_lane *lane);
  /* That log goes. */
  void (*leaves_source)(struct tg_lane *lane, const struct tg_log_source *source);
};
