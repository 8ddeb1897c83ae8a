#pragma once

/* Events that the event handler refuses for good: one JSON line each in
 * dead.jsonl of the state directory.
 *
 *     {"at":1700000000000,"shard":3,"epoch":7,"s":42,"t":"MESSAGE_CREATE","status":400,
 *      "answer":"the first 2 KiB","event":{"t":...}}
 *
 * All workers append to one file; a line is one write. */

#include "base/error.h"
#include "base/json_scan.h"

#include <stdbool.h>
#include <stdint.h>

enum { TG_DEAD_ANSWER_MAX = 2048 };

struct tg_dead_letter {
  int shard_id;
  uint64_t epoch, sequence;
  struct tg_span name; /* t */
  long status;
  struct tg_span answer;  /* any bytes; cut */
  struct tg_span message; /* JSON */
};

bool tg_dead_letter_write(const char *state_dir, const struct tg_dead_letter *letter, struct tg_error *error);
