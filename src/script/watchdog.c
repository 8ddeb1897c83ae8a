#include "script/watchdog.h"

#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

/* SIGURG is ignored by default, and nothing here uses out-of-band data. */
enum { SIGNAL = SIGURG, TICK = 10, IDLE_TICK = 50, IDLE_AFTER = 100 };

static struct {
  int users;
  pthread_t watcher, lua_thread;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  bool stop;

  int depth; /* of the Lua thread alone, as is what follows */
  lua_State *volatile L;
  volatile bool *volatile hooked;

  /* What the watcher sees: which call runs, and its budget; 0: none. */
  _Atomic uint64_t call;
  _Atomic int64_t budget;
} the_watchdog = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

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
  lua_concat(L, 2);
  lua_error(L);
}

/* On the Lua thread, between two of its instructions. */
static void on_signal(int number)
{
  (void)number;
  lua_State *L = the_watchdog.L;
  if (!L || tg_watchdog_budget() == 0)
    return;
  *the_watchdog.hooked = true;
  lua_sethook(L, stop_script, LUA_MASKCOUNT, 1);
}

static int64_t cpu_time(clockid_t clock)
{
  struct timespec now;
  if (clock_gettime(clock, &now) != 0)
    return 0;
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void pause_for(int ms)
{
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += ms * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  pthread_cond_timedwait(&the_watchdog.wake, &the_watchdog.lock, &until);
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
  int idle = 0;
  pthread_mutex_lock(&the_watchdog.lock);
  while (!the_watchdog.stop) {
    pause_for(idle > IDLE_AFTER ? IDLE_TICK : TICK);
    int64_t budget = atomic_load_explicit(&the_watchdog.budget, memory_order_relaxed);
    uint64_t call = atomic_load_explicit(&the_watchdog.call, memory_order_relaxed);
    if (call != seen) {
      seen = call;
      since = cpu_time(clock);
      idle = 0;
    } else if (budget == 0) {
      idle++;
    } else if (cpu_time(clock) - since >= budget * 1000) {
      pthread_kill(the_watchdog.lua_thread, SIGNAL);
    }
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
  the_watchdog.lua_thread = pthread_self();
  the_watchdog.stop = false;
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

void tg_watchdog_enter(struct tg_watch *outer, lua_State *L, tg_ms budget, volatile bool *hooked)
{
  outer->L = the_watchdog.L;
  outer->hooked = the_watchdog.hooked;
  the_watchdog.hooked = hooked;
  the_watchdog.L = L;
  if (the_watchdog.depth++ > 0)
    return;
  uint64_t call = atomic_load_explicit(&the_watchdog.call, memory_order_relaxed);
  atomic_store_explicit(&the_watchdog.call, call + 1, memory_order_relaxed);
  atomic_store_explicit(&the_watchdog.budget, budget, memory_order_relaxed);
}

void tg_watchdog_leave(const struct tg_watch *outer)
{
  if (--the_watchdog.depth == 0)
    atomic_store_explicit(&the_watchdog.budget, 0, memory_order_relaxed);
  the_watchdog.L = outer->L;
  the_watchdog.hooked = outer->hooked;
}
