#include "manager/deaf/hearing.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  WINDOW = 10, /* minutes that tell how a shard fares now */
  RATIOS = 20, /* steps of what comes, from nothing to the usual */
  TIMES_LONGEST = 4,
  TIMES_LONGEST_ALONE = 8, /* without sisters to compare with */
  TYPE_PATIENCE = 3,
  TYPE_TIMES_LONGEST = 6,
  LEARN_MINUTES = 45, /* of an hour, to learn from it */
  LEARN_OF_TYPES = 30,
};

/* -ln of the chance of a silence that does not happen. */
static const double impossible = 20.7;
/* Of the minutes: less is no traffic of its own. */
static const double traffic = 0.5, traffic_of_type = 0.75;
/* Of the usual: with less of it nobody is judged. */
static const double outage_below = 0.25, outage_over = 0.5, type_flows = 0.5;
/* No silence is less likely than that for a minute, however often something came: hours are few. */
static const double least_silence = 1.0 / 128;

/* What is followed: all events of a shard, or one type of them. */
struct tg_strand {
  uint64_t minutes; /* bits, the newest is the first: something came */
  struct tg_usual usual;
  int silent;         /* minutes */
  int counts;         /* of these: those in which its sisters heard */
  double unlikely;    /* -ln of the chance of these */
  int heard, longest; /* in this hour, so far */
  bool accepted;
};

struct ear {
  uint64_t counts[TG_TRAFFIC_COUNT];
  bool listens, counted;
  int listened; /* minutes on end */
  int minutes;  /* of this hour */
  int put_off;
  bool spoilt; /* this hour is not to be learned */
  struct tg_strand all, types[TG_BASELINE_TYPES];
  struct tg_baseline baseline;
};

/* How all shards with traffic fare. */
struct crowd {
  int known;   /* shards that usually have some; of these: */
  int count;   /* that have listened for a while */
  int blank;   /* and have got nothing in that time */
  int silent;  /* and are halfway to a verdict */
  double flow; /* of the usual, the median of all but the one that fares worst; 0 also: that cannot be said */
  int ratios[RATIOS + 1];
};

struct tg_hearing {
  int count;
  struct ear *ears; /* and one for all together */
  int hour;         /* of the week; -1: none yet */
  int patience;
  struct crowd all, types[TG_BASELINE_TYPES];
  bool outage;
};

static struct ear *ear_of(const struct tg_hearing *hearing, int shard)
{
  return &hearing->ears[shard];
}

static struct ear *together(const struct tg_hearing *hearing)
{
  return &hearing->ears[hearing->count];
}

static struct tg_strand *strand_of(struct ear *ear, int type)
{
  return type == TG_HEARING_ALL ? &ear->all : &ear->types[type];
}

static int last_minutes(const struct tg_strand *strand)
{
  return __builtin_popcountll(strand->minutes & ((UINT64_C(1) << WINDOW) - 1));
}

/* ---- life ---- */

struct tg_hearing *tg_hearing_new(int shards)
{
  struct tg_hearing *hearing = tg_calloc(1, sizeof *hearing);
  hearing->count = shards;
  hearing->ears = tg_calloc((size_t)shards + 1, sizeof *hearing->ears);
  hearing->hour = -1;
  return hearing;
}

void tg_hearing_free(struct tg_hearing *hearing)
{
  if (hearing)
    free(hearing->ears);
  free(hearing);
}

struct tg_baseline *tg_hearing_baseline(struct tg_hearing *hearing, int shard)
{
  return &ear_of(hearing, shard)->baseline;
}

int tg_hearing_shards(const struct tg_hearing *hearing)
{
  return hearing->count;
}

/* ---- what comes ---- */

static void restart_strand(struct tg_strand *strand)
{
  strand->minutes = 0;
  strand->silent = strand->counts = 0;
  strand->unlikely = 0;
}

static void restart(struct ear *ear)
{
  ear->listened = 0;
  restart_strand(&ear->all);
  for (int type = 0; type < TG_BASELINE_TYPES; type++)
    restart_strand(&ear->types[type]);
}

/* `passes`: that a minute of this strand has gone by. */
static void hear(struct tg_strand *strand, bool came, bool passes)
{
  strand->minutes = strand->minutes << 1 | came;
  strand->silent += passes;
  strand->counts += passes;
  if (came) {
    strand->silent = strand->counts = 0;
    strand->unlikely = 0;
    strand->accepted = false;
  }
  strand->heard += came;
  if (strand->silent > strand->longest)
    strand->longest = strand->silent;
}

