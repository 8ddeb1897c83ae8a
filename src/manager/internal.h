#pragma once

/* The manager as its own files see it, which hold its rooms together:
 *
 *   manager.c       its life: the rooms, start, pulse, free
 *   begin.c         from the gateway information to shards that start
 *   sets.c          the second set of shards
 *   joining.c       what the cluster tells
 *   from_workers.c  what workers say, and whom it concerns
 *   stop.c          the end
 *   upgrading.c     another program takes over: when it may, and when all is at rest
 *   handover.c      what that one is told, and how it goes on with it
 *   cluster_front.c what people see of the cluster, and ask of it
 *   status.c        figures for the control API and metrics
 *   progress.c      the bar while shards come up
 *   log_level.c     the level that somebody has asked for
 *   storm.c         rules against storms that a script sets
 *   left_sinks.c    what sinks that are not configured any more have left
 *
 * No room includes this: fetch.h, identify/slots.h, workers/workers.h,
 * workers/spawn.h, workers/reload.h, commands/, reshard/reshard.h, deaf/deaf.h. Each has its own struct, and
 * tells what it has to tell by callbacks, which are manager.c's. */

#include "manager/cluster/member.h"
#include "manager/cluster/post.h"
#include "manager/cluster/shared_presences.h"
#include "manager/commands/commands.h"
#include "manager/commands/members.h"
#include "manager/commands/presences.h"
#include "manager/commands/redis_commands.h"
#include "manager/commands/sending.h"
#include "manager/deaf/deaf.h"
#include "manager/env.h"
#include "manager/fetch.h"
#include "manager/identify/optional_intents.h"
#include "manager/identify/slots.h"
#include "manager/left_sinks.h"
#include "manager/letters/letters.h"
#include "manager/manager.h"
#include "manager/reshard/reshard.h"
#include "manager/steady.h"
#include "manager/storm.h"
#include "manager/taps.h"
#include "manager/upgrade/upgrade.h"
#include "manager/workers/reload.h"
#include "manager/workers/spawn.h"
#include "manager/workers/workers.h"

enum tg_manager_phase {
  TG_MANAGER_NEW,
  TG_MANAGER_FETCHING, /* gateway information */
  TG_MANAGER_LOADING,  /* workers load their script */
  TG_MANAGER_RUNNING,
  TG_MANAGER_STOPPING,
  TG_MANAGER_OVER,
};

struct tg_manager {
  struct tg_manager_options options;
  char *script_path;
  int lock_fd;
  tg_ms began;
  struct tg_steady steady;
  enum tg_manager_phase phase;
  tg_ms loading_until; /* workers that have not loaded by then start later */
  uv_timer_t *pulse;   /* watchdog, progress, what only shows in the table */
  int usual_workers;   /* how many the default of calculate_worker_id deals with */
  int shown_percent;   /* progress.c */

  struct tg_manager_env env;
  struct tg_fetch *fetch;
  struct tg_slots *slots;
  struct tg_workers *workers;
  struct tg_spawner *spawner;
  struct tg_member *member; /* NULL: there is no cluster */
  struct tg_reloads *reloads;
  struct tg_sendings *sendings;
  struct tg_members *members;
  struct tg_shared_presences *shared_presences; /* NULL: there is no cluster */
  struct tg_presences *presences;
  struct tg_commands *commands;
  struct tg_deaf *deaf;
  struct tg_redis_commands *redis_commands;
  struct tg_optional_intents *optional;
  struct tg_reshard *reshard;
  struct tg_left_sinks *left_sinks;
  json_t *storm;        /* what a script has set; NULL: nothing. storm.c ... */
  int storm_generation; /* ... and which one of the script */
  struct tg_letters *letters;
  struct tg_taps *taps;
  struct tg_upgrade *upgrade;

  uv_timer_t *end_timer; /* deadlines of the end */
  tg_ms rests_since;     /* tg_now(), for another program (upgrading.c) */
  bool leaving;          /* the end waits for shards that go to other hosts */
  tg_ms leave_until;     /* tg_now(): put off with each shard that has gone, up to leave_latest */
  tg_ms leave_latest;
  int leaving_shards;         /* at the last look */
  tg_ms differing_told_again; /* cluster_front.c; tg_now() */
  int exit_code;
  bool keep_sessions;
};

static inline void tg_manager_tell(struct tg_manager *manager, enum tg_manager_news news)
{
  if (manager->options.on_news)
    manager->options.on_news(manager->options.ctx, news);
}

/* ---- log_level.c ---- */

/* A worker is there: it has the configured level. */
void tg_log_level_tell(struct tg_manager *manager, int worker);
/* A reload has taken effect. */
void tg_log_level_reloaded(struct tg_manager *manager);

/* ---- begin.c ---- */

/* Offers its defaults of methods. */
void tg_begin_offer(struct tg_manager *manager);
/* The gateway information is there. */
void tg_manager_begin(struct tg_manager *manager);
/* The number of shards of the cluster is known, and the last change of it. */
void tg_manager_joined(struct tg_manager *manager, uint64_t change);
/* A worker has loaded its script. */
void tg_manager_worker_loaded(struct tg_manager *manager);
/* Starts the shards if all workers have loaded, or had long enough. */
void tg_manager_try_to_run(struct tg_manager *manager, tg_ms now);

/* ---- joining.c ---- */

extern const struct tg_member_events tg_manager_of_member;
/* What it hears of turns to identify: see tg_slots_events. */
void tg_joined_ask(void *ctx, struct tg_managed_shard *shard, enum tg_identify_priority priority);
void tg_joined_unask(void *ctx, struct tg_managed_shard *shard);
void tg_joined_sent(void *ctx, struct tg_managed_shard *shard);
void tg_joined_done(void *ctx, struct tg_managed_shard *shard, bool ready);
bool tg_joined_held_back(void *ctx);
bool tg_joined_call(void *ctx, const char *name, json_t *body, tg_redis_link_replied *done, void *done_ctx);
/* See tg_presence_changed. */
void tg_joined_presence(void *ctx, int shard_id, const json_t *presence);

/* ---- sets.c ---- */

/* Makes env.next: `total` shards, none of which starts yet, on the side that is free.
 * Those of class i run in workers[i]; a shard's class is its id % classes. A table
 * that is there goes on; in a new one epochs follow `first_epoch`. False: it cannot
 * be had. */
bool tg_manager_make_next(struct tg_manager *manager, int total, uint64_t first_epoch, const int *workers,
                          int classes, struct tg_error *error);
/* It is over, or takes the place of the current one, which is over. The workers know;
 * the files of what is over are the caller's to remove. */
void tg_manager_drop_next(struct tg_manager *manager);
void tg_manager_take_next(struct tg_manager *manager);

/* ---- from_workers.c ---- */

void tg_manager_hear(void *ctx, struct tg_worker_process from, const struct tg_message *message);

/* ---- stop.c ---- */

/* Says why and ends the gateway, sessions kept. */
void tg_manager_fail(struct tg_manager *manager, int exit_code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The process of a worker is gone, while the gateway stops. */
void tg_stop_worker_gone(struct tg_manager *manager);

/* ---- upgrading.c ---- */

struct tg_upgrade *tg_manager_make_upgrade(struct tg_manager *manager);

/* ---- handover.c ---- */

json_t *tg_manager_hand_over(struct tg_manager *manager);
/* In place of the start. False: it cannot be. */
bool tg_manager_take_over(struct tg_manager *manager, const json_t *handed, struct tg_error *error);

/* ---- progress.c ---- */

void tg_progress_draw(struct tg_manager *manager);
void tg_progress_end(void);
