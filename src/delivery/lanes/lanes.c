#include "delivery/lanes/lanes.h"

#include "base/buf.h"

#include <stdlib.h>

void tg_lanes_reconfigure(struct tg_lanes *lanes)
{
  tg_overflow_reconfigure(lanes);
  tg_backlog_reconfigure(lanes);
}

void tg_lanes_end(struct tg_lanes *lanes)
{
  struct tg_handles *handles = &lanes->env->handles;
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i]) {
      tg_handles_close(handles, &lanes->at[i]->retry);
      if (lanes->at[i]->lines)
        tg_handles_close(handles, &lanes->at[i]->lines->timer);
    }
  tg_backlog_close(lanes);
}

static void free_lane(struct tg_lane *lane)
{
  lane->queue.lines = NULL;
  if (lane->lines)
    tg_lines_free(lane->lines);
  free(lane->lines);
  while (lane->queue.head) {
    struct tg_queued *event = lane->queue.head;
    tg_lane_queue_remove(&lane->queue, &lane->lanes->queued, event);
    tg_lane_free_event(lane, event);
  }
  tg_lane_forget_backlog(lane);
  free(lane);
}

void tg_lanes_free(struct tg_lanes *lanes)
{
  for (int i = 0; i < lanes->count; i++)
    if (lanes->at[i])
      free_lane(lanes->at[i]);
  free(lanes->at);
  free(lanes->directory);
}

/* --- sets of shards ---------------------------------------------------------- */

void tg_lanes_let_go(struct tg_lanes *lanes)
{
  for (int i = 0; i < lanes->count; i++) {
    struct tg_lane *lane = lanes->at[i];
    if (lane && lane->state == TG_LANE_IDLE && lane->queue.head && !tg_gate_holds(lane))
      tg_lane_wait(lane, 0);
  }
}

static bool waits_up_to(const struct tg_lane *lane, uint64_t epoch)
{
  return tg_lane_waits(lane) && (!lane->queue.head || lane->queue.head->epoch <= epoch);
}

bool tg_lanes_side_waits(const struct tg_lanes *lanes, int side, uint64_t epoch)
{
  for (int i = 0; i < lanes->count; i++) {
    const struct tg_lane *lane = lanes->at[i];
    if (lane && !lane->feed->left && tg_ref_side(lane->feed->ref) == side && waits_up_to(lane, epoch) &&
        (!lane->feed->gate || lane->feed->gate->ruled[side]))
      return true;
  }
  return false;
}

/* The last of them lets the others go. */
void tg_lane_is_done(struct tg_lane *lane)
{
  struct tg_lanes *lanes = lane->lanes;
  lane->before_all = false;
  if (--lanes->before_all == 0)
    tg_lanes_let_go(lanes);
}

uint64_t tg_lanes_may_go(const struct tg_lanes *lanes)
{
  uint64_t events = 0;
  for (int i = 0; i < lanes->count; i++) {
    const struct tg_lane *lane = lanes->at[i];
    if (lane && !tg_gate_holds(lane))
      events += lane->queue.events + lane->log.late.events + lane->log.spilled_events;
  }
  return events;
}

void tg_lanes_end_strays(struct tg_lanes *lanes, int side, bool (*has_delivered)(void *ctx, tg_shard_ref ref),
                         void *ctx)
{
  if (lanes->feeds->strays == 0)
    return;
  for (int i = 0; i < lanes->count; i++) {
    struct tg_lane *lane = lanes->at[i];
    if (!lane || tg_ref_side(lane->feed->ref) != side || !lane->feed->stray || lane->before_all)
      continue;
    if (!tg_lane_waits(lane) || !has_delivered(ctx, lane->feed->ref)) {
      tg_lane_clear(lane);
      continue;
    }
    lane->before_all = true;
    lanes->before_all++;
  }
  tg_lanes_let_go(lanes);
}

static void drop_logged(struct tg_lane *lane)
{
  for (struct tg_log_source *source = lane->lanes->logs.sources; source; source = source->next) {
    tg_log_position position = 0;
    while ((position = tg_event_log_next(source->log, lane->feed->ref, position, NULL)) != 0)
      tg_event_log_ack(source->log, lane->feed->ref, position);
    tg_event_log_told(source->log, lane->feed->ref);
  }
  lane->lanes->logs.source_done = lane->lanes->logs.sources != NULL;
}

void tg_lane_clear(struct tg_lane *lane)
{
  struct tg_lanes *lanes = lane->lanes;
  lanes->sink->cleared(lane);
  while (lane->queue.head) {
    struct tg_queued *event = lane->queue.head;
    tg_lane_queue_remove(&lane->queue, &lanes->queued, event);
    tg_lane_free_event(lane, event);
  }
  tg_lane_forget_backlog(lane);
  drop_logged(lane);
  tg_lane_forget_spilled(lane);
  lane->log.refused = (struct tg_gap){0};
  lane->log.lost_tail = (struct tg_gap){0};
  lane->log.gaps_queued = 0;
}
