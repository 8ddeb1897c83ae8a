#pragma once

/* What lanes send, and what an answer does to its events. */

#include "delivery/sinks/sender.h"

struct tg_lane_sink;
struct tg_queued;

extern const struct tg_lane_sink tg_senders_sink;

/* The end of what a lane had in flight. */
struct tg_lane_answer {
  struct tg_lane *lane;
  struct tg_parcel *parcel;
  struct tg_queued *event; /* the first one that was sent */
  int count;               /* ... and how many were */
  size_t bytes;            /* of the body */
  struct tg_judgement *judgement;
};

/* refusal.c: the event handler does not want the events. True: they are seen to. False: the one event is
 * to be sent again in `*delay` ms. */
bool tg_lane_refused(const struct tg_lane_answer *of, tg_ms *delay);

/* lane_lines.c: a lane with order = "guild" */

/* Lets those of its lines go that may, at their turns. False: what is first in the queue goes by itself, in
 * the lane's own parcel. */
bool tg_lines_take_turn(struct tg_lane *lane);
/* Their turns are to come at another sender. */
void tg_lines_give_turns_back(struct tg_lane *lane);
/* Whether something of them is in flight. */
bool tg_lines_are_busy(const struct tg_lane *lane);
/* That is taken back, and there are no lines any more. */
void tg_lines_stop(struct tg_lane *lane);
/* Its turn has come: lends its events to its parcel. False: none may be sent now. */
bool tg_line_prepare(struct tg_guild_line *line, struct tg_lane *lane);
/* Sends again after `delay` ms. */
void tg_line_wait_for(struct tg_guild_line *line, struct tg_lane *lane, tg_ms delay);
/* What was in flight is seen to. */
void tg_line_is_over(struct tg_guild_line *line, struct tg_lane *lane);
/* Which of the lane's parcels in flight has that event; NULL: none. */
struct tg_parcel *tg_lane_parcel_of(struct tg_lane *lane, uint64_t epoch, uint64_t sequence);

/* script_drain.c */

/* Whether a script's handle_queue is to have the queue. */
bool tg_script_has_queue(const struct tg_lane *lane);

/* Hands the queue to the script's handle_queue. False: there is none, or the default is at work. */
bool tg_script_drain(struct tg_lane *lane);
/* The default has emptied the queue. */
void tg_script_drained(struct tg_lane *lane);
/* The queue is about to be emptied otherwise. */
void tg_script_cleared(struct tg_lane *lane);
/* Whoever works for the lane in the script has looked at its queue. */
void tg_script_looked_at(struct tg_lane *lane);
