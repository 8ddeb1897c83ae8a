#pragma once

/* The inside of the manager, shared by the files of this folder:
 *
 *   manager.c       its life: start, the pulse, free
 *   fetch.c         gateway information: asking, retrying, standing in for it
 *   slots.c         the identify scheduler and its ledger, wired to the workers
 *   slots_broker.c  ... to other gateway hosts, which have their slots from here
 *   slots_client.c  ... to the broker, where this gateway has its slots from
 *   steady.c        the clock of all files of the state directory
 *   spawn.c         which shard starts when and where
 *   workers.c       worker processes: spawning, watching, restarting
 *   deaths.c        ... what they died of, if the script was it
 *   messages.c      what workers say
 *   methods.c       gateway.manager: overrides and defaults
 *   arguments.c     what methods are given, and how they reply
 *   commands.c      the defaults that send something to Discord
 *   sending.c       commands on their way to their worker
 *   members.c       request_members
 *   reload.c        the two phases of a reload
 *   stop.c          the end
 *   progress.c      the bar while shards come up
 *   status.c        figures for the control API and metrics
 *   figures.c       what the processes count and use */

#include "config/config.h"
#include "hooks/hooks.h"
#include "manager/gateway_info.h"
#include "manager/identify/broker.h"
#include "manager/identify/broker_client.h"
#include "manager/identify/ledger.h"
#include "manager/identify/scheduler.h"
#include "manager/manager.h"
#include "manager/steady.h"
#include "manager/workers/assign.h"
#include "manager/workers/figures.h"
#include "net/proxy.h"
#include "shard/shard.h"
#include "shared/shard_table.h"
#include "worker/messages.h"

#include <jansson.h>
#include <uv.h>

enum tg_manager_phase {
  TG_MANAGER_NEW,
  TG_MANAGER_FETCHING, /* gateway information */
  TG_MANAGER_LOADING,  /* workers load their script */
  TG_MANAGER_RUNNING,
  TG_MANAGER_STOPPING,
  TG_MANAGER_OVER,
};

/* Somebody waits for something to become of a shard. */
struct tg_waiter {
  struct tg_waiter *next;
  tg_manager_reply *reply;
  void *ctx;
};

struct tg_managed_shard {
  int id;
  int worker_id;
  bool told;                       /* its worker was told to start it */
  bool wanted;                     /* is to run: started once, and not killed since */
  bool was_up;                     /* READY or RESUMED, ever */
  bool had_session;                /* when it was told to start */
  bool requesting;                 /* REQUEST_IDENTIFY is being worked on */
  tg_ms still_since;               /* stands still without a reason; 0: does not */
  json_t *presence;                /* d of op 3; NULL: as the whole bot */
  bool presence_due;               /* was changed while it did not run */
  struct tg_waiter *start_waiters; /* tell_worker_to_identify: READY or failed */
  struct tg_waiter *slot_waiters;  /* request_identify: granted */
};

enum tg_worker_state {
  TG_WORKER_DOWN,    /* waits for its restart, or is not wanted */
  TG_WORKER_LOADING, /* loads its script */
  TG_WORKER_READY,   /* said HELLO */
  TG_WORKER_STOPPED, /* said STOPPED, about to exit */
};

/* The place of a worker; its processes come and go. */
struct tg_managed_worker {
  struct tg_manager *manager;
  int id;
  bool wanted; /* has shards */
  enum tg_worker_state state;
  unsigned incarnation;  /* counts its processes */
  uv_process_t *process; /* NULL: none runs */
  struct tg_ipc *ipc;    /* NULL: the line is cut */
  struct tg_stats *stats; /* what its processes count, one after the other; NULL: none yet */
  int stats_fd;
  struct tg_process_usage usage;
  int64_t lag;           /* figures.c */
  bool was_ready;        /* some process of this place was */
  int generation;        /* of the script it runs */
  int prepared;          /* generation it has ready beside that; 0: none */
  int failures;          /* starts in a row that did not last */
  tg_ms started_at;
  tg_ms ready_at;       /* 0: not yet */
  tg_ms heard_at;       /* last sign of life */
  tg_ms cut_at;         /* the line broke while the process still ran; 0: not so */
  const char *shot_for; /* why we killed it; NULL: we did not */
  uv_timer_t *restart;
};

