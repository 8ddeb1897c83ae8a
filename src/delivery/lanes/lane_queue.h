#pragma once

/* What waits for the event handler, one queue a shard, first in, first out.
 *
 * This is the queue in memory: one allocation an event, which holds its message, with room around it for what
 * the body in "seed" has there (body.h). With a log underneath (backlog.h) it is a window on what waits: the
 * first events of the shard, or all if they fit. */

#include "base/clock.h"
#include "base/json_scan.h"
#include "delivery/lanes/body.h"
#include "event_log/event_log.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_interaction;
struct tg_guild_line;
struct tg_lines;

struct tg_queued {
  struct tg_queued *next, *previous;
  struct tg_guild_line *line; /* with order = "guild", once it was looked at: lines.h; else NULL */
  struct tg_queued *line_next, *line_previous;
  struct tg_interaction *interaction; /* the watch's, that watches over it; NULL: none */
  uint64_t epoch, sequence;           /* its place, and its name, unless */
  uint32_t named_epoch, named_number; /* that is another one; 0: it is not */
  tg_ms queued_at;              /* uv_now() */
  tg_ms refused_first;          /* uv_now() of the first refusal */
  struct tg_log_source *source; /* the log it waits in; NULL: none */
  tg_log_position position;     /* there. Without a source: the shard's last one before it in the own log */
  int attempts;                 /* failed so far */
  int troubles;                 /* of these, those that do not count for the handler as a whole */
  int refusals;
  int total_shards; /* of the set that its shard is one of; 0: not known */
  uint32_t length;  /* of the message */
  uint16_t type;
  bool in_flight;       /* its bytes are lent out: it may not be freed */
  bool trying;          /* of what was sent last, without success */
  bool suspect;         /* of a batch that was refused */
  bool ahead;           /* was sent before a marker in front of it: lane_gap.c */
  bool chosen;          /* a script wants to drop it */
  bool gap;             /* a marker that was not in a log: its message is a struct tg_gap */
  bool logged;          /* outlives this process, or did until the log lost it */
  bool keep;            /* is dropped only when nothing else is left (interactions, markers) */
  bool deferred;        /* answered in the place of the event handler, which is to know it */
  bool late;            /* what others of its shard have gone before */
  uint8_t marker;       /* enum tg_marker */
  uint8_t guild_create; /* enum tg_guild_create */
  uint8_t front;        /* bytes of room in front of the message */
  char bytes[];         /* room, message, room */
};

struct tg_lane_queue {
  struct tg_queued *head, *tail;
  struct tg_queued *session;   /* the first event of the session that runs now */
  struct tg_queued *droppable; /* the first event without `keep` */
  uint64_t events, bytes;
  uint64_t kept;          /* of them: those with `keep` */
  uint64_t epoch;         /* of the session that runs now */
  struct tg_lines *lines; /* which its owner keeps, with order = "guild"; else NULL */
};

/* What all queues of a worker hold. */
struct tg_queue_total {
  uint64_t events, bytes;
};

/* Copies the message. What is not part of the event is 0, for the caller to set. */
struct tg_queued *tg_queued_new(const struct tg_stored *event);
/* As it came; of a marker what it tells, unless it is a `gap`: tg_lane_stored(). */
static inline struct tg_span tg_queued_message(const struct tg_queued *event)
{
  return (struct tg_span){event->bytes + event->front, event->length};
}
/* What it is called: epoch and number. */
static inline struct tg_place tg_queued_name(const struct tg_queued *event)
{
  return event->named_epoch ? (struct tg_place){event->named_epoch, event->named_number}
                            : (struct tg_place){event->epoch, event->sequence};
}
/* The event of a lane of that shard; its message is not copied. */
struct tg_stored tg_queued_stored(const struct tg_queued *event, int shard_id);
/* Its body in "seed", as it is to be sent now, is written around the message where that stands. Not of a
 * `gap`, and not while it is in flight: its bytes may change. */
struct tg_span tg_queued_body(struct tg_queued *event, int shard_id);
size_t tg_queued_body_length(const struct tg_queued *event);
/* What its record takes in a log. */
size_t tg_queued_record_length(const struct tg_queued *event);

/* What an event with a body of that length, in "seed", takes of queue.memory_bytes. */
uint64_t tg_queued_size(size_t body_length);

void tg_lane_queue_push(struct tg_lane_queue *queue, struct tg_queue_total *total, struct tg_queued *event);

/* Takes the event out; the caller frees it. */
void tg_lane_queue_remove(struct tg_lane_queue *queue, struct tg_queue_total *total, struct tg_queued *event);

/* Like push, but in front of `place`. */
void tg_lane_queue_insert(struct tg_lane_queue *queue, struct tg_queue_total *total, struct tg_queued *event,
                          struct tg_queued *place);

/* A new session: events of other epochs do not count for `session`. */
void tg_lane_queue_new_session(struct tg_lane_queue *queue, uint64_t epoch);

/* The oldest event that may be dropped: not in flight, no marker, and not one to
 * keep unless `any`. NULL: none. */
struct tg_queued *tg_lane_queue_oldest(const struct tg_lane_queue *queue, bool any);
