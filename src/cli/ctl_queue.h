#pragma once

/* `ctl queue`: what waits for each sink, and what sinks have left that are gone. */

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

/* The path for a sink's name, which the caller frees. NULL: no sink can be called so. */
char *tg_ctl_forget_path(const char *name, struct tg_error *error);

/* What GET /queue, or POST /sinks/{name}/forget, has answered. */
void tg_ctl_show_queue(const json_t *answer);
/* Of GET /status: sinks beside the bot, and what others have left. Nothing if there are none. */
void tg_ctl_show_sinks(const json_t *status);

/* No gateway is there to be asked to forget: how it is done without one. */
void tg_ctl_forget_by_hand(const char *name);
