#pragma once

/* Coroutines of the host: each runs one override or handler that may wait.
 *
 * A C function that waits looks so:
 *
 *     static int l_sleep(lua_State *L)
 *     {
 *       lua_Integer ms = luaL_checkinteger(L, 1);
 *       if (!tg_wait_allowed(L, "gateway.sleep"))
 *         return tg_wait_park(L);
 *       struct nap *nap = ...;                    begins with a struct tg_wait
 *       tg_wait_init(&nap->wait, L, cancel_nap);
 *       ... start it; its end calls tg_wait_finish(&nap->wait, push, ctx) and frees nap ...
 *       return tg_wait_yield(L, &nap->wait);
 *     }
 *
 * The end may come before tg_wait_yield(), or when the coroutine is gone
 * already; tg_wait_finish() copes with both. Coroutines that the script makes
 * itself pass the wait on to the outermost one (lua/tidegate/coroutine.lua). */

#include "script/vm/state.h"

struct tg_wait {
  struct tg_thread *thread; /* NULL: nobody waits any more */
  bool yielded;
  /* Stops the operation and frees the wait; NULL: it goes on to its end, and
   * its tg_wait_finish() does nothing. */
  void (*cancel)(struct tg_wait *wait);
};

/* ok: the results are on the top of thread->L, `count` of them; else
 * state->error says why. The thread is gone when this returns. */
typedef void tg_thread_done(struct tg_thread *thread, void *ctx, bool ok, int count);

struct tg_thread {
  struct tg_thread *next, **link; /* among the live ones, or in the pool */
  struct tg_state *state;
  lua_State *L;
  int ref;
  enum tg_lua_group group;
  const char *what;  /* static text */
  char where[TG_WHERE_SIZE]; /* "bot.lua:12", or "" */
  uint32_t owner;   /* of what it allocates */
  int shard_id;     /* for the log; TG_NO_SHARD */
  struct tg_poison_call call; /* noted while it runs */
  struct tg_wait *wait;
  struct tg_wait *starting; /* made by the C function that runs now */
  int results;              /* what it returns when its wait ended before it began */
  bool cancelled;           /* its state was replaced, or it has taken too long */
  bool outlives;            /* an unload handler: may wait all the same */
  bool parked;              /* will not be resumed */
  bool dropped;             /* the script is closed: `done` only frees its ctx */
  tg_thread_done *done;
  void *ctx;
};

struct tg_thread_options {
  enum tg_lua_group group;
  const char *what, *where; /* `where` has TG_WHERE_SIZE bytes, or is NULL */
  uint32_t owner; /* memory.h */
  int shard_id;
  struct tg_poison_call call; /* its group and shard are those above */
  bool outlives;
  tg_thread_done *done; /* NULL: an error is logged, results are dropped */
  void *ctx;
};

/* Runs what `body` pushes (a function and its arguments; it returns how many
 * values) in a coroutine until it waits or ends. True: it still waits. */
bool tg_thread_start(struct tg_state *state, const struct tg_thread_options *options, tg_body *body,
                     void *ctx);

/* Logs the error with which it ended, as is done for one without `done`. */
void tg_thread_tell(struct tg_thread *thread);

/* Raises, naming `name` and what to do, where waiting is impossible. False: the
 * coroutine was cancelled and has been told: return tg_wait_park(L). */
bool tg_wait_allowed(lua_State *L, const char *name);
int tg_wait_park(lua_State *L);

void tg_wait_init(struct tg_wait *wait, lua_State *L, void (*cancel)(struct tg_wait *wait));
int tg_wait_yield(lua_State *L, struct tg_wait *wait);

/* The operation has ended: push(L, ctx) pushes what the C function returns in
 * Lua. The wait may be freed afterwards. */
void tg_wait_finish(struct tg_wait *wait, tg_body *push, void *ctx);

/* The coroutine that was started with that `ctx`, if it waits: it gets nil,
 * {code="cancelled", message=}, and may not wait again. */
void tg_thread_cancel(struct tg_state *state, const void *ctx, const char *message);

/* Every coroutine that waits gets nil, {code="cancelled"}, but those that may
 * outlive the state when `keep_outliving`. */
void tg_threads_cancel(struct tg_state *state, bool keep_outliving);

/* Drops them; the state is about to be closed. */
void tg_threads_drop(struct tg_state *state);

/* The address is the token that a host's yield carries. */
extern char tg_wait_token[1];

/* ---- timers.c ---- */

void tg_jobs_start(struct tg_state *state);   /* what was spawned while loading */
void tg_timers_start(struct tg_state *state); /* likewise */
void tg_timers_close(struct tg_state *state);
