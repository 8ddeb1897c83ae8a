#pragma once

/* The inside of the resharding:
 *
 *   reshard.c         its life; how one is asked for, and begins
 *   steps.c           what follows from one phase to the next
 *   classes.c         what workers say of classes; switching them, and back; closing
 *   reshard_cluster.c the same where hosts of a cluster do it together
 *   cluster_ask.c     what Redis is asked: to begin, to take it back
 *   over.c            the end: a set is dropped, the other one is the current one
 *   restore.c         what a start finds
 *   passed_on.c       asking who leads a cluster
 *   automatic.c       whether more shards are needed
 *   reshard_status.c  how far it is
 *   told.c            what people and scripts hear of it
 *
 * deal.h, record.h and check.h are pure. */

#include "manager/reshard/check.h"
#include "manager/reshard/deal.h"
#include "manager/reshard/record.h"
#include "manager/reshard/reshard.h"
#include "shared/class_state.h"

enum {
  TG_RESHARD_TICK = 250,      /* ms between two looks while one runs */
  TG_RESHARD_PAUSE = 10000,   /* after the first switch */
  TG_RESHARD_BEAT = 1000,     /* between two others, and before something is tried again */
  TG_RESHARD_SETTLED = 60000, /* until old shards close */
  TG_RESHARD_OVERLAP = 15000, /* until a class is ready; for the estimate */
  TG_RESHARD_LOADING = 20000, /* a shard may take to load its guilds, and hold its worker's next one back */
  TG_RESHARD_MEMBERS = 30000, /* a switch waits for open member requests */
  TG_RESHARD_MARGIN = 60000,  /* of the estimate until all new shards are up */
  TG_RESHARD_ASK = 60000,     /* for the worker's answer to a switch */
  TG_RESHARD_LONG_ASK = 3600000, /* to the end of a set: its replies and voice connections are waited for */
};

struct tg_reshard_class {
  enum tg_class_state state; /* as its worker said last, or as it will find it when it starts */
  bool announced;            /* that it has switched */
  bool through;              /* the set that does not rule it has nothing to say any more */
  bool asked;                /* the worker has a question about it */
  tg_ms retry_at;            /* tg_now(); not before */
  tg_ms members_since;       /* open member requests keep it back; 0: they do not */
  int loading;               /* new shards whose guilds come; -1: not said */
  int lost;                  /* the side that has lost a session; -1: none */
  uint64_t held, held_bytes;
  char waits_for[120];
  json_t *unmatched, *cut, *guilds; /* NULL: none */

  /* In a cluster. */
  enum tg_class_step step,
      told;   /* as the cluster has it; as it was told by this host, since it has the class */
  char *file; /* what another host would have to know, as the worker said last; NULL: nothing */
  bool file_is_news;
  bool told_sessions; /* of its new shards, when it had switched */
  bool opened;        /* the worker knows that the class has switched for all */
  tg_ms settled_at;   /* tg_now(): that it has; 0: it has not */
};

/* What a worker knows of the new set. */
enum tg_reshard_told { TG_RESHARD_UNTOLD, TG_RESHARD_ASKED, TG_RESHARD_TOLD };

/* Somebody wants that total. */
struct tg_reshard_wish {
  int to; /* 0: nobody */
  tg_ms until;
  bool answered; /* by Discord */
  bool asked;    /* Redis, in a cluster */
  bool granted;  /* by Redis: it is answered when this host hears that it begins */
  tg_manager_reply *reply;
  void *ctx;
};

struct tg_reshard {
  struct tg_reshard_options options;
  struct tg_manager_env *env;
  uv_timer_t *timer;
  uint64_t run; /* counts them: a late answer may be of an earlier one */

  /* what is written */
  struct tg_reshard_record record;
  bool recorded; /* there is such a file, of this bot */
  bool dropped;  /* what the last run was at was given up by restore.c */

