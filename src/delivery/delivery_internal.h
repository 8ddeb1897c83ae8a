#pragma once

/* What the files of delivery share. Nothing outside of src/delivery includes
 * this.
 *
 *     pipeline.c   one event on its way: caches, filters, scripts
 *     lane.c       a shard's queue, its sequences, its row of the shard table
 *     backlog.h    the logs underneath, and their files
 *     batch.c      what goes in one request
 *     overflow.c   bounds: what is not queued, what is dropped, and who hears of it
 *     handler.c    one event handler URL: who may send, and when
 *     judgement.c  what an answer means, and what the handler's state learns from it
 *     answer.c     what it does to event and lane
 *     refusal.c    ... if the handler does not want the event: dead letters
 *     interaction.h  interactions that the event handler does not answer in time
 *     scripted.c   deliver and handle_queue of a script in the place of the above
 *     post.c       the default of deliver, for scripts
 *     queue.c      what scripts see of a queue, and do to it
 *     delivery.c   life and death, configuration, drain */

#include "base/buf.h"
#include "delivery/caches/guild_cache.h"
#include "delivery/caches/message_cache.h"
#include "delivery/delivery.h"
#include "delivery/env.h"
#include "delivery/interactions/interaction.h"
#include "delivery/lanes/backlog.h"
#include "delivery/lanes/lane_queue.h"
#include "delivery/lanes/sink.h"
#include "delivery/lanes/watch.h"
#include "delivery/sinks/circuit.h"
#include "delivery/sinks/outcome.h"
#include "net/http.h"
#include "proto/event_types.h"
#include "shared/stats.h"

enum {
  TG_GUILDS_QUIET = 15000, /* after READY: so long without a GUILD_CREATE, and loading is over */
  TG_REPORT_INTERVAL = 60000,
  TG_CONNECT_TIMEOUT = 5000,
  TG_DRAIN_LOOK = 100,
  TG_BATCH_EVENTS = 64,
  TG_BATCH_BYTES = 256 << 10, /* but an event that is larger goes alone */
  TG_BATCH_GROWTH = 4 << 10,  /* of what a handler takes at once, after it was too much */
  TG_BATCH_KEY = 128,
};

/* In place of event_handler.urls when there are none, but a script delivers. */
#define TG_SCRIPT_URL "script"

enum tg_lane_state {
  TG_LANE_IDLE,    /* nothing to send */
  TG_LANE_READY,   /* in its handler's ring */
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

  struct tg_handler *handler; /* NULL: there is no event handler */
  struct tg_handler *sending; /* whose request is in flight; may be a retired one */
  enum tg_lane_state state;
  struct tg_lane *next_ready;
  struct tg_call *delivering; /* a call of the script's deliver, for what is in flight */
  struct tg_call *draining;   /* ... of its handle_queue */
  struct tg_drainer *drainers; /* who wait until it is empty */
  bool by_default;             /* until it is empty, whatever the script has */
  int idle_drains;             /* calls of handle_queue in a row that took nothing */
  uint64_t taken;              /* events that have left the queue, ever */
  uint64_t request;            /* tg_http_start() */
  int in_flight;    /* so many of the first events are in it */
  struct tg_buf body; /* of it, unless the event's own bytes are */
  uv_timer_t retry;
  char prefix[80]; /* of the body: {"shardId":3,"epoch":7,"message": */
  size_t prefix_length;

  LIST_HEAD(, tg_interaction) interactions; /* that are watched */

  struct tg_guild_cache guilds;
  bool guilds_loading; /* between READY and guilds_loaded */
  uv_timer_t quiet;
};

struct tg_handler {
  struct tg_delivery *delivery;
  char *url;
  char *public_url; /* for logs */
  struct tg_circuit circuit;
  struct tg_window window;
  struct tg_stats_handler *stats; /* of its URL */
  int in_flight;
  TAILQ_HEAD(, tg_interaction) express; /* that wait to pass their lanes */
  int express_waiting, express_in_flight;
  int nested; /* posts of scripts that are part of what a lane has in flight */
  TAILQ_HEAD(, tg_post) posts; /* of scripts, that wait for room in the window */
  struct tg_lane *ready, *ready_last;
  size_t batch_bytes; /* what it takes in one request, as far as is known */
  struct {
    size_t events, bytes; /* that it found too large and the log has not told of, and the largest */
    tg_ms told_at;        /* uv_now(); 0: never */
  } too_large;
  uv_timer_t timer; /* the end of the circuit's wait */
  bool retired;     /* no longer configured; goes with its last answer */
  bool is_script;   /* there is no URL, but a script takes events */
  tg_ms down_since, alarmed_at;
};

struct tg_delivery {
  struct tg_delivery_env env;
  struct tg_shard_table *table;
  struct tg_http *http;
  struct tg_shard *(*find_shard)(void *ctx, int shard_id);
  void (*tell)(void *ctx, const char *url, bool up, tg_ms asked);
  void *ctx;
  const struct tg_lane_sink *sink;
  const struct tg_lane_watch *watch;

  struct tg_lane **lanes; /* by shard id */
  int lane_count;
  struct tg_handler **handlers; /* as in event_handler.urls */
  int handler_count;
  char *authorization; /* the header line, or NULL */
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

