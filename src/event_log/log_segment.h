#pragma once

/* The segments of a log: files that are made, written to their end, read, and
 * removed. Internal to the log. */

#include "event_log/log_format.h"

struct tg_log_segment {
  uint32_t number;
  int fd;          /* -1: not open now */
  uint32_t size;   /* of the file: room for records */
  uint32_t end;    /* behind the last record that is written */
  uint64_t disk;   /* what it takes on the disk */
  uint32_t live;   /* records that wait */
  tg_ms created;   /* 0: not known */
  bool sealed;     /* nothing is written to it any more */
  bool thinned;    /* what was dropped in it has been given back */
  bool emptied;    /* all of it has: it is there to say that its records were done */
  bool unreadable; /* in part, or as a whole */
  bool unsynced;   /* was written since the last fdatasync */
};

struct tg_log_segments {
  int directory_fd;
  const char *directory;      /* for messages */
  struct tg_log_segment **at; /* by number */
  size_t count, capacity;
  uint64_t disk; /* of all */
  int open_files;
};

/* Reads which segments there are. */
bool tg_segments_list(struct tg_log_segments *segments, struct tg_error *error);

/* Closes all; the files stay. */
void tg_segments_free(struct tg_log_segments *segments);

/* NULL: there is none. */
struct tg_log_segment *tg_segments_find(const struct tg_log_segments *segments, uint32_t number);

/* Makes a segment, empty and with all its room taken. NULL: not possible
 * (code "disk_full", "file_size" or "disk"), and no file is left behind. */
struct tg_log_segment *tg_segments_create(struct tg_log_segments *segments, uint32_t number, uint32_t size,
                                          struct tg_error *error);

/* Frees the segment; the file stays. */
void tg_segments_forget(struct tg_log_segments *segments, struct tg_log_segment *segment);

/* Unlinks the file and frees the segment. */
void tg_segments_remove(struct tg_log_segments *segments, struct tg_log_segment *segment);

/* The open file. It is the segments': valid until the next call of this. -1: `error` says why. */
int tg_segment_fd(struct tg_log_segments *segments, struct tg_log_segment *segment, struct tg_error *error);

bool tg_segment_write(struct tg_log_segments *segments, struct tg_log_segment *segment, uint32_t offset,
                      const char *bytes, size_t length, struct tg_error *error);

/* Reads up to `length` bytes: fewer at the end of the file. -1: failed. */
ssize_t tg_segment_read(struct tg_log_segments *segments, struct tg_log_segment *segment, uint32_t offset,
                        char *bytes, size_t length, struct tg_error *error);

/* Nothing will be written any more: gives back the room behind `end`. */
void tg_segment_seal(struct tg_log_segments *segments, struct tg_log_segment *segment);

/* Makes one record of nothing out of [from, to), which begins and ends between
 * records, and gives its room back to the disk. */
bool tg_segment_punch(struct tg_log_segments *segments, struct tg_log_segment *segment, uint32_t from,
                      uint32_t to, struct tg_error *error);

/* Looks again how much the segment takes on the disk. */
void tg_segment_measure(struct tg_log_segments *segments, struct tg_log_segment *segment);
