#pragma once

/* Several calls at once with one reply: true, or the first error.
 *
 *     struct tg_gathering *gathering = tg_gather(reply, ctx);
 *     for each part:
 *       start(..., tg_gather_part, tg_gather_add(gathering));
 *     tg_gather_part(gathering, NULL, NULL); */

#include "manager/reply.h"

struct tg_gathering;

struct tg_gathering *tg_gather(tg_manager_reply *reply, void *ctx);
struct tg_gathering *tg_gather_add(struct tg_gathering *gathering);
/* The reply to a part; and, called by whoever gathers, the end of starting them. */
void tg_gather_part(void *ctx, json_t *value, const struct tg_error *error);
