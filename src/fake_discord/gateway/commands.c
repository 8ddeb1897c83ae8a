#include "fake_discord/gateway/commands.h"

#include "fake_discord/gateway/session.h"
#include "fake_discord/gateway/voice.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/journal.h"
#include "fake_discord/world/payloads.h"
#include "proto/intents.h"
#include "proto/payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1000, PREFIX_MAX = 100, NONCE_MAX = 32 };

static void record(struct tg_fake_conn *conn, int op, const json_t *d, const char *result)
{
  tg_fake_note(conn->fake, TG_FAKE_LIST_commands,
               json_pack("{s:i, s:i, s:i, s:i, s:O?, s:s}", "connection", (int)conn->id, "shard",
                         conn->shard_id, "total", conn->total, "op", op, "d", d, "result", result));
}

static bool read_id(const json_t *value, uint64_t *id)
{
  const char *text = json_string_value(value);
  if (json_is_integer(value)) {
    *id = (uint64_t)json_integer_value(value);
    return json_integer_value(value) > 0;
  }
  if (!text || !*text || strlen(text) > 20 || strspn(text, "0123456789") != strlen(text))
    return false;
  *id = strtoull(text, NULL, 10);
  return true;
}

static void dispatch(struct tg_fake_conn *conn, const char *name, json_t *d)
{
  if (!conn->session) { /* an earlier answer has ended it */
    json_decref(d);
    return;
  }
  uint64_t guild_id = 0;
  read_id(json_object_get(d, "guild_id"), &guild_id);
  char *text = json_dumps(d, JSON_COMPACT);
  json_decref(d);
  struct tg_fake_event *event = tg_fake_event_new(name, text, strlen(text));
  free(text);
  event->guild_id = guild_id;
  tg_fake_session_append(conn->session, event);
  tg_fake_event_unref(event);
}

/* NULL: not a guild of this shard. */
static struct tg_fake_guild *guild_here(struct tg_fake_conn *conn, uint64_t id)
{
  struct tg_fake_guild *guild = tg_fake_guild_find(conn->fake, id);
  if (!guild || (id >> 22) % (uint64_t)conn->total != (uint64_t)conn->shard_id)
    return NULL;
  return guild;
}

/* ---- op 3 ---- */

static const char *judge_presence(const json_t *d)
{
  const json_t *since = json_object_get(d, "since"), *activities = json_object_get(d, "activities"),
               *status = json_object_get(d, "status"), *afk = json_object_get(d, "afk");
  static const char *const statuses[] = {"online", "dnd", "idle", "invisible", "offline"};
  if (!json_is_object(d) || !(json_is_null(since) || json_is_integer(since)) || !json_is_array(activities) ||
      !json_is_boolean(afk))
    return "op 3 needs since, activities, status and afk";
  bool known = false;
  for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
    known = known || (json_is_string(status) && strcmp(json_string_value(status), statuses[i]) == 0);
  if (!known)
    return "op 3: unknown status";
  size_t i;
  json_t *activity;
  json_array_foreach(activities, i,
                     activity) if (!json_is_string(json_object_get(activity, "name")) ||
                                   !json_is_integer(json_object_get(
                                       activity, "type"))) return "op 3: an activity needs name and type";
  return NULL;
}

static void on_presence(struct tg_fake_conn *conn, const json_t *d)
{
  const struct tg_fake_settings *settings = &conn->fake->settings;
  uint64_t limit = (uint64_t)settings->presence_limit;
  tg_ms now = tg_fake_at(conn->fake);
  bool excess = conn->presences >= limit &&
                now - conn->presences_at[(conn->presences - limit) % TG_FAKE_PRESENCES_KEPT] <
                    settings->presence_window;
  record(conn, TG_OP_PRESENCE_UPDATE, d, excess ? "dropped" : "ok");
  if (excess) {
    tg_fake_violation(conn->fake, conn, "presence_limit", "dropped",
                      "more than %" PRId64 " in %" PRId64 " ms", settings->presence_limit,
                      settings->presence_window);
    return;
  }
  conn->presences_at[conn->presences++ % TG_FAKE_PRESENCES_KEPT] = now;
}

/* ---- op 4 ---- */

static const char *judge_voice(const json_t *d)
{
  uint64_t id;
  const json_t *channel = json_object_get(d, "channel_id");
  if (!json_is_object(d) || !read_id(json_object_get(d, "guild_id"), &id) ||
      !(json_is_null(channel) || read_id(channel, &id)) ||
      !json_is_boolean(json_object_get(d, "self_mute")) || !json_is_boolean(json_object_get(d, "self_deaf")))
    return "op 4 needs guild_id, channel_id, self_mute and self_deaf";
  return NULL;
}

