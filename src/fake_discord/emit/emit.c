#include "fake_discord/emit/emit.h"

#include "fake_discord/emit/differ.h"
#include "fake_discord/emit/emit_numbered.h"
#include "fake_discord/emit/interactions.h"
#include "fake_discord/emit/repeats.h"
#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/session.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/payloads.h"
#include "fake_discord/world/target.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tg_fake_dispatch_to_guild(struct tg_fake *fake, uint64_t guild_id, int64_t total,
                              struct tg_fake_event *event)
{
  int count = 0;
  size_t step = 0;
  struct tg_fake_session *session = NULL;
  const struct tg_fake_guild *guild = tg_fake_guild_find(fake, guild_id);
  while ((session = tg_fake_route_next(fake, guild_id, &step, session))) {
    if ((total >= 0 && total != session->identify.total) ||
        (guild && guild->out_for == session->identify.total))
      continue;
    count += tg_fake_give(session, event);
  }
  return count;
}

static json_t *nobody(struct tg_error *error)
{
  tg_fail(error, "none", "no session matches: nobody is there to get it");
  return NULL;
}

static bool read_guild_id(const json_t *value, uint64_t *id)
{
  const char *text = json_string_value(value);
  if (!text || strspn(text, "0123456789") != strlen(text) || !*text)
    return false;
  *id = strtoull(text, NULL, 10);
  return true;
}

/* ---- any event ---- */

static int dispatch_to(struct tg_fake *fake, const struct tg_fake_target *target, struct tg_fake_event *event)
{
  int count = 0;
  struct tg_fake_session *session;
  LIST_FOREACH(session, &fake->sessions, link)
  if (tg_fake_target_has_shard(target, session->identify.shard_id, session->identify.total))
    count += tg_fake_give(session, event);
  return count;
}

static json_t *emit_event(struct tg_fake *fake, const json_t *request, const struct tg_fake_target *target,
                          struct tg_error *error)
{
  static const char *const keys[] = {"event", "t", "d", "guild", "count", NULL};
  const char *name = json_string_value(json_object_get(request, "event"));
  const json_t *times = json_object_get(request, "count");
  if (!tg_fake_check_keys(request, keys, error))
    return NULL;
  if (!name || strlen(name) > 60 || strpbrk(name, "\"\\"))
    return tg_fail(error, "type", "event: expected the name of an event"), NULL;
  if (times && (!json_is_integer(times) || json_integer_value(times) < 1))
    return tg_fail(error, "type", "count: expected a whole number from 1"), NULL;
  const json_t *d = json_object_get(request, "d");
  char *text = d ? json_dumps(d, JSON_COMPACT | JSON_ENCODE_ANY) : strdup("{}");
  const char *t = json_string_value(json_object_get(request, "t"));
  struct tg_fake_event *event = tg_fake_event_new_as(name, t, text, strlen(text));
  free(text);
  uint64_t guild_id = 0;
  bool given = read_guild_id(json_object_get(request, "guild"), &guild_id);
  bool told = !given && read_guild_id(json_object_get(d, "guild_id"), &guild_id);
  event->guild_id = guild_id;
  int count = 0;
  for (json_int_t i = times ? json_integer_value(times) : 1; i > 0; i--)
    count = given || (told && target->any_shard)
                ? tg_fake_dispatch_to_guild(fake, guild_id, target->total, event)
                : dispatch_to(fake, target, event);
  tg_fake_event_unref(event);
  return count ? json_pack("{s:i}", "sessions", count) : nobody(error);
}

static json_t *emit_text(struct tg_fake *fake, const json_t *request, const struct tg_fake_target *target,
                         struct tg_error *error)
{
  static const char *const keys[] = {"text", NULL};
  const json_t *text = json_object_get(request, "text");
  if (!tg_fake_check_keys(request, keys, error))
    return NULL;
  if (!json_is_string(text))
    return tg_fail(error, "type", "text: expected the text of a gateway message"), NULL;
  int count = 0;
  struct tg_fake_conn *conn;
  LIST_FOREACH(conn, &fake->conns, link)
  if (conn->state < TG_FAKE_CLOSING && tg_fake_target_has_conn(target, conn)) {
    tg_fake_conn_send(conn, json_string_value(text), json_string_length(text));
    count++;
  }
  return count ? json_pack("{s:i}", "connections", count) : nobody(error);
}

/* ---- guilds ---- */

