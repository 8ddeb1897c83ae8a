#pragma once

/* `tidegate ctl drain`: waiting until a host of a cluster has given all its shards away. */

#include "cli/ctl_client.h"

struct tg_drain {
  struct tg_ctl_client *client;
  bool draws;    /* one line, written over and over: a terminal */
  bool as_json;  /* nothing but what came of it */
  bool anyway;   /* it was asked for without waiting for the bot */
  tg_ms timeout; /* 0: none */
};

/* It was asked for. Says how many shards are there, and how many events only this host has, until none is.
 * TG_EXIT_OK: none is. Ctrl-C ends the program, not what was asked for, and says so. */
enum tg_exit tg_ctl_wait_drained(const struct tg_drain *drain);
