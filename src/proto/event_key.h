#pragma once

/* How an event is named so that two sessions that both get it give it one name, although each counts it by a
 * number of its own. While a bot changes its number of shards, its old and its new sessions show each event
 * once each; by this name the two are found to be one.
 *
 *     READY, RESUMED, RATE_LIMITED, GUILD_MEMBERS_CHUNK,     none: they belong to the session that asked,
 *     SOUNDBOARD_SOUNDS, CHANNEL_INFO, VOICE_SERVER_UPDATE   and no other session shows them
 *     MESSAGE_CREATE, MESSAGE_DELETE, INTERACTION_CREATE,    the name and d.id
 *     GUILD_AUDIT_LOG_ENTRY_CREATE
 *     GUILD_CREATE, GUILD_DELETE                             the name, the guild, and what it means for the
 *                                                            session (their d is built for each)
 *     all others, unknown ones too                           the name and all bytes of d
 *
 * with the guild, 0 without one, in front of each. Equal events that come twice have equal keys: whoever
 * matches counts them. Nothing is allocated. */

#include "proto/event.h"

/* What a GUILD_CREATE or GUILD_DELETE means for the session that shows it. */
enum tg_guild_change {
  TG_GUILD_CHANGE_NONE,      /* it is neither */
  TG_GUILD_CHANGE_LOADING,   /* of READY's list: this session alone has it */
  TG_GUILD_CHANGE_JOINED,    /* the bot was added */
  TG_GUILD_CHANGE_AVAILABLE, /* back from an outage */
  TG_GUILD_CHANGE_OUTAGE,
  TG_GUILD_CHANGE_LEFT,
};

enum tg_key_rule { TG_KEY_SESSION, TG_KEY_ID, TG_KEY_GUILD, TG_KEY_DATA };

/* By which of the rows above a type goes. */
enum tg_key_rule tg_event_key_rule(uint16_t type);

struct tg_event_key {
  uint64_t guild; /* 0: none */
  uint64_t hash;  /* of the rest */
};

/* `seed` is secret: who does not know it cannot make two events of one hash. Equal seeds give equal keys in
 * all processes, of the same build or another. Of types without a key it is that of the bytes of d. */
struct tg_event_key tg_event_key(const struct tg_event *event, enum tg_guild_change change, uint64_t seed);

static inline bool tg_event_key_equal(struct tg_event_key a, struct tg_event_key b)
{
  return a.hash == b.hash && a.guild == b.guild;
}