static const char *const kinds[] = {
    [TG_FAKE_GUILD_LAZY] = "available", [TG_FAKE_GUILD_JOINED] = "joined", [TG_FAKE_GUILD_STUB] = "stub",
    [TG_FAKE_GUILD_OUTAGE] = "outage",  [TG_FAKE_GUILD_LEFT] = "left",
};

static int kind_of(const char *name)
{
  for (size_t i = 0; name && i < sizeof kinds / sizeof *kinds; i++)
    if (strcmp(kinds[i], name) == 0)
      return (int)i;
  return -1;
}

/* An id that nobody has yet, on the shard that is meant. */
static uint64_t new_guild_id(struct tg_fake *fake, const struct tg_fake_target *target)
{
  uint64_t total = (uint64_t)(target->total < 0 ? fake->options->settings.shards : target->total);
  uint64_t shard = target->shard < 0 ? 0 : (uint64_t)target->shard % total;
  uint64_t last = fake->guilds->all[0].id >> 22;
  for (size_t i = 0; i < fake->guilds->count; i++)
    if (fake->guilds->all[i].id >> 22 > last)
      last = fake->guilds->all[i].id >> 22;
  uint64_t next = last + 1;
  while (next % total != shard)
    next++;
  return next << 22 | (tg_fake_mix(fake, next) & 0x3fffff);
}

/* Outages may be for one number of shards alone; who joins or leaves does so for all. */
static int announce_guild(struct tg_fake *fake, struct tg_fake_guild *guild, enum tg_fake_guild_kind kind,
                          int64_t total, struct tg_fake_event *event)
{
  bool out = kind == TG_FAKE_GUILD_OUTAGE || kind == TG_FAKE_GUILD_STUB;
  uint64_t id = guild->id;
  if (kind == TG_FAKE_GUILD_JOINED || kind == TG_FAKE_GUILD_LEFT)
    total = -1;
  if (total < 0)
    guild->unavailable = out;
  if (total < 0 || guild->out_for == total)
    guild->out_for = 0;
  guild->left = kind == TG_FAKE_GUILD_LEFT;
  int count = tg_fake_dispatch_to_guild(fake, id, total, event);
  if (out && total >= 0)
    guild->out_for = (int)total;
  return count;
}

static json_t *emit_guild(struct tg_fake *fake, const json_t *request, const struct tg_fake_target *target,
                          struct tg_error *error)
{
  static const char *const keys[] = {"guild", "kind", "bytes", NULL};
  if (!tg_fake_check_keys(request, keys, error))
    return NULL;
  int kind = kind_of(json_string_value(json_object_get(request, "kind")));
  if (kind < 0)
    return tg_fail(error, "type", "kind: expected available, joined, stub, outage or left"), NULL;
  const json_t *bytes = json_object_get(request, "bytes");
  uint64_t id;
  struct tg_fake_guild *guild = NULL;
  if (read_guild_id(json_object_get(request, "guild"), &id))
    guild = tg_fake_guild_find(fake, id);
  else
    id = new_guild_id(fake, target);
  if (!guild && kind != TG_FAKE_GUILD_JOINED)
    return tg_fail(error, "guild", "the bot is not in that guild"), NULL;
  if (!guild)
    guild = tg_fake_guild_add(fake, id);
  struct tg_fake_event *event =
      tg_fake_make_guild(fake, guild, (enum tg_fake_guild_kind)kind, (size_t)json_integer_value(bytes));
  int count = announce_guild(fake, guild, (enum tg_fake_guild_kind)kind, target->total, event);
  tg_fake_event_unref(event);
  char text[24];
  snprintf(text, sizeof text, "%" PRIu64, id);
  return json_pack("{s:i, s:s}", "sessions", count, "guild", text);
}

json_t *tg_fake_emit(struct tg_fake *fake, const json_t *request, struct tg_error *error)
{
  struct tg_fake_target target;
  if (!json_is_object(request))
    return tg_fail(error, "type", "expected a JSON object"), NULL;
  if (!tg_fake_target_parse(request, &target, error))
    return NULL;
  if (json_object_get(request, "repeat"))
    return tg_fake_emit_repeats(fake, request, error);
  if (json_object_get(request, "event"))
    return emit_event(fake, request, &target, error);
  if (json_object_get(request, "text"))
    return emit_text(fake, request, &target, error);
  if (json_object_get(request, "kind"))
    return emit_guild(fake, request, &target, error);
  if (json_object_get(request, "interaction"))
    return tg_fake_emit_interaction(fake, request, &target, error);
  return tg_fake_emit_numbered(fake, request, &target, error);
}
