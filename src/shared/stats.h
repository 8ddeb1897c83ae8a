#pragma once

/* The statistics page of a process: what it counts for the metrics and the
 * status, in memory that the manager shares with its worker.
 *
 *     tg_stats_type(event->type)->received            one of these is written per event,
 *     tg_count(&tg_stats()->interactions.answered)    with plain stores: no lock, no call
 *
 * The manager makes one page for the place of each worker (a memfd, inherited
 * by the worker's processes one after the other), so that counters outlive the
 * death of a worker and go on. Only the worker writes; the manager reads at any
 * time, however the worker is, and may see numbers that are a moment apart.
 * Until tg_stats_attach() a process has a page of its own: the manager always,
 * and C units.
 *
 * A reader believes nothing it finds in the page of another process: scripts
 * may have scribbled over it. Counters only grow; gauges are cleared when the
 * process ends. Loop thread only. */

#include "base/error.h"
#include "proto/event_types.h"
#include "proto/shard_ref.h"
#include "shared/recent.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  TG_STATS_HANDLERS = 64, /* further URLs share the last place */
  TG_STATS_SINKS = 64,    /* likewise; names of sinks that reloads have taken away keep theirs */
  TG_STATS_SINK_NAME_SIZE = 40,
  TG_STATS_STORMS = 128, /* likewise, of rules */
  TG_STATS_RULE_SIZE = 96,
  TG_STATS_URL_SIZE = 512,
  TG_STATS_NAME_SIZE = 64,
  TG_LAG_SLOTS = 7,      /* a minute, and what has begun of the next */
  TG_STATS_OUTCOMES = 8, /* of a request: enum tg_outcome fits */
  TG_STATS_SERIES_BYTES = 8 << 20,
  TG_STATS_LAYOUT_SIZE = 24,
};

/* What of a script is called. X(name) */
#define TG_LUA_GROUPS(X)                                                                                     \
  X(manager) /* methods of gateway.manager, ... */                                                           \
  X(shard)                                                                                                   \
  X(delivery)                                                                                                \
  X(cache)                                                                                                   \
  X(filter)     /* gateway.filter: once an event */                                                          \
  X(handler)    /* gateway.on: dispatches, ... */                                                            \
  X(life_cycle) /* ... and life-cycle events */                                                              \
  X(broadcast)                                                                                               \
  X(timer) /* gateway.after, every, spawn */                                                                 \
  X(load)  /* the top level of the script */                                                                 \
  X(route) /* what plugins serve in the control API */                                                       \
  X(sink)  /* gateway.sink(name).deliver */

enum tg_lua_group {
#define X(name) TG_LUA_##name,
  TG_LUA_GROUPS(X)
#undef X
      TG_LUA_GROUP_COUNT
};

extern const char *const tg_lua_group_names[TG_LUA_GROUP_COUNT];

/* Limits of the buckets of delivery latency, in milliseconds; one more bucket
 * takes the rest. */
enum { TG_LATENCY_COUNT = 15 };
extern const int tg_latency_limits[TG_LATENCY_COUNT];

struct tg_stats_type {
  _Atomic uint64_t received, filtered, delivered; /* events */
  _Atomic uint64_t bytes;                         /* of the messages received, inflated */
};

struct tg_stats_handler {
  char url[TG_STATS_URL_SIZE]; /* without user information; "": a free place */
  _Atomic int32_t users;       /* gauge: the worker has so many handlers of that URL, 0 or 1 as a rule */
  _Atomic int32_t down;        /* gauge: so many of them count as down */
  _Atomic int32_t in_flight;   /* gauge: requests */
  _Atomic int64_t since;       /* tg_now() of the last change between up and down; 0: not yet */
  _Atomic uint64_t requests[TG_STATS_OUTCOMES]; /* answered or failed, by enum tg_outcome */
  _Atomic uint64_t microseconds;                /* that they took */
};

/* What waits of one shard for a sink. */
struct tg_stats_lane {
  tg_shard_ref ref;
  uint64_t events, bytes;
  int64_t oldest_queued_at; /* tg_steady_clock() */
};

