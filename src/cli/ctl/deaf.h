#pragma once

/* What GET /status says of sessions that are deaf, in a line. */

#include "base/buf.h"

#include <jansson.h>
#include <stdbool.h>

/* Appends nothing where there is, and was, none. True: something is amiss now. */
bool tg_ctl_deaf_line(const json_t *deaf, struct tg_buf *line);
