#pragma once

/* What the processes of the gateway have counted and use, for the metrics and
 * the status: read from the workers' statistics pages (shared/stats.h) and from
 * the kernel, when asked and once a pulse. Nobody is asked, so that a worker that
 * hangs holds nothing up. Loop thread of the manager only.
 *
 * TG_MANAGER_ITSELF in place of a worker's number is the manager's own process. */

#include "shared/stats.h"

#include <stdbool.h>
#include <stdint.h>

struct tg_workers;
struct tg_managed_worker;

enum { TG_MANAGER_ITSELF = -1 };

/* NULL: no process of that worker has been started yet. */
const struct tg_stats *tg_workers_stats(const struct tg_workers *workers, int worker);

struct tg_process_usage {
  uint64_t memory;      /* resident bytes, at its last beat; 0: no process runs */
  uint64_t cpu;         /* ms, of all processes that this place has had */
  uint64_t cpu_earlier; /* those that have ended */
};

void tg_workers_usage(struct tg_workers *workers, int worker, struct tg_process_usage *usage);

/* An event handler as all workers that use it see it. */
struct tg_handler_status {
  char url[TG_STATS_URL_SIZE]; /* without user information */
  bool down;                   /* for at least one of them */
  int in_flight;
  int64_t since;                        /* tg_now(): down, or up again; 0: up from the start */
  uint64_t requests[TG_STATS_OUTCOMES]; /* that have ended, by enum tg_outcome */
  uint64_t microseconds;                /* that they took */
};

/* Fills at most `max` of those that are in use now; returns how many there are. */
int tg_workers_handlers(const struct tg_workers *workers, struct tg_handler_status *list, int max);

/* A sink as all workers have counted for it. */
struct tg_sink_status {
  char name[TG_STATS_SINK_NAME_SIZE];
  uint64_t delivered, retried, dropped, dead; /* events */
  uint64_t latency[TG_LATENCY_COUNT + 1];     /* not cumulative */
  uint64_t milliseconds;                      /* of all these */
  bool used;                                  /* some worker sends events there now: */
  bool up;                                    /* all that do find it well */
  uint64_t queued_events, queued_bytes;
  int64_t oldest_queued_at; /* tg_steady_clock(); 0: nothing waits */
  bool logged;              /* there is an event log: */
  uint64_t log_bytes;       /* what it takes on disk */
};

/* Fills `list` with one a name, in the order of the names but for "bot", which is first; returns how
 * many. */
int tg_workers_sinks(const struct tg_workers *workers, struct tg_sink_status list[TG_STATS_SINKS]);

/* What a rule against storms has done in all workers. */
struct tg_storm_status {
  char rule[TG_STATS_RULE_SIZE];
  uint64_t dropped, storms; /* events; storms that have begun */
  uint64_t released;        /* of those dropped: they came later after all */
  int running;              /* keys that are in a storm now */
};

/* Fills `list` with one a rule; returns how many. */
int tg_workers_storms(const struct tg_workers *workers, struct tg_storm_status list[TG_STATS_STORMS]);

/* What waits of a shard for a sink. */
struct tg_lane_status {
  char sink[TG_STATS_SINK_NAME_SIZE];
  tg_shard_ref ref;
  uint64_t events, bytes;
  int64_t oldest_queued_at; /* tg_steady_clock() */
};

/* Where most events wait, most first: of each worker and sink no more than TG_STATS_LANES. Returns a list
 * that the caller frees (NULL: nothing waits), with its length in *count; in *all how many there would be. */
struct tg_lane_status *tg_workers_lanes(const struct tg_workers *workers, int *count, uint64_t *all);

/* The longest time, in ms, that the loop of that process was busy at a stretch,
 * since the last call and of the last minute (so that several who ask see it,
 * too); what it is busy with right now counts. */
int64_t tg_workers_loop_lag(struct tg_workers *workers, int worker);

/* To be called once a pulse: asks the kernel what the processes use. */
void tg_figures_look(struct tg_workers *workers);
/* A process has ended. */
void tg_figures_worker_gone(struct tg_managed_worker *worker);
