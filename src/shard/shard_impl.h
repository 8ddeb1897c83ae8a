#pragma once

/* The inside of a shard, shared by the shard_*.c files of this folder:
 *
 *   shard.c          making, starting, stopping, what others may ask
 *   shard_connect.c  when and where to connect
 *   shard_receive.c  from bytes to packets
 *   shard_packet.c   the opcodes
 *   shard_identify.c the slot, presence, op 2
 *   shard_heart.c    heartbeats and liveness
 *   shard_end.c      the end of a connection, deadlines, and what follows
 *   shard_command.c  commands by the way of gateway.shard:send, the presence
 *   shard_send.c     the queue of commands and its budget
 *
 * Phases, and what the shard waits for in each:
 *
 *   OFF          tg_shard_start()
 *   WAITING      the delay before the next try (timer)
 *   QUEUED       its turn among the handshakes of this process
 *   CONNECTING   TCP, TLS, upgrade (T_connect)
 *   HELLO        op 10 (T_hello)
 *   SLOT         the identify slot; beats meanwhile
 *   IDENTIFYING  READY (T_ready, longer after each IDENTIFY that was not answered)
 *   RESUMING     RESUMED (T_resumed after the last event of the replay)
 *   READY        events
 *   CLOSING      the peer's close frame; `plan` says what comes next */

#include "base/buf.h"
#include "net/ws.h"
#include "proto/envelope.h"
#include "proto/inflate.h"
#include "shard/limiter.h"
#include "shard/shard.h"

enum tg_phase {
  TG_PHASE_OFF,
  TG_PHASE_WAITING,
  TG_PHASE_QUEUED,
  TG_PHASE_CONNECTING,
  TG_PHASE_HELLO,
  TG_PHASE_SLOT,
  TG_PHASE_IDENTIFYING,
  TG_PHASE_RESUMING,
  TG_PHASE_READY,
  TG_PHASE_CLOSING,
};

/* What to do when the connection is gone. */
enum tg_plan {
  TG_PLAN_RECONNECT, /* with or without a session */
  TG_PLAN_LOST,      /* tell the owner: an identify is needed */
  TG_PLAN_STOP,
};

/* Waits, in milliseconds. */
enum {
  TG_T_CONNECT = 20000,
  TG_T_HELLO = 20000,
  TG_T_READY = 120000,
  TG_T_READY_MAX = 900000,
  TG_T_RESUMED = 60000,
  TG_T_REPLAY_MAX = 600000, /* for RESUMED, however many events come */
  TG_T_CLOSE = 3000,
  TG_T_STEADY = 30000, /* a connection that held so long was a good one */
  TG_T_EMPTY = 1000,   /* after an op 7 in place of HELLO */
  TG_BACKOFF_BASE = 1000,
  TG_BACKOFF_CAP = 60000,
  TG_BLOCKED_PAUSE = 120000, /* after 403 or 429 without Retry-After */
  TG_REFUSED_PAUSE = 5000,   /* after a slot that the script has refused */
  TG_WITHHELD_LOOK = 250,    /* whether it may be resumed by now (tg_shard_row.no_resume) */
  TG_CUT_PAUSE = 100,        /* so that it is known by then whether it may */
};

enum {
  TG_CLOSE_KEEP = 4000, /* our close codes: this one keeps the session */
  TG_CLOSE_END = 1000,  /* and this one ends it */
  TG_RESUME_FAILS_MAX = 3,
  TG_URL_FAILS_MAX = 3,
  TG_MESSAGE_MAX = 64 * 1024 * 1024,
  TG_HANDSHAKES_MAX = 64, /* a process: a mass reconnect must not stall beats */
  TG_COMMANDS_MAX = 200,  /* that wait in one shard */
  TG_UNACKED_MAX = 3,     /* intervals without an ACK, whatever else comes */
  TG_FLAPS_MAX = 3,       /* sessions in a row that were cut off soon and are resumed at once */
};

