#include "cli/watch.h"

/* Looking is a stat(2) a file. Notifications would have to follow editors that
 * replace files, and directories that do not exist yet. */
enum { INTERVAL = 100, REST = 200 };

static void look(uv_timer_t *timer)
{
  struct tg_file_watch *watch = timer->data;
  uint64_t sum;
  const char *path = tg_script_changed_file(watch->script, &sum);
  if (sum != watch->seen) {
    watch->seen = sum;
    watch->seen_at = tg_now();
    return;
  }
  if (!path || sum == watch->told || tg_now() - watch->seen_at < REST)
    return;
  watch->told = sum;
  watch->on_change(watch->ctx, path);
}

void tg_file_watch_start(struct tg_file_watch *watch, uv_loop_t *loop, const struct tg_script *script,
                    void (*on_change)(void *ctx, const char *path), void *ctx)
{
  *watch = (struct tg_file_watch){.script = script, .on_change = on_change, .ctx = ctx};
  uv_timer_init(loop, &watch->timer);
  watch->timer.data = watch;
  uv_timer_start(&watch->timer, look, INTERVAL, INTERVAL);
}
