#pragma once

/* What surrounds the hosts of a cluster, played: true time, the clocks of all, Discord, the bot, and what the
 * judge remembers. */

#include "sim_redis.h"

#include <stdarg.h>

enum {
  HOSTS = 3,
  SHARDS = 24,
  NEW_SHARDS = 48,              /* that there are after a change */
  PLACES = SHARDS + NEW_SHARDS, /* the new ones stand behind the old ones */
  BUCKETS = 8,
  STEP = 10, /* ms */
  RULE = 5000,
  BUFFER = 300, /* events of a session that Discord keeps: 4 guilds */
  GUILDS = 4,
  RESERVE = 20,
  SESSIONS_MAX = 400, /* of a shard */
};

/* An event, as the judge sees it; bits 0 to 2: host has it in its lane; 3 to 5: as what was left. */
enum {
  EVENT_DELIVERED = 64,
  EVENT_RECEIVED = 128,
  EVENT_EXCUSED = 256, /* it was on a disk that is gone */
  EVENT_COPIED = 512,  /* its copy, to a new shard, was delivered */
};

/* Which event of which session of the old shard a new one's event is a copy of: they rise; 0: of none. */
typedef uint32_t sim_twin;
enum { TWIN_SESSION = 20 };

struct sim_session {
  uint64_t epoch;
  int count, room;  /* events so far */
  uint16_t *events; /* by sequence - 1 */
  sim_twin *twins;  /* likewise */
};

/* A shard, at Discord. */
struct sim_place {
  struct sim_session sessions[SESSIONS_MAX]; /* the last one may live */
  int session_count;
  bool alive;
  int connected;  /* host; -1: none */
  int connection; /* counts connections, to tell who was kicked */
  tg_ms alone_since;
};

static struct {
  uint64_t random;
  tg_ms now; /* true time */
  double redis_rate;
  tg_ms redis_offset;
  bool redis_up, redis_frozen;
  int redis_run;
  struct sim_place places[PLACES];
  bool changes;    /* the number of shards may be changed */
  bool redis_lost; /* something that it had said */
  bool bot_up;
  int limit, spent; /* identifies of the day */
  tg_ms last_identify[BUCKETS];
  int identifies, resumes, moves, holes, lost_leases, upgrades;
  int violations;
  char first_violation[256];
  bool trace;
} world;

static int chance(int below)
{
  world.random = world.random * 6364136223846793005u + 1442695040888963407u;
  return (int)((world.random >> 33) % (uint64_t)below);
}

static tg_ms between(tg_ms least, tg_ms most)
{
  return least + chance((int)(most - least + 1));
}

__attribute__((format(printf, 1, 2))) static void violation(const char *format, ...)
{
  char text[200];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (world.violations++ == 0)
    snprintf(world.first_violation, sizeof world.first_violation, "at %lld: %s", (long long)world.now, text);
  if (world.trace)
    fprintf(stderr, "%8lld VIOLATION %s\n", (long long)world.now, text);
}

