#pragma once

/* Which shard does not hear what it should: the events of each shard, minute by minute, against what is usual
 * of it (baseline.h) and what its sisters get in the same minutes. Pure: whoever feeds it reads counters and
 * clock.
 *
 *     each minute, for each shard: tg_hearing_take(hearing, shard, listens, counters)
 *     then                         tg_hearing_turn(hearing, hour of the week, patience)
 *     and                          tg_hearing_suspect(hearing, &suspect)
 *
 * A shard is suspect when it has been silent
 *   - for `patience` minutes at least, and more than four times as long as ever at this time of the day
 * (eight times where there is no sister to compare with), and
 *   - so long that the chance of such a silence is below one in a billion: of the minutes that usually bring
 * it something, each less likely to where its sisters, too, get less than usual, while its sisters hear. In
 * an hour in which less than every other minute brings it something it has no traffic of its own, and is not
 * judged; nor is any where more than a quarter of the shards are silent, or half of them get next to nothing:
 * that is an outage. One type of event that is gone while others come is judged likewise, more carefully:
 * three times the patience, and six times the longest.
 *
 * What a shard hears is learned, hour by hour; but not of an hour of an outage, or one that ends in a silence
 * that is halfway to a verdict. */

#include "manager/deaf/baseline.h"

struct tg_hearing;

enum {
  TG_HEARING_ALL = -1,         /* in the place of a type: all events */
  TG_HEARING_HOUR = 60,        /* minutes */
  TG_HEARING_LEARN_TYPES = 72, /* hours of the week that are known, before types are judged */
};

struct tg_suspect {
  int shard;
  int type;    /* of the baseline's types, or TG_HEARING_ALL */
  int silent;  /* minutes */
  int sisters; /* other shards with such traffic; 0: nobody can say whether it is Discord's outage */
};

struct tg_hearing *tg_hearing_new(int shards);
void tg_hearing_free(struct tg_hearing *hearing);

/* Of a shard, from 0; of all together: tg_hearing_shards(). */
struct tg_baseline *tg_hearing_baseline(struct tg_hearing *hearing, int shard);
int tg_hearing_shards(const struct tg_hearing *hearing);
/* Baselines were written from outside. */
void tg_hearing_refresh(struct tg_hearing *hearing);

/* The minute of that shard is over. `counts` only grow, as in the shard table. False: it was not connected,
 * or has no guilds; then `counts` may be NULL. */
void tg_hearing_take(struct tg_hearing *hearing, int shard, bool listens,
                     const uint64_t counts[TG_TRAFFIC_COUNT]);
/* Its session does without some events: those that do not come say nothing. */
void tg_hearing_ignore_types(struct tg_hearing *hearing, int shard);
/* All have been taken. `patience`: minutes. */
void tg_hearing_turn(struct tg_hearing *hearing, int week_hour, int patience);

/* The one of those that are silent that was so for longest; a type that is gone only if there is none. */
bool tg_hearing_suspect(const struct tg_hearing *hearing, struct tg_suspect *suspect);
/* A type that no shard gets any more, while others come: nothing that could be done to a shard helps. */
bool tg_hearing_vanished(const struct tg_hearing *hearing, int *type);
/* Many are silent at a time: Discord's doing. */
bool tg_hearing_outage(const struct tg_hearing *hearing);
/* There is no outage, and what is seen of the sisters is enough to say so. */
bool tg_hearing_can_judge(const struct tg_hearing *hearing);

/* ---- of one shard ---- */

bool tg_hearing_is_suspect(const struct tg_hearing *hearing, int shard, int type);
/* It came in the last minute. */
bool tg_hearing_hears(const struct tg_hearing *hearing, int shard, int type);
/* Minutes since it came last, as far as was listened. */
int tg_hearing_silent(const struct tg_hearing *hearing, int shard, int type);
/* Hours of the week that are known of it. */
int tg_hearing_known(const struct tg_hearing *hearing, int shard);

/* Its silence is as it should be, and is learned; it is not suspect until it hears again. */
void tg_hearing_accept(struct tg_hearing *hearing, int shard, int type);
/* Another connection: what it has not heard before says nothing. */
void tg_hearing_restart(struct tg_hearing *hearing, int shard);
/* It is not suspect for so many minutes. */
void tg_hearing_put_off(struct tg_hearing *hearing, int shard, int minutes);
/* What was usual is so no more: it is learned anew. */
void tg_hearing_forget(struct tg_hearing *hearing, int shard, int type);
