/* What is read out of events without decoding them, any text as d: it lies inside
 * of the text, and what one reader of JSON finds the other one finds, too. */

#include "fuzz.h"

#include "delivery/caches/message_cache.h"
#include "delivery/caches/message_facts.h"
#include "delivery/interactions/interaction_facts.h"
#include "proto/event.h"
#include "proto/event_types.h"

#include <jansson.h>

static void check_interaction(struct tg_span data)
{
  struct tg_interaction_facts facts;
  if (!tg_interaction_read(data, &facts))
    return;
  require(facts.id > 0 && tg_interaction_deferral(facts.type) != NULL);
  require(facts.token.length > 0 && facts.token.at > data.at &&
          facts.token.at + facts.token.length < data.at + data.length);
  /* It becomes a part of a URL's path. */
  for (size_t i = 0; i < facts.token.length; i++)
    require(facts.token.at[i] > ' ' && !strchr("/?#%\\", facts.token.at[i]) && facts.token.at[i] < 0x7f);
  require(tg_interaction_made_at(facts.id) > 0);
}

static void check_message(struct tg_span data, struct tg_message_cache *cache)
{
  struct tg_message_facts facts, again;
  if (!tg_message_facts(data, &facts))
    return;
  require(facts.id != 0 && tg_message_facts(data, &again) && memcmp(&facts, &again, sizeof facts) == 0);
  for (int part = 0; part < TG_MESSAGE_PARTS; part++)
    require(facts.hashes[part] == 0 || facts.present & 1u << part);
  tg_message_cache_changed(cache, &facts);
  tg_message_cache_store(cache, &facts);
  require(!tg_message_cache_changed(cache, &facts));
}

static void check_ids(struct tg_span data)
{
  static const uint16_t types[] = {TG_EVENT_GUILD_CREATE, TG_EVENT_MESSAGE_CREATE};
  json_t *json = memchr(data.at, '\\', data.length) || memchr(data.at, '\0', data.length)
                     ? NULL
                     : json_loadb(data.at, data.length, JSON_REJECT_DUPLICATES, NULL);
  for (size_t i = 0; i < 2; i++) {
    struct tg_event event = {.type = types[i], .data = data, .raw = data};
    uint64_t id = 0, guild_id = 0;
    bool has_id = tg_event_id(&event, &id);
    bool has_guild = tg_event_guild_id(&event, &guild_id);
    require(i == 1 || (has_id == has_guild && id == guild_id));
    const json_t *field = json_object_get(json, "id");
    if (json_is_integer(field) && json_integer_value(field) > 0) /* -0 is none, and to jansson 0 */
      require(has_id && id == (uint64_t)json_integer_value(field));
    if (json_is_object(json) && !field)
      require(!has_id);
  }
  json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
  static struct tg_message_cache *cache;
  int64_t at;
  if (length == 0)
    return 0;
  if (!cache)
    cache = tg_message_cache_new(64);
  char *text = malloc(length); /* with nothing behind it */
  memcpy(text, bytes, length);
  struct tg_span data = {text, length};
  check_interaction(data);
  check_message(data, cache);
  check_ids(data);
  if (tg_timestamp_parse(text, length, &at))
    require(at > -62200000000000 && at < 253500000000000);
  free(text);
  return 0;
}
