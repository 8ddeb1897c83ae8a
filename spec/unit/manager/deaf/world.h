#pragma once

/* A bot's shards and what comes to them, minute by minute, in the place of Discord and of the shard table:
 * with the rhythm of day and week, shards that are cut off, outages, sessions that go deaf. The same each
 * time. */

#include "manager/deaf/cure.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
  MAX_WORLD_SHARDS = 40,
  DAY = 1440,
  WEEK = 7 * DAY,
  PATIENCE = 10,
  NOBODY = -1,
  EVERYTHING = TG_HEARING_ALL
};

struct world_shard {
  double rate;  /* events a minute, at the busiest time */
  double spell; /* minutes of talk, and of silence, in turn; 0: all the time */
  bool talks;
  bool deaf;   /* its session: everything ... */
  int deaf_to; /* ... or this type; NOBODY: none */
  bool heals_by_resume;
  bool left; /* nothing happens in its guilds any more */
  int away;  /* minutes until it is connected again */
  uint64_t counts[TG_TRAFFIC_COUNT];
};

struct world {
  int count;
  struct world_shard shards[MAX_WORLD_SHARDS];
  double night; /* of the busiest time, at the quietest */
  double weekend;
  double growth; /* a day */
  double scale;
  int outage_from, outage_to; /* minutes; for the first so many shards: */
  int outage_shards;
  int lost_everywhere; /* a type that Discord does not send any more; NOBODY: none */
  int minute;
  uint64_t random;
  struct tg_hearing *hearing;
  struct tg_cure cure;
  bool broke;        /* no session start may be spent */
  bool answers_slow; /* a question comes too late */
  int asks, resumes, identifies, heard, given_up, waits, alone, undecided, most_at_a_time, away_now;
  int first_act, vanished, vanished_at;
};

static inline double draw(struct world *world)
{
  world->random ^= world->random << 13;
  world->random ^= world->random >> 7;
  world->random ^= world->random << 17;
  return (double)(world->random >> 11) / 9007199254740992.0;
}

/* Whether any of so many, on average, comes. */
static inline bool any_of(struct world *world, double average)
{
  return draw(world) >= exp(-average);
}

/* ---- acts ---- */

static inline void act(struct world *world)
{
  if (world->first_act < 0)
    world->first_act = world->minute;
}

static inline void world_ask(void *ctx, int shard, unsigned turn)
{
  struct world *world = ctx;
  bool answered = !world->shards[shard].deaf && !world->answers_slow;
  world->asks++;
  tg_cure_answered(&world->cure, turn, answered ? TG_CURE_ANSWERED : TG_CURE_UNANSWERED);
}

static inline void world_resume(void *ctx, int shard, unsigned turn)
{
  struct world *world = ctx;
  act(world);
  world->resumes++;
  world->shards[shard].away = 1;
  if (world->shards[shard].heals_by_resume) {
    world->shards[shard].deaf = false;
    world->shards[shard].deaf_to = NOBODY;
  }
  tg_cure_done(&world->cure, turn, true);
}

static inline void world_identify(void *ctx, int shard, unsigned turn)
{
  struct world *world = ctx;
  act(world);
  world->identifies++;
  world->shards[shard].away = 2;
  world->shards[shard].deaf = false;
  world->shards[shard].deaf_to = NOBODY;
  tg_cure_done(&world->cure, turn, true);
}

static inline bool world_is_up(void *ctx, int shard)
{
  const struct world *world = ctx;
  return world->shards[shard].away == 0;
}

static inline bool world_may_identify(void *ctx)
{
  const struct world *world = ctx;
  return !world->broke;
}

static inline void world_tell(void *ctx, enum tg_cure_news news, const struct tg_suspect *suspect)
{
  struct world *world = ctx;
  (void)suspect;
  world->heard += news == TG_CURE_HEARS;
  world->given_up += news == TG_CURE_GIVEN_UP;
  world->waits += news == TG_CURE_WAITS;
  world->alone += news == TG_CURE_ALONE;
  world->undecided += news == TG_CURE_UNDECIDED;
}

static const struct tg_cure_acts world_acts = {.ask = world_ask,
                                               .resume = world_resume,
                                               .identify = world_identify,
                                               .is_up = world_is_up,
                                               .may_identify = world_may_identify,
                                               .tell = world_tell};

/* ---- life ---- */

static inline void world_begin(struct world *world, int count, double rate)
{
  *world = (struct world){.count = count,
                          .night = 1,
                          .weekend = 1,
                          .growth = 1,
                          .scale = 1,
                          .lost_everywhere = NOBODY,
                          .outage_shards = count,
                          .random = 88172645463325252u + (uint64_t)count,
                          .first_act = -1,
                          .vanished = NOBODY};
  for (int i = 0; i < count; i++)
    world->shards[i] = (struct world_shard){.rate = rate, .deaf_to = NOBODY, .talks = true};
  world->hearing = tg_hearing_new(count);
  tg_cure_begin(&world->cure, world->hearing, &world_acts, world);
}

