#include "delivery/delivery_internal.h"

/* A shard that is on its way to another host: nothing of it is sent any more, until it is clear that it
 * stays. What is in flight may still be answered for, so that the other host begins behind it. */

void tg_delivery_withhold(struct tg_delivery *delivery, tg_shard_ref ref)
{
  tg_last_release(&delivery->storms.last, ref);
  tg_feed_of(&delivery->feeds, ref)->let_go = true;
}

void tg_delivery_go_on(struct tg_delivery *delivery, tg_shard_ref ref)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  if (!feed->let_go)
    return;
  feed->let_go = false;
  delivery->feeds.withheld = true;
  tg_feeds_look_at_leases(&delivery->feeds);
}

bool tg_delivery_is_busy(struct tg_delivery *delivery, tg_shard_ref ref)
{
  const struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  for (int i = 0; i < delivery->feeds.places; i++)
    if (feed->lanes[i] && tg_lane_is_busy(feed->lanes[i]))
      return true;
  return false;
}

void tg_delivery_take_back(struct tg_delivery *delivery, tg_shard_ref ref)
{
  struct tg_feed *feed = tg_feed_of(&delivery->feeds, ref);
  for (int i = 0; i < delivery->feeds.places; i++)
    if (feed->lanes[i])
      tg_lane_stop(feed->lanes[i]);
  tg_feed_publish(feed);
}
