#pragma once

/* What of a lane goes in one parcel: its first event or, with event_handler.batch,
 * the first ones. An event that was sent without success comes again in the same
 * batch (`trying`): a batch may shrink meanwhile, since policy drops events, but
 * never grows, so that its key stands for no more than it did. After a refusal the
 * events of the batch are `suspect`: at least one of them is to blame, and half of
 * them are tried at a time. */

#include "base/clock.h"

#include <stddef.h>

struct tg_lane;
struct tg_parcel;
struct tg_queued;

/* How many ms the lane's first event, which might go now, is still to wait for others to go with
 * (batch.linger): 0 if the batch of up to `most` bytes is full, or has what does not wait: an interaction, a
 * marker, what was sent before. The lane has an event, and nothing in flight. */
tg_ms tg_batch_linger(const struct tg_lane *lane, size_t most);

/* What the parcel's lane, or its line, has first, and behind that. */
struct tg_queued *tg_parcel_first(const struct tg_parcel *parcel);
struct tg_queued *tg_parcel_next(const struct tg_parcel *parcel, const struct tg_queued *event);

/* Puts the first of the events into the parcel of a lane, or of a line, up to batch.events and `most` bytes,
 * but one at least; the first is not in flight. They are lent out until tg_batch_take_back(): they stay in
 * the queue, and nobody may take them out of it. */
void tg_batch_lend(struct tg_parcel *parcel, size_t most);

/* The parcel's body. */
void tg_batch_write(struct tg_parcel *parcel);

void tg_batch_take_back(struct tg_parcel *parcel);

/* The first `count` were refused together: the next parcel has half of them. */
void tg_batch_split(struct tg_parcel *parcel, int count);

/* ... since they have too many bytes: they may come in other parcels. */
void tg_batch_shrink(struct tg_parcel *parcel, int count);