static inline void world_end(struct world *world)
{
  tg_cure_end(&world->cure);
  tg_hearing_free(world->hearing);
}

/* The gateway starts again: what was learned is read from a file, all else is gone. */
static inline void world_restart(struct world *world)
{
  struct tg_hearing *next = tg_hearing_new(world->count);
  for (int i = 0; i <= world->count; i++) {
    struct tg_buf text = {0};
    tg_baseline_write(tg_hearing_baseline(world->hearing, i), &text);
    char *written = tg_buf_take(&text);
    assert_true(tg_baseline_read(tg_hearing_baseline(next, i), written));
    free(written);
  }
  world_end(world);
  world->hearing = next;
  tg_cure_begin(&world->cure, world->hearing, &world_acts, world);
  for (int i = 0; i < world->count; i++) {
    world->shards[i].away = 1 + i / 8;
    memset(world->shards[i].counts, 0, sizeof world->shards[i].counts);
  }
}

/* ---- a minute ---- */

static inline double rhythm(const struct world *world)
{
  double hour = world->minute % DAY / 60.0;
  double day = 0.5 - 0.5 * cos((hour - 4) / 24 * 2 * 3.14159265); /* quietest at four */
  bool weekend = world->minute % WEEK >= 5 * DAY;
  return world->scale * (world->night + (1 - world->night) * day) * (weekend ? world->weekend : 1);
}

static inline void move_shard(struct world *world, int i, double busy)
{
  /* Parts of all events. */
  static const double parts[TG_TRAFFIC_COUNT] = {
      [TG_TRAFFIC_OTHERS] = 0.05,
      [TG_TRAFFIC_MESSAGE_CREATE] = 0.25,
      [TG_TRAFFIC_MESSAGE_UPDATE] = 0.05,
      [TG_TRAFFIC_MESSAGE_DELETE] = 0.02,
      [TG_TRAFFIC_TYPING_START] = 0.2,
      [TG_TRAFFIC_PRESENCE_UPDATE] = 0.3,
      [TG_TRAFFIC_VOICE_STATE_UPDATE] = 0.05,
      [TG_TRAFFIC_MESSAGE_REACTION_ADD] = 0.05,
      [TG_TRAFFIC_INTERACTION_CREATE] = 0.02,
      [TG_TRAFFIC_GUILD_MEMBER_UPDATE] = 0.01,
  };
  struct world_shard *shard = &world->shards[i];
  bool out =
      world->minute >= world->outage_from && world->minute < world->outage_to && i < world->outage_shards;
  if (shard->spell > 0 && any_of(world, 1 / shard->spell))
    shard->talks = !shard->talks;
  for (int place = 0; place < TG_TRAFFIC_COUNT; place++) {
    bool came = any_of(world, shard->rate * busy * parts[place]);
    int type = place - TG_TRAFFIC_FIRST_TYPE;
    bool lost = shard->deaf || shard->left || !shard->talks || out || shard->away > 0 ||
                (type >= 0 && (type == shard->deaf_to || type == world->lost_everywhere));
    shard->counts[place] += came && !lost;
  }
}

static inline void world_minute(struct world *world)
{
  double busy = rhythm(world);
  world->away_now = 0;
  for (int i = 0; i < world->count; i++) {
    struct world_shard *shard = &world->shards[i];
    move_shard(world, i, busy);
    bool listens = shard->away == 0;
    tg_hearing_take(world->hearing, i, listens, shard->counts);
    shard->away -= shard->away > 0;
  }
  tg_hearing_turn(world->hearing, world->minute / 60 % TG_WEEK_HOURS, PATIENCE);
  tg_cure_minute(&world->cure, PATIENCE);
  int type;
  if (world->vanished == NOBODY && tg_hearing_vanished(world->hearing, &type)) {
    world->vanished = type;
    world->vanished_at = world->minute;
  }
  if (++world->minute % DAY == 0)
    world->scale *= world->growth;
}

static inline void world_run(struct world *world, int minutes)
{
  while (minutes-- > 0)
    world_minute(world);
}

/* As it goes: each shard is asked to reconnect every few hours, one day in three the gateway starts again. */
static inline void world_live(struct world *world, int days)
{
  for (int minutes = days * DAY; minutes > 0; minutes--) {
    for (int i = 0; i < world->count; i++)
      if (any_of(world, 1 / 300.0))
        world->shards[i].away = 1;
    if (world->minute % (3 * DAY) == 3 * DAY - 400)
      world_restart(world);
    world_minute(world);
  }
}
