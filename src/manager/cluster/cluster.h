#pragma once

/* One host's part in a cluster: which shards are its own, by leases in Redis.
 *
 * Pure: no I/O, no clock of its own; every call is told the time, `now`, which
 * is CLOCK_BOOTTIME in ms (it runs while the machine sleeps, and nobody sets it).
 * Whoever has one
 *   - sends its calls (tg_cluster_next_call()) to Redis, in their order, over one
 *     connection, and hands back the answers (tg_cluster_answered());
 *   - does what its words say (tg_cluster_next_word()), before it says anything else;
 *   - tells it what becomes of shards, and calls tg_cluster_tick() at
 *     tg_cluster_wakeup(), and after each answer.
 *
 * Redis decides (scripts/): each call is one step there. What a host believes of
 * itself it believes for TG_LEASE_HELD ms from before the beat left that Redis has
 * confirmed; Redis gives the shard to another TG_LEASE_TTL after it came, by its own
 * time, which may be wrong by 1,500 ms. So no two hosts ever hold a shard.
 *
 * A shard here: none -> expected (another host has offered it) -> held
 *               held -> let go (asked to stop) -> released -> left -> void
 *               held -> lost (another host has it) -> left -> void
 * What is left of a shard, undelivered, is not delivered by this host any more but
 * for its holes, which Redis names; once void it is thrown away.
 *
 * Of a lease that has run out, without a word of who else has the shard, the host is
 * unsure: a machine that has slept holds its deliveries until Redis answers; but if
 * Redis cannot be reached all that ran goes on (TG_LEASE_OPEN), events are delivered,
 * and repeats have equal keys. No shard identifies meanwhile, and none is claimed. */

#include "base/buf.h"
#include "base/clock.h"
#include "manager/identify/scheduler.h"

#include <stdbool.h>
#include <stdint.h>

enum {
  TG_LEASE_TTL = 6000,  /* ms that Redis keeps a lease without a beat */
  TG_LEASE_HELD = 4000, /* ms that its host counts on it */
  TG_BEAT_INTERVAL = 1000,
  TG_BEAT_SHARDS = 128,     /* of one call */
  TG_REDIS_PATIENCE = 3000, /* ms without an answer until Redis counts as away */
  TG_REDIS_WOKEN = 2000,    /* ... after this process has stood still */
  TG_STOOD_STILL = 1000,    /* ms between two ticks that tell that it has */
  TG_HOSTS_SETTLE = 3000,   /* ms that the set of hosts stands still before a start claims */
  TG_HOSTS_SETTLE_MAX = 10000,
  TG_GIVE_INTERVAL = 500,  /* ms between two rounds of offers */
  TG_GIVE_AT_ONCE = 2,     /* moves of one giver */
  TG_DRAIN_INTERVAL = 100, /* the same of one that drains: somebody waits for its end */
  TG_DRAIN_AT_ONCE = 8,
  TG_MOVE_MAX = 10000,  /* ms that a receiver waits for what was offered */
  TG_MOVE_READY = 3000, /* ms that a giver waits for a receiver to have its HELLO */
  TG_CUT_AGAIN = 30000, /* ms within which a second cut means that another host has the session */
};

#define TG_LEASE_OPEN INT64_MAX

/* A session as Redis has it. Texts may be NULL: none. */
struct tg_cluster_session {
  uint64_t epoch; /* 0: there was none yet */
  const char *id, *resume_url;
  const char *digest; /* of the session's intents and options */
};

/* How far a shard's events are, as its row has it. */
struct tg_cluster_progress {
  uint64_t epoch, durable; /* of the session */
  /* All up to here is delivered, or was dropped by policy, or belongs to others: the first
   * event that is not may be of an earlier epoch than the session. */
  uint64_t delivered_epoch, delivered;
  uint32_t guilds;
  /* Of a new shard, while the number of shards is changed: its class had switched, for all to know, when it
   * was here, so that what is not delivered came by it alone. */
  bool published;
};

