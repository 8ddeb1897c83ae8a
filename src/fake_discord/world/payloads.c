#include "fake_discord/world/payloads.h"

#include "fake_discord/gateway/session.h"
#include "fake_discord/gateway/voice.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { AUTHORS = 64 };

/* The clock of messages: it follows from how many there were. 2026-02-03 04:05:06 UTC. */
static const uint64_t first_message_ms = 1770091506000 - 1420070400000;

uint64_t tg_fake_user_id(const struct tg_fake *fake, uint64_t index)
{
  return (140000000000 + index * 977) << 22 | (tg_fake_mix(fake, index ^ 0x75736572) & 0x3fffff);
}

static struct tg_fake_event *take(const char *name, struct tg_buf *data)
{
  struct tg_fake_event *event = tg_fake_event_new(name, data->data, data->length);
  tg_buf_free(data);
  return event;
}

static void write_user(const struct tg_fake *fake, uint64_t index, struct tg_buf *out)
{
  uint64_t id = tg_fake_user_id(fake, index), avatar = tg_fake_mix(fake, id);
  tg_buf_printf(
      out,
      "{\"id\":\"%" PRIu64 "\",\"username\":\"sailor_%" PRIu64 "\",\"discriminator\":\"0\","
      "\"global_name\":\"Sailor %" PRIu64 "\",\"avatar\":\"%016" PRIx64 "%016" PRIx64 "\","
      "\"public_flags\":0,\"avatar_decoration_data\":null,\"collectibles\":null,\"primary_guild\":null}",
      id, index, index, avatar, avatar * 31);
}

static void write_member_fields(const struct tg_fake *fake, uint64_t index, struct tg_buf *out)
{
  tg_buf_printf(out,
                "\"nick\":\"Sailor %" PRIu64 " of the watch\",\"avatar\":null,\"banner\":null,"
                "\"roles\":[\"%" PRIu64 "\"],\"joined_at\":\"2024-%02d-11T19:20:21.334000+00:00\","
                "\"premium_since\":null,\"deaf\":false,\"mute\":false,\"flags\":0,\"pending\":false,"
                "\"communication_disabled_until\":null,\"avatar_decoration_data\":null,\"collectibles\":null",
                index, tg_fake_user_id(fake, index) + 5, 1 + (int)(index % 12));
}

static void write_bot(struct tg_buf *out)
{
  tg_buf_puts(out, "{\"verified\":true,\"username\":\"" TG_FAKE_BOT_NAME "\",\"mfa_enabled\":true,"
                   "\"id\":\"" TG_FAKE_APPLICATION_ID "\",\"global_name\":null,\"flags\":0,\"email\":null,"
                   "\"discriminator\":\"1177\",\"bot\":true,\"avatar\":null}");
}

static void write_text(const struct tg_fake *fake, struct tg_buf *out, const char *key, const char *value)
{
  json_t *text = json_string(value);
  char *written = json_dumps(text, JSON_ENCODE_ANY |
                                       (fake->settings.escapes ? JSON_ESCAPE_SLASH | JSON_ENSURE_ASCII : 0));
  tg_buf_printf(out, ",\"%s\":%s", key, written);
  free(written);
  json_decref(text);
}

struct tg_fake_event *tg_fake_make_ready(struct tg_fake_session *session)
{
  struct tg_fake *fake = session->fake;
  const struct tg_fake_identify *identify = &session->identify;
  struct tg_buf out = {0};
  tg_buf_puts(&out, "{\"v\":10,\"user_settings\":{},\"user\":");
  write_bot(&out);
  const char *url = fake->settings.resume_url[0] ? fake->settings.resume_url : fake->gateway_url;
  tg_buf_puts(&out, ",\"session_type\":\"normal\"");
  if (fake->settings.session_id_size > 0)
    write_text(fake, &out, "session_id", session->id);
  write_text(fake, &out, "resume_gateway_url", url);
  tg_buf_puts(&out, ",\"relationships\":[],\"private_channels\":[],\"presences\":[],\"guilds\":[");
  size_t at = 0;
  struct tg_fake_guild *guild;
  while ((guild = tg_fake_guild_next(fake, identify->shard_id, identify->total, &at)))
    tg_buf_printf(&out, "%s{\"unavailable\":true,\"id\":\"%" PRIu64 "\"}", session->guilds++ ? "," : "",
                  guild->id);
  tg_buf_printf(&out,
                "],\"guild_join_requests\":[],\"geo_ordered_rtc_regions\":[\"rotterdam\"],"
                "\"game_relationships\":[],\"auth\":{},\"application\":{\"id\":\"" TG_FAKE_APPLICATION_ID
                "\",\"flags\":%d},\"shard\":[%d,%d],\"_trace\":[\"[\\\"fake\\\",{\\\"micros\\\":0.0}]\"]}",
                0x8a000, identify->shard_id, identify->total);
  struct tg_fake_event *event = take("READY", &out);
  event->once = true;
  return event;
}