/* Types are compared with what else comes: a minute without anything says nothing of them. */
static void hear_minute(struct ear *ear, const bool came[TG_TRAFFIC_COUNT])
{
  bool any = false;
  for (int place = 0; place < TG_TRAFFIC_COUNT; place++)
    any = any || (came[place] && place != TG_TRAFFIC_ANSWERS);
  hear(&ear->all, any, true);
  for (int type = 0; type < TG_BASELINE_TYPES; type++)
    hear(&ear->types[type], came[TG_TRAFFIC_FIRST_TYPE + type], any);
  ear->listened++;
  ear->minutes++;
}

void tg_hearing_take(struct tg_hearing *hearing, int shard, bool listens,
                     const uint64_t counts[TG_TRAFFIC_COUNT])
{
  struct ear *ear = ear_of(hearing, shard);
  bool came[TG_TRAFFIC_COUNT], counted = ear->counted;
  ear->counted = ear->listens = listens;
  if (!listens) {
    restart(ear);
    return;
  }
  for (int place = 0; place < TG_TRAFFIC_COUNT; place++)
    came[place] = counts[place] != ear->counts[place];
  memcpy(ear->counts, counts, sizeof ear->counts);
  ear->listens = counted; /* since the minute began */
  if (counted)
    hear_minute(ear, came);
}

void tg_hearing_ignore_types(struct tg_hearing *hearing, int shard)
{
  struct ear *ear = ear_of(hearing, shard);
  for (int type = 0; type < TG_BASELINE_TYPES; type++)
    restart_strand(&ear->types[type]);
}

/* All shards as if they were one. */
static void hear_together(struct tg_hearing *hearing)
{
  struct ear *all = together(hearing);
  bool came[TG_TRAFFIC_COUNT] = {false};
  int listening = 0;
  for (int shard = 0; shard < hearing->count; shard++) {
    const struct ear *ear = ear_of(hearing, shard);
    if (!ear->listens)
      continue;
    listening++;
    came[TG_TRAFFIC_OTHERS] = came[TG_TRAFFIC_OTHERS] || (ear->all.minutes & 1);
    for (int type = 0; type < TG_BASELINE_TYPES; type++)
      came[TG_TRAFFIC_FIRST_TYPE + type] =
          came[TG_TRAFFIC_FIRST_TYPE + type] || (ear->types[type].minutes & 1);
  }
  all->listens = listening > 0 && 2 * listening >= hearing->count;
  if (all->listens)
    hear_minute(all, came);
  else
    restart(all);
}

/* ---- how all fare ---- */

/* Halfway to a verdict. */
static bool seems_silent(const struct tg_hearing *hearing, const struct tg_strand *strand)
{
  return 2 * strand->counts >= hearing->patience && 2 * strand->unlikely >= impossible &&
         2 * strand->counts > TIMES_LONGEST * strand->usual.longest;
}

static void join_crowd(const struct tg_hearing *hearing, struct crowd *crowd, const struct ear *ear,
                       const struct tg_strand *strand, double least)
{
  double busy = tg_usual_busy(strand->usual);
  if (busy < least)
    return;
  crowd->known++;
  if (!ear->listens || ear->listened < WINDOW)
    return;
  double ratio = last_minutes(strand) / (WINDOW * busy);
  crowd->count++;
  crowd->blank += last_minutes(strand) == 0;
  crowd->silent += seems_silent(hearing, strand);
  crowd->ratios[(int)lround(fmin(ratio, 1) * RATIOS)]++;
}

/* Who fares worst is the one that is asked about. Alone it has nobody to be compared with. */
static void end_crowd(struct crowd *crowd)
{
  int at = 0, before = (crowd->count - 2) / 2; /* of the others, in front of the middle */
  crowd->flow = crowd->known < 2;
  if (crowd->known < 2 || crowd->count == 0)
    return;
  while (crowd->ratios[at] == 0)
    at++;
  if (crowd->count > 1)
    crowd->ratios[at]--;
  for (at = 0; before >= crowd->ratios[at]; at++)
    before -= crowd->ratios[at];
  crowd->flow = at / (double)RATIOS;
}

static bool too_many(int shards, const struct crowd *crowd)
{
  return shards > 1 && shards > crowd->count / 4;
}

