#pragma once

/* The lanes of a sink, one a shard: what waits for whoever takes its events, in order, in memory and in the
 * logs underneath. What belongs to the shard itself is its feed's (feed.h), which has a lane at each
 * sink.
 *
 *     lane.c       an event's way in and out of a lane
 *     backlog.h    the logs underneath: backlog.c, backlog_write.c, lane_backlog.c, lane_gap.c
 *     overflow.h   bounds: what is not queued, what is dropped, and who hears of it
 *     gate.h       which of two lanes with the same guilds goes first
 *     lease.h      whether the shard is this host's at all
 *     batch.h      what of a lane goes in one parcel (parcel.h)
 *     lines.h      with order = "guild": a parcel a guild
 *     queue.h      what scripts see of the queues, and do to them
 *
 * Lanes know neither who sends (sink.h) nor who watches over single events (watch.h). */

#include "delivery/env.h"
#include "delivery/lanes/backlog.h"
#include "delivery/lanes/body.h"
#include "delivery/lanes/feed.h"
#include "delivery/lanes/gate.h"
#include "delivery/lanes/lane_queue.h"
#include "delivery/lanes/lease.h"
#include "delivery/lanes/lines.h"
#include "delivery/lanes/overflow.h"
#include "delivery/lanes/parcel.h"
#include "delivery/lanes/sink.h"
#include "delivery/lanes/watch.h"
#include "proto/event_types.h"
#include "proto/shard_ref.h"
#include "shared/shard_table.h"
#include "shared/stats.h"

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
  struct tg_buf ahead; /* acks that wait for these: lane_gap.c */
  struct tg_gap refused;
  tg_ms refused_since; /* uv_now() */
  struct tg_gap lost_tail;
  int lost_tail_order; /* of the log that has lost it */
  struct tg_queued *first_unlogged;
  struct tg_accepted *accepted, *last_accepted; /* a list: accepted.c */
  /* Whose `durable` may have changed in this turn of the loop: a list from tg_logs.touched on; and from
   * tg_logs.synced on those for which a sync runs, with what is durable then. */
  bool touched;
  struct tg_lane *next_touched, *next_synced;
  uint64_t synced_safe, synced_epoch;
};

enum tg_lane_state {
  TG_LANE_IDLE,    /* nothing to send, or not yet: its timer runs while it lingers; or its lines do so */
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

enum { TG_SINK_BOT = 0 /* tg_lanes.index of event_handler */ };

struct tg_lane {
  struct tg_lanes *lanes;
  struct tg_feed *feed;
  /* Numbers of the feed's session, none beyond what was received but for `ahead`. With a log `durable` is
   * what this lane has to say of where another process would have to RESUME from, and `delivered` is for the
   * eye; without one that is tg_lane_delivered(). */
  uint64_t safe;      /* up to here all that went into the lane is in the flushed log, or done */
  uint64_t durable;   /* the same, in front of the first event that is held outside of the lanes */
  uint64_t delivered; /* the last that has left the queue */
  uint64_t ahead; /* up to here its log had the events when the session was adopted: further than another's */
  struct tg_lane_queue queue; /* in memory */
  struct tg_lane_log log;
  uint64_t taken; /* events that have left the queue, ever */

  bool before_all;          /* of a set that is over, and has delivered: goes before all others */
  struct tg_sender *sender; /* whoever sends for it; NULL: nobody takes events */
  struct tg_parcel parcel;  /* the first of the queue, when they are in flight */
  enum tg_lane_state state;
  uv_timer_t retry;
  struct tg_lines *lines; /* from its first turn with order = "guild" on; in use: queue.lines */
  struct tg_lane_script script;

  LIST_HEAD(, tg_interaction) interactions; /* the watch's */
};

/* All lanes that share a sink, its logs and its bounds. The owner sets what stands in front of `at`. */
struct tg_lanes {
  struct tg_delivery_env *env;
  struct tg_feeds *feeds;
  int index;                               /* of the sink: tg_feed.lanes */
  const char *name, *title;                /* of the sink: "stats", and as logs name it */
  const struct tg_handler_config *handler; /* its part of the configuration, another one after a reload ... */
  const struct tg_queue_config *limits;    /* ... of what waits ... */
  const struct tg_redis_config *redis;     /* ... of a Redis; NULL: it is the bot's */
  bool unwanted[TG_EVENT_TYPE_MAX];        /* `events` leaves them out */
  bool keeps; /* what was accepted stays in the log until it is released: accepted.c */
  char *directory;                         /* where its logs are; owned */
  const struct tg_lane_sink *sink;
  void *sink_ctx;
  const struct tg_lane_watch *watch;
  void *watch_ctx;
  void (*emptied)(void *ctx); /* nothing waits any more; NULL: nobody cares */
  void *emptied_ctx;
  struct tg_stats_sink *stats; /* the figures of the sink */

