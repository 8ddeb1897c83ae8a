#pragma once

/* For the files of this folder: the state of one host's part in the cluster. */

#include "manager/cluster/cluster.h"

#include <jansson.h>

enum tg_lease_hold {
  TG_HOLD_NONE,
  TG_HOLD_EXPECTED, /* offered by another host, which has it until it releases it */
  TG_HOLD_MINE,
  TG_HOLD_LET_GO,  /* the owner stops it */
  TG_HOLD_STOPPED, /* it has; to be released, or being so */
};

enum tg_turn { TG_TURN_NONE, TG_TURN_ASKING, TG_TURN_GRANTED, TG_TURN_SENT };

struct tg_cluster_shard {
  enum tg_lease_hold hold;
  uint64_t fence;
  tg_ms until;   /* of the lease, by our clock */
  bool running;  /* RUN was said */
  bool open;     /* ran when Redis went away: goes on */
  uint64_t beat; /* call that last named it, to tell which shards an answer is about; 0: none */

  /* As Redis had it last, or is about to. */
  uint64_t epoch;
  char *id, *resume_url, *digest;
  bool has_run; /* the session, here, so that nobody else need be asked for its events */
  bool put_due;
  uint64_t put_call;

  /* A move: to whom, or from whom. */
  char *peer; /* NULL: none */
  tg_ms moving_since;
  uint64_t move_call; /* offer or release under way */
  bool is_offered;    /* and taken up: waits for the receiver */

  uint64_t left_fence; /* under which it was left and is not void; 0: nothing is left */
  uint64_t left_beat;  /* as `beat` */
  struct tg_cluster_progress left;

  enum tg_turn turn;
  enum tg_identify_priority priority;
  uint64_t slot_call, granted;
  tg_ms slot_at, asked_at;

  tg_ms cut_at; /* while the lease was not sure; 0: was not */
  bool is_cut_again;

  bool was_here; /* a new shard: when this process began */

  /* Of the class of an old shard while the number of shards is being changed. */
  bool without_old;              /* it had switched when it came: only its new shards run here */
  enum tg_class_step step;       /* as Redis has it */
  enum tg_class_step step_wants; /* to be told; NONE: nothing */
  char *file;                    /* with it */
  uint64_t class_call;
  tg_ms class_at; /* not before */
};

enum tg_call_kind {
  TG_CALL_BEAT,
  TG_CALL_CLAIM,
  TG_CALL_PUT,
  TG_CALL_OFFER,
  TG_CALL_READY,
  TG_CALL_RELEASE,
  TG_CALL_SLOT,
  TG_CALL_SENT,
  TG_CALL_DONE,
  TG_CALL_UNUSED,
  TG_CALL_BUDGET,
  TG_CALL_FILLED,
  TG_CALL_CLASS,
};

struct tg_call_under_way {
  uint64_t id;
  enum tg_call_kind kind;
  int shard; /* -1: of none; -2: of one that is no more */
  tg_ms at;  /* when it was made */
};

struct tg_said_word {
  struct tg_cluster_word word;
  char *texts[3]; /* what it points to */
};

struct tg_told_hole {
  char *key;
  bool filled, said_so; /* by the owner; to Redis, and not answered yet */
};

struct tg_cluster {
  char *host, *home, *bot, *digest, *run_id;
  int total_wanted, reserve;
  void (*progress)(void *ctx, int shard, struct tg_cluster_progress *progress);
  void *ctx;

  uint64_t life, links, mark, ids;
  bool ended; /* a mismatch was said */
  bool link_up, draining, drains_anyway;

  tg_ms now; /* of the last tick, or of what came since */
  tg_ms ticked_at, woke_at, answered_at;
  bool away;

  struct tg_call_under_way *under_way;
  int under_way_count;
  struct tg_cluster_call *out; /* not yet fetched by the owner */
  int out_count;
  struct tg_said_word *words; /* not yet fetched, but the first, which was if `word_is_out` */
  int word_count;
  bool word_is_out;

  struct tg_cluster_shard *shards; /* at least `total` */
  int shard_count, total;
  int was; /* of how many the host has told that it had them */

  /* The number of shards is being changed: the new ones. They have no leases of their own. */
  struct tg_cluster_shard *next; /* `to` of them; NULL: it is not being changed */
  int to;
  uint64_t change;
  int classes[4];
  /* Changes that are over; and of the shards that were, what is left here. */
  uint64_t ended_change, done;
  struct tg_cluster_shard *before; /* `before_count` of `before_total` */
  int before_count, before_total;
  int before_told; /* how many there were before the last change, as Redis says */

  bool resting;
  tg_ms rests_since;

  bool joined;  /* once */
  bool greeted; /* over this connection: nothing but a beat is heard before it was */
  int beats_under_way;
  tg_ms beat_at, beat_took;
  /* Another has our name until then, by the time of Redis, and has put that off so often: it lives. */
  int64_t taken_till;
  int taken_longer;
  bool claim_under_way;

  /* What the last beat was told. */
  tg_ms quiet, told_at;
  char *leader;
  bool budget_unknown;
  int free;
  struct tg_cluster_budget_view budget;
  struct tg_cluster_host *hosts;
  int host_count;
  tg_ms hosts_since, joined_at;
  bool settled; /* the first claim may be made, or was */
  tg_ms discord_asked_at;

  tg_ms give_at;
  struct tg_told_hole *holes;
  int hole_count;
  uint64_t moves, lost_leases;
  tg_ms held_back_until;
};