struct tg_fake_event *tg_fake_make_resumed(void)
{
  static const char data[] = "{\"_trace\":[\"[\\\"fake\\\",{\\\"micros\\\":4493}]\"]}";
  struct tg_fake_event *event = tg_fake_event_new("RESUMED", data, sizeof data - 1);
  event->once = true;
  return event;
}

/* ---- guilds ---- */

static void write_channels(const struct tg_fake *fake, uint64_t guild_id, struct tg_buf *out)
{
  static const char *const names[] = {"harbour", "general", "log-book", "wheelhouse"};
  enum { NAMES = sizeof names / sizeof *names, HIDDEN = 1 << 17 };
  tg_buf_puts(out, "\"channels\":[");
  for (unsigned i = 0; i < NAMES; i++)
    tg_buf_printf(out,
                  "%s{\"version\":1755000000000,\"type\":%d,\"position\":%u,\"permission_overwrites\":[],"
                  "\"parent_id\":null,\"name\":\"%s\",\"id\":\"%" PRIu64 "\",\"flags\":0,\"topic\":null,"
                  "\"rate_limit_per_user\":0,\"nsfw\":false,\"last_message_id\":null}",
                  i ? "," : "", i == 3 ? 2 : 0, i, names[i], guild_id + 1 + i);
  for (unsigned i = 0; i < fake->settings.hidden_channels; i++)
    tg_buf_printf(out,
                  ",{\"version\":1755000000000,\"type\":0,\"position\":null,\"permission_overwrites\":null,"
                  "\"parent_id\":null,\"name\":\"___hidden___\",\"id\":\"%" PRIu64 "\",\"flags\":%d,"
                  "\"topic\":null,\"rate_limit_per_user\":null,\"nsfw\":null,\"last_message_id\":null}",
                  guild_id + 1 + NAMES + i, HIDDEN);
  tg_buf_puts(out, "],");
}

static void write_guild(struct tg_fake *fake, const struct tg_fake_guild *guild, bool lazy, size_t size,
                        struct tg_buf *out)
{
  uint64_t id = guild->id;
  tg_buf_printf(
      out,
      "{\"id\":\"%" PRIu64 "\",\"name\":\"Harbour %" PRIu64 "\",\"icon\":null,\"splash\":null,"
      "\"owner_id\":\"%" PRIu64 "\",\"region\":\"deprecated\",\"afk_timeout\":300,"
      "\"verification_level\":1,\"default_message_notifications\":1,\"explicit_content_filter\":2,"
      "\"roles\":[{\"version\":1755000000000,\"unicode_emoji\":null,\"tags\":{},\"position\":0,"
      "\"permissions\":\"2248473465835073\",\"name\":\"@everyone\",\"mentionable\":false,"
      "\"managed\":false,\"id\":\"%" PRIu64 "\",\"icon\":null,\"hoist\":false,\"flags\":0,\"color\":0}],"
      "\"emojis\":[],\"features\":[\"COMMUNITY\"],\"mfa_level\":0,\"system_channel_id\":\"%" PRIu64
      "\",\"max_members\":25000000,\"premium_tier\":0,\"preferred_locale\":\"en-US\",\"nsfw_level\":0,"
      "\"stickers\":[],\"joined_at\":\"2025-06-01T10:00:00.412000+00:00\",\"large\":false,\"lazy\":true,"
      "%s\"member_count\":%" PRId64 ",\"version\":1755000000000,\"voice_states\":[",
      id, (id >> 22) % 100000, tg_fake_user_id(fake, 0), id, id + 2, lazy ? "\"unavailable\":false," : "",
      fake->settings.members);
  tg_fake_voice_write(guild, out);
  tg_buf_puts(out, "],");
  write_channels(fake, id, out);
  tg_buf_puts(out, "\"members\":[{\"user\":");
  write_bot(out);
  tg_buf_puts(out, ",\"nick\":null,\"roles\":[],\"joined_at\":\"2025-06-01T10:00:00.412000+00:00\","
                   "\"deaf\":false,\"mute\":false,\"flags\":0}");
  for (uint64_t i = 0; out->length + 250 < size; i++) {
    tg_buf_puts(out, ",{\"user\":");
    write_user(fake, i, out);
    tg_buf_puts(out, ",");
    write_member_fields(fake, i, out);
    tg_buf_puts(out, "}");
  }
  tg_buf_puts(out, "],\"threads\":[],\"presences\":[],\"stage_instances\":[],\"guild_scheduled_events\":[],"
                   "\"soundboard_sounds\":[],\"embedded_activities\":[]}");
}