struct tg_cluster_options {
  const char *host; /* its name */
  const char *home; /* its state directory: an id that is made once and kept there */
  /* Rises with each start from that directory, and has some chance in its last digits, so that a copy of
   * the directory that runs, too, has another one. Below 10^14. A live upgrade is no start. */
  uint64_t life;
  const char *bot;    /* the same for all hosts of a bot */
  const char *digest; /* of intents and session options: sessions go only between equal ones */
  int total;          /* as configured; 0: what the cluster has, or Discord recommends */
  int was;            /* of how many shards tg_cluster_had() tells; 0: of `total` */
  /* What this host knows of changes of the number of shards: the one that it was in (0: in none) and to how
   * many; the last that was over, the last that was not taken back, and how many shards there were before. */
  uint64_t change, ended, done;
  int to, before;
  int reserve; /* identifies of the day that are not used */
  /* The highest epoch and fence that this host knows of, or the time in Unix seconds, if that is higher and
   * sane. */
  uint64_t mark;
  /* Asked at each beat of each shard of which a lease is kept, and when it is lost or released. */
  void (*progress)(void *ctx, int shard, struct tg_cluster_progress *progress);
  void *ctx;
};

/* While the number of shards is being changed, a new shard has this number and its own, in calls and words:
 * both sets are there. */
enum { TG_CLUSTER_NEXT = 1 << 17 };

struct tg_cluster;

/* Copies the options. */
struct tg_cluster *tg_cluster_new(const struct tg_cluster_options *options, tg_ms now);
void tg_cluster_free(struct tg_cluster *cluster);

/* Before the first tick: this host had that shard when it ended, as its row says. Should the
 * lease still be there the shard goes on from the row and the log (TG_CLUSTER_RUN with `own`). */
void tg_cluster_had(struct tg_cluster *cluster, int shard, uint64_t fence,
                    const struct tg_cluster_session *session);
/* Likewise: something is left of that shard, from when this host had it under that fence, and came so far. */
void tg_cluster_left(struct tg_cluster *cluster, int shard, uint64_t fence,
                     const struct tg_cluster_progress *progress);
/* Likewise, of a shard as they were before the last change of their number (options.before). */
void tg_cluster_left_before(struct tg_cluster *cluster, int shard, uint64_t fence,
                            const struct tg_cluster_progress *progress);

/* ---- another program in this one's place ---- */

/* Nothing is begun for now of which another program in this one's place would have to know more than what
 * stands in rows: no claim, no move, no identify. Or it goes on. */
void tg_cluster_rest(struct tg_cluster *cluster, bool rest);
/* Nor is such a thing under way. `sure`: and Redis has confirmed all leases since, and knows of no change of
 * the number of shards. */
bool tg_cluster_at_rest(const struct tg_cluster *cluster, bool sure);

/* What the one before has known. */
struct tg_cluster_succession {
  int total;
  tg_ms at; /* when that was */
  uint64_t moves, lost_leases;
};

/* In that program, which has the life of the one before, and rests at first. Before tg_cluster_had(). */
void tg_cluster_succeed(struct tg_cluster *cluster, const struct tg_cluster_succession *before);
/* After tg_cluster_had(): workers run the shard, and count on its lease until then, as its row says. */
void tg_cluster_runs_on(struct tg_cluster *cluster, int shard, tg_ms until);

/* ---- Redis ---- */

struct tg_cluster_call {
  uint64_t id;
  const char *name; /* first argument of the script */
  char *body;       /* second one, JSON; the caller's to free */
};

/* The connection is there; `run_id` as INFO says it, of the process at its other end. */
void tg_cluster_link_up(struct tg_cluster *cluster, const char *run_id, tg_ms now);
/* It has ended, or an answer was an error of Redis itself, for which the owner ends it. What
 * became of the calls under way is not known; they are forgotten. */
void tg_cluster_link_down(struct tg_cluster *cluster, tg_ms now);
bool tg_cluster_next_call(struct tg_cluster *cluster, struct tg_cluster_call *call);
/* False: not JSON, or not what the script answers. */
bool tg_cluster_answered(struct tg_cluster *cluster, uint64_t id, const char *text, size_t length, tg_ms now);
/* An entry of this host's stream whose word is one of the cluster's (offer, ready, given); false: it is not.
 */
bool tg_cluster_posted(struct tg_cluster *cluster, const char *word, const char *body, size_t length,
                       tg_ms now);

/* ---- time ---- */

void tg_cluster_tick(struct tg_cluster *cluster, tg_ms now);
tg_ms tg_cluster_wakeup(const struct tg_cluster *cluster,
                        tg_ms now); /* never -1: there is always a beat to come */

/* ---- words: what the owner does ---- */

