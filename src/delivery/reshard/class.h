#pragma once

/* A class of guilds while the bot's number of shards is being changed: which of two sets of shards delivers
 * its events, and which events of the other set are the same.
 *
 * Members are the shards of the class, the old ones first. One side *rules*: its events are delivered. What
 * the other shows is compared with that, event by event, in both directions:
 *
 *     the ruler shows x     an equal event of the other side is held: it is dropped, x is delivered
 *                           the other side has delivered an equal one when it ruled: x is dropped
 *                           neither: x is delivered, and its copy is awaited (an *open* entry)
 *     the other shows y     an equal one was delivered: y is dropped
 *                           else y is held, raw, until the ruler shows it; or until the class is switched:
 * then what is held is delivered, in order, and the ruler's copy is awaited
 *
 * so that each event is delivered once, whichever side is ahead, and however often the class is switched.
 * Nothing here does I/O but notes in the mapped skip file (skip_file.h). Time is given: tg_now(), never
 * falling. Loop thread only.
 *
 * --- What the owner does ---
 *
 * At the start of a resharding, and at each start of a process in the middle of one, before any event of a
 * member:
 *
 *     options.skip = tg_skip_file_open(...)            NULL: never switched, or the first time
 *     class = tg_class_new(&options)
 *     for each member m with a row: tg_class_know(class, m, epoch of the row)
 *         the row's epoch is then to be tg_class_epoch(class, m), which is higher if the process died between
 * a switch and the row: write it back before anything uses it for each member m with a session in its row
 * (RESUME follows), once its lane has found out from where on: tg_class_session(class, m, {.epoch, .through,
 * .fresh = false}, now) ALL of them before the first event of ANY of them, and before the first tick: whether
 * a copy that was dropped was durable, and comes again, is decided by their numbers. `through` is the number
 * up to and with which the lane drops what it has had (is_next()). A lane that rules takes what its log has;
 * one that does not takes what the row says, and never more.
 *
 * Then, as it happens (m: tg_class_member_of(class, ref)):
 *
 *     READY            epoch of the new session: at least tg_class_next_epoch(class);
 * tg_class_session(fresh), then tg_class_link(UP), then show READY itself (it is delivered) connection gone
 * tg_class_link(DOWN); op 6 sent, until RESUMED: REPLAYING; RESUMED: UP session lost     tg_class_lost(), as
 * soon as it is known (op 9, too old), before another READY numbers missing  tg_class_skipped(), before the
 * event behind them is shown guilds loaded    tg_class_loaded(): all of READY's list have come, or none has
 * for 15 s an event         behind the number check, before counts, caches of messages, filters and scripts:
 *                      tg_class_show(); PASS: on by the usual path; SKIP, HOLD: that was all
 *     log flushed, or (without a log) an event delivered: tg_class_settled()
 *     heartbeat, RESUME, row: no higher than tg_class_bound()
 *     after each of session, lost, skipped, show == HOLD, tick: if tg_class_urges(), switch at once, within
 * the call when its moment has come: tg_class_tick()
 *
 * A switch, forth or back alike, within one turn:
 *
 *     flush the log (must succeed), tg_class_settled() for each member, and the durable number of each into
 * its row: what the class has forgotten as safe must not come again tg_class_list(class, &list); file =
 * tg_skip_file_make(dir, &list, error); tg_skip_list_free(&list) NULL: nothing has happened; else it is
 * decided for each member m: lane and row have the epoch tg_skip_file_list(file)->members[m].epoch from now
 * on. Or later in this turn: the class says it again by tg_class_epoch() tg_class_switch(class, file, now,
 * release, ctx)     calls release() for what was held flush
 *
 * GUILD_CREATE and GUILD_DELETE: the guild caches of both sides are kept up for what both sides show, before
 * tg_class_show(), which gets what the event means. A GUILD_CREATE that is "loading" for its own session
 * while the other side's cache has the guild in outage is AVAILABLE: it is the same return of the guild, and
 * would be lost if the class were switched before the other side shows it. */

#include "base/clock.h"
#include "delivery/reshard/skip_file.h"
#include "proto/event.h"
#include "proto/event_key.h"
#include "proto/event_types.h"
#include "proto/shard_ref.h"
#include "shared/class_state.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tg_class;

/* How much raw text may be held: of a member, and of all classes of a worker. */
#define TG_HOLD_MEMBER_BYTES (4u << 20)
#define TG_HOLD_WORKER_BYTES (32u << 20)

