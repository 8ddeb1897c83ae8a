#pragma once

/* Opening what lies in the state directory. Whoever can write there could have put
 * something else in a file's place: a link to a file of others, a pipe that lets the
 * process wait for ever, a device. So no link is followed, nothing is waited for,
 * and nothing is taken for a file that is not one. The state directory itself may
 * be named by a link.
 *
 * All return a descriptor that is the caller's, closed on exec, or -1 with errno;
 * tg_state_problem() says what it means. New files and directories are for their
 * owner alone. Blocks as the disk does. */

#include <stdbool.h>

/* Opens the regular file `path`, below `directory` (AT_FDCWD: from where the process
 * stands) as openat() does. `flags`: O_RDONLY, O_WRONLY or O_RDWR, O_CREAT, O_APPEND;
 * what is to be emptied is so by ftruncate(), once it is known to be a file. */
int tg_state_open(int directory, const char *path, int flags);

/* A new and empty file, to be read and written, in the place of what had its name, if
 * that was no directory. */
int tg_state_make(int directory, const char *path);

/* Opens a directory, to be read. */
int tg_state_directory(int directory, const char *path);

/* Whether there was something else than a file, or a directory, in its place. */
bool tg_state_is_other(int code);

/* What the errno of a failure above means. */
const char *tg_state_problem(int code);
