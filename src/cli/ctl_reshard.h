#pragma once

/* `tidegate ctl reshard`: what GET /reshard says, as people read it, and waiting until a resharding is over.
 */

#include "base/buf.h"
#include "cli/ctl_client.h"

#include <jansson.h>
#include <stdbool.h>

/* How far it is: "switching, 2 of 4 classes over". */
void tg_ctl_reshard_step(const json_t *running, struct tg_buf *out);

/* The whole of it as a table, or that there is none. */
void tg_ctl_show_reshard(const json_t *answer);

enum tg_follow_how {
  TG_FOLLOW_BAR,    /* one line, written over and over: a terminal */
  TG_FOLLOW_LINES,  /* a line for each step */
  TG_FOLLOW_SILENT, /* nothing but what came of it, as JSON */
};

struct tg_follow {
  struct tg_ctl_client *client;
  enum tg_follow_how how;
  tg_ms timeout;      /* 0: none */
  const char *wanted; /* "done" or "aborted": what is success; NULL: "done", or that none runs at all */
};

/* Waits until none runs any more, also over a restart of the gateway, and says how it ended. TG_EXIT_OK: as
 * it was wanted. Ctrl-C ends the program, not the resharding, and says so. */
enum tg_exit tg_ctl_follow(const struct tg_follow *follow);
