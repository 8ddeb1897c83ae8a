#pragma once

/* Who has to go when more clients want to be served than there are places. No
 * I/O: the server counts and closes, this compares.
 *
 * What a client can hold on to for nothing is worth nothing: open connections,
 * heads and bodies that never come to an end. The oldest of these goes first,
 * so that whoever asks in one piece is always heard. */

#include "base/clock.h"

#include <stdbool.h>
#include <sys/socket.h>

enum tg_use {
  TG_USE_NONE,   /* no byte of a request is there */
  TG_USE_BEGUN,  /* a request has begun and not come to its end */
  TG_USE_SERVED, /* it waits for its answer */
  TG_USE_OVER,   /* it has had its last answer, and holds no place */
};

struct tg_standing {
  enum tg_use use;
  tg_ms since;               /* of tg_now(): its use is this one */
  bool known;                /* it has shown the secret */
  bool local;                /* it is on this machine */
  unsigned char network[16]; /* of clients elsewhere: an IPv4 address, or the /64 of an IPv6 one */
};

/* Fills in local and network. */
void tg_standing_at(struct tg_standing *standing, const struct sockaddr *peer);

/* Whether one client can keep others of these two from being served alone: both
 * are elsewhere, at one place, and strangers. */
bool tg_standing_together(const struct tg_standing *one, const struct tg_standing *other);

/* Whether it may be closed for others at all: it has had some time to send what
 * it has come for, and nothing is under way for it. */
enum { TG_STANDING_GRACE = 100 /* ms */ };
bool tg_standing_may_go(const struct tg_standing *standing, tg_ms now);

/* Whether it goes sooner than the other one. */
bool tg_standing_goes_before(const struct tg_standing *standing, const struct tg_standing *other);
