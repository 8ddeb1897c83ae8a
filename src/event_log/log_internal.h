#pragma once

/* What the files of the log share. Nothing else includes this.
 *
 *     event_log.c     open, append, flush, close, remove
 *     log_shards.c    what waits of each shard, and is acked, dropped, noted
 *     log_recovery.c  what was there before
 *     log_room.c      new segments, bounds, what is dropped
 *     log_read.c      records out of files and buffer
 *     log_sync.c      fdatasync
 *     log_directory.c lock, list and removal of directories
 *     log_forget.c    directories of several logs
 *
 * event_log.c is above all others, and these are above log_shards.c. */

#include "base/buf.h"
#include "event_log/log_cursor.h"
#include "event_log/log_index.h"
#include "event_log/log_segment.h"

enum {
  TG_LOG_SMALL_SEGMENT = 4 << 20,
  TG_LOG_LARGE_SEGMENT = 64 << 20,
  TG_LOG_SEGMENT_MIN = 64 << 10,
  TG_LOG_BUFFER_KEPT = 1 << 20,
  TG_LOG_WINDOWS = 16,
  TG_LOG_RETRY = 1000, /* after a failure to make a segment that is not needed yet */
  TG_LOG_DROPS_LOGGED = 60000,
};
#define TG_NO_PLACE UINT32_MAX

struct tg_log_shard {
  int id;
  uint32_t place; /* in the cursor, or TG_NO_PLACE */
  struct tg_log_index index;
  uint64_t events, bytes;      /* that wait */
  struct tg_log_point passed;  /* the last one that left the index at its front ... */
  struct tg_log_point settled; /* ... and the last of these that was acked, not dropped */
  tg_log_position dropped;     /* the highest one dropped */
  struct tg_log_point last;    /* the highest that is in the log */
  tg_log_position chain;       /* `previous` of the next record */
  struct tg_log_state state;   /* as in the cursor */
  bool known;                  /* the cursor knew it at open */
  bool touched;                /* appended to since the last flush */
  struct tg_log_shard *next_touched;
};

/* A piece of a segment in memory. */
struct tg_log_window {
  char *bytes;
  uint32_t capacity, length;
  tg_log_position position;
  uint64_t useful; /* bytes of records that were read out of it */
  uint64_t used;   /* for "longest not used" */
};

struct tg_log_sync; /* the running job */

struct tg_event_log {
  char *directory, *reader;
  enum tg_log_mode mode;
  bool shared; /* others drain it, too: no file is touched but the own cursor */
  int directory_fd, lock_fd;
  uint64_t disk_bytes;
  tg_ms max_age;
  uint32_t small_segment, large_segment;
  tg_log_on_gap *on_gap;
  bool (*wanted)(void *ctx, int shard_id);
  void *ctx;

  struct tg_log_cursor cursor;
  struct tg_log_segments segments;
  int emptied;                     /* of them */
  struct tg_log_segment *current;  /* is written to; NULL with TG_LOG_DRAIN */
  struct tg_log_segment *prepared; /* is next, or NULL */
  uint32_t highest;                /* number that has been in use */
  struct tg_buf pending;           /* goes to current->end with the next flush */
  struct tg_log_shard *touched;
  tg_ms retry_at;        /* tg_now(): not before this one is made ahead of its time */
  uint64_t dropped;      /* not yet in the program's log */
  tg_ms drops_logged_at; /* tg_now(): again from then on */

  struct tg_log_shard **shards; /* in order of arrival */
  int shard_count, shard_capacity;
  int *by_id; /* hash table of places in `shards`, -1: free */
  uint32_t by_id_size;

  uint64_t events, bytes; /* that wait */
  struct tg_log_window windows[TG_LOG_WINDOWS];
  struct tg_log_window single; /* a record that was read alone */
  uint64_t uses;
  int direct_reads; /* so many more records are read alone */
  struct tg_log_sync *sync, *next_sync;
};

/* log_shards.c */
struct tg_log_shard *tg_log_find_shard(const struct tg_event_log *log, int shard_id);
struct tg_log_shard *tg_log_shard(struct tg_event_log *log, int shard_id);
/* Moves shard->last on, if `point` is of a newer session or later in the same one. */
void tg_log_note_last(struct tg_log_shard *shard, const struct tg_log_point *point);
/* Puts a record behind the shard's others, and counts it. */
void tg_log_enter(struct tg_event_log *log, struct tg_log_shard *shard, struct tg_log_segment *segment,
                  const struct tg_log_record *record);
/* Takes it off the counts, but for segment->live; it leaves the index when all before it have. */
void tg_log_finish(struct tg_event_log *log, struct tg_log_shard *shard, uint64_t ordinal, bool dropped);
/* Notes in the shard's state that `count` records more were dropped. */
void tg_log_count_lost(struct tg_event_log *log, struct tg_log_shard *shard, uint64_t count,
                       enum tg_log_loss reason);
/* Writes shard->state to the cursor. A full disk costs repeats, no more. */
void tg_log_put_state(struct tg_event_log *log, struct tg_log_shard *shard);
/* Removes the segment if nothing waits in it; while others in front of it do whose shard it has records of,
 * it is emptied instead. The cursor is written before. */
void tg_log_release(struct tg_event_log *log, struct tg_log_segment *segment);
/* Writes what is pending to `current`, and how far each shard is to the cursor. */
bool tg_log_write_pending(struct tg_event_log *log, struct tg_error *error);

/* log_recovery.c */
void tg_log_recover(struct tg_event_log *log);

/* log_room.c: makes `current` a segment that has room for `size` bytes. */
bool tg_log_next_segment(struct tg_event_log *log, uint64_t size, struct tg_error *error);
/* Takes the room for the next segment while there is time. */
void tg_log_prepare(struct tg_event_log *log);

/* log_read.c */
void tg_log_windows_free(struct tg_event_log *log);

/* log_sync.c */
void tg_log_sync_detach(struct tg_event_log *log);

/* log_directory.c; -1: not possible. `make`: with its parents. */
int tg_log_directory_open(const char *directory, bool make, struct tg_error *error);
int tg_log_directory_lock(int directory_fd, const char *directory, bool shared, struct tg_error *error);
/* A lock that is shared is held alone from now on. False: "locked", and it may be lost. */
bool tg_log_directory_seize(int directory_fd, int lock_fd, const char *directory, struct tg_error *error);
/* With all files of a log; the caller has the lock. */
bool tg_log_directory_remove(const char *directory, int directory_fd);
/* Calls `each` for the cursors of those who drained this log, by name. */
void tg_log_each_reader_cursor(int directory_fd, void (*each)(void *ctx, const char *name), void *ctx);
