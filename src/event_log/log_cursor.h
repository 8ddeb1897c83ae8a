#pragma once

/* The cursor file: how far each shard of a log is. Internal to the log.
 *
 * Memory-mapped, so that an ack costs no system call and still outlives kill
 * -9. Each shard has a place of 128 bytes with two copies, written in turn,
 * each with its generation and CRC: whenever the process dies, or the power
 * fails between two sectors, one of them is whole.
 *
 *     page 0: "tg-curs1", version, CRC; the boot during which it was last open
 *     then the places */

#include "event_log/event_log.h"

struct tg_log_point {
  tg_log_position position;
  uint64_t epoch, sequence;
};

struct tg_log_state {
  int shard_id;
  struct tg_log_point acked;   /* everything up to here is done with */
  struct tg_log_point written; /* the last record */
  uint32_t lost;               /* dropped behind `acked`, and perhaps not yet told; stops at 2^24 - 1 */
  enum tg_log_loss reason;     /* for the last of these */
};

enum { TG_LOG_LOST_MAX = (1 << 24) - 1 };

struct tg_log_cursor {
  char *memory;
  size_t size;
  int fd;
  uint32_t used; /* places taken */
  uint32_t capacity;
  uint32_t *generations;
  bool rebooted; /* the machine was started anew since it was last open */
  char path[1024];
};

/* Opens or makes the file `name` in the directory. One that is damaged as a
 * whole is replaced, with a line in the log. */
bool tg_log_cursor_open(struct tg_log_cursor *cursor, int directory_fd, const char *directory,
                        const char *name, struct tg_error *error);
void tg_log_cursor_close(struct tg_log_cursor *cursor);

/* A place for a shard. False: no room on the disk. */
bool tg_log_cursor_add(struct tg_log_cursor *cursor, uint32_t *place, struct tg_error *error);

/* False: the place was never written, or both copies are damaged. */
bool tg_log_cursor_get(const struct tg_log_cursor *cursor, uint32_t place, struct tg_log_state *state);
void tg_log_cursor_put(struct tg_log_cursor *cursor, uint32_t place, const struct tg_log_state *state);

/* Reads another cursor file of the directory (somebody may be writing it) and
 * calls `each` for every shard. Sets `*rebooted` if the machine was started
 * anew since. False: it is no cursor. */
bool tg_log_cursor_scan(int directory_fd, const char *name,
                        void (*each)(void *ctx, const struct tg_log_state *), void *ctx, bool *rebooted);