static void look_around(struct tg_hearing *hearing)
{
  hearing->all = (struct crowd){0};
  memset(hearing->types, 0, sizeof hearing->types);
  for (int shard = 0; shard < hearing->count; shard++) {
    const struct ear *ear = ear_of(hearing, shard);
    join_crowd(hearing, &hearing->all, ear, &ear->all, traffic);
    for (int type = 0; type < TG_BASELINE_TYPES; type++)
      join_crowd(hearing, &hearing->types[type], ear, &ear->types[type], traffic_of_type);
  }
  end_crowd(&hearing->all);
  for (int type = 0; type < TG_BASELINE_TYPES; type++)
    end_crowd(&hearing->types[type]);
  /* Once it is one it lasts: while nothing comes to anybody no silence is counted. */
  hearing->outage =
      too_many(hearing->all.silent, &hearing->all) || (hearing->outage && hearing->all.flow < outage_over);
}

/* ---- how unlikely a silence is ---- */

/* A silence that begins in an outage, or goes on behind one, is counted from its end. */
static void weigh(struct tg_strand *strand, const struct crowd *crowd, double least, double enough)
{
  double busy = tg_usual_busy(strand->usual);
  if (crowd->flow < enough) {
    strand->unlikely = 0;
    strand->counts = 0;
  } else if (strand->counts > 0 && busy >= least) {
    strand->unlikely -= log(fmax(1 - busy, least_silence)) * crowd->flow;
  }
}

static void weigh_all(struct tg_hearing *hearing)
{
  static const struct crowd nobody = {.flow = 1};
  for (int shard = 0; shard <= hearing->count; shard++) {
    struct ear *ear = ear_of(hearing, shard);
    bool whole = shard == hearing->count;
    if (!ear->listens)
      continue;
    weigh(&ear->all, whole ? &nobody : &hearing->all, traffic, outage_below);
    for (int type = 0; type < TG_BASELINE_TYPES; type++)
      if (last_minutes(&ear->all) > 0)
        weigh(&ear->types[type], whole ? &nobody : &hearing->types[type], traffic_of_type, type_flows);
    ear->put_off -= ear->put_off > 0;
  }
}

/* ---- the verdict ---- */

static bool sisters_hear(const struct tg_hearing *hearing)
{
  return !hearing->outage && hearing->all.flow >= outage_below &&
         !too_many(hearing->all.blank, &hearing->all);
}

static bool is_silent(const struct tg_hearing *hearing, const struct ear *ear)
{
  const struct tg_strand *strand = &ear->all;
  int times = hearing->all.known < 2 ? TIMES_LONGEST_ALONE : TIMES_LONGEST;
  return ear->listens && !strand->accepted && sisters_hear(hearing) && strand->counts >= hearing->patience &&
         strand->counts > times * strand->usual.longest && strand->unlikely >= impossible;
}

static bool misses(const struct tg_hearing *hearing, const struct ear *ear, int type)
{
  const struct tg_strand *strand = &ear->types[type];
  return ear->listens && !strand->accepted && sisters_hear(hearing) &&
         strand->counts >= TYPE_PATIENCE * hearing->patience &&
         strand->counts > TYPE_TIMES_LONGEST * strand->usual.longest && strand->unlikely >= impossible &&
         2 * last_minutes(&ear->all) >= WINDOW && tg_baseline_known(&ear->baseline) >= TG_HEARING_LEARN_TYPES;
}

static bool sisters_get(const struct tg_hearing *hearing, int type)
{
  const struct crowd *crowd = &hearing->types[type];
  return crowd->count > 1 && !too_many(crowd->blank, crowd);
}

bool tg_hearing_is_suspect(const struct tg_hearing *hearing, int shard, int type)
{
  const struct ear *ear = ear_of(hearing, shard);
  if (ear->put_off > 0)
    return false;
  return type == TG_HEARING_ALL ? is_silent(hearing, ear)
                                : sisters_get(hearing, type) && misses(hearing, ear, type);
}

bool tg_hearing_suspect(const struct tg_hearing *hearing, struct tg_suspect *suspect)
{
  *suspect = (struct tg_suspect){.silent = 0};
  for (int type = TG_HEARING_ALL; type < TG_BASELINE_TYPES; type++) {
    for (int shard = 0; shard < hearing->count; shard++) {
      int silent = tg_hearing_silent(hearing, shard, type);
      if (silent > suspect->silent && tg_hearing_is_suspect(hearing, shard, type))
        *suspect = (struct tg_suspect){.shard = shard, .type = type, .silent = silent};
    }
    const struct crowd *crowd = type == TG_HEARING_ALL ? &hearing->all : &hearing->types[type];
    suspect->sisters = crowd->count > 0 ? crowd->count - 1 : 0;
    if (suspect->silent > 0)
      return true;
  }
  return false;
}

