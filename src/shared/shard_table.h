#pragma once

/* The shard table: one row a shard of a set (proto/shard_ref.h) in a memory-mapped
 * file of the state directory ("shards"; of side 1 "shards.1"), shared by manager
 * and workers.
 *
 * It makes status free of messages, and lets a replacement worker, or the
 * whole gateway started again, RESUME. Only the worker that owns a shard
 * writes its row (the manager does while no worker owns it, and what is said to be its own). Readers of other
 * processes may see numbers that are a moment old, never a torn session: that
 * part is guarded by `session_guard`.
 *
 * The file outlives kill -9 of anything: it is page cache until the kernel
 * writes it. After a power cut sessions may be lost; then shards identify. */

#include "base/clock.h"
#include "base/error.h"
#include "shared/traffic.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* As the control API names them: Connected, Connecting, ... */
enum tg_shard_state {
  TG_SHARD_OFFLINE,
  TG_SHARD_DISCONNECTED, /* waits to connect again */
  TG_SHARD_CONNECTING,
  TG_SHARD_UNIDENTIFIED, /* connected; waits for HELLO, or for its identify slot */
  TG_SHARD_IDENTIFYING,
  TG_SHARD_RESUMING,
  TG_SHARD_CONNECTED, /* READY or RESUMED: events flow */
};

const char *tg_shard_state_name(enum tg_shard_state state);

enum { TG_SESSION_ID_MAX = 1024, TG_RESUME_URL_MAX = 256 };

/* Close codes that are counted one by one: 1000 to 1015, 4000 to 4015; the last
 * place is for all others. */
enum { TG_CLOSE_CODES = 33 };
int tg_close_place(int code);
int tg_close_code(int place); /* 0: the others */

struct tg_session {
  char id[TG_SESSION_ID_MAX]; /* "": none */
  char resume_url[TG_RESUME_URL_MAX];
  uint64_t epoch;    /* counts the sessions of this shard: tg_next_epoch(); 0: there was none yet */
  uint64_t sequence; /* the durable one: RESUME from here */
  int64_t seen_at;   /* wall clock of the last sign of life of this session */
};

enum { TG_SHORT_ID_MAX = 128 };

/* New fields go to the end: in a file of an older version they are 0. */
struct tg_shard_row {
  _Atomic uint32_t session_guard; /* odd: being written */
  struct {
    char id[TG_SHORT_ID_MAX]; /* all of it, or its beginning; the rest is in `id_rest` */
    char resume_url[TG_RESUME_URL_MAX];
    uint64_t epoch, sequence;
    int64_t seen_at;
  } session;

  _Atomic int32_t state; /* enum tg_shard_state */
  _Atomic int32_t worker_id;
  _Atomic int32_t rtt;                 /* ms; -1: unknown */
  _Atomic uint32_t unheard;            /* op 6 of this session whose RESUMED is not durable */
  _Atomic uint64_t durable_sequence;   /* mirrors session.sequence, written alone */
  _Atomic uint64_t delivered_sequence; /* the event handler has all up to here */
  _Atomic uint64_t queued_events, queued_bytes;
  _Atomic int64_t oldest_queued_at; /* tg_steady_clock(); 0: nothing waits */
  /* Counters, these and the next: since the start of the gateway. */
  _Atomic uint64_t received, filtered, delivered, retried, dropped, dead, replayed, gaps;
  _Atomic uint64_t reconnects, resumes, identifies;
  _Atomic int32_t last_close_code;
  _Atomic uint32_t guilds;
  _Atomic uint32_t closes[TG_CLOSE_CODES]; /* connections that Discord or the network has ended */
  /* Handlers of the script were started for all events up to here, of this session:
   * if that was the end of the worker, they are not started for these again. */
  _Atomic uint64_t handled_epoch, handled_sequence;
  _Atomic uint64_t recovered; /* counter: events of earlier runs that were in the logs */
  char id_rest[TG_SESSION_ID_MAX - TG_SHORT_ID_MAX + 1]; /* of the session's id; mostly "" */
  /* Intents that Discord has refused: what the next IDENTIFY does without (the manager
   * writes it), and what the session was made without (0 without a session). */
  _Atomic uint64_t withheld_intents, missing_intents;

  /* ---- of a gateway on several hosts (manager/cluster/); else all 0 ---- */

