#pragma once

/* One dispatch on its way from a shard to the bot.
 *
 * The struct and everything it points to live only while the event is being
 * handled: whoever wants to keep it copies it. `raw` is the message as it came
 * from Discord, never re-encoded; the other spans point into it. */

#include "base/json_scan.h"
#include "proto/shard_ref.h"

#include <stdbool.h>
#include <stdint.h>

/* How a GUILD_CREATE is to be understood ("guildCreate" of its body). */
enum tg_guild_create { TG_GUILD_NONE, TG_GUILD_LOADING, TG_GUILD_JOINED, TG_GUILD_AVAILABLE };

/* What an event is that Discord has not sent: it has no message, but tells something. */
enum tg_marker {
  TG_MARKER_NONE,     /* it is one of Discord's */
  TG_MARKER_GAP,      /* events are lost: "gap" */
  TG_MARKER_HANDOVER, /* guilds have gone over to another shard: "resharding" */
};

/* "loading", "joined", "available"; NULL for TG_GUILD_NONE. */
const char *tg_guild_create_name(enum tg_guild_create kind);

struct tg_event {
  uint16_t type; /* tg_event_type_*(); equal names have equal numbers in one process */
  int shard_id;
  uint8_t side;        /* of the set that the shard is one of */
  int total_shards;    /* of that set; 0: not known */
  uint64_t epoch;      /* which session of that shard */
  uint64_t sequence;   /* s */
  struct tg_span name; /* t, without quotes */
  struct tg_span raw;  /* the whole message */
  struct tg_span data; /* d, any JSON value */
  enum tg_guild_create guild_create;
  bool noted;          /* the guild caches have it already: guild_create is known */
  bool replayed;       /* came between RESUME and RESUMED */
  uint8_t body_format; /* of an event out of a sink's queue: 1 + its enum tg_event_format; 0: the bot's */
  bool guild_loaded;   /* ... and the sink's guild_loaded */
  int64_t came_at;     /* of an event that has waited: tg_now() of its arrival; 0: just now */

  /* Of an event out of a queue. The name of a marker is GATEWAY_GAP or GATEWAY_RESHARDING, its data what it
   * tells, and `raw` its body in the format "seed". */
  enum tg_marker marker;
  bool deferred; /* it was answered in the place of the event handler */
  bool late;     /* others of its shard have gone before it, though it came first */
  bool left;     /* of what is left of its shard, which another host has had since */
  bool unseen;   /* late, and no process has shown it to the script's handlers, whatever its number */

  /* What a filter or script put in place of the message (the whole
   * {"t":..,"s":..,"op":0,"d":..} text); .at is NULL when nothing did. Owned
   * by whoever runs the event path; freed when the event is done. */
  struct tg_span replacement;
};

/* The text that goes to the event handler. */
static inline struct tg_span tg_event_message(const struct tg_event *event)
{
  return event->replacement.at ? event->replacement : event->raw;
}

static inline tg_shard_ref tg_event_ref(const struct tg_event *event)
{
  return tg_ref_of(event->shard_id, event->side) | event->left << TG_REF_LEFT_BIT;
}

/* The guild the event belongs to; false: none. GUILD_CREATE, GUILD_UPDATE and
 * GUILD_DELETE carry it as d.id, the others as d.guild_id. */
bool tg_event_guild_id(const struct tg_event *event, uint64_t *guild_id);

/* The user whom the event is about, or who has done it: d.user_id, or the id of d.user, d.author or
 * d.member.user. False: none stands there. */
bool tg_event_user_id(const struct tg_event *event, uint64_t *user_id);

/* d.id as a number: message, interaction, guild, ... */
bool tg_event_id(const struct tg_event *event, uint64_t *id);
