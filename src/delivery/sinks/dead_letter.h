#pragma once

/* Events that the event handler refuses for good: one JSON line each in
 * dead.jsonl of the state directory.
 *
 *     {"v":1,"at":1700000000000,"shard":3,"totalShards":16,"epoch":7,"s":42,"t":"GUILD_CREATE",
 *      "status":413,"answer":"the first 2 KiB","bytes":1234,"guildCreate":"loading","event":{"t":...},
 *      "n":17}
 *
 * `v` is the version of this format; what it does not know may be added. `n`
 * numbers the letters of a state directory, from the oldest to the newest, so
 * that a person can name one; (shard, epoch, s) is the event's own name. `event`
 * is the message as it came: with shard, epoch, and `totalShards`, `guildCreate`
 * `deferred` and `late`, where they are, it is all that the body of its request was made of, and so can
 * be delivered again. With "marker":true it is not a message, but such a body.
 * `bytes`: of the body.
 *
 * A letter that was sent again, and refused again, has the last status and answer, and "retries":1 and
 * "retriedAt":1700000000000 behind them. One that was removed has "v":0, until its file is tidied
 * (dead_files.h).
 *
 * All workers append to one file; a line is one write. A file that is full
 * becomes dead.jsonl.1, and so on; the oldest goes. Secrets - d.token of the
 * event, the session's id and resume URL in a READY, and those that are given -
 * stand there as "***". A letter whose event has lost one has "masked":true: it
 * cannot be delivered as it was. The files are for their owner alone (0600). */

#include "base/buf.h"
#include "base/error.h"
#include "base/json_scan.h"
#include "config/schema.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  TG_DEAD_FORMAT = 1,
  TG_DEAD_ANSWER_MAX = 2048,
  TG_DEAD_FILE_BYTES = 64 << 20, /* a thousand guilds that a bot finds too large */
  TG_DEAD_FILES = 5,             /* dead.jsonl itself counts */
};

struct tg_dead_letter {
  int shard_id;
  int total_shards; /* as in the body; 0: not there */
  uint64_t epoch, sequence;
  struct tg_span name; /* t */
  long status;
  struct tg_span answer;    /* any bytes; cut */
  struct tg_span message;   /* JSON; empty: there is none */
  size_t bytes;             /* of the body that was refused */
  const char *guild_create; /* as in the body; NULL: not there */
  bool deferred, late, marker;
  const char *sink;                 /* that has refused it; NULL: the event handler */
  const struct tg_strings *secrets; /* or NULL */
};

/* `file_bytes`: a file takes no more, but for a line that is longer alone.
 * False: the letter is not written. */
bool tg_dead_letter_write(const char *state_dir, uint64_t file_bytes, const struct tg_dead_letter *letter,
                          struct tg_error *error);

/* Appends the message of that type on one line, its secrets masked as in letters. */
void tg_dead_put_masked(struct tg_buf *out, struct tg_span name, struct tg_span message);

/* Appends the answer with *** in the place of these secrets (NULL: none). */
void tg_dead_mask(struct tg_span answer, const struct tg_strings *secrets, struct tg_buf *out);
