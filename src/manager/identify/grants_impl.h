#pragma once

/* For grants.c and grants_cluster.c. */

#include "manager/identify/grants.h"

/* Of a shard: who waits for its turn, or its place in the queue, kept for who comes back. */
struct tg_grant_claim {
  struct tg_grant_claim *next;
  struct tg_grant_wish wish;
  uint64_t id;
  tg_identify_answer *answer; /* NULL: nobody waits */
  void *ctx;
  tg_ms since, until; /* of waiting, or of keeping the place */
  bool is_asked;      /* the cluster, which has not answered */
  tg_ms ask_at;       /* the cluster, not before */
};

struct tg_grants {
  const struct tg_manager_env *env;
  const struct tg_grants_events *events;
  void *ctx;
  struct tg_scheduler *scheduler; /* NULL: there are no turns yet */
  struct tg_grant_claim *claims;
  uint64_t count;
  struct tg_grant_call *calls; /* of the cluster, under way */
};

/* ---- grants.c ---- */

struct tg_grant_claim *tg_grant_find(const struct tg_grants *grants, uint64_t id);
void tg_grant_give(struct tg_grants *grants, struct tg_grant_claim *claim, tg_ms deadline, tg_ms now);
void tg_grant_refuse(struct tg_grants *grants, struct tg_grant_claim *claim, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* No identifies are left for so long. */
void tg_grant_hold_back(struct tg_grants *grants, struct tg_grant_claim *claim, tg_ms retry_after, tg_ms now);

/* ---- grants_cluster.c ---- */

/* Asks for whoever is due. */
void tg_grants_call(struct tg_grants *grants, tg_ms now);
/* What is under way is nobody's any more. */
void tg_grants_forget_calls(struct tg_grants *grants);