struct tg_fetch {
  bool running;    /* an answer is awaited */
  bool at_start;   /* without an answer there is no start */
  uint64_t number; /* of the try; late answers of earlier ones are ignored */
  int tries;   /* in a row, that nobody asked to be put off */
  int refusals; /* by answers that put off, since the last good one */
  tg_ms began;
  tg_ms wait_until;                 /* put off until then; 0: it is not */
  tg_ms wait_until_shown;           /* the same by the wall clock */
  const char *waits_for;            /* and why, in a few words */
  char said[TG_ERROR_MESSAGE_SIZE]; /* why the last try failed, as it was logged */
  tg_ms retry_after; /* what the last default attempt was told; -1: nothing */
  tg_ms fetched_at;  /* tg_now() of the last good answer; 0: none */
};

struct tg_pending_call;
struct tg_identify_poll;
struct tg_slot_request;
struct tg_fetch_request;
struct tg_members_request;
struct tg_sending;
struct tg_reload_run;

struct tg_manager {
  struct tg_manager_options options;
  uv_loop_t *loop;
  const struct tg_config *config;
  struct tg_hooks *hooks;
  char *script_path;
  char *state_dir;
  uint64_t bot, bot_with_intents; /* which bot the files of the state directory are for */
  int lock_fd;
  tg_ms began;
  struct tg_steady steady;
  int64_t stamp; /* tg_steady_clock() of this start: tells the logs of this run from older ones */
  enum tg_manager_phase phase;
  int handles; /* not closed yet; the memory goes with the last */
  bool freed;
  uv_timer_t pulse;       /* watchdog, progress, what only shows in the table */
  uv_timer_t slot_timer;  /* the scheduler's next moment */
  uv_timer_t fetch_timer; /* the next try, or the end of patience with this one */
  uv_timer_t gate_timer;  /* the end of the identify window */
  uv_timer_t send_timer;  /* deadlines of commands that wait for their worker */
  uv_timer_t end_timer;   /* deadlines of the end */

  struct tg_gateway_info info;
  struct tg_fetch fetch;
  struct tg_shard_range range;
  struct tg_shard_table *table;
  struct tg_managed_shard *shards; /* of the range */
  struct tg_managed_worker *workers;
  int worker_count;  /* places; shards choose among them */
  int usual_workers; /* how many the default of calculate_worker_id deals with */

  struct tg_scheduler *scheduler;
  struct tg_ledger *ledger;
  bool pumping, pump_again;
  bool gate_closed; /* below the reserve, until the window has ended and was asked for again */
  char host_name[20];               /* of this run, among gateway hosts */
  struct tg_broker *broker;         /* NULL: this gateway has its slots from another host */
  struct tg_identify_poll *polls;   /* who waits for slots of shards of other hosts */
  uint64_t poll_count;
  struct tg_broker_client *client;  /* NULL: it decides by itself */
  struct tg_slot_request *slot_requests;
  bool broker_lost;                 /* ... and the log has said so, */
  tg_ms broker_said_at;
  int broker_said_waiting;          /* ... and how many shards wait for it */

  tg_ms pulse_at;                  /* of the last one */
  tg_ms loading_until;             /* workers that have not loaded by then start later */
  struct tg_waiter *spawn_waiters; /* spawn_shards: all up */
  bool spawned, all_up;
  tg_ms spawned_at;
  int shown_percent;

