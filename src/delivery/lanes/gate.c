#include "delivery/lanes/gate.h"

#include "delivery/lanes/lanes.h"

uint64_t tg_gate_limit(const struct tg_lane *lane)
{
  const struct tg_lane_gate *gate = lane->gate;
  int side = tg_ref_side(lane->ref), other = !side;
  uint64_t limit = UINT64_MAX;
  if (!gate->ruled[side])
    return 0;
  for (int i = 0; gate->ruled[other] && i < gate->counts[other]; i++) {
    const struct tg_queued *head = gate->lanes[other][i]->queue.head;
    if (head && head->epoch < limit)
      limit = head->epoch;
  }
  return limit;
}

bool tg_gate_holds(const struct tg_lane *lane)
{
  const struct tg_lane_gate *gate = lane->gate;
  if (__builtin_expect(!gate, 1))
    return lane->stray || lane->lanes->shut || (lane->lanes->before_all > 0 && !lane->before_all);
  return lane->queue.head && lane->queue.head->epoch > tg_gate_limit(lane);
}

void tg_gate_open(struct tg_lane_gate *gate, int side)
{
  for (int i = 0; i < gate->counts[side]; i++) {
    struct tg_lane *lane = gate->lanes[side][i];
    if (lane->state == TG_LANE_IDLE && lane->queue.head && !tg_gate_holds(lane))
      tg_lane_wait(lane, 0);
  }
}

void tg_gate_moved(struct tg_lane *lane)
{
  if (__builtin_expect(lane->gate != NULL, 0))
    tg_gate_open(lane->gate, !tg_ref_side(lane->ref));
  else if (__builtin_expect(lane->before_all, 0) && !lane->queue.head)
    tg_lane_is_done(lane);
}
