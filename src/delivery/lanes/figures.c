/* What waits for a sink, as others see it: the gauges of its place in the statistics page, written once a
 * beat. */

#include "delivery/lanes/lanes.h"

#include <string.h>

/* Of a log that other workers read, too, its own share. */
static int64_t log_bytes(const struct tg_lanes *lanes)
{
  int64_t bytes = 0;
  if (!lanes->logs.own)
    return -1;
  for (const struct tg_log_source *source = lanes->logs.sources; source; source = source->next) {
    struct tg_log_figures left = {.bytes = 0};
    if (source != lanes->logs.own)
      tg_event_log_figures(source->log, &left);
    bytes += (int64_t)(source == lanes->logs.own ? tg_event_log_disk(source->log) : left.bytes);
  }
  return bytes;
}

static struct tg_stats_lane look_at(const struct tg_lane *lane)
{
  const struct tg_queued *head = lane->queue.head;
  return (struct tg_stats_lane){
      .ref = lane->feed->ref,
      .events = tg_lane_waiting(lane),
      .bytes = lane->queue.bytes + lane->log.late.bytes + lane->log.spilled_bytes,
      .oldest_queued_at = head ? head->queued_at + tg_steady_ahead() : 0,
  };
}

/* In its place among those where most waits, if it belongs to them. */
static void add(struct tg_stats_lanes *lanes, const struct tg_stats_lane *lane)
{
  uint32_t place = lanes->count;
  lanes->waiting++;
  while (place > 0 && lanes->list[place - 1].events < lane->events)
    place--;
  if (place == TG_STATS_LANES)
    return;
  uint32_t behind = lanes->count < TG_STATS_LANES ? lanes->count++ - place : lanes->count - place - 1;
  memmove(&lanes->list[place + 1], &lanes->list[place], behind * sizeof *lane);
  lanes->list[place] = *lane;
}

void tg_lanes_publish(const struct tg_lanes *lanes, int up)
{
  struct tg_stats_sink *stats = lanes->stats;
  struct tg_stats_lanes most = {0};
  int64_t oldest = 0;
  for (int i = 0; i < lanes->count; i++) {
    struct tg_stats_lane lane = {0};
    if (lanes->at[i])
      lane = look_at(lanes->at[i]);
    if (lane.events > 0 && !tg_ref_is_left(lane.ref))
      add(&most, &lane);
    if (lane.oldest_queued_at > 0 && (oldest == 0 || lane.oldest_queued_at < oldest))
      oldest = lane.oldest_queued_at;
  }
  atomic_store_explicit(&stats->queued_events, tg_lanes_waiting(lanes), memory_order_relaxed);
  atomic_store_explicit(&stats->queued_bytes, lanes->queued.bytes + lanes->spilled.bytes,
                        memory_order_relaxed);
  atomic_store_explicit(&stats->oldest_queued_at, oldest, memory_order_relaxed);
  atomic_store_explicit(&stats->log_bytes, log_bytes(lanes), memory_order_relaxed);
  atomic_store_explicit(&stats->memory_bytes, lanes->queued.bytes, memory_order_relaxed);
  atomic_store_explicit(&stats->up, up, memory_order_relaxed);
  tg_stats_set_lanes(stats, &most);
}
