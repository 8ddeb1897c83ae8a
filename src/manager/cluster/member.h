#pragma once

/* This gateway as a host of its cluster: what cluster.h decides, done to shards, workers and rows.
 *
 *     Redis <-> link.h <-> cluster.h -- words --> member_words.c -> workers/spawn.h, workers, the shard table
 *                                             --> member_change.c -> reshard/, by events.change
 *
 * A shard is held here from "run" until it is lost or released. What the cluster says of one shard is done in
 * its order, one after the other: a worker that has to leave a shard first does that before the shard is
 * run again. Whoever is asked and is not there is asked again.
 *
 * Written into rows here: fence, lease_until, no_resume, left_*, published; and all of it while no worker has
 * the shard.
 */

#include "manager/cluster/cluster.h"
#include "manager/cluster/link.h"
#include "manager/env.h"
#include "manager/workers/spawn.h"
#include "manager/workers/workers.h"

struct tg_member;

struct tg_member_events {
  /* The number of shards is known: tg_member_total(). Once, before all others but `change`. `change`: the
   * last change of it that was not taken back. The gateway makes its sets. */
  void (*total)(void *ctx, uint64_t change);
  /* This gateway cannot be part of the cluster, for that reason. */
  void (*refused)(void *ctx, const char *why);
  /* Op 2 may leave until `deadline` (tg_now()), and begins the session `epoch`. */
  void (*granted)(void *ctx, struct tg_managed_shard *shard, tg_ms deadline, uint64_t epoch);
  /* /gateway/bot is to be asked: tg_member_budget(). */
  void (*ask_discord)(void *ctx);
  /* The link to Redis is up (again). */
  void (*linked)(void *ctx);
  /* The shard is not this host's any more: another one has it, or will. */
  void (*left)(void *ctx, const struct tg_managed_shard *shard);
  /* A change of the number of shards: "change", "class", "taken back", "changed" (the next set has become the
   * current one when that returns, unless the gateway stops); and "lost" or "released" of an old shard, or a
   * new one, whose class goes with it. False, of "change": it cannot begin yet, and is said again. */
  bool (*change)(void *ctx, const struct tg_cluster_word *word);
  /* An entry of this host's stream that is not the cluster's own. */
  void (*posted)(void *ctx, const char *word, const char *body, size_t length);
};

/* NULL: the state directory or Redis' URL is of no use. All is borrowed. */
struct tg_member *tg_member_new(const struct tg_manager_env *env, struct tg_workers *workers,
                                struct tg_spawner *spawner, const struct tg_member_events *events, void *ctx);
void tg_member_free(struct tg_member *member);

/* What this gateway has had when it ended. */
struct tg_member_past {
  int side, total; /* of its shards; total 0: as the table has them */
  int next;        /* so many were to come, of the other side; 0: none */
  int before;      /* so many there were before the last change, of the other side; 0: not known */
  uint64_t change, ended, done; /* see struct tg_cluster_options */
};

/* The gateway information is there: joins, as soon as Redis is. False: `error`. */
bool tg_member_begin(struct tg_member *member, const struct tg_member_past *past, struct tg_error *error);

/* ---- another program in this one's place (manager/upgrade/) ---- */

/* Nothing is begun of which the next program would not know, and nothing is read that others tell this host;
 * or it goes on. */
void tg_member_rest(struct tg_member *member, bool rest);
/* False: what it waits for, in words. `sure`: leases are fresh, so that the other hosts do not miss this one
 * while it is away. */
bool tg_member_at_rest(const struct tg_member *member, bool sure, const char **waits_for);
/* A change of the number of shards has begun, as far as this host knows. */
bool tg_member_changes(const struct tg_member *member);
/* What the next program has to know. A new reference. */
json_t *tg_member_hand_over(const struct tg_member *member);
/* For a program that is tried: whether one with this configuration could go on with that (NULL: the gateway
 * is no host). */
bool tg_member_could_follow(const struct tg_config *config, const json_t *handed, struct tg_error *error);
/* In that program, in the place of tg_member_begin(). The current set is there, with what the one before had
 * in `held`, which is corrected by what rows say. At rest until tg_member_rest(). */
bool tg_member_take_over(struct tg_member *member, const struct tg_member_past *past, const json_t *handed,
                         struct tg_error *error);

/* Nothing is done any more. */
void tg_member_stop(struct tg_member *member);
/* The shard set is there; workers may come up. Shards start from here on. */
void tg_member_go_on(struct tg_member *member);

/* It has begun, and does not know yet how many shards there are. */
bool tg_member_waits(const struct tg_member *member);
int tg_member_total(const struct tg_member *member); /* 0: not known yet */
bool tg_member_has(const struct tg_member *member, int shard_id);
/* While the number of shards is being changed: whether the class of that old shard is this host's. */
bool tg_member_has_class(const struct tg_member *member, int class);
/* ... and whether it is about to be, and its worker does not know yet how far it is. */
bool tg_member_awaits_class(const struct tg_member *member, int class);
/* How far that class is here, and what another host would have to know (NULL: nothing, or as before): see
 * tg_cluster_class(). */
void tg_member_class(struct tg_member *member, int class, enum tg_class_step step, const char *file);
/* Something of shards that are no more, of the other side, is still this host's to keep. */
bool tg_member_has_old(const struct tg_member *member);
/* It is not, and their table is removed. */
void tg_member_forget_old(struct tg_member *member);
int tg_member_count(const struct tg_member *member); /* shards that are held */
/* Whether Redis answers. */
bool tg_member_is_connected(const struct tg_member *member);
/* Why it does not, in words; NULL: it does, or has not been asked yet. */
const char *tg_member_trouble(const struct tg_member *member);
/* Whether another host lives that takes shards. */
bool tg_member_has_others(struct tg_member *member);
/* No identify for now: the day's reserve, or Redis is away. */
bool tg_member_held_back(struct tg_member *member);
const struct tg_cluster_view *tg_member_view(struct tg_member *member);
struct tg_redis_link *tg_member_link(struct tg_member *member);

/* All shards go to others; see tg_cluster_drain(). */
void tg_member_drain(struct tg_member *member, bool anyway);
bool tg_member_is_draining(const struct tg_member *member);

/* ---- what becomes of shards ---- */

void tg_member_ask(struct tg_member *member, const struct tg_managed_shard *shard,
                   enum tg_identify_priority priority);
void tg_member_unask(struct tg_member *member, const struct tg_managed_shard *shard);
void tg_member_sent(struct tg_member *member, const struct tg_managed_shard *shard);
void tg_member_done(struct tg_member *member, const struct tg_managed_shard *shard);
/* READY or RESUMED. */
void tg_member_session_up(struct tg_member *member, const struct tg_managed_shard *shard);
void tg_member_cut(struct tg_member *member, const struct tg_managed_shard *shard);
/* Discord has answered. */
void tg_member_budget(struct tg_member *member);
/* A worker is there (again). */
void tg_member_worker_ready(struct tg_member *member);
