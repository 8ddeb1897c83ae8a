#pragma once

/* What a state takes of memory. No allocation is ever refused: what LuaJIT has
 * compiled does not survive that everywhere. Instead the heap is counted and
 * watched from outside of Lua:
 *
 *   from 5/8 of script.memory  LuaJIT's collector is helped
 *   from 4/5                   no handler of gateway.on starts, events wait for them (waiting.c)
 *   at script.memory, still    the state is replaced by a fresh one (reload.c), in the end
 *     there after a collection   without what takes the memory
 *   from 4 times that          no hook is run until a collection has ended: growth in one turn of the loop
 *
 * Collections run in slices of a few milliseconds between the other work of
 * the loop. A call that takes more than script.memory for itself is stopped
 * like one that is over its budget.
 *
 * Each block knows who allocated it: a hook of the script, by kind and line. So
 * the log can say who holds how much. */

#include "base/buf.h"
#include "base/clock.h"
#include "script/vm/blocks.h"
#include "shared/poison.h"
#include "shared/stats.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_state;
struct tg_alarm;

enum {
  TG_OWNERS = 256,
  TG_OWNER_HOST = 0, /* the gateway itself */
  TG_OWNER_LOAD,     /* the top level of the script */
  TG_OWNER_OTHERS,   /* those that found no place */
};

struct tg_owner {
  enum tg_lua_group group;
  const char *what; /* "gateway.on", static */
  char source[TG_WHERE_SIZE]; /* "bot.lua"; "": nowhere in particular */
  int line;
  char where[TG_WHERE_SIZE]; /* "bot.lua:12" */
  size_t bytes; /* in use now */
};

struct tg_memory {
  size_t used, limit; /* bytes; script.memory */
  size_t stop;        /* the call that runs is stopped when more is in use */
  bool stopping;      /* that has happened */
  size_t look;        /* tg_memory_look() after a call that leaves so much in use */
  uint32_t owner;     /* who allocates now: index of owners */
  int owner_count;
  struct tg_owner owners[TG_OWNERS];
  struct tg_blocks blocks;

  bool closed;                /* no handler starts */
  bool at_limit;              /* the limit was reached since the last collection that helped */
  int tries;                  /* collections since then */
  bool dry;                   /* 4 times the limit was: no hook runs */
  int cycles;                 /* of the collector that are to be ended; 0: it rests */
  size_t after;               /* in use when it last ended; */
  size_t most;                /* most since then, as far as was seen */
  int64_t spent;              /* microseconds that it took */
  tg_ms pause;                /* until its next slice */
  tg_ms closed_at, judged_at; /* of tg_script_now(): the end of the last collection, */
  tg_ms told_at;              /* when the log said that handlers wait (0: not yet), */
  tg_ms due;                  /* when the alarm rings (0: it does not) */
  struct tg_alarm *alarm;
};

/* The allocator of a lua_State; ctx is the state. */
void *tg_memory_allocate(void *ctx, void *memory, size_t old_size, size_t new_size);

void tg_memory_init(struct tg_state *state, size_t limit);
void tg_memory_set_limit(struct tg_state *state, size_t limit);
void tg_memory_free(struct tg_state *state);

/* The owner for that place of the script; `what` is static. */
uint32_t tg_owner(struct tg_state *state, enum tg_lua_group group, const char *what, const char *source,
                  int line);
/* The same for a function (index of L). */
uint32_t tg_owner_of_function(lua_State *L, int index, enum tg_lua_group group, const char *what);

/* Who holds most, for the log: "gateway.on (bot.lua:4) 58.3 MiB, ...". */
void tg_memory_describe(const struct tg_state *state, struct tg_buf *text);
/* Bits (1 << group) of who holds a quarter of the limit or, if nobody does, most. */
uint32_t tg_memory_culprits(const struct tg_state *state);

/* After the outermost call, when memory.look is reached. */
void tg_memory_look(struct tg_state *state);

/* Something waits that could go on: looks after it in one of the next turns. */
void tg_memory_tend_soon(struct tg_state *state);

/* Frees a slice of a state that was emptied; the next one follows in *pause.
 * False: nothing is left, or so little that tg_state_free() may have it. */
bool tg_memory_drain(struct tg_state *state, tg_ms *pause);

/* At the end of loading, after a collection. False: `*problem`. */
bool tg_memory_suffices(struct tg_state *state, char **problem);
