#include "fake_discord/admin.h"

#include "fake_discord/emit/bulk.h"
#include "fake_discord/emit/differ.h"
#include "fake_discord/emit/emit.h"
#include "fake_discord/faults/faults.h"
#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/identify.h"
#include "fake_discord/gateway/pace.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- GET ---- */

/* Whether `name` is in "a,b,c"; an empty list has everything. */
static bool is_asked(const char *only, const char *name)
{
  size_t length = strlen(name);
  for (const char *at = only; *at;) {
    size_t here = strcspn(at, ",");
    if (here == length && strncmp(at, name, here) == 0)
      return true;
    at += here + (at[here] == ',');
  }
  return only[0] == '\0';
}

static json_t *connections_json(struct tg_fake *fake)
{
  json_t *result = json_array();
  struct tg_fake_conn *conn;
  LIST_FOREACH(conn, &fake->conns, link) json_array_append_new(result, tg_fake_conn_to_json(conn));
  return result;
}

static json_t *sessions_json(struct tg_fake *fake)
{
  json_t *result = json_array();
  struct tg_fake_session *session;
  LIST_FOREACH(session, &fake->sessions, link)
  json_array_append_new(result, tg_fake_session_to_json(session));
  return result;
}

static json_t *limits_json(struct tg_fake *fake)
{
  tg_ms reset_after = tg_fake_limits_reset_after(fake);
  return json_pack("{s:I, s:I, s:I, s:I, s:b}", "total", (json_int_t)fake->settings.total, "remaining",
                   (json_int_t)fake->settings.remaining, "reset_after", (json_int_t)reset_after,
                   "max_concurrency", (json_int_t)fake->settings.max_concurrency, "token_reset",
                   (int)fake->limits->token_reset);
}

static json_t *get_state(struct tg_fake *fake, const struct tg_fake_request *request, struct tg_error *error)
{
  (void)error;
  char only[400] = "";
  tg_fake_request_param(request, "only", only, sizeof only);
  json_t *state = json_pack("{s:I}", "now", (json_int_t)tg_fake_at(fake));
  if (is_asked(only, "counters"))
    json_object_set_new(state, "counters", tg_fake_counters_to_json(fake->journal));
  if (is_asked(only, "session_start_limit"))
    json_object_set_new(state, "session_start_limit", limits_json(fake));
  if (is_asked(only, "connections"))
    json_object_set_new(state, "connections", connections_json(fake));
  if (is_asked(only, "sessions"))
    json_object_set_new(state, "sessions", sessions_json(fake));
  if (is_asked(only, "guilds"))
    json_object_set_new(state, "guilds", json_integer((json_int_t)fake->guilds->count));
  if (is_asked(only, "faults"))
    json_object_set_new(state, "faults", tg_fake_faults_to_json(fake));
  for (int i = 0; i < TG_FAKE_LIST_COUNT; i++)
    if (is_asked(only, tg_fake_list_names[i]))
      json_object_set(state, tg_fake_list_names[i], fake->journal->lists[i]);
  return state;
}

static int shard_param(const struct tg_fake_request *request)
{
  char value[16];
  return tg_fake_request_param(request, "shard", value, sizeof value) ? atoi(value) : -1;
}

static json_t *get_sent(struct tg_fake *fake, const struct tg_fake_request *request, struct tg_error *error)
{
  (void)error;
  return tg_fake_sent(fake, shard_param(request));
}

static json_t *voice_of(const struct tg_fake_guild *guild)
{
  char channel[24];
  snprintf(channel, sizeof channel, "%" PRIu64, guild->voice.channel);
  if (!guild->voice.session)
    return NULL;
  return json_pack("{s:s, s:s}", "channel_id", channel, "session_id", guild->voice.session->id);
}

static json_t *get_guilds(struct tg_fake *fake, const struct tg_fake_request *request, struct tg_error *error)
{
  (void)error;
  json_t *result = json_array();
  int only = shard_param(request);
  for (size_t i = 0; i < fake->guilds->count; i++) {
    const struct tg_fake_guild *guild = &fake->guilds->all[i];
    int shard = (int)((guild->id >> 22) % (uint64_t)fake->options->settings.shards);
    char id[24];
    snprintf(id, sizeof id, "%" PRIu64, guild->id);
    if (!guild->left && (only < 0 || only == shard))
      json_array_append_new(
          result, json_pack("{s:s, s:i, s:o*}", "id", id, "shard", shard, "voice", voice_of(guild)));
  }
  return result;
}

static json_t *get_settings(struct tg_fake *fake, const struct tg_fake_request *request,
                            struct tg_error *error)
{
  (void)request;
  (void)error;
  return tg_fake_settings_to_json(&fake->settings);
}

