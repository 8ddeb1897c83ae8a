#include "delivery/lanes/lease.h"

#include "delivery/lanes/lanes.h"

bool tg_lease_withholds(const struct tg_feed *feed)
{
  if (feed->left)
    return !feed->hole;
  tg_ms until = atomic_load_explicit(&feed->row->lease_until, memory_order_relaxed);
  bool ours = atomic_load_explicit(&feed->row->fence, memory_order_relaxed) != 0;
  if (ours && !feed->let_go && tg_boot_clock() < until)
    return false;
  feed->all->withheld = true;
  return true;
}

bool tg_lane_is_withheld(const struct tg_lane *lane)
{
  const struct tg_feed *feed = lane->feed;
  return __builtin_expect(feed->all->clustered, 0) ? tg_lease_withholds(feed) : feed->left;
}
