#pragma once

/* Sinks in what other commands show. */

#include <jansson.h>

/* Of GET /status: sinks beside the bot, and what others have left. Nothing if there are none. */
void tg_ctl_show_sinks(const json_t *status);
