#pragma once

/* Which of a name's addresses is tried when (RFC 8305, Happy Eyeballs): the next
 * one begins when the last has failed, or has not connected within a quarter of
 * a second. An address that takes the TCP connection and then stays mute is no
 * better than one that does not: until TLS and the WebSocket upgrade are through
 * a try is not done, and after some seconds the next one begins beside it. Pure;
 * tries are known by their place in the list of addresses. */

#include "base/clock.h"
#include "net/addresses.h"

#include <stdbool.h>

enum {
  TG_RACE_CONNECT = 250,    /* ms for TCP until the next address begins */
  TG_RACE_HANDSHAKE = 3000, /* ... and for all that follows (tg_patience()) */
  TG_RACE_AT_ONCE = 4,      /* tries that run beside each other */
};

enum tg_race_state { TG_TRY_NOT_YET, TG_TRY_CONNECTING, TG_TRY_HANDSHAKING, TG_TRY_FAILED };

struct tg_race {
  int count;  /* of addresses */
  int begun;  /* of tries, in order */
  bool hurry; /* the one begun last has failed */
  struct {
    enum tg_race_state state;
    tg_ms since; /* of that state */
  } tries[TG_ADDRESSES_MAX];
};

void tg_race_begin(struct tg_race *race, int count);

/* The try to begin now; -1: none. `*give_up`: the one to end for it, as that
 * many at once are enough; -1: none. It counts as failed from here on. */
int tg_race_next(struct tg_race *race, tg_ms now, int *give_up);

void tg_race_connected(struct tg_race *race, int index, tg_ms now); /* TCP stands */
void tg_race_failed(struct tg_race *race, int index);

/* When tg_race_next() has to be asked again, if nothing happens before; -1: not by time. */
tg_ms tg_race_due(const struct tg_race *race);

/* All have been tried, and have failed. */
bool tg_race_lost(const struct tg_race *race);

/* This try has had the time that it is given before others begin beside it. */
bool tg_race_is_late(const struct tg_race *race, int index, tg_ms now);
