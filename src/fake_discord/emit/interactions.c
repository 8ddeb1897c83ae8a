#include "fake_discord/emit/interactions.h"

#include "fake_discord/emit/emit.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/journal.h"
#include "fake_discord/world/payloads.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_SIZE = 100, COUNT_MAX = 10000 };
static const int64_t discord_epoch = 1420070400000;

struct interaction {
  char id[24], token[TOKEN_SIZE];
  int type;
  tg_ms at;
  int answered; /* type of the callback; 0: none yet */
};

struct tg_fake_interactions {
  struct interaction *all;
  size_t count, capacity;
};

struct tg_fake_interactions *tg_fake_interactions_new(void)
{
  return tg_calloc(1, sizeof(struct tg_fake_interactions));
}

void tg_fake_interactions_clear(struct tg_fake_interactions *interactions)
{
  interactions->count = 0;
}

void tg_fake_interactions_free(struct tg_fake_interactions *interactions)
{
  free(interactions->all);
  free(interactions);
}

/* ---- emitting ---- */

static struct interaction *new_interaction(struct tg_fake *fake, int type, tg_ms skew)
{
  struct tg_fake_interactions *interactions = fake->interactions;
  if (interactions->count == interactions->capacity) {
    interactions->capacity = interactions->capacity ? interactions->capacity * 2 : 64;
    interactions->all = tg_realloc(interactions->all, interactions->capacity * sizeof *interactions->all);
  }
  struct interaction *interaction = &interactions->all[interactions->count++];
  *interaction = (struct interaction){.type = type, .at = tg_fake_at(fake)};
  uint64_t ms = (uint64_t)(tg_wall_clock() - discord_epoch + skew);
  snprintf(interaction->id, sizeof interaction->id, "%" PRIu64,
           ms << 22 | ((interactions->count + (fake->options->seed << 12)) & 0x3fffff));
  uint64_t a = tg_fake_random(fake), b = tg_fake_random(fake);
  snprintf(interaction->token, sizeof interaction->token,
           "aW50ZXJhY3Rpb246%016" PRIx64 "%016" PRIx64 "%016" PRIx64, a, b, a * b);
  return interaction;
}

static bool choose_guild(struct tg_fake *fake, const json_t *request, const struct tg_fake_target *target,
                         uint64_t *guild_id, struct tg_error *error)
{
  const char *given = json_string_value(json_object_get(request, "guild"));
  *guild_id = 0;
  if (json_is_true(json_object_get(request, "dm")))
    return true;
  if (given) {
    *guild_id = strtoull(given, NULL, 10);
    return true;
  }
  size_t at = 0;
  int64_t total = target->total < 0 ? fake->options->settings.shards : target->total;
  struct tg_fake_guild *guild =
      tg_fake_guild_next(fake, target->shard < 0 ? 0 : (int)target->shard, (int)total, &at);
  if (!guild)
    return tg_fail(error, "guild", "that shard has no guild for an interaction");
  *guild_id = guild->id;
  return true;
}

json_t *tg_fake_emit_interaction(struct tg_fake *fake, const json_t *request,
                                 const struct tg_fake_target *target, struct tg_error *error)
{
  static const char *const keys[] = {"interaction", "count", "guild", "dm", "skew", NULL};
  if (!tg_fake_check_keys(request, keys, error))
    return NULL;
  int type = 0, count = 1, dm = 0;
  json_int_t skew = 0;
  const char *guild = NULL;
  if (json_unpack((json_t *)(uintptr_t)request, "{s:i, s?i, s?b, s?I, s?s}", "interaction", &type, "count",
                  &count, "dm", &dm, "skew", &skew, "guild", &guild) != 0 ||
      type < 2 || type > 5 || count < 1 || count > COUNT_MAX)
    return tg_fail(error, "type", "interaction: expected a type from 2 to 5; count: 1 to %d", COUNT_MAX),
           NULL;
  uint64_t guild_id;
  if (!choose_guild(fake, request, target, &guild_id, error))
    return NULL;
  json_t *list = json_array();
  int sessions = 0;
  for (int i = 0; i < count; i++) {
    struct interaction *interaction = new_interaction(fake, type, skew);
    struct tg_fake_event *event =
        tg_fake_make_interaction(fake, type, guild_id, interaction->id, interaction->token);
    /* 0 >> 22 is 0: DMs are for shard 0. */
    sessions = tg_fake_dispatch_to_guild(fake, guild_id, target->total, event);
    tg_fake_event_unref(event);
    json_array_append_new(list, json_pack("{s:s, s:s}", "id", interaction->id, "token", interaction->token));
  }
  if (sessions == 0) {
    json_decref(list);
    return tg_fail(error, "none", "no session matches: nobody is there to get it"), NULL;
  }
  return json_pack("{s:i, s:o}", "sessions", sessions, "interactions", list);
}

/* ---- answers ---- */