struct tg_command {
  TAILQ_ENTRY(tg_command) link;
  int op;
  char *text;
  size_t length;
  tg_ms deadline;
  tg_shard_sent *sent;
  void *ctx;
};

TAILQ_HEAD(tg_command_list, tg_command);

struct tg_shard {
  struct tg_shard_env *env;
  const struct tg_shard_side *of;
  int id;
  struct tg_shard_row *row;
  enum tg_phase phase;
  enum tg_plan plan;
  tg_ms delay; /* before the plan is followed */
  uv_timer_t *timer; /* deadline of the phase, or its delay */
  TAILQ_ENTRY(tg_shard) waiting;

  struct tg_session session; /* .id "": none. .sequence: the last received */
  bool has_sequence;
  bool in_session;   /* events of this connection are that session's */
  bool told_unnamed; /* the log has told of an event that nothing can name */
  int backoff;      /* connections since the last READY or RESUMED */
  int flaps;        /* connections in a row that did not hold for TG_T_STEADY after it */
  tg_ms settled_at; /* READY or RESUMED of this connection */
  int unanswered;   /* IDENTIFYs in a row that got no answer */
  int resume_fails; /* RESUMEs that ended without an answer */
  int url_fails;    /* connects to the resume URL that failed */
  bool on_resume_url;
  bool cut;         /* the other end has ended the last connection, of which the owner was told */
  uint64_t resumed_from; /* the sequence op 6 carried */

  struct tg_ws *ws;
  bool counted; /* among env->handshakes */
  struct tg_inflate *inflate;
  struct tg_buf partial; /* text of a message that is not complete yet */
  struct tg_buf packet;  /* bytes of the message, when a script decompresses */
  struct tg_span text;   /* of the packet being handled */
  tg_ms asked_at; /* when IDENTIFY or RESUME was sent */
  tg_ms event_at; /* ... or the last event of the replay came */
  bool overdue;   /* their answer was, at the last look */

  uv_timer_t *beat_timer;
  tg_ms beat_interval;
  tg_ms beat_sent; /* 0: none on this connection */
  bool beat_acked;
  bool beat_waits;     /* Discord has not taken it yet */
  tg_ms unacked_since; /* the first beat that no ACK has followed; 0: none */
  bool suspect;        /* the connection seemed dead at the last look */
  uint64_t received_at_beat; /* of tg_ws_received() */
  tg_ms asked_beats[2];      /* when the last ones went that Discord had asked for */
  int beats_before_ready; /* no zombie verdict for the first two */
  int rtt;

  enum { TG_SLOT_NONE, TG_SLOT_ASKED, TG_SLOT_GRANTED, TG_SLOT_SENT } slot;
  int64_t asks;        /* for slots, so far */
  tg_ms slot_deadline; /* when granted */
  uint64_t granted_epoch; /* of the session that READY begins; 0: nobody has said */
  void (*slot_done)(void *ctx, bool allowed);
  void *slot_ctx;
  json_t *presence;      /* as set by tg_shard_set_presence() */
  bool presence_due;     /* it has not gone out yet; RESUME does not carry it */
  json_t *next_presence; /* what make_presence said for the next identify */
  uint64_t without;      /* intents that the last IDENTIFY had not, as they are withheld */
  unsigned connection;   /* counts connections: late answers of scripts are told apart */

  struct tg_limiter budget, presence_budget;
  struct tg_asked *asked; /* the command that gateway.shard:send is deciding on */
  struct tg_command_list commands[3]; /* by priority */
  int command_count;
  bool pumping;
  uv_timer_t *send_timer;

  void (*stopped)(void *ctx);
  void *stopped_ctx;
};

