#pragma once

/* The logs under the lanes: the worker's own, to which each
 * event goes before it counts as received, and those that earlier processes
 * left behind, which are delivered first. Nothing outside of src/delivery
 * includes this.
 *
 *     backlog.c       opening and taking over, the end of a loop turn
 *     backlog_write.c the own log, and what it refuses
 *     lane_backlog.c  a lane between its window in memory and the logs
 *     accepted.c      what the sink has, but may lose
 *     lane_gap.c      what is lost, and how the event handler is told
 *
 * Directories: <state_dir>/log/worker-<id>.<gateway stamp>-<number>; the number
 * is higher than that of all that were there (tg_event_log_number()). A process
 * never writes to a log it has not begun. */

#include "base/buf.h"
#include "delivery/lanes/body.h"
#include "delivery/lanes/lane_queue.h"
#include "event_log/event_log.h"

#include <uv.h>

struct tg_lanes;
struct tg_lane;

/* A log that lanes read from. */
struct tg_log_source {
  struct tg_log_source *next; /* the next newer one */
  struct tg_lanes *lanes;
  struct tg_event_log *log;
  char *directory;
  int order;  /* grows from old to new */
  bool older; /* than this run of the gateway */
};

/* Events that are lost, for the row, the program's log and the event handler. */
struct tg_gap {
  uint64_t epoch;
  uint64_t from, to; /* 0: not known */
  uint64_t count;    /* 0: not known */
  const char *reason;
};

/* A gap in front of what has not been read from the logs yet. */
struct tg_pending_gap {
  struct tg_pending_gap *next;
  int order;             /* of the source, and in it: */
  tg_log_position point; /* the gap is in front of this */
  struct tg_gap gap;
};

/* Guilds that events of another shard are of from now on. */
struct tg_handover {
  int from, from_total, to, to_total; /* shards, and of how many */
  const uint64_t *guilds;
  size_t count;
};

/* An event on its way into a lane. */
struct tg_item {
  struct tg_stored event;
  uint64_t from; /* of a marker: the first event that it tells of; 0: not known */
  bool keep;
};

/* The logs of a worker's lanes. */
struct tg_logs {
  struct tg_log_source *sources; /* oldest first; NULL: queue.durability = "memory" */
  struct tg_log_source *own;     /* the last of them */
  bool (*wanted)(void *ctx, tg_shard_ref ref);
  void *wanted_ctx;
  uv_prepare_t prepare;
  uv_check_t check;
  struct tg_lane *touched, *synced; /* lists: struct tg_lane_log */
  struct tg_buf noted_gaps;
  uint64_t own_bound; /* bytes */
  bool tight;         /* four fifths of it are taken */
  bool source_done;   /* one of them may be empty */
  bool syncing, unsynced;
  tg_ms flush_retry_at, alarmed_at, synced_at; /* uv_now() */
  /* What the own log refuses: backlog_write.c. */
  bool refuses;           /* events wait in memory alone ... */
  bool disk_is_full;      /* ... for want of room ... */
  bool disk_is_taken;     /* ... which others take as soon as it is given back */
  tg_ms retry_at;         /* uv_now() */
  uv_timer_t retry;       /* has the loop turn then */
  uint64_t written_again; /* events, of these */
};

enum tg_log_reading {
  TG_ORDER_LAST = 1 << 30, /* of the own log: behind all others */
  TG_REFILL_MAX = 256,     /* events that are read back at a time */
};

/* What is to be known where logs are opened. */
struct tg_log_opening {
  bool (*wanted)(void *ctx, tg_shard_ref ref); /* whose events are this process's; NULL: all */
  void *ctx;
  uint64_t stamp; /* of this run of the gateway */
  bool moved;     /* shards have gone from one worker to another in it */
  bool done;      /* the first logs are open */
};

/* backlog.c */
bool tg_backlog_open(struct tg_lanes *lanes, const struct tg_log_opening *how, struct tg_error *error);
/* There is none: says so if earlier processes have left some. */
void tg_backlog_ignore(const struct tg_lanes *lanes);
void tg_backlog_close(struct tg_lanes *lanes);
/* The own log was flushed in the middle of a turn: what of the lane is in it is safe. */
void tg_lane_flushed(struct tg_lane *lane);
/* Once a minute: what is too old goes. */
void tg_backlog_tend(struct tg_lanes *lanes);
void tg_backlog_reconfigure(struct tg_lanes *lanes);

/* backlog_write.c */
/* Appends the record under another reference; the payload is the caller's own, or in no log. Codes as of
 * tg_event_log_append(). */