  /* By the manager. The lease under which this host has the shard; 0: it has it not. */
  _Atomic uint64_t fence;
  /* By the manager: until then, by tg_boot_clock(), the shard's events may be delivered; INT64_MAX: nobody
   * can say so, as Redis is away, and all goes on. */
  _Atomic int64_t lease_until;
  /* By the manager: 1: it is not to RESUME for now, for another host may have the session. */
  _Atomic uint32_t no_resume;
  /* By the manager: how far the shard was when this host had it last, under `left_fence`; 0: nothing is
   * left. */
  _Atomic uint32_t left_guilds;
  _Atomic uint64_t left_fence, left_epoch, left_durable, left_delivered_epoch, left_delivered;
  /* By the worker: all up to here is delivered, or was dropped by policy, at all sinks that others wait for:
   * the first event that is not may be of an earlier epoch than the session. Read and written together:
   * tg_row_owed(). */
  _Atomic uint64_t owed_epoch, owed_sequence;
  /* By the manager: 1: what is not delivered of the shard, or of what is left of it, came by it alone: its
   * class had gone over to it, for all hosts to know. */
  _Atomic uint32_t published, left_published;

  _Atomic uint64_t traffic[TG_TRAFFIC_COUNT]; /* of what is received, by shared/traffic.h; only grow */
};

/* Up to where nobody is owed anything. Whoever reads while that changes never sees more than is true. */
void tg_row_set_owed(struct tg_shard_row *row, uint64_t epoch, uint64_t sequence);
void tg_row_owed(struct tg_shard_row *row, uint64_t *epoch, uint64_t *sequence);

/* The epoch of the session that follows the one of epoch `last`. Where nothing is
 * known of an earlier one (0) it is the time in Unix seconds, `now` being
 * tg_wall_clock(): a state directory that was lost must not take the epochs back
 * below those that the bot has seen, or it would drop all that comes. A clock that
 * cannot be right is not believed (tg_clock_is_sane()). */
uint64_t tg_next_epoch(uint64_t last, tg_ms now);
/* Whether the wall clock is where it can be while this program is in use. */
bool tg_clock_is_sane(tg_ms now);

struct tg_shard_table;

/* Opens or makes the table for the `total` shards of a side. A table for another
 * bot (`identity`: a hash of token, intents and total) starts empty, and the log
 * says why; but epochs go on from the highest that was used, on either side or as
 * `first_epoch` says (0: nothing is known), so that they name a session for ever. A
 * table is there whole, or as it was before. The manager opens first; workers attach
 * with the same values. */
struct tg_shard_table *tg_shard_table_open(const char *state_dir, int side, int total, uint64_t identity,
                                           uint64_t first_epoch, struct tg_error *error);
/* The highest epoch of the tables that are there, whosever they are. */
uint64_t tg_shard_tables_last_epoch(const char *state_dir);
/* The set is over. Whoever has the table open may go on using it until it closes it. */
void tg_shard_table_remove(const char *state_dir, int side);
/* The manager notes whose table it is, for tg_shard_table_peek(). */
void tg_shard_table_set_bot(struct tg_shard_table *table, uint64_t bot);
/* The gateway starts: all counters begin at 0. For the manager, while no worker
 * runs; those that come later go on counting. */
void tg_shard_table_clear_counters(struct tg_shard_table *table);
void tg_shard_table_close(struct tg_shard_table *table);

int tg_shard_table_total(const struct tg_shard_table *table);
struct tg_shard_row *tg_shard_table_row(struct tg_shard_table *table, int shard_id);

/* Reads the session whole. False: the shard has none that could be resumed. */
bool tg_session_load(struct tg_shard_row *row, struct tg_session *session);
void tg_session_store(struct tg_shard_row *row, const struct tg_session *session);
/* The session goes on under a higher epoch: one write, which no kill can tear. */
void tg_session_raise(struct tg_shard_row *row, uint64_t epoch);
/* Forgets id and URL; the epoch stays. */
void tg_session_forget(struct tg_shard_row *row);

/* What the manager needs to know before it opens the table: the number of
 * shards of the table of that side, if it is for the same token and intents
 * (`bot`). 0: there is none. */
int tg_shard_table_peek(const char *state_dir, int side, uint64_t bot);

uint64_t tg_identity_bot(const char *token, uint64_t intents);
uint64_t tg_identity(uint64_t bot, int total_shards);
