#include "fake_discord/world/event.h"

#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tg_fake_event *tg_fake_event_new_as(const char *name, const char *t, const char *data, size_t length)
{
  size_t extra = t ? strlen(t) + 1 : 0;
  struct tg_fake_event *event = tg_alloc(sizeof *event + length + extra);
  *event = (struct tg_fake_event){.references = 1, .length = length};
  snprintf(event->name, sizeof event->name, "%s", name);
  memcpy(event->data, data, length);
  if (t)
    event->t = memcpy(event->data + length, t, extra);
  return event;
}

struct tg_fake_event *tg_fake_event_new(const char *name, const char *data, size_t length)
{
  return tg_fake_event_new_as(name, NULL, data, length);
}

struct tg_fake_event *tg_fake_event_ref(struct tg_fake_event *event)
{
  event->references++;
  return event;
}

void tg_fake_event_unref(struct tg_fake_event *event)
{
  if (event && --event->references == 0)
    free(event);
}

/* By prefix, the longer before the shorter; bits are intents for guild events
 * and for events without a guild. */
static const struct {
  const char *prefix;
  uint64_t guild, direct;
} needs[] = {
    {"AUTO_MODERATION_RULE_", 1 << 20, 1 << 20},
    {"AUTO_MODERATION_ACTION_EXECUTION", 1 << 21, 1 << 21},
    {"CHANNEL_PINS_UPDATE", 1 << 0, 1 << 12},
    {"CHANNEL_INFO", 0, 0},
    {"CHANNEL_", 1 << 0, 1 << 0},
    {"VOICE_CHANNEL_EFFECT_SEND", 1 << 7, 1 << 7},
    {"VOICE_CHANNEL_", 1 << 0, 1 << 0},
    {"VOICE_STATE_UPDATE", 1 << 7, 1 << 7},
    {"THREAD_MEMBERS_UPDATE", 1 << 0 | 1 << 1, 1 << 0},
    {"THREAD_", 1 << 0, 1 << 0},
    {"GUILD_AUDIT_LOG_", 1 << 2, 1 << 2},
    {"GUILD_BAN_", 1 << 2, 1 << 2},
    {"GUILD_EMOJIS_", 1 << 3, 1 << 3},
    {"GUILD_STICKERS_", 1 << 3, 1 << 3},
    {"GUILD_SOUNDBOARD_", 1 << 3, 1 << 3},
    {"GUILD_INTEGRATIONS_", 1 << 4, 1 << 4},
    {"INTEGRATION_", 1 << 4, 1 << 4},
    {"GUILD_MEMBER_", 1 << 1, 1 << 1},
    {"GUILD_SCHEDULED_", 1 << 16, 1 << 16},
    {"GUILD_MEMBERS_CHUNK", 0, 0},
    {"GUILD_ROLE_", 1 << 0, 1 << 0},
    {"GUILD_CREATE", 1 << 0, 1 << 0},
    {"GUILD_UPDATE", 1 << 0, 1 << 0},
    {"GUILD_DELETE", 1 << 0, 1 << 0},
    {"INVITE_", 1 << 6, 1 << 6},
    {"MESSAGE_REACTION_", 1 << 10, 1 << 13},
    {"MESSAGE_POLL_", 1 << 24, 1 << 25},
    {"MESSAGE_", 1 << 9, 1 << 12},
    {"PRESENCE_UPDATE", 1 << 8, 1 << 8},
    {"STAGE_INSTANCE_", 1 << 0, 1 << 0},
    {"TYPING_START", 1 << 11, 1 << 14},
    {"WEBHOOKS_UPDATE", 1 << 5, 1 << 5},
};

bool tg_fake_event_wanted(const char *name, bool guild, uint64_t intents)
{
  for (size_t i = 0; i < sizeof needs / sizeof *needs; i++)
    if (strncmp(name, needs[i].prefix, strlen(needs[i].prefix)) == 0) {
      uint64_t need = guild ? needs[i].guild : needs[i].direct;
      return need == 0 || (intents & need) != 0;
    }
  return true;
}
