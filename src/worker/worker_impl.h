#pragma once

/* The inside of a worker, shared by worker.c (life), worker_messages.c (what
 * the manager says), worker_sets.c (what it says of a second set of shards),
 * worker_members.c (answers to request_members) and worker_question.c (whether a
 * session still hears). */

#include "base/buf.h"
#include "delivery/delivery.h"
#include "shard/shard.h"
#include "worker/messages.h"
#include "worker/worker.h"

struct tg_dialer;

/* A set of shards, and those of them that run here. */
struct tg_worker_side {
  struct tg_shard_side of;  /* .table NULL: there is no such set */
  struct tg_shard **shards; /* by shard id; NULL: not ours */
};

struct tg_worker {
  struct tg_worker_options options;
  struct tg_ipc *ipc;
  struct tg_dialer *dialer;
  struct tg_delivery *delivery;
  struct tg_shard_env env;
  struct tg_buf text;
  char *gateway_url;
  struct tg_worker_side sides[TG_SIDES];
  int current; /* side of the set that runs; the other one is there while the bot goes over to it */
  bool begun;  /* START has come */
  int first_owned, owned_count; /* of the shards that the manager has dealt out ... */
  int *owners;                  /* ... the worker of each */
  int next_total;               /* of the set to come; 0: there is none */
  uint64_t stamp;               /* of this run of the gateway */
  bool moved;                   /* shards have gone from one worker to another in it */
  bool clustered;               /* shards come from other hosts, and go to them: worker_leases.c */
  int storm_generation;         /* of the script that has set the rules against storms; 0: none has */
  struct tg_expected_members *expected_members; /* a list */
  struct tg_question *questions;                /* a list: worker_question.c */
  uv_timer_t *alive; /* tells the manager that the loop turns */
  tg_ms alive_at, alive_interval; /* the last beat, and between two */
  unsigned dispatched; /* events, so far */

  json_t *tap;                 /* who looks at events, before there is a delivery; NULL: nobody */
  struct tg_closing *dropping; /* a set is on its way out: worker_sets.c */
  struct tg_voices_left *voices_left; /* a list: worker_voices.c */
  struct tg_letting *letting; /* shards on their way to other hosts, a list: worker_leases.c */

  bool stopping, exited;
  bool keep_sessions;
  int shards_closing;
  tg_ms stop_deadline;
};

/* worker.c */
/* Which worker has which shard, before tg_worker_begin(). */
void tg_worker_set_owners(struct tg_worker *worker, int first_shard, const json_t *owners, uint64_t stamp);
bool tg_worker_begin(struct tg_worker *worker, const char *gateway_url, int side, int total_shards,
                     struct tg_error *error);
/* NULL: there is no such shard. */
struct tg_shard *tg_worker_take_shard(struct tg_worker *worker, tg_shard_ref ref);
/* The shard is gone, and its connection dropped without a word; nothing if there is none. */
void tg_worker_give_shard(struct tg_worker *worker, tg_shard_ref ref);
void tg_worker_stop(struct tg_worker *worker, bool keep_sessions, tg_ms deadline);

/* The table of a set. False: it cannot be had. */
bool tg_worker_open_side(struct tg_worker *worker, int side, int total_shards, uint64_t epoch,
                         struct tg_error *error);
/* Its shards are off. */
void tg_worker_close_side(struct tg_worker *worker, int side);

/* worker_sets.c: messages of the manager, by their names */
void tg_worker_on_prepare_set(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_switch_class(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_close_class(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_class_file(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_class_published(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_drop_set(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_forget_closing(struct tg_worker *worker);
/* Ends the shards of the class that do not rule, and answers. */
void tg_worker_close_class(struct tg_worker *worker, int number, int64_t nonce);

/* worker_leases.c: messages of the manager, by their names */
void tg_worker_on_let_go_shard(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_leave_shard(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_fill_hole(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_void_left(struct tg_worker *worker, const struct tg_message *message);
/* The shard is this host's: starts it, or goes on with it, when nothing of an earlier time is in its way. */
void tg_worker_run_shard(struct tg_worker *worker, tg_shard_ref ref);
/* Its shards are off. */
void tg_worker_forget_letting(struct tg_worker *worker);

/* worker_queues.c: messages of the manager, by their names */
void tg_worker_on_queue_types(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_discard_queue(struct tg_worker *worker, const struct tg_message *message);
void tg_worker_on_tap(struct tg_worker *worker, const struct tg_message *message);
/* For tg_delivery_options. */
void tg_worker_tapped(void *ctx, int64_t viewer, const char *line);

/* worker_voices.c */
/* The class's voice connections leave the old shards; then tg_worker_close_class(). */
void tg_worker_leave_voices(struct tg_worker *worker, int class, int64_t nonce);
void tg_worker_forget_voices(struct tg_worker *worker);

/* worker_messages.c */
void tg_worker_on_message(void *ctx, const char *type, const json_t *message);

/* worker_members.c */
void tg_worker_expect_members(struct tg_worker *worker, const json_t *payload, tg_ms until);
void tg_worker_forward_members(struct tg_worker *worker, const struct tg_event *event);
void tg_worker_forget_members(struct tg_worker *worker);

/* worker_question.c */
/* As question_shard says; the shard runs here. */
void tg_worker_ask_discord(struct tg_worker *worker, const struct tg_message *message);
/* The event may be an answer. */
void tg_worker_hear_answer(struct tg_worker *worker, const struct tg_event *event);
void tg_worker_forget_questions(struct tg_worker *worker);
