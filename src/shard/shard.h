#pragma once

/* One shard: a session with Discord and the connection that carries it. The state machine lives in shard.c
 * and its neighbours; this header is what worker and scripts may do with it.
 *
 * A shard is owned by the worker, lives on its loop, and never ends the
 * process. Nothing here blocks. */

#include "config/config.h"
#include "hooks/hooks.h"
#include "proto/close_code.h"
#include "proto/event.h"
#include "shared/shard_table.h"

#include <sys/queue.h>
#include <uv.h>

struct tg_shard;
struct tg_dialer;

/* The set that a shard is one of (proto/shard_ref.h). Owned by the worker; its shards point to it. */
struct tg_shard_side {
  int side;
  int total_shards;
  struct tg_shard_table *table;
};

/* What all shards of a worker share. Owned by the worker. */
struct tg_shard_env {
  uv_loop_t *loop;
  const struct tg_config *config;
  struct tg_hooks *hooks;
  struct tg_dialer *dialer;
  const char *gateway_url; /* where identifies go */
  int worker_id;
  bool clustered; /* other hosts may get the shard, and its session: its row has a lease */
  struct tg_buf *text;                         /* decompressed text, shared by all shards of the loop */
  int handshakes;                              /* connections being set up now; bounded */
  TAILQ_HEAD(tg_shard_list, tg_shard) waiting; /* for their turn to connect; TAILQ_INIT it */
  tg_ms paused_until;                          /* nobody connects before: this address is blocked */

  /* Calls to the owner. */
  void *owner;
  void (*on_dispatch)(void *owner, struct tg_shard *shard, struct tg_event *event);
  /* READY came: a new session. Called before READY's own on_dispatch. */
  void (*on_session)(void *owner, struct tg_shard *shard, uint64_t epoch);
  /* The highest sequence that outlives this process, for heartbeats and RESUME.
   * False, or a NULL pointer: take the one received last. */
  bool (*durable_sequence)(void *owner, const struct tg_shard *shard, uint64_t *sequence);
  /* The highest epoch that a session has which could be taken for one of this shard: another set may have a
   * shard of the same id. NULL: none has. */
  uint64_t (*last_epoch)(void *owner, const struct tg_shard *shard);
  /* Ask for an identify slot; the answer is tg_shard_allow_identify() with that number. */
  void (*request_identify)(void *owner, struct tg_shard *shard, int64_t ask);
  void (*identify_sent)(void *owner, struct tg_shard *shard);
  /* The grant was not used: too late, or the connection is gone. */
  void (*identify_unused)(void *owner, struct tg_shard *shard);
  /* result: "ready", "invalid" (op 9), "closed" (with its code). */
  void (*identify_done)(void *owner, struct tg_shard *shard, const char *result, int code);
  /* There is no session (any more): the shard is off, and waits for
   * tg_shard_start(), which the manager paces. */
  void (*session_lost)(void *owner, struct tg_shard *shard, const char *reason);
  /* Only if `clustered`: READY has come, or RESUMED ... */
  void (*session_up)(void *owner, struct tg_shard *shard, bool resumed);
  /* ... and the other end has ended a connection with a session that can still be resumed. */
  void (*connection_cut)(void *owner, struct tg_shard *shard);
  /* Closed with a code that leaves no way: the shard is off. `intents`: those it had identified with. */
  void (*on_fatal)(void *owner, struct tg_shard *shard, int code, uint64_t intents);
};

struct tg_shard *tg_shard_new(struct tg_shard_env *env, const struct tg_shard_side *of, int shard_id);

/* Drops the connection without a word and frees. Not from inside a callback
 * of the same shard. */
void tg_shard_free(struct tg_shard *shard);

/* Connects: RESUME when there is a session, else IDENTIFY. Does nothing when
 * the shard is already on its way. One that stops, with a session that is kept,
 * goes on when its connection is closed; whoever waits for that is told now. */
void tg_shard_start(struct tg_shard *shard);

/* The slot is granted: op 2 may leave until `deadline` (tg_now()). `epoch`: of the session that READY begins;
 * 0: the one that follows the last. One that does not is not taken: epochs of a shard rise. `ask`: which
 * request_identify was for this. Of an earlier one was said by then that its slot is not used, and it may be
 * somebody else's. */
void tg_shard_allow_identify(struct tg_shard *shard, int64_t ask, tg_ms deadline, uint64_t epoch);

/* Ends: closes with a code that keeps the session (true) or ends it. Calls
 * done(ctx) once the connection is gone, at most some seconds later. */
void tg_shard_stop(struct tg_shard *shard, bool keep_session, void (*done)(void *ctx), void *ctx);

