#pragma once

/* What sinks that are not configured any more have left: the logs below <state_dir>/sinks/<name>, whose
 * events nobody delivers. They are told of in the log at each start, and in the status; they go when somebody
 * says so, or when the youngest of their events is older than queue.max_age. A sink is not left while a
 * worker has one of its logs. Loop thread only. */

#include "manager/env.h"
#include "shared/stats.h"

struct tg_left_sinks;

struct tg_left_sink {
  char name[TG_STATS_SINK_NAME_SIZE];
  uint64_t events, bytes; /* that wait, and what they take */
};

struct tg_left_sinks *tg_left_sinks_new(const struct tg_manager_env *env);
void tg_left_sinks_free(struct tg_left_sinks *left);

/* Once a pulse, from when the shards start: looks for them, and into one log at most. */
void tg_left_sinks_look(struct tg_left_sinks *left);
/* A reload begins: until it is over it is not known whose the logs are. */
void tg_left_sinks_reloading(struct tg_left_sinks *left, bool running);

/* Those that are known by now, by name. Fills at most `max`; returns how many there are. */
int tg_left_sinks_list(const struct tg_left_sinks *left, struct tg_left_sink *list, int max);

/* Removes what that sink has left. Codes: "configured", "missing", "busy" (a reload runs, or a worker still
 * has it: in a moment it may be gone), "disk". */
bool tg_left_sinks_forget(struct tg_left_sinks *left, const char *name, struct tg_error *error);
