#pragma once

/* Those who look at events as they pass (delivery/tap.h), and what the workers show them. Loop thread only.
 */

#include "manager/workers/workers.h"

#include <jansson.h>

struct tg_taps;

/* A line of JSON; NULL: the gateway ends, and so does the tap: it is not to be removed. */
typedef void tg_tap_line(void *ctx, const char *line);

struct tg_taps *tg_taps_new(struct tg_workers *workers);
/* Ends all. */
void tg_taps_free(struct tg_taps *taps);

/* `filter`: an object of delivery/tap.h without its id; stolen. Returns the number of the tap; 0: there are
 * as many as there may be. */
int64_t tg_taps_add(struct tg_taps *taps, json_t *filter, tg_tap_line *line, void *ctx);
void tg_taps_remove(struct tg_taps *taps, int64_t id);

/* A worker is up; has shown something. */
void tg_taps_tell(struct tg_taps *taps, int worker);
void tg_taps_heard(struct tg_taps *taps, int64_t id, const char *line);
