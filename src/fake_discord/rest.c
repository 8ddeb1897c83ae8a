#include "fake_discord/rest.h"

#include "fake_discord/emit/interactions.h"
#include "fake_discord/gateway/conn.h"
#include "fake_discord/gateway/identify.h"
#include "fake_discord/gateway/points.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/journal.h"
#include "fake_discord/world/payloads.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char base[] = "/api/v10";

static void reply_error(struct tg_fake_http *http, int status, const char *message)
{
  tg_fake_http_reply_json(http, status, json_pack("{s:s, s:i}", "message", message, "code", 0));
}

static const char *url_of(const struct tg_fake *fake)
{
  return fake->settings.url[0] ? fake->settings.url : fake->gateway_url;
}

static void gateway(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request,
                    const char *rest)
{
  (void)request;
  (void)rest;
  tg_fake_http_reply_json(http, 200, json_pack("{s:s}", "url", url_of(fake)));
}

static void gateway_bot(struct tg_fake *fake, struct tg_fake_http *http,
                        const struct tg_fake_request *request, const char *rest)
{
  (void)request;
  (void)rest;
  const struct tg_fake_settings *settings = &fake->settings;
  tg_ms reset_after = tg_fake_limits_reset_after(fake);
  tg_fake_http_reply_json(http, 200,
                          json_pack("{s:s, s:I, s:{s:I, s:I, s:I, s:I}}", "url", url_of(fake), "shards",
                                    (json_int_t)settings->shards, "session_start_limit", "total",
                                    (json_int_t)settings->total, "remaining", (json_int_t)settings->remaining,
                                    "reset_after", (json_int_t)reset_after, "max_concurrency",
                                    (json_int_t)settings->max_concurrency));
}

/* Flags 12 to 19, even bits: the approved privileged intents. */
static void application(struct tg_fake *fake, struct tg_fake_http *http,
                        const struct tg_fake_request *request, const char *rest)
{
  (void)request;
  (void)rest;
  int64_t intents = fake->settings.privileged_intents;
  int flags =
      (intents & 0x100 ? 1 << 12 : 0) | (intents & 2 ? 1 << 14 : 0) | (intents & 0x8000 ? 1 << 18 : 0);
  tg_fake_http_reply_json(http, 200,
                          json_pack("{s:s, s:s, s:i, s:I}", "id", TG_FAKE_APPLICATION_ID, "name",
                                    TG_FAKE_BOT_NAME, "flags", flags, "approximate_guild_count",
                                    (json_int_t)tg_fake_guild_count(fake, 0, 1)));
}

static void own_user(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request,
                     const char *rest)
{
  (void)fake;
  (void)request;
  (void)rest;
  tg_fake_http_reply_json(http, 200,
                          json_pack("{s:s, s:s, s:s, s:n, s:b}", "id", TG_FAKE_APPLICATION_ID, "username",
                                    TG_FAKE_BOT_NAME, "discriminator", "0000", "avatar", "bot", 1));
}

/* A message of the bot, as it would have it back; nobody else sees it. */
static void create_message(struct tg_fake *fake, struct tg_fake_http *http,
                           const struct tg_fake_request *request, const char *rest)
{
  size_t length = strcspn(rest, "/");
  if (length == 0 || strcmp(rest + length, "/messages") != 0) {
    reply_error(http, 404, "404: Not Found");
    return;
  }
  json_t *sent = json_loadb(request->body.data ? request->body.data : "", request->body.length, 0, NULL);
  const char *content = json_string_value(json_object_get(sent, "content"));
  char id[32];
  snprintf(id, sizeof id, "1189%015" PRIu64, fake->journal->counters.rest_requests);
  tg_fake_http_reply_json(
      http, 200,
      json_pack(
          "{s:s, s:s%, s:i, s:s, s:{s:s, s:s, s:s, s:n, s:b}, s:s, s:n, s:b, s:b, s:b, s:[], s:[], s:[], "
          "s:[]}",
          "id", id, "channel_id", rest, length, "type", 0, "content", content ? content : "", "author", "id",
          TG_FAKE_APPLICATION_ID, "username", TG_FAKE_BOT_NAME, "discriminator", "0000", "avatar", "bot", 1,
          "timestamp", "2026-11-01T12:00:00.000000+00:00", "edited_timestamp", "tts", 0, "mention_everyone",
          0, "pinned", 0, "mentions", "mention_roles", "attachments", "embeds"));
  json_decref(sent);
}