static void on_voice(struct tg_fake_conn *conn, const json_t *d)
{
  uint64_t id;
  read_id(json_object_get(d, "guild_id"), &id);
  struct tg_fake_guild *guild = guild_here(conn, id);
  record(conn, TG_OP_VOICE_STATE_UPDATE, d, guild ? "ok" : "no answer");
  if (!guild)
    return;
  char guild_id[24];
  snprintf(guild_id, sizeof guild_id, "%" PRIu64, id);
  const json_t *channel = json_object_get(d, "channel_id");
  uint64_t channel_id = 0;
  if (!json_is_null(channel))
    read_id(channel, &channel_id);
  tg_fake_voice_set(conn->session, guild, channel_id, json_is_true(json_object_get(d, "self_mute")),
                    json_is_true(json_object_get(d, "self_deaf")));
  if (channel_id)
    dispatch(conn, "VOICE_SERVER_UPDATE",
             json_pack("{s:s, s:s, s:s}", "token", "fake-voice-token", "guild_id", guild_id, "endpoint",
                       "voice.example:443"));
}

/* ---- op 8 ---- */

static const char *judge_members(const json_t *d)
{
  uint64_t id;
  const json_t *query = json_object_get(d, "query"), *ids = json_object_get(d, "user_ids"),
               *limit = json_object_get(d, "limit");
  if (!json_is_object(d) || !read_id(json_object_get(d, "guild_id"), &id))
    return "op 8 needs guild_id";
  if (!query == !ids)
    return "op 8 needs exactly one of query and user_ids";
  if (query && (!json_is_string(query) || !json_is_integer(limit) || json_integer_value(limit) < 0))
    return "op 8: query needs a limit";
  if (!ids)
    return NULL;
  if (!json_is_array(ids))
    return read_id(ids, &id) ? NULL : "op 8: user_ids has something that is no id";
  if (json_array_size(ids) > PREFIX_MAX)
    return "op 8: more than 100 user_ids";
  size_t i;
  json_t *value;
  json_array_foreach(ids, i,
                     value) if (!read_id(value, &id)) return "op 8: user_ids has something that is no id";
  return NULL;
}

/* Puts the member into `members`, or the id into `not_found`. */
static void look_up(struct tg_fake *fake, const json_t *user_id, json_t *members, json_t *not_found)
{
  uint64_t id;
  read_id(user_id, &id);
  for (uint64_t i = 0; i < (uint64_t)fake->settings.members; i++)
    if (tg_fake_user_id(fake, i) == id) {
      json_array_append_new(members, tg_fake_make_member(fake, i));
      return;
    }
  json_array_append(not_found, (json_t *)(uintptr_t)user_id);
}

static void send_chunks(struct tg_fake_conn *conn, const json_t *d, json_t *members, json_t *not_found)
{
  size_t total = json_array_size(members), chunks = total ? (total + CHUNK - 1) / CHUNK : 1;
  const char *nonce = json_string_value(json_object_get(d, "nonce"));
  bool presences = json_is_true(json_object_get(d, "presences")) &&
                   (conn->session->identify.intents & TG_INTENT_GUILD_PRESENCES);
  for (size_t chunk = 0; chunk < chunks; chunk++) {
    json_t *part = json_array();
    for (size_t i = chunk * CHUNK; i < total && i < (chunk + 1) * CHUNK; i++)
      json_array_append(part, json_array_get(members, i));
    json_t *answer = json_pack("{s:O, s:o, s:i, s:i}", "guild_id", json_object_get(d, "guild_id"), "members",
                               part, "chunk_index", (int)chunk, "chunk_count", (int)chunks);
    if (json_array_size(not_found) > 0)
      json_object_set(answer, "not_found", not_found);
    if (presences)
      json_object_set_new(answer, "presences", json_array());
    if (nonce && strlen(nonce) <= NONCE_MAX)
      json_object_set_new(answer, "nonce", json_string(nonce));
    dispatch(conn, "GUILD_MEMBERS_CHUNK", answer);
  }
  json_decref(members);
  json_decref(not_found);
}

static void send_rate_limited(struct tg_fake_conn *conn, const json_t *d, tg_ms left)
{
  json_t *meta = json_pack("{s:O}", "guild_id", json_object_get(d, "guild_id"));
  if (json_object_get(d, "nonce") && conn->fake->settings.limited_nonce)
    json_object_set(meta, "nonce", json_object_get(d, "nonce"));
  dispatch(conn, "RATE_LIMITED",
           json_pack("{s:f, s:i, s:o}", "retry_after", (double)left / 1000, "opcode", 8, "meta", meta));
}