static json_t *get_pace(struct tg_fake *fake, const struct tg_fake_request *request, struct tg_error *error)
{
  (void)request;
  (void)error;
  return tg_fake_paces_to_json(fake);
}

static json_t *get_differ(struct tg_fake *fake, const struct tg_fake_request *request, struct tg_error *error)
{
  (void)request;
  (void)error;
  return tg_fake_differ_to_json(fake);
}

static json_t *get_bulk(struct tg_fake *fake, const struct tg_fake_request *request, struct tg_error *error)
{
  (void)request;
  (void)error;
  return tg_fake_bulk_to_json(fake);
}

/* ---- POST ---- */

static json_t *post_settings(struct tg_fake *fake, const json_t *body, struct tg_error *error)
{
  if (!tg_fake_settings_set(&fake->settings, body, error))
    return NULL;
  tg_fake_emit_kick(fake);
  return tg_fake_settings_to_json(&fake->settings);
}

static json_t *post_reset(struct tg_fake *fake, const json_t *body, struct tg_error *error)
{
  struct tg_fake_what what = {true, true, true, true, true};
  const json_t *list = json_object_get(body, "what");
  if ((body && !json_is_object(body)) || (list && !json_is_array(list)) ||
      json_object_size(body) != (list ? 1 : 0))
    return tg_fail(error, "type", "expected nothing, or {\"what\": [...]}"), NULL;
  if (list)
    memset(&what, 0, sizeof what);
  size_t i;
  json_t *name;
  json_array_foreach(list, i, name)
  {
    const char *text = json_is_string(name) ? json_string_value(name) : "";
    bool *flag = strcmp(text, "history") == 0    ? &what.history
                 : strcmp(text, "faults") == 0   ? &what.faults
                 : strcmp(text, "settings") == 0 ? &what.settings
                 : strcmp(text, "sessions") == 0 ? &what.sessions
                 : strcmp(text, "numbers") == 0  ? &what.numbers
                                                 : NULL;
    if (!flag)
      return tg_fail(error, "unknown", "what: there is no \"%s\"", text), NULL;
    *flag = true;
  }
  tg_fake_reset(fake, &what);
  return json_object();
}

/* ---- routes ---- */

static const struct {
  const char *path;
  json_t *(*get)(struct tg_fake *fake, const struct tg_fake_request *request, struct tg_error *error);
  json_t *(*post)(struct tg_fake *fake, const json_t *body, struct tg_error *error);
} routes[] = {
    {"/state", get_state, NULL},
    {"/sent", get_sent, NULL},
    {"/guilds", get_guilds, NULL},
    {"/settings", get_settings, post_settings},
    {"/emit", NULL, tg_fake_emit},
    {"/fault", NULL, tg_fake_fault_post},
    {"/pace", get_pace, tg_fake_pace_post},
    {"/differ", get_differ, tg_fake_differ_post},
    {"/bulk", get_bulk, tg_fake_bulk_start},
    {"/reset", NULL, post_reset},
};

static void reply_error(struct tg_fake_http *http, int status, const char *message)
{
  tg_fake_http_reply_json(http, status, json_pack("{s:s}", "error", message));
}

static void reply(struct tg_fake_http *http, json_t *result, const struct tg_error *error)
{
  if (result)
    tg_fake_http_reply_json(http, 200, result);
  else
    reply_error(http, strcmp(error->code, "none") == 0 || strcmp(error->code, "busy") == 0 ? 409 : 400,
                error->message);
}

static void send_recording(struct tg_fake *fake, struct tg_fake_http *http)
{
  const struct tg_buf *recording = tg_fake_bulk_recording(fake);
  if (recording)
    tg_fake_http_reply(http, 200, "application/octet-stream", NULL, recording->data, recording->length);
  else
    reply_error(http, 409, "there is no recording: POST /bulk makes one");
}

void tg_fake_admin(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request)
{
  struct tg_error error = {0};
  bool get = strcmp(request->method, "GET") == 0, post = strcmp(request->method, "POST") == 0;
  if (get && strcmp(request->path, "/bulk/recording") == 0) {
    send_recording(fake, http);
    return;
  }
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    if (strcmp(routes[i].path, request->path) != 0)
      continue;
    if (get && routes[i].get) {
      reply(http, routes[i].get(fake, request, &error), &error);
      return;
    }
    if (!post || !routes[i].post)
      continue;
    json_error_t problem;
    json_t *body = request->body.length > 0
                       ? json_loadb(request->body.data, request->body.length, JSON_DECODE_ANY, &problem)
                       : NULL;
    if (request->body.length > 0 && !body)
      tg_fail(&error, "json", "the body is not JSON: %s", problem.text);
    reply(http, error.code[0] ? NULL : routes[i].post(fake, body, &error), &error);
    json_decref(body);
    return;
  }
  reply_error(http, 404, "there is no such route; --help lists them");
}