/* shard.c */
void tg_shard_set_phase(struct tg_shard *shard, enum tg_phase phase);
void tg_shard_set_timer(struct tg_shard *shard, tg_ms delay);
bool tg_shard_has_session(const struct tg_shard *shard); /* that can be resumed */
/* Another host may have its session: it is not to be resumed for now. */
bool tg_shard_is_withheld(const struct tg_shard *shard);
/* What this connection has, or waits for, ends with it: an identify has to follow. */
bool tg_shard_needs_identify(const struct tg_shard *shard);
/* What heartbeats and RESUME say was received. False: nothing yet. */
bool tg_shard_durable_sequence(const struct tg_shard *shard, uint64_t *sequence);
void tg_shard_forget_session(struct tg_shard *shard);
void tg_shard_life(struct tg_shard *shard, enum tg_life what, json_t *details); /* steals details */

/* shard_connect.c */
void tg_shard_begin(struct tg_shard *shard); /* the next connection, through the hook */
void tg_shard_drop(struct tg_shard *shard); /* socket and its context, no plan */
void tg_shard_end_handshake(struct tg_shard *shard); /* the next one in the queue may connect */
void tg_shard_settled(struct tg_shard *shard); /* READY or RESUMED: the tries start anew */
void tg_shard_send_frame(struct tg_shard *shard, const struct tg_buf *frame);

/* shard_receive.c */
void tg_shard_on_data(void *ctx, const void *bytes, size_t length); /* callbacks of the WebSocket */
void tg_shard_on_message_end(void *ctx);
/* What came cannot be read: nothing that follows on this connection counts. */
void tg_shard_break_off(struct tg_shard *shard, const char *what);

/* shard_end.c */
void tg_shard_on_end(void *ctx, const struct tg_ws_end *end); /* callback of the WebSocket */
void tg_shard_on_timer(uv_timer_t *timer);
/* Ends the connection: closes politely (code), or drops it (code 0), and then
 * follows `plan` after `delay`. */
void tg_shard_leave(struct tg_shard *shard, int code, const char *reason, enum tg_plan plan, tg_ms delay);
/* The connection is no good: leaves it for another one after `delay`, by RESUME
 * if there is a session that has not failed again and again. */
void tg_shard_give_up(struct tg_shard *shard, int code, tg_ms delay);
/* The delay before the next try, of which this is counted as the end. None after a
 * session that has run (op 7 comes every few hours, and to many shards at once);
 * growing with each connection that gets neither READY nor RESUMED, and with
 * sessions that are cut off again and again as soon as they run. */
tg_ms tg_shard_next_delay(struct tg_shard *shard);
/* IDENTIFY or RESUME has been sent: waits for the answer. */
void tg_shard_await(struct tg_shard *shard, enum tg_phase phase);

/* shard_identify.c */
void tg_shard_prepare_identify(struct tg_shard *shard); /* HELLO came, no session */
void tg_shard_slot_expired(struct tg_shard *shard);
/* The connection is ending, or READY or op 9 came: tells the owner what became
 * of the slot. `result` NULL: nothing came. */
void tg_shard_end_slot(struct tg_shard *shard, const char *result, int code);

/* shard_heart.c */
void tg_shard_hello(struct tg_shard *shard, tg_ms interval);
void tg_shard_answer_heartbeat(struct tg_shard *shard); /* op 1 came */

/* shard_command.c */
struct tg_asked;
/* A frame is about to be queued: the first one that gateway.shard:send makes of
 * a command answers whoever asked for it, too. */
void tg_shard_answer_asked(struct tg_shard *shard, tg_shard_sent **sent, void **ctx);
void tg_shard_send_presence(struct tg_shard *shard); /* resumed: if it is due */

/* shard_send.c */
void tg_shard_open_sends(struct tg_shard *shard); /* a new connection: a new budget */
void tg_shard_limit_sends(struct tg_shard *shard); /* HELLO has told the beat: what is left to users */
void tg_shard_pump(struct tg_shard *shard);
void tg_shard_on_drain(void *ctx); /* callback of the WebSocket */
bool tg_shard_may_answer_heartbeat(struct tg_shard *shard); /* and counts it */
void tg_shard_fail_commands(struct tg_shard *shard, const struct tg_error *error);
