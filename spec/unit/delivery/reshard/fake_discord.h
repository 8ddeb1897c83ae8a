#pragma once

/* Discord with two sets of shards, as it is seen from a class: a stream of events, and sessions that show
 * those of their guilds, each at its own pace. A guild's events keep their order within a session, those of
 * different guilds do not; numbers are given when an event leaves its queue. All from one seed. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "proto/event_key.h"
#include "proto/event_types.h"
#include "proto/shard_ref.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUILDS = 7, EVENTS_MAX = 40000, SESSIONS_MAX = 8, STEP = 50 /* ms */ };

static uint64_t seed, dice;
static tg_ms now;

static uint32_t below(uint32_t limit)
{
  dice ^= dice << 13;
  dice ^= dice >> 7;
  dice ^= dice << 17;
  return limit == 0 ? 0 : (uint32_t)((dice >> 20) % limit);
}

static bool chance(uint32_t percent)
{
  return below(100) < percent;
}

/* So often in the mean, looked at once a step. */
static bool once_in(tg_ms mean)
{
  return below((uint32_t)(mean / STEP) + 1) == 0;
}

/* --- events ------------------------------------------------------------------------- */

struct event {
  int guild; /* 0: of none */
  uint16_t type;
  int content;                 /* equal for those of which all bytes are equal */
  enum tg_guild_change change; /* to sessions that had the guild before */
  bool otherwise;              /* the bytes are others in the new set */
  bool loose;                  /* of a type in which the sets differ: it is cut by time */
  bool own;                    /* of one session alone */
  bool given_up;               /* its session was lost with it */
  /* What the gateway has made of it. */
  bool secure; /* in the flushed log, or delivered */
  int delivered;
  struct { /* as what, the first time */
    tg_shard_ref ref;
    uint64_t epoch, sequence;
  } key;
  int filtered_in; /* the last process that ran filters for it */
};

static struct event events[EVENTS_MAX];
static int event_count;

/* What a seed makes of the world. */
static struct {
  int from, to, number;
  tg_ms pause;         /* in the mean, between events */
  uint32_t otherwise;  /* % of presences that are built otherwise in the new set */
  uint32_t one_sided;  /* % of typings that one side alone shows */
  bool odd_outages;    /* there are outages of which one set alone hears */
  uint32_t repeats;    /* % of events that equal earlier ones */
  tg_ms lag, jitter;   /* at most */
  tg_ms trouble_every; /* of each kind; 0: never */
} plan;

/* --- sessions ------------------------------------------------------------------------ */

struct queued {
  int event;
  tg_ms leaves;
};

enum { NO_EVENT = -1 };

struct session {
  tg_shard_ref ref;
  int number;   /* of all that there ever were; 0: none */
  bool is_over; /* op 9 for who resumes it */
  tg_ms lag, stalled_until;
  struct queued *queue[GUILDS];
  int head[GUILDS], tail[GUILDS], room[GUILDS];
  bool knows[GUILDS]; /* the guild was there when it began */
  /* By number, from 1: what was shown as which; a hole in it was never sent. */
  int *shown;
  bool *hole;
  enum tg_guild_change *change;
  int count, space;
  int kept_from; /* heartbeats have acknowledged all before */
};

static struct session sessions[SESSIONS_MAX];
static int session_count, sessions_ever;
static bool guild_is_there[GUILDS];
static enum tg_guild_change last_change[GUILDS];

enum { PAUSE = 5000 /* ms */ };
static tg_ms direct_at; /* the last one of no guild that equals earlier ones */

static uint64_t guild_id(int guild)
{
  int classes = 1;
  for (int i = 1; i <= plan.from; i++)
    if (plan.from % i == 0 && plan.to % i == 0)
      classes = i;
  return guild == 0 ? 0 : (uint64_t)(guild * 97 * classes + plan.number) << 22 | 1;
}

static bool has_guild(const struct session *session, int guild)
{
  int side = tg_ref_side(session->ref), total = side == 0 ? plan.from : plan.to;
  if (guild == 0)
    return tg_ref_id(session->ref) == 0; /* messages to the bot itself */
  return (int)((guild_id(guild) >> 22) % (uint64_t)total) == tg_ref_id(session->ref);
}

static void free_session(struct session *session)
{
  for (int guild = 0; guild < GUILDS; guild++)
    free(session->queue[guild]);
  free(session->shown);
  free(session->hole);
  free(session->change);
}