__attribute__((format(printf, 1, 2))) static void trace(const char *format, ...)
{
  if (!world.trace)
    return;
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%8lld ", (long long)world.now);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

static tg_ms redis_clock(void)
{
  return 1700000000000 + (tg_ms)((double)world.now * world.redis_rate) + world.redis_offset;
}

/* ---- Discord ---- */

static struct sim_session *last_session(struct sim_place *place)
{
  return place->session_count ? &place->sessions[place->session_count - 1] : NULL;
}

static void happen(struct sim_place *place, sim_twin twin)
{
  struct sim_session *session = last_session(place);
  if (session->count == session->room) {
    session->room = session->room ? session->room * 2 : 64;
    session->events = tg_realloc(session->events, (size_t)session->room * sizeof *session->events);
    session->twins = tg_realloc(session->twins, (size_t)session->room * sizeof *session->twins);
  }
  session->twins[session->count] = twin;
  session->events[session->count++] = 0;
}

static void begin_session(struct sim_place *place, int host, uint64_t epoch)
{
  if (place->session_count == SESSIONS_MAX)
    abort();
  place->sessions[place->session_count++] = (struct sim_session){.epoch = epoch};
  place->alive = true;
  place->connected = host;
  place->connection++;
  happen(place, 0); /* READY */
}

static int bucket_of(int place)
{
  return (place < SHARDS ? place : place - SHARDS) % BUCKETS;
}

/* op 2 of a host for a shard: the rules that Discord has. False: op 9. */
static bool identify(int host, int shard, uint64_t epoch)
{
  struct sim_place *place = &world.places[shard];
  struct sim_session *before = last_session(place);
  tg_ms gap = world.now - world.last_identify[bucket_of(shard)];
  trace("host %d identifies shard %d, epoch %llu", host, shard, (unsigned long long)epoch);
  if (gap < RULE)
    violation("bucket %d: an identify after %lld ms", bucket_of(shard), (long long)gap);
  if (before && epoch <= before->epoch)
    violation("shard %d: epoch %llu after %llu", shard, (unsigned long long)epoch,
              (unsigned long long)before->epoch);
  world.last_identify[bucket_of(shard)] = world.now;
  world.identifies++;
  if (++world.spent > world.limit - RESERVE)
    violation("%d of %d identifies are spent", world.spent, world.limit);
  if (chance(20) == 0)
    return false;
  begin_session(place, host, epoch);
  return true;
}

static bool resume(int host, int shard, uint64_t epoch, uint64_t sequence)
{
  struct sim_place *place = &world.places[shard];
  struct sim_session *session = last_session(place);
  bool valid = session && place->alive && session->epoch == epoch && sequence <= (uint64_t)session->count &&
               (uint64_t)session->count - sequence <= BUFFER;
  trace("host %d resumes shard %d from (%llu, %llu) of %d: %s", host, shard, (unsigned long long)epoch,
        (unsigned long long)sequence, session ? session->count : 0, valid ? "yes" : "op 9");
  if (!valid)
    return false;
  world.resumes++;
  place->connected = host;
  place->connection++;
  return true;
}

static void disconnect(int host, int shard, int connection)
{
  struct sim_place *place = &world.places[shard];
  if (place->connected != host || place->connection != connection)
    return;
  place->connected = -1;
  place->alone_since = world.now;
}

static bool lives(struct sim_place *place)
{
  if (place->alive && place->connected < 0 && world.now - place->alone_since > 120000)
    place->alive = false;
  return place->alive;
}

/* Something happens in a guild of that class: to its old shard, and to its new one. */
static void happen_to_class(int class)
{
  struct sim_place *old = &world.places[class];
  struct sim_place *new =
      world.changes ? &world.places[SHARDS + class + SHARDS * chance(NEW_SHARDS / SHARDS)] : NULL;
  sim_twin twin = 0;
  if (old->alive) {
    happen(old, 0);
    twin = (sim_twin)old->session_count << TWIN_SESSION | (sim_twin)last_session(old)->count;
  }
  if (new &&new->alive)
    happen(new, twin);
}

static void step_discord(void)
{
  for (int i = 0; i < (world.changes ? PLACES : SHARDS); i++) {
    bool alive = lives(&world.places[i]);
    if (i < SHARDS && (alive || world.changes) && chance(40) == 0)
      happen_to_class(i);
  }
}

/* ---- the judge of events ---- */

static void begin_world(uint64_t seed)
{
  bool traces = world.trace;
  for (int i = 0; i < PLACES; i++) {
    for (int k = 0; k < world.places[i].session_count; k++) {
      free(world.places[i].sessions[k].events);
      free(world.places[i].sessions[k].twins);
    }
  }
  memset(&world, 0, sizeof world);
  world.trace = traces;
  world.random = seed * 2654435761u + 12345;
  world.now = 1000000;
  world.redis_rate = 0.995 + chance(100) / 10000.0;
  world.redis_up = world.bot_up = true;
  world.redis_run = 1;
  world.limit = 1000 + RESERVE;
  for (int i = 0; i < PLACES; i++)
    world.places[i].connected = -1;
}

/* The event that this one is a copy of. */
static uint16_t *original_of(int shard, sim_twin twin)
{
  struct sim_session *session = &world.places[(shard - SHARDS) % SHARDS].sessions[(twin >> TWIN_SESSION) - 1];
  return &session->events[(twin & ((1u << TWIN_SESSION) - 1)) - 1];
}

static void check_copies(void)
{
  for (int i = SHARDS; i < PLACES; i++) {
    for (int k = 0; k < world.places[i].session_count; k++) {
      struct sim_session *session = &world.places[i].sessions[k];
      for (int s = 0; s < session->count; s++) {
        uint16_t *original = session->twins[s] ? original_of(i, session->twins[s]) : NULL;
        if (!original)
          continue;
        if (session->events[s] & EVENT_DELIVERED) {
          if (*original & (EVENT_DELIVERED | EVENT_COPIED) && !world.redis_lost)
            violation("shard %d: event %d of epoch %llu was delivered by the old shard, too", i - SHARDS,
                      s + 1, (unsigned long long)session->epoch);
          *original |= EVENT_COPIED;
        } else if (*original & EVENT_DELIVERED) {
          session->events[s] |= EVENT_COPIED;
        }
      }
    }
  }
}

static void check_all_delivered(void)
{
  const int well = EVENT_DELIVERED | EVENT_COPIED | EVENT_EXCUSED;
  check_copies();
  for (int i = 0; i < PLACES; i++) {
    for (int k = 0; k < world.places[i].session_count; k++) {
      const struct sim_session *session = &world.places[i].sessions[k];
      for (int s = 0; s < session->count; s++) {
        if ((session->events[s] & (EVENT_RECEIVED | well)) == EVENT_RECEIVED) {
          violation("place %d: event %d of epoch %llu was received, but is not delivered", i, s + 1,
                    (unsigned long long)session->epoch);
          return;
        }
      }
    }
  }
}
