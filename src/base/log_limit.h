#pragma once

/* Holds back log lines of a kind that comes again and again: a thousand shards
 * that lose their connection at once say the same thing a thousand times,
 * whatever number each of them has. Of each kind some lines pass in a while;
 * the others are counted, and the last of them is shown with their number when
 * the while is over. The processes of a gateway share what may pass: a thousand
 * shards in forty workers say no more than in one. */

#include "base/clock.h"

#include <stdbool.h>

enum {
  TG_LOG_KINDS = 32,
  TG_LOG_WHILE = 10000, /* ms */
  TG_LOG_BURST = 30,    /* warnings and errors of a kind in a while, of all processes */
  TG_LOG_BURST_LEAST = 2,
  TG_LOG_BURST_INFO = 100,
  TG_LOG_BURST_INFO_LEAST = 10,
};

struct tg_log_limit {
  unsigned processes; /* each may write its part of the burst; 0: as 1 */
  struct tg_line_kind {
    const void *key; /* NULL: free */
    tg_ms since;
    unsigned passed, held;
    int level, shard_id; /* of the last line held back */
    char text[300];
  } kinds[TG_LOG_KINDS];
};

/* Whether the line may be written now. `key` tells kinds apart: the address of
 * the format. `level` is one of enum tg_log_level. */
bool tg_log_limit_pass(struct tg_log_limit *limit, const void *key, int level, int shard_id, const char *text,
                       tg_ms now);

/* A kind whose while is over and of which lines were held back; it begins anew.
 * NULL: none. The result holds until the next call. */
const struct tg_line_kind *tg_log_limit_over(struct tg_log_limit *limit, tg_ms now);