/* What a rule against storms has done. */
struct tg_stats_storm {
  char rule[TG_STATS_RULE_SIZE];    /* as tg_storm_title() has it; "": a free place */
  _Atomic uint64_t dropped, storms; /* events; storms that have begun */
  _Atomic uint64_t released;        /* of those that were dropped: they came later after all */
  _Atomic int32_t running;          /* gauge: keys that are in a storm */
};

enum { TG_STATS_LANES = 64 };

struct tg_stats_lanes {
  uint32_t waiting, count; /* in how many lanes something waits; those of them that are told of: */
  struct tg_stats_lane list[TG_STATS_LANES]; /* where most events wait, most first */
};

/* What has become of events at one sink, the shards of the worker together. */
struct tg_stats_sink {
  char name[TG_STATS_SINK_NAME_SIZE];                 /* "": a free place */
  _Atomic uint64_t delivered, retried, dropped, dead; /* events */
  /* From the arrival of an event to its acceptance. */
  struct {
    _Atomic uint64_t counts[TG_LATENCY_COUNT + 1]; /* not cumulative */
    _Atomic uint64_t milliseconds;
  } latency;
  _Atomic uint64_t queued_events, queued_bytes; /* gauges: in memory and in the logs */
  _Atomic int64_t oldest_queued_at;             /* gauge: tg_steady_clock(); 0: nothing waits */
  _Atomic int64_t log_bytes;                    /* gauge: of the event logs on disk; -1: there is none */
  _Atomic uint64_t memory_bytes;                /* gauge: queued in memory */
  /* Gauge: whether all are well that take its events: 1, 0; -1: nobody takes any. */
  _Atomic int32_t up;
  _Atomic uint32_t lanes_guard; /* odd: being written */
  struct tg_stats_lanes lanes;  /* gauges; by the functions below alone */
};

struct tg_stats_lua {
  _Atomic uint64_t calls, errors;
  _Atomic uint64_t nanoseconds; /* of filters and handlers estimated from a sample */
};

/* The longest turn of the event loop in ten seconds. */
struct tg_stats_lag {
  _Atomic int64_t slot;    /* tg_now() / 10000; 0: none */
  _Atomic int64_t longest; /* ms */
};

struct tg_stats {
  char layout[TG_STATS_LAYOUT_SIZE]; /* tg_stats_layout of the program that has made it */
  struct tg_stats_type types[TG_EVENT_TYPE_MAX];
  /* Of the types from TG_EVENT_KNOWN_COUNT on; places differ from the numbers
   * of the process. */
  char type_names[TG_EVENT_TYPE_MAX - TG_EVENT_KNOWN_COUNT][TG_STATS_NAME_SIZE];

  struct tg_stats_sink sinks[TG_STATS_SINKS];
  struct tg_stats_handler handlers[TG_STATS_HANDLERS];
  struct tg_stats_storm storms[TG_STATS_STORMS];
  /* The interaction fallback: answered in place of the bot, failed to, too old
   * to be delivered late, sent ahead of a backlog. */
  struct {
    _Atomic uint64_t answered, failed, expired, express;
  } interactions;

  struct tg_stats_lua lua[TG_LUA_GROUP_COUNT];
  _Atomic uint64_t lua_memory;      /* gauge: bytes */
  _Atomic int32_t lua_switched_off; /* gauge: overrides that failed too often */
  _Atomic uint32_t lua_off;         /* gauge: what script.memory has switched off; bits, 1 << tg_lua_group */
  _Atomic uint64_t lua_waiting;     /* gauge: events that wait for handlers of gateway.on, for each one */
  _Atomic uint64_t lua_skipped;     /* such events that were never handed to their handler */
  _Atomic uint64_t lua_renewed;     /* states that were replaced, being at script.memory */

  _Atomic int32_t generation;            /* of the script */
  _Atomic int64_t alive_at;              /* tg_now() of the last beat of the loop */
  struct tg_stats_lag lag[TG_LAG_SLOTS]; /* gauge: loop_lag.h */
  _Atomic uint64_t resident;             /* gauge: bytes of memory of the process, at its last beat */

  struct tg_recent recent; /* what it has warned of */

