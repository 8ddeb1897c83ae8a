#pragma once

/* What comes to a shard, by kinds of events, as the shard table counts it (tg_shard_row.traffic): enough to
 * see that a shard hears nothing any more, or no more of one kind. The largest types have a place each, all
 * others share one. What Discord sends because the gateway, or the bot, has done something says nothing of
 * that, and has a place of its own. */

#include "proto/event_types.h"

/* X(NAME): types that bots get many of, under the intents that bots have. */
#define TG_TRAFFIC_TYPES(X)                                                                                  \
  X(MESSAGE_CREATE)                                                                                          \
  X(MESSAGE_UPDATE)                                                                                          \
  X(MESSAGE_DELETE)                                                                                          \
  X(MESSAGE_REACTION_ADD)                                                                                    \
  X(TYPING_START)                                                                                            \
  X(PRESENCE_UPDATE)                                                                                         \
  X(VOICE_STATE_UPDATE)                                                                                      \
  X(INTERACTION_CREATE)                                                                                      \
  X(GUILD_MEMBER_ADD)                                                                                        \
  X(GUILD_MEMBER_UPDATE)

enum {
  TG_TRAFFIC_OTHERS,
  TG_TRAFFIC_ANSWERS, /* READY, RESUMED, guilds that load, replies to commands */
  TG_TRAFFIC_FIRST_TYPE,
  TG_TRAFFIC_BEFORE_TYPES = TG_TRAFFIC_FIRST_TYPE - 1,
#define X(name) TG_TRAFFIC_##name,
  TG_TRAFFIC_TYPES(X)
#undef X
      TG_TRAFFIC_COUNT
};

/* By the number of a type (tg_event.type). */
extern const uint8_t tg_traffic_places[TG_EVENT_TYPE_MAX];

/* The event's name; NULL: the place is not that of one type. */
const char *tg_traffic_name(int place);
