#include "proto/event_key.h"

#include "proto/event_types.h"

#include <string.h>

enum tg_key_rule tg_event_key_rule(uint16_t type)
{
  switch (type) {
  case TG_EVENT_READY:
  case TG_EVENT_RESUMED:
  case TG_EVENT_RATE_LIMITED:
  case TG_EVENT_GUILD_MEMBERS_CHUNK:
  case TG_EVENT_SOUNDBOARD_SOUNDS:
  case TG_EVENT_CHANNEL_INFO:
  case TG_EVENT_VOICE_SERVER_UPDATE:
    return TG_KEY_SESSION;
  case TG_EVENT_MESSAGE_CREATE:
  case TG_EVENT_MESSAGE_DELETE:
  case TG_EVENT_INTERACTION_CREATE:
  case TG_EVENT_GUILD_AUDIT_LOG_ENTRY_CREATE:
    return TG_KEY_ID;
  case TG_EVENT_GUILD_CREATE:
  case TG_EVENT_GUILD_DELETE:
    return TG_KEY_GUILD;
  }
  return TG_KEY_DATA;
}

/* Both halves of the product count: what comes out says nothing of what went in, as long as the seed is not
 * known. */
static uint64_t mix(uint64_t a, uint64_t b)
{
  unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word_at(const char *at)
{
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

/* Two words a step; d is some hundred bytes, and this runs for each event of both sides. */
static uint64_t hash(uint64_t state, uint64_t seed, const char *at, size_t length)
{
  const uint64_t left = seed ^ 0xa0761d6478bd642fu, right = mix(seed, 0xe7037ed1a0b428dbu) | 1;
  state ^= mix(length ^ left, right);
  for (; length >= 16; at += 16, length -= 16)
    state = mix(word_at(at) ^ left ^ state, word_at(at + 8) ^ right);
  char rest[16] = {0};
  memcpy(rest, at, length);
  return mix(word_at(rest) ^ left ^ state, word_at(rest + 8) ^ right);
}

struct tg_event_key tg_event_key(const struct tg_event *event, enum tg_guild_change change, uint64_t seed)
{
  struct tg_event_key key = {0, hash(seed, seed, event->name.at, event->name.length)};
  enum tg_key_rule rule = tg_event_key_rule(event->type);
  uint64_t id;
  if (!tg_event_guild_id(event, &key.guild))
    key.guild = 0;
  if (rule == TG_KEY_GUILD && change != TG_GUILD_CHANGE_NONE)
    id = change;
  else if (rule != TG_KEY_ID || !tg_event_id(event, &id))
    return key.hash = hash(key.hash, seed, event->data.at, event->data.length), key;
  key.hash = hash(key.hash, seed, (const char *)&id, sizeof id);
  return key;
}
