#pragma once

/* What payload.h's presence functions share with the check of op 3. */

#include <jansson.h>
#include <stdbool.h>

/* "online", "idle", "dnd", "invisible" or "offline". */
bool tg_presence_is_status(const json_t *value);
