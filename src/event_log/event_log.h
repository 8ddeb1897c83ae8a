#pragma once

/* The log: a worker's append-only file of events on disk.
 *
 *     struct tg_event_log *log = tg_event_log_open(&options, &error);
 *     position = tg_event_log_append(log, &event, &error);  // as events come
 *     tg_event_log_flush(log, &error);                      // once a loop turn: they are durable
 *     ...
 *     while ((position = tg_event_log_next(log, shard_id, 0, &entry)) != 0) {
 *       tg_event_log_read(log, shard_id, position, &record, &error);  // if no longer in memory
 *       ...                                                 // POST
 *       tg_event_log_ack(log, shard_id, position);
 *     }
 *     tg_event_log_close(log);
 *
 * Shards are interleaved in the files, but each goes at its own pace: the log
 * keeps, for each shard, the list of what still waits (24 bytes a record). What
 * has been flushed outlives kill -9 without any fsync; after a power cut, the
 * tail that the kernel had not yet written is missing (see tg_event_log_sync).
 * After a restart a record comes again if its ack did not get as far as the
 * cursor; the order within a shard is always kept.
 *
 * One log is one directory with one writer; files and formats: log_format.h.
 * Loop thread only. The log owns what it hands out; how long a pointer lives is
 * said at each function. Unless said otherwise false means: `error` is filled,
 * and nothing has changed. Times are tg_steady_clock()'s. */

#include "base/clock.h"
#include "base/error.h"
#include "base/json_scan.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct tg_event_log;

/* Where a record stands; later records have higher ones. 0: none. */
typedef uint64_t tg_log_position;

enum tg_log_kind {
  TG_LOG_EVENT = 1,
  TG_LOG_MARKER = 2, /* what the caller tells the handler in order: a gap, for one */
};

/* Flags of a record, for ever. */
enum {
  TG_LOG_KEEP = 1, /* is dropped only when nothing else is left (interactions) */
};

/* Why records are lost. */
enum tg_log_loss {
  TG_LOSS_DAMAGED,   /* "log_damaged": a segment is missing, or cannot be read */
  TG_LOSS_OVERFLOW,  /* "overflow": disk_bytes is reached */
  TG_LOSS_DISK_FULL, /* "disk_full" */
  TG_LOSS_EXPIRED,   /* "expired": older than max_age */
};
const char *tg_log_loss_name(enum tg_log_loss reason);

/* Records of one shard and one epoch that are gone, unless they were acked. */
struct tg_log_gap {
  int shard_id;
  uint64_t epoch;
  uint64_t from, to; /* sequences, both inclusive; 0: not known */
  uint64_t count;    /* events; 0: not known (filtered ones may lie between) */
  enum tg_log_loss reason;
  /* The gap lies in front of this record of the shard; 0: behind the last one.
   * With TG_LOSS_DAMAGED the latter is a lost tail: if the session can still
   * be resumed from `from` - 1, Discord sends it again. */
  tg_log_position before;
};

/* Is called from within open (recovery), append and flush (bounds) and expire.
 * May look at the log, but not change it. */
typedef void tg_log_on_gap(void *ctx, const struct tg_log_gap *gap);

enum tg_log_mode {
  TG_LOG_WRITE, /* the worker's own log */
  TG_LOG_DRAIN, /* one that was left behind: read and ack alone */
};

struct tg_event_log_options {
  const char *directory; /* <state_dir>/log/<name>; made if need be (TG_LOG_WRITE) */
  enum tg_log_mode mode;
  uint64_t disk_bytes; /* 0: no bound */
  tg_ms max_age;       /* 0: no bound */
  /* Segments are small while the backlog is small, large from the second full
   * one on. 0: 4 MiB and 64 MiB. No more than an eighth of disk_bytes. */
  uint32_t small_segment, large_segment;
  tg_log_on_gap *on_gap; /* may be NULL */
  void *ctx;

  /* TG_LOG_DRAIN: which shards this process takes, NULL: all. With it several
   * processes drain one log at once, each its own shards; `reader` then names
   * this one, as part of the name of its cursor file ("worker-1"). */
  bool (*wanted)(void *ctx, int shard_id);
  const char *reader;
};

/* Locks, recovers and, in TG_LOG_WRITE, begins a new segment: a directory that
 * cannot be written is refused here. Error codes: "locked" (the message says
 * by whom), "missing" (TG_LOG_DRAIN), "disk_full", "file_size", "disk". */
struct tg_event_log *tg_event_log_open(const struct tg_event_log_options *options, struct tg_error *error);

/* What was not flushed is lost. NULL is fine. */
void tg_event_log_close(struct tg_event_log *log);

/* Whether nothing waits, and whatever is lost has been told (tg_event_log_told()). */
bool tg_event_log_settled(const struct tg_event_log *log);

