#pragma once

/* For link.c, link_calls.c and link_reads.c. */

#include "manager/cluster/link.h"
#include "manager/cluster/redis_facts.h"
#include "net/redis.h"

#include <sys/queue.h>

enum {
  TG_LINK_BLOCK = 1000, /* ms that a read waits for something to come */
  TG_ENTRY_ID_SIZE = 48,
  TG_SHA_SIZE = 41,
};

/* A call of the script, or a post (name NULL), that has no answer yet. */
struct tg_link_call {
  TAILQ_ENTRY(tg_link_call) link;
  struct tg_redis_link *of;
  char *name, *body;
  bool sent;
  tg_redis_link_replied *done;
  void *ctx;
};

TAILQ_HEAD(tg_link_calls, tg_link_call);

/* FALLEN: who waits is told in the next turn of the loop. */
enum tg_link_state { TG_LINK_IDLE, TG_LINK_FALLEN, TG_LINK_COMING, TG_LINK_UP };

struct tg_redis_link {
  uv_loop_t *loop;
  char *url, *ca_file, *where;
  char *key, *stream; /* what all keys begin with; this host's stream */
  const struct tg_redis_link_events *events;
  void *ctx;
  enum tg_link_state state;
  struct tg_redis *calls, *reads; /* NULL: to be made anew */
  uv_timer_t *timer;
  int attempt;
  struct tg_error fallen; /* why */
  char run_id[TG_RUN_ID_SIZE], reads_run_id[TG_RUN_ID_SIZE];
  bool has_script, has_place; /* what each connection has to bring before the link is up */
  bool told_volatile;

  /* link_calls.c */
  char sha[TG_SHA_SIZE];
  struct tg_link_calls list;
  int sent;       /* calls of the script that Redis has */
  bool forgotten; /* it has forgotten the script: calls are not sent until it has it again */

  /* link_reads.c: what was read last, and of whom */
  char last_run_id[TG_RUN_ID_SIZE], last_id[TG_ENTRY_ID_SIZE];
  bool trim_due, clear_due;
  bool resting, put_off; /* nothing is to be read for now; and it has been */
};

/* ---- link.c ---- */

/* Ends both connections. What is under way may be in the midst of being told: so the rest is, later. */
void tg_redis_link_fall(struct tg_redis_link *link, const struct tg_error *error);
/* False: one of the replies is an error, and the link falls by it. */
bool tg_redis_link_all_good(struct tg_redis_link *link, const struct tg_redis *redis,
                            const struct tg_redis_reply *replies, int count);
void tg_redis_link_go_up_if_ready(struct tg_redis_link *link);

/* ---- link_calls.c ---- */
void tg_link_put_script(struct tg_buf *out);
/* Tells all of them, and frees them. */
void tg_link_calls_end(struct tg_link_calls *list, const struct tg_error *error);

/* ---- link_reads.c ---- */
void tg_link_reads_on_up(void *ctx);
void tg_link_reads_on_down(void *ctx, const struct tg_error *error);
void tg_link_reads_go_on(struct tg_redis_link *link);