enum tg_cluster_word_kind {
  /* The shard is this host's: run it. The row gets `fence`, first of all.
   * `own`: what row and log have holds; if the row has a session, RESUME from what is durable.
   * Else `session` (texts NULL: identify) holds, from `sequence`: RESUME there, and log and
   * deliver what comes behind it; what the log has of this shard is left (see above). */
  TG_CLUSTER_RUN,
  /* Another host has it: stop at once, reading and delivering; close the connection as one that
   * is not there any more. Its undelivered records are left. */
  TG_CLUSTER_LOST,
  /* A move begins: connect as far as HELLO, then tg_cluster_expected(). */
  TG_CLUSTER_EXPECT,
  /* Nothing came of it: close that connection. */
  TG_CLUSTER_UNEXPECT,
  /* Stop reading, close with 4000, cancel what is being delivered; then tg_cluster_let_go(). */
  TG_CLUSTER_LET_GO,
  /* It stays: RESUME from what is durable here, deliver on. */
  TG_CLUSTER_KEEP,
  /* The receiver has it. Its undelivered records are left. */
  TG_CLUSTER_RELEASED,
  /* Throw away what is left of the shard from before it was lost or released, but for nothing. */
  TG_CLUSTER_VOID,
  /* Deliver, marked as late, what is left between (from_epoch, from), which is not part of it, and
   * (to_epoch, to), which is; then tg_cluster_filled(). After a start it is said again. */
  TG_CLUSTER_HOLE,
  /* op 2 may leave until `deadline`; its READY begins the session `epoch`. Then tg_cluster_sent(), and
   * tg_cluster_done(); or tg_cluster_unask(). */
  TG_CLUSTER_GRANTED,
  /* This host leads: ask /gateway/bot, then tg_cluster_budget(). Said again every 10 s until then. */
  TG_CLUSTER_ASK_DISCORD,
  /* The total is known: open the table for `total` shards. Before all words with a shard. `change`: the last
   * change of it that was not taken back; 0: none. */
  TG_CLUSTER_TOTAL,
  /* The number of shards is being changed, to `total`: the change `change`. New shards are run (RUN, of
   * TG_CLUSTER_NEXT and its number) as their classes are here; a class is what one old shard and its new ones
   * are, and goes with the lease of the old one. See tg_cluster_class(). */
  TG_CLUSTER_CHANGE,
  /* The class of the old shard `shard` is so far (`step`), for all hosts to know. If it has come from another
   * host, before its shards are run: `text` is the file of that one; NULL: none. From TG_CLASS_STEP_SWITCHED
   * on the old shard is not run by who takes the class. */
  TG_CLUSTER_CLASS,
  /* It is taken back: nothing is left of the new shards. */
  TG_CLUSTER_TAKEN_BACK,
  /* There are `total` shards now, and `change` was the change. `own`: the new shards are the shards; those
   * that ran here run on. Else this host was not there: it has none. */
  TG_CLUSTER_CHANGED,
  /* This host cannot take part: `text` is what differs ("bot", "total", or "name": it is alive
   * elsewhere), `theirs` the cluster's value. Said once; nothing comes behind it. Hosts that have died, or
   * were stopped, are waited for, TG_LEASE_TTL: they object no more. */
  TG_CLUSTER_MISMATCH,
};

/* How far a class is. */
enum tg_class_step {
  TG_CLASS_STEP_NONE,
  TG_CLASS_STEP_UP,       /* its new shards have had their READY */
  TG_CLASS_STEP_SWITCHED, /* they deliver, and the old one does not any more; it cannot be taken back */
  TG_CLASS_STEP_SETTLED,  /* the old one is not needed any more */
  TG_CLASS_STEP_CLOSED,   /* it is closed */
};

struct tg_cluster_word {
  enum tg_cluster_word_kind kind;
  int shard, total; /* of shards that were before a change: of how many; else as they are now */
  enum tg_class_step step;
  uint64_t change;
  uint64_t fence, epoch, sequence;
  bool own;
  struct tg_cluster_session session;
  uint64_t from_epoch, from, to_epoch, to;
  const char *key; /* of a hole */
  tg_ms deadline;
  const char *text, *theirs;
};

/* False: nothing. Texts live until the next call of this function. */
bool tg_cluster_next_word(struct tg_cluster *cluster, struct tg_cluster_word *word);

