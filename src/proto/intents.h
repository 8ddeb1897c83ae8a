#pragma once

/* Intent names and bits. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  TG_INTENT_GUILDS = 1 << 0,
  TG_INTENT_GUILD_MEMBERS = 1 << 1,
  TG_INTENT_GUILD_PRESENCES = 1 << 8,
  TG_INTENT_MESSAGE_CONTENT = 1 << 15,
  TG_INTENTS_PRIVILEGED = TG_INTENT_GUILD_MEMBERS | TG_INTENT_GUILD_PRESENCES | TG_INTENT_MESSAGE_CONTENT,
  TG_INTENTS_ALL = 0x331FFFF,
};

/* "guild_messages" -> its bit; case and underscores do not matter ("GuildMessages"),
 * and names that Discord has replaced are known. False: no such name. */
bool tg_intent_parse(const char *name, uint64_t *bit);

/* The name most like a misspelt one, or NULL. */
const char *tg_intent_suggest(const char *name);

enum { TG_INTENTS_TEXT = 512 };

/* Writes "guilds, guild_messages" (cut to size; TG_INTENTS_TEXT holds all that have names). */
void tg_intents_format(uint64_t intents, char *text, size_t size);
