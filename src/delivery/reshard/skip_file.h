#pragma once

/* The file reshard.<class> of the state directory: what a class must know of its last switch if the process
 * dies. That a switch has happened at all is decided by this file: it is written aside and renamed, and from
 * then on the side that it names rules.
 *
 * It lists what a session may show again after a RESUME, although the other side has delivered it: the *skip
 * list*. An entry is one copy of one event that is to be dropped. When that copy has come, this is noted in
 * the entry (the file is mapped): it is used up, if the number of the copy is durable by the time of the next
 * death; else the copy comes again, and the entry serves once more.
 *
 * Like the shard table it survives kill -9 of everything without a sync, since it is the kernel's by then;
 * after a power cut it may be lost.
 *
 * Loop thread only. Files are the owner's own, for its eyes alone. */

#include "base/error.h"
#include "proto/shard_ref.h"

#include <stdbool.h>
#include <stdint.h>

/* The name of an event: which shard has shown it, in which session, under which number. */
struct tg_skip_place {
  int32_t ref; /* TG_NO_SHARD: none */
  uint32_t sequence;
  uint64_t epoch;
};

/* The use of an entry of which none is awaited any more. */
#define TG_SKIP_NEVER ((struct tg_skip_place){.ref = 0, .epoch = UINT64_MAX})

enum { TG_SKIP_SAFE = 1 /* what was delivered will not be lost by a death of this process */ };

struct tg_skip_entry {
  uint64_t guild, hash;       /* its tg_event_key, by the file's seed */
  struct tg_skip_place given; /* the copy that was delivered, .epoch 0: which is not known; the other side
                               * skips its own */
  struct tg_skip_place use;   /* the copy that was dropped; .ref TG_NO_SHARD: not yet. .epoch UINT64_MAX: it
                               * is not waited for any more */
  uint32_t type;              /* which of the names is its event's */
  uint32_t flags;             /* TG_SKIP_SAFE */
};

/* Of a cluster, of those that have taken over: not all hosts know it yet, and until then nothing of theirs is
 * delivered. */
enum { TG_SKIP_WAITS = 1 };

struct tg_skip_member {
  int32_t ref;
  uint32_t seen;   /* the highest number that it had shown at the switch */
  uint32_t passed; /* up to here what belongs to its session alone was delivered, and is safe */
  uint32_t flags;  /* TG_SKIP_WAITS */
  uint64_t epoch; /* of its session, from the switch on: at least that, whatever the shard table says */
};

enum { TG_SKIP_NAME_MAX = 72 };

/* What is to be written. The arrays are the list's. */
struct tg_skip_list {
  int number, from, to, old_side; /* which class of which change */
  int ruling;                     /* the side that delivers from now on */
  uint64_t seed;                  /* of the keys */
  struct tg_skip_member *members;
  int member_count;
  struct tg_skip_entry *entries;
  int entry_count;
  char (*names)[TG_SKIP_NAME_MAX]; /* of types of events; the first ones are those that are cut by time */
  int name_count, cut_count;
};

void tg_skip_list_free(struct tg_skip_list *list);

struct tg_skip_file;

/* Writes reshard.<list->number>, whole, in the place of the one that is there, and maps it. NULL: it is not
 * written, and the one that was there still counts: "disk_full" or "disk". */
struct tg_skip_file *tg_skip_file_make(const char *state_dir, const struct tg_skip_list *list,
                                       struct tg_error *error);

/* That of an earlier process, for the same change. NULL: there is none, it is of another change, or damaged
 * (which is logged): the old side rules. */
struct tg_skip_file *tg_skip_file_open(const char *state_dir, int number, int from, int to, int old_side);

/* Which side delivers by that file; -1: there is none, it is the old one, as ever. */
int tg_skip_file_ruling(const char *state_dir, int number, int from, int to, int old_side);

/* Points into the file: entries may be written to, by tg_skip_file_use(), as long as it is open. */
const struct tg_skip_list *tg_skip_file_list(const struct tg_skip_file *file);

void tg_skip_file_use(struct tg_skip_file *file, int entry, struct tg_skip_place use);
void tg_skip_file_safe(struct tg_skip_file *file, int entry);

/* Whether those that it says deliver wait for other hosts to hear of it; and that they need not any more. */
bool tg_skip_file_waits(const struct tg_skip_file *file);
void tg_skip_file_publish(struct tg_skip_file *file);

/* The file stays. */
void tg_skip_file_close(struct tg_skip_file *file);

/* The change is over. */
void tg_skip_file_remove(const char *state_dir, int number);
/* All that there are: before another change begins. */
void tg_skip_files_remove(const char *state_dir);
/* Of a change that is over, but for what waits in the logs: whether that shard has ever delivered. */
bool tg_skip_files_have_ruled(const char *state_dir, tg_shard_ref ref);
