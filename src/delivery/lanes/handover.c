#include "delivery/lanes/lanes.h"

#include <inttypes.h>

/* Guilds that go over to another shard, as the event handler is told: in the old lane behind their last
 * event, in the new one in front of their first. */

void tg_handover_write(struct tg_buf *text, const struct tg_handover *handover)
{
  tg_buf_printf(text, TG_HANDOVER_FORMAT, handover->from, handover->from_total, handover->to,
                handover->to_total);
  for (size_t i = 0; i < handover->count; i++)
    tg_buf_printf(text, "%s\"%" PRIu64 "\"", i > 0 ? "," : "", handover->guilds[i]);
  tg_buf_puts(text, "]}");
}

void tg_lane_tell_handover(struct tg_lane *lane, uint64_t sequence, const struct tg_handover *handover)
{
  struct tg_buf text = {0};
  if (!lane->lanes->handler->markers || !lane->sender)
    return;
  tg_handover_write(&text, handover);
  struct tg_item item = {
      .event = {.shard_id = lane->feed->shard_id,
                .total_shards = lane->feed->total_shards,
                .epoch = lane->feed->session.epoch,
                .sequence = sequence,
                .marker = TG_MARKER_HANDOVER,
                .message = {text.data, text.length}},
      .keep = true,
  };
  tg_lane_put(lane, &item);
  tg_feed_publish(lane->feed);
  tg_lane_touch(lane); /* no event needs to come in this turn */
  tg_buf_free(&text);
}
