#pragma once

/* Where two sets of shards have the same guilds, their feeds share a gate, which each sink has for its
 * lanes: what the side that takes over has to send waits until the event handler has accepted all that came
 * before it.
 *
 *     a lane whose side has never ruled sends nothing;
 *     a lane sends nothing while a lane of the other side, which has ruled, has a lower epoch at its head.
 *
 * Each side that takes over does so with epochs above all of the other's. So the rule needs no memory but
 * `ruled`: after the death of the process the logs give it again. Whoever sends beside a lane asks, too. */

#include "proto/shard_ref.h"

#include <stdbool.h>

struct tg_lane;
struct tg_feed;

struct tg_lane_gate {
  struct tg_feed **feeds[TG_SIDES]; /* the owner's */
  int counts[TG_SIDES];
  bool ruled[TG_SIDES]; /* ever */
};

/* Of a lane with a gate: what it has under higher epochs than that is not its turn yet. */
uint64_t tg_gate_limit(const struct tg_lane *lane);

/* Whether what the lane has first has to wait, for others or for the shard's lease (lease.h). */
bool tg_gate_holds(const struct tg_lane *lane);

/* The lane's first event is another one, or there is none: those that have waited for it may go, in a turn
 * of the loop of their own. Nothing for a lane without a gate. */
void tg_gate_moved(struct tg_lane *lane);

/* The same for all of one side, which may have begun to rule. */
void tg_gate_open(struct tg_lane_gate *gate, int side);