/* Whether the log may be removed, for all of its shards, as far as the owner is concerned. */
typedef bool tg_log_may_go(void *ctx, const struct tg_event_log *log);

/* Closes, and removes the directory if it is settled, for any shard, and `may_go`
 * (NULL: nobody is asked) says so of the whole log. False: the directory stays.
 * Codes: "locked" (somebody else drains it: he will do it), "waiting" (there is
 * something left, for shards nobody wanted), "disk". */
bool tg_event_log_remove(struct tg_event_log *log, tg_log_may_go *may_go, void *ctx, struct tg_error *error);

/* The logs below `parent` (<state_dir>/log), and what is left of those that were
 * being made or removed when a process was killed; oldest first, as names. For each
 * shard deliver the older before the newer, and all before the own one. Ends
 * with NULL; free with tg_event_log_list_free(). NULL: there is none. */
char **tg_event_log_list(const char *parent);
void tg_event_log_list_free(char **names);

/* Removes the logs below `parent`, which is a directory of their own, whatever waits in
 * them, and the directory. They go all at once: who is killed meanwhile leaves them as
 * they were, or files that tg_event_logs_tidy() removes. Codes: "locked" (somebody has
 * one of them; nothing has changed), "missing", "disk". */
bool tg_event_logs_forget(const char *parent, struct tg_error *error);
/* What such processes have left beside `parent`, in the directory `above` it. Nobody may
 * have these logs open. */
void tg_event_logs_tidy(const char *above);

/* Which logs are older is told by the number at the end of their names, as in
 * "worker-3.1767225600000-1767225612345": whoever begins one makes it higher
 * than all that are there. -1: the name has none (such logs are sorted by the
 * time at which they were made). */
tg_ms tg_event_log_number(const char *name);

/* --- writing ---------------------------------------------------------------- */

enum { TG_LOG_PAYLOAD_MAX = 64 << 20 };

struct tg_log_event {
  int shard_id;
  uint64_t epoch, sequence; /* under 2^32 */
  uint64_t from;            /* of a marker: the first event that it tells of; 0: not known */
  tg_ms at;                 /* when it was received */
  enum tg_log_kind kind;
  uint8_t flags;
  const struct tg_span *parts; /* the payload, in pieces; copied. Not empty in sum */
  int part_count;
};

/* Puts the record into this turn's buffer and at the end of its shard's list.
 * May drop older records (on_gap) to stay within disk_bytes. 0: it is not in the
 * log, and the caller keeps it in memory. Codes: "disk_full"; "file_size", the
 * process may not make so large a file; "disk"; "too_large". */
tg_log_position tg_event_log_append(struct tg_event_log *log, const struct tg_log_event *event,
                                    struct tg_error *error);

/* Whether records with payloads of these lengths would find room now; begins a segment for them if that which
 * is being written has none. False: as append() would refuse them. */
bool tg_event_log_ready(struct tg_event_log *log, const uint32_t *lengths, int count, struct tg_error *error);

/* One write for everything appended since the last one. True: it is durable.
 * False: it is not; the log keeps it in memory (it can be read and acked), and
 * the next flush tries again. */
bool tg_event_log_flush(struct tg_event_log *log, struct tg_error *error);

/* With which of its records the shard begins in this log; `*sequence` 0: that is not
 * known, and some of them are acked. False: it has none. */
bool tg_event_log_first(const struct tg_event_log *log, int shard_id, uint64_t *epoch, uint64_t *sequence);

/* How many bytes there are to flush. */
size_t tg_event_log_unflushed(const struct tg_event_log *log);

/* The highest (epoch, sequence) of the shard that is in the log, delivered or
 * not. False: not one. After open: what is replayed up to here is durable. */
bool tg_event_log_last(const struct tg_event_log *log, int shard_id, uint64_t *epoch, uint64_t *sequence);

/* The same of what waits: the last of it. */
bool tg_event_log_last_waiting(const struct tg_event_log *log, int shard_id, uint64_t *epoch,
                               uint64_t *sequence);

/* --- against power cuts: queue.sync ----------------------------------------- */

/* `through`: all records up to here are on the disk itself. */
typedef void tg_log_synced(void *ctx, bool ok, tg_log_position through, const struct tg_error *error);

/* fdatasync of what has been flushed, in a thread of libuv's pool; `done` comes
 * on the loop, once a call. While one runs, the calls that come meanwhile share
 * the next. Call it once a second for "interval", after each flush for "batch".
 * Not called back any more after close. */
void tg_event_log_sync(struct tg_event_log *log, uv_loop_t *loop, tg_log_synced *done, void *ctx);

/* The same at once, for the end of the process: blocks. */
bool tg_event_log_sync_now(struct tg_event_log *log, struct tg_error *error);

/* --- reading ---------------------------------------------------------------- */

