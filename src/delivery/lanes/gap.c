#include "delivery/lanes/lanes.h"

#include <stdio.h>
#include <string.h>

size_t tg_gap_write(char text[TG_GAP_MAX], const struct tg_gap *gap)
{
  const struct {
    const char *name;
    uint64_t value;
  } numbers[] = {{"from", gap->from}, {"to", gap->to}, {"count", gap->count}};
  int length = 0;
  text[length++] = '{';
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    if (numbers[i].value > 0)
      length += snprintf(text + length, TG_GAP_MAX - (size_t)length, "\"%s\":%llu,", numbers[i].name,
                         (unsigned long long)numbers[i].value);
  length += snprintf(text + length, TG_GAP_MAX - (size_t)length, "\"reason\":\"%s\"}", gap->reason);
  return (size_t)length;
}

struct tg_gap tg_gap_of(const struct tg_queued *event)
{
  struct tg_gap gap;
  memcpy(&gap, tg_queued_message(event).at, sizeof gap);
  return gap;
}

struct tg_stored tg_lane_stored(const struct tg_lane *lane, const struct tg_queued *event,
                                char text[TG_GAP_MAX])
{
  struct tg_stored stored = tg_queued_stored(event, lane->feed->shard_id);
  if (__builtin_expect(event->gap, 0)) {
    struct tg_gap gap = tg_gap_of(event);
    stored.total_shards = lane->feed->total_shards;
    stored.message = (struct tg_span){text, tg_gap_write(text, &gap)};
  }
  return stored;
}
