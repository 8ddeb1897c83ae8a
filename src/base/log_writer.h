#pragma once

/* The way of the program's log to standard error, on which nobody waits: lines
 * go into a buffer, and a thread of its own writes them. Standard error may be
 * anything: a pipe that nobody reads, a terminal that somebody has stopped, the
 * journal's socket, a file on a full disk. The descriptor is shared with other
 * programs, so how it blocks is not ours to change; a thread that blocks does
 * for all of them.
 *
 * One write a line: lines of several processes do not mix. What the buffer has
 * no room for is dropped, and counted; so is what cannot be written.
 *
 * Programs that answer one question and end need none of this: without
 * tg_log_writer_start() lines are written where they are made.
 *
 * tg_log_writer_put() may be called from any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TG_LOG_WRITER_ROOM = 512 << 10 /* bytes that wait, besides as many that are being written */ };

/* From here on a thread writes. After the last fork() that goes on without
 * exec. False: there can be no thread, and nothing has changed. Also sees to it
 * that abort() waits for what is not written yet, as tg_log_writer_drain(). */
bool tg_log_writer_start(int fd);

/* Takes `before` and `length` bytes of `line`, a line with its newline, which
 * stands for `lines` of the log when it is lost (0: is no loss). False: it was
 * dropped, for want of room. */
bool tg_log_writer_put(unsigned lines, const char *before, const char *line, size_t length);

/* How many of what was put is not written yet. */
uint64_t tg_log_writer_behind(void);

/* How many lines were lost since the last call, once there is room again: what
 * is put next stands in their place. `*code`: errno of the last one that could
 * not be written; 0: they were not read in time. */
uint64_t tg_log_writer_lost(int *code);

/* Waits until all is written, as long as somebody reads: half a second without
 * a line written is enough, and two in all. May be called in a signal handler. */
void tg_log_writer_drain(void);
