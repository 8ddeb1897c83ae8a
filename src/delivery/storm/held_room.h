#pragma once

/* Room for copies of events that are held back, in a file that is mapped: what was put there outlives the
 * process at once, without a system call, and whoever takes its place finds it.
 *
 *     <state_dir>/storms/worker-<id>-<number>    its process has it locked
 *
 *     a page     which file this is, and since which start of the machine
 *     entries    TG_HELD_MAX of 64 bytes: whose the message is, and where it lies
 *     messages   in pieces of TG_HELD_PIECE bytes, one behind the other
 *
 * A copy is made before its entry says that it is whole. What somebody has written into a message is never
 * taken for an entry, since those have their own place. After a start of the machine nobody knows what of the
 * file got as far as the disk: then it counts for nothing. */

#include "base/clock.h"
#include "base/json_scan.h"
#include "proto/event.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

enum {
  TG_HELD_MAX = 8192, /* copies */
  TG_HELD_PIECE = 512,
  TG_HELD_PIECES = 16384, /* 8 MiB */
};

/* An entry. */
struct tg_held_copy {
  uint32_t whole; /* 0: there is none (any more) */
  uint32_t piece, pieces, length;
  int32_t ref, total_shards;
  uint64_t epoch, sequence;
  uint64_t fence; /* of the lease under which this host had the shard; 0: hosts do not share them */
  int64_t at;     /* tg_steady_clock(): when it came */
  uint64_t unused;
};

struct tg_held_room {
  LIST_ENTRY(tg_held_room) link; /* of those that earlier processes have left */
  char *memory;
  char *path; /* NULL: memory of this process alone */
  int fd;
  bool *taken;        /* pieces; of one that an earlier process has left: entries that are to be released */
  uint16_t *free;     /* entries, the next one last */
  int free_count;     /* of these */
  int used;           /* so many of an earlier process's are to be released, or awaited */
  uint32_t next;      /* piece to look at */
  uint32_t too_large; /* so many pieces in a row there were not, when it was last looked */
};

LIST_HEAD(tg_held_rooms, tg_held_room);

/* Makes the file; where that fails it says so, and the copies are in memory alone. `state_dir` NULL: so they
 * are anyway. NULL: there is not even memory. */
struct tg_held_room *tg_held_room_new(const char *state_dir, int worker_id);
/* Those of processes that are gone, in which there is something of shards that `wanted` names (NULL: all),
 * and that came at `since` or later. */
void tg_held_rooms_find(struct tg_held_rooms *rooms, const char *state_dir, tg_ms since,
                        bool (*wanted)(void *ctx, tg_shard_ref ref), void *ctx);
/* The file goes, if nothing is held in it. */
void tg_held_room_free(struct tg_held_room *room);

/* Copies the message. `before`: the copy that it takes the place of; NULL: of none. NULL: there is no room,
 * and nothing has changed. */
struct tg_held_copy *tg_held_put(struct tg_held_room *room, struct tg_held_copy *before,
                                 const struct tg_event *event, uint64_t fence, tg_ms at);
/* It is not held any more. */
void tg_held_drop(struct tg_held_room *room, struct tg_held_copy *copy);
/* What is held in the room, entry by entry: the one behind `after` (NULL: the first); NULL: no more. */
struct tg_held_copy *tg_held_next(const struct tg_held_room *room, const struct tg_held_copy *after);
/* Of a room that an earlier process has left: whether this one is to release it already. */
bool *tg_held_taken(const struct tg_held_room *room, const struct tg_held_copy *copy);
struct tg_span tg_held_message(const struct tg_held_room *room, const struct tg_held_copy *copy);