  /* one that runs: record.phase is not NONE, or `dropping` */
  struct tg_deal deal;
  struct tg_reshard_class *classes;
  bool *ruled;     /* by class: env->ruled_by_next */
  tg_ms *ready_at; /* by new shard: tg_now() of its READY; 0: not yet */
  enum tg_reshard_told told[TG_MAX_WORKERS];
  tg_ms tell_at[TG_MAX_WORKERS];
  struct tg_reshard_wish wish;
  struct tg_passed_on *passed_on; /* answers that are kept until one runs here */
  int from, to; /* for people; the sets may have changed places already */
  tg_ms began, looked_at, phase_at;
  tg_ms deadline;  /* tg_now(): all new shards are up; 0: it does not run */
  bool regrouped;  /* workers have been told to */
  int identifies;  /* READYs of new shards */
  int shown_tenth; /* of switched classes, in the log */
  tg_ms next_switch_at, settled_at;
  bool first_switched;
  char abort_reason[160];
  char cut_types[200];     /* for the log, at the end */
  json_t *unmatched, *cut; /* sums over the classes */
  bool failed;             /* it aborts by itself, nobody has asked for it */
  bool stuck;              /* the last record could not be written: said */

  /* in a cluster */
  bool joined_anew;       /* the number of shards is another one than the last run had */
  bool unwritten;         /* how it has ended, which is tried again */
  bool is_quiet;          /* `dropping` is all that is left to do: for people it is over */
  bool is_asking;         /* Redis, to take it back */
  char abort_wanted[160]; /* why it is to be taken back; "": it is not */
  tg_ms ask_at;           /* tg_now() */

  /* a set that is over, and that workers may still have */
  int dropping; /* its side; -1: none */
  bool drop_told[TG_MAX_WORKERS];
  int drop_asked; /* answers that are awaited */

  /* whether more shards are needed */
  struct {
    tg_ms at;    /* tg_now(): the next check */
    bool asking; /* Discord, or the script */
    bool refreshed;
    bool refused; /* a lost session was refused with 4011 */
    int planned;
    char waits_for[160];
  } check;

  struct {
    const char *result;
    char reason[160];
    int from, to, identifies;
    tg_ms began, ended;
  } last;
  uint64_t done, aborted, failures, all_identifies; /* since the start */
};

static inline bool tg_reshard_runs(const struct tg_reshard *reshard)
{
  return reshard->record.phase != TG_RESHARD_NONE || (reshard->dropping >= 0 && !reshard->is_quiet) ||
         reshard->wish.to > 0;
}

static inline bool tg_class_is_switched(enum tg_class_state state)
{
  return state >= TG_CLASS_SWITCHED;
}

/* ---- reshard.c ---- */

void tg_reshard_ask(struct tg_reshard *reshard, int to, tg_manager_reply *reply, void *ctx);
void tg_reshard_arm(struct tg_reshard *reshard);
/* Makes the next set, its table and what goes with it. */
bool tg_reshard_make_next(struct tg_reshard *reshard, struct tg_error *error);
/* Writes that one begins, to so many; `change`: its number in the cluster, or 0. */
bool tg_reshard_begin_record(struct tg_reshard *reshard, int to, uint64_t change, struct tg_error *error);
/* Whoever wants one has his answer. NULL: it has begun. */
void tg_reshard_answer_wish(struct tg_reshard *reshard, const struct tg_error *error);
/* How long until all new shards are up, in ms, at best. */
tg_ms tg_reshard_estimate(const struct tg_reshard *reshard, int shards);

/* ---- passed_on.c ---- */

/* True: the host that leads the cluster is asked, and answers. False: it is to be done here. */
bool tg_reshard_pass_on(struct tg_reshard *reshard, const json_t *args, bool begins, tg_manager_reply *reply,
                        void *ctx);
/* Those that are due, or all. */
void tg_reshard_answer_passed_on(struct tg_reshard *reshard, bool anyway);

/* ---- steps.c ---- */

void tg_reshard_step(struct tg_reshard *reshard, tg_ms now);
/* Writes that phase, then is in it. False: it cannot be written, which was said; the phase is as it was. */
bool tg_reshard_enter(struct tg_reshard *reshard, enum tg_reshard_phase phase);
int tg_reshard_up(const struct tg_reshard *reshard);
/* True: all that have classes know of the new set. */
bool tg_reshard_tell_workers(struct tg_reshard *reshard, tg_ms now);
/* Starts new shards whose turn it is. True: all have been up. */
bool tg_reshard_start_shards(struct tg_reshard *reshard, tg_ms now);

