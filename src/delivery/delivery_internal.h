#pragma once

/* What the files of delivery share. Nothing outside of src/delivery includes
 * this.
 *
 *     pipeline.c   one event on its way: caches, filters, scripts
 *     lane.c       a shard's queue, its sequences, its row of the shard table
 *     backlog.h    the logs underneath, and their files
 *     parcel.h     what goes out in one request; batch.h: ... of a lane
 *     overflow.c   bounds: what is not queued, what is dropped, and who hears of it
 *     sinks/sender.h  who may send to an event handler, and when; what an answer means
 *     interaction.h  interactions that the event handler does not answer in time
 *     queue.c      what scripts see of a queue, and do to it
 *     delivery.c   life and death, configuration, drain */

#include "base/buf.h"
#include "delivery/caches/guild_cache.h"
#include "delivery/caches/message_cache.h"
#include "delivery/delivery.h"
#include "delivery/env.h"
#include "delivery/interactions/interaction.h"
#include "delivery/lanes/backlog.h"
#include "delivery/lanes/body.h"
#include "delivery/lanes/lane_queue.h"
#include "delivery/lanes/parcel.h"
#include "delivery/lanes/sink.h"
#include "delivery/lanes/watch.h"
#include "delivery/sinks/sender.h"
#include "net/http.h"
#include "proto/event_types.h"
#include "shared/stats.h"

enum {
  TG_GUILDS_QUIET = 15000, /* after READY: so long without a GUILD_CREATE, and loading is over */
  TG_REPORT_INTERVAL = 60000,
  TG_DRAIN_LOOK = 100,
};

enum tg_lane_state {
  TG_LANE_IDLE,    /* nothing to send */
  TG_LANE_READY,   /* its parcel waits for its turn */
  TG_LANE_SENDING, /* the first of its queue are in flight */
  TG_LANE_WAITING, /* its retry timer runs */
  TG_LANE_SCRIPT,  /* a script's handle_queue has it */
};

_Static_assert((int)TG_OUTCOME_CANCELLED < (int)TG_STATS_OUTCOMES, "each has its counter in the page");

/* Why policy drops an event. */
enum tg_drop {
  TG_DROP_FIRST,   /* queue.drop_first, from 80 % of the bound on */
  TG_DROP_OLDEST,  /* the bound is reached */
  TG_DROP_SCRIPT,  /* a script has said so */
  TG_DROP_EXPIRED, /* queue.max_age */
  TG_DROP_INTERACTION, /* nobody could answer it any more */
  TG_DROP_REASONS,
};

/* Gaps that the program's log has not told of yet. */
struct tg_losses {
  uint64_t gaps, events;
  const char *reason; /* of the last one */
  tg_ms told_at;      /* uv_now(); 0: never */
};

struct tg_lane {
  struct tg_delivery *delivery;
  int shard_id;
  uint64_t epoch;
  uint64_t received; /* highest s of that epoch */
  uint64_t handled;  /* up to here an earlier process has started the handlers of that epoch */
  uint64_t resumed;  /* s of a RESUMED that is not durable yet; 0: none */
  uint32_t heard;    /* of the row's `unheard`, those that it settles */
  uint32_t holes;    /* of the row's `unheard`, those that were found missing */
  struct tg_shard_row *row;
  struct tg_lane_queue queue;

  /* With a log underneath. What waits of the shard: the queue, and then, if
   * `spilled`, what is in the logs alone, from `source` and `after` on. */
  bool spilled;
  struct tg_source *source;
  tg_log_position after;
  uint64_t spilled_events, spilled_bytes;
  struct tg_lane_queue late;        /* spilled, but refused by the log: `position` says where it belongs */
  tg_log_position last_position;    /* the shard's last one in the own log */
  struct tg_pending_gap *gaps;      /* in front of what is spilled; in order */
  int gaps_queued;                  /* markers in the queue */
  struct tg_gap refused;            /* events that were not queued, and of which no marker tells yet */
  tg_ms refused_since;              /* uv_now() */
  struct tg_gap lost_tail;          /* .epoch 0: none; until the session is adopted */
  int lost_tail_order;
  struct tg_queued *first_unlogged; /* of this session: it would die with the process */
  uint64_t durable;                 /* s of this session */
  uint64_t announced;               /* the highest s of this session that Discord was told is durable */
  uint64_t delivered;               /* the last s that left the queue */
  bool touched;
  struct tg_lane *next_touched, *next_synced;
  uint64_t synced_safe, synced_epoch; /* what is durable when the sync is done */

  struct tg_sender *sender; /* NULL: nobody takes events */
  struct tg_parcel parcel;  /* the first of the queue, while they wait for their turn or are in flight */
  enum tg_lane_state state;
  struct tg_call *draining;    /* a call of the script's handle_queue */
  struct tg_drainer *drainers; /* who wait until it is empty */
  bool by_default;             /* until it is empty, whatever the script has */
  int idle_drains;             /* calls of handle_queue in a row that took nothing */
  uint64_t taken;              /* events that have left the queue, ever */
  uv_timer_t retry;
  char prefix[TG_BODY_PREFIX_MAX]; /* of the bodies of this session's events */
  size_t prefix_length;

  LIST_HEAD(, tg_interaction) interactions; /* that are watched */

  struct tg_guild_cache guilds;
  bool guilds_loading; /* between READY and guilds_loaded */
  uv_timer_t quiet;
};

