#pragma once

/* For post.c, which asks other hosts, and post_jobs.c, which does what others ask. */

#include "base/buf.h"
#include "manager/cluster/post.h"
#include "manager/cluster/redis_facts.h"

#include <sys/queue.h>

enum {
  TG_POST_ID_SIZE = 48,
  TG_POST_HOST_SIZE = 80,
  TG_POST_NAME_SIZE = 48,   /* "shard 65535 is another host's" */
  TG_POST_LEAD = -1,        /* in the place of a shard's reference: for who leads the cluster */
  TG_POST_TICK = 250,       /* ms between two looks at what waits */
  TG_POST_BEGIN = 5000,     /* ms in which the other host begins (scripts/commands.lua), or does not at all */
  TG_POST_READ_MAX = 30000, /* ms in which a part of an answer is to be read */
  TG_POST_SMALL = 16 * 1024,   /* bytes that may be posted when Redis' memory is full */
  TG_POST_PIECE = 1024 * 1024, /* of an answer, in one entry */
  TG_POST_ANSWER_MAX = 128 << 20,
};

/* WAITS: for who has the shard. POSTED: somebody may have begun. BEGUN: somebody has. */
enum tg_post_stage { TG_ASK_WAITS, TG_ASK_POSTED, TG_ASK_BEGUN };

/* A call that goes to another host. */
struct tg_post_ask {
  TAILQ_ENTRY(tg_post_ask) link;
  struct tg_post_office *office; /* NULL: it has ended, and is freed by the answer that is under way */
  char id[TG_POST_ID_SIZE];
  tg_shard_ref ref;
  char *call; /* {"method", "args"} */
  enum tg_post_stage stage;
  bool calling; /* a call of the script is under way */
  tg_ms since, patience, due, again_at;
  char to[TG_POST_HOST_SIZE]; /* not WAITS: who was asked last, or has answered */
  struct tg_buf answer;       /* so far */
  int parts;                  /* of it */
  bool wants_more;            /* which could not be said yet */
  tg_manager_reply *reply;
  void *ctx;
};

/* A call of another host. */
struct tg_post_job {
  LIST_ENTRY(tg_post_job) link;
  struct tg_post_office *office;
  char id[TG_POST_ID_SIZE], from[TG_POST_HOST_SIZE];
  int shard_id, hops;
  char *call;
  bool answered;        /* the following stands */
  char *answer;         /* JSON, or the error's message */
  size_t length, taken; /* taken: bytes of the parts that were read */
  int part;
  char code[TG_ERROR_CODE_SIZE]; /* "": no error */
  bool due;                      /* that part is to be posted, and could not be yet */
  int posting;                   /* posts without an answer of Redis */
  tg_ms until;                   /* it is kept */
};

TAILQ_HEAD(tg_post_asks, tg_post_ask);
LIST_HEAD(tg_post_jobs, tg_post_job);

struct tg_post_office {
  const struct tg_manager_env *env;
  char *host;
  char run_id[TG_RUN_ID_SIZE]; /* of the Redis that knows of what was asked */
  char prefix[20];             /* of ids, other ones with each process */
  uint64_t ids;
  struct tg_redis_link *link; /* NULL: it has not been up yet, or is gone */
  bool here;                  /* what is called now is to be done here, whoever has the shard */
  bool ended;
  struct tg_post_asks asks; /* in the order they came */
  struct tg_post_jobs jobs;
  uv_timer_t *timer;
};

static inline bool tg_post_is_linked(const struct tg_post_office *office)
{
  return office->link && tg_redis_link_is_up(office->link);
}

/* Looks again in a while. */
void tg_post_watch(struct tg_post_office *office);
/* A call of the script; steals `body`. False: it cannot be made now. */
bool tg_post_call(struct tg_post_office *office, const char *name, json_t *body, tg_redis_link_replied *done,
                  void *ctx);
/* Runs the default of the call, whoever has the shard. */
void tg_post_do(struct tg_post_office *office, enum tg_method method, const json_t *args,
                tg_manager_reply *reply, void *ctx);
/* False: none that hosts ask each other for. The caller releases the arguments. */
bool tg_post_read_call(const char *call, enum tg_method *method, json_t **args);

/* ---- post_jobs.c ---- */
void tg_post_job_heard(struct tg_post_office *office, const json_t *command);
void tg_post_job_more(struct tg_post_office *office, const json_t *more);
void tg_post_jobs_look(struct tg_post_office *office, tg_ms now);
void tg_post_jobs_end(struct tg_post_office *office);
