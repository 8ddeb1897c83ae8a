#pragma once

/* The slots of this gateway's identifies: the scheduler (scheduler.h) and its
 * ledger at work. A slot is asked for when a shard has its HELLO, and granted by
 * this gateway's own scheduler, or by the cluster that it is a host of
 * (slots_cluster.h). Other programs have their turns there, too (grants.h).
 *
 *     enqueue -> events.start: it is its turn to connect
 *             -> asked       -> events.allow: op 2 may leave
 *             -> sent, then done  |  unused
 *
 * All but tg_slots_new(), tg_slots_end() and tg_slots_gone() want tg_slots_begin()
 * first. */

#include "manager/cluster/link.h"
#include "manager/env.h"
#include "manager/identify/answer.h"
#include "manager/identify/scheduler.h"
#include "manager/status.h"

struct tg_slots;

struct tg_slots_events {
  /* The shard is to be told to connect. */
  void (*start)(void *ctx, struct tg_managed_shard *shard);
  /* Whether it can be reached now; else its grant is not worth sending. */
  bool (*reachable)(void *ctx, const struct tg_managed_shard *shard);
  /* It has its slot, for which it asked with that number: op 2 may leave until then (tg_now()). `epoch`: of
   * the session that READY begins; 0: as the shard counts. */
  void (*allow)(void *ctx, struct tg_managed_shard *shard, int64_t ask, tg_ms deadline, uint64_t epoch);
  /* Discord should be asked for session_start_limit again; tg_slots_refreshed()
   * is waited for. */
  void (*refresh)(void *ctx);
  /* The gateway waits before it can start: for what, and until when. False: it
   * does not. */
  bool (*put_off)(void *ctx, char *text, size_t size);

  /* Only of a host of a cluster, NULL elsewhere: the cluster is to know that the shard wants its turn, for
   * which tg_slots_granted() is the answer; that it does not any more, or has not used it; that op 2 has
   * left; and what became of that. */
  void (*ask)(void *ctx, struct tg_managed_shard *shard, enum tg_identify_priority priority);
  void (*unask)(void *ctx, struct tg_managed_shard *shard);
  void (*sent)(void *ctx, struct tg_managed_shard *shard);
  void (*done)(void *ctx, struct tg_managed_shard *shard, bool ready);
  /* The cluster lets nobody identify now: the day's reserve, or it cannot be asked. */
  bool (*held_back)(void *ctx);
  /* A call of its script for who is no host of it: see tg_redis_link_ask(). */
  bool (*call)(void *ctx, const char *name, json_t *body, tg_redis_link_replied *done, void *done_ctx);
};

/* Both are borrowed. */
struct tg_slots *tg_slots_new(const struct tg_manager_env *env, const struct tg_slots_events *events,
                              void *ctx);
/* The shards and max_concurrency are known. */
void tg_slots_begin(struct tg_slots *slots);
bool tg_slots_begun(const struct tg_slots *slots);
/* Nobody gets a slot any more: whoever waits is told so. Slots that are out are
 * still counted by what becomes of them. */
void tg_slots_end(struct tg_slots *slots, const char *why);
void tg_slots_free(struct tg_slots *slots);

/* Lets go what may go now. To be called after whatever may change that: the
 * functions below that say so do it themselves. */
void tg_slots_pump(struct tg_slots *slots);

/* For now nobody gets a slot, or they go on; and whether none is out whose end is to come. */
void tg_slots_rest(struct tg_slots *slots, bool rest);
bool tg_slots_at_rest(const struct tg_slots *slots);

/* ---- the way of a shard ---- */

/* It needs an identify. Pumps. */
void tg_slots_enqueue(struct tg_slots *slots, const struct tg_managed_shard *shard,
                      enum tg_identify_priority priority);
/* It was told to connect, without having been asked to by events.start. */
void tg_slots_started(struct tg_slots *slots, const struct tg_managed_shard *shard);
/* It wants its slot; `ask` is the number of that wish. Pumps. */
void tg_slots_asked(struct tg_slots *slots, struct tg_managed_shard *shard, int64_t ask);
/* The cluster has granted what events.ask has asked for: op 2 may leave until `deadline` (tg_now()), and its
 * READY begins the session `epoch`. Pumps. */
void tg_slots_granted(struct tg_slots *slots, struct tg_managed_shard *shard, tg_ms deadline, uint64_t epoch);
/* Op 2 has left; or did not, in time. Both pump. */
void tg_slots_sent(struct tg_slots *slots, struct tg_managed_shard *shard);
void tg_slots_unused(struct tg_slots *slots, struct tg_managed_shard *shard);
/* What became of op 2. Pumps. */
void tg_slots_done(struct tg_slots *slots, struct tg_managed_shard *shard, bool ready);
/* Its process is gone, or it was stopped. */
void tg_slots_gone(struct tg_slots *slots, struct tg_managed_shard *shard, const char *why);

/* The shards of that set are about to be no more. Pumps. */
void tg_slots_set_over(struct tg_slots *slots, const struct tg_shard_set *set, const char *why);

enum tg_identify_state tg_slots_state(const struct tg_slots *slots, const struct tg_managed_shard *shard);
int tg_slots_bucket(const struct tg_slots *slots, const struct tg_managed_shard *shard);

/* ---- the budget ---- */

/* env->info has new numbers. */
void tg_slots_info_changed(struct tg_slots *slots);
/* A refresh has ended, with an answer or not. Pumps. */
void tg_slots_refreshed(struct tg_slots *slots);

/* No identify goes out for now: below the reserve, or the cluster cannot be asked. */
bool tg_slots_held_back(const struct tg_slots *slots);
/* About how long until every shard that waits now has had its slot, in ms. */
tg_ms tg_slots_eta(const struct tg_slots *slots);
void tg_slots_status(const struct tg_slots *slots, struct tg_identify_status *status);

/* ---- other programs: see tg_manager_identify() and tg_manager_await_turn() ---- */

uint64_t tg_slots_identify(struct tg_slots *slots, int shard_id, const json_t *body,
                           tg_identify_answer *answer, void *ctx);
uint64_t tg_slots_await_turn(struct tg_slots *slots, int shard_id, tg_identify_answer *answer, void *ctx);
void tg_slots_identify_gone(struct tg_slots *slots, uint64_t id);
