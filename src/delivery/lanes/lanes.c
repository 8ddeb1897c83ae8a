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
    if (lanes->at[i])
      tg_handles_close(handles, &lanes->at[i]->retry);
  tg_backlog_close(lanes);
}

static void free_lane(struct tg_lane *lane)
{
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
  free(lanes->spare_row);
}
