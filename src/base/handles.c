#include "base/handles.h"

void tg_handles_init(struct tg_handles *handles, uv_loop_t *loop, void (*gone)(void *ctx), void *ctx)
{
  *handles = (struct tg_handles){.loop = loop, .gone = gone, .ctx = ctx};
}

void tg_handles_timer(struct tg_handles *handles, uv_timer_t *timer, void *owner)
{
  uv_timer_init(handles->loop, timer);
  timer->data = owner;
  handles->open++;
}

void tg_handles_add(struct tg_handles *handles)
{
  handles->open++;
}

void tg_handles_closed(struct tg_handles *handles)
{
  if (--handles->open == 0 && handles->ended)
    handles->gone(handles->ctx);
}

static void on_closed(uv_handle_t *handle)
{
  tg_handles_closed(handle->data);
}

void tg_handles_close(struct tg_handles *handles, void *handle)
{
  uv_handle_t *any = handle;
  any->data = handles;
  uv_close(any, on_closed);
}

void tg_handles_end(struct tg_handles *handles)
{
  handles->ended = true;
  if (handles->open == 0)
    handles->gone(handles->ctx);
}
