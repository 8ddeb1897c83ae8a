#pragma once

/* `tidegate run --watch`: notices that a Lua file of the script has changed,
 * in whatever process it was loaded, and says so once it has come to rest. */

#include "base/clock.h"
#include "script/script.h"

#include <uv.h>

struct tg_file_watch {
  uv_timer_t timer;
  const struct tg_script *script;
  void (*on_change)(void *ctx, const char *path); /* of the first such file */
  void *ctx;
  uint64_t seen, told; /* sums of tg_script_changed_file() */
  tg_ms seen_at;
};

/* `watch` and the script have to outlive the loop's run. */
void tg_file_watch_start(struct tg_file_watch *watch, uv_loop_t *loop, const struct tg_script *script,
                    void (*on_change)(void *ctx, const char *path), void *ctx);