static const struct route {
  const char *method; /* NULL: any */
  const char *prefix;
  bool whole; /* the path is the prefix */
  bool authorized;
  void (*run)(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request,
              const char *rest);
} routes[] = {
    {"GET", "/gateway", true, false, gateway},
    {"GET", "/gateway/bot", true, true, gateway_bot},
    {"GET", "/applications/@me", true, true, application},
    {"GET", "/users/@me", true, true, own_user},
    {"POST", "/interactions/", false, false, tg_fake_interaction_callback},
    {NULL, "/webhooks/", false, false, tg_fake_webhook},
    {"POST", "/channels/", false, true, create_message},
};

static const struct route *find(const struct tg_fake_request *request, const char *path)
{
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    const struct route *route = &routes[i];
    bool fits = route->whole ? strcmp(path, route->prefix) == 0
                             : strncmp(path, route->prefix, strlen(route->prefix)) == 0;
    if (fits && (!route->method || strcmp(route->method, request->method) == 0))
      return route;
  }
  return NULL;
}

static bool is_authorized(struct tg_fake *fake, const struct tg_fake_request *request)
{
  const char *given = tg_fake_request_header(request, "Authorization");
  return given && strncmp(given, "Bot ", 4) == 0 && tg_fake_token_is_right(fake, given + 4);
}

/* Reference, 1.1: DiscordBot (url, version), more may follow. */
static bool has_good_agent(const struct tg_fake_request *request)
{
  const char *agent = tg_fake_request_header(request, "User-Agent");
  static const char begin[] = "DiscordBot (";
  if (!agent || strncmp(agent, begin, sizeof begin - 1) != 0)
    return false;
  const char *comma = strchr(agent, ','), *end = strchr(agent, ')');
  return comma && end && comma < end;
}

static void answer(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request,
                   const char *path)
{
  static const char blocked[] = "<!DOCTYPE html><html><head><title>Access denied</title></head>"
                                "<body>error code: 1020</body></html>\n";
  const struct route *route = find(request, path);
  bool authorized = is_authorized(fake, request);
  int status = 200;
  if (fake->settings.require_user_agent && !has_good_agent(request))
    status = 403;
  else if (!route)
    status = 404;
  else if (route->authorized && !authorized)
    status = 401;
  json_t *body = json_loadb(request->body.data ? request->body.data : "", request->body.length, 0, NULL);
  tg_fake_note(fake, TG_FAKE_LIST_rest,
               json_pack("{s:s, s:s, s:i, s:b, s:O?}", "method", request->method, "path", request->target,
                         "status", status, "authorized", (int)authorized, "body", body));
  json_decref(body);
  if (status == 403) {
    tg_fake_violation(fake, NULL, "user_agent", "403", "User-Agent of %s %s is not DiscordBot (url, version)",
                      request->method, request->path);
    tg_fake_http_reply(http, 403, "text/html", NULL, blocked, sizeof blocked - 1);
  } else if (status == 401) {
    tg_fake_violation(fake, NULL, "authorization", "401", "%s %s with a wrong token", request->method,
                      request->path);
    reply_error(http, 401, "401: Unauthorized");
  } else if (status == 404) {
    reply_error(http, 404, "404: Not Found");
  } else {
    route->run(fake, http, request, path + strlen(route->prefix));
  }
}

static void answer_delayed(void *ctx)
{
  struct tg_fake_http *http = ctx;
  const struct tg_fake_request *request = tg_fake_http_request(http);
  answer(tg_fake_http_fake(http), http, request, request->path + sizeof base - 1);
}

static void upgrade_delayed(void *ctx)
{
  struct tg_fake_http *http = ctx;
  tg_fake_conn_upgrade(tg_fake_http_fake(http), http, tg_fake_http_request(http));
}

void tg_fake_rest(struct tg_fake *fake, struct tg_fake_http *http, const struct tg_fake_request *request)
{
  if (strncmp(request->path, base, sizeof base - 1) != 0) {
    if (fake->points->http(fake, http, request, true, upgrade_delayed) == TG_FAKE_GO_ON)
      tg_fake_conn_upgrade(fake, http, request);
    return;
  }
  fake->journal->counters.rest_requests++;
  if (fake->points->http(fake, http, request, false, answer_delayed) == TG_FAKE_GO_ON)
    answer(fake, http, request, request->path + sizeof base - 1);
}
