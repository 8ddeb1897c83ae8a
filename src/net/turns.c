#include "net/turns.h"

#include <stdlib.h>

struct tg_turns {
  uv_idle_t idle; /* runs while something waits, so that the loop does not sleep */
  void (*serve)(void *ctx, struct tg_request *request);
  void *ctx;
  struct tg_request *first, **last;
};

static struct tg_request *take(struct tg_turns *turns)
{
  struct tg_request *request = turns->first;
  turns->first = request->next;
  if (!turns->first)
    turns->last = &turns->first;
  return request;
}

static void on_turn(uv_idle_t *idle)
{
  struct tg_turns *turns = idle->data;
  struct tg_request *request = take(turns);
  if (!turns->first)
    uv_idle_stop(idle);
  if (request->connection)
    turns->serve(turns->ctx, request);
  else
    tg_request_free(request);
}

struct tg_turns *tg_turns_new(uv_loop_t *loop, void (*serve)(void *ctx, struct tg_request *request),
                              void *ctx)
{
  struct tg_turns *turns = tg_calloc(1, sizeof *turns);
  turns->serve = serve;
  turns->ctx = ctx;
  turns->last = &turns->first;
  uv_idle_init(loop, &turns->idle);
  turns->idle.data = turns;
  return turns;
}

void tg_turns_add(struct tg_turns *turns, struct tg_request *request)
{
  request->next = NULL;
  *turns->last = request;
  turns->last = &request->next;
  uv_idle_start(&turns->idle, on_turn);
}

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

void tg_turns_free(struct tg_turns *turns)
{
  while (turns->first)
    tg_request_free(take(turns));
  uv_close((uv_handle_t *)&turns->idle, on_closed);
}
