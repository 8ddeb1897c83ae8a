#pragma once

/* The inside of the workers, shared by workers.c (their life), spawn_process.c,
 * regroup.c, figures.c and reload.c. */

#include "manager/workers/child.h"
#include "manager/workers/figures.h"
#include "manager/workers/workers.h"

enum tg_worker_state {
  TG_WORKER_DOWN,    /* waits for its restart, or is not wanted */
  TG_WORKER_LOADING, /* loads its script */
  TG_WORKER_READY,   /* said hello */
  TG_WORKER_STOPPED, /* said so, about to exit */
};

enum tg_worker_move {
  TG_WORKER_STAYS,
  TG_WORKER_ENDS,   /* its process ends, for shards to come or go */
  TG_WORKER_BEGINS, /* starts with those it has now */
};

/* The place of a worker; its processes come and go. */
struct tg_managed_worker {
  struct tg_workers *workers;
  int id;
  bool wanted; /* has shards */
  enum tg_worker_state state;
  unsigned incarnation;   /* counts its processes */
  struct tg_child *process; /* NULL: none runs */
  struct tg_ipc *ipc;       /* NULL: the line is cut */
  struct tg_stats *stats; /* what its processes count, one after the other; NULL: none yet */
  int stats_fd;
  struct tg_process_usage usage;
  int64_t lag;    /* figures.c */
  bool adopted;   /* its process was started by the program before this one */
  bool foreign;   /* its process speaks another version of the messages: it is only told to stop */
  bool was_ready; /* some process of this place was */
  int generation; /* of the script it runs */
  int prepared;   /* generation it has ready beside that; 0: none */
  int failures;   /* starts in a row that did not last */
  tg_ms started_at;
  tg_ms ready_at;       /* 0: not yet */
  tg_ms heard_at;       /* last sign of life */
  tg_ms cut_at;         /* the line broke while the process still ran; 0: not so */
  const char *shot_for; /* why we killed it; NULL: we did not */
  uv_timer_t *restart;
  enum tg_worker_move move;
  tg_ms killed_at; /* if it has not ended by then; 0: it may live */
};

struct tg_workers {
  struct tg_workers_options options;
  const struct tg_manager_env *env;
  struct tg_managed_worker *list;
  int count;
  int generation;                /* of the script, that all are to have */
  struct tg_regroup regroup;     /* `done` NULL: none is under way */
  bool starts_none;              /* the program before takes over again */
  bool moved;                    /* shards have gone from one worker to another in this run */
  tg_ms watched_at;              /* last time; 0: never */
  struct tg_process_usage usage; /* of the manager itself */
  int64_t lag;                   /* likewise */
};

/* ---- workers.c ---- */

/* A process for the place, which has none. */
void tg_worker_start(struct tg_managed_worker *worker);
void tg_worker_shoot(struct tg_managed_worker *worker, const char *why);
/* Of either set. */
bool tg_worker_has_shards(const struct tg_managed_worker *worker);
/* So many places, without processes. */
void tg_workers_make(struct tg_workers *workers, int count);
/* A process that has run all along, and its line. */
void tg_worker_adopt(struct tg_managed_worker *worker, int pid, int line);

/* ---- regroup.c ---- */

/* A process has ended, or begun. */
void tg_regroup_look(struct tg_workers *workers);

/* ---- spawn_process.c ---- */

/* Runs this binary again as that worker, with the other end of its line; the
 * worker's stats are there. `ended` gets the worker. Returns 0, or what libuv says. */
int tg_worker_spawn_process(struct tg_managed_worker *worker, int fd, tg_child_ended *ended);
