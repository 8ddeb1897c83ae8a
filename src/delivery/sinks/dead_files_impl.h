#pragma once

/* The inside of dead_files.h: names and the lock, for dead_files.c, dead_walk.c and dead_tidy.c. */

#include "delivery/sinks/dead_files.h"
#include "delivery/sinks/dead_letter.h"

enum { TG_DEAD_NAME_MAX = 32 };

/* 0 is dead.jsonl, and TG_DEAD_FILES - 1 the oldest. */
void tg_dead_name(char name[TG_DEAD_NAME_MAX], int index);

/* The state directory, locked until it is closed; -1: errno says why not. */
int tg_dead_lock(const char *state_dir);

/* The highest number in the file; 0: there is none. */
uint64_t tg_dead_last_number(int fd, uint64_t size);

/* Calls for each whole line of the file's first `size` bytes, with where it begins. False of `each`: enough.
 * False: it cannot be read, errno says why. */
typedef bool tg_dead_each(void *ctx, uint64_t at, struct tg_span line);
bool tg_dead_lines(int fd, uint64_t from, uint64_t size, tg_dead_each *each, void *ctx);

/* "cannot read ...", "cannot write to ...", with what errno means. Returns false. */
bool tg_dead_fail(struct tg_error *error, const char *what, const char *state_dir);
