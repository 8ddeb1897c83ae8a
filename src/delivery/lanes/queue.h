#pragma once

/* What scripts see of the queues, and do to them. */

#include "base/clock.h"
#include "delivery/lanes/body.h"
#include "event_log/event_log.h"
#include "proto/event.h"
#include "proto/event_types.h"

#include <stdbool.h>
#include <stdint.h>

/* What waits of a shard, or, with TG_ALL_SHARDS, of all of the worker. */
struct tg_queue_figures {
  uint64_t events, bytes; /* in memory and in the logs */
  tg_ms age;              /* ms since the oldest was received; 0: none waits */
};

struct tg_lane;
struct tg_lanes;
struct tg_queued;

/* Which events of a sink are meant: those for which all of it is true. */
struct tg_queue_filter {
  int shard_id;  /* -1: of any; of either set */
  bool any_type; /* else: */
  uint16_t type; /* tg_event_type() */
  tg_ms before;  /* tg_steady_clock(): those that came before */
};

/* How far tg_queues_discard() has come. Begin with zeros. */
struct tg_queue_cursor {
  int lane, order;
  tg_log_position after;
  bool done;
};

/* What waits of a type, as far as it is in memory. */
struct tg_queue_of_type {
  uint64_t events, bytes;
  tg_ms oldest; /* tg_steady_clock() */
};

enum tg_queue_verdict { TG_QUEUE_KEEP, TG_QUEUE_DROP, TG_QUEUE_STOP };
typedef enum tg_queue_verdict tg_queue_visit(void *ctx, struct tg_event *event);

/* Each is tg_delivery_queue_...() of delivery.h. */
void tg_queues_figures(struct tg_lanes *lanes, tg_shard_ref ref, struct tg_queue_figures *figures);
tg_shard_ref tg_queues_next_shard(struct tg_lanes *lanes, tg_shard_ref after);
uint64_t tg_queues_walk(struct tg_lanes *lanes, tg_shard_ref ref, tg_queue_visit *visit, void *ctx);
uint64_t tg_queues_drop(struct tg_lanes *lanes, tg_shard_ref ref, uint64_t count);
bool tg_queues_ack(struct tg_lanes *lanes, const struct tg_event *event);
void tg_queues_overflow(struct tg_lanes *lanes);
uint64_t tg_queues_discard(struct tg_lanes *lanes, const struct tg_queue_filter *filter,
                           struct tg_queue_cursor *at);
uint64_t tg_queues_types(struct tg_lanes *lanes, int shard_id,
                         struct tg_queue_of_type types[TG_EVENT_TYPE_MAX]);

/* An event as scripts see it. `text`: room for what does not stand in its bytes,
 * the text of a marker or a name that has escapes. */
void tg_queued_event(const struct tg_lane *lane, struct tg_queued *queued, char text[TG_MARKER_MAX],
                     struct tg_event *event);
