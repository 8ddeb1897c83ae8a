#include "script/vm/watchdog.h"

#include "script/vm/sched.h"

#include "base/log.h"
#include "base/log_writer.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* SIGURG is ignored by default, and nothing here uses out-of-band data. */
enum { SIGNAL = SIGURG, TICK = 10, PATIENCE = 1000 };

/* What the signal asks of the Lua thread. */
enum { TELL = 1, STOP = 2 };

static struct {
  int users;
  pthread_t watcher, lua_thread;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  bool stop;

  int depth; /* of the Lua thread alone, as is what follows */
  struct tg_state *volatile state;

  /* What the watcher sees: which call runs, and its budget; 0: none. */
  _Atomic uint64_t call;
  _Atomic int64_t budget;

  _Atomic int orders;    /* TELL, STOP */
  _Atomic uint64_t told; /* the call that `name` is of */
  char name[200];        /* of what ran when the Lua thread was asked */
  _Atomic int64_t patience;
  _Atomic bool rests; /* the watcher waits for a call to begin, and is to be woken by it */
  bool may_rest;
} the_watchdog = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .patience = PATIENCE};

tg_ms tg_watchdog_budget(void)
{
  return atomic_load_explicit(&the_watchdog.budget, memory_order_relaxed);
}

/* Stays installed until the outermost call returns, so that a pcall in the
 * script meets it again at its next step. */
static void stop_script(lua_State *L, lua_Debug *where)
{
  where->currentline = -1;
  if (lua_getinfo(L, "Sl", where) && where->currentline > 0)
    lua_pushfstring(L, "%s:%d: ", where->short_src, where->currentline);
  else
    lua_pushliteral(L, "");
  lua_pushfstring(L, "stopped: it ran longer than its budget of %d ms", (int)tg_watchdog_budget());
  const char *plugin = tg_state_of(L)->plugin; /* one that is loading */
  lua_pushfstring(L, plugin[0] ? " (plugin %s)" : "", plugin);
  lua_concat(L, 3);
  lua_error(L);
}

static void add(char *out, size_t size, const char *text)
{
  size_t at = strlen(out), length = strlen(text);
  if (length > size - 1 - at)
    length = size - 1 - at;
  memcpy(out + at, text, length);
  out[at + length] = '\0';
}

/* Where the function that runs was written; NULL: not known. */
static const char *where_of(const struct tg_state *state)
{
  if (state->running && state->running->where[0])
    return state->running->where;
  for (int i = 0; state->what && i < TG_METHOD_COUNT; i++) {
    if (state->what == tg_methods[i].full && state->override[i].where[0])
      return state->override[i].where;
  }
  return state->script->path;
}

/* On the Lua thread, in a signal handler: copies, and nothing else. */
static void name_it(const struct tg_state *state, char *out, size_t size)
{
  const char *where = where_of(state);
  out[0] = '\0';
  add(out, size, state->what ? state->what : "the script");
  if (!where)
    return;
  add(out, size, " (");
  add(out, size, where);
  add(out, size, ")");
}

/* On the Lua thread, between two of its instructions. */
static void on_signal(int number)
{
  (void)number;
  struct tg_state *state = the_watchdog.state;
  int orders = atomic_exchange(&the_watchdog.orders, 0);
  if (!state || tg_watchdog_budget() == 0)
    return;
  if (orders & TELL) {
    name_it(state, the_watchdog.name, sizeof the_watchdog.name);
    atomic_store(&the_watchdog.told, atomic_load(&the_watchdog.call));
  }
  if (orders & STOP) {
    state->hooked = true;
    lua_sethook(state->L, stop_script, LUA_MASKCOUNT, 1);
  }
}

static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
enum { CRASHES = sizeof crashes / sizeof *crashes };
static struct sigaction usual[CRASHES];

/* What crashed is as good as ended: whatever a line of the log may do to it. */
static void on_crash(int number)
{
  struct tg_state *state = the_watchdog.state;
  if (state && pthread_equal(pthread_self(), the_watchdog.lua_thread)) {
    char name[sizeof the_watchdog.name];
    name_it(state, name, sizeof name);
    tg_log_with(TG_ERROR, state->running ? state->running->shard_id : state->shard_id,
                TG_WITH(TG_TOLD(METHOD, name), TG_TOLD(REASON, strsignal(number))),
                "crashed (%s) inside of %s", strsignal(number), name);
  }
  tg_log_writer_drain();
  for (int i = 0; i < CRASHES; i++)
    if (crashes[i] == number)
      sigaction(number, &usual[i], NULL);
  raise(number); /* now with its usual end */
}

#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* The sanitizers tell more of a crash than we could. */
static void listen_to_crashes(void)
{
  if (SANITIZED)
    return;
  static char stack[64 * 1024]; /* the usual one may be used up */
  stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&other, NULL);
  struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_ONSTACK};
  struct sigaction before;
  for (int i = 0; i < CRASHES; i++) {
    sigaction(crashes[i], &action, &before);
    if (before.sa_handler != on_crash)
      usual[i] = before;
  }
}

