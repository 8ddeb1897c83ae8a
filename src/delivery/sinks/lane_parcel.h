#pragma once

/* What lanes send, and what an answer does to its events. */

#include "delivery/sinks/sender.h"

struct tg_lane_sink;
struct tg_queued;

extern const struct tg_lane_sink tg_senders_sink;

/* The end of what a lane had in flight. */
struct tg_lane_answer {
  struct tg_lane *lane;
  struct tg_queued *event; /* the first one that was sent */
  int count;               /* ... and how many were */
  size_t bytes;            /* of the body */
  struct tg_judgement *judgement;
};

/* refusal.c: the event handler does not want the events. True: they are seen to. False: the one event is
 * to be sent again in `*delay` ms. */
bool tg_lane_refused(const struct tg_lane_answer *of, tg_ms *delay);

/* script_drain.c */

/* Hands the queue to the script's handle_queue. False: there is none, or the default is at work. */
bool tg_script_drain(struct tg_lane *lane);
/* The default has emptied the queue. */
void tg_script_drained(struct tg_lane *lane);
/* The queue is about to be emptied otherwise. */
void tg_script_cleared(struct tg_lane *lane);
/* Whoever works for the lane in the script has looked at its queue. */
void tg_script_looked_at(struct tg_lane *lane);
