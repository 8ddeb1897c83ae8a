#pragma once

/* The lanes of a worker, one a shard: what waits for the event handler, in order, in memory and in the
 * logs underneath.
 *
 *     lane.c       an event's way in and out of a lane; its row of the shard table
 *     backlog.h    the logs underneath: backlog.c, backlog_write.c, lane_backlog.c, lane_gap.c
 *     overflow.h   bounds: what is not queued, what is dropped, and who hears of it
 *     gate.h       which of two lanes with the same guilds goes first
 *     batch.h      what of a lane goes in one parcel (parcel.h)
 *     queue.h      what scripts see of the queues, and do to them
 *
 * Lanes know neither who sends (sink.h) nor who watches over single events (watch.h). */

#include "delivery/env.h"
#include "delivery/lanes/backlog.h"
#include "delivery/lanes/body.h"
#include "delivery/lanes/gate.h"
#include "delivery/lanes/lane_queue.h"
#include "delivery/lanes/overflow.h"
#include "delivery/lanes/parcel.h"
#include "delivery/lanes/sink.h"
#include "delivery/lanes/watch.h"
#include "proto/event_types.h"
#include "proto/shard_ref.h"
#include "shared/shard_table.h"
#include "shared/stats.h"

/* How far the shard's session is. All are numbers (s) of that session; 0: none yet.
 *
 *     delivered <= received,  durable <= received
 *
 * With a log `durable` is where another process would have to RESUME from, and `delivered` is for the eye;
 * without one it is `delivered`. Discord is told `durable`, but never less than before (`announced`), and
 * `received` while the log refuses events: it cannot wait for ever. */
struct tg_lane_session {
  uint64_t epoch;
  uint64_t received;  /* the highest that has come */
  uint64_t began;     /* the epoch that it had first; a class that takes over raises it */
  uint64_t safe;      /* up to here all that went into the lane is in the flushed log, or done */
  uint64_t durable;   /* up to here all are in the flushed log, or done */
  uint64_t announced; /* the highest that Discord was told is durable */
  uint64_t delivered; /* the last that has left the queue */
  uint64_t handled;   /* up to here an earlier process has started the script's handlers */
  uint64_t held_from; /* of the events from here on some wait outside of the lane; 0: none */
  /* A RESUMED takes a number, but no later replay contains it. The row counts those that may have come while
   * a connection broke, unheard by us (tg_shard_row.unheard). */
  uint64_t resumed; /* of one that was heard, and is not durable yet */
  uint32_t heard;   /* so many of the row's count are settled when that is durable */
  uint32_t holes;   /* so many of them have been found since: numbers that no event has */
};

/* With a log underneath: where what waits of the shard is. In the order in which it will be sent,
 *
 *     the queue | the logs from `source`, `after` on, with `gaps` and `late` among it | `refused`
 *
 * - Not `spilled`: all that waits is in the queue; `gaps` and `late` are empty, and the counts 0.
 * - `spilled`: the queue is a window on what comes first, and new events go behind the rest, into the log
 *   alone. tg_lane_refill() reads on, so that the queue is empty only if nothing waits at all.
 * - `late` has what the own log refused meanwhile. Each `position` is that of the shard's last event before
 *   it in that log: it is taken when the reading comes there.
 * - `gaps` has markers for what is lost or dropped between what is not read yet, by their places.
 * - `gaps_queued` counts the markers in the queue and in `late` that are in no log. When there are none of
 *   them, none in `gaps`, and no `lost_tail`, the bot has been told of all that was lost in front of what
 *   waits, and the logs may forget that (tg_lane_told()).
 * - `refused` is a run of events that found no room at all. A marker for it is queued when it is a second
 *   old, or ends: behind what has come since, at worst.
 * - `first_unlogged` is the first event in the queue, else in `late`, of this session, that no log has: what
 *   comes after it is not durable. NULL: all that was received is safe when the log is flushed.
 * - `lost_tail`: the newest log of earlier processes has lost its last events (.epoch 0: none). Discord may
 *   still have them: whether they are asked for or given up is decided when the session is adopted
 *   (tg_lane_heal()). */
