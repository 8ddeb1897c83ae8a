#pragma once

/* The lock of the state directory: one gateway at a time. */

#include "base/error.h"

/* Makes the directory (0700, with its parents) if need be, and locks it.
 * Returns the descriptor that holds the lock until it is closed or the process
 * ends; -1: another gateway has it (error "locked" names its pid), or the
 * directory cannot be used. */
int tg_lock_state_dir(const char *state_dir, struct tg_error *error);
