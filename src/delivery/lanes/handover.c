#include "delivery/lanes/lanes.h"

#include <inttypes.h>

/* Guilds that go over to another shard, as the event handler is told: in the old lane behind their last
 * event, in the new one in front of their first. */

void tg_handover_write(struct tg_buf *body, const struct tg_lane *lane, const struct tg_handover *handover)
{
  char prefix[TG_BODY_PREFIX_MAX];
  struct tg_body_head head = {lane->feed->shard_id, lane->feed->total_shards, lane->feed->session.epoch};
  tg_buf_append(body, prefix, tg_body_prefix(prefix, &head, "resharding"));
  tg_buf_printf(body, TG_HANDOVER_FORMAT, handover->from, handover->from_total, handover->to,
                handover->to_total);
  for (size_t i = 0; i < handover->count; i++)
    tg_buf_printf(body, "%s\"%" PRIu64 "\"", i > 0 ? "," : "", handover->guilds[i]);
  tg_buf_puts(body, "]}}");
}

void tg_lane_tell_handover(struct tg_lane *lane, uint64_t sequence, const struct tg_handover *handover)
{
  struct tg_buf body = {0};
  if (!lane->lanes->handler->markers || !lane->sender)
    return;
  tg_handover_write(&body, lane, handover);
  struct tg_item item = {
      .epoch = lane->feed->session.epoch,
      .sequence = sequence,
      .keep = true,
      .marker = true,
      .parts = {{"", 0}, {body.data, body.length}, {"", 0}},
  };
  tg_lane_put(lane, &item);
  tg_feed_publish(lane->feed);
  tg_lane_touch(lane); /* no event needs to come in this turn */
  tg_buf_free(&body);
}
