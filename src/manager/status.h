#pragma once

/* How the gateway is, for the control API and metrics: figures that are at
 * hand, without messages to the workers. Loop thread of the manager only. */

#include "base/clock.h"
#include "config/config.h"
#include "manager/left_sinks.h"
#include "manager/shard_set.h"
#include "manager/workers/figures.h"
#include "shared/class_state.h"
#include "shared/shard_table.h"

#include <jansson.h>
#include <stdbool.h>

struct tg_letters;
struct tg_taps;
struct tg_manager;

struct tg_gateway_status {
  const char *phase; /* "starting", "ready" (all shards were up once), "stopping" */
  int generation;    /* of the script */
  tg_ms began;       /* tg_now() */
  tg_ms uptime;
  int total, first, last; /* shards: of the bot, and those of this gateway; total 0: not known yet */
  int held;               /* of these: in a cluster those that this host has now, else all */
  int up;                 /* of them, Connected now */
  bool ready;             /* all of them are; in a cluster, that this host has taken part and does not go */
  tg_ms eta;              /* about how long until all have identified; -1: not known */
  int workers;            /* places of workers */
};

void tg_gateway_status(struct tg_manager *manager, struct tg_gateway_status *status);

/* The start waits until it may ask Discord again where to connect, or for the Redis of the cluster: for what,
 * and the ms left, -1 if nobody knows. False: it does not. */
bool tg_gateway_waits(struct tg_manager *manager, char *text, size_t size, tg_ms *left);

/* NULL: not a shard of this gateway, or they are not known yet. */
struct tg_shard_row *tg_gateway_shard(struct tg_manager *manager, int shard_id);
/* The same of those that this host has now, if it is one of a cluster. */
struct tg_shard_row *tg_gateway_held_shard(struct tg_manager *manager, int shard_id);
/* How many shards the set has that has this guild now: while the bot goes over to another
 * number of them that may be either. 0: not known yet, or it is no id. */
int tg_gateway_total_of_guild(struct tg_manager *manager, const char *guild_id);

/* The sets of shards, one after the other; the first is the one whose shards the numbers above are of. NULL:
 * there is no more. The second is there while a resharding runs. */
const struct tg_shard_set *tg_gateway_set(struct tg_manager *manager, int place);
/* Of the script of that worker; 0: of none. */
int tg_gateway_generation_of(struct tg_manager *manager, int worker);

struct tg_worker_status {
  int pid;           /* 0: no process runs */
  const char *state; /* "running", "starting", "restarting", "stopped" */
  int shards;
  int restarts;
  int generation; /* of its script */
};

/* `worker` from 0 to workers - 1. */
void tg_gateway_worker(struct tg_manager *manager, int worker, struct tg_worker_status *status);

/* The identify budget, in a cluster that of all hosts. All but max_concurrency are 0 before it is known. */
struct tg_identify_status {
  int total, remaining; /* session starts of the window */
  tg_ms reset_after;    /* the rest of the window; 0: none runs */
  int max_concurrency;
  int reserve;    /* session starts that are kept back */
  int waiting;    /* shards that wait for their slot */
  bool held_back; /* the reserve is reached, or the cluster cannot be asked: only resumes go out */
};

void tg_gateway_identifies(struct tg_manager *manager, struct tg_identify_status *status);

/* Intents that Discord refuses and the bot can do without. All 0 but `retry_in`
 * before the shards are known. */
struct tg_optional_status {
  uint64_t withheld; /* those that the next IDENTIFY does without */
  uint64_t missing;  /* those that sessions do not have */
  int shards;        /* how many such sessions there are */
  tg_ms retry_in;    /* until IDENTIFY asks for all again; -1: it does */
};

void tg_gateway_optional(struct tg_manager *manager, struct tg_optional_status *status);

/* As Discord's GET /gateway/bot, with what is left of the identifies by our own
 * count. NULL: it is still being fetched. */
json_t *tg_gateway_bot(struct tg_manager *manager);

/* Reloads that took effect, and those that changed nothing. */
struct tg_reload_counts {
  uint64_t done, failed;
};

/* Of the last reload. */
struct tg_last_reload {
  tg_ms at;            /* tg_now(); 0: there was none */
  const char *problem; /* why it failed, with the traceback, without secrets; NULL: it took effect. Borrowed
                          until the next one */
};

struct tg_last_reload tg_gateway_last_reload(const struct tg_manager *manager);

