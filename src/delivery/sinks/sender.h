#pragma once

/* One event handler: who may send to it, and when.
 *
 * Parcels wait here for their turn, each way (enum tg_parcel_way) in a line of its own. How many are in
 * flight the window says, and whether any may leave the circuit breaker (circuit.h); both learn from what
 * comes of each parcel, whoever it is of and whatever carrier has sent it.
 *
 *     senders.c     all of them: which there are, and whose lanes are whose
 *     sender.c      the lines, and what is in flight
 *     judgement.c   what an answer means, and what the sender learns from it
 *     lane_parcel.c what lanes send, and what an answer does to the events; refusal.c: ... that are refused
 *     lane_lines.c  lanes with order = "guild"
 *     post.c        the default of a script's deliver
 *     letter.c      dead letters that are sent again
 *     script_drain.c  a script's handle_queue, in the place of all this
 *     http_carrier.c, script_carrier.c  the kinds of carriers */

#include "delivery/env.h"
#include "delivery/lanes/parcel.h"
#include "delivery/sinks/carrier.h"
#include "delivery/sinks/circuit.h"
#include "delivery/sinks/letter.h"
#include "shared/stats.h"

struct tg_lanes;

enum { TG_EXPRESS_IN_FLIGHT = 4 /* of a sender */ };

/* Events that were too large for the handler, and that the log has not told of. */
struct tg_too_large {
  size_t events, bytes; /* how many, and the largest */
  tg_ms told_at;        /* uv_now(); 0: never */
};

struct tg_sender {
  struct tg_senders *all;
  char *url;              /* NULL: there is none, but a script takes events */
  const char *public_url; /* for logs */
  struct tg_carrier *carrier; /* of what lanes send */
  struct tg_carrier *direct;  /* of all else, and of what the script does not want; NULL: there is none */
  struct tg_circuit circuit;
  struct tg_window window;
  struct tg_stats_handler *stats; /* of its URL */
  struct tg_parcel_list waiting[TG_WAYS];
  int waiting_count[TG_WAYS];
  int in_flight; /* in the window, and beside it: */
  int express_in_flight;
  int nested_in_flight; /* not counted above */
  size_t bytes_learned; /* what it takes in one request, from a 413; 0: no less than is configured */
  struct tg_too_large too_large;
  uv_timer_t timer; /* the end of the circuit's wait */
  bool retired;     /* no longer configured; goes with its last answer */
  tg_ms down_since, alarmed_at;
};

/* All of a worker. */
struct tg_senders {
  struct tg_delivery_env *env;
  struct tg_lanes *lanes;
  struct tg_http *http;
  struct tg_carrier *script;
  struct tg_sender **at; /* as in event_handler.urls */
  int count;
  LIST_HEAD(, tg_post) posts;  /* of scripts */
  LIST_HEAD(, tg_letter) letters; /* dead letters that are sent again */
  LIST_HEAD(, tg_call) drains; /* calls of a script's handle_queue that have not ended */
  /* What was found out of a handler, for the other workers: see tg_delivery_options.tell. */
  void (*tell)(void *ctx, const char *url, bool up, tg_ms asked);
  void *ctx;
  /* Nobody knows when this one will answer again. */
  void (*on_down)(void *ctx, struct tg_sender *sender);
  void *on_down_ctx;
};

/* --- sender.c --- */

struct tg_sender *tg_sender_new(struct tg_senders *all, const char *url, struct tg_carrier *direct);

/* It is no longer configured: what waits goes back to its owners, and it is freed when nothing is in flight.
 */
void tg_sender_retire(struct tg_sender *sender);

/* The parcel waits for its turn; nothing is sent before tg_sender_pump(). */
void tg_sender_queue(struct tg_sender *sender, struct tg_parcel *parcel);

/* The parcel is sent at once, whatever the window says. */
void tg_sender_send(struct tg_sender *sender, struct tg_parcel *parcel);

/* Sends what may be sent now. */
void tg_sender_pump(struct tg_sender *sender);

/* The parcel neither waits nor is in flight any more; its owner is told nothing. */
void tg_sender_withdraw(struct tg_parcel *parcel);

/* The turn of a parcel that waits is not to come. */
void tg_sender_forget(struct tg_parcel *parcel);

