#pragma once

/* For member.c (life, Redis, figures), member_words.c (what the cluster says of shards), member_change.c (and
 * of the number of them), member_holes.c, member_sides.c (which shards there are, by whose numbers) and
 * member_rows.c (the state directory). */

#include "manager/cluster/member.h"

/* What is to be done of a shard, in that order. */
struct tg_task {
  struct tg_task *next;
  struct tg_cluster_word word;
  char *texts[3];
};

enum { TG_HOME_LENGTH = 16 };

enum {
  TG_RESUMED_ELSEWHERE = 8 /* numbers of RESUMED that other hosts may have had of a session, and we not */
};

enum tg_asked { TG_ASKED_NOT, TG_ASKED_NOW, TG_ASKED_AGAIN /* later: it was in vain */ };

struct tg_member_shard {
  struct tg_member *member; /* NULL: its set is over, and nobody speaks of it any more */
  tg_shard_ref ref;
  struct tg_task *tasks;
  enum tg_asked asked; /* of the first of them */
  bool left, taken;    /* the first is "run", and the worker has left the shard; and its row says so */
  int worker;          /* of a set that is over: whom of all workers to ask next */
};

/* A class that comes from another host: its worker is to have the file of that one. */
struct tg_member_class {
  struct tg_member *member; /* as above */
  int number;
  enum tg_class_step step; /* as the cluster has it */
  bool is_due;             /* its file: before any of its shards runs */
  char *file;
  enum tg_asked asked;
};

/* The shards of a side of proto/shard_ref.h: those that there are, those to come, or what is left of those
 * that were before. */
struct tg_member_side {
  struct tg_member_shard *list;
  int count;
  struct tg_shard_table *table; /* while the gateway has no set of that side: before it is made, and after */
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
  char *name, *host;                 /* as it has joined: a reload may have made others of them */
  char home[TG_HOME_LENGTH + 1];
  uint64_t life;

  int total; /* 0: not known yet */
  int side;  /* of those; of those that this gateway has had, before the total is known */
  struct tg_member_side sides[TG_SIDES];
  int to;                          /* how many are to come, of the other side; 0: none */
  struct tg_member_class *classes; /* `total` of them, while some are to come */
  struct tg_task *postponed;       /* words about shards to come, whose place others still have: a list */
  void **graves;                   /* lists that are over, but that an answer of a worker may still name */
  int grave_count;

  struct tg_filling *fillings; /* holes that workers are asked to fill: a list */
  struct tg_cluster_view view;
  uint64_t mark_kept;   /* the state directory has it */
  char hosts_told[512]; /* their names, as the log was told last */
};

/* ---- member.c ---- */
bool tg_member_make_link(struct tg_member *member, struct tg_error *error);
void tg_member_pump(struct tg_member *member);
/* Its lease, as its row is to have it. */
void tg_member_lease(struct tg_member *member, struct tg_managed_shard *shard);

/* ---- member_sides.c ---- */
/* By the cluster's number. NULL: there is none. */
struct tg_managed_shard *tg_member_managed(const struct tg_member *member, int number);
/* ... and the number of one. */
int tg_member_number(const struct tg_member *member, const struct tg_managed_shard *shard);
/* Also what is left of shards that are no more, of which there were `total`. */
struct tg_member_shard *tg_member_find(struct tg_member *member, int number, int total);
/* NULL: it is known no more. */
struct tg_shard_row *tg_member_row(const struct tg_member *member, tg_shard_ref ref);
/* The cluster's number of a shard; NULL likewise. */
struct tg_shard_row *tg_member_row_of(const struct tg_member *member, int number);
void tg_member_list(struct tg_member *member, int side, int count);
void tg_member_unlist(struct tg_member *member, int side);
void tg_member_bury(struct tg_member *member, void *list);
/* The total is known; the gateway has made its sets. */
void tg_member_take_sides(struct tg_member *member, int total);
/* The shards to come are those that there are. */
void tg_member_change_sides(struct tg_member *member, int total);
void tg_member_free_sides(struct tg_member *member);

/* ---- member_words.c ---- */
void tg_member_word(struct tg_member *member, const struct tg_cluster_word *word);
/* If it is about to run, its row says so from now on. */
void tg_member_take_row(struct tg_member_shard *shard);
struct tg_task *tg_task_new(const struct tg_cluster_word *word);
void tg_task_free(struct tg_task *task);
void tg_task_append(struct tg_task **list, struct tg_task *task);
/* Whatever waits for a worker, or is to be tried again. */
void tg_member_try_again(struct tg_member *member);
void tg_member_forget_tasks(struct tg_member_side *side);

/* ---- member_holes.c ---- */
void tg_member_hole(struct tg_member *member, const struct tg_cluster_word *word);
void tg_member_fill_all(struct tg_member *member);
/* Whether some are of shards of which there were so many. */
bool tg_member_fills(const struct tg_member *member, int total);
void tg_member_forget_holes(struct tg_member *member);

/* ---- member_change.c ---- */
/* False: it is about a shard, for tg_member_word(). */
bool tg_member_change_word(struct tg_member *member, const struct tg_cluster_word *word);
/* Postponed words whose time has come. */
void tg_member_change_again(struct tg_member *member);
/* Whether a class's worker has what it has to have before the shard runs; asks it. */
bool tg_member_class_may_run(struct tg_member *member, const struct tg_member_shard *shard);
/* Whether a new shard's class has switched, for all hosts to know. */
bool tg_member_is_published(const struct tg_member *member, const struct tg_member_shard *shard);
/* The total is known, and shards are to come: from the last run. */
void tg_member_take_change(struct tg_member *member);
void tg_member_forget_change(struct tg_member *member);

/* ---- member_rows.c ---- */
/* A start: who this host is. False: the state directory cannot be written. */
bool tg_member_begin_life(struct tg_member *member, struct tg_error *error);
/* Makes `cluster`, and opens the tables of the last run. `mark`: that the program before knew; 0: none. */
void tg_member_identify(struct tg_member *member, const struct tg_member_past *past, uint64_t mark);
/* The cluster is told what this host had when it ended. */
void tg_member_tell_rows(struct tg_member *member, const struct tg_member_past *past);
/* Where the count of epochs and fences is, if it has outrun this host's clock, with which it would begin
 * again should Redis lose it. */
void tg_member_keep_mark(struct tg_member *member);
void tg_member_progress(void *ctx, int number, struct tg_cluster_progress *progress);
/* What is in the row of a shard that was lost or released: for the next start. */
void tg_row_leave(struct tg_shard_row *row);
void tg_row_take(struct tg_shard_row *row, const struct tg_cluster_word *word);
