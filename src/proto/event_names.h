#pragma once

/* The names of Discord's dispatches. Here, and not in proto/, because the
 * configuration names them. */

#include <stdbool.h>

/* Every documented dispatch, in alphabetical order. X(NAME) */
#define TG_EVENT_NAMES(X)                                                                                    \
  X(APPLICATION_COMMAND_PERMISSIONS_UPDATE)                                                                  \
  X(AUTO_MODERATION_ACTION_EXECUTION)                                                                        \
  X(AUTO_MODERATION_RULE_CREATE)                                                                             \
  X(AUTO_MODERATION_RULE_DELETE)                                                                             \
  X(AUTO_MODERATION_RULE_UPDATE)                                                                             \
  X(CHANNEL_CREATE)                                                                                          \
  X(CHANNEL_DELETE)                                                                                          \
  X(CHANNEL_INFO)                                                                                            \
  X(CHANNEL_PINS_UPDATE)                                                                                     \
  X(CHANNEL_UPDATE)                                                                                          \
  X(ENTITLEMENT_CREATE)                                                                                      \
  X(ENTITLEMENT_DELETE)                                                                                      \
  X(ENTITLEMENT_UPDATE)                                                                                      \
  X(GUILD_AUDIT_LOG_ENTRY_CREATE)                                                                            \
  X(GUILD_BAN_ADD)                                                                                           \
  X(GUILD_BAN_REMOVE)                                                                                        \
  X(GUILD_CREATE)                                                                                            \
  X(GUILD_DELETE)                                                                                            \
  X(GUILD_EMOJIS_UPDATE)                                                                                     \
  X(GUILD_INTEGRATIONS_UPDATE)                                                                               \
  X(GUILD_MEMBERS_CHUNK)                                                                                     \
  X(GUILD_MEMBER_ADD)                                                                                        \
  X(GUILD_MEMBER_REMOVE)                                                                                     \
  X(GUILD_MEMBER_UPDATE)                                                                                     \
  X(GUILD_ROLE_CREATE)                                                                                       \
  X(GUILD_ROLE_DELETE)                                                                                       \
  X(GUILD_ROLE_UPDATE)                                                                                       \
  X(GUILD_SCHEDULED_EVENT_CREATE)                                                                            \
  X(GUILD_SCHEDULED_EVENT_DELETE)                                                                            \
  X(GUILD_SCHEDULED_EVENT_UPDATE)                                                                            \
  X(GUILD_SCHEDULED_EVENT_USER_ADD)                                                                          \
  X(GUILD_SCHEDULED_EVENT_USER_REMOVE)                                                                       \
  X(GUILD_SOUNDBOARD_SOUNDS_UPDATE)                                                                          \
  X(GUILD_SOUNDBOARD_SOUND_CREATE)                                                                           \
  X(GUILD_SOUNDBOARD_SOUND_DELETE)                                                                           \
  X(GUILD_SOUNDBOARD_SOUND_UPDATE)                                                                           \
  X(GUILD_STICKERS_UPDATE)                                                                                   \
  X(GUILD_UPDATE)                                                                                            \
  X(INTEGRATION_CREATE)                                                                                      \
  X(INTEGRATION_DELETE)                                                                                      \
  X(INTEGRATION_UPDATE)                                                                                      \
  X(INTERACTION_CREATE)                                                                                      \
  X(INVITE_CREATE)                                                                                           \
  X(INVITE_DELETE)                                                                                           \
  X(MESSAGE_CREATE)                                                                                          \
  X(MESSAGE_DELETE)                                                                                          \
  X(MESSAGE_DELETE_BULK)                                                                                     \
  X(MESSAGE_POLL_VOTE_ADD)                                                                                   \
  X(MESSAGE_POLL_VOTE_REMOVE)                                                                                \
  X(MESSAGE_REACTION_ADD)                                                                                    \
  X(MESSAGE_REACTION_REMOVE)                                                                                 \
  X(MESSAGE_REACTION_REMOVE_ALL)                                                                             \
  X(MESSAGE_REACTION_REMOVE_EMOJI)                                                                           \
  X(MESSAGE_UPDATE)                                                                                          \
  X(PRESENCE_UPDATE)                                                                                         \
  X(RATE_LIMITED)                                                                                            \
  X(READY)                                                                                                   \
  X(RESUMED)                                                                                                 \
  X(SOUNDBOARD_SOUNDS)                                                                                       \
  X(STAGE_INSTANCE_CREATE)                                                                                   \
  X(STAGE_INSTANCE_DELETE)                                                                                   \
  X(STAGE_INSTANCE_UPDATE)                                                                                   \
  X(SUBSCRIPTION_CREATE)                                                                                     \
  X(SUBSCRIPTION_DELETE)                                                                                     \
  X(SUBSCRIPTION_UPDATE)                                                                                     \
  X(THREAD_CREATE)                                                                                           \
  X(THREAD_DELETE)                                                                                           \
  X(THREAD_LIST_SYNC)                                                                                        \
  X(THREAD_MEMBERS_UPDATE)                                                                                   \
  X(THREAD_MEMBER_UPDATE)                                                                                    \
  X(THREAD_UPDATE)                                                                                           \
  X(TYPING_START)                                                                                            \
  X(USER_UPDATE)                                                                                             \
  X(VOICE_CHANNEL_EFFECT_SEND)                                                                               \
  X(VOICE_CHANNEL_START_TIME_UPDATE)                                                                         \
  X(VOICE_CHANNEL_STATUS_UPDATE)                                                                             \
  X(VOICE_SERVER_UPDATE)                                                                                     \
  X(VOICE_STATE_UPDATE)                                                                                      \
  X(WEBHOOKS_UPDATE)

bool tg_event_name_is_documented(const char *name);

/* The documented name most like this one, or NULL. */
const char *tg_event_name_suggest(const char *name);

/* The documented name that this one is a typing error of: one or two letters
 * side by side are wrong. NULL: of none; it may be one that Discord has added
 * since. */
const char *tg_event_name_misspelt(const char *name);