static int64_t cpu_time(clockid_t clock)
{
  struct timespec now;
  if (clock_gettime(clock, &now) != 0)
    return 0;
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Not by the wall clock: set back by an hour, it would let a loop run on for that
 * hour. */
static void pause_for(int ms)
{
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += ms * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  pthread_cond_clockwait(&the_watchdog.wake, &the_watchdog.lock, CLOCK_MONOTONIC, &until);
}

static void order(int what)
{
  atomic_fetch_or(&the_watchdog.orders, what);
  pthread_kill(the_watchdog.lua_thread, SIGNAL);
}

/* The call `number` began at `began`: asks what it is, then says so, once. The
 * loop thread, whose log it is, does not get to it. */
static void tell_of_long_call(uint64_t number, tg_ms began)
{
  static uint64_t asked, logged;
  if (tg_now() - began < atomic_load(&the_watchdog.patience))
    return;
  if (asked != number) {
    asked = number;
    order(TELL);
  } else if (logged != number && atomic_load(&the_watchdog.told) == number) {
    logged = number;
    tg_log_with(TG_WARN, TG_NO_SHARD,
                TG_WITH(TG_TOLD(METHOD, the_watchdog.name), TG_NUMBER(DURATION, tg_now() - began)),
                "%s has not returned; everything else waits for it", the_watchdog.name);
  }
}

/* Until a call begins that has a budget. Who enters Lua looks at `rests` behind its stores, without a fence,
 * which would cost as much as all of them: the barrier for both sides comes from here. */
static void rest(void)
{
  uint64_t seen = atomic_load(&the_watchdog.call);
  atomic_store(&the_watchdog.rests, true);
  syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  while (!the_watchdog.stop && atomic_load(&the_watchdog.rests) && atomic_load(&the_watchdog.budget) == 0 &&
         atomic_load(&the_watchdog.call) == seen)
    pthread_cond_wait(&the_watchdog.wake, &the_watchdog.lock);
  atomic_store(&the_watchdog.rests, false);
}

static void end_rest(void)
{
  atomic_signal_fence(memory_order_seq_cst);
  if (!atomic_load_explicit(&the_watchdog.rests, memory_order_relaxed))
    return;
  pthread_mutex_lock(&the_watchdog.lock);
  atomic_store(&the_watchdog.rests, false);
  pthread_cond_signal(&the_watchdog.wake);
  pthread_mutex_unlock(&the_watchdog.lock);
}

/* Processor time, not the wall clock: on a busy machine a call that merely
 * waits for its turn has done nothing wrong. */
static void *watch(void *ctx)
{
  (void)ctx;
  clockid_t clock;
  pthread_getcpuclockid(the_watchdog.lua_thread, &clock);
  uint64_t seen = 0;
  int64_t since = 0;
  tg_ms began = 0;
  pthread_mutex_lock(&the_watchdog.lock);
  while (!the_watchdog.stop) {
    uint64_t call = atomic_load_explicit(&the_watchdog.call, memory_order_relaxed);
    int64_t budget = atomic_load_explicit(&the_watchdog.budget, memory_order_relaxed);
    if (call != seen) {
      seen = call;
      since = cpu_time(clock);
      began = tg_now();
    } else if (budget > 0) {
      if (cpu_time(clock) - since >= budget * 1000)
        order(STOP);
      tell_of_long_call(call, began);
    } else if (the_watchdog.may_rest) {
      rest();
      continue; /* with the call that has begun */
    }
    pause_for(TICK);
  }
  pthread_mutex_unlock(&the_watchdog.lock);
  return NULL;
}

void tg_watchdog_start(void)
{
  if (the_watchdog.users++ > 0)
    return;
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGNAL, &action, NULL);
  listen_to_crashes();
  the_watchdog.lua_thread = pthread_self();
  the_watchdog.stop = false;
  the_watchdog.may_rest = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before); /* the new thread takes no signal meant for others */
  if (pthread_create(&the_watchdog.watcher, NULL, watch, NULL) != 0)
    the_watchdog.users = 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void tg_watchdog_stop(void)
{
  if (the_watchdog.users == 0 || --the_watchdog.users > 0)
    return;
  pthread_mutex_lock(&the_watchdog.lock);
  the_watchdog.stop = true;
  pthread_cond_signal(&the_watchdog.wake);
  pthread_mutex_unlock(&the_watchdog.lock);
  pthread_join(the_watchdog.watcher, NULL);
}

void tg_watchdog_set_patience(tg_ms patience)
{
  atomic_store(&the_watchdog.patience, patience < PATIENCE ? patience : PATIENCE);
}

void tg_watchdog_enter(struct tg_watch *outer, struct tg_state *state, tg_ms budget)
{
  outer->state = the_watchdog.state;
  the_watchdog.state = state;
  if (the_watchdog.depth++ > 0)
    return;
  uint64_t call = atomic_load_explicit(&the_watchdog.call, memory_order_relaxed);
  atomic_store_explicit(&the_watchdog.call, call + 1, memory_order_relaxed);
  atomic_store_explicit(&the_watchdog.budget, budget, memory_order_relaxed);
  end_rest();
}

bool tg_watchdog_rests(void)
{
  return atomic_load(&the_watchdog.rests);
}

void tg_watchdog_set_budget(tg_ms budget)
{
  if (the_watchdog.depth != 1)
    return;
  atomic_store_explicit(&the_watchdog.budget, budget, memory_order_relaxed);
  end_rest();
}

void tg_watchdog_leave(const struct tg_watch *outer)
{
  if (--the_watchdog.depth == 0)
    atomic_store_explicit(&the_watchdog.budget, 0, memory_order_relaxed);
  the_watchdog.state = outer->state;
}