tg_log_position tg_backlog_append_as(struct tg_lanes *lanes, tg_shard_ref ref,
                                     const struct tg_log_record *record, struct tg_error *error);
/* The same for what stands for a gap. */
tg_log_position tg_backlog_append_gap(struct tg_lane *lane, tg_shard_ref ref, const struct tg_gap *gap,
                                      struct tg_error *error);
/* Appends to the own log; 0: it is refused, the event stays in memory alone. */
tg_log_position tg_backlog_append(struct tg_lanes *lanes, tg_shard_ref ref, const struct tg_item *item);
/* Writes what was appended so far, in the middle of a turn. */
void tg_backlog_write(struct tg_lanes *lanes);
/* The same at its end. `at_once`: also if that failed a moment ago. False: something is not durable. */
bool tg_backlog_flush(struct tg_lanes *lanes, bool at_once);
/* Writes what waits in memory alone, if it is time to try, or `at_once`. */
void tg_backlog_write_again(struct tg_lanes *lanes, bool at_once);
/* Appends an event of the lane that waits in memory alone while others are refused. 0: so is this one. */
tg_log_position tg_backlog_append_queued(struct tg_lane *lane, struct tg_queued *event);
/* Memory is full of what a full disk refuses: the log's oldest events go for it.
 * Returns whether something of what waits in memory alone is in the log now. */
bool tg_backlog_make_room(struct tg_lanes *lanes);
/* Tells the program's log, at most once a minute. */
void tg_backlog_alarm(struct tg_lanes *lanes, const struct tg_error *error);

/* lane_backlog.c */
/* The lane's durable sequence may have changed: looked at when the turn ends. */
void tg_lane_touch(struct tg_lane *lane);
/* Whether an event of that size goes to memory, too, not only to the log. */
bool tg_lane_has_window(const struct tg_lane *lane, uint64_t size);
/* The event that was just put into the own log, at `position`, has no room in the queue: it waits there. */
void tg_lane_spill(struct tg_lane *lane, tg_log_position position, uint64_t length);
/* What is in the logs alone is not wanted any more. */
void tg_lane_forget_spilled(struct tg_lane *lane);
/* Reads back what fits. Afterwards the queue is only empty if nothing waits. */
void tg_lane_refill(struct tg_lane *lane);
/* What is asked for of a left feed is read, and delivered; the lane is empty. */
void tg_lane_read_hole(struct tg_lane *lane);
/* An event that is in the log alone is delivered, or not wanted any more. */
void tg_lane_skip(struct tg_lane *lane, struct tg_log_source *source, tg_log_position position);
/* Gives memory back: the latter half of the queue leaves it, as far as a log has those events, too. They
 * are read again when their turn comes. False: there is nothing to give. */
bool tg_lane_unload(struct tg_lane *lane);
/* Puts what waits in memory alone into the log, up to `budget` bytes, which becomes what is left of it.
 * False: some is left. */
bool tg_lane_log_again(struct tg_lane *lane, uint64_t *budget);
/* Takes an event out of `late` for good, and frees it. */
void tg_lane_remove_late(struct tg_lane *lane, struct tg_queued *event);
/* The event is about to leave the queue for good: the log that has it hears of that. `accepted`: by the sink,
 * which may want to have it kept. */
void tg_lane_settle(struct tg_lane *lane, const struct tg_queued *event, bool accepted);
/* Nothing waits in the source any more, and it goes. */
void tg_lane_leave_source(struct tg_lane *lane, struct tg_log_source *source);
/* The source is open: what is in it waits, behind what is in older ones. */
void tg_lanes_read(struct tg_lanes *lanes, struct tg_log_source *source);
/* Counts anew what is in the logs alone. */
void tg_lane_recount(struct tg_lane *lane);
/* Up to where all events of the session will be durable when the own log is flushed. */
uint64_t tg_lane_safe(const struct tg_lane *lane);
void tg_lane_forget_backlog(struct tg_lane *lane);

/* Everything in the queue leaves it, and what is in that source from there on is read again. */
void tg_lane_read_again(struct tg_lane *lane, struct tg_log_source *source, tg_log_position from);
/* An event of the source is done. */
void tg_lane_ack(struct tg_lane *lane, struct tg_log_source *source, tg_log_position position);