struct tg_class_options {
  int number, from, to; /* of the class; shards of the old set and the new */
  int old_side;         /* 0 or 1; the new one is the other */
  uint64_t seed;        /* random and secret, for tg_event_key(). With a skip file its seed is taken */
  uint64_t *held_bytes; /* of all classes of this worker: theirs together; outlives them */
  size_t member_bytes, worker_bytes; /* 0: the bounds above */
  tg_ms grace; /* how long an interaction may wait for its answer (interaction.grace); 0: no matter */
  bool clustered;            /* other hosts may get the class: see tg_class_publish() */
  struct tg_skip_file *skip; /* of an earlier process; taken over, also by a NULL that is returned. Or NULL */
};

/* NULL: `number` is no class of that change. */
struct tg_class *tg_class_new(const struct tg_class_options *options);
/* The skip file is closed, not removed. What is held is dropped: it is not durable. */
void tg_class_free(struct tg_class *class);

int tg_class_number(const struct tg_class *class);
int tg_class_members(const struct tg_class *class);
/* -1: the shard is none of its members. Constant time. */
int tg_class_member_of(const struct tg_class *class, tg_shard_ref ref);
tg_shard_ref tg_class_ref(const struct tg_class *class, int m);

/* The side that delivers, 0 or 1; and whether the shard is of it. */
int tg_class_ruling_side(const struct tg_class *class);
bool tg_class_rules(const struct tg_class *class, int m);
/* Whether its side has ever ruled, for all to know: then what its lane has may be sent. */
bool tg_class_has_ruled(const struct tg_class *class, int m);

/* --- sessions --- */

/* Some session of that shard had this epoch. */
void tg_class_know(struct tg_class *class, int m, uint64_t epoch);
/* What its session's epoch is to be: a switch raises those of the side that takes over. 0: none is known. */
uint64_t tg_class_epoch(const struct tg_class *class, int m);
/* Above all that the members ever had: for a READY. */
uint64_t tg_class_next_epoch(const struct tg_class *class);

struct tg_class_session {
  uint64_t epoch;   /* as it counts now, raised if need be */
  uint64_t through; /* what was shown or is durable up to here: it does not come again. Fresh: 0 */
  /* The highest number of that session in the lane's log: what belongs to the session alone (READY, chunks)
   * is delivered up to there, though it may come again to a member that does not rule. Fresh, without a log:
   * 0 */
  uint64_t logged;
  bool fresh; /* by READY; else to be resumed */
};

/* The member has this session from now on. Said again for the session that it has, it changes nothing. */
void tg_class_session(struct tg_class *class, int m, const struct tg_class_session *session, tg_ms now);

enum tg_class_link {
  TG_CLASS_DOWN,      /* no connection, or none on which events flow yet */
  TG_CLASS_ASKING,    /* between op 2 and READY */
  TG_CLASS_REPLAYING, /* between op 6 and RESUMED */
  TG_CLASS_UP,
};
void tg_class_link(struct tg_class *class, int m, enum tg_class_link link, tg_ms now);

/* Its session is over, and will not be resumed; no op 2 has been sent since. */
void tg_class_lost(struct tg_class *class, int m, tg_ms now);
/* Discord has left out numbers of the session. */
void tg_class_skipped(struct tg_class *class, int m, tg_ms now);
/* Its guilds are here. */
void tg_class_loaded(struct tg_class *class, int m, tg_ms now);
/* So many guilds are available to one side, and away for the other; one of them. While there are some, the
 * class is LOADING. */
void tg_class_missing(struct tg_class *class, uint32_t guilds, uint64_t example, tg_ms now);

/* --- events --- */

enum tg_class_verdict {
  TG_CLASS_PASS, /* to be delivered */
  TG_CLASS_SKIP, /* delivered by the other side, or for nobody */
  TG_CLASS_HOLD, /* copied; see tg_class_urges() */
};

/* The event of member m, with event->epoch as it came; numbers of a member rise. `change` as event_key.h
 * says. */
enum tg_class_verdict tg_class_show(struct tg_class *class, int m, const struct tg_event *event,
                                    enum tg_guild_change change, tg_ms now);

/* --- what is durable --- */

/* Lane and log of member m have all that was delivered up to and with this number safe: in the flushed log,
 * or (without a log) accepted by the handler. The lane's own number, not lowered by tg_class_bound(). */
void tg_class_settled(struct tg_class *class, int m, uint64_t epoch, uint64_t through);

/* The member's session is done up to and with *sequence only: what follows is held, or its copy of the other
 * side is not safe. False: the class sets no bound. */
