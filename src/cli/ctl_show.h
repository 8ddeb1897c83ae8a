#pragma once

/* Answers of the control API as people read them. All of it goes to standard
 * output; figures that are missing are shown as "-". */

#include <jansson.h>

void tg_ctl_show_status(const json_t *status);
void tg_ctl_show_shards(const json_t *shards);
void tg_ctl_show_budget(const json_t *identify);
void tg_ctl_show_reload(const json_t *answer);

/* One line over the one before, while `status` says that the gateway starts;
 * NULL wipes it. */
void tg_ctl_show_progress(const json_t *status);
