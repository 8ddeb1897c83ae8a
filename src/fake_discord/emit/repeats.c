#include "fake_discord/emit/repeats.h"

#include "base/buf.h"
#include "fake_discord/emit/differ.h"
#include "fake_discord/gateway/session.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/payloads.h"
#include "fake_discord/world/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT_MAX = 100000 };

static const char *const names[TG_FAKE_REPEATS] = {"PRESENCE_UPDATE", "VOICE_STATE_UPDATE", "TYPING_START"};

static struct tg_fake_event *make(struct tg_fake *fake, const struct tg_fake_guild *guild, int kind, int user)
{
  uint64_t id = tg_fake_user_id(fake, (uint64_t)user);
  struct tg_buf out = {0};
  if (kind == 0)
    tg_buf_printf(&out,
                  "{\"user\":{\"id\":\"%" PRIu64 "\"},\"status\":\"online\",\"guild_id\":\"%" PRIu64 "\","
                  "\"client_status\":{\"desktop\":\"online\"},\"broadcast\":null,\"activities\":[]}",
                  id, guild->id);
  else if (kind == 1)
    tg_buf_printf(&out,
                  "{\"user_id\":\"%" PRIu64 "\",\"suppress\":false,\"session_id\":\"%016" PRIx64 "\","
                  "\"self_video\":false,\"self_mute\":false,\"self_deaf\":false,"
                  "\"request_to_speak_timestamp\":null,\"mute\":false,\"guild_id\":\"%" PRIu64 "\","
                  "\"deaf\":false,\"channel_id\":\"%" PRIu64 "\"}",
                  id, tg_fake_mix(fake, id), guild->id, guild->id + 4);
  else
    tg_buf_printf(&out,
                  "{\"user_id\":\"%" PRIu64 "\",\"timestamp\":1787234100,\"guild_id\":\"%" PRIu64 "\","
                  "\"channel_id\":\"%" PRIu64 "\"}",
                  id, guild->id, guild->id + 2);
  struct tg_fake_event *event = tg_fake_event_new(names[kind], out.data, out.length);
  event->guild_id = guild->id;
  tg_buf_free(&out);
  return event;
}

/* False: nobody is there who wants it, or somebody has no room. */
static bool is_wanted(struct tg_fake *fake, const struct tg_fake_guild *guild, int kind)
{
  size_t step = 0;
  struct tg_fake_session *session = NULL;
  bool wanted = false;
  while ((session = tg_fake_route_next(fake, guild->id, &step, session))) {
    if (!tg_fake_session_has_room(session))
      return false;
    wanted = wanted || (guild->out_for != session->identify.total &&
                        tg_fake_event_wanted(names[kind], true, session->identify.intents));
  }
  return wanted;
}

static void give_to_all(struct tg_fake *fake, struct tg_fake_guild *guild, int kind, int user)
{
  struct tg_fake_event *event = make(fake, guild, kind, user);
  size_t step = 0;
  struct tg_fake_session *session = NULL;
  while ((session = tg_fake_route_next(fake, guild->id, &step, session)))
    if (guild->out_for != session->identify.total &&
        tg_fake_event_wanted(names[kind], true, session->identify.intents))
      tg_fake_give(session, event);
  tg_fake_event_unref(event);
  guild->repeated[kind][user]++;
}

void tg_fake_repeat_any(struct tg_fake *fake)
{
  if (fake->guilds->count == 0)
    return;
  uint64_t random = tg_fake_random(fake);
  struct tg_fake_guild *guild = &fake->guilds->all[random % fake->guilds->count];
  int kind = (int)(random >> 40) % TG_FAKE_REPEATS, user = (int)(random >> 50) % TG_FAKE_REPEATED_USERS;
  if (!guild->left && is_wanted(fake, guild, kind))
    give_to_all(fake, guild, kind, user);
}

json_t *tg_fake_emit_repeats(struct tg_fake *fake, const json_t *request, struct tg_error *error)
{
  static const char *const keys[] = {"repeat", "guild", "user", "count", NULL};
  if (!tg_fake_check_keys(request, keys, error))
    return NULL;
  const char *name = NULL, *id = NULL;
  int user = 0, count = 1, kind = 0;
  bool fits = json_unpack((json_t *)(uintptr_t)request, "{s:s, s:s, s?i, s?i}", "repeat", &name, "guild", &id,
                          "user", &user, "count", &count) == 0;
  while (fits && kind < TG_FAKE_REPEATS && strcmp(names[kind], name) != 0)
    kind++;
  if (!fits || kind == TG_FAKE_REPEATS || user < 0 || user >= TG_FAKE_REPEATED_USERS || count < 1 ||
      count > COUNT_MAX)
    return tg_fail(
               error, "type",
               "repeat: expected PRESENCE_UPDATE, VOICE_STATE_UPDATE or TYPING_START, with a guild, perhaps "
               "user (0 or 1) and count (1 to %d)",
               COUNT_MAX),
           NULL;
  struct tg_fake_guild *guild = tg_fake_guild_find(fake, strtoull(id, NULL, 10));
  if (!guild || !is_wanted(fake, guild, kind))
    return tg_fail(error, "none", "nobody is there to get it, or wants it, or has room"), NULL;
  for (int i = 0; i < count; i++)
    give_to_all(fake, guild, kind, user);
  return json_pack("{s:i}", "events", count);
}

json_t *tg_fake_repeats_to_json(const struct tg_fake *fake)
{
  json_t *result = json_array();
  for (size_t i = 0; i < fake->guilds->count; i++) {
    const struct tg_fake_guild *guild = &fake->guilds->all[i];
    char id[24], user_id[24];
    snprintf(id, sizeof id, "%" PRIu64, guild->id);
    for (int kind = 0; kind < TG_FAKE_REPEATS; kind++)
      for (int user = 0; user < TG_FAKE_REPEATED_USERS; user++) {
        if (guild->repeated[kind][user] == 0)
          continue;
        snprintf(user_id, sizeof user_id, "%" PRIu64, tg_fake_user_id(fake, (uint64_t)user));
        json_array_append_new(result,
                              json_pack("{s:s, s:s, s:s, s:I}", "event", names[kind], "guild", id, "user",
                                        user_id, "count", (json_int_t)guild->repeated[kind][user]));
      }
  }
  return result;
}

void tg_fake_repeats_reset(struct tg_fake *fake)
{
  for (size_t i = 0; i < fake->guilds->count; i++)
    memset(fake->guilds->all[i].repeated, 0, sizeof fake->guilds->all[i].repeated);
}
