#pragma once

/* Turns to identify for who is no gateway host but uses the same token: programs, by POST
 * /identify/{shard_id} and GET /identify?shard=N, and scripts that ask for a shard that is not this
 * gateway's. Nothing is heard of such a grant any more: it counts as used at its last moment.
 *
 * The turns are those of this gateway's scheduler; of a host of a cluster, the cluster's (grants_cluster.h).
 */

#include "manager/cluster/link.h"
#include "manager/env.h"
#include "manager/identify/answer.h"
#include "manager/identify/scheduler.h"

struct tg_grants;

enum {
  TG_GRANT_WAIT = 20000, /* ms that an ask waits for its turn unless it says otherwise */
  TG_GRANT_WAIT_MAX = 60000,
  TG_GRANT_FOR_EVER = -1, /* is answered with the grant, or at the end */
  TG_GRANT_KEPT = 10000,  /* ms that a shard keeps its place without asking on */
};

struct tg_grant_wish {
  int shard_id;
  enum tg_identify_priority priority;
  tg_ms wait;
  bool is_any; /* also if there are not so many shards, as this gateway counts them */
};

/* From the body of a request: {"priority": "lost" | "first" | "resharding", "wait": ms}, or NULL for an empty
 * one. False: `error` ("bad_request") says what is wrong with it. */
bool tg_grant_wish_read(const json_t *body, int shard_id, struct tg_grant_wish *wish, struct tg_error *error);

struct tg_grants_events {
  /* Somebody wants a turn, or does not any more. */
  void (*changed)(void *ctx);
  /* As in slots.h. */
  bool (*put_off)(void *ctx, char *text, size_t size);
  /* A call of the cluster's script for who is no host of it, as tg_redis_link_ask(). NULL without a cluster.
   */
  bool (*call)(void *ctx, const char *name, json_t *body, tg_redis_link_replied *done, void *done_ctx);
};

/* All is borrowed. */
struct tg_grants *tg_grants_new(const struct tg_manager_env *env, const struct tg_grants_events *events,
                                void *ctx);
/* The shards are known: from here on there are turns. */
void tg_grants_begin(struct tg_grants *grants, struct tg_scheduler *scheduler);
/* Whoever waits is told why. */
void tg_grants_end(struct tg_grants *grants, const char *why);
void tg_grants_free(struct tg_grants *grants);

/* Answers, exactly once, perhaps before this returns,
 * - 200 {"state": "granted", "waited", "validFor"}: op 2 may leave until waited + validFor ms after the
 * request began
 * - 202 {"state": "waiting"}: after `wait` ms; to be asked again, at once: the place in the queue is kept
 * - 202 {"state": "held_back", "retryAfter"}: no identifies are left. Who waits for ever waits on
 * - 409 {"error", "code": "shard"}: it is not a shard for which anybody else may identify
 * - 503 {"error"}: not now
 *
 * Returns a number for tg_grants_leave(); 0: was answered. */
uint64_t tg_grants_ask(struct tg_grants *grants, const struct tg_grant_wish *wish, tg_identify_answer *answer,
                       void *ctx);
/* Nobody waits for that answer any more: there will be none. Unknown numbers are ignored. */
void tg_grants_leave(struct tg_grants *grants, uint64_t id);

/* How many wait. */
int tg_grants_count(const struct tg_grants *grants);
/* The scheduler has granted a turn to a shard that asked here. False: none does. */
bool tg_grants_granted(struct tg_grants *grants, int shard_id, tg_ms deadline, tg_ms now);
/* No identifies are left: those who do not wait for ever are told to come back after so many ms. */
void tg_grants_hold_back(struct tg_grants *grants, tg_ms retry_after, tg_ms now);

/* What is due by time alone, and when the next is; -1: never. */
void tg_grants_tick(struct tg_grants *grants, tg_ms now);
tg_ms tg_grants_wakeup(const struct tg_grants *grants);
