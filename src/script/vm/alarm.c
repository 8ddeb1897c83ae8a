#include "script/vm/alarm.h"

#include "script/vm/state.h"

#include <stdlib.h>

struct tg_alarm {
  struct tg_clock *clock; /* NULL: the loop's */
  tg_ring *ring;
  void *ctx;
  uv_timer_t timer;
  struct tg_alarm *next;
  tg_ms due;
};

struct tg_alarm *tg_alarm_new(struct tg_script *script, tg_ring *ring, void *ctx)
{
  struct tg_alarm *alarm = tg_calloc(1, sizeof *alarm);
  alarm->clock = script->clock;
  alarm->ring = ring;
  alarm->ctx = ctx;
  if (!alarm->clock) {
    uv_timer_init(script->loop, &alarm->timer);
    alarm->timer.data = alarm;
  }
  return alarm;
}

static void on_timer(uv_timer_t *timer)
{
  struct tg_alarm *alarm = timer->data;
  alarm->ring(alarm->ctx);
}

static void take_out(struct tg_alarm *alarm)
{
  struct tg_alarm **link = &alarm->clock->first;
  while (*link && *link != alarm)
    link = &(*link)->next;
  if (*link)
    *link = alarm->next;
}

/* Behind those that ring at the same time. */
static void put_in(struct tg_alarm *alarm)
{
  struct tg_alarm **link = &alarm->clock->first;
  while (*link && (*link)->due <= alarm->due)
    link = &(*link)->next;
  alarm->next = *link;
  *link = alarm;
}

void tg_alarm_set(struct tg_alarm *alarm, tg_ms ms)
{
  if (!alarm->clock) {
    uv_timer_start(&alarm->timer, on_timer, (uint64_t)ms, 0);
    return;
  }
  take_out(alarm);
  alarm->due = alarm->clock->now + ms;
  put_in(alarm);
}

static void on_closed(uv_handle_t *handle)
{
  free(handle->data);
}

void tg_alarm_free(struct tg_alarm *alarm)
{
  if (!alarm)
    return;
  if (alarm->clock) {
    take_out(alarm);
    free(alarm);
  } else {
    uv_close((uv_handle_t *)&alarm->timer, on_closed);
  }
}

tg_ms tg_script_now(const struct tg_script *script)
{
  return script->clock ? script->clock->now : tg_now();
}

bool tg_clock_step(struct tg_clock *clock, tg_ms until)
{
  struct tg_alarm *alarm = clock->first;
  if (!alarm || alarm->due > until) {
    clock->now = until;
    return false;
  }
  clock->first = alarm->next;
  clock->now = alarm->due;
  alarm->ring(alarm->ctx);
  return true;
}