static int new_event(int guild, uint16_t type)
{
  assert_true(event_count < EVENTS_MAX);
  events[event_count] =
      (struct event){.guild = guild, .type = type, .content = event_count, .filtered_in = -1};
  return event_count++;
}

/* The event has its number. */
static void number_event(struct session *session, int event, enum tg_guild_change change)
{
  if (session->count + 1 >= session->space) {
    session->space = 2 * session->space + 256;
    session->shown = tg_realloc(session->shown, (size_t)session->space * sizeof *session->shown);
    session->hole = tg_realloc(session->hole, (size_t)session->space * sizeof *session->hole);
    session->change = tg_realloc(session->change, (size_t)session->space * sizeof *session->change);
  }
  int s = ++session->count;
  session->shown[s] = event;
  session->change[s] = change;
  session->hole[s] = false;
}

static void show_own(struct session *session, uint16_t type, int guild, enum tg_guild_change change)
{
  int event = new_event(guild, type);
  events[event].own = true;
  number_event(session, event, change);
}

/* READY, and the guilds that are there. */
static void begin_session(struct session *session)
{
  tg_shard_ref ref = session->ref;
  free_session(session);
  *session = (struct session){.ref = ref, .number = ++sessions_ever, .lag = below((uint32_t)plan.lag + 1)};
  show_own(session, TG_EVENT_READY, 0, TG_GUILD_CHANGE_NONE);
  for (int guild = 1; guild < GUILDS; guild++) {
    if (!has_guild(session, guild) || !guild_is_there[guild])
      continue;
    session->knows[guild] = true;
    show_own(session, TG_EVENT_GUILD_CREATE, guild, TG_GUILD_CHANGE_LOADING);
  }
}

static void enqueue(struct session *session, int event)
{
  int guild = events[event].guild;
  tg_ms leaves = now + session->lag + below((uint32_t)plan.jitter + 1);
  if (session->tail[guild] == session->room[guild]) {
    session->room[guild] = 2 * session->room[guild] + 64;
    session->queue[guild] =
        tg_realloc(session->queue[guild], (size_t)session->room[guild] * sizeof *session->queue[guild]);
  }
  if (session->tail[guild] > 0 && session->queue[guild][session->tail[guild] - 1].leaves > leaves)
    leaves = session->queue[guild][session->tail[guild] - 1].leaves;
  session->queue[guild][session->tail[guild]++] = (struct queued){event, leaves};
}

/* `sides`: bit 0 the old set, bit 1 the new. */
static void emit(int event, int sides)
{
  for (int i = 0; i < session_count; i++) {
    struct session *session = &sessions[i];
    if (session->number > 0 && !session->is_over && has_guild(session, events[event].guild) &&
        sides >> tg_ref_side(session->ref) & 1)
      enqueue(session, event);
  }
}

/* The guild whose turn it is, of those that have something that has waited long enough; -1: none has. */
static int next_guild(const struct session *session)
{
  tg_ms first = now;
  int next = -1;
  for (int guild = 0; guild < GUILDS; guild++) {
    const struct queued *head = &session->queue[guild][session->head[guild]];
    if (session->head[guild] == session->tail[guild] || head->leaves > first)
      continue;
    first = head->leaves - 1;
    next = guild;
  }
  return next;
}

/* What has waited long enough leaves its queue. After a stall, too, it comes in the order of time. */
static void run_session(struct session *session)
{
  int guild;
  if (session->number == 0 || session->is_over || session->stalled_until > now)
    return;
  while ((guild = next_guild(session)) >= 0) {
    int event = session->queue[guild][session->head[guild]++].event;
    number_event(session, event, events[event].change);
  }
}

/* --- the stream ----------------------------------------------------------------------- */

static int new_guild_change(int guild, enum tg_guild_change change)
{
  bool gone = change == TG_GUILD_CHANGE_OUTAGE || change == TG_GUILD_CHANGE_LEFT;
  int event = new_event(guild, gone ? TG_EVENT_GUILD_DELETE : TG_EVENT_GUILD_CREATE);
  events[event].change = change;
  events[event].content = -100 - (int)change; /* each looks like the last */
  events[event].loose =
      plan.odd_outages && change >= TG_GUILD_CHANGE_AVAILABLE && change <= TG_GUILD_CHANGE_OUTAGE;
  return event;
}

