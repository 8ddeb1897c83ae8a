#include "delivery/lanes/lanes.h"

#include <stdio.h>
#include <string.h>

size_t tg_gap_write(char body[TG_MARKER_MAX], const struct tg_lane *lane, const struct tg_gap *gap)
{
  const struct {
    const char *name;
    uint64_t value;
  } numbers[] = {{"from", gap->from}, {"to", gap->to}, {"count", gap->count}};
  struct tg_body_head head = {lane->feed->shard_id, lane->feed->total_shards, gap->epoch};
  int length = (int)tg_body_prefix(body, &head, "gap");
  body[length++] = '{';
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (numbers[i].value > 0)
      length += snprintf(body + length, TG_MARKER_MAX - (size_t)length, "\"%s\":%llu,", numbers[i].name,
                         (unsigned long long)numbers[i].value);
  length += snprintf(body + length, TG_MARKER_MAX - (size_t)length, "\"reason\":\"%s\"}}", gap->reason);
  return (size_t)length;
}

size_t tg_gap_text(char body[TG_MARKER_MAX], const struct tg_lane *lane, const struct tg_queued *event)
{
  struct tg_gap gap = tg_gap_of(event);
  return tg_gap_write(body, lane, &gap);
}

struct tg_gap tg_gap_of(const struct tg_queued *event)
{
  struct tg_gap gap;
  memcpy(&gap, event->body, sizeof gap);
  return gap;
}
