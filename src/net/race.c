#include "net/race.h"

void tg_race_begin(struct tg_race *race, int count)
{
  *race = (struct tg_race){.count = count};
}

static int running(const struct tg_race *race, enum tg_race_state state)
{
  int number = 0;
  for (int i = 0; i < race->begun; i++)
    number += race->tries[i].state == state;
  return number;
}

static tg_ms time_of(enum tg_race_state state)
{
  return state == TG_TRY_CONNECTING ? TG_RACE_CONNECT : tg_patience(TG_RACE_HANDSHAKE);
}

/* Who has a connection has the word: while its handshake may still come, nobody
 * else begins. */
tg_ms tg_race_due(const struct tg_race *race)
{
  int handshaking = running(race, TG_TRY_HANDSHAKING), connecting = running(race, TG_TRY_CONNECTING);
  enum tg_race_state state = handshaking ? TG_TRY_HANDSHAKING : TG_TRY_CONNECTING;
  tg_ms last = 0;
  if (race->begun == race->count)
    return -1;
  if (race->hurry || handshaking + connecting == 0)
    return 0;
  for (int i = 0; i < race->begun; i++)
    if (race->tries[i].state == state && race->tries[i].since > last)
      last = race->tries[i].since;
  return last + time_of(state);
}

/* The one from which least is to be hoped: the oldest without a connection, else the oldest. */
static int worst(const struct tg_race *race)
{
  enum tg_race_state state = running(race, TG_TRY_CONNECTING) ? TG_TRY_CONNECTING : TG_TRY_HANDSHAKING;
  int oldest = 0;
  while (race->tries[oldest].state != state)
    oldest++;
  return oldest;
}

int tg_race_next(struct tg_race *race, tg_ms now, int *give_up)
{
  tg_ms due = tg_race_due(race);
  *give_up = -1;
  if (due < 0 || due > now)
    return -1;
  if (running(race, TG_TRY_CONNECTING) + running(race, TG_TRY_HANDSHAKING) >= TG_RACE_AT_ONCE) {
    *give_up = worst(race);
    race->tries[*give_up].state = TG_TRY_FAILED;
  }
  int index = race->begun++;
  race->hurry = false;
  race->tries[index].state = TG_TRY_CONNECTING;
  race->tries[index].since = now;
  return index;
}

void tg_race_connected(struct tg_race *race, int index, tg_ms now)
{
  race->tries[index].state = TG_TRY_HANDSHAKING;
  race->tries[index].since = now;
}

void tg_race_failed(struct tg_race *race, int index)
{
  race->tries[index].state = TG_TRY_FAILED;
  race->hurry = race->hurry || index == race->begun - 1;
}

bool tg_race_lost(const struct tg_race *race)
{
  return running(race, TG_TRY_FAILED) == race->count;
}

bool tg_race_is_late(const struct tg_race *race, int index, tg_ms now)
{
  enum tg_race_state state = race->tries[index].state;
  return (state == TG_TRY_CONNECTING || state == TG_TRY_HANDSHAKING) &&
         now - race->tries[index].since >= time_of(state);
}
