#pragma once

/* Where several hosts share the shards, a shard's events are delivered here only as long as this host has it
 * for sure: until the moment that its row tells (tg_shard_row.lease_until), which the manager moves on each
 * second. Whoever is about to begin a request looks, since a machine that has slept may have lost the shard
 * long ago. What is in flight then goes on.
 *
 *     a lane whose feed is withheld sends nothing; it looks again within TG_LEASE_LOOK ms;
 *     nor does one whose shard is on its way to another host (tg_feed.let_go);
 *     what is left of a shard (tg_feed.left) is sent only as far as somebody has asked for it.
 *
 * Where there is one host, nobody looks at any of this but for one flag (tg_feeds.clustered). */

#include <stdbool.h>

struct tg_feed;
struct tg_lane;

enum { TG_LEASE_LOOK = 250 /* ms */ };

/* Of a gateway that is one of several. */
bool tg_lease_withholds(const struct tg_feed *feed);

/* Whether no request of the lane is to begin now. */
bool tg_lane_is_withheld(const struct tg_lane *lane);