/* It stops, and the other end does not close: that is not waited for any more. */
void tg_shard_hurry(struct tg_shard *shard);

/* Makes a new connection in the place of the one that is up, which resumes the session. One that is on its
 * way anyway is left alone. False: "refused", for the shard is off, or has no session: a new connection would
 * cost an identify. */
bool tg_shard_reconnect(struct tg_shard *shard, struct tg_error *error);

/* Its session goes on under a higher epoch, from the next event on. */
void tg_shard_raise_epoch(struct tg_shard *shard, uint64_t epoch);

int tg_shard_id(const struct tg_shard *shard);
tg_shard_ref tg_shard_get_ref(const struct tg_shard *shard);
int tg_shard_total(const struct tg_shard *shard); /* how many shards its set has */
enum tg_shard_state tg_shard_state(const struct tg_shard *shard);
const char *tg_shard_session_id(const struct tg_shard *shard); /* "": none */
uint64_t tg_shard_epoch(const struct tg_shard *shard);
bool tg_shard_sequence(const struct tg_shard *shard, uint64_t *sequence); /* false: none yet */
int tg_shard_rtt(const struct tg_shard *shard);                           /* ms, -1: unknown */
bool tg_shard_is_open(const struct tg_shard *shard); /* READY or RESUMED */

/* How many commands a user may send a minute: 120 less the heartbeats' share. */
int tg_shard_safe_requests(const struct tg_shard *shard);

/* The steps that scripts may call and override (gateway.shard); these run the
 * C default. */
void tg_shard_connect(struct tg_shard *shard);
void tg_shard_identify(struct tg_shard *shard);
void tg_shard_resume(struct tg_shard *shard);
void tg_shard_close(struct tg_shard *shard, int code, const char *reason);
void tg_shard_heartbeat(struct tg_shard *shard);
void tg_shard_start_heartbeating(struct tg_shard *shard, tg_ms interval);
void tg_shard_stop_heartbeating(struct tg_shard *shard);
void tg_shard_handle_packet(struct tg_shard *shard, const char *text, size_t length);

/* Asks the owner for the identify slot; done(ctx, true) when op 2 may leave,
 * false when this connection ended before. */
void tg_shard_request_identify(struct tg_shard *shard, void (*done)(void *ctx, bool allowed), void *ctx);

/* The text of the packet being handled, as the C decompressor made it: what
 * the default of shard.decompress_packet returns. */
struct tg_span tg_shard_decompressed(const struct tg_shard *shard);

/* What names the event in that packet, before it is handled; false: it has none.
 * Of a READY the epoch is only a guess, though each time the same. */
bool tg_shard_packet_event(const struct tg_shard *shard, uint64_t *epoch, uint64_t *sequence, uint16_t *type);

/* The end of a command: error NULL when its frame was handed to the socket.
 * Called exactly once. */
typedef void tg_shard_sent(void *ctx, const struct tg_error *error);

enum tg_send_priority { TG_SEND_LOW, TG_SEND_NORMAL, TG_SEND_HIGH };

/* "low", "normal", "high". False: another name, or NULL. */
const char *tg_send_priority_name(enum tg_send_priority priority);
bool tg_send_priority_parse(const char *name, enum tg_send_priority *priority);

/* Sends a command (op 3, 4, 8, 31, 43): waits for READY or RESUMED and for the
 * send budget, at most `timeout` ms. A presence (op 3) that still waits is
 * replaced by a newer one. The payload is checked first ("bad_payload",
 * "too_large"); the queue is bounded ("queue_full"). Borrows `payload`.
 * `sent` may be NULL, and may be called before this returns. */
void tg_shard_send(struct tg_shard *shard, const json_t *payload, enum tg_send_priority priority,
                   tg_ms timeout, tg_shard_sent *sent, void *ctx);

/* The same for what was not asked for by a script of this worker: the way of
 * gateway.shard:send. */
void tg_shard_command(struct tg_shard *shard, const json_t *payload, enum tg_send_priority priority,
                      tg_ms timeout, tg_shard_sent *sent, void *ctx);

/* The presence for this shard from now on. NULL: back to the configured one.
 * Borrows. It goes out with each later identify and, if it is `fresh`, now: as
 * a command when the shard is open or resumes. `sent` is told when the command
 * was sent, or at once when there is none to wait for. */
void tg_shard_set_presence(struct tg_shard *shard, const json_t *presence, bool fresh, tg_shard_sent *sent,
                           void *ctx);

/* What an identify carries unless a script makes something else of it: the
 * presence last set, or the configured one. Borrowed; NULL: none. */
const json_t *tg_shard_presence(const struct tg_shard *shard);