struct tg_fake_event *tg_fake_make_guild(struct tg_fake *fake, const struct tg_fake_guild *guild,
                                         enum tg_fake_guild_kind kind, size_t size)
{
  struct tg_buf out = {0};
  bool create = kind <= TG_FAKE_GUILD_STUB;
  if (kind == TG_FAKE_GUILD_LAZY || kind == TG_FAKE_GUILD_JOINED)
    write_guild(fake, guild, kind == TG_FAKE_GUILD_LAZY, size, &out);
  else if (kind == TG_FAKE_GUILD_LEFT)
    tg_buf_printf(&out, "{\"id\":\"%" PRIu64 "\"}", guild->id);
  else
    tg_buf_printf(&out, "{\"unavailable\":true,\"id\":\"%" PRIu64 "\"}", guild->id);
  struct tg_fake_event *event = take(create ? "GUILD_CREATE" : "GUILD_DELETE", &out);
  event->guild_id = guild->id;
  return event;
}

json_t *tg_fake_make_member(struct tg_fake *fake, uint64_t index)
{
  struct tg_buf out = {0};
  tg_buf_puts(&out, "{\"user\":");
  write_user(fake, index, &out);
  tg_buf_puts(&out, ",");
  write_member_fields(fake, index, &out);
  tg_buf_puts(&out, "}");
  json_t *member = json_loadb(out.data, out.length, 0, NULL);
  tg_buf_free(&out);
  return member;
}

/* ---- messages ---- */

/* With what a parser of JSON has to get right. */
static const char *const words[] = {
    "tide",
    "gate",
    "the",
    "harbour",
    "at",
    "dawn",
    "we",
    "moored",
    "and",
    "caf\xc3\xa9",
    "of",
    "anchors",
    "\\\"aye\\\"",
    "wind",
    "north",
    "a",
    "sail",
    "with",
    "\\ud83c\\udf0a",
    "swell",
    "under",
    "keel",
    "lantern",
    "to",
    "rope",
    "https://example.com/tides?day=1",
    "low",
    "high",
    "\\n- ",
    "water",
    "\xe2\x9a\x93",
    "crew",
};

_Static_assert(sizeof words / sizeof *words == 32, "five random bits choose a word");

static void write_words(uint64_t seed, size_t length, struct tg_buf *out)
{
  size_t end = out->length + length;
  uint64_t state = seed | 1;
  while (out->length < end) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    const char *word = words[state >> 59];
    tg_buf_append(out, word, strlen(word));
    tg_buf_append(out, " ", 1);
    if ((state & 0x700) == 0)
      tg_buf_printf(out, "%04x ", (unsigned)(state >> 32) & 0xffff);
  }
}

static void write_time(uint64_t message, struct tg_buf *out)
{
  uint64_t ms = message % 86400000;
  tg_buf_printf(out, "\"2026-02-%02uT%02u:%02u:%02u.%03u000+00:00\"", 3 + (unsigned)(message / 86400000 % 25),
                (unsigned)(ms / 3600000), (unsigned)(ms / 60000 % 60), (unsigned)(ms / 1000 % 60),
                (unsigned)(ms % 1000));
}