/* A guild joins, leaves, is away, is back: what it means follows from what was. */
static void emit_guild_change(int guild)
{
  enum tg_guild_change change = TG_GUILD_CHANGE_JOINED;
  if (guild_is_there[guild])
    change = chance(50) ? TG_GUILD_CHANGE_OUTAGE : TG_GUILD_CHANGE_LEFT;
  else if (last_change[guild] == TG_GUILD_CHANGE_OUTAGE)
    change = TG_GUILD_CHANGE_AVAILABLE;
  guild_is_there[guild] = !guild_is_there[guild];
  last_change[guild] = change;
  emit(new_guild_change(guild, change), 3);
}

/* Which of them have come, and which one before a death has not, is known by what else comes in their guild;
 * of those of none, for which there is no order, by a pause. */
static bool emit_repeat(int guild)
{
  if (guild == 0 && now - direct_at < PAUSE)
    return false;
  direct_at = guild == 0 ? now : direct_at;
  int event = new_event(guild, TG_EVENT_MESSAGE_REACTION_ADD);
  events[event].content = -1 - (int)below(3);
  emit(event, 3);
  return true;
}

static void emit_some_event(void)
{
  static const uint16_t types[] = {
      TG_EVENT_MESSAGE_CREATE, TG_EVENT_MESSAGE_CREATE, TG_EVENT_MESSAGE_UPDATE,  TG_EVENT_INTERACTION_CREATE,
      TG_EVENT_CHANNEL_UPDATE, TG_EVENT_MESSAGE_DELETE, TG_EVENT_PRESENCE_UPDATE, TG_EVENT_TYPING_START};
  int guild = plan.number == 0 ? (int)below(GUILDS) : 1 + (int)below(GUILDS - 1);
  if (guild > 0 && (!guild_is_there[guild] || chance(1))) {
    emit_guild_change(guild);
    return;
  }
  if (chance(plan.repeats) && emit_repeat(guild))
    return;
  int event = new_event(guild, types[below(sizeof types / sizeof types[0])]), sides = 3;
  if (events[event].type == TG_EVENT_PRESENCE_UPDATE)
    events[event].loose = plan.otherwise > 0, events[event].otherwise = chance(plan.otherwise);
  if (events[event].type == TG_EVENT_TYPING_START && plan.one_sided > 0) {
    events[event].loose = true;
    sides = chance(plan.one_sided) ? 1 + (int)below(2) : 3;
  }
  emit(event, sides);
}

/* An outage of which one set alone hears. */
static void emit_one_sided_outage(void)
{
  int guild = 1 + (int)below(GUILDS - 1), sides = 1 + (int)below(2);
  if (!guild_is_there[guild])
    return;
  emit(new_guild_change(guild, TG_GUILD_CHANGE_OUTAGE), sides);
  emit(new_guild_change(guild, TG_GUILD_CHANGE_AVAILABLE), sides);
}

/* The text of an event as a session shows it; its parts are in `event`. */
static void write_event(struct tg_event *event, char *text, size_t size, const struct session *session, int s)
{
  const struct event *which = &events[session->shown[s]];
  const char *name = tg_event_type_name(which->type);
  int length = snprintf(text, size, "{\"t\":\"%s\",\"s\":%d,\"op\":0,\"d\":", name, s);
  int data = length;
  bool is_guild = which->type == TG_EVENT_GUILD_CREATE || which->type == TG_EVENT_GUILD_DELETE;
  length += snprintf(text + length, size - (size_t)length, "{\"id\":\"%llu\"",
                     is_guild ? (unsigned long long)guild_id(which->guild)
                              : (unsigned long long)(which->content + 1000));
  if (which->guild > 0 && !is_guild)
    length += snprintf(text + length, size - (size_t)length, ",\"guild_id\":\"%llu\"",
                       (unsigned long long)guild_id(which->guild));
  length += snprintf(text + length, size - (size_t)length, ",\"n\":%d%s}", which->content,
                     which->otherwise && tg_ref_side(session->ref) == 1 ? ",\"o\":1" : "");
  *event = (struct tg_event){
      .type = which->type,
      .shard_id = tg_ref_id(session->ref),
      .side = (uint8_t)tg_ref_side(session->ref),
      .sequence = (uint64_t)s,
      .name = {text + 6, strlen(name)},
      .raw = {text, (size_t)length + 1},
      .data = {text + data, (size_t)(length - data)},
  };
  text[length] = '}';
}