struct tg_lane_log {
  bool spilled;
  struct tg_log_source *source;
  tg_log_position after;
  uint64_t spilled_events, spilled_bytes; /* in the logs alone */
  struct tg_lane_queue late;
  tg_log_position last_position; /* the shard's last one in the own log */
  struct tg_pending_gap *gaps;
  int gaps_queued;
  struct tg_gap refused;
  tg_ms refused_since; /* uv_now() */
  struct tg_gap lost_tail;
  int lost_tail_order; /* of the log that has lost it */
  struct tg_queued *first_unlogged;
  /* Whose `durable` may have changed in this turn of the loop: a list from tg_logs.touched on; and from
   * tg_logs.synced on those for which a sync runs, with what is durable then. */
  bool touched;
  struct tg_lane *next_touched, *next_synced;
  uint64_t synced_safe, synced_epoch;
};

enum tg_lane_state {
  TG_LANE_IDLE,    /* nothing to send */
  TG_LANE_READY,   /* its parcel waits for its turn */
  TG_LANE_SENDING, /* the first of its queue are in flight */
  TG_LANE_WAITING, /* its retry timer runs */
  TG_LANE_SCRIPT,  /* a script's handle_queue has it */
};

/* What scripts do with the queue (sinks/script_drain.c). */
struct tg_lane_script {
  struct tg_call *draining;    /* a call of handle_queue */
  struct tg_drainer *drainers; /* who wait until it is empty */
  bool by_default;             /* until it is empty, whatever the script has */
  int idle_drains;             /* calls of handle_queue in a row that took nothing */
};

struct tg_lane {
  struct tg_lanes *lanes;
  tg_shard_ref ref;
  int shard_id;     /* of it */
  int total_shards; /* 0: it is one of an earlier set, of which only the logs tell */
  struct tg_shard_row *row;
  struct tg_lane_session session;
  struct tg_lane_queue queue; /* in memory */
  struct tg_lane_log log;
  uint64_t taken; /* events that have left the queue, ever */

  struct tg_lane_gate *gate;       /* NULL: its guilds are its own */
  bool stray;                 /* of a set that is not there (yet): sends nothing */
  bool before_all;            /* of a set that is over, and has delivered: goes before all others */
  struct tg_class_seat *seat; /* likewise: where its shard sits (reshard/) */
  struct tg_sender *sender; /* the sink's; NULL: nobody takes events */
  struct tg_parcel parcel;  /* the first of the queue, when they are in flight */
  enum tg_lane_state state;
  uv_timer_t retry;
  struct tg_lane_script script;

  LIST_HEAD(, tg_interaction) interactions; /* the watch's */

  char prefix[TG_BODY_PREFIX_MAX]; /* of the bodies of this session's events */
  size_t prefix_length;
};

/* All lanes that share a sink, its logs and its bounds. The owner sets what stands in front of `at`. */
struct tg_lanes {
  struct tg_delivery_env *env;
  struct tg_shard_table *tables[TG_SIDES]; /* NULL: there are no rows */
  int totals[TG_SIDES];                    /* of shards; 0: not known */
  struct tg_shard_row *spare_row;          /* for shards without a row */
  const struct tg_lane_sink *sink;
  void *sink_ctx;
  const struct tg_lane_watch *watch;
  void *watch_ctx;
  void (*settled)(struct tg_lane *lane); /* of a lane with a seat: more of its session may be done */
  void (*emptied)(void *ctx); /* nothing waits any more; NULL: nobody cares */
  void *emptied_ctx;
  struct tg_stats_sink *stats; /* the figures of the sink */

  int before_all;                /* lanes of a set that is over: what they have goes first */
  bool shut;                     /* nothing is sent before it is known which lanes share guilds */
  struct tg_lane **at;           /* by tg_ref_index(); NULL: not yet */
  int count, live;               /* places; lanes */
  struct tg_queue_total queued;  /* in memory */
  struct tg_queue_total spilled; /* in the logs alone */
  struct tg_logs logs;
  struct tg_overflow overflow;
  int walking;     /* queues are being looked at by a script: nothing may leave them */
  uint64_t chosen; /* events that are to be dropped then */
};