bool tg_class_bound(struct tg_class *class, int m, uint64_t *sequence);

/* --- states --- */

enum tg_class_state tg_class_state(const struct tg_class *class);

/* What the class waits for, for people; "" (and false): nothing. */
bool tg_class_waits_for(const struct tg_class *class, char *text, size_t size);

/* Expires what has no copy, changes states. Returns the moment of the next call; about once a second is
 * enough. */
tg_ms tg_class_tick(struct tg_class *class, tg_ms now);

/* All that the side that does not rule has delivered has come to the other one, too, which would not show it
 * again to another process: the class may end like this, if the lanes of that side are empty. */
bool tg_class_is_through(struct tg_class *class);

/* It is known which events the sides share, and all members are up: to switch from the old side to the new
 * (or `back`) costs nothing. False if the other side does not rule. */
bool tg_class_may_switch(const struct tg_class *class, bool back);

enum tg_class_urge {
  TG_CLASS_CALM,
  TG_CLASS_LOST,     /* the ruling side has lost a session, the other side has all that it would have shown */
  TG_CLASS_MISSED,   /* the ruling side was not shown some events */
  TG_CLASS_AWAY,     /* an interaction is held, and the ruler has no connection to show it */
  TG_CLASS_OVERFULL, /* more is held than may be */
};
/* Why it must be switched (back, if the new side rules) now and unasked. If it is not, it is as ever: the
 * next event of the ruler goes on, and the class begins to compare anew. */
enum tg_class_urge tg_class_urges(const struct tg_class *class);
/* "a session of the old side was lost", ...; for the log. */
const char *tg_class_urge_text(enum tg_class_urge urge);

/* The lanes of the side that no longer rules are empty. */
void tg_class_emptied(struct tg_class *class, tg_ms now);
/* The shards of that side are closed. */
void tg_class_closed(struct tg_class *class, tg_ms now);

/* --- the switch --- */

/* What the skip file has to say for a switch that follows at once. The list is the caller's, to be freed. */
void tg_class_list(const struct tg_class *class, struct tg_skip_list *list);

struct tg_class_held {
  struct tg_event *event; /* as it came, with the epoch that counts now; lives during the call */
  enum tg_guild_change change;
  tg_ms came_at;
};

/* The other side rules, by the file just made of that list; it is taken over. What that side holds is
 * released member by member in order of numbers. */
void tg_class_switch(struct tg_class *class, struct tg_skip_file *file, tg_ms now,
                     void (*release)(void *ctx, int m, const struct tg_class_held *held), void *ctx);

/* --- other hosts ---
 *
 * Where several hosts share the shards a class goes with its old shard until it is known to all that it has
 * switched. Whoever gets it before begins its new shards anew, and resumes the old one from its row: so from
 * the switch on nothing counts of the old session, and nothing that the new ones have taken over is
 * delivered, until tg_class_publish(). Who gets it afterwards resumes the new shards by their rows, with the
 * skip file as it is by then; the old one is nobody's any more. So a class does not go back by itself. */

/* It has switched, and waits for that. */
bool tg_class_waits_for_word(const struct tg_class *class);
/* All hosts know that it has switched. */
void tg_class_publish(struct tg_class *class);
/* Rises with all that changes in the skip file. */
uint64_t tg_class_uses(const struct tg_class *class);
/* Others know the file as it was when that was said. Copies that were dropped by it are durable only then:
 * whoever resumes from behind them has to know that they do not come. */
void tg_class_told(struct tg_class *class, uint64_t uses);
/* The skip file, as it is now; NULL: it has not switched. */
const struct tg_skip_list *tg_class_skip_list(const struct tg_class *class);

/* --- figures --- */

struct tg_class_figures {
  uint64_t held, held_bytes;
  uint64_t open;       /* delivered, the other side's copy is awaited */
  uint64_t unmatched;  /* expired without a copy, ever */
  uint64_t overflowed; /* dropped because too much was held, ever: all of them are the ruler's to show */
  int lost;            /* the side that has lost a session since the last switch; -1: none */
};
void tg_class_figures(const struct tg_class *class, struct tg_class_figures *figures);
/* Expired events of a type. */
uint64_t tg_class_unmatched(const struct tg_class *class, uint16_t type);
/* Whether the two sides have been seen to differ in events of this type, so that the ruler's are forwarded
 * and the other's dropped. */
bool tg_class_is_cut(const struct tg_class *class, uint16_t type);
