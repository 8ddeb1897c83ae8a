#pragma once

/* Events that the event handler refuses for good: one JSON line each in
 * dead.jsonl of the state directory.
 *
 *     {"at":1700000000000,"shard":3,"epoch":7,"s":42,"t":"MESSAGE_CREATE","status":400,
 *      "answer":"the first 2 KiB","event":{"t":...}}
 *
 * All workers append to one file; a line is one write. A file that is full
 * becomes dead.jsonl.1, and so on; the oldest goes. Secrets - d.token of the
 * event, and those that are given - stand there as "***". */

#include "base/error.h"
#include "base/json_scan.h"
#include "base/schema.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  TG_DEAD_ANSWER_MAX = 2048,
  TG_DEAD_FILE_BYTES = 16 << 20,
  TG_DEAD_FILES = 5, /* dead.jsonl itself counts */
};

struct tg_dead_letter {
  int shard_id;
  uint64_t epoch, sequence;
  struct tg_span name; /* t */
  long status;
  struct tg_span answer;            /* any bytes; cut */
  struct tg_span message;           /* JSON */
  const struct tg_strings *secrets; /* or NULL */
};

/* `file_bytes`: a file takes no more, but for a line that is longer alone.
 * False: the letter is not written. */
bool tg_dead_letter_write(const char *state_dir, uint64_t file_bytes, const struct tg_dead_letter *letter,
                          struct tg_error *error);
