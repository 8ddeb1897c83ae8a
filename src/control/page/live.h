#pragma once

/* GET /live: the figures of the status page as server-sent events. One snapshot a second is made for all who
 * look, and none while nobody does. */

#include "net/request.h"

#include <uv.h>

struct tg_manager;
struct tg_live;

enum { TG_LIVE_VIEWERS = 64, TG_LIVE_EVERY = 1000 /* ms */ };

struct tg_live *tg_live_new(uv_loop_t *loop, struct tg_manager *manager);
/* Whoever looks is sent away, and the manager is not looked at any more. */
void tg_live_close(struct tg_live *live);
/* After tg_live_close(). */
void tg_live_free(struct tg_live *live);

int tg_live_viewers(const struct tg_live *live);
/* How many snapshots there have been. */
uint64_t tg_live_snapshots(const struct tg_live *live);

/* Answers the request: it becomes a viewer, or is told that there are too many. */
void tg_live_join(struct tg_live *live, struct tg_request *request);