bool tg_hearing_vanished(const struct tg_hearing *hearing, int *type)
{
  for (*type = 0; *type < TG_BASELINE_TYPES; ++*type)
    if (misses(hearing, together(hearing), *type))
      return true;
  return false;
}

bool tg_hearing_outage(const struct tg_hearing *hearing)
{
  return hearing->outage;
}

bool tg_hearing_can_judge(const struct tg_hearing *hearing)
{
  return sisters_hear(hearing);
}

/* ---- learning ---- */

/* The hour ends in a silence that may be a deaf session's. */
static bool ends_doubtful(const struct tg_strand *strand)
{
  return !strand->accepted && 2 * strand->unlikely >= impossible && strand->silent > strand->usual.longest;
}

static void learn(struct ear *ear, int hour)
{
  if (ear->minutes < LEARN_MINUTES || ear->spoilt)
    return;
  int any = ear->all.heard;
  if (!ends_doubtful(&ear->all))
    tg_baseline_learn(&ear->baseline, hour, any / (double)ear->minutes, ear->all.longest);
  for (int type = 0; type < TG_BASELINE_TYPES && any >= LEARN_OF_TYPES; type++) {
    const struct tg_strand *strand = &ear->types[type];
    if (!ends_doubtful(strand))
      tg_baseline_learn_type(&ear->baseline, type, hour % TG_DAY_HOURS, strand->heard / (double)any,
                             strand->longest);
  }
}

static void begin_hour(struct ear *ear, int hour)
{
  ear->minutes = 0;
  ear->spoilt = false;
  ear->all.heard = ear->all.longest = 0;
  ear->all.usual = tg_baseline_expect(&ear->baseline, hour);
  for (int type = 0; type < TG_BASELINE_TYPES; type++) {
    struct tg_strand *strand = &ear->types[type];
    strand->heard = strand->longest = 0;
    strand->usual = tg_baseline_expect_type(&ear->baseline, type, hour % TG_DAY_HOURS);
  }
}

void tg_hearing_refresh(struct tg_hearing *hearing)
{
  hearing->hour = -1;
}

static void turn_hour(struct tg_hearing *hearing, int hour)
{
  for (int shard = 0; shard <= hearing->count; shard++) {
    struct ear *ear = ear_of(hearing, shard);
    if (hearing->hour >= 0)
      learn(ear, hearing->hour);
    begin_hour(ear, hour);
  }
  hearing->hour = hour;
}

void tg_hearing_turn(struct tg_hearing *hearing, int week_hour, int patience)
{
  hearing->patience = patience;
  hear_together(hearing);
  look_around(hearing);
  weigh_all(hearing);
  for (int shard = 0; shard <= hearing->count; shard++) {
    struct ear *ear = ear_of(hearing, shard);
    ear->spoilt = ear->spoilt || hearing->outage || is_silent(hearing, ear);
  }
  if (week_hour != hearing->hour)
    turn_hour(hearing, week_hour);
}

/* ---- of one shard ---- */

bool tg_hearing_hears(const struct tg_hearing *hearing, int shard, int type)
{
  struct ear *ear = ear_of(hearing, shard);
  return ear->listens && (strand_of(ear, type)->minutes & 1);
}

int tg_hearing_silent(const struct tg_hearing *hearing, int shard, int type)
{
  return strand_of(ear_of(hearing, shard), type)->silent;
}

int tg_hearing_known(const struct tg_hearing *hearing, int shard)
{
  return tg_baseline_known(&ear_of(hearing, shard)->baseline);
}

void tg_hearing_accept(struct tg_hearing *hearing, int shard, int type)
{
  strand_of(ear_of(hearing, shard), type)->accepted = true;
}

void tg_hearing_restart(struct tg_hearing *hearing, int shard)
{
  restart(ear_of(hearing, shard));
}

void tg_hearing_put_off(struct tg_hearing *hearing, int shard, int minutes)
{
  ear_of(hearing, shard)->put_off = minutes;
}

void tg_hearing_forget(struct tg_hearing *hearing, int shard, int type)
{
  struct ear *ear = ear_of(hearing, shard);
  ear->spoilt = true;
  if (type == TG_HEARING_ALL)
    ear->baseline = (struct tg_baseline){0};
  else
    memset(ear->baseline.types[type], 0, sizeof ear->baseline.types[type]);
  strand_of(ear, type)->usual = (struct tg_usual){0};
}
