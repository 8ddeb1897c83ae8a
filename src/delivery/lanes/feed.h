#pragma once

/* What belongs to a shard, whoever takes its events: its session, its row of the shard table, its class while
 * the bot goes over to another number of shards. Each sink has a lane for it (lanes.h), which has what
 * belongs to the shard at that sink: what waits, and how far it is.
 *
 *     dispatch --> feed: is it new? --> lane of each sink that wants it: queue, event log
 *
 * What is durable of a feed is the least of what its lanes have made durable, of those sinks that count: a
 * process that takes its place resumes from there, and each lane drops what its own log has beyond that
 * (tg_lane.ahead).
 *
 * Loop thread only. Feeds live as long as the delivery. */

#include "config/config.h"
#include "delivery/env.h"
#include "delivery/lanes/gate.h"
#include "delivery/lanes/hole.h"
#include "proto/event.h"
#include "proto/shard_ref.h"
#include "shared/shard_table.h"

struct tg_class_seat;
struct tg_gap;
struct tg_handover;
struct tg_lane;
struct tg_lanes;
struct tg_feeds;

/* How far the shard's session is. All are numbers (s) of that session; 0: none yet.
 *
 * Another process would have to RESUME from what is durable (tg_feed_durable()). Discord is told that, but
 * never less than before (`announced`), and `received` while a log refuses events: it cannot wait for ever.
 */
struct tg_feed_session {
  uint64_t epoch;
  uint64_t began;     /* the epoch that it had first; a class that takes over raises it */
  uint64_t received;  /* the highest that has come */
  uint64_t announced; /* the highest that Discord was told is durable */
  uint64_t handled;   /* up to here an earlier process has started the script's handlers */
  uint64_t ahead;     /* up to here the log of one of the sinks had it then; 0: it is durable since */
  uint64_t held_from; /* of the events from here on some wait outside of the lanes; 0: none */
  /* A RESUMED takes a number, but no later replay contains it. The row counts those that may have come while
   * a connection broke, unheard by us (tg_shard_row.unheard). */
  uint64_t resumed; /* of one that was heard, and is not durable yet */
  uint32_t heard;   /* so many of the row's count are settled when that is durable */
  uint32_t holes;   /* so many of them have been found since: numbers that no event has */
};

struct tg_feed {
  struct tg_feeds *all;
  tg_shard_ref ref;
  int shard_id;     /* of it */
  int total_shards; /* 0: it is one of an earlier set, of which only the logs tell */
  struct tg_shard_row *row;
  struct tg_feed_session session;
  struct tg_lane *lanes[TG_SINKS_MAX]; /* by tg_lanes.index; NULL: there is no such sink */

  bool stray;      /* of a set that is not there (yet): sends nothing */
  bool left;       /* what is left of a shard (tg_ref_left()): no session; in its row it counts alone */
  bool let_go;     /* its shard is on its way to another host: lease.h */
  bool leaving;    /* another host has it, and what waits here is not all with what is left yet */
  unsigned tenure; /* how often it has gone to one */
  const struct tg_hole *hole; /* of a left one: what is asked for of it; NULL: nothing */
  struct tg_lane_gate *gate;  /* NULL: its guilds are its own */
  struct tg_class_seat *seat; /* likewise: where it sits (reshard/) */
};

/* All of a worker. The owner sets what stands in front of `sinks`. */
struct tg_feeds {
  const struct tg_delivery_env *env;
  struct tg_lanes *sinks[TG_SINKS_MAX]; /* by their index; NULL: there is none */
  int places;                           /* in front of the last of them, and with it */

  struct tg_shard_table *tables[TG_SIDES];  /* NULL: there are no rows */
  int totals[TG_SIDES];                     /* of shards; 0: not known */
  struct tg_shard_row *spare_row;           /* for shards without a row */
  void (*settled)(struct tg_feed *feed);    /* of a feed with a seat: more of its session may be done */
  bool shut;                                /* nothing is sent before it is known which feeds share guilds */
  bool clustered;                           /* several hosts share the shards: rows have leases */
  void (*left_moved)(struct tg_feed *feed); /* nothing is at hand of what is asked for of a left one */
  bool withheld;                            /* since the last look something did not go for want of one */
  struct tg_feed **at;                      /* by tg_ref_index(); NULL: not yet */
  int count, live, strays;                  /* places; feeds that are no strays, nor left; strays */
};

/* --- all of them --- */

