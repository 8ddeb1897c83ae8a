#pragma once

/* The manager: gateway information, identify scheduler, supervision of the
 * worker processes. One a gateway, in the process
 * that the user starts. Loop thread only.
 *
 * Every method of `gateway.manager` can be called by name with JSON arguments:
 * by scripts of this process, by workers (manager_call), by the control API. */

#include "base/error.h"
#include "config/config.h"
#include "hooks/hooks.h"
#include "hooks/reload.h"
#include "manager/identify/answer.h"
#include "manager/reply.h"
#include "manager/upgrade/upgrade.h"

#include <uv.h>

struct tg_manager;
struct tg_http;
struct tg_proxies;

/* What the program around the manager may want to tell others. */
enum tg_manager_news {
  TG_MANAGER_IS_RUNNING, /* workers have loaded, the shards begin to start */
  TG_MANAGER_RELOADING,  /* followed by one of the next two, unless the end comes first */
  TG_MANAGER_RELOADED,
  TG_MANAGER_RELOAD_FAILED,
  TG_MANAGER_UPGRADING, /* another program is about to take over, or has; followed by: */
  TG_MANAGER_UPGRADED,  /* or not: the log says how it went */
  TG_MANAGER_IS_STOPPING,
};

struct tg_manager_options {
  uv_loop_t *loop;
  const struct tg_config *config;
  struct tg_hooks *hooks;
  struct tg_http *http;
  const struct tg_proxies *proxies; /* of the gateway's connections; NULL: none */
  struct tg_reload reload;          /* of the manager's own script */
  const char *script_path;          /* given to the workers; NULL: none */
  const struct tg_successor *successor; /* what can take this program's place; with `ctx` */
  bool progress;                    /* draw the progress bar (standard error is a terminal) */
  /* The gateway is over; the loop should end with this exit code. Never called
   * from inside a call to the manager. */
  void (*on_exit)(void *ctx, int exit_code);
  void (*on_news)(void *ctx, enum tg_manager_news news); /* NULL: nobody asks */
  void *ctx;
};

/* Takes the lock of the state directory. False result (NULL): another gateway
 * runs there (its pid is in the message), or the directory cannot be used. */
struct tg_manager *tg_manager_new(const struct tg_manager_options *options, struct tg_error *error);

/* Fetches gateway information, starts workers and shards. What goes wrong is
 * logged with what to do, and ends in on_exit. */
void tg_manager_start(struct tg_manager *manager);

/* Stops all workers, then calls on_exit(exit_code). A second call hurries. */
void tg_manager_stop(struct tg_manager *manager, bool keep_sessions, int exit_code);

/* How far things are, in words for one line: "12 of 40 shards up, about 35 s left". */
void tg_manager_status_text(struct tg_manager *manager, char *text, size_t size);

/* After on_exit, or without a start. The loop has to run until it is empty
 * afterwards: its closing handles hold the memory. */
void tg_manager_free(struct tg_manager *manager);

/* A reload has made a new configuration; the old one may be freed afterwards.
 * What of it needs a restart is logged, key by key. */
void tg_manager_reconfigure(struct tg_manager *manager, const struct tg_config *config);

/* Runs a method of gateway.manager, the override if there is one. `args` is an
 * array, borrowed. Methods that do not wait reply before this returns. */
void tg_manager_call(struct tg_manager *manager, enum tg_method method, const json_t *args,
                     tg_manager_reply *reply, void *ctx);

/* The same, but always the C default: gateway.default.manager. */
void tg_manager_call_default(struct tg_manager *manager, enum tg_method method, const json_t *args,
                             tg_manager_reply *reply, void *ctx);

/* What get_shard_info tells of that shard, in a list of one; in a cluster of whichever host has it. */
void tg_manager_shard_info(struct tg_manager *manager, int shard_id, tg_manager_reply *reply, void *ctx);

