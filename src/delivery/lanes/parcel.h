#pragma once

/* What goes out in one request: an event or, in batches, several of one shard and session.
 *
 * Who has something to send - a lane, a script that posts, an interaction that passes its lane - owns a
 * parcel and gives it to a sender (sinks/sender.h). When its turn comes the owner says what is in it; a
 * sink (sinks/carrier.h) sends it, and says what came of that; the sender judges it, once for all kinds of
 * owners and sinks, and gives it back.
 *
 *     the owner's --tg_sender_queue()--> waits --prepare()--> in flight --over()--> the owner's */

#include "base/buf.h"
#include "base/clock.h"
#include "base/json_scan.h"
#include "config/config.h"
#include "delivery/lanes/body.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct tg_judgement;
struct tg_lane;
struct tg_guild_line;
struct tg_parcel;
struct tg_sender;
struct tg_carrier;

/* Under which conditions it leaves. */
enum tg_parcel_way {
  TG_WAY_LANE, /* the window has room, and the circuit allows it: by the script's deliver, if there is one */
  TG_WAY_POST, /* the window has room, whether the handler is up or not */
  TG_WAY_EXPRESS, /* the handler is up: a few beside the window */
  TG_WAY_NESTED,  /* at once: part of what a script is delivering in a lane's turn */
  TG_WAY_LETTER,  /* at once, beside the window: by the script's deliver, if there is one */
  TG_WAYS
};

struct tg_parcel_owner {
  /* Its turn has come: says what is in it, by tg_parcel_name(). False: it is not to be sent (any more). */
  bool (*prepare)(struct tg_parcel *parcel);
  /* The sink wants the body, event by event: tg_parcel_put(). */
  void (*write)(struct tg_parcel *parcel);
  /* It is not in flight any more. Calls tg_judgement_teach() once, and may do with the parcel what it
   * likes. */
  void (*over)(struct tg_parcel *parcel, struct tg_judgement *judgement);
  /* The sender goes before its turn has come. */
  void (*returned)(struct tg_parcel *parcel);
  /* Since when its first event waits, uv_now(); of TG_WAY_LANE alone. */
  tg_ms (*since)(const struct tg_parcel *parcel);
  /* All that is in it, as scripts see events; `texts` holds what has to be written for that. Of those ways
   * alone that a script's deliver may be on. */
  void (*show)(const struct tg_parcel *parcel, struct tg_event *events, char (*texts)[TG_MARKER_MAX]);
};

/* An event in the parcel's name. */
struct tg_parcel_end {
  uint64_t sequence;
  enum tg_marker marker;
  int other; /* of TG_MARKER_HANDOVER: body.h */
};

struct tg_parcel {
  TAILQ_ENTRY(tg_parcel) link; /* while it waits */
  const struct tg_parcel_owner *owner;
  struct tg_lane *lane; /* of the shard that the events are of */
  struct tg_guild_line *line; /* which of its lines has them first (lines.h); NULL: the lane's queue */
  enum tg_parcel_way way;
  bool waits;
  struct tg_sender *sender;   /* for which it waits, or which has it in flight; else NULL */
  struct tg_carrier *carrier; /* which has it in flight */
  union {
    uint64_t request;
    void *call;
  };           /* the sink's own */
  bool posted; /* a script that has it posts what is in it: the sender learns from those posts */

  /* Of what is in flight. */
  int shard_id;
  uint64_t epoch;
  struct tg_parcel_end first, last;
  int count;                   /* of events */
  bool late;                   /* one alone, which goes behind others of its shard, though it came first */
  bool batch;                  /* the body is a JSON array of theirs */
  enum tg_event_format format; /* of the body */
  size_t bytes;                /* of the body */
  struct tg_span body;
  struct tg_buf text; /* of the body, unless it is lent */
};

TAILQ_HEAD(tg_parcel_list, tg_parcel);

static inline bool tg_parcel_in_flight(const struct tg_parcel *parcel)
{
  return parcel->sender && !parcel->waits;
}

/* What an event is called. */
struct tg_parcel_end tg_parcel_end(const struct tg_stored *event);

/* What is in it; `bytes`: of the bodies of all events, in "seed". */
void tg_parcel_name(struct tg_parcel *parcel, uint64_t epoch, struct tg_parcel_end first,
                    struct tg_parcel_end last, int count, size_t bytes);

/* What an event is called among those of its session: "42", "gap-42", "resharding-19-42". */
enum { TG_PARCEL_END_MAX = 48 };
void tg_parcel_end_text(const struct tg_parcel_end *end, char text[TG_PARCEL_END_MAX]);

/* The name as text, for a sink that can tell repeats by it: "3.7.42", in a batch "3.7.42-49". */
enum { TG_PARCEL_KEY_MAX = 144 };
void tg_parcel_key(const struct tg_parcel *parcel, char key[TG_PARCEL_KEY_MAX]);

/* The body of its next event, which came at `at` (uv_now()), in the parcel's format. */
void tg_parcel_put(struct tg_parcel *parcel, const struct tg_stored *event, tg_ms at);
/* Whether its body is that of its event in "seed", as it is: bytes that stay where they are as long as it is
 * in flight may be set instead. */
static inline bool tg_parcel_takes_body(const struct tg_parcel *parcel)
{
  return !parcel->batch && parcel->format == TG_FORMAT_SEED;
}
/* Forgets the body; the sender does that. */
void tg_parcel_empty(struct tg_parcel *parcel);
