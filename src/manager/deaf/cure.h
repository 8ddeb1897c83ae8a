#pragma once

/* What is done for a shard that does not hear, one shard at a time:
 *
 *   silent      a question that Discord has to answer; answered, it is no deaf session, and the silence is
 * taken for what it is. Not answered: resume      another connection, which resumes the session; and the
 * question again identify    a new session, if the day's session starts leave the reserve, and sisters show
 * that it is not all of Discord that is silent; and the question again given up    for a day
 *
 * One that misses a type of events goes the same way; in the place of the question it is listened whether the
 * type comes again. Pure: it decides, and others act. */

#include "base/clock.h"
#include "manager/deaf/hearing.h"

enum tg_cure_news {
  TG_CURE_ASKS,       /* the question goes out */
  TG_CURE_ALIVE,      /* it was answered at once: nothing was done */
  TG_CURE_RESUMES,    /* another connection */
  TG_CURE_IDENTIFIES, /* another session */
  TG_CURE_HEARS,      /* after that: it hears again */
  TG_CURE_WAITS,      /* for session starts: later */
  TG_CURE_ALONE,      /* no sister to compare with: no session is spent */
  TG_CURE_GIVEN_UP,   /* it does not hear after all that */
  TG_CURE_UNDECIDED,  /* the question could not be put, or the shard did not come up: later */
};

enum tg_cure_answer { TG_CURE_ANSWERED, TG_CURE_UNANSWERED, TG_CURE_NOT_ASKED };

struct tg_cure_acts {
  /* Ends in tg_cure_answered(); of what is said with another `turn` nobody waits any more. */
  void (*ask)(void *ctx, int shard, unsigned turn);
  /* End in tg_cure_done(): the old connection is no more. */
  void (*resume)(void *ctx, int shard, unsigned turn);
  void (*identify)(void *ctx, int shard, unsigned turn);
  bool (*is_up)(void *ctx, int shard);
  bool (*may_identify)(void *ctx);
  void (*tell)(void *ctx, enum tg_cure_news news, const struct tg_suspect *suspect);
};

enum tg_cure_step {
  TG_CURE_IDLE,
  TG_CURE_ASKING,
  TG_CURE_ACTING,     /* the old connection is about to end */
  TG_CURE_CONNECTING, /* the new one comes */
  TG_CURE_LISTENING,
};

struct tg_cure {
  struct tg_hearing *hearing;
  const struct tg_cure_acts *acts;
  void *ctx;
  enum tg_cure_step step;
  struct tg_suspect suspect; /* unless idle */
  int round;                 /* 0: nothing was done yet; 1: it has resumed; 2: it has a new session */
  int minutes;               /* in this step */
  unsigned turn;
  uint8_t *resumed; /* by shard: for what all but a new session was tried: 2 + the type; 0: it was not */
};

/* `cure` is zeroed, or has ended. All is borrowed. */
void tg_cure_begin(struct tg_cure *cure, struct tg_hearing *hearing, const struct tg_cure_acts *acts,
                   void *ctx);
/* Nothing is done any more; answers that still come are ignored. */
void tg_cure_end(struct tg_cure *cure);

/* A minute of the hearing is over. `patience` as there. */
void tg_cure_minute(struct tg_cure *cure, int patience);
/* In between, to go on sooner. */
void tg_cure_look(struct tg_cure *cure);

void tg_cure_answered(struct tg_cure *cure, unsigned turn, enum tg_cure_answer answer);
void tg_cure_done(struct tg_cure *cure, unsigned turn, bool done);