/* A record that waits, as the log remembers it. */
struct tg_log_entry {
  tg_log_position position;
  uint64_t epoch, sequence;
  uint32_t length; /* of the payload */
  tg_ms at;        /* whole seconds */
  enum tg_log_kind kind;
  uint8_t flags;
};

/* The shard's first waiting record behind `after` (0: the first of all).
 * Returns its position, 0: there is none. `entry` may be NULL. */
tg_log_position tg_event_log_next(struct tg_event_log *log, int shard_id, tg_log_position after,
                                  struct tg_log_entry *entry);

/* Whether the record still waits: false once acked or dropped. */
bool tg_event_log_waits(struct tg_event_log *log, int shard_id, tg_log_position position);

/* A record as it was appended. */
struct tg_log_record {
  tg_log_position position;
  int shard_id;
  uint64_t epoch, sequence;
  tg_ms at;
  enum tg_log_kind kind;
  uint8_t flags;
  uint8_t marks; /* tg_event_log_mark() */
  struct tg_span payload;
};

/* Reads a record that waits. `record` is valid until the next call of append,
 * flush, mark or read. Reads ahead: cheapest when lanes are close together.
 * False: it cannot be read or is damaged (code "log_damaged"), or does not wait:
 * tell the gap, then ack it. */
bool tg_event_log_read(struct tg_event_log *log, int shard_id, tg_log_position position,
                       struct tg_log_record *record, struct tg_error *error);

enum { TG_LOG_MARKS_MAX = 31 };

/* Sets the record's marks, which mean what the caller wants ("answered by the
 * interaction fallback") and outlive kill -9 as records do. Where they are
 * damaged on the disk, the record is whole, and has none. */
bool tg_event_log_mark(struct tg_event_log *log, tg_log_position position, uint8_t marks,
                       struct tg_error *error);

/* The record is delivered, or given up for good: it will not come again. The
 * cursor moves when all before it in its shard are acked or dropped, too: those
 * that are acked before others in front of them may come again after a kill.
 * Segments in which nothing waits are given back to the disk. Records that are
 * gone already are ignored. */
void tg_event_log_ack(struct tg_event_log *log, int shard_id, tg_log_position position);

/* The record is dropped, and somebody has to be told. Until a later record of the
 * shard is acked, or tg_event_log_told() says so, a restart brings it, or a gap
 * report, again. */
void tg_event_log_drop(struct tg_event_log *log, int shard_id, tg_log_position position,
                       enum tg_log_loss reason);

/* Everything the shard has lost so far has been told to whom it concerns (or
 * nobody wants to know): it will not be reported again. */
void tg_event_log_told(struct tg_event_log *log, int shard_id);

/* --- bounds and figures ------------------------------------------------------ */

/* Drops what is older than max_age, kept ones too, with gap reports. Returns
 * how many records. Call it now and then, once a minute for one. */
uint64_t tg_event_log_expire(struct tg_event_log *log, tg_ms now);

/* Drops the oldest segment's records, with gap reports, and gives its room
 * back; TG_LOG_KEEP ones stay as long as there are others. The log does so
 * itself when disk_bytes is reached (TG_LOSS_OVERFLOW), but not for a disk that
 * is full: the caller may have room elsewhere. False: there is nothing but the
 * segment that is being written. */
bool tg_event_log_drop_oldest(struct tg_event_log *log, enum tg_log_loss reason);

/* If with `size` bytes more the next segment is due, and does not fit into
 * disk_bytes, now is the time to drop something by choice: the number of the
 * segment that is filling up. Else 0. */
uint32_t tg_event_log_wants_room(const struct tg_event_log *log, uint64_t size);

/* Gives back to the disk the room of what was dropped or acked in segments in
 * which other records still wait. */
void tg_event_log_reclaim(struct tg_event_log *log);

/* When nothing waits any more, a large segment that a backlog has begun goes, and a
 * small one takes its place. Costs nothing when there is none; once a loop turn. */
void tg_event_log_shrink(struct tg_event_log *log);

struct tg_log_figures {
  uint64_t events, bytes; /* records that wait, and their payloads */
  tg_ms oldest_at;        /* whole seconds; 0: nothing waits */
  uint64_t disk_bytes;    /* what the segments take: to be compared with the bound */
  int segments;
};

void tg_event_log_figures(const struct tg_event_log *log, struct tg_log_figures *figures);

/* The same of one shard; disk_bytes and segments are 0. */
void tg_event_log_shard_figures(const struct tg_event_log *log, int shard_id, struct tg_log_figures *figures);

/* What the segments take, alone. */
uint64_t tg_event_log_disk(const struct tg_event_log *log);

/* Takes over bounds that have changed; they hold from the next segment on. */
void tg_event_log_set_bounds(struct tg_event_log *log, uint64_t disk_bytes, tg_ms max_age);

/* The shards the log knows, for walks: index from 0; -1: no more. */
int tg_event_log_shard_at(const struct tg_event_log *log, int index);
