#include "base/clock.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

enum { SET = 500 /* ms: less is what passes between two looks at two clocks */ };

static tg_ms read_clock(clockid_t id)
{
  struct timespec now;
  clock_gettime(id, &now);
  return (tg_ms)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

tg_ms tg_now(void) { return read_clock(CLOCK_MONOTONIC); }
tg_ms tg_boot_clock(void) { return read_clock(CLOCK_BOOTTIME); }
tg_ms tg_wall_clock(void) { return read_clock(CLOCK_REALTIME); }

tg_ms tg_wall_at(tg_ms at)
{
  static tg_ms ahead;
  tg_ms by_now = tg_wall_clock() - tg_now();
  if (by_now - ahead >= SET || ahead - by_now >= SET)
    ahead = by_now;
  return at + ahead;
}

static struct {
  bool known;
  tg_ms ahead;
} the_steady_clock;

tg_ms tg_steady_ahead(void)
{
  if (!the_steady_clock.known)
    tg_steady_set_ahead(tg_wall_clock() - tg_now());
  return the_steady_clock.ahead;
}

void tg_steady_set_ahead(tg_ms ahead)
{
  the_steady_clock.known = true;
  the_steady_clock.ahead = ahead;
}

tg_ms tg_steady_clock(void) { return tg_now() + tg_steady_ahead(); }

/* xorshift64*: jitter needs spread, not secrecy. */
static uint64_t next_random(void)
{
  static uint64_t state;
  if (state == 0 && (getrandom(&state, sizeof state, 0) != sizeof state || state == 0))
    state = (uint64_t)tg_now() * 0x9e3779b97f4a7c15u + 1;
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1du;
}

uint64_t tg_random(uint64_t below) { return below ? next_random() % below : 0; }

double tg_random_unit(void) { return (double)(next_random() >> 11) / (double)(1ull << 53); }

tg_ms tg_backoff(int attempt, tg_ms base, tg_ms cap)
{
  tg_ms limit = attempt < 20 ? base << attempt : cap;
  if (limit > cap)
    limit = cap;
  return (tg_ms)tg_random((uint64_t)limit + 1);
}

tg_ms tg_patience(tg_ms wait)
{
  static tg_ms divisor;
  if (divisor == 0) {
    const char *hurry = getenv("TIDEGATE_HURRY");
    divisor = hurry ? strtol(hurry, NULL, 10) : 1;
    if (divisor < 1)
      divisor = 1;
  }
  return wait / divisor > 0 ? wait / divisor : wait > 0;
}