  /* What scripts count: series.h. */
  _Atomic uint32_t series_used, series_count;
  _Alignas(8) char series[TG_STATS_SERIES_BYTES];
};

/* ---- the page ---- */

/* Another text whenever a field is another one, or elsewhere (layout.cmake): what stands in a page is read by
 * programs of that layout alone. */
extern const char tg_stats_layout[TG_STATS_LAYOUT_SIZE];

/* For the manager: a page that a worker may attach to. Returns its address, and
 * in *fd what is to be inherited (close-on-exec; belongs to the caller). */
struct tg_stats *tg_stats_make(int *fd, struct tg_error *error);
void tg_stats_unmap(struct tg_stats *stats); /* NULL is fine */
/* A page that tg_stats_make() of an earlier program has made; `fd` stays the caller's. NULL: its layout is
 * another one, or it is none. */
struct tg_stats *tg_stats_map(int fd, struct tg_error *error);

/* For the worker, before anything is counted: counts in that page from now on.
 * Closes `fd`. */
bool tg_stats_attach(int fd, struct tg_error *error);

/* The process is gone, or begins: what gauges say is void. */
void tg_stats_clear_gauges(struct tg_stats *stats);

/* Notes how much memory this process has: it alone may always know. */
void tg_stats_note_memory(void);

/* This process's own. */
extern struct tg_stats *tg_stats_page;
static inline struct tg_stats *tg_stats(void)
{
  return tg_stats_page;
}

/* ---- counting ---- */

/* One writer, so no locked instruction is needed. */
static inline void tg_count_by(_Atomic uint64_t *counter, uint64_t count)
{
  atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + count,
                        memory_order_relaxed);
}

static inline void tg_count(_Atomic uint64_t *counter)
{
  tg_count_by(counter, 1);
}

/* By the number of the type in this process. */
extern struct tg_stats_type *tg_stats_types[TG_EVENT_TYPE_MAX];
struct tg_stats_type *tg_stats_find_type(uint16_t type);
static inline struct tg_stats_type *tg_stats_type(uint16_t type)
{
  struct tg_stats_type *row = tg_stats_types[type];
  return __builtin_expect(row != NULL, 1) ? row : tg_stats_find_type(type);
}

/* The place of the sink of that name, found or taken. Where it lies differs from page to page. Those that
 * find none share the last, "_others". */
struct tg_stats_sink *tg_stats_sink(const char *name);
/* The worker has no such sink any more: what its gauges say is void. */
void tg_stats_clear_sink(struct tg_stats_sink *sink);
/* Says where most events wait for it. */
void tg_stats_set_lanes(struct tg_stats_sink *sink, const struct tg_stats_lanes *lanes);
/* The place of the rule, found or taken. Those that find none share the last, "_others". */
struct tg_stats_storm *tg_stats_storm(const char *rule);
/* Arrival to acceptance, in milliseconds. */
void tg_stats_latency(struct tg_stats_sink *sink, int64_t ms);

/* The place of that URL (without user information), found or taken. */
struct tg_stats_handler *tg_stats_handler(const char *url);

/* ---- reading ---- */

/* The name of types[place]: NULL, nothing was counted there. `buffer` may hold it. */
const char *tg_stats_type_name(const struct tg_stats *stats, int place, char buffer[TG_STATS_NAME_SIZE]);

/* Whether a sink may be called so. */
bool tg_stats_is_sink_name(const char *name);
/* The name of sinks[place]. False: nobody has taken the place, or what stands there is no sink's name, or
 * one that an earlier place has. */
bool tg_stats_sink_name(const struct tg_stats *stats, int place, char name[TG_STATS_SINK_NAME_SIZE]);
/* The rule of storms[place]. False: nobody has taken the place, or what stands there is no text. */
bool tg_stats_storm_rule(const struct tg_stats *stats, int place, char rule[TG_STATS_RULE_SIZE]);
/* Where most events wait for it. False: that cannot be said, since the process was killed while it wrote. */
bool tg_stats_get_lanes(const struct tg_stats_sink *sink, struct tg_stats_lanes *lanes);
