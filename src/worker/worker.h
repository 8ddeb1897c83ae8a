#pragma once

/* A worker process: its loop, its shards, its delivery, its line to the
 * manager (messages.h). Loop thread only.
 *
 * It starts empty: the manager says "start" with what all shards share, then
 * "identify_shard" for each shard it is to hold. */

#include "base/error.h"
#include "config/config.h"
#include "hooks/hooks.h"
#include "hooks/reload.h"
#include "proto/shard_ref.h"

#include <jansson.h>
#include <uv.h>

struct tg_worker;
struct tg_http;
struct tg_proxies;
struct tg_shard;
struct tg_delivery;

struct tg_worker_options {
  uv_loop_t *loop;
  const struct tg_config *config; /* borrowed; see tg_worker_reconfigure() */
  struct tg_hooks *hooks;
  struct tg_http *http;
  const struct tg_proxies *proxies; /* of the gateway's connections; NULL: none */
  struct tg_reload reload;
  int manager_fd; /* the socketpair's end; taken over */
  int worker_id;
  void (*on_exit)(void *ctx, int exit_code); /* the loop should end */
  void *ctx;
};

/* NULL: TLS cannot be set up. */
struct tg_worker *tg_worker_new(const struct tg_worker_options *options, struct tg_error *error);

/* After on_exit; drops every connection. */
void tg_worker_free(struct tg_worker *worker);

/* A reload has made a new configuration; the old one may be freed afterwards. */
void tg_worker_reconfigure(struct tg_worker *worker, const struct tg_config *config);

/* NULL: not a shard of this worker. */
struct tg_shard *tg_worker_shard(struct tg_worker *worker, tg_shard_ref ref);
struct tg_delivery *tg_worker_delivery(struct tg_worker *worker);

/* gateway.storm: as tg_manager_set_storm(). */
void tg_worker_set_storm(struct tg_worker *worker, json_t *storm, int generation);

/* gateway.broadcast: goes to the scripts of all processes, this one's too, once
 * it comes back from the manager. Borrows `value`; both are UTF-8. */
void tg_worker_broadcast(struct tg_worker *worker, const char *topic, json_t *value);

/* Calls gateway.manager:<method> in the manager (manager_call): whatever
 * override it has there, or with `use_default` the C default. `args` is an
 * array, borrowed. */
typedef void tg_worker_reply(void *ctx, const json_t *value, const struct tg_error *error);
void tg_worker_call_manager(struct tg_worker *worker, enum tg_method method, bool use_default,
                            const json_t *args, tg_worker_reply *reply, void *ctx);
