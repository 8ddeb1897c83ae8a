#pragma once

/* Requests that cost more than a glance, one a turn of the loop, in the order in
 * which they came. A client has one of them here at a time: whoever asks for all
 * metrics again and again shares the loop with everybody else. Loop thread only. */

#include "net/request.h"

#include <uv.h>

struct tg_turns;

/* `serve(ctx, request)` has to answer. */
struct tg_turns *tg_turns_new(uv_loop_t *loop, void (*serve)(void *ctx, struct tg_request *request),
                              void *ctx);

/* The request gets its turn, unless its client goes before. */
void tg_turns_add(struct tg_turns *turns, struct tg_request *request);

/* After the server: requests that wait have no client any more. The memory goes with the loop's next turn. */
void tg_turns_free(struct tg_turns *turns);