  struct tg_call *calls; /* into the script that have not ended */
  struct tg_post *posts;
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

/* batch.c: each works on the first `count` events of the lane. */
/* Says how many go in the next request; there is at least one event. */
int tg_batch_choose(struct tg_lane *lane);
/* Holds until tg_batch_take_back(). */
struct tg_span tg_batch_body(struct tg_lane *lane, int count);
/* The header line. A batch is named by its first and its last event. */
void tg_batch_key(char key[TG_BATCH_KEY], const struct tg_lane *lane, int count);
struct tg_batch_end {
  uint64_t sequence;
  bool marker;
};
void tg_batch_key_of(char key[TG_BATCH_KEY], int shard_id, uint64_t epoch, struct tg_batch_end first,
                     struct tg_batch_end last);
void tg_batch_lend(struct tg_lane *lane, int count);
/* Returns how many were in flight. */
int tg_batch_take_back(struct tg_lane *lane);
/* They were refused together: the next request has half of them. */
void tg_batch_split(struct tg_lane *lane, int count);
/* ... since they have too many bytes: the handler's next requests have half of these. */
void tg_batch_shrink(struct tg_lane *lane, struct tg_handler *handler, int count, size_t bytes);
/* It has accepted a request of that size. */
void tg_batch_grow(struct tg_handler *handler, size_t bytes);
/* The length of what the lane has in flight. */
size_t tg_batch_bytes(const struct tg_lane *lane);

/* handler.c */
extern const struct tg_lane_sink tg_handler_sink;
struct tg_handler *tg_handler_new(struct tg_delivery *delivery, const char *url);
void tg_handler_retire(struct tg_handler *handler);
/* A request leaves (1) or has ended (-1). */
void tg_handler_in_flight(struct tg_handler *handler, int change);
void tg_handler_ready(struct tg_handler *handler, struct tg_lane *lane);
/* Has the event handler POST the first ones of the lane, which are lent out. */
void tg_handler_post_first(struct tg_handler *handler, struct tg_lane *lane);
/* POSTs a body. `key`: the header line. */
uint64_t tg_handler_post(struct tg_handler *handler, const char *key, struct tg_span body, tg_http_done *done,
                         void *ctx);
/* A request that the handler had is over. */
void tg_handler_release(struct tg_handler *handler);
/* Takes the lane out of the ring, if it is in. */
void tg_handler_forget(struct tg_handler *handler, struct tg_lane *lane);
/* Whether its window has room for a request. */
bool tg_handler_has_room(const struct tg_handler *handler);
/* Sends what may be sent now. */
void tg_handler_pump(struct tg_handler *handler);
/* Counts a request's end for the circuit; logs, and tells the script. */
void tg_handler_succeeded(struct tg_handler *handler);
/* `asked`: the wait is not ours. */
void tg_handler_failed(struct tg_handler *handler, tg_ms wait, bool asked, enum tg_outcome outcome,
                       const char *reason, const char *advice);

/* judgement.c: what the end of a request says, whoever has sent it. */
struct tg_judgement {
  struct tg_handler *handler;
  const struct tg_http_response *response;
  enum tg_outcome outcome; /* what the script's is_delivered thinks is heeded */
  char reason[TG_ERROR_MESSAGE_SIZE];
};
/* `accepted`: a script says so, there may be no answer. */
struct tg_judgement tg_judgement_of(struct tg_handler *handler, const struct tg_http_response *response,
                                bool accepted);
/* For the metrics. */
void tg_judgement_count(const struct tg_judgement *judgement);
/* The handler's window and circuit learn of it, while the request still counts as
 * in flight. `events`: so many were in it; `wait`: for a handler in trouble, until
 * the next one, -1: as usual. May call the script. */
void tg_judgement_teach(const struct tg_judgement *judgement, int events, tg_ms wait);

/* answer.c */
/* The end of what a lane had in flight, on its way through answer.c and refusal.c. */
struct tg_lane_answer {
  struct tg_lane *lane;
  struct tg_queued *event; /* the first one that was sent */
  int count;               /* ... and how many were */
  size_t bytes;            /* of the body */
  bool is_known;           /* to the handler: it has heard of each request by itself */
  struct tg_judgement judgement;
};
tg_http_done tg_lane_answered;
/* The same for what a script's deliver has said; `accepted`: it has the events;
 * `is_known`: it has had them POSTed by the default. */
void tg_lane_delivered(struct tg_lane *lane, bool accepted, const struct tg_http_response *response,
                       bool is_known);
/* What was sent is to be sent again as if it had not been. */
void tg_lane_unsend(struct tg_lane *lane);
void tg_lane_send_again(const struct tg_lane_answer *answer, tg_ms delay);

/* refusal.c */
void tg_lane_refused(const struct tg_lane_answer *answer);
/* Once a minute, and at the end. */
void tg_refusals_report(struct tg_handler *handler);

/* scripted.c */
enum { TG_SCRIPT_PATIENCE = 6 }; /* times event_handler.timeout */
/* Hands what was lent out to the script's deliver. False: there is none. */
bool tg_scripted_deliver(struct tg_lane *lane);
/* Hands the queue to the script's handle_queue. False: there is none, or the default is at work. */
bool tg_scripted_drain(struct tg_lane *lane);
/* The default has emptied the queue. */
void tg_scripted_rest(struct tg_lane *lane);
/* Whoever works for the lane in the script has looked at its queue. */
void tg_scripted_touch(struct tg_lane *lane);
void tg_scripted_free(struct tg_delivery *delivery);

/* Whether a script's deliver has the lane's events, which from now on are POSTed for it. */
bool tg_scripted_posts(struct tg_lane *lane);

/* post.c */
/* Sends those that wait, as far as there is room. */
void tg_posts_pump(struct tg_handler *handler);
/* The handler goes: those that wait go to the one that has come for it. */
void tg_posts_close(struct tg_handler *handler);
void tg_posts_free(struct tg_delivery *delivery);

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
