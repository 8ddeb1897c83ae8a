#pragma once

/* Live upgrade: another program takes this one's place, in the same process, and the workers follow one by
 * one.
 *
 *   trying     the program at the path runs beside this one: it loads script and configuration, and says that
 *              it could go on with what it would be given (candidate.h)
 *   resting    until nothing is half said: no identify is under way, no half message, no answer of the
 * control API that is not read (the process executes that program, which has what tg_manager_hand_over()
 * says) probation  a second; what fails until here has the program before go on, as it was replacing  worker
 * after worker: it ends, keeping its sessions; its next process is of this program, and its shards resume.
 * One that does not come up has the program before go on
 *
 * Every takeover replaces the workers, that of the program before, too: what was said to a program that is
 * gone and not answered ends with the process that asked. */

#include "manager/env.h"
#include "manager/workers/workers.h"

struct tg_upgrade;

/* A host of a cluster has its shards for TG_LEASE_TTL after its last beat (cluster/cluster.h), a second of
 * which may be over: in what is left the next program begins, or hangs, and the one before begins again. */
enum {
  TG_HOST_LOADS = 2000, /* ms that a program may take to load there */
  TG_HOST_PATIENCE =
      3000, /* ms that it has in the other's place to begin, and then to come through its probation */
};

/* The program around the manager (cli/run.c), and what it can do. NULL in its place: there is no upgrade. */
struct tg_successor {
  const char *path;      /* of the file that is to be run */
  char **environment;    /* for it */
  const char *container; /* why not at all, in words; NULL: it can */
  /* What the program before has handed on; NULL: this is an ordinary start. */
  const json_t *handed;
  const char *failure; /* this program has come back, since the other one failed so; NULL: it has not */
  bool can_return;     /* the program before is still there */
  /* Nothing new is begun with clients for now; or it goes on. */
  void (*rest)(void *ctx, bool rest);
  bool (*at_rest)(void *ctx);
  /* Executes it, or (`back`) the program before. Steals `state`, with the descriptors that are in it (see
   * handed.h). Returns only if that cannot be done. */
  void (*execute)(void *ctx, json_t *state, bool back, struct tg_error *error);
  /* A descriptor from which a program that is tried can read the same. -1: it cannot be had. */
  int (*show)(void *ctx, json_t *state);
  void (*settled)(void *ctx); /* the probation is over */
  void (*over)(void *ctx);    /* and so is the upgrade: the program before is not needed any more */
};

struct tg_upgrade_options {
  const struct tg_manager_env *env;
  const struct tg_successor *successor;
  void *successor_ctx;
  const char *script_path;
  struct tg_workers *workers;
  /* Whether this gateway can be upgraded now; it may be asked for at any moment. */
  bool (*may)(void *ctx, struct tg_error *error);
  void (*rest)(void *ctx, bool rest);
  bool (*at_rest)(void *ctx, const char **waits_for);
  json_t *(*hand_over)(void *ctx); /* what the next program needs to know; a new reference */
  void (*news)(void *ctx, bool running);
  void *ctx;
};

struct tg_upgrade *tg_upgrade_new(const struct tg_upgrade_options *options);
void tg_upgrade_end(struct tg_upgrade *upgrade); /* nothing is begun any more */
void tg_upgrade_free(struct tg_upgrade *upgrade);

/* Replies {"from": version, "to": version} when the other program has been tried and will take over, or why
 * not: "upgrade_running", "upgrade_refused", "upgrade_failed", "not_ready". */
void tg_upgrade_start(struct tg_upgrade *upgrade, tg_manager_reply *reply, void *ctx);
/* The program before is about to take over again. */
bool tg_upgrade_returns(const struct tg_upgrade *upgrade);

/* This program has taken over: the shards and workers are those that were handed on. */
void tg_upgrade_go_on(struct tg_upgrade *upgrade, const json_t *handed);
/* A part of what is handed on. */
json_t *tg_upgrade_hand_over(const struct tg_upgrade *upgrade);
/* The process of a worker has ended. */
void tg_upgrade_worker_gone(struct tg_upgrade *upgrade, int worker);

/* {"state", "version", "since": ms that this program runs, "done", "failed", "last": {"result", "from", "to",
 * "problem", "ago", "duration"} or null}; under way also "from", "to", "replaced", "workers", "waitsFor",
 * "problem". A new reference. */
json_t *tg_upgrade_status(const struct tg_upgrade *upgrade);

/* Of this process, whatever programs it has run. */
struct tg_upgrade_counts {
  uint64_t done, failed; /* failed: nothing has changed, or the program before goes on */
};
struct tg_upgrade_counts tg_upgrade_counts(const struct tg_upgrade *upgrade);
