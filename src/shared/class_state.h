#pragma once

/* How far a class of guilds is on its way from the shards that it had to those that it is to have. A class is
 * the guilds of equal (id >> 22) % gcd(N, M): the old and the new shards congruent to that number have them,
 * and no others. Its worker says so, the manager counts, people see it. */

#include <stdbool.h>

enum tg_class_state {
  TG_CLASS_WAITING,  /* not all of its new shards have had their READY */
  TG_CLASS_LOADING,  /* their guilds come */
  TG_CLASS_OVERLAP,  /* both see the same events; not for long enough yet */
  TG_CLASS_READY,    /* may be switched */
  TG_CLASS_SWITCHED, /* the new shards rule; events of the old ones are still on their way */
  TG_CLASS_SETTLED,  /* none is: the old shards may close */
  TG_CLASS_GONE,     /* they have */
  TG_CLASS_STATES
};

/* Into how many classes a change makes the guilds: the greatest common divisor of both totals. A shard of
 * either set is of the class of its id modulo that. */
int tg_class_count(int from, int to);

/* "waiting", ... */
const char *tg_class_state_name(enum tg_class_state state);
/* False: there is no such state; `*state` stays. NULL is none. */
bool tg_class_state_parse(const char *name, enum tg_class_state *state);
