#pragma once

/* The answer to who asks for a turn to identify over HTTP: the status, what Retry-After
 * should say (ms; -1: nothing) and a body, borrowed. */

#include "base/clock.h"

#include <jansson.h>

typedef void tg_identify_answer(void *ctx, int status, tg_ms retry_after, json_t *body);