/* How many bytes a batch may have. */
size_t tg_sender_batch_bytes(const struct tg_sender *sender);

/* Whether the window has room for a parcel. */
bool tg_sender_has_room(const struct tg_sender *sender);

/* What another worker has found out of it. */
void tg_sender_hear(struct tg_sender *sender, bool up, tg_ms asked);

/* --- judgement.c --- */

/* What the end of a parcel says: of the events in it, and of the sender. */
struct tg_judgement {
  struct tg_sender *sender;
  const struct tg_answer *answer;
  enum tg_outcome outcome; /* what the script's is_delivered thinks is heeded */
  int in_flight;           /* of the sender, the parcel counts, too */
  int events;
  bool teaches; /* the sender has not heard of it yet */
};
struct tg_judgement tg_judgement_of(const struct tg_parcel *parcel, const struct tg_answer *answer);

/* The sender's window and circuit learn of it. `wait`: how long a sender in trouble is to be left alone, -1:
 * as usual. May call the script. */
void tg_judgement_teach(struct tg_judgement *judgement, tg_ms wait);

/* A gauge of the statistics page that only this worker's loop changes. */
static inline void tg_sender_gauge(_Atomic int32_t *gauge, int change)
{
  atomic_store_explicit(gauge, atomic_load_explicit(gauge, memory_order_relaxed) + change,
                        memory_order_relaxed);
}
/* It counts as down (1), or as up again (-1). */
void tg_sender_publish_down(struct tg_sender *sender, int change);

/* --- refusal.c --- */

/* Once a minute, and at the end. */
void tg_refusals_report(struct tg_sender *sender);

/* --- post.c, script_drain.c: see delivery.h --- */

struct tg_post *tg_post_start(struct tg_lane *lane, const struct tg_event *events, int count, tg_posted *done,
                              void *ctx);
void tg_post_cancel(struct tg_post *post);
bool tg_script_drain_by_default(struct tg_lane *lane, void (*done)(void *ctx), void *ctx);
void tg_script_forget_drain(struct tg_lanes *lanes, void *ctx);
void tg_posts_free(struct tg_senders *senders);
/* Whether any of the lane is in flight; and those of it that have not ended fail. */
bool tg_posts_busy(const struct tg_lane *lane);
void tg_posts_stop(struct tg_lane *lane);
void tg_script_drains_end(struct tg_senders *senders);

/* --- letter.c: see delivery.h --- */

/* Sends the letter with that line, which it takes over. */
void tg_letter_start(struct tg_senders *senders, const char *state_dir, const struct tg_dead_place *place,
                     struct tg_buf *line, tg_letter_done *done, void *ctx);
/* What is in a parcel of TG_WAY_LETTER. */
const struct tg_stored *tg_letter_event(const struct tg_parcel *parcel);
/* Whether the script is delivering a letter of that shard now. */
bool tg_letter_at_script(const struct tg_senders *senders, tg_shard_ref ref);
/* They end unsent. */
void tg_letter_end_all(struct tg_senders *senders);

/* --- senders.c --- */

/* The caller has set env, lanes, http, tell, ctx and on_down. */
void tg_senders_begin(struct tg_senders *senders);
/* Takes over the URLs. Senders whose URL stays keep their state. */
void tg_senders_reconfigure(struct tg_senders *senders);
/* What is in flight is cancelled, and nobody is told. The senders go with their handles ... */
void tg_senders_end(struct tg_senders *senders);
/* ... and the rest after them. */
void tg_senders_free(struct tg_senders *senders);

/* What another worker has found out of that URL, if it is one of them. */
void tg_senders_hear(struct tg_senders *senders, const char *url, bool up, tg_ms asked);

/* Whether a script takes events, since there are no URLs. */
bool tg_senders_scripted(const struct tg_senders *senders);

/* As the gauge of the sink has it: 1: all circuits are closed; 0: one is not; -1: there is no sender. */
int tg_senders_up(const struct tg_senders *senders);

/* Which one is the shard's; NULL: there is none. */
static inline struct tg_sender *tg_senders_of(const struct tg_senders *senders, int shard_id)
{
  return senders->count > 0 ? senders->at[shard_id % senders->count] : NULL;
}
