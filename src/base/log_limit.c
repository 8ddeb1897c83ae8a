#include "base/log_limit.h"

#include "base/log.h"
#include "base/utf8.h"

#include <string.h>

/* A place that is free or, when none is, that of the oldest kind that holds
 * nothing back. NULL: all are busy. */
static struct tg_line_kind *find(struct tg_log_limit *limit, const void *key)
{
  struct tg_line_kind *place = NULL;
  for (int i = 0; i < TG_LOG_KINDS; i++) {
    struct tg_line_kind *kind = &limit->kinds[i];
    if (kind->key == key)
      return kind;
    if (!kind->key || (kind->held == 0 && (!place || (place->key && kind->since < place->since))))
      place = kind;
  }
  return place;
}

/* Never ends in the middle of a UTF-8 sequence. */
static void keep_text(struct tg_line_kind *kind, const char *text)
{
  size_t length = tg_utf8_cut(text, strlen(text), sizeof kind->text - 1);
  memcpy(kind->text, text, length);
  kind->text[length] = '\0';
}

static unsigned burst(const struct tg_log_limit *limit, int level)
{
  unsigned processes = limit->processes ? limit->processes : 1;
  unsigned all = level <= TG_INFO ? TG_LOG_BURST_INFO : TG_LOG_BURST;
  unsigned least = level <= TG_INFO ? TG_LOG_BURST_INFO_LEAST : TG_LOG_BURST_LEAST;
  return all / processes > least ? all / processes : least;
}

bool tg_log_limit_pass(struct tg_log_limit *limit, const void *key, int level, int shard_id, const char *text,
                       tg_ms now)
{
  struct tg_line_kind *kind = find(limit, key);
  if (!kind)
    return true;
  if (kind->key != key || now - kind->since >= TG_LOG_WHILE)
    *kind = (struct tg_line_kind){.key = key, .since = now};
  if (kind->passed < burst(limit, level)) {
    kind->passed++;
    return true;
  }
  kind->held++;
  kind->level = level;
  kind->shard_id = shard_id;
  keep_text(kind, text);
  return false;
}

const struct tg_line_kind *tg_log_limit_over(struct tg_log_limit *limit, tg_ms now)
{
  static struct tg_line_kind over;
  for (int i = 0; i < TG_LOG_KINDS; i++) {
    struct tg_line_kind *kind = &limit->kinds[i];
    if (!kind->key || kind->held == 0 || now - kind->since < TG_LOG_WHILE)
      continue;
    over = *kind;
    *kind = (struct tg_line_kind){0};
    return &over;
  }
  return NULL;
}
