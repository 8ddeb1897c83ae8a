#pragma once

/* The classes of a worker (class.h), each with the feeds of its shards and the gate between them: who is
 * asked first about an event, and who switches. A delivery has them while the bot goes over from one number
 * of shards to another.
 *
 *     seats.c      made and ended; what sessions, connections and clocks tell a class
 *     takeover.c   the switch, in one turn of the loop
 *     shared_seats.c  where other hosts may get a class, or have had it
 *     seat_voices.c  the bot's voice connections
 *
 * What a class says comes true here: what it holds back keeps numbers from being durable
 * (tg_feed_session.held_from), whoever does not rule keeps its gate shut, and what is released goes the
 * usual way. */

#include "delivery/delivery.h"
#include "delivery/lanes/lanes.h"
#include "delivery/reshard/class.h"
#include "delivery/reshard/voices.h"

struct tg_seated_class;

/* Of a feed. */
struct tg_class_seat {
  struct tg_seated_class *of;
  int member;
  uint64_t settled; /* what the class was told of: epoch, number */
  uint64_t settled_epoch;
};

struct tg_seated_class {
  struct tg_seats *all;
  struct tg_class *class;
  struct tg_lane_gate gate;
  struct tg_voices *voices;
  struct tg_feed **feeds; /* by member */
  struct tg_class_seat *seats;
  int members;
  tg_ms looked_at; /* for guilds that are missing */
  tg_ms told_at;   /* the owner, of: */
  enum tg_class_state told_state;
  uint64_t told_figures;
  uint64_t told_uses; /* tg_class_uses() of the file that was told; UINT64_MAX: none was */
  tg_ms told_uses_at;
  bool begun;         /* it knows the sessions in the rows */
  uint64_t met;       /* tg_seat_meets_guild(): the last one; 0: none */
};

struct tg_seats {
  struct tg_delivery *delivery;
  struct tg_seated_class **at;
  int count;
  int from, to, old_side;
  uint64_t held_bytes;
  uv_timer_t timer;
  bool taking_over; /* a switch is in its turn */
};

/* NULL: no such class here. */
struct tg_seated_class *tg_seats_find(struct tg_seats *seats, int number);
/* The change is over. */
void tg_seats_remove_files(struct tg_delivery *delivery);
/* All classes go; their feeds are ordinary ones from now on. */
void tg_seats_end(struct tg_delivery *delivery);

/* Its class begins anew, by the skip file that there is now, and knows no session. */
void tg_seats_renew(struct tg_seated_class *seated);
/* It takes in the sessions that are in the rows; nothing if it has. */
void tg_seats_begin(struct tg_seated_class *seated);
/* The same of one member, whose row has been written since. */
void tg_seat_begin(struct tg_feed *feed);

/* --- shared_seats.c --- */

/* Some shard of the class is this host's; else it is idle, and nobody's matter here. */
bool tg_seats_hold(const struct tg_seated_class *seated);
/* It is not here, or comes anew: as if it had never switched. */
void tg_seats_forget_switch(struct tg_seated_class *seated);
/* The shard has gone to another host. */
void tg_seat_left(struct tg_feed *feed);
/* The old shard's READY was perhaps seen by another host alone: that a guild is there for it is told by an
 * event of the guild. Of one that is away for the new shard that is remembered ... */
void tg_seat_meets_guild(struct tg_feed *feed, const struct tg_event *event);
/* ... as long as it is. 0: there is none. */
uint64_t tg_seats_missing_guild(struct tg_seated_class *seated);
/* What another host would have to know, if that has changed since it was told; NULL: nothing. The caller's to
 * free. */
char *tg_seats_text(struct tg_seated_class *seated);
/* What was told a while ago is known by now. */
void tg_seats_text_is_known(struct tg_seated_class *seated);
/* Of a class that has switched: what the old shards had is delivered at all sinks that count. */
bool tg_seats_are_through(const struct tg_seated_class *seated);

/* --- what happens to a feed with a seat --- */

/* True: the event is held, or was delivered by another one: that was all. Else it goes on. */
bool tg_seat_takes(struct tg_delivery *delivery, struct tg_feed *feed, struct tg_event *event);
/* Numbers are missing in front of an event. True: the bot misses nothing. */
bool tg_seat_skipped(struct tg_feed *feed);
/* A session has begun (`fresh`), or is to be resumed behind `through`. */
void tg_seat_session(struct tg_feed *feed, bool fresh, uint64_t through);
bool tg_seat_rules(const struct tg_feed *feed);
void tg_seat_loaded(struct tg_feed *feed);
/* tg_feeds.settled */
void tg_seat_settled(struct tg_feed *feed);

/* --- seat_voices.c --- */

/* An event has come to a feed with a seat. */
void tg_seat_voice(struct tg_seated_class *seated, struct tg_feed *feed, const struct tg_event *event);

/* --- takeover.c --- */

/* The other side rules from now on. False: nothing has changed; codes "not_ready", "disk". */
bool tg_take_over(struct tg_seated_class *seated, struct tg_error *error);
/* The same, if the class cannot wait for it. */
void tg_take_over_if_urged(struct tg_seated_class *seated);
/* What is durable of the members, as the class says. */
void tg_seats_apply_bounds(struct tg_seated_class *seated);
/* Tells the owner how the class is, if that is another than it was, and it is time. */
void tg_seats_tell(struct tg_seated_class *seated, bool at_once);
