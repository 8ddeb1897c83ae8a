#pragma once

/* The lock of the state directory: one gateway at a time. */

#include "base/error.h"

/* Makes the directory (0700, with its parents) if need be, and locks it. One that
 * belongs to somebody else (not root), or that others can write, is refused to root,
 * and warned of otherwise.
 * Returns the descriptor that holds the lock until it is closed or the process
 * ends; -1: another gateway has it (error "locked" names its pid), or the
 * directory cannot be used. */
int tg_lock_state_dir(const char *state_dir, struct tg_error *error);

/* The exit code (enum tg_exit) of a gateway whose state directory cannot be used:
 * that of a mistake in the configuration, which a restart does not mend; but a
 * disk that is full (error "disk_full") may have room again. */
int tg_state_dir_exit(const struct tg_error *error);
