#pragma once

/* The identify scheduler: which shard may connect ahead, and which may send
 * op 2 now.
 *
 * Pure: no I/O, no clock of its own; every call is told the time. Shards fall
 * of both sets fall into buckets by shard id % max_concurrency; one op 2 a bucket at a time:
 *
 *     enqueue -> next_start: tell its worker to connect
 *             -> ask:        it has its HELLO
 *             -> next_grant: op 2 may leave within TG_GRANT_VALID ms
 *             -> sent, then done  |  unused: the slot is free again at once
 *
 * A slot runs from when op 2 was sent: at least `spacing`, and until READY,
 * op 9 or close, at most TG_SLOT_MAX. Within a bucket lost sessions go before
 * first starts, those before resharding, equals in order of their coming: of
 * being told to connect, or of asking for those that other programs run. A
 * bounded number connects ahead. A shard whose identifies keep failing waits
 * longer and longer, so that nothing burns the day's identifies in a loop
 * (these waits are hurried by tg_patience(), what Discord measures is not).
 *
 * Shards of other programs (grants.h) only ask. A host of a cluster, whose buckets
 * are used by other hosts, too (tg_scheduler_share()), uses no next_grant(): it asks
 * the cluster for each shard that is due, and enters what it gets with
 * tg_scheduler_grant_until(). */

#include "base/clock.h"
#include "proto/shard_ref.h"

#include <stdbool.h>

enum tg_identify_priority { TG_IDENTIFY_LOST, TG_IDENTIFY_FIRST, TG_IDENTIFY_RESHARDING };

enum tg_identify_state {
  TG_IDENTIFY_IDLE,    /* has what it needs, or is not known */
  TG_IDENTIFY_QUEUED,  /* waits to be told to connect */
  TG_IDENTIFY_STARTED, /* told; has no HELLO yet */
  TG_IDENTIFY_ASKING,  /* connected, waits for its slot */
  TG_IDENTIFY_GRANTED, /* may send until the deadline */
  TG_IDENTIFY_SENT,    /* op 2 is out; READY has not come */
};

enum {
  TG_CONNECT_AHEAD = 2,       /* shards of a bucket on their way to their slot */
  TG_GRANT_VALID = 400,       /* ms */
  TG_GRANT_VALID_AWAY = 1000, /* ms for another program: the way there and back is part of it */
  TG_GRANT_GRACE = 1000,      /* ms more until a silent grant counts as used */
  TG_SLOT_MAX = 15000,        /* ms that a slow READY may hold its bucket */
  TG_START_ORDER = 1000,      /* ms that a slot waits for a shard whose turn comes first to have its HELLO */
  TG_START_STALE = 30000,     /* ms until a shard without HELLO no longer keeps others back */
  TG_SESSION_HEALTHY = 60000, /* ms that a session must live to count as a success */
  TG_IDENTIFY_RETRY = 2000,   /* ms before the second try, doubling ... */
  TG_IDENTIFY_RETRY_MAX = 600000,
  TG_GAVE_UP_WAIT = 1000, /* ms before a shard that left without identifying is told to connect again */
  TG_SCHEDULED_SHARD_MAX = 65535,
};

struct tg_scheduler;

struct tg_scheduler *tg_scheduler_new(int max_concurrency, tg_ms spacing);
void tg_scheduler_free(struct tg_scheduler *scheduler);

/* Other hosts' shards use the same buckets: one that has its HELLO is enough of each,
 * for its turn may be long in coming. */
void tg_scheduler_share(struct tg_scheduler *scheduler);

/* After a start of the process: the bucket was used; nothing before `free_at`. */
void tg_scheduler_hold(struct tg_scheduler *scheduler, int bucket, tg_ms free_at);

/* How many identifies may still go out (session_start_limit less the reserve).
 * Counted down by grants, up by unused ones; the owner sets it anew from its
 * ledger whenever it likes. Starts at 0. */
void tg_scheduler_set_allowance(struct tg_scheduler *scheduler, int allowance);

/* Whoever is granted a slot hears of it so many ms later, for it is written down before; slots are valid so
 * much longer. */
void tg_scheduler_set_delay(struct tg_scheduler *scheduler, tg_ms delay);

/* The shard needs an identify. From whatever state: its earlier try is over. */
void tg_scheduler_enqueue(struct tg_scheduler *scheduler, tg_shard_ref ref,
                          enum tg_identify_priority priority, tg_ms now);

/* The shard was told to connect, or tries again to. */
void tg_scheduler_started(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now);

/* The shard has its HELLO and wants its slot. */
void tg_scheduler_ask(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now);

/* The same for a shard of another program, of which nothing more is heard: its grant counts as
 * used at the deadline. */
void tg_scheduler_ask_away(struct tg_scheduler *scheduler, tg_shard_ref ref,
                           enum tg_identify_priority priority, tg_ms now);

/* The next shard to be told to connect; it counts as started. Call until false. */
bool tg_scheduler_next_start(struct tg_scheduler *scheduler, tg_ms now, tg_shard_ref *ref);

/* The next shard that may identify, and until when. Call until false. */
bool tg_scheduler_next_grant(struct tg_scheduler *scheduler, tg_ms now, tg_shard_ref *ref, tg_ms *deadline);

/* Somebody else decided that this shard may identify now. Returns the deadline. */
tg_ms tg_scheduler_grant_anyway(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now);

/* Whoever decides elsewhere has granted: op 2 may leave until `deadline`. */
void tg_scheduler_grant_until(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms deadline, tg_ms now);

/* Whether the shard asks for its slot and need not wait after failures, whatever its bucket does. */
bool tg_scheduler_due(const struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now);

/* Until when the shard may send; 0: it holds no grant. */
tg_ms tg_scheduler_deadline(const struct tg_scheduler *scheduler, tg_shard_ref ref);

/* Op 2 has left. */
void tg_scheduler_sent(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now);
/* The grant was not used, or the shard no longer asks: its connection is gone.
 * True: it held its slot, which is free again. */
bool tg_scheduler_unused(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now);
void tg_scheduler_done(struct tg_scheduler *scheduler, tg_shard_ref ref, bool ready, tg_ms now);

/* The shard's process has died, or the shard was stopped. A grant it held
 * counts as used. It is forgotten until it is enqueued again. */
void tg_scheduler_gone(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now);

/* The same, and the shard is no more: another one may come to have its name, with
 * which it has nothing in common. */
void tg_scheduler_forget(struct tg_scheduler *scheduler, tg_shard_ref ref, tg_ms now);

/* When something can become due by time alone; -1: never. */
tg_ms tg_scheduler_wakeup(struct tg_scheduler *scheduler, tg_ms now);

/* About how long until every shard that waits now has had its slot. */
tg_ms tg_scheduler_eta(const struct tg_scheduler *scheduler, tg_ms now);

enum tg_identify_state tg_scheduler_state(const struct tg_scheduler *scheduler, tg_shard_ref ref);
enum tg_identify_priority tg_scheduler_priority(const struct tg_scheduler *scheduler, tg_shard_ref ref);
int tg_scheduler_waiting(const struct tg_scheduler *scheduler); /* QUEUED to GRANTED */
int tg_scheduler_bucket(const struct tg_scheduler *scheduler, tg_shard_ref ref);
