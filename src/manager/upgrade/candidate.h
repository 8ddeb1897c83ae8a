#pragma once

/* The program that is to take this one's place, tried: it runs beside this one, `run --candidate`, with the
 * environment that this one was started with. It loads script and configuration, looks at what it would be
 * given, and lives for a second; what it says stands in memory that both have. */

#include "base/error.h"

#include <uv.h>

struct tg_candidate;

enum {
  TG_CANDIDATE_STATE = 3,   /* descriptors of that process: what it would be given, */
  TG_CANDIDATE_VERDICT = 4, /* and where it puts {"version": text} or {"problem": text} */
  TG_CANDIDATE_LIFE = 1000, /* ms that it has to live after that */
};

/* Once. `problem`, in words: it must not take over; NULL: it may. */
typedef void tg_candidate_judged(void *ctx, const char *version, const char *problem);

struct tg_candidate_options {
  uv_loop_t *loop;
  const char *path;
  char **environment;
  const char *script; /* NULL: none */
  int state;
  int64_t patience; /* ms until it counts as hanging */
};

/* NULL: it cannot be executed. All is borrowed. */
struct tg_candidate *tg_candidate_start(const struct tg_candidate_options *options,
                                        tg_candidate_judged *judged, void *ctx, struct tg_error *error);
/* Before it was judged: it is killed. */
void tg_candidate_end(struct tg_candidate *candidate);