/* ---- reshard_cluster.c ---- */

/* Does what is due. */
void tg_reshard_follow(struct tg_reshard *reshard, tg_ms now);
/* Whether it is this host that switches the class, and closes it. */
bool tg_reshard_has_class(const struct tg_reshard *reshard, int number);
/* Its worker has spoken of it. */
void tg_reshard_class_heard(struct tg_reshard *reshard, int number);
/* This host leads: it begins what hosts do together. */
bool tg_reshard_leads(const struct tg_reshard *reshard);

/* ---- cluster_ask.c ---- */

/* That the wish is begun with. */
void tg_reshard_ask_to_begin(struct tg_reshard *reshard);
/* That it is taken back; `reply` may be NULL. */
void tg_reshard_ask_to_abort(struct tg_reshard *reshard, tg_manager_reply *reply, void *ctx);

/* ---- classes.c ---- */

int tg_reshard_switched(const struct tg_reshard *reshard);
/* Each does what is due for one class or all; true: all are there. */
void tg_reshard_switch_some(struct tg_reshard *reshard, tg_ms now);
bool tg_reshard_switch_back(struct tg_reshard *reshard, tg_ms now);
bool tg_reshard_close_some(struct tg_reshard *reshard, tg_ms now);
/* How an earlier run has left them: no worker has spoken yet. */
void tg_reshard_find_states(struct tg_reshard *reshard);
/* The worker of classes is gone: what it said may not hold any more. */
void tg_reshard_classes_unknown(struct tg_reshard *reshard, int worker);
/* In a cluster: it is another host's. */
void tg_reshard_forget_class(struct tg_reshard *reshard, int number);
void tg_reshard_free_classes(struct tg_reshard *reshard);

/* ---- over.c ---- */

void tg_reshard_abort(struct tg_reshard *reshard, bool failed, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Nothing of the new set is left but what workers have. */
void tg_reshard_drop_next(struct tg_reshard *reshard);
/* The old shards are gone. */
void tg_reshard_finish(struct tg_reshard *reshard);
void tg_reshard_drop_step(struct tg_reshard *reshard);
/* Workers are to forget that side. */
void tg_reshard_drop(struct tg_reshard *reshard, int side);
/* In a cluster: what could not be written about an end. */
void tg_reshard_write_again(struct tg_reshard *reshard);
/* All workers have said that nothing is left of a set that is over. */
bool tg_reshard_all_dropped(const struct tg_reshard *reshard);

uint64_t tg_reshard_highest_epoch(const struct tg_reshard *reshard);
/* Both sets are over, or about to be: a start begins with one. */
void tg_reshard_give_up(struct tg_reshard *reshard);

/* ---- reshard_status.c ---- */

/* As people see it. */
enum tg_reshard_phase tg_reshard_phase(const struct tg_reshard *reshard);
/* Keeps the names of types that were cut by time, before the classes are forgotten. */
void tg_reshard_note_cut(struct tg_reshard *reshard);

/* ---- automatic.c ---- */

void tg_reshard_check(struct tg_reshard *reshard, tg_ms now);
void tg_reshard_check_refreshed(struct tg_reshard *reshard);
void tg_reshard_needed_default(void *room, const json_t *list, tg_manager_reply *reply, void *ctx);
/* Whether there is room for that many identifies. */
bool tg_reshard_has_room(const struct tg_reshard *reshard, int to, struct tg_error *error);
uint64_t tg_reshard_guilds(const struct tg_reshard *reshard);

/* ---- told.c ---- */

void tg_reshard_tell_started(struct tg_reshard *reshard);
void tg_reshard_tell_switched(struct tg_reshard *reshard, const struct tg_reshard_class *class);
/* `result`: "done", "aborted", "failed". */
void tg_reshard_tell_over(struct tg_reshard *reshard, const char *result, const char *reason);
