#pragma once

/* What stands in answers of the control API, as people read it; "-" where it is missing. The other end
 * decides what comes: nothing is taken for granted. */

#include "base/buf.h"
#include "cli/table.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* False: there is no such number. */
bool tg_figure(const json_t *object, const char *key, int64_t *number);
/* 0 if there is none. */
int64_t tg_figure_number(const json_t *object, const char *key);

/* Each result is valid for seven more calls. */
const char *tg_figure_count(const json_t *object, const char *key);    /* "1,234" */
const char *tg_figure_bytes(const json_t *object, const char *key);    /* "3.2 MiB" */
const char *tg_figure_duration(const json_t *object, const char *key); /* "2 h 3 min" */

/* Of the state of a shard, worker, handler or gateway: TG_UNEASY if it is not a known one. */
enum tg_colour tg_figure_colour(const char *state);

/* As it came: not safe for a terminal. */
const char *tg_figure_text(const json_t *object, const char *key);

/* Text of somebody else, made safe, to standard output. */
void tg_put_safe(const char *text);