/* How many events wait, in memory and in the logs. */
static inline uint64_t tg_lanes_waiting(const struct tg_lanes *lanes)
{
  return lanes->queued.events + lanes->spilled.events;
}

/* Timers close; no event comes or goes any more. */
void tg_lanes_end(struct tg_lanes *lanes);
/* When the handles are closed. */
void tg_lanes_free(struct tg_lanes *lanes);
/* A set of shards comes: its rows are in that table. Lanes of it may be there, read from the logs. */
void tg_lanes_add_side(struct tg_lanes *lanes, int side, struct tg_shard_table *table);
/* Something of sessions up to that epoch waits in that side's lanes, and is to be delivered. */
bool tg_lanes_side_waits(const struct tg_lanes *lanes, int side, uint64_t epoch);
/* Of a set that is not there: what lanes that have delivered still have goes before all others, what is in
 * the rest is dropped. */
void tg_lanes_end_strays(struct tg_lanes *lanes, int side, bool (*has_delivered)(void *ctx, tg_shard_ref ref),
                         void *ctx);
/* It is known: what had to wait for that may go. */
void tg_lanes_unshut(struct tg_lanes *lanes);
/* How many events wait that no other lane keeps back. */
uint64_t tg_lanes_may_go(const struct tg_lanes *lanes);
/* It is over: what waits in its lanes is dropped, without a word, and its table is not looked at any more. */
void tg_lanes_drop_side(struct tg_lanes *lanes, int side);
/* The configuration is another one. */
void tg_lanes_reconfigure(struct tg_lanes *lanes);

/* --- lane.c --- */

/* The shard's lane, made when there is none. */
struct tg_lane *tg_lane_of(struct tg_lanes *lanes, tg_shard_ref ref);
/* Its row, or a spare one. */
void tg_lane_find_row(struct tg_lane *lane);
void tg_lane_set_session(struct tg_lane *lane, uint64_t epoch, uint64_t received);
uint64_t tg_lane_settled(const struct tg_lane *lane);
/* The same, whatever is held. */
uint64_t tg_lane_settled_alone(const struct tg_lane *lane);
/* Events from there on are held; 0: none is. */
void tg_lane_hold_from(struct tg_lane *lane, uint64_t sequence);
/* The session goes on under a higher epoch. */
void tg_lane_raise_epoch(struct tg_lane *lane, uint64_t epoch);
/* Of events up to `sequence` those in front of the first that is held. */
static inline uint64_t tg_lane_unheld(const struct tg_lane *lane, uint64_t sequence)
{
  uint64_t from = lane->session.held_from;
  return __builtin_expect(from != 0, 0) && from <= sequence ? from - 1 : sequence;
}
/* Writes the lane's numbers into its row. */
void tg_lane_publish(struct tg_lane *lane);
/* The event handler has accepted the event. */
void tg_lane_count_delivered(struct tg_lane *lane, const struct tg_queued *event);
void tg_lane_push(struct tg_lane *lane, const struct tg_event *event);
/* Returns its position in the own log; 0: it is not there. */
tg_log_position tg_lane_put(struct tg_lane *lane, const struct tg_item *item);
/* The event is in no queue any more, and is told to be gone. */
void tg_lane_free_event(struct tg_lane *lane, struct tg_queued *event);
/* Takes the event out of its lane for good, and frees it. */
void tg_lane_remove(struct tg_lane *lane, struct tg_queued *event);
/* The same for the first `count` ones. */
void tg_lane_remove_first(struct tg_lane *lane, int count);
/* It was one of those that go before all others, and has nothing more. */
void tg_lane_is_done(struct tg_lane *lane);
/* The lane may send, if it has something and nothing to wait for: when its turn comes. */
void tg_lane_wants_turn(struct tg_lane *lane);
/* The same, and now if it can be; not while an answer is being looked at. */
void tg_lane_go_on(struct tg_lane *lane);
/* Sends again after `delay` ms. */
void tg_lane_wait(struct tg_lane *lane, tg_ms delay);