/* ---- cluster.c ---- */

/* Makes a call; takes `body`, and adds what each call has. Returns its id. The link is up. */
uint64_t tg_cluster_call(struct tg_cluster *cluster, enum tg_call_kind kind, int shard, json_t *body);
/* Says a word; copies its texts. */
void tg_cluster_say(struct tg_cluster *cluster, const struct tg_cluster_word *word);
void tg_cluster_say_shard(struct tg_cluster *cluster, enum tg_cluster_word_kind kind, int shard);
struct tg_cluster_shard *tg_cluster_shard_at(struct tg_cluster *cluster, int shard); /* makes room */
/* NULL: there is none of that number. */
struct tg_cluster_shard *tg_cluster_find(const struct tg_cluster *cluster, int shard);
/* Behind that one, from -1 on, the new ones of a change included; -1: there is none. */
int tg_cluster_next_of(const struct tg_cluster *cluster, int shard);
void tg_cluster_free_shard(struct tg_cluster_shard *shard);
void tg_cluster_note_mark(struct tg_cluster *cluster, uint64_t mark);
/* Of JSON that the script has made; 0 if it is not there. */
int64_t tg_answer_number(const json_t *answer, const char *key);
const char *tg_answer_text(const json_t *answer, const char *key); /* NULL: not there */

/* ---- beat.c ---- */
void tg_beat_tick(struct tg_cluster *cluster);
void tg_beat_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer);

/* ---- change.c ---- */
/* Numbers of the new shards of a class, from -1 on; -1: there is no further one. */
int tg_change_next_of(const struct tg_cluster *cluster, int class, int shard);
static inline int tg_class_count_of(const struct tg_cluster *cluster)
{
  return cluster->total ? cluster->total : cluster->was;
}
/* What an answer says of changes: of one that has come to its end, before all else of the answer; of one that
 * goes on, when the total is known. */
void tg_change_learn_end(struct tg_cluster *cluster, const json_t *answer);
void tg_change_learn(struct tg_cluster *cluster, const json_t *answer);
/* The class is run here, from now on: its new shards. `given`: what is known of it; NULL: the host's own. */
void tg_change_run(struct tg_cluster *cluster, int class, const json_t *given);
void tg_change_tick(struct tg_cluster *cluster);
void tg_class_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call,
                       const json_t *answer);
void tg_change_tell(const struct tg_cluster *cluster, json_t *beat);

/* ---- leases.c ---- */
/* The shard whose lease it is: an old one. */
struct tg_cluster_shard *tg_lease_of(const struct tg_cluster *cluster, int shard);
static inline bool tg_hold_has_lease(const struct tg_cluster_shard *shard)
{
  return shard->hold >= TG_HOLD_MINE;
}
/* Of a shard with a lease. */
static inline bool tg_lease_is_sure(const struct tg_cluster_shard *shard, tg_ms now)
{
  return tg_hold_has_lease(shard) && now < shard->until;
}
void tg_lease_take(struct tg_cluster *cluster, const json_t *given, tg_ms at);
void tg_lease_say_run(struct tg_cluster *cluster, int shard, bool own, uint64_t sequence);
void tg_lease_set_session(struct tg_cluster_shard *shard, const json_t *given); /* NULL: none */
void tg_lease_confirmed(struct tg_cluster *cluster, int shard, tg_ms at);
/* That shard alone is left: a word says so. */
void tg_lease_leave(struct tg_cluster *cluster, int shard, uint64_t fence, enum tg_cluster_word_kind kind);
void tg_lease_lost(struct tg_cluster *cluster, int shard);
bool tg_lease_any_unsure(const struct tg_cluster *cluster);
int tg_lease_count(const struct tg_cluster *cluster);
/* Whether its owner has so far run it as the script is told; else there is nothing to tell now. */
bool tg_lease_progress(const struct tg_cluster *cluster, int shard, json_t *item);
void tg_lease_tick(struct tg_cluster *cluster);
void tg_lease_put_due(struct tg_cluster *cluster);
void tg_put_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer);

/* ---- shares.c ---- */
int tg_share_of(const struct tg_cluster *cluster); /* what this host aims at; 0: not known, or it drains */
void tg_shares_tick(struct tg_cluster *cluster);
void tg_claim_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call,
                       const json_t *answer);

/* ---- moves.c ---- */
void tg_move_offer(struct tg_cluster *cluster, int shard, const char *to, int aim);
int tg_moves_under_way(const struct tg_cluster *cluster);
void tg_moves_tick(struct tg_cluster *cluster);
void tg_move_cancel(struct tg_cluster_shard *shard);
void tg_offer_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call,
                       const json_t *answer);
void tg_release_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call,
                         const json_t *answer);

/* ---- turns.c ---- */
void tg_turns_tick(struct tg_cluster *cluster);
void tg_turn_end(struct tg_cluster *cluster, int shard); /* the lease has ended */
void tg_slot_answered(struct tg_cluster *cluster, const struct tg_call_under_way *call, const json_t *answer);

/* ---- holes.c ---- */
void tg_holes_told(struct tg_cluster *cluster, const json_t *holes);
void tg_holes_tick(struct tg_cluster *cluster);
void tg_filled_answered(struct tg_cluster *cluster);
void tg_holes_link_down(struct tg_cluster *cluster);
void tg_holes_free(struct tg_cluster *cluster);
