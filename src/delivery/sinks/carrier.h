#pragma once

/* What takes parcels: an HTTP server, a script; others may come. A kind is a file here and a row in
 * senders.c. It knows nothing of lanes, windows, or when to try again: it is given a parcel that may go
 * now, and says what came of it, with a word of enum tg_outcome that decides the rest. */

#include "delivery/env.h"
#include "delivery/lanes/parcel.h"
#include "delivery/sinks/answer.h"

struct tg_carrier;
struct tg_lanes;
struct tg_senders;

struct tg_carrier_kind {
  /* Sends the parcel, whose body is to be had from its owner (tg_carrier_write()). Calls carrier->ended()
   * once, not from inside this. */
  void (*start)(struct tg_carrier *carrier, struct tg_parcel *parcel);
  /* The parcel ends now, and carrier->ended() is not called. */
  void (*cancel)(struct tg_carrier *carrier, struct tg_parcel *parcel);
  /* The configuration is another one; may be NULL. */
  void (*reconfigure)(struct tg_carrier *carrier, const struct tg_senders *senders);
  /* No parcel is in it any more. */
  void (*free)(struct tg_carrier *carrier);
};

struct tg_carrier {
  const struct tg_carrier_kind *kind;
  char *name; /* for logs and metrics: without secrets */
  bool wide;  /* it takes what all lanes have at once, one behind the other: no window bounds it */
  void (*ended)(struct tg_parcel *parcel, const struct tg_answer *answer);
};

/* The body as text. */
static inline struct tg_span tg_carrier_write(struct tg_parcel *parcel)
{
  if (!parcel->body.at)
    parcel->owner->write(parcel);
  return parcel->body;
}

/* Carriers of a sink are made with its senders, from which they have their environment, and the sink's part
 * of the configuration (senders->lanes->handler, ->redis).
 *
 * http_carrier.c: POSTs to a URL (http:, https:, http+unix:), with the parcel's key as Idempotency-Key. */
struct tg_carrier *tg_http_carrier_new(const struct tg_senders *senders, const char *url);

/* redis_carrier.c: Redis Streams (redis:, rediss:, redis+unix:); of sinks alone, whose lanes have batches. */
struct tg_carrier *tg_redis_carrier_new(const struct tg_senders *senders, const char *url);

/* script_carrier.c: the script's deliver; what that does not want goes to the sender's own carrier
 * (tg_sender.direct). One for all senders. */
struct tg_carrier *tg_script_carrier_new(const struct tg_senders *senders);
/* So long a script may keep what it was given; then the default sees to it. */
tg_ms tg_script_patience(const struct tg_lanes *lanes);
/* Calls that have not ended are forgotten; its timer closes. Then it may be freed with the handles. */
void tg_script_carrier_end(struct tg_carrier *carrier);
