#pragma once

/* Interactions cannot wait for the bot: unless somebody answers within 3 s the
 * person is told that the application did not respond. This watches each
 * INTERACTION_CREATE that goes into a lane:
 *
 *     arrived --acked by the event handler--> forgotten
 *     arrived --interaction.grace is over, or the handler is down--> due
 *     due --durable--> answered: by handle_interaction_queueing, or deferred
 *                      through REST (interaction_callback.h)
 *
 * What was answered stays in its lane, and has "deferred":true in its body from
 * then on; a mark in the log says so after a restart, too. Autocompletion, for
 * which only an answer at once is of use, leaves its lane.
 *
 * Internal to src/delivery; loop thread only. Times are uv_now(). */

#include "delivery/interactions/interaction_callback.h"
#include "delivery/lanes/lanes.h"
#include "proto/event.h"

#include <sys/queue.h>
#include <uv.h>

struct tg_sender;
struct tg_senders;

/* Marks of a record in the log (tg_event_log_mark()), for ever. They are made before
 * anything is counted, and before the cursor may pass over the record: whenever the
 * process dies, the next one answers and counts nothing a second time. Only what was
 * asked of Discord and not heard of is asked again, unless it is an autocompletion. */
enum {
  TG_MARK_DEFERRED = 1,   /* answered in the place of the event handler; of an autocompletion: perhaps */
  TG_MARK_DONE = 2,       /* before others of its shard that wait: the cursor cannot say so */
  TG_MARK_UNANSWERED = 4, /* nobody could answer it, and nobody is to try again */
};

TAILQ_HEAD(tg_interaction_list, tg_interaction);

/* Each has a copy of its event, apart from the lane's. So much all of them may take
 * in a worker: thousands of ordinary ones, which the largest bots have in a second. */
enum { TG_INTERACTIONS_BYTES = 8 << 20 };

/* All of a worker. */
struct tg_interactions {
  struct tg_delivery_env *env;
  struct tg_lanes *lanes;
  struct tg_senders *senders;
  struct tg_callbacks callbacks;
  size_t bytes;                         /* of all that are there */
  struct tg_interaction_list grace;     /* by the end of their grace */
  struct tg_interaction_list due;       /* perhaps not yet durable */
  struct tg_interaction_list answering; /* by the script or through REST */
  TAILQ_HEAD(, tg_interaction) express; /* that wait to pass their lanes, or are in flight beside them */
  uv_timer_t timer;
  bool measured;
  tg_ms behind; /* tg_steady_clock() less Discord's clock, and the way from there; once measured */
  struct {
    uint64_t answered, failed;
  } lately;         /* and not in the program's log yet */
  bool told_failed; /* there at once, since the last report */
};

enum tg_watching { TG_WATCH_GRACE, TG_WATCH_DUE, TG_WATCH_ANSWERING, TG_WATCH_NONE };

/* Is there as long as it is watched or has a ticket for the express lane. */
struct tg_interaction {
  TAILQ_ENTRY(tg_interaction) link;   /* in the list of its `watch` */
  TAILQ_ENTRY(tg_interaction) ticket; /* while `is_express` */
  LIST_ENTRY(tg_interaction) in_lane; /* while `lane` is set */
  struct tg_interactions *all;
  struct tg_lane *lane;         /* NULL: the event is delivered or dropped */
  struct tg_queued *queued;     /* NULL: not in memory */
  struct tg_log_source *source; /* the log that it is in; NULL: none */
  tg_log_position position;
  tg_shard_ref ref; /* of the lane */
  int total_shards;
  uint64_t epoch, sequence;
  uint8_t marks; /* of its record */
  enum tg_watching watch;
  tg_ms arrived;
  tg_ms due;                    /* the end of its grace */
  tg_ms until;                  /* when Discord no longer waits */
  struct tg_callback *callback; /* while it is answered through REST */
  bool is_express;              /* its parcel waits, or is in flight */
  struct tg_parcel parcel;
  struct tg_interaction_facts facts; /* the token stands behind the message */
  bool replayed;
  size_t length;
  char message[];
};

