#pragma once

/* What scripts are doing, noted where the note outlives the process; and what of
 * them must not run again, since it was the end of one.
 *
 *     struct tg_poison_call call = {.group = TG_LUA_filter, .shard_id = 3, .epoch = 7, .sequence = 41};
 *     if (tg_poison_skips(&call, where))
 *       return TG_PASS;                        this event killed a worker in there
 *     tg_poison_enter(&call, where);           a few stores
 *     ... Lua ...
 *     tg_poison_leave();
 *
 * All of it lies in one file of the state directory ("poison"), mapped by the
 * manager and all workers. Each process has a place in it, with the calls that
 * are under way, the innermost last. A process that dies inside of one (killed
 * since its loop did not turn, by a crash, by exit()) leaves the note behind;
 * the manager, or the next one if all have died, takes it (tg_poison_take()),
 * and adds to two lists, which all processes read:
 *
 * - events that are not shown to that hook again. An event that has ended two
 *   processes is shown to no hook at all.
 * - hooks that are off until the next reload. Where there is no event to be
 *   kept away, the second death in TG_POISON_WINDOW switches off; where there is
 *   one, each of them passes, and only the fifth death does.
 *
 * A process without the file (`tidegate test`, a full disk) has lists of its own,
 * which stay empty. A reader believes nothing it finds: scripts may have
 * scribbled over it. Loop thread only. */

#include "base/clock.h"
#include "base/error.h"
#include "shared/shard_table.h"
#include "shared/stats.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  TG_WHERE_SIZE = 80, /* "bot.lua:12" */
  TG_POISON_NAME = 56,
  TG_POISON_WINDOW = 600000,     /* ms */
  TG_POISON_DEATHS_OF_EVENT = 2, /* of an event, which no hook sees any more then */
  TG_POISON_DEATHS = 2,          /* that switch off a hook without events ... */
  TG_POISON_EVENT_DEATHS = 5,    /* ... and one with them */
  TG_POISON_EVENTS = 64,         /* the oldest go */
  TG_POISON_HOOKS = 32,
  TG_POISON_PLACES = 1 + 256, /* the manager, and the workers (TG_MAX_WORKERS) */
  TG_POISON_MANAGER = -1,     /* in place of a worker's number */
};

/* A call into the script. */
struct tg_poison_call {
  uint8_t group;  /* enum tg_lua_group */
  uint8_t number; /* enum tg_method of a method, enum tg_life of a life-cycle event; of `load`: 1, a reload */
  uint16_t type;  /* of the event, as numbered in this process */
  int32_t shard_id;  /* TG_NO_SHARD */
  uint64_t epoch;    /* of the event ... */
  uint64_t sequence; /* ... 0: the call is not for an event */
  uint64_t last;     /* of several events the last; else as `sequence` */
};

/* ---- whoever runs scripts ---- */

/* Whether this call is not to be made: the hook is off, or the event has ended a
 * process in there. `where` ("bot.lua:12", or NULL) tells the hooks of a group
 * apart, but not methods. */
bool tg_poison_skips(const struct tg_poison_call *call, const char *where);

/* The second half of it alone. Of several events (`last`) one is enough, or one
 * of several that were handed out together when a process ended. */
bool tg_poison_has_event(const struct tg_poison_call *call, const char *where);

/* They nest. `where` has TG_WHERE_SIZE bytes, or is NULL. */
void tg_poison_enter(const struct tg_poison_call *call, const char *where);
void tg_poison_leave(void);
/* The call that is under way goes on there: several filters are one call. */
void tg_poison_at(const char *where);

/* For the worker, before its script loads: `fd` is inherited, and is closed. */
bool tg_poison_attach(int fd, int worker, struct tg_error *error);

/* ---- the manager: it alone writes the lists ---- */

/* Makes or opens the file; this process has the manager's place. False: what is
 * noted will not outlive the manager; everything else works. */
bool tg_poison_open(const char *state_dir, struct tg_error *error);
void tg_poison_close(void);

/* The sum of the script that runs: with another one all hooks are on again. */
void tg_poison_script(uint64_t sum);

/* To be inherited by workers; -1: there is none. */
int tg_poison_fd(void);

/* What a process was doing when it died. */
struct tg_poison_death {
  struct tg_poison_call call;
  char hook[TG_POISON_NAME];  /* "gateway.shard:heartbeat" */
  char event[TG_POISON_NAME]; /* type; "": none, or not known */
  char where[TG_WHERE_SIZE];
  int deaths;      /* of that hook, in TG_POISON_WINDOW */
  bool off;        /* it is switched off by this one */
  bool every_hook; /* the event will be shown to none */
};

/* Takes the note of a process that is gone: false, it was not in the script.
 * `guilty`: what has ended it is known to be its own doing; else a hook with
 * events is not counted on towards its end. */
bool tg_poison_take(int worker, bool guilty, struct tg_poison_death *death);

/* Drops the events that have passed, of the shards of both tables (NULL: there is no
 * other one): a shard's id and an epoch name one session. */
void tg_poison_tidy(struct tg_shard_table *table, struct tg_shard_table *other);

/* All hooks are on again. */
void tg_poison_forgive(void);

/* Hooks that are off in workers, or in the manager. */
int tg_poison_count_off(bool manager);

/* Whether workers are to start without running the script: it was the end of too
 * many as it loaded. */
bool tg_poison_load_is_off(void);