struct tg_delivery {
  struct tg_delivery_env env;
  struct tg_shard_table *table;
  struct tg_shard *(*find_shard)(void *ctx, int shard_id);
  void *ctx;
  const struct tg_lane_sink *sink;
  const struct tg_lane_watch *watch;

  struct tg_lane **lanes; /* by shard id */
  int lane_count;
  struct tg_senders senders;
  bool nobody_takes;   /* events: no handler, and no script */
  struct tg_queue_total queued;  /* in memory */
  struct tg_queue_total spilled; /* in the logs alone */
  int live_lanes;

  struct tg_source *sources; /* oldest first; NULL: queue.durability = "memory" */
  struct tg_source *own;     /* the last of them */
  bool (*wanted)(void *ctx, int shard_id);
  uv_prepare_t prepare;
  uv_check_t check;
  struct tg_lane *touched, *synced;
  struct tg_buf noted_gaps;
  uint64_t own_bound; /* bytes */
  bool tight;         /* four fifths of it are taken */
  bool source_done;   /* one of them may be empty */
  bool syncing, unsynced;
  tg_ms flush_retry_at, log_alarmed_at, synced_at; /* uv_now() */
  bool log_refuses;       /* events wait in memory alone: backlog_write.c */
  bool disk_is_full;      /* ... for want of room ... */
  bool disk_is_taken;     /* ... which others take as soon as it is given back */
  tg_ms log_retry_at;     /* uv_now() */
  uint64_t written_again; /* events, of these */
  uv_timer_t log_retry;   /* has the loop turn then */

  struct tg_lane *fullest; /* as of the last look */
  int drops_until_look, drops_until_unload;
  bool drop_first[TG_EVENT_TYPE_MAX];
  uint64_t drops[TG_DROP_REASONS];    /* since the last report */
  bool dropping;                      /* the program's log has said so */
  struct tg_losses losses;
  struct tg_message_cache *messages;
  struct tg_guild_store guilds;
  struct tg_interactions interactions;
  struct tg_callbacks callbacks;
  struct tg_shard_row *spare_row; /* for shards without a row */

  int walking; /* queues are being looked at by a script: nothing may leave them */
  uint64_t chosen; /* events that are to be dropped then */
  bool asking; /* queue_overflow */
  uint32_t asked_for; /* the segment of the log for which it was asked last */

  uv_timer_t report;
  uv_timer_t drain;
  tg_ms drain_until; /* uv_now() */
  void (*drained)(void *ctx, uint64_t left);
  void *drained_ctx;
};

/* lane.c */
struct tg_lane *tg_lane_of(struct tg_delivery *delivery, int shard_id);
void tg_lane_set_session(struct tg_lane *lane, uint64_t epoch, uint64_t received);
uint64_t tg_lane_settled(const struct tg_lane *lane);
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
/* The lane may send, if it has something and nothing to wait for: when its turn comes. */
void tg_lane_wants_turn(struct tg_lane *lane);
/* The same, and now if it can be; not while an answer is being looked at. */
void tg_lane_go_on(struct tg_lane *lane);
/* Sends again after `delay` ms. */
void tg_lane_wait(struct tg_lane *lane, tg_ms delay);
void tg_lane_free(struct tg_lane *lane);

/* overflow.c */
/* Whether an event that no log holds may be queued: makes room for it, if need be. */
bool tg_overflow_admit(struct tg_lane *lane, const struct tg_item *item, uint64_t size);
/* The event is not queued. */
void tg_overflow_refuse(struct tg_lane *lane, const struct tg_item *item, enum tg_drop reason);
/* Queues a marker for what was refused, if it was a second ago or more, or `at_once`. */
void tg_overflow_tell(struct tg_lane *lane, bool at_once);
/* Policy drops an event that waits in the lane's memory, and that is not in flight. */
void tg_overflow_drop(struct tg_lane *lane, struct tg_queued *event, enum tg_drop reason);
/* The script's queue_overflow, before `size` bytes more come into the log. */
void tg_overflow_ask_for_log(struct tg_delivery *delivery, uint64_t size);
/* The oldest one goes, an interaction last; of the fullest lane. False: there is none. */
bool tg_overflow_drop_oldest(struct tg_delivery *delivery, enum tg_drop reason);
/* Counts `count` more; with a log nothing else is to be done. */
void tg_overflow_count(struct tg_lane *lane, enum tg_drop reason, uint64_t count);
/* The same of an event in lane->late. */
void tg_overflow_drop_late(struct tg_lane *lane, struct tg_queued *event, enum tg_drop reason);
/* Once a minute: events in memory alone that are older than queue.max_age. */
void tg_overflow_expire(struct tg_delivery *delivery);
/* What was lost, for the program's log: the first is told at once, the others once a minute. */
void tg_overflow_lost(struct tg_lane *lane, const struct tg_gap *gap);
/* Once a minute, and at the end. */
void tg_overflow_report(struct tg_delivery *delivery);

/* queue.c */
enum tg_guild_create tg_queued_guild_create(const struct tg_queued *queued);
/* An event as scripts see it. `text`: room for what does not stand in its bytes,
 * the text of a marker or a name that has escapes. */
void tg_queued_event(const struct tg_lane *lane, struct tg_queued *queued, char text[TG_MARKER_MAX],
                     struct tg_event *event);

/* How many events wait, in memory and in the logs. */
static inline uint64_t tg_delivery_waiting(const struct tg_delivery *delivery)
{
  return delivery->queued.events + delivery->spilled.events;
}
