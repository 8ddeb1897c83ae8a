#pragma once

/* What waits for the event handler, one queue a shard, first in, first out.
 *
 * This is the queue in memory: one allocation an event, which holds the body of
 * the POST as it will be sent. With a log underneath (backlog.h) it is a window
 * on what waits: the first events of the shard, or all if they fit. */

#include "base/clock.h"
#include "base/json_scan.h"
#include "event_log/event_log.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_interaction;

struct tg_queued {
  struct tg_queued *next, *previous;
  struct tg_interaction *interaction; /* the watch's, that watches over it; NULL: none */
  uint64_t epoch, sequence;
  tg_ms queued_at;     /* uv_now() */
  tg_ms refused_first; /* uv_now() of the first refusal */
  int attempts;        /* failed so far */
  int troubles;        /* of these, those that do not count for the handler as a whole */
  int refusals;
  uint16_t type;
  bool in_flight;               /* its bytes are lent out: it may not be freed */
  bool trying;                  /* of what was sent last, without success */
  bool suspect;                 /* of a batch that was refused */
  bool chosen;                  /* a script wants to drop it */
  bool marker;                  /* has no message, but tells something: body.h */
  bool gap;                     /* a marker that was not in a log: its body is a struct tg_gap */
  bool logged;                  /* outlives this process, or did until the log lost it */
  struct tg_log_source *source; /* the log it waits in; NULL: none */
  tg_log_position position;     /* there. Without a source: the shard's last one before it in the own log */
  bool keep;                    /* is dropped only when nothing else is left (interactions) */
  bool deferred;                /* answered in the place of the event handler, which is to know it ... */
  bool told;                    /* ... and its body says so */
  uint32_t body_length;
  char body[];
};

struct tg_lane_queue {
  struct tg_queued *head, *tail;
  struct tg_queued *session;   /* the first event of the session that runs now */
  struct tg_queued *droppable; /* the first event without `keep` */
  uint64_t events, bytes;
  uint64_t epoch; /* of the session that runs now */
};

/* What all queues of a worker hold. */
struct tg_queue_total {
  uint64_t events, bytes;
};

/* Body = prefix + message + suffix. The caller sets the other fields. */
struct tg_queued *tg_queued_new(struct tg_span prefix, struct tg_span message, struct tg_span suffix);
/* The body as it is to be sent now. Not while it is in flight: its bytes may change. */
struct tg_span tg_queued_body(struct tg_queued *event);

/* What an event with a body of that length takes of queue.memory_bytes. */
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