/* When the handles are closed, and all lanes are gone. */
void tg_feeds_free(struct tg_feeds *feeds);
/* A sink comes: each feed has a lane there from now on, for what comes next. */
void tg_feeds_add_sink(struct tg_feeds *feeds, struct tg_lanes *lanes);
/* It goes: its lanes are not the feeds' any more. */
void tg_feeds_remove_sink(struct tg_feeds *feeds, const struct tg_lanes *lanes);
/* A set of shards comes: its rows are in that table. Feeds of it may be there, read from logs. */
void tg_feeds_add_side(struct tg_feeds *feeds, int side, struct tg_shard_table *table);
/* It is over: what waits in its lanes is dropped, without a word, and its table is not looked at any more. */
void tg_feeds_drop_side(struct tg_feeds *feeds, int side);
/* What was withheld may go by now: looks again. */
void tg_feeds_look_at_leases(struct tg_feeds *feeds);
/* It is known which feeds share guilds: what had to wait for that may go. */
void tg_feeds_unshut(struct tg_feeds *feeds);
/* Writes what was appended to the sinks' logs so far, in the middle of a turn. */
void tg_feeds_write(struct tg_feeds *feeds);
/* The same, also if that failed a moment ago. False: something is not durable. */
bool tg_feeds_flush(struct tg_feeds *feeds);
/* Whether one of the sinks has an event log. */
bool tg_feeds_have_log(const struct tg_feeds *feeds);

/* The shard's row, whoever has the shard; NULL: there is none. */
struct tg_shard_row *tg_feeds_row(const struct tg_feeds *feeds, tg_shard_ref ref);
/* The shard's feed, made with its lanes when there is none. */
struct tg_feed *tg_feed_of(struct tg_feeds *feeds, tg_shard_ref ref);

/* --- its session --- */

/* A session begins, or is to be resumed from behind `received`. */
void tg_feed_set_session(struct tg_feed *feed, uint64_t epoch, uint64_t received);
/* The session in the row is to be resumed. `settled`: as the row has it; `heal`: what logs have beyond that
 * counts, and what they have lost at their ends is asked for again. Returns behind which number. */
uint64_t tg_feed_adopt(struct tg_feed *feed, uint64_t epoch, uint64_t settled, bool heal);
/* The session goes on under a higher epoch. */
void tg_feed_raise_epoch(struct tg_feed *feed, uint64_t epoch);
/* Events from there on are held outside of the lanes; 0: none is. */
void tg_feed_hold_from(struct tg_feed *feed, uint64_t sequence);
/* Of events up to `sequence` those in front of the first that is held. */
static inline uint64_t tg_feed_unheld(const struct tg_feed *feed, uint64_t sequence)
{
  uint64_t from = feed->session.held_from;
  return __builtin_expect(from != 0, 0) && from <= sequence ? from - 1 : sequence;
}
/* From where another process would have to RESUME. */
uint64_t tg_feed_durable(const struct tg_feed *feed);
/* The same, whatever is held. */
uint64_t tg_feed_durable_alone(const struct tg_feed *feed);
/* What Discord is told is durable. */
uint64_t tg_feed_announce(struct tg_feed *feed);
/* Up to which number of that epoch all logs have the events; 0: there is no log. */
uint64_t tg_feed_last_logged(const struct tg_feed *feed, uint64_t epoch);

/* --- events --- */

/* Puts the event into the lane of each sink that wants it. False: none does. */
bool tg_feed_push(struct tg_feed *feed, const struct tg_event *event);
/* Events that have never come, and never will: their marker waits behind the events that did. */
void tg_feed_missed(struct tg_feed *feed, const struct tg_gap *gap);
/* Guilds go over to another shard; see tg_lane_tell_handover(). */
void tg_feed_tell_handover(struct tg_feed *feed, uint64_t sequence, const struct tg_handover *handover);
/* What is durable of it may have changed: looked at when the turn ends. */
void tg_feed_touch(struct tg_feed *feed);
/* The logs may forget what they have lost of it, as far as somebody was told (tg_lane_told()). */
void tg_feed_told(struct tg_feed *feed);
/* What the logs have of it was flushed in the middle of a turn. */
void tg_feed_flushed(struct tg_feed *feed);
/* Writes its numbers into its row. */
void tg_feed_publish(struct tg_feed *feed);
/* Of a left feed: whether that is asked for. */
static inline bool tg_feed_is_asked_for(const struct tg_feed *feed, uint64_t epoch, uint64_t sequence)
{
  return feed->hole && tg_hole_has(feed->hole, epoch, sequence);
}
/* Whether something of it waits at a sink. */
bool tg_feed_waits(const struct tg_feed *feed);
/* The same, of those sinks that count for what is durable. */
bool tg_feed_owes(const struct tg_feed *feed);
