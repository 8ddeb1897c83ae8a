#pragma once

/* For member.c (life, Redis, figures), member_words.c (what the cluster says) and member_rows.c (the state
 * directory). */

#include "manager/cluster/member.h"

/* What is to be done of a shard, in that order. */
struct tg_task {
  struct tg_task *next;
  struct tg_cluster_word word;
  char *texts[3];
};

enum {
  TG_RESUMED_ELSEWHERE = 8 /* numbers of RESUMED that other hosts may have had of a session, and we not */
};

enum tg_asked { TG_ASKED_NOT, TG_ASKED_NOW, TG_ASKED_AGAIN /* later: it was in vain */ };

struct tg_member_shard {
  struct tg_member *member;
  int id;
  struct tg_task *tasks;
  enum tg_asked asked; /* of the first of them */
  bool left;           /* the first is "run", and the worker has left the shard */
};

struct tg_member {
  const struct tg_manager_env *env;
  struct tg_workers *workers;
  struct tg_spawner *spawner;
  const struct tg_member_events *events;
  void *ctx;

  struct tg_cluster *cluster; /* NULL: before tg_member_begin() */
  struct tg_redis_link *link;
  uv_timer_t *timer;
  bool pumping, pump_again, stopped, goes_on;
  bool draining, drains_anyway;
  bool told_away, told_up;           /* as the log was told last */
  tg_ms away_since, complained_at;   /* tg_now() */
  char *trouble;                     /* with Redis; NULL: it answers */
  char *digest, bot[TG_BOT_ID_SIZE]; /* as the cluster is told them */
  struct tg_shard_table
      *before; /* as it was at the start, until the set of shards is there; NULL: there is none */
  int total;
  struct tg_member_shard *shards; /* `total` of them; NULL before it is known */
  struct tg_filling *fillings;    /* holes that workers are asked to fill: a list */
  struct tg_cluster_view view;
  uint64_t mark_kept;   /* the state directory has it */
  char hosts_told[512]; /* their names, as the log was told last */
};

/* member.c */
void tg_member_pump(struct tg_member *member);
/* Its lease, as its row is to have it. */
void tg_member_lease(struct tg_member *member, int shard_id);
static inline struct tg_managed_shard *tg_member_managed(const struct tg_member *member, int shard_id)
{
  return tg_shard_set_find(&member->env->shards, shard_id);
}

/* member_words.c */
void tg_member_word(struct tg_member *member, const struct tg_cluster_word *word);
/* Whatever waits for a worker, or is to be tried again. */
void tg_member_try_again(struct tg_member *member);
void tg_member_forget_tasks(struct tg_member *member);

/* member_rows.c */
/* Makes `cluster`, with what this host had when it ended. False: the state directory cannot be written. */
bool tg_member_identify(struct tg_member *member, int side, int total, struct tg_error *error);
/* Where the count of epochs and fences is, if it has outrun this host's clock, with which it would begin
 * again should Redis lose it. */
void tg_member_keep_mark(struct tg_member *member);
void tg_member_progress(void *ctx, int shard_id, struct tg_cluster_progress *progress);
/* What is in the row of a shard that was lost or released: for the next start. */
void tg_row_leave(struct tg_shard_row *row);
void tg_row_take(struct tg_shard_row *row, const struct tg_cluster_word *word);