void tg_fake_write_message(struct tg_fake *fake, const struct tg_fake_message *message, struct tg_buf *out)
{
  size_t begin = out->length;
  uint64_t random = tg_fake_mix(fake, message->guild_id ^ message->number << 20);
  uint64_t author = random % AUTHORS, id = first_message_ms + message->number;
  tg_buf_puts(out, "{\"type\":0,\"tts\":false,\"timestamp\":");
  write_time(message->number, out);
  tg_buf_printf(out,
                ",\"pinned\":false,\"mentions\":[],\"mention_roles\":[],\"mention_everyone\":false,"
                "\"id\":\"%" PRIu64
                "\",\"flags\":0,\"embeds\":[],\"edited_timestamp\":null,\"components\":[],"
                "\"channel_type\":0,\"channel_id\":\"%" PRIu64 "\",\"author\":",
                id << 22 | (random >> 42), message->guild_id + 2);
  write_user(fake, author, out);
  tg_buf_puts(out, ",\"attachments\":[],\"member\":{");
  write_member_fields(fake, author, out);
  tg_buf_printf(out, "},\"nonce\":\"%" PRIu64 ":%" PRIu64 "\",\"guild_id\":\"%" PRIu64 "\",\"content\":\"",
                message->guild_id, message->number, message->guild_id);
  if (!message->blank) {
    tg_buf_printf(out, "%" PRIu64 ":%" PRIu64 " shard %d #%" PRIu64 " ", message->guild_id, message->number,
                  message->shard, message->shard_number);
    size_t so_far = out->length - begin + 2;
    if (so_far < message->size) {
      /* Sizes vary as they do in life: between half and one and a half of the rest. */
      size_t rest = message->size - so_far;
      write_words(random, rest / 2 + (size_t)(random >> 20) % (rest + 1), out);
    }
  }
  tg_buf_puts(out, "\"");
  if (fake->settings.stamped)
    tg_buf_printf(out, ",\"stamp\":%" PRIu64, uv_hrtime() / 1000);
  tg_buf_puts(out, "}");
}

struct tg_fake_event *tg_fake_make_message(struct tg_fake *fake, const struct tg_fake_message *message)
{
  struct tg_buf out = {0};
  tg_fake_write_message(fake, message, &out);
  struct tg_fake_event *event = take("MESSAGE_CREATE", &out);
  event->number = message->shard_number;
  event->guild_id = message->guild_id;
  return event;
}

/* ---- interactions ---- */

static const char *data_of(int type)
{
  switch (type) {
  case 2:
    return "{\"type\":1,\"options\":[{\"name\":\"berth\",\"type\":4,\"value\":12}],\"name\":\"moor\","
           "\"id\":\"1189000000000000101\"}";
  case 3:
    return "{\"id\":2,\"custom_id\":\"moor:confirm:12\",\"component_type\":2}";
  case 4:
    return "{\"type\":1,\"options\":[{\"name\":\"note\",\"type\":3,\"value\":\"por\",\"focused\":true}],"
           "\"name\":\"moor\",\"id\":\"1189000000000000101\"}";
  default:
    return "{\"custom_id\":\"moor:note:12\",\"components\":[{\"type\":18,\"id\":1,\"component\":"
           "{\"type\":4,\"id\":2,\"custom_id\":\"note\",\"value\":\"New fenders.\\nCheck on Friday.\"}}]}";
  }
}

struct tg_fake_event *tg_fake_make_interaction(struct tg_fake *fake, int type, uint64_t guild_id,
                                               const char *id, const char *token)
{
  struct tg_buf out = {0};
  tg_buf_printf(&out,
                "{\"version\":1,\"type\":%d,\"token\":\"%s\",\"id\":\"%s\",\"locale\":\"en-US\","
                "\"entitlements\":[],\"entitlement_sku_ids\":[],\"data\":%s,\"context\":%d,"
                "\"attachment_size_limit\":10485760,\"application_id\":\"" TG_FAKE_APPLICATION_ID
                "\",\"app_permissions\":\"277025508352\",",
                type, token, id, data_of(type), guild_id ? 0 : 1);
  if (guild_id) {
    tg_buf_printf(&out,
                  "\"guild_locale\":\"en-US\",\"guild_id\":\"%" PRIu64 "\",\"channel_id\":\"%" PRIu64 "\","
                  "\"guild\":{\"locale\":\"en-US\",\"id\":\"%" PRIu64 "\",\"features\":[]},"
                  "\"authorizing_integration_owners\":{\"0\":\"%" PRIu64 "\"},\"member\":{\"user\":",
                  guild_id, guild_id + 2, guild_id, guild_id);
    write_user(fake, 1, &out);
    tg_buf_puts(&out, ",");
    write_member_fields(fake, 1, &out);
    tg_buf_puts(&out, ",\"permissions\":\"2248473465835073\"}");
  } else {
    tg_buf_puts(&out,
                "\"channel_id\":\"1189000000000000201\",\"authorizing_integration_owners\":{\"0\":\"0\"},"
                "\"user\":");
    write_user(fake, 1, &out);
  }
  if (type == 3 || type == 5)
    tg_buf_puts(&out, ",\"message\":{\"type\":0,\"id\":\"1189000000000000301\",\"content\":\"Pick a berth\","
                      "\"embeds\":[],\"components\":[],\"attachments\":[]}");
  tg_buf_puts(&out, "}");
  struct tg_fake_event *event = take("INTERACTION_CREATE", &out);
  event->guild_id = guild_id;
  return event;
}