static void on_members(struct tg_fake_conn *conn, const json_t *d)
{
  struct tg_fake *fake = conn->fake;
  uint64_t id;
  read_id(json_object_get(d, "guild_id"), &id);
  const char *query = json_string_value(json_object_get(d, "query"));
  json_int_t limit = json_integer_value(json_object_get(d, "limit"));
  bool all = query && *query == '\0' && limit == 0;
  struct tg_fake_guild *guild = guild_here(conn, id);
  if (!guild && strcmp(fake->settings.members_wrong_guild, "4001") == 0) {
    record(conn, TG_OP_REQUEST_GUILD_MEMBERS, d, "4001");
    tg_fake_violation(fake, conn, "members_guild", "4001", "op 8 for a guild that is not on this shard");
    tg_fake_conn_close(conn, 4001, "Unknown opcode.");
    return;
  }
  if (!guild || (all && !(conn->session->identify.intents & TG_INTENT_GUILD_MEMBERS))) {
    record(conn, TG_OP_REQUEST_GUILD_MEMBERS, d, "no answer");
    return;
  }
  tg_ms now = tg_fake_at(fake), free_at = guild->members_asked + fake->settings.members_window;
  if (all && guild->members_asked > 0 && now < free_at) {
    record(conn, TG_OP_REQUEST_GUILD_MEMBERS, d, "rate limited");
    send_rate_limited(conn, d, free_at - now);
    return;
  }
  if (all)
    guild->members_asked = now > 0 ? now : 1;
  record(conn, TG_OP_REQUEST_GUILD_MEMBERS, d, "ok");
  json_t *members = json_array(), *not_found = json_array(), *ids = json_object_get(d, "user_ids"), *user_id;
  size_t i;
  json_array_foreach(ids, i, user_id) look_up(fake, user_id, members, not_found);
  if (ids && !json_is_array(ids))
    look_up(fake, ids, members, not_found);
  /* All names begin with "Sailor ". */
  if (query && strncasecmp("sailor ", query, strlen(query)) == 0) {
    json_int_t most = all ? fake->settings.members : limit == 0 || limit > PREFIX_MAX ? PREFIX_MAX : limit;
    for (json_int_t n = 0; n < most && n < fake->settings.members; n++)
      json_array_append_new(members, tg_fake_make_member(fake, (uint64_t)n));
  }
  send_chunks(conn, d, members, not_found);
}

/* ---- op 31, 43 ---- */

static const char *judge_sounds(const json_t *d)
{
  const json_t *ids = json_object_get(d, "guild_ids");
  uint64_t id;
  if (!json_is_array(ids))
    return "op 31 needs guild_ids";
  size_t i;
  json_t *value;
  json_array_foreach(ids, i,
                     value) if (!read_id(value, &id)) return "op 31: guild_ids has something that is no id";
  return NULL;
}

static void on_sounds(struct tg_fake_conn *conn, const json_t *d)
{
  record(conn, TG_OP_REQUEST_SOUNDBOARD_SOUNDS, d, "ok");
  size_t i;
  json_t *value;
  json_array_foreach(json_object_get(d, "guild_ids"), i, value)
  {
    uint64_t id;
    if (read_id(value, &id) && guild_here(conn, id))
      dispatch(conn, "SOUNDBOARD_SOUNDS",
               json_pack("{s:O, s:[{s:s, s:s, s:f, s:n, s:n, s:O, s:b}]}", "guild_id", value,
                         "soundboard_sounds", "name", "foghorn", "sound_id", "1189000000000000401", "volume",
                         1.0, "emoji_id", "emoji_name", "guild_id", value, "available", 1));
  }
}

static const char *judge_channel_info(const json_t *d)
{
  uint64_t id;
  if (!json_is_object(d) || !read_id(json_object_get(d, "guild_id"), &id) ||
      !json_is_array(json_object_get(d, "fields")))
    return "op 43 needs guild_id and fields";
  return NULL;
}

static void on_channel_info(struct tg_fake_conn *conn, const json_t *d)
{
  uint64_t id;
  read_id(json_object_get(d, "guild_id"), &id);
  bool here = guild_here(conn, id) != NULL;
  record(conn, TG_OP_REQUEST_CHANNEL_INFO, d, here ? "ok" : "no answer");
  if (!here)
    return;
  char channel[24];
  snprintf(channel, sizeof channel, "%" PRIu64, id + 4);
  dispatch(conn, "CHANNEL_INFO",
           json_pack("{s:O, s:[{s:s, s:s, s:i}]}", "guild_id", json_object_get(d, "guild_id"), "channels",
                     "id", channel, "status", "at anchor", "voice_start_time", 1787234100));
}

/* ---- all ---- */

static const struct {
  int op;
  const char *(*judge)(const json_t *d); /* NULL: the shape is fine */
  void (*run)(struct tg_fake_conn *conn, const json_t *d);
} commands[] = {
    {TG_OP_PRESENCE_UPDATE, judge_presence, on_presence},
    {TG_OP_VOICE_STATE_UPDATE, judge_voice, on_voice},
    {TG_OP_REQUEST_GUILD_MEMBERS, judge_members, on_members},
    {TG_OP_REQUEST_SOUNDBOARD_SOUNDS, judge_sounds, on_sounds},
    {TG_OP_REQUEST_CHANNEL_INFO, judge_channel_info, on_channel_info},
};

void tg_fake_command(struct tg_fake_conn *conn, int op, const json_t *d)
{
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
    if (commands[i].op != op)
      continue;
    const char *problem = commands[i].judge(d);
    if (!problem) {
      commands[i].run(conn, d);
      return;
    }
    record(conn, op, d, "4001");
    tg_fake_violation(conn->fake, conn, "command_shape", "4001", "%s", problem);
    tg_fake_conn_close(conn, 4001, "Unknown opcode.");
  }
}
