#include "shared/recent.h"

#include "base/log.h"
#include "base/utf8.h"
#include "shared/stats.h"

#include <string.h>

static void keep(enum tg_log_level level, int shard_id, const char *text)
{
  struct tg_recent *recent = &tg_stats()->recent;
  uint64_t count = atomic_load_explicit(&recent->count, memory_order_relaxed);
  struct tg_recent_line *line = &recent->list[count % TG_RECENT_LINES];
  size_t length = tg_utf8_cut(text, strlen(text), TG_RECENT_TEXT - 1);
  uint32_t guard =
      atomic_load_explicit(&line->guard, memory_order_relaxed) | 1; /* odd from a process that died */
  atomic_store_explicit(&line->guard, guard, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
  line->level = level;
  line->shard_id = shard_id;
  line->at = tg_wall_clock();
  memcpy(line->text, text, length);
  line->text[length] = '\0';
  atomic_store_explicit(&line->guard, guard + 1, memory_order_release);
  atomic_store_explicit(&recent->count, count + 1, memory_order_release);
}

void tg_recent_begin(void)
{
  tg_log_set_watcher(keep);
}

bool tg_recent_read(const struct tg_recent *recent, int place, struct tg_recent_line *line)
{
  const struct tg_recent_line *from = &recent->list[place];
  uint32_t guard = atomic_load_explicit(&from->guard, memory_order_acquire);
  if (guard == 0 || guard & 1)
    return false;
  line->level = from->level == TG_ERROR ? TG_ERROR : TG_WARN;
  line->shard_id = from->shard_id;
  line->at = from->at;
  memcpy(line->text, from->text, sizeof line->text);
  line->text[sizeof line->text - 1] = '\0';
  line->text[tg_utf8_valid(line->text, strlen(line->text))] = '\0';
  atomic_thread_fence(memory_order_acquire);
  return atomic_load_explicit(&from->guard, memory_order_relaxed) == guard;
}
