#pragma once

/* The files that dead letters are in (dead_letter.h): dead.jsonl, to which workers append, and the older
 * ones.
 *
 * They change in four ways, each of which a process may die in, or a disk refuse, without a letter being
 * lost:
 *
 *     append   a line, in one write
 *     rotate   names change: dead.jsonl becomes dead.jsonl.1, and the oldest goes
 *     remove   one byte: the line's "v":1 becomes "v":0, which is no letter any more. It needs no room
 *     tidy     a file is written anew, without what was removed, and takes the other one's name
 *
 * Who appends, rotates or removes holds the lock of the state directory; who tidies holds it at the end, for
 * what was appended meanwhile. Who reads holds it for as long as it takes to open the files: what changes
 * under its eyes are lines that are being removed. One process tidies: the manager.
 *
 * All of these block as the disk does. Any thread. */

#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json_scan.h"

#include <stdbool.h>
#include <stdint.h>

/* Where a letter stands; whatever its file is called by now. */
struct tg_dead_place {
  uint64_t number, inode, at;
  size_t length; /* of its line, without the line break */
};

/* Appends the line, which lacks `,"n":...}` and its end. A file takes no more than `file_bytes`, but for a
 * line that is longer alone. */
bool tg_dead_append(const char *state_dir, uint64_t file_bytes, struct tg_buf *line, struct tg_error *error);

/* Shows all letters, from the oldest to the newest. False of `visit`: enough. The line lives only during the
 * call. False: the files cannot be read. */
typedef bool tg_dead_visit(void *ctx, const struct tg_dead_place *place, struct tg_span line);
bool tg_dead_walk(const char *state_dir, tg_dead_visit *visit, void *ctx, struct tg_error *error);

/* Reads the letter's line. It is looked for by its number where it is not at its place any more. False: codes
 * "no_letter" (it was removed, or its file was the oldest one), "disk". */
bool tg_dead_take(const char *state_dir, struct tg_dead_place *place, struct tg_buf *line,
                  struct tg_error *error);

/* Removes the letters that are (still) at these places. `*removed` rises by how many there were. */
bool tg_dead_remove(const char *state_dir, const struct tg_dead_place *places, size_t count, size_t *removed,
                    struct tg_error *error);

/* What was said of a letter that was sent again, and was refused again. */
struct tg_dead_answer {
  uint64_t number;
  tg_ms at; /* tg_wall_clock() */
  long status;
  const char *text; /* UTF-8 without secrets */
  size_t bytes;     /* of the body */
};

/* Gives back the room of what was removed, and writes down these answers (in the order of their numbers). */
bool tg_dead_tidy(const char *state_dir, const struct tg_dead_answer *answers, size_t count,
                  struct tg_error *error);

/* How much there is: what has changed since the last look is counted, the rest remembered. Begin with zeros;
 * `known` is forgotten by setting `count` to 0, which whoever has removed or tidied something does. */
struct tg_dead_sum {
  uint64_t letters, bytes, newest; /* the number of the newest letter */
  int count;
  struct tg_dead_known {
    uint64_t inode, size, letters, newest;
  } known[8];
};
bool tg_dead_look(const char *state_dir, struct tg_dead_sum *sum, struct tg_error *error);

/* --- a line (dead_line.c); pure ------------------------------------------------------- */

/* What stands in a letter, in front of the event. Texts are JSON as it stands there, with their quotes. */
struct tg_dead_line {
  tg_ms at; /* tg_wall_clock(), when it was written */
  int shard_id, total_shards;
  uint64_t epoch, sequence;
  struct tg_span type; /* plain */
  long status;
  struct tg_span answer;
  const char *answer_end; /* behind the answer and what belongs to it */
  size_t bytes;
  int retries;
  struct tg_span guild_create, sink; /* plain; .at NULL: not there */
  bool deferred, late, marker, masked;
  struct tg_span head;  /* all that stands in front of the event, from the opening bracket */
  struct tg_span event; /* to the end of its line, and so with ,"n":... */
};

/* False: it is no letter of this version. */
bool tg_dead_line_read(struct tg_span line, struct tg_dead_line *letter);
/* The number at the end of a line, `end` being its line break; 0: it has none. */
uint64_t tg_dead_number(const char *start, const char *end);
/* Whether it is a letter that was not removed; its number is not looked at. */
bool tg_dead_is_there(struct tg_span line);
/* The letter with another answer. */
void tg_dead_line_answer(struct tg_span line, const struct tg_dead_answer *answer, struct tg_buf *out);
/* Any bytes as a JSON string. */
void tg_dead_put_string(struct tg_buf *line, struct tg_span text);
