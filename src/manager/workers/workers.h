#pragma once

/* The worker processes: started, watched, started again, stopped. A worker is a
 * place, with a number; its processes come and go. What they say goes to
 * events.message (from_workers.c of the manager), what becomes of them to the
 * other callbacks. */

#include "hooks/reload.h"
#include "manager/env.h"
#include "manager/status.h"
#include "worker/messages.h"

struct tg_workers;

/* One process of a worker, which may be over. */
struct tg_worker_process {
  int worker;
  unsigned incarnation;
};

struct tg_workers_events {
  void (*message)(void *ctx, struct tg_worker_process from, const struct tg_message *message);
  /* A process has ended. While the gateway runs, handle_worker_exit follows. */
  void (*gone)(void *ctx, int worker);
  /* It ended with TG_EXIT_CONFIG before it ever was ready. True: that is the end
   * of the gateway. */
  bool (*refused)(void *ctx, int worker);
};

struct tg_workers_options {
  const struct tg_manager_env *env;
  const struct tg_reload *reload; /* sources for processes that start */
  const char *script_path;        /* NULL: none */
  const struct tg_workers_events *events;
  void *ctx;
};

/* What the options point to is borrowed. */
struct tg_workers *tg_workers_new(const struct tg_workers_options *options);
/* Kills what still runs. */
void tg_workers_end(struct tg_workers *workers);
void tg_workers_free(struct tg_workers *workers);

/* So many places, for the shards that are dealt out to them. */
void tg_workers_start(struct tg_workers *workers, int count);
/* How shards go from one worker to another, or all workers to another program. */
struct tg_regroup {
  /* None of those workers runs any more: the sets' lists are to say who has which. */
  void (*ended)(void *ctx);
  /* Those that have shards are up again, with these, and resume. */
  void (*done)(void *ctx);
  void *ctx;
  tg_ms patience; /* ms to close the shards, and to deliver what is on its way */
  bool moves;     /* shards go from one to another */
};

/* Ends the processes of the workers that `affected` says (by number), keeping their
 * sessions, and starts them again. Both callbacks come, perhaps before this returns,
 * unless the gateway stops. One at a time. */
void tg_workers_regroup(struct tg_workers *workers, const bool *affected, const struct tg_regroup *regroup);
bool tg_workers_regrouping(const struct tg_workers *workers);
/* That is given up: no process is started any more, and those that have not begun end. */
void tg_workers_break_off(struct tg_workers *workers);
/* Tells all to stop until the deadline; those that still load are killed. */
void tg_workers_stop(struct tg_workers *workers, bool keep_sessions, tg_ms deadline);
/* Kills those that did not. */
void tg_workers_kill_late(struct tg_workers *workers);
/* To be called every now and then: those that hang are killed. */
void tg_workers_watch(struct tg_workers *workers, tg_ms now);

/* ---- to the next program in this process ---- */

/* Their processes and lines, and what has been counted of them. A new reference. */
json_t *tg_workers_hand_over(const struct tg_workers *workers);
/* In place of tg_workers_start(): so many places, with those that run. Those whose messages are of another
 * version are told nothing but to stop; those that do not run are started. */
void tg_workers_take_over(struct tg_workers *workers, const json_t *handed);
/* Nothing is half said on any line. `all`: and all that have shards are up. */
bool tg_workers_at_rest(const struct tg_workers *workers, bool all);

/* ---- how they are ---- */

int tg_workers_count(const struct tg_workers *workers);
int tg_workers_running(const struct tg_workers *workers);
/* Some that are wanted have not loaded their script yet. */
bool tg_workers_loading(const struct tg_workers *workers);
bool tg_workers_up(const struct tg_workers *workers, int worker);
/* A process of it is there that the program before has started. */
bool tg_workers_is_adopted(const struct tg_workers *workers, int worker);
/* Of the script: that of all, and that which a worker runs. */
int tg_workers_generation(const struct tg_workers *workers);
int tg_workers_generation_of(const struct tg_workers *workers, int worker);
void tg_workers_status(const struct tg_workers *workers, int worker, struct tg_worker_status *status);

/* ---- the lines to them ---- */

/* NULL: it is not up, or there is none yet. */
struct tg_ipc *tg_workers_line(const struct tg_workers *workers, int worker);
/* NULL: that process is over, or its line is cut. */
struct tg_ipc *tg_workers_line_of(const struct tg_workers *workers, struct tg_worker_process process);
/* To all whose line stands, but `except` (-1: none). */
void tg_workers_tell_all(const struct tg_workers *workers, const struct tg_message *message, int except);

/* ---- what they have said of themselves ---- */

void tg_workers_heard_hello(struct tg_workers *workers, int worker, int generation);
void tg_workers_heard_stopped(struct tg_workers *workers, int worker);
