#pragma once

/* What is left of shards that other hosts have got: what this host has received of them, and nobody has
 * accepted yet. Whoever has the shard now asks Discord again for most of that; the rest, which Discord may
 * not have any more, is a hole, and only here. So nothing of it is delivered until somebody asks for a hole,
 * and nothing is thrown away until it is known that nobody will.
 *
 *     let_go.c   a shard on its way to another host
 *     leave.c    another host has it: what waits goes from its lanes to what is left of it
 *     move.c     ... of one lane, from record to record in the event log
 *     holes.c    what is asked for is delivered, marked as late; the rest is void
 *
 * What is left of a shard is a feed of its own (tg_ref_left()), in the same logs: bounds, age, order, tries,
 * and what the next process finds, are those of lanes. It has no session and no row.
 *
 * What moves is written anew, and then done in its old place; who dies in between finds it in both, and moves
 * it again but for what is there: what waits under the left reference, by its name. (What was there and is
 * done does not count: a shard that comes back and goes again brings the same events again.) */

#include "delivery/delivery_internal.h"

struct tg_lane;

/* Whoever waits for the end of something. */
struct tg_left_waiter {
  struct tg_left_waiter *next;
  tg_left_done *done;
  void *ctx;
};

void tg_left_wait(struct tg_left_waiter **waiters, tg_left_done *done, void *ctx);
/* Tells all of them, and frees them. They may ask for more. */
void tg_left_tell(struct tg_left_waiter **waiters, const struct tg_error *error);

/* --- move.c --- */

/* The names of records that wait. */
struct tg_left_names {
  struct tg_left_name *at;
  size_t count;
};

/* Everything that waits of the lane is in its log, if it has one, and nothing in memory any more. False: the
 * disk refuses it; it stays. */
bool tg_left_empty(struct tg_lane *lane, struct tg_error *error);
/* What waits under the left reference of that lane's shard, at its sink. */
void tg_left_names_read(struct tg_left_names *names, const struct tg_lane *lane);
void tg_left_names_free(struct tg_left_names *names);
/* Moves what waits in the lane's logs, up to `budget` bytes, which becomes what is left of it. `more`: not
 * all of it. False: the disk refuses it; what is not moved stays where it is. */
bool tg_left_move(struct tg_lane *lane, const struct tg_left_names *names, uint64_t *budget, bool *more,
                  struct tg_error *error);

/* --- leave.c, holes.c --- */

/* Something of the shard, which another host has, is in its own lanes still: nobody can say what is left. */
bool tg_left_is_due(struct tg_delivery *delivery, tg_shard_ref ref);
/* In a turn of the loop of their own: goes on with what is under way. */
void tg_left_wake(struct tg_delivery *delivery);
/* True: there is more to do, at once. */
bool tg_leavings_tend(struct tg_delivery *delivery);
void tg_fillings_tend(struct tg_delivery *delivery);
/* What waits of that shard could not be moved: nobody can say what is left of it. */
void tg_fillings_fail(struct tg_delivery *delivery, tg_shard_ref ref, const struct tg_error *error);
void tg_fillings_end(struct tg_delivery *delivery);