/* gateway.broadcast: to the scripts of all workers that run and of this process.
 * `from`: a worker, or TG_FROM_MANAGER. All processes get all broadcasts in one
 * order. Borrows `value`. */
void tg_manager_broadcast(struct tg_manager *manager, const char *topic, json_t *value, int from);

/* gateway.storm: from now on workers have these rules (config/storm_values.h) in the place of those of the
 * configuration; NULL: those again. Until the next reload. Borrows `storm`. `generation`: of the script. */
void tg_manager_set_storm(struct tg_manager *manager, json_t *storm, int generation);

/* A request for what plugins serve: the script of this process answers it. */
void tg_manager_serve(struct tg_manager *manager, const struct tg_hook_request *request,
                      tg_hook_answered *answered, void *ctx);

/* Reloads the scripts of all processes in two phases: prepared everywhere, then
 * committed everywhere; or, if one says no, aborted everywhere and nothing has
 * changed. Replies {"generation": n, "needs_restart": [keys]} or an error ("reload_failed",
 * "reload_running"); of a failed script `value` is {"problem": text} with the
 * whole traceback, which is also in the log. */
void tg_manager_reload(struct tg_manager *manager, tg_manager_reply *reply, void *ctx);

/* See tg_upgrade_start() and tg_upgrade_status(). */
void tg_manager_upgrade(struct tg_manager *manager, tg_manager_reply *reply, void *ctx);
json_t *tg_manager_upgrade_status(struct tg_manager *manager);
struct tg_upgrade_counts tg_manager_upgrade_counts(struct tg_manager *manager);
/* For a program that is tried: whether one with this configuration could go on with what `handed`, that of
 * tg_successor, says of the manager. */
bool tg_manager_could_follow(const struct tg_config *config, const json_t *handed, struct tg_error *error);

/* Ends the connection of that shard for another, which resumes its session; one that is on its way anyway
 * goes on. Replies true when that is under way, or "no_shard", "not_ready", "worker_down", "refused" (no
 * session that could be resumed). */
void tg_manager_reconnect(struct tg_manager *manager, int shard_id, tg_manager_reply *reply, void *ctx);

/* The log level of all processes, also of those that start meanwhile, until the next reload takes effect.
 * TG_LOG_AS_CONFIGURED: from now on the configured one again. */
void tg_manager_ask_log_level(struct tg_manager *manager, int level);

/* Removes what a sink that is not configured any more has left in the state directory.
 * False: codes "no_sink", "sink_configured", "sink_busy" (a worker is about to let go of
 * it), "reload_running", "disk". */
bool tg_manager_forget_sink(struct tg_manager *manager, const char *name, struct tg_error *error);

/* What waits for a sink, by type, and discarding some of it: see commands/queues.h. */
struct tg_queue_question;
void tg_manager_queue_types(struct tg_manager *manager, const struct tg_queue_question *question,
                            tg_manager_reply *reply, void *ctx);
void tg_manager_discard(struct tg_manager *manager, const struct tg_queue_question *question,
                        tg_manager_reply *reply, void *ctx);

/* POST /identify/{shard_id}: another program wants to identify a shard with this token (identify/grants.h has
 * the answers). `body` is borrowed, NULL: empty. Answered exactly once, perhaps before this returns. Returns
 * a number for tg_manager_identify_gone(); 0: was answered. */
uint64_t tg_manager_identify(struct tg_manager *manager, int shard_id, const json_t *body,
                             tg_identify_answer *answer, void *ctx);
/* GET /identify?shard=N: the same, and it waits for its turn however long that takes. 503 means that the
 * gateway stops. */
uint64_t tg_manager_await_turn(struct tg_manager *manager, int shard_id, tg_identify_answer *answer,
                               void *ctx);

/* Nobody waits for that answer any more: there will be none. Unknown numbers
 * are ignored. */
void tg_manager_identify_gone(struct tg_manager *manager, uint64_t id);
