#pragma once

/* Numbers and foreign text as people read them on a terminal. No I/O. */

#include "base/buf.h"
#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Enough for any result of the functions below. */
enum { TG_HUMAN_SIZE = 48 };

/* "850 ms", "42 s", "2 min 5 s", "3 h 12 min", "4 d 1 h". */
void tg_human_duration(tg_ms duration, char *text, size_t size);

/* The same in whole seconds, rounded up: of times that are an estimate. */
void tg_human_seconds(tg_ms duration, char *text, size_t size);

/* "2026-03-04 05:06:07 UTC", of a moment in tg_wall_clock()'s time. */
void tg_human_moment(tg_ms wall, char *text, size_t size);

/* "512 bytes", "3.2 MiB". */
void tg_human_bytes(uint64_t bytes, char *text, size_t size);

/* "1,234,567". */
void tg_human_count(int64_t count, char *text, size_t size);

/* Appends UTF-8 text of somebody else. What could move the cursor, change
 * colours or turn the direction of writing is shown as an escape ("\u001b");
 * newlines and tabs pass with `lines` alone. */
void tg_human_safe(struct tg_buf *out, const char *text, bool lines);
