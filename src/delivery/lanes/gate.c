#include "delivery/lanes/gate.h"

#include "delivery/lanes/lanes.h"

uint64_t tg_gate_limit(const struct tg_lane *lane)
{
  const struct tg_lane_gate *gate = lane->feed->gate;
  int side = tg_ref_side(lane->feed->ref), other = !side;
  uint64_t limit = UINT64_MAX;
  if (!gate->ruled[side])
    return 0;
  for (int i = 0; gate->ruled[other] && i < gate->counts[other]; i++) {
    const struct tg_lane *beside = gate->feeds[other][i]->lanes[lane->lanes->index];
    const struct tg_queued *head = beside ? beside->queue.head : NULL;
    if (head && head->epoch < limit)
      limit = head->epoch;
  }
  return limit;
}

bool tg_gate_holds(const struct tg_lane *lane)
{
  const struct tg_lane_gate *gate = lane->feed->gate;
  if (tg_lane_is_withheld(lane))
    return true;
  if (__builtin_expect(!gate, 1))
    return (!lane->before_all && (lane->feed->stray || lane->lanes->before_all > 0)) || lane->feed->all->shut;
  return lane->queue.head && lane->queue.head->epoch > tg_gate_limit(lane);
}

static void open_for(const struct tg_feed *feed)
{
  for (int i = 0; i < feed->all->places; i++) {
    struct tg_lane *lane = feed->lanes[i];
    if (lane && lane->state == TG_LANE_IDLE && lane->queue.head && !tg_gate_holds(lane))
      tg_lane_wait(lane, 0);
  }
}

void tg_gate_open(struct tg_lane_gate *gate, int side)
{
  for (int i = 0; i < gate->counts[side]; i++)
    open_for(gate->feeds[side][i]);
}

void tg_gate_moved(struct tg_lane *lane)
{
  if (__builtin_expect(lane->feed->gate != NULL, 0))
    tg_gate_open(lane->feed->gate, !tg_ref_side(lane->feed->ref));
  else if (__builtin_expect(lane->before_all, 0) && !lane->queue.head)
    tg_lane_is_done(lane);
  else if (__builtin_expect(lane->feed->left, 0) && !tg_lane_waits(lane))
    lane->feed->all->left_moved(lane->feed);
}