/* ---- what becomes of shards ---- */

/* READY, or RESUMED, of this session. */
void tg_cluster_runs(struct tg_cluster *cluster, int shard, const struct tg_cluster_session *session);
void tg_cluster_expected(struct tg_cluster *cluster, int shard);
/* It has stopped; the progress is asked for. `keep`: it has not, and goes on (its owner could not). */
void tg_cluster_let_go(struct tg_cluster *cluster, int shard, bool keep);
void tg_cluster_filled(struct tg_cluster *cluster, const char *key);

/* Until when, of `now`'s clock, the shard's events may be delivered; 0: it is not this host's;
 * TG_LEASE_OPEN: Redis is away. For the row: workers look before each delivery, so that one which
 * has slept does not deliver before the manager has looked. */
tg_ms tg_cluster_lease_until(const struct tg_cluster *cluster, int shard);
/* The shard is run here, for sure or not. */
bool tg_cluster_has(const struct tg_cluster *cluster, int shard);

/* The connection was ended by the other end. */
void tg_cluster_cut(struct tg_cluster *cluster, int shard, tg_ms now);
/* Whether it may be resumed now: not while it may be another host's, nor after a second cut while Redis is
 * away. */
bool tg_cluster_may_resume(const struct tg_cluster *cluster, int shard);

/* It has its HELLO and no session: asks Redis until it is granted. */
void tg_cluster_ask(struct tg_cluster *cluster, int shard, enum tg_identify_priority priority, tg_ms now);
/* It does not want to any more, or its grant was not used. */
void tg_cluster_unask(struct tg_cluster *cluster, int shard);
void tg_cluster_sent(struct tg_cluster *cluster, int shard);
/* READY (besides tg_cluster_runs()), op 9, or the end of the connection. */
void tg_cluster_done(struct tg_cluster *cluster, int shard);

void tg_cluster_budget(struct tg_cluster *cluster, int limit, int remaining, tg_ms reset_after,
                       int max_concurrency, int shards);

/* While the number of shards is being changed: how far the class of that old shard is here, and what another
 * host would have to know to go on with it (NULL: as it was said before, or nothing). What it has taken over
 * is not delivered before TG_CLUSTER_CLASS says that it has switched; and until then all that the old shard
 * has is to be delivered, and nothing of it counts as durable that the new ones have taken over. Said again,
 * with another `file`, as that changes. */
void tg_cluster_class(struct tg_cluster *cluster, int shard, enum tg_class_step step, const char *file);

/* All shards go to others, as fast as others take them. `anyway`: also those of which much is not
 * delivered, which leaves holes. */
void tg_cluster_drain(struct tg_cluster *cluster, bool anyway);

/* ---- for people ---- */

struct tg_cluster_host {
  const char *name, *digest;
  int shards;
  bool draining;
  tg_ms age; /* ms since its last beat, when Redis answered */
};

/* Identifies of the day, of all hosts together. */
struct tg_cluster_budget_view {
  int limit, max_concurrency; /* 0: not known */
  int remaining;              /* -1: not known */
  tg_ms reset_after;          /* when Redis answered; 0: no day has begun */
};

struct tg_cluster_view {
  bool away;          /* Redis does not answer */
  tg_ms quiet;        /* ms left, when Redis answered */
  const char *leader; /* NULL: not known */
  int total, held, unsure, free, target, holes;
  struct tg_cluster_budget_view budget;
  uint64_t moves, lost_leases; /* counters */
  tg_ms beat;                  /* that the last beat took, there and back */
  tg_ms held_back;             /* until then no identify: the day's reserve; 0: not so */
  uint64_t mark;               /* the highest epoch or fence that this host knows of */
  int to;                      /* the number of shards is being changed to that; 0: it is not */
  int classes[4];              /* so many are at least at a step, from the first on */
  const struct tg_cluster_host *hosts;
  int host_count;
};

/* As of the last beat; lives until the next call with the cluster. */
void tg_cluster_view(const struct tg_cluster *cluster, struct tg_cluster_view *view);

/* ---- the script ---- */

/* All of scripts/, one text for SCRIPT LOAD. Called with one key, "<prefix>:{<name>}", and two arguments.
 * Calls for people (status, forget, reshard, abort) are made by the owner itself; each needs "run", the run
 * id of that Redis, and "mark", 0. */
extern const char tg_cluster_script[];
