#pragma once

/* Small JSON files of the state directory, replaced whole: a reader sees the
 * old text or the new one, whenever the process dies. */

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* NULL: no such file (error->code "missing"), or it cannot be read or is no
 * JSON object ("damaged"). The caller decrefs. */
json_t *tg_state_file_read(const char *state_dir, const char *name, struct tg_error *error);

/* Readable by the owner alone. Borrows `content`. */
bool tg_state_file_write(const char *state_dir, const char *name, const json_t *content,
                         struct tg_error *error);
