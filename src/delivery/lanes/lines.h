#pragma once

/* With order = "guild": which events of a lane's queue may be sent now. Each guild has a line, in which its
 * events stand in their order; those of no guild have one, too. A line has one request under way at a time,
 * and lines do not wait for each other.
 *
 *     queue   A1 B1 A2 C1 | marker B2 A3 ...      looked at: up to the marker
 *     lines   A: A1 A2   B: B1   C: C1
 *
 * The queue is looked at from its front, each event once, and only as far as somebody asks for a line. Nobody
 * looks beyond a barrier: a marker, READY, or an event of a later session. It goes alone when all in
 * front of it is gone (sinks/lane_lines.c), and what is behind it after it. And nobody looks further than
 * TG_LINES_AHEAD numbers beyond the event that waits first: what is delivered in front of others comes again
 * if the process is killed, and the log has to remember it.
 *
 * But for the timer this is pure. The queue tells its lines what leaves it (lane_queue.h). */

#include "base/clock.h"
#include "delivery/lanes/parcel.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

struct tg_lane;
struct tg_lane_queue;
struct tg_queued;

enum { TG_LINES_AHEAD = 1 << 18 };

enum tg_line_state {
  TG_LINE_READY,   /* its first event may be sent */
  TG_LINE_HELD,    /* ... but is under way beside the lane */
  TG_LINE_TURN,    /* its parcel waits for its turn */
  TG_LINE_SENDING, /* its first events are in flight, or their answer is looked at */
  TG_LINE_WAITING, /* until `due` */
  TG_LINE_STATES
};

struct tg_guild_line {
  TAILQ_ENTRY(tg_guild_line) link;      /* among those of its state; of TG_LINE_WAITING by `due` */
  struct tg_guild_line *next;     /* of the same bucket */
  uint64_t guild;                 /* 0: none */
  struct tg_queued *first, *last; /* of its events, as far as they were looked at: tg_queued.line_next */
  enum tg_line_state state;
  tg_ms due; /* uv_now() */
  struct tg_parcel parcel;
};

TAILQ_HEAD(tg_guild_line_list, tg_guild_line);

/* Of a lane. A line is there as long as it has events, or is under way. */
struct tg_lines {
  struct tg_lane *lane;
  struct tg_lane_queue *queue;
  struct tg_queued *looked; /* at it, and all in front of it; NULL: at none */
  struct tg_guild_line **buckets;
  uint32_t bucket_count, count;
  struct tg_guild_line_list of[TG_LINE_STATES];
  uint32_t in[TG_LINE_STATES]; /* how many there are */
  uv_timer_t timer;            /* the owner's, for those that wait */
};

/* Has no lines yet, and looks at nothing before the queue has it (tg_lane_queue.lines). */
void tg_lines_init(struct tg_lines *lines, struct tg_lane *lane, struct tg_lane_queue *queue);
/* All events leave their lines, and the lines go, whatever they do. */
void tg_lines_clear(struct tg_lines *lines);
/* When it is not used any more. */
void tg_lines_free(struct tg_lines *lines);

/* One that is ready, the first to have become so; NULL: there is none. `all`: looks at the whole queue, so
 * that lines have all that may go with their first events. */
struct tg_guild_line *tg_lines_choose(struct tg_lines *lines, bool all);
/* Whether what the queue has first goes alone, now. */
bool tg_lines_stand_before_barrier(const struct tg_lines *lines);
/* Whether something is in flight, or waits to be sent again. */
static inline bool tg_lines_are_under_way(const struct tg_lines *lines)
{
  return lines->in[TG_LINE_TURN] + lines->in[TG_LINE_SENDING] + lines->in[TG_LINE_WAITING] > 0;
}

void tg_line_set_state(struct tg_lines *lines, struct tg_guild_line *line, enum tg_line_state state);
/* Until that moment. */
void tg_line_wait(struct tg_lines *lines, struct tg_guild_line *line, tg_ms due);
/* It is under way no longer: it is ready, or held, or has nothing more and goes. */
void tg_line_rest(struct tg_lines *lines, struct tg_guild_line *line);
/* Those that were held may be so no longer. */
void tg_lines_look_at_held(struct tg_lines *lines);

/* For the queue. */
/* The event is about to leave the queue. */
void tg_lines_leave(struct tg_lines *lines, struct tg_queued *event);
/* Something has come in between what was looked at: what is not under way is looked at anew. */
void tg_lines_look_again(struct tg_lines *lines);