/* accepted.c */
/* The event, which is in a log, was accepted, and stays there (tg_lanes.keeps). */
void tg_lane_accepted(struct tg_lane *lane, const struct tg_queued *event);
/* Those that were accepted at that moment (uv_now()) or before are safe: the log is done with them. */
void tg_lane_release(struct tg_lane *lane, tg_ms before);
void tg_lanes_release(struct tg_lanes *lanes, tg_ms before);
/* Whether any are not yet. */
bool tg_lanes_keep_some(const struct tg_lanes *lanes);
/* The sink has none behind that one (any more): those that the log still has wait again, in front of all
 * others. Not while something of the lane is in flight. False: there are none. */
bool tg_lane_rewind(struct tg_lane *lane, uint64_t epoch, uint64_t sequence);
void tg_lane_forget_accepted(struct tg_lane *lane);
void tg_lane_count_accepted(const struct tg_lane *lane, uint64_t *events, uint64_t *bytes);

/* lane_gap.c */
/* A log, which is in the middle of a call, has lost records. `ctx`: the source. */
void tg_gaps_note(void *ctx, const struct tg_log_gap *gap);
/* What was noted reaches its lanes. */
void tg_gaps_take(struct tg_lanes *lanes);
/* Puts the marker in front of that place; nothing without event_handler.markers. */
void tg_lane_add_gap(struct tg_lane *lane, int order, tg_log_position point, const struct tg_gap *gap);
/* The same, in the place of an event of that queue (the lane's, or `late`) that is about to be dropped. */
void tg_lane_mark_drop(struct tg_lane *lane, struct tg_lane_queue *queue, struct tg_queued *event,
                       const struct tg_gap *gap);
/* Pending gaps in front of that place go into the queue. */
void tg_lane_pass_gaps(struct tg_lane *lane, int order, tg_log_position position);
/* Events that have never come, and never will: their marker waits behind the events that did, and is in the
 * log as these are. */
void tg_lane_missed(struct tg_lane *lane, const struct tg_gap *gap);
/* Of a left feed: what is lost of it, and is not queued, need not be told any more. `some`: but for what is
 * asked for. */
void tg_lane_forget_gaps(struct tg_lane *lane, bool some);
/* Of a left feed: whether any of its pending gaps is asked for. */
bool tg_lane_has_gap(const struct tg_lane *lane);
/* The marker for a gap, with `text` for its message. */
struct tg_item tg_gap_item(const struct tg_lane *lane, const struct tg_gap *gap, char text[TG_GAP_MAX]);
/* A session is adopted: is what the log has lost at its end still to be had from
 * Discord? Returns where to resume from. */
uint64_t tg_lane_heal(struct tg_lane *lane, uint64_t epoch, uint64_t settled);
/* The highest sequence of that session that waits in any log, if it is the last there; `last` if none is
 * higher. */
uint64_t tg_lane_last_waiting(const struct tg_lane *lane, uint64_t epoch, uint64_t last);
/* The same of all that is or was in any log. */
uint64_t tg_lane_last_logged(const struct tg_lane *lane, uint64_t epoch, uint64_t last);
/* The event, which was sent before a marker in front of it, is done. True: its log hears of that when the
 * marker is delivered. */
bool tg_lane_keep_ack(struct tg_lane *lane, const struct tg_queued *event);
/* That log goes: it need not hear of anything. */
void tg_lane_drop_kept(struct tg_lane *lane, const struct tg_log_source *source);
/* No markers are queued any more: logs hear of what waited for them. */
void tg_lane_ack_kept(struct tg_lane *lane);
/* A marker, or the last event of a log, is delivered: if no more markers are on their
 * way, the logs hear that what they have lost is told. */
void tg_lane_told(struct tg_lane *lane);

/* --- handover.c --- */

/* What the marker that tells of it has for its message. */
void tg_handover_write(struct tg_buf *text, const struct tg_handover *handover);
/* Queues it, behind what waits; nothing without event_handler.markers. `sequence`: of the last event of this
 * session in front of it, or below that of the first behind it: not beyond what was received. */
void tg_lane_tell_handover(struct tg_lane *lane, uint64_t sequence, const struct tg_handover *handover);

/* --- gap.c --- */

/* What the marker that tells of it has for its message. Returns its length. */
size_t tg_gap_write(char text[TG_GAP_MAX], const struct tg_gap *gap);
/* The event of that lane, whatever it is. `text`: room for what a gap tells. */
struct tg_stored tg_lane_stored(const struct tg_lane *lane, const struct tg_queued *event,
                                char text[TG_GAP_MAX]);
/* What an event that is a gap stands for. */
struct tg_gap tg_gap_of(const struct tg_queued *event);
