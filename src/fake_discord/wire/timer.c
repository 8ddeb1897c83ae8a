#include "fake_discord/wire/timer.h"

#include "base/buf.h"
#include "fake_discord/fake.h"

#include <stdlib.h>

struct tg_fake_timer {
  uv_timer_t handle;
  struct tg_fake_timer **slot;
  void (*run)(void *ctx);
  void *ctx;
};

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void on_time(uv_timer_t *handle)
{
  struct tg_fake_timer *timer = handle->data;
  *timer->slot = NULL;
  uv_close((uv_handle_t *)handle, on_closed);
  timer->run(timer->ctx);
}

void tg_fake_after(struct tg_fake *fake, struct tg_fake_timer **slot, tg_ms delay, void (*run)(void *ctx),
                   void *ctx)
{
  tg_fake_cancel(slot);
  struct tg_fake_timer *timer = tg_calloc(1, sizeof *timer);
  timer->slot = slot;
  timer->run = run;
  timer->ctx = ctx;
  timer->handle.data = timer;
  *slot = timer;
  uv_timer_init(fake->loop, &timer->handle);
  /* A loop turn that took long would otherwise shorten the wait. */
  uv_update_time(fake->loop);
  uv_timer_start(&timer->handle, on_time, delay > 0 ? (uint64_t)delay : 0, 0);
}

void tg_fake_cancel(struct tg_fake_timer **slot)
{
  if (!*slot)
    return;
  uv_close((uv_handle_t *)&(*slot)->handle, on_closed);
  *slot = NULL;
}

struct grave {
  uv_timer_t handle;
  void *memory;
};

static void on_grave_closed(uv_handle_t *handle)
{
  struct grave *grave = handle->data;
  free(grave->memory);
  free(grave);
}

/* libuv calls close callbacks at the end of a loop turn. */
void tg_fake_bury(struct tg_fake *fake, void *memory)
{
  struct grave *grave = tg_calloc(1, sizeof *grave);
  grave->memory = memory;
  grave->handle.data = grave;
  uv_timer_init(fake->loop, &grave->handle);
  uv_close((uv_handle_t *)&grave->handle, on_grave_closed);
}