/* interaction.c */
void tg_interactions_begin(struct tg_interactions *all, struct tg_delivery_env *env, struct tg_lanes *lanes,
                           struct tg_senders *senders);
/* Before the logs are closed: nothing is answered any more. */
void tg_interactions_end(struct tg_interactions *all);

/* Whether answers are under way that are worth waiting for. */
bool tg_interactions_busy(const struct tg_interactions *all);

/* For the other files: */
/* The event is delivered or dropped. */
void tg_interaction_gone(struct tg_interaction *interaction);
struct tg_interaction *tg_interaction_find(const struct tg_lane *lane, uint64_t epoch, uint64_t sequence);
/* The caller sets what is not in the arguments, and calls tg_interaction_watch().
 * NULL: there is no room for it; it takes its turn in the lane, unwatched. That is
 * counted and told. */
struct tg_interaction *tg_interaction_new(struct tg_lane *lane, struct tg_span message,
                                          const struct tg_interaction_facts *facts, uint64_t epoch,
                                          uint64_t sequence);
void tg_interaction_watch(struct tg_interaction *interaction, bool due);
void tg_interaction_move(struct tg_interaction *interaction, enum tg_watching watch);
void tg_interaction_link(struct tg_interaction *interaction, struct tg_queued *queued);
void tg_interaction_leave_lane(struct tg_interaction *interaction);
/* The watch is over. */
void tg_interaction_unwatch(struct tg_interaction *interaction);
/* Frees it if nobody needs it any more. */
void tg_interaction_release(struct tg_interaction *interaction);
/* In its record, if that still waits. */
void tg_interaction_mark(struct tg_interaction *interaction, uint8_t mark);
/* Takes it off again. */
void tg_interaction_unmark(struct tg_interaction *interaction, uint8_t mark);

/* interaction_answer.c */
/* For a script: tg_delivery_answer_interaction(). */
struct tg_callback *tg_interactions_answer(struct tg_interactions *all,
                                           const struct tg_interaction_facts *facts,
                                           tg_interaction_answered *done, void *ctx);
/* Its time has come, and its event is durable. */
void tg_interaction_answer(struct tg_interaction *interaction);

/* Nobody answers it in the place of the event handler. */
void tg_interaction_count_failed(struct tg_interactions *all, const struct tg_interaction *interaction,
                                 const char *reason);

/* The event handler is not going to get it. */
void tg_interaction_count_unqueued(struct tg_lane *lane);

/* interaction_express.c */
/* If interaction.express says so, and others are in front of it. */
void tg_express_offer(struct tg_interaction *interaction);
/* It has a ticket, and takes its turn in the lane's order all the same. */
void tg_express_return(struct tg_interaction *interaction);
/* The one that has waited longest for the sender's express lane goes back to its own. False: none waits. */
bool tg_express_give_way(struct tg_sender *sender);
void tg_express_end(struct tg_interactions *all);

/* interaction_backlog.c */
/* The logs of earlier processes are open: what they left unanswered may still
 * be in time. Before anything is read back. */
void tg_interactions_recover(struct tg_lanes *lanes);

/* The record is marked. True: nothing more is to be done for it, and it is counted. */
bool tg_interaction_is_over(struct tg_lane *lane, const struct tg_log_record *record, struct tg_span message);

/* The event was read back from a log, with its marks there. */
void tg_interaction_read_back(struct tg_lane *lane, struct tg_queued *event, uint8_t marks);

/* The event is about to be sent. True: it was of no use to the bot any more, and is gone. */
bool tg_interaction_expires(struct tg_lane *lane, struct tg_queued *event);

/* Once a minute. */
void tg_interactions_report(struct tg_interactions *all);
