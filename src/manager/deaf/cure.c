#include "manager/deaf/cure.h"

#include "base/buf.h"

#include <stdlib.h>

enum {
  CONNECTS_WITHIN = 30, /* minutes; an identify may have to wait for its turn */
  LISTENS_FOR = 360,
  AGAIN_WHEN_ALONE = 360,
  AGAIN_WHEN_GIVEN_UP = 1440,
  AGAIN_WHEN_UNDECIDED = 10,
};

void tg_cure_begin(struct tg_cure *cure, struct tg_hearing *hearing, const struct tg_cure_acts *acts,
                   void *ctx)
{
  *cure = (struct tg_cure){.hearing = hearing, .acts = acts, .ctx = ctx, .turn = cure->turn};
  cure->resumed = tg_calloc((size_t)tg_hearing_shards(hearing) + 1, sizeof *cure->resumed);
}

void tg_cure_end(struct tg_cure *cure)
{
  free(cure->resumed);
  *cure = (struct tg_cure){.turn = cure->turn + 1};
}

static void go_to(struct tg_cure *cure, enum tg_cure_step step)
{
  cure->step = step;
  cure->minutes = 0;
}

static void tell(struct tg_cure *cure, enum tg_cure_news news)
{
  cure->acts->tell(cure->ctx, news, &cure->suspect);
}

static void close_case(struct tg_cure *cure, enum tg_cure_news news, int again_in)
{
  struct tg_suspect suspect = cure->suspect;
  if (again_in > 0)
    tg_hearing_put_off(cure->hearing, suspect.shard, again_in);
  go_to(cure, TG_CURE_IDLE);
  cure->acts->tell(cure->ctx, news, &suspect);
}

/* ---- the steps ---- */

static void ask(struct tg_cure *cure)
{
  go_to(cure, TG_CURE_ASKING);
  if (cure->round == 0)
    tell(cure, TG_CURE_ASKS);
  cure->acts->ask(cure->ctx, cure->suspect.shard, ++cure->turn);
}

static void resume(struct tg_cure *cure)
{
  cure->round = 1;
  cure->resumed[cure->suspect.shard] = (uint8_t)(2 + cure->suspect.type);
  go_to(cure, TG_CURE_ACTING);
  tell(cure, TG_CURE_RESUMES);
  cure->acts->resume(cure->ctx, cure->suspect.shard, ++cure->turn);
}

static void identify(struct tg_cure *cure)
{
  cure->round = 2;
  go_to(cure, TG_CURE_ACTING);
  tell(cure, TG_CURE_IDENTIFIES);
  cure->acts->identify(cure->ctx, cure->suspect.shard, ++cure->turn);
}

static void give_up(struct tg_cure *cure)
{
  if (cure->suspect.type != TG_HEARING_ALL) /* no question can tell whether it is to come at all */
    tg_hearing_forget(cure->hearing, cure->suspect.shard, cure->suspect.type);
  cure->resumed[cure->suspect.shard] = 0;
  close_case(cure, TG_CURE_GIVEN_UP, AGAIN_WHEN_GIVEN_UP);
}

/* It does not hear, as things are now. */
static void judge_deaf(struct tg_cure *cure)
{
  if (!tg_hearing_can_judge(cure->hearing))
    close_case(cure, TG_CURE_UNDECIDED, AGAIN_WHEN_UNDECIDED);
  else if (cure->round == 0)
    resume(cure);
  else if (cure->round == 2)
    give_up(cure);
  else if (cure->suspect.sisters == 0)
    close_case(cure, TG_CURE_ALONE, AGAIN_WHEN_ALONE);
  else if (!cure->acts->may_identify(cure->ctx))
    close_case(cure, TG_CURE_WAITS, AGAIN_WHEN_UNDECIDED);
  else
    identify(cure);
}

static void judge_alive(struct tg_cure *cure)
{
  cure->resumed[cure->suspect.shard] = 0;
  if (cure->round > 0) {
    close_case(cure, TG_CURE_HEARS, 0);
    return;
  }
  tg_hearing_accept(cure->hearing, cure->suspect.shard, cure->suspect.type);
  close_case(cure, TG_CURE_ALIVE, 0);
}

static void open_case(struct tg_cure *cure)
{
  if (!tg_hearing_suspect(cure->hearing, &cure->suspect))
    return;
  cure->round = cure->resumed[cure->suspect.shard] == 2 + cure->suspect.type;
  if (cure->suspect.type == TG_HEARING_ALL)
    ask(cure);
  else
    judge_deaf(cure);
}

static void connected(struct tg_cure *cure)
{
  tg_hearing_restart(cure->hearing, cure->suspect.shard);
  if (cure->suspect.type == TG_HEARING_ALL)
    ask(cure);
  else
    go_to(cure, TG_CURE_LISTENING);
}

static void listen(struct tg_cure *cure)
{
  if (tg_hearing_hears(cure->hearing, cure->suspect.shard, cure->suspect.type))
    judge_alive(cure);
  else if (tg_hearing_is_suspect(cure->hearing, cure->suspect.shard, cure->suspect.type))
    judge_deaf(cure);
  else if (cure->minutes >= LISTENS_FOR)
    close_case(cure, TG_CURE_UNDECIDED, AGAIN_WHEN_UNDECIDED);
}

void tg_cure_look(struct tg_cure *cure)
{
  if (cure->step == TG_CURE_CONNECTING && cure->acts->is_up(cure->ctx, cure->suspect.shard))
    connected(cure);
  else if (cure->step == TG_CURE_CONNECTING && cure->minutes >= CONNECTS_WITHIN)
    close_case(cure, TG_CURE_UNDECIDED, AGAIN_WHEN_UNDECIDED);
}

static void forget_those_that_hear(struct tg_cure *cure)
{
  for (int shard = 0; shard < tg_hearing_shards(cure->hearing); shard++)
    if (cure->resumed[shard] && tg_hearing_hears(cure->hearing, shard, cure->resumed[shard] - 2))
      cure->resumed[shard] = 0;
}

void tg_cure_minute(struct tg_cure *cure, int patience)
{
  cure->minutes++;
  tg_cure_look(cure);
  if (cure->step == TG_CURE_LISTENING)
    listen(cure);
  if (cure->step != TG_CURE_IDLE)
    return;
  forget_those_that_hear(cure);
  if (patience > 0)
    open_case(cure);
}

/* ---- what comes of it ---- */

void tg_cure_answered(struct tg_cure *cure, unsigned turn, enum tg_cure_answer answer)
{
  if (cure->step != TG_CURE_ASKING || turn != cure->turn)
    return;
  int shard = cure->suspect.shard;
  if (answer == TG_CURE_UNANSWERED && !cure->acts->is_up(cure->ctx, shard))
    answer = TG_CURE_NOT_ASKED;
  if (tg_hearing_hears(cure->hearing, shard, TG_HEARING_ALL) || answer == TG_CURE_ANSWERED)
    judge_alive(cure);
  else if (answer == TG_CURE_UNANSWERED)
    judge_deaf(cure);
  else
    close_case(cure, TG_CURE_UNDECIDED, AGAIN_WHEN_UNDECIDED);
}

void tg_cure_done(struct tg_cure *cure, unsigned turn, bool done)
{
  if (cure->step != TG_CURE_ACTING || turn != cure->turn)
    return;
  if (done)
    go_to(cure, TG_CURE_CONNECTING);
  else
    close_case(cure, TG_CURE_UNDECIDED, AGAIN_WHEN_UNDECIDED);
}
