#pragma once

/* `tidegate ctl reshard`: what GET /reshard says, in words, and waiting until a resharding is over. */

#include "base/buf.h"
#include "cli/ctl/command.h"

#include <jansson.h>

/* Of one that runs. How far it is: "switching, 2 of 4 classes over". */
void tg_ctl_reshard_step(const json_t *running, struct tg_buf *out);
/* ", about 3 min left"; nothing if that is not known. */
void tg_ctl_reshard_eta(const json_t *running, struct tg_buf *out);
/* How much of it is done, of `width`: by the time that it takes if that is known, else by its steps. */
int tg_ctl_reshard_filled(const json_t *running, int width);

/* "; waits for ..."; nothing if it waits for nothing. */
void tg_ctl_reshard_waiting(const json_t *object, struct tg_buf *out);

/* How the last one has ended, in words that follow on "...: ". */
void tg_ctl_reshard_end(const json_t *last, struct tg_buf *out);

/* Waits until none runs any more, also over a restart of the gateway, and says how it ended. `wanted`: "done"
 * or "aborted", what is success; NULL: "done", or that none runs at all. TG_EXIT_OK: as it was wanted.
 * Ctrl-C ends the program, not the resharding, and says so. */
enum tg_exit tg_ctl_follow(const struct tg_ctl *ctl, const char *wanted);
