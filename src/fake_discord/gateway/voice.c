#include "fake_discord/gateway/voice.h"

#include "fake_discord/world/event.h"
#include "fake_discord/world/journal.h"
#include "fake_discord/world/payloads.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *id_json(uint64_t id)
{
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, id);
  return id ? json_string(text) : json_null();
}

static json_t *state_of(const struct tg_fake_guild *guild, const struct tg_fake_session *session)
{
  return json_pack("{s:s, s:o, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:n}", "user_id", TG_FAKE_APPLICATION_ID,
                   "channel_id", id_json(guild->voice.channel), "session_id", session->id, "self_mute",
                   guild->voice.self_mute, "self_deaf", guild->voice.self_deaf, "self_video", 0, "mute", 0,
                   "deaf", 0, "suppress", 0, "request_to_speak_timestamp");
}

/* To all who see the guild, whatever their number of shards. */
static void tell(struct tg_fake *fake, const struct tg_fake_guild *guild, const struct tg_fake_session *of)
{
  json_t *d = state_of(guild, of);
  json_object_set_new(d, "guild_id", id_json(guild->id));
  char *text = json_dumps(d, JSON_COMPACT);
  json_decref(d);
  struct tg_fake_event *event = tg_fake_event_new("VOICE_STATE_UPDATE", text, strlen(text));
  free(text);
  event->guild_id = guild->id;
  size_t step = 0;
  struct tg_fake_session *session = NULL;
  while ((session = tg_fake_route_next(fake, guild->id, &step, session)))
    if (tg_fake_event_wanted(event->name, true, session->identify.intents))
      tg_fake_session_append(session, event);
  tg_fake_event_unref(event);
}

void tg_fake_voice_set(struct tg_fake_session *session, struct tg_fake_guild *guild, uint64_t channel,
                       bool self_mute, bool self_deaf)
{
  if (guild->voice.session)
    guild->voice.session->voices--;
  guild->voice.session = channel ? session : NULL;
  guild->voice.channel = channel;
  guild->voice.self_mute = self_mute;
  guild->voice.self_deaf = self_deaf;
  session->voices += channel ? 1 : 0;
  tell(session->fake, guild, session);
}

void tg_fake_voice_end(struct tg_fake_session *session)
{
  struct tg_fake *fake = session->fake;
  for (size_t i = 0; i < fake->guilds->count && session->voices > 0; i++) {
    struct tg_fake_guild *guild = &fake->guilds->all[i];
    if (guild->voice.session != session)
      continue;
    session->voices--;
    guild->voice.session = NULL;
    guild->voice.channel = 0;
    tg_fake_note(fake, TG_FAKE_LIST_voices_dropped,
                 json_pack("{s:o, s:s, s:i, s:i}", "guild", id_json(guild->id), "session_id", session->id,
                           "shard", session->identify.shard_id, "total", session->identify.total));
    tell(fake, guild, session);
  }
}

void tg_fake_voice_write(const struct tg_fake_guild *guild, struct tg_buf *out)
{
  if (!guild->voice.session)
    return;
  json_t *state = state_of(guild, guild->voice.session);
  char *text = json_dumps(state, JSON_COMPACT);
  tg_buf_puts(out, text);
  free(text);
  json_decref(state);
}