  json_t *presence; /* d of op 3 for all shards; NULL: as configured */
  int generation;
  struct tg_process_usage usage; /* its own */
  int64_t lag;                   /* likewise */
  struct tg_reload_counts reloads;
  struct tg_reload_run *reload;
  json_t *needs_restart; /* keys that the last reload could not change; NULL: none */
  struct tg_pending_call *calls; /* overrides that wait, and requests under way */
  struct tg_fetch_request *requests;
  struct tg_members_request *members;
  struct tg_sending *sendings; /* commands, in the order they came */
  uint64_t nonces;

  int exit_code;
  bool keep_sessions;
  tg_ms stop_deadline;
};

static inline int tg_manager_shard_count(const struct tg_manager *manager)
{
  return manager->shards ? manager->range.last - manager->range.first + 1 : 0;
}

/* NULL: not a shard of this gateway. */
static inline struct tg_managed_shard *tg_manager_shard(struct tg_manager *manager, json_int_t shard_id)
{
  return manager->shards && shard_id >= manager->range.first && shard_id <= manager->range.last
             ? &manager->shards[shard_id - manager->range.first]
             : NULL;
}

static inline bool tg_manager_stopping(const struct tg_manager *manager)
{
  return manager->phase >= TG_MANAGER_STOPPING;
}

/* ---- arguments.c: replies ---- */

