#pragma once

/* What lanes know of whatever takes their events: it has a turn for each lane, and is told when one
 * wants it. Lanes do not know whether that is an HTTP server, a script, or how many of them there are. */

#include <stdbool.h>

struct tg_lane;

struct tg_lane_sink {
  /* The lane is new: says who sends for it (tg_lane.sender), and makes its parcel. */
  void (*joins)(struct tg_lane *lane);
  /* The lane is idle, and the first of its events may be sent when its turn comes. Sends nothing itself:
   * may be called from anywhere. */
  void (*wants_turn)(struct tg_lane *lane);
  /* Sends what may be sent now, of this lane and of others. */
  void (*go)(struct tg_lane *lane);
  /* The queue that the default was to empty (tg_lane.by_default) is empty. */
  void (*emptied)(struct tg_lane *lane);
  /* Whether something of the lane is in flight, of a script's own, too, or a script has its queue. */
  bool (*busy)(const struct tg_lane *lane);
  /* All that is taken back, and the lane is idle; its events stay where they are. */
  void (*stopped)(struct tg_lane *lane);
  /* What waits in the lane is about to be dropped, and what is in flight of it taken back. */
  void (*cleared)(struct tg_lane *lane);
  /* A script looks at the lane's queue, or takes something out of it. */
  void (*looked_at)(struct tg_lane *lane);
};