  int before_all;                /* lanes of a set that is over: what they have goes first */
  struct tg_lane **at;           /* by tg_ref_index(); NULL: not yet */
  int count;                     /* places */
  struct tg_queue_total queued;  /* in memory */
  struct tg_queue_total spilled; /* in the logs alone */
  struct tg_logs logs;
  struct tg_overflow overflow;
  int walking;     /* queues are being looked at by a script: nothing may leave them */
  uint64_t chosen; /* events that are to be dropped then */
};

/* What a method of gateway.delivery has a say in is the bot's. */
static inline bool tg_lanes_hooked(const struct tg_lanes *lanes, enum tg_method method)
{
  return lanes->index == TG_SINK_BOT && tg_hooked(lanes->env->hooks, method);
}

/* How many events wait, in memory and in the logs. */
static inline uint64_t tg_lanes_waiting(const struct tg_lanes *lanes)
{
  return lanes->queued.events + lanes->spilled.events;
}

/* Timers close; no event comes or goes any more. */
void tg_lanes_end(struct tg_lanes *lanes);
/* When the handles are closed. */
void tg_lanes_free(struct tg_lanes *lanes);
/* Something of sessions up to that epoch waits in that side's lanes, and is to be delivered. */
bool tg_lanes_side_waits(const struct tg_lanes *lanes, int side, uint64_t epoch);
/* Of a set that is not there: what lanes that have delivered still have goes before all others, what is in
 * the rest is dropped. More than once is as good as once. */
void tg_lanes_end_strays(struct tg_lanes *lanes, int side, bool (*has_delivered)(void *ctx, tg_shard_ref ref),
                         void *ctx);
/* What waits, and need not, goes in a turn of the loop of its own. */
void tg_lanes_let_go(struct tg_lanes *lanes);
/* How many events wait that no other lane keeps back. */
uint64_t tg_lanes_may_go(const struct tg_lanes *lanes);
/* The configuration is another one. */
void tg_lanes_reconfigure(struct tg_lanes *lanes);
/* figures.c: what waits, as the sink's gauges have it. `up`: as there (tg_stats_sink). */
void tg_lanes_publish(const struct tg_lanes *lanes, int up);

/* --- lane.c --- */

/* For the feed, which keeps it. */
struct tg_lane *tg_lane_new(struct tg_lanes *lanes, struct tg_feed *feed);
/* The shard's lane, made with its feed when there is none. */
struct tg_lane *tg_lane_of(struct tg_lanes *lanes, tg_shard_ref ref);
/* What waits in it is dropped, without a word. It stays for the next shard of that name: scripts may still
 * have something to do with it. */
void tg_lane_clear(struct tg_lane *lane);
/* The feed has another session. */
void tg_lane_begin_session(struct tg_lane *lane);
/* Its log has the session's events up to there, though others' have fewer. */
void tg_lane_is_ahead(struct tg_lane *lane, uint64_t sequence);
/* What is held outside of the lanes is less. */
void tg_lane_unhold(struct tg_lane *lane);
/* Up to here all of the session that has come has left the lane. */
uint64_t tg_lane_delivered(const struct tg_lane *lane);
bool tg_lane_waits(const struct tg_lane *lane);
/* Whether a line of it waits for its turn. */
static inline bool tg_lane_has_turns(const struct tg_lane *lane)
{
  return __builtin_expect(lane->queue.lines != NULL, 0) && lane->queue.lines->in[TG_LINE_TURN] > 0;
}
/* Whether something of it is in flight, or a script has its queue. */
static inline bool tg_lane_is_busy(const struct tg_lane *lane)
{
  return lane->lanes->sink->busy(lane) || lane->lanes->watch->busy(lane);
}
/* What is in flight is as if it had not been sent: it waits again, in its place. */
static inline void tg_lane_stop(struct tg_lane *lane)
{
  lane->lanes->sink->stopped(lane);
  lane->lanes->watch->stopped(lane);
}
/* How many events wait in it, in memory and in the logs. */
static inline uint64_t tg_lane_waiting(const struct tg_lane *lane)
{
  return lane->queue.events + lane->log.late.events + lane->log.spilled_events;
}
/* Counts events (delivered, retried, dropped, dead) for the shard and for the sink. */
#define tg_lane_count(lane, counter, events)                                                                 \
  (tg_count_by(&(lane)->feed->row->counter, events), tg_count_by(&(lane)->lanes->stats->counter, events))
/* The event handler has accepted the event. */
void tg_lane_count_delivered(struct tg_lane *lane, const struct tg_queued *event);
void tg_lane_push(struct tg_lane *lane, const struct tg_event *event);
/* Returns its position in the own log; 0: it is not there. */
tg_log_position tg_lane_put(struct tg_lane *lane, const struct tg_item *item);
/* The event is in no queue any more, and is told to be gone. */
void tg_lane_free_event(struct tg_lane *lane, struct tg_queued *event);
/* Takes the event out of its lane for good, and frees it. */
void tg_lane_remove(struct tg_lane *lane, struct tg_queued *event);
/* The same for the first `count` ones of that parcel of its, which the sink has accepted. */
void tg_lane_remove_first(struct tg_parcel *parcel, int count);
/* It was one of those that go before all others, and has nothing more. */
void tg_lane_is_done(struct tg_lane *lane);
/* The lane may send, if it has something and nothing to wait for: when its turn comes. */
void tg_lane_wants_turn(struct tg_lane *lane);
/* The same, and now if it can be; not while an answer is being looked at. */
void tg_lane_go_on(struct tg_lane *lane);
/* The lane is idle, and stays so until its batch is full, or `left` ms have passed. False: 0 are left. */
bool tg_lane_lingers(struct tg_lane *lane, tg_ms left);
/* Sends again after `delay` ms. */
void tg_lane_wait(struct tg_lane *lane, tg_ms delay);
