#pragma once

/* The last warnings and errors of a process, in its statistics page: whoever looks after an outage sees what
 * the log has said without having the log, also of a worker that is dead. The same rules as in stats.h: one
 * writer, any reader; secrets are masked before (base/log.h). */

#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { TG_RECENT_LINES = 100, TG_RECENT_TEXT = 1000 /* bytes with the NUL; longer ones are cut */ };

struct tg_recent_line {
  _Atomic uint32_t guard; /* odd: being written */
  int32_t level;          /* enum tg_log_level */
  int32_t shard_id;       /* TG_NO_SHARD: about none */
  int64_t at;             /* tg_wall_clock() */
  char text[TG_RECENT_TEXT];
};

struct tg_recent {
  _Atomic uint64_t count; /* of all lines there were: the next one goes to list[count % TG_RECENT_LINES] */
  struct tg_recent_line list[TG_RECENT_LINES];
};

/* From here on this process keeps what it warns of. */
void tg_recent_begin(void);

/* A copy of the line in that place, whose text ends and is UTF-8. False: there is none, or it is being
 * written. */
bool tg_recent_read(const struct tg_recent *recent, int place, struct tg_recent_line *line);