void tg_reply_value(tg_manager_reply *reply, void *ctx, json_t *value); /* steals value; NULL: nil */
void tg_reply_error(tg_manager_reply *reply, void *ctx, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void tg_waiter_add(struct tg_waiter **list, tg_manager_reply *reply, void *ctx);
/* Ends all of the list: `code` NULL: true. */
void tg_waiters_end(struct tg_waiter **list, const char *code, const char *text);

/* ---- manager.c ---- */

/* Says why and ends the gateway, sessions kept. */
void tg_manager_fail(struct tg_manager *manager, int exit_code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The gateway information is there. */
void tg_manager_begin(struct tg_manager *manager);
void tg_manager_worker_loaded(struct tg_manager *manager);

void tg_manager_tell(struct tg_manager *manager, enum tg_manager_news news);

/* ---- fetch.c ---- */

void tg_fetch_at_start(struct tg_manager *manager);
/* Asks again while the gateway runs. */
void tg_fetch_refresh(struct tg_manager *manager);
void tg_fetch_default(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply, void *ctx);
void tg_fetch_on_timer(uv_timer_t *timer);
void tg_fetch_cancel(struct tg_manager *manager);
/* Discord has put us off: what is waited for, and until when. False: nothing is. */
bool tg_fetch_is_put_off(struct tg_manager *manager, char *text, size_t size);

/* ---- slots.c ---- */

void tg_slots_begin(struct tg_manager *manager);
void tg_slots_end(struct tg_manager *manager, const char *why);
/* Lets go what may go now. */
void tg_slots_pump(struct tg_manager *manager);
void tg_slots_info_changed(struct tg_manager *manager);
/* No identify goes out for now: below the reserve, or the broker cannot be asked. */
bool tg_slots_held_back(const struct tg_manager *manager);
void tg_slots_refreshed(struct tg_manager *manager); /* a refresh has ended, with an answer or not */
void tg_slots_asked(struct tg_manager *manager, struct tg_managed_worker *worker,
                    struct tg_managed_shard *shard);
void tg_slots_sent(struct tg_manager *manager, struct tg_managed_shard *shard);
void tg_slots_unused(struct tg_manager *manager, struct tg_managed_shard *shard);
void tg_slots_done(struct tg_manager *manager, struct tg_managed_shard *shard, bool ready);
void tg_slots_gone(struct tg_manager *manager, struct tg_managed_shard *shard, const char *why);
void tg_slots_request_default(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply,
                              void *ctx);
void tg_slots_on_timer(uv_timer_t *timer);
void tg_slots_on_gate_timer(uv_timer_t *timer);

/* ---- slots_broker.c ---- */

void tg_slots_broker_begin(struct tg_manager *manager);
/* A slot for a shard of a host that reports nothing; answered when it is there. */
void tg_slots_broker_ask(struct tg_manager *manager, int shard_id, tg_identify_answer *answer, void *ctx);
int tg_slots_broker_count(const struct tg_manager *manager);

/* ---- slots_client.c: all but begin and pump do nothing without identify.url ---- */

void tg_slots_client_begin(struct tg_manager *manager);
void tg_slots_client_pump(struct tg_manager *manager);
/* The shard wants no slot any more, or has not used it. */
void tg_slots_client_left(struct tg_manager *manager, int shard_id);
void tg_slots_client_sent(struct tg_manager *manager, int shard_id);
void tg_slots_client_done(struct tg_manager *manager, int shard_id, bool ready);
void tg_slots_client_gone(struct tg_manager *manager, int shard_id);
/* After a reload, which may have brought another secret. */
void tg_slots_client_reconfigured(struct tg_manager *manager);
void tg_slots_client_end(struct tg_manager *manager);

/* ---- spawn.c ---- */

/* Through the method spawn_shards. */
void tg_spawn(struct tg_manager *manager);
/* Starts one shard: at once when it has a session, else through the scheduler. */
void tg_spawn_shard(struct tg_manager *manager, struct tg_managed_shard *shard);
void tg_spawn_worker_shards(struct tg_manager *manager, struct tg_managed_worker *worker);
/* Through the method tell_worker_to_identify. */
void tg_spawn_tell(struct tg_manager *manager, struct tg_managed_shard *shard);
void tg_spawn_session_lost(struct tg_manager *manager, struct tg_managed_shard *shard, const char *reason);
/* Looks into the table: who is up by now, who stands still. */
void tg_spawn_look(struct tg_manager *manager);
int tg_spawn_count_up(struct tg_manager *manager);
void tg_spawn_default(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply, void *ctx);
void tg_spawn_tell_default(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply,
                           void *ctx);
void tg_spawn_prepare_default(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply,
                              void *ctx);

/* ---- workers.c ---- */

void tg_workers_start(struct tg_manager *manager);
void tg_workers_watch(struct tg_manager *manager, tg_ms now);
bool tg_workers_loading(const struct tg_manager *manager);
int tg_workers_running(const struct tg_manager *manager);
struct tg_managed_worker *tg_worker_of_shard(struct tg_manager *manager,
                                             const struct tg_managed_shard *shard);
void tg_worker_shoot(struct tg_managed_worker *worker, const char *why);
void tg_workers_exit_default(struct tg_manager *manager, const json_t *args, tg_manager_reply *reply,
                             void *ctx);
void tg_workers_free(struct tg_manager *manager);

/* ---- deaths.c ---- */

/* A process is gone: was it in the script? TG_POISON_MANAGER: the last manager.
 * `guilty`: its end is known to be its own doing. */
void tg_deaths_look(struct tg_manager *manager, int worker, bool guilty);

/* ---- figures.c ---- */

/* Asks the kernel what the processes use. */
void tg_figures_look(struct tg_manager *manager);
void tg_figures_worker_gone(struct tg_managed_worker *worker);

/* ---- messages.c ---- */

extern const struct tg_ipc_callbacks tg_worker_callbacks;

/* ---- methods.c ---- */

const char *tg_manager_method_name(enum tg_method method);
bool tg_manager_method_parse(const char *name, enum tg_method *method);
/* An inline method that gives a number. An override's result is taken when it
 * is from `low` to `high`; else it is logged and the default runs. */
int tg_manager_ask_int(struct tg_manager *manager, enum tg_method method, json_t *args, int low, int high,
                       int otherwise);
void tg_methods_end(struct tg_manager *manager);

/* ---- arguments.c: arguments of methods; false = replied with "bad_argument" ---- */

struct tg_args {
  const json_t *list;
  const char *method;
  tg_manager_reply *reply;
  void *ctx;
};

bool tg_arg_int(const struct tg_args *args, size_t index, const char *name, json_int_t low, json_int_t high,
                int *value);
bool tg_arg_shard(const struct tg_args *args, size_t index, struct tg_manager *manager,
                  struct tg_managed_shard **shard);
bool tg_arg_id(const struct tg_args *args, size_t index, const char *name, uint64_t *id);
/* Options table at `index`: NULL in *options when it was left out. */
bool tg_arg_options(const struct tg_args *args, size_t index, const json_t **options);
void tg_arg_bad(const struct tg_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A snowflake: a string of digits, or a number small enough to be exact. */
bool tg_read_id(const json_t *value, uint64_t *id);

/* ---- sending.c ---- */

struct tg_send_options {
  tg_ms timeout;
  enum tg_send_priority priority;
  tg_ms forward_until; /* replies by events are wanted until then; 0: they are not */
};

/* Sends a command to the worker of the shard, when both are there; replies when
 * it was sent, or could not be in time. Steals `payload`. */
void tg_command_send(struct tg_manager *manager, struct tg_managed_shard *shard, json_t *payload,
                     const struct tg_send_options *options, tg_manager_reply *reply, void *ctx);
/* Its worker was told to start it: what waits for that goes. */
void tg_sendings_go(struct tg_manager *manager, struct tg_managed_shard *shard);
void tg_sendings_on_timer(uv_timer_t *timer);
void tg_sendings_stop(struct tg_manager *manager);

/* ---- commands.c ---- */

/* The presence that `shard` should have, to its worker. */
void tg_command_restore_presence(struct tg_manager *manager, struct tg_managed_shard *shard);
struct tg_managed_shard *tg_command_guild_shard(const struct tg_args *args, struct tg_manager *manager,
                                                uint64_t guild_id);

void tg_command_send_payload(struct tg_manager *, const json_t *, tg_manager_reply *, void *);
void tg_command_shard_info(struct tg_manager *, const json_t *, tg_manager_reply *, void *);
void tg_command_kill(struct tg_manager *, const json_t *, tg_manager_reply *, void *);
void tg_command_shutdown(struct tg_manager *, const json_t *, tg_manager_reply *, void *);
void tg_command_bot_status(struct tg_manager *, const json_t *, tg_manager_reply *, void *);
void tg_command_shard_status(struct tg_manager *, const json_t *, tg_manager_reply *, void *);
void tg_command_soundboard(struct tg_manager *, const json_t *, tg_manager_reply *, void *);
void tg_command_join_voice(struct tg_manager *, const json_t *, tg_manager_reply *, void *);
void tg_command_leave_voice(struct tg_manager *, const json_t *, tg_manager_reply *, void *);

/* ---- members.c ---- */

void tg_members_default(struct tg_manager *, const json_t *, tg_manager_reply *, void *);
void tg_members_chunk(struct tg_manager *manager, const json_t *data);
void tg_members_limited(struct tg_manager *manager, int shard_id, const json_t *data);
void tg_members_worker_gone(struct tg_manager *manager, int worker_id);
void tg_members_tick(struct tg_manager *manager, tg_ms now);
void tg_members_end(struct tg_manager *manager);

/* ---- reload.c ---- */

/* The files that a worker has read for that generation; NULL: none. */
void tg_reload_note_files(struct tg_manager *manager, int generation, const json_t *files);
/* A worker with another script than the rest, or one that said HELLO during a reload. */
void tg_reload_catch_up(struct tg_manager *manager, struct tg_managed_worker *worker);
void tg_reload_end(struct tg_manager *manager);

/* ---- stop.c ---- */

void tg_stop_worker_gone(struct tg_manager *manager);
void tg_stop_on_timer(uv_timer_t *timer);

/* ---- progress.c ---- */

void tg_progress_draw(struct tg_manager *manager);
void tg_progress_end(struct tg_manager *manager);