static struct interaction *find_by_token(struct tg_fake *fake, const char *token, size_t length)
{
  struct tg_fake_interactions *interactions = fake->interactions;
  for (size_t i = interactions->count; i-- > 0;)
    if (strlen(interactions->all[i].token) == length &&
        memcmp(interactions->all[i].token, token, length) == 0)
      return &interactions->all[i];
  return NULL;
}

static bool is_allowed(int type, int callback)
{
  static const int allowed[6][7] = {
      [2] = {4, 5, 9, 12, 10}, [3] = {4, 5, 6, 7, 9, 12}, [4] = {8}, [5] = {4, 5, 6, 7, 12}};
  for (int i = 0; i < 7 && callback > 0; i++)
    if (allowed[type][i] == callback)
      return true;
  return false;
}

struct answer {
  int status, code;
  const char *message;
};

static struct answer judge(struct tg_fake *fake, struct interaction *interaction, const char *id,
                           size_t id_length, const json_t *body, int callback)
{
  const struct tg_fake_settings *settings = &fake->settings;
  if (!interaction || strlen(interaction->id) != id_length || memcmp(interaction->id, id, id_length) != 0 ||
      (settings->strict_callbacks && tg_fake_at(fake) - interaction->at > settings->callback_deadline))
    return (struct answer){404, 10062, "Unknown interaction"};
  if (interaction->answered)
    return (struct answer){400, 40060, "Interaction has already been acknowledged."};
  const json_t *choices = json_object_get(json_object_get(body, "data"), "choices");
  if (!json_is_object(body) || (settings->strict_callbacks && !is_allowed(interaction->type, callback)) ||
      (callback == 8 && (!json_is_array(choices) || json_array_size(choices) > 25)) ||
      (callback == 4 && !json_is_object(json_object_get(body, "data"))))
    return (struct answer){400, 50035, "Invalid Form Body"};
  return (struct answer){204, 0, NULL};
}

void tg_fake_interaction_callback(struct tg_fake *fake, struct tg_fake_http *http,
                                  const struct tg_fake_request *request, const char *rest)
{
  size_t id_length = strcspn(rest, "/");
  const char *token = rest[id_length] ? rest + id_length + 1 : "";
  size_t token_length = strcspn(token, "/");
  struct interaction *interaction = find_by_token(fake, token, token_length);
  json_t *body = json_loadb(request->body.data, request->body.length, 0, NULL);
  int callback = (int)json_integer_value(json_object_get(body, "type"));
  struct answer answer = judge(fake, interaction, rest, id_length, body, callback);
  char value[8] = "";
  if (answer.status == 204) {
    interaction->answered = callback;
    tg_fake_request_param(request, "with_response", value, sizeof value);
    answer.status = strcmp(value, "true") == 0 ? 200 : 204;
  }
  tg_fake_note(fake, TG_FAKE_LIST_callbacks,
               json_pack("{s:s%, s:o, s:i, s:o, s:i, s:i, s:O?}", "id", rest, id_length, "type",
                         interaction ? json_integer(interaction->type) : json_null(), "callback", callback,
                         "age", interaction ? json_integer(tg_fake_at(fake) - interaction->at) : json_null(),
                         "status", answer.status, "code", answer.code, "body", body));
  json_decref(body);
  json_t *reply = NULL;
  if (answer.status == 200)
    reply = json_pack("{s:{s:s%, s:i}}", "interaction", "id", rest, id_length, "type", interaction->type);
  else if (answer.status != 204)
    reply = json_pack("{s:s, s:i}", "message", answer.message, "code", answer.code);
  tg_fake_http_reply_later(http, fake->settings.callback_delay, answer.status, reply);
}

void tg_fake_webhook(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request,
                     const char *rest)
{
  const char *slash = strchr(rest, '/');
  const char *token = slash ? slash + 1 : "";
  const struct interaction *interaction = find_by_token(fake, token, strcspn(token, "/"));
  struct answer answer = {strcmp(request->method, "DELETE") == 0 ? 204 : 200, 0, NULL};
  if (!interaction || !interaction->answered)
    answer = (struct answer){404, 10015, "Unknown Webhook"};
  else if (tg_fake_at(fake) - interaction->at > fake->settings.webhook_deadline)
    answer = (struct answer){401, 50027, "Invalid Webhook Token"};
  json_t *body = json_loadb(request->body.data, request->body.length, 0, NULL);
  tg_fake_note(fake, TG_FAKE_LIST_webhooks,
               json_pack("{s:s, s:s, s:i, s:O?}", "method", request->method, "path", request->path, "status",
                         answer.status, "body", body));
  if (answer.status == 204)
    tg_fake_http_reply(http, 204, NULL, NULL, "", 0);
  else if (answer.status == 200)
    tg_fake_http_reply_json(http, 200,
                            json_pack("{s:s, s:i, s:O?, s:s}", "id", "1189000000000000501", "type", 0,
                                      "content", json_object_get(body, "content"), "application_id",
                                      TG_FAKE_APPLICATION_ID));
  else
    tg_fake_http_reply_json(http, answer.status,
                            json_pack("{s:s, s:i}", "message", answer.message, "code", answer.code));
  json_decref(body);
}
