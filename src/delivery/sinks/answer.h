#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "base/json_scan.h"
#include "delivery/sinks/outcome.h"

/* What a carrier says of a parcel. Everything in it lives only during the call. */
struct tg_answer {
  enum tg_outcome outcome;
  long status;       /* of HTTP, or what a script says to have seen; 0: none */
  tg_ms retry_after; /* so long it wants to be left alone; -1: it has not said */
  struct tg_span body;
  struct tg_error error; /* unless it is delivered: what has happened, in words for the log */
  const char *advice;    /* misconfigured: what a person can do */
  double seconds;        /* from start to end */
  /* It has lost what it had accepted of the lane behind that event (0, 0: all of it). */
  bool lost;
  uint64_t epoch, sequence;
};

/* The end of a script's post: NULL, all are accepted; else the answer to the first event that was not, and
 * `delivered` were before it. */
typedef void tg_posted(void *ctx, const struct tg_answer *answer, int delivered);