struct tg_reload_counts tg_gateway_reloads(const struct tg_manager *manager);

enum { TG_DEAF_SUSPECTS = 16 /* that are named at once: more are silent in an outage alone */ };

/* Sessions that Discord has forgotten (deaf/). */
struct tg_deaf_status {
  tg_ms after;       /* deaf_after; 0: it is switched off */
  int known, shards; /* of how many shards enough is known to judge them at any hour, and of how many */
  bool outage;       /* many shards are silent at a time: none is touched */
  int shard;         /* that something is done for; -1: none */
  const char *type;  /* what it misses; NULL: everything */
  const char *step;  /* "asking", "reconnecting", "listening" */
  tg_ms silent;
  int suspects[TG_DEAF_SUSPECTS], suspect_count; /* others that seem deaf: their turn comes, one at a time */
  const char *vanished[TG_TRAFFIC_COUNT + 1];    /* types that no shard gets any more; ends with NULL */
  uint64_t answered, unanswered, not_asked;      /* questions to Discord, so far */
  uint64_t resumes, identifies, cured, given_up; /* what was done, and what came of it */
};

void tg_gateway_deaf(const struct tg_manager *manager, struct tg_deaf_status *status);

/* Going over from one number of shards to another (reshard/). */
struct tg_resharding_status {
  bool running; /* the fields up to `cut` say how far; all 0 or NULL without */
  int from, to; /* shards */
  const char *phase;
  tg_ms began, eta; /* tg_now(); ms left, -1: unknown */
  int up;           /* shards of the new set */
  int classes, by_state[TG_CLASS_STATES];
  bool is_shared;    /* with other hosts of a cluster: `up`, `by_state` and what is held are this one's */
  int everywhere[4]; /* then: so many classes of all hosts are at a step, or further, from "up" on */
  char waits_for[160];              /* "": nothing */
  uint64_t held_events, held_bytes; /* in the workers' memory, until a switch or their twin */
  json_t *unmatched, *cut;          /* {TYPE: n}, [TYPE]; borrowed, until the next turn of the loop */
  int planned;                      /* one that is wanted and waits: its total; 0: none */
  char planned_waits_for[160];
  struct {
    const char *result; /* "done", "aborted", "failed"; NULL: none has ended in this run */
    char reason[160];   /* "": none was given */
    int from, to, identifies;
    tg_ms began, ended; /* tg_now() */
  } last;
  uint64_t done, aborted, failed; /* those that have ended in this run */
  uint64_t identifies;            /* session starts that they, and the one that runs, have taken */
};

void tg_gateway_resharding(struct tg_manager *manager, struct tg_resharding_status *status);

/* What runs now. */
const struct tg_config *tg_gateway_config(const struct tg_manager *manager);
/* Paths of keys that the last reload has changed, which takes a restart. Borrowed until the next one; NULL:
 * there was none. */
const json_t *tg_gateway_needs_restart(const struct tg_manager *manager);
/* As it was named at the start; NULL: none runs. */
const char *tg_gateway_script(const struct tg_manager *manager);
/* Those of left_sinks.h. */
int tg_gateway_left_sinks(const struct tg_manager *manager, struct tg_left_sink *list, int max);

/* Whether a script has set the rules against storms that hold now; else they are the configuration's. */
bool tg_gateway_storm_is_scripts(const struct tg_manager *manager);

/* The dead letters: which there are, to be sent again, or removed. */
struct tg_letters *tg_gateway_letters(const struct tg_manager *manager);
/* Events as they pass. */
struct tg_taps *tg_gateway_taps(const struct tg_manager *manager);

/* Those of workers/figures.h. `worker` may be TG_MANAGER_ITSELF. */
const struct tg_stats *tg_gateway_stats(const struct tg_manager *manager, int worker);
void tg_gateway_usage(struct tg_manager *manager, int worker, struct tg_process_usage *usage);
int tg_gateway_handlers(const struct tg_manager *manager, struct tg_handler_status *list, int max);
int tg_gateway_storms(const struct tg_manager *manager, struct tg_storm_status list[TG_STATS_STORMS]);
int tg_gateway_sinks(const struct tg_manager *manager, struct tg_sink_status list[TG_STATS_SINKS]);
struct tg_lane_status *tg_gateway_lanes(const struct tg_manager *manager, int *count, uint64_t *all);
int64_t tg_gateway_loop_lag(struct tg_manager *manager, int worker);
