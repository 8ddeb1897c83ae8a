#include "proto/intents.h"

#include "base/suggest.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

struct intent {
  const char *name;
  int bit;
};

static const struct intent intents_table[] = {
    {"guilds", 0},
    {"guild_members", 1},
    {"guild_moderation", 2},
    {"guild_expressions", 3},
    {"guild_integrations", 4},
    {"guild_webhooks", 5},
    {"guild_invites", 6},
    {"guild_voice_states", 7},
    {"guild_presences", 8},
    {"guild_messages", 9},
    {"guild_message_reactions", 10},
    {"guild_message_typing", 11},
    {"direct_messages", 12},
    {"direct_message_reactions", 13},
    {"direct_message_typing", 14},
    {"message_content", 15},
    {"guild_scheduled_events", 16},
    {"auto_moderation_configuration", 20},
    {"auto_moderation_execution", 21},
    {"guild_message_polls", 24},
    {"direct_message_polls", 25},
};

/* What some of them were called before: understood, and never said. */
static const struct intent former_names[] = {
    {"guild_bans", 2},
    {"guild_emojis", 3},
    {"guild_emojis_and_stickers", 3},
};

enum {
  INTENT_COUNT = sizeof intents_table / sizeof intents_table[0],
  FORMER_COUNT = sizeof former_names / sizeof former_names[0],
};

static bool same_name(const char *given, const char *name)
{
  for (;; given++, name++) {
    while (*given == '_')
      given++;
    while (*name == '_')
      name++;
    if (tolower((unsigned char)*given) != *name)
      return false;
    if (!*name)
      return true;
  }
}

static const struct intent *find(const struct intent *intents, size_t count, const char *name)
{
  for (size_t i = 0; i < count; i++) {
    if (same_name(name, intents[i].name))
      return &intents[i];
  }
  return NULL;
}

bool tg_intent_parse(const char *name, uint64_t *bit)
{
  const struct intent *intent = find(intents_table, INTENT_COUNT, name);
  if (!intent)
    intent = find(former_names, FORMER_COUNT, name);
  if (intent)
    *bit = UINT64_C(1) << intent->bit;
  return intent != NULL;
}

const char *tg_intent_suggest(const char *name)
{
  const char *names[INTENT_COUNT];
  for (size_t i = 0; i < INTENT_COUNT; i++)
    names[i] = intents_table[i].name;
  const char *dot = strrchr(name, '.'); /* GatewayIntentBits.Guilds */
  return tg_suggest(dot ? dot + 1 : name, names, INTENT_COUNT);
}

void tg_intents_format(uint64_t intents, char *text, size_t size)
{
  size_t used = 0;
  if (size > 0)
    text[0] = '\0';
  for (int bit = 0; bit < 64 && used < size; bit++) {
    if (!(intents >> bit & 1))
      continue;
    const char *name = NULL;
    for (size_t i = 0; i < INTENT_COUNT; i++) {
      if (intents_table[i].bit == bit)
        name = intents_table[i].name;
    }
    int length = name ? snprintf(text + used, size - used, "%s%s", used ? ", " : "", name)
                      : snprintf(text + used, size - used, "%sbit %d", used ? ", " : "", bit);
    used += (size_t)length;
  }
}
