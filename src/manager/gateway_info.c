#include "manager/gateway_info.h"

#include "base/address.h"
#include "proto/gateway_trust.h"

#include <stdio.h>
#include <string.h>

enum {
  USUAL_STARTS = 1000,
  TOLD_MAX = 24 * 3600 * 1000, /* ms; a longer Retry-After is not meant */
  TOLD_LEAST = 250,            /* doubling: who says "now" again and again is not heeded */
  TOLD_LEAST_CAP = 60 * 1000,
  UNTOLD_BASE = 300 * 1000,
  UNTOLD_CAP = 3600 * 1000, /* without a Retry-After */
};

static bool read_number(const json_t *object, const char *key, int low, int high, bool whole, int *value,
                        struct tg_error *error)
{
  const json_t *field = json_object_get(object, key);
  double number = json_number_value(field); /* Lua has but one kind of number */
  if (!json_is_number(field) || !(number >= low && number <= high) || (whole && (int)number != number))
    return tg_fail(error, "bad_answer", "\"%s\" of the gateway information is not a %snumber from %d to %d",
                   key, whole ? "whole " : "", low, high);
  *value = (int)number;
  return true;
}

static bool read_count(const json_t *object, const char *key, int low, int high, int *value,
                       struct tg_error *error)
{
  return read_number(object, key, low, high, true, value, error);
}

bool tg_gateway_info_parse(const json_t *json, struct tg_gateway_info *info, struct tg_error *error)
{
  *info = (struct tg_gateway_info){0};
  if (!json_is_object(json))
    return tg_fail(error, "bad_answer", "the gateway information is not an object");
  const char *url = json_string_value(json_object_get(json, "url"));
  const char *fault = url ? tg_check_gateway_url(url) : NULL;
  if (!url)
    return tg_fail(error, "bad_answer", "\"url\" of the gateway information is not a text");
  if (fault)
    return tg_fail(error, "bad_answer", "\"url\" of the gateway information, %.100s: %s", url, fault);
  snprintf(info->url, sizeof info->url, "%s", url);
  const json_t *limit = json_object_get(json, "session_start_limit");
  if (!json_is_object(limit))
    return tg_fail(error, "bad_answer", "\"session_start_limit\" of the gateway information is missing");
  int reset_after = 0;
  bool good = read_count(json, "shards", 1, TG_SHARDS_MAX, &info->shards, error) &&
              read_count(limit, "max_concurrency", 1, TG_MAX_CONCURRENCY, &info->max_concurrency, error) &&
              read_count(limit, "total", 0, INT32_MAX, &info->total, error) &&
              read_count(limit, "remaining", 0, INT32_MAX, &info->remaining, error) &&
              read_number(limit, "reset_after", 0, INT32_MAX, false, &reset_after, error);
  info->reset_after = reset_after;
  if (info->remaining > info->total)
    info->remaining = info->total;
  return good;
}

bool tg_gateway_info_trusted(const struct tg_gateway_info *info, const struct tg_config *config,
                             struct tg_error *error)
{
  struct tg_gateway_url url;
  struct tg_error problem;
  if (config->gateway_bot.url || (tg_gateway_url_parse(info->url, TG_COMPRESSION_NONE, &url, &problem) &&
                                  tg_main_url_trusted(&url, config->rest.url, &problem)))
    return true;
  return tg_fail(error, "bad_answer", "%s", problem.message);
}

json_t *tg_gateway_info_to_json(const struct tg_gateway_info *info)
{
  return json_pack("{s:s, s:i, s:{s:i, s:i, s:I, s:i}}", "url", info->url, "shards", info->shards,
                   "session_start_limit", "total", info->total, "remaining", info->remaining, "reset_after",
                   (json_int_t)info->reset_after, "max_concurrency", info->max_concurrency);
}

bool tg_gateway_info_configured(const struct tg_config *config)
{
  return config->gateway_bot.url && (config->gateway_bot.shards > 0 || config->total_shards > 0) &&
         config->gateway_bot.max_concurrency > 0;
}

void tg_gateway_info_override(struct tg_gateway_info *info, const struct tg_config *config)
{
  if (config->gateway_bot.url)
    snprintf(info->url, sizeof info->url, "%s", config->gateway_bot.url);
  if (config->gateway_bot.shards > 0)
    info->shards = config->gateway_bot.shards;
  if (config->gateway_bot.max_concurrency > 0)
    info->max_concurrency = config->gateway_bot.max_concurrency;
  if (config->gateway_bot.total > 0) {
    info->total = config->gateway_bot.total;
    info->remaining = config->gateway_bot.remaining;
    info->reset_after = config->gateway_bot.reset_after;
  }
}

bool tg_gateway_info_complete(struct tg_gateway_info *info, int total_shards)
{
  if (info->shards == 0)
    info->shards = total_shards;
  if (info->max_concurrency == 0)
    info->max_concurrency = 1;
  if (info->total == 0)
    info->total = info->remaining = USUAL_STARTS;
  return info->url[0] && info->shards > 0;
}

/* -1: none that can be meant. The body is exacter than the header. */
static tg_ms read_retry_after(const json_t *answer, const struct tg_http_response *response)
{
  const json_t *field = json_object_get(answer, "retry_after"); /* seconds */
  double told = json_number_value(field) * 1000;
  tg_ms wait = -1;
  if (json_is_number(field) && told >= 0 && told <= TOLD_MAX)
    wait = (tg_ms)told + 1;
  if (response->retry_after > wait && response->retry_after <= TOLD_MAX)
    wait = response->retry_after;
  return wait;
}

static void judge_refusal(const struct tg_http_response *response, const json_t *answer, const char *url,
                          tg_ms retry_after, struct tg_error *error)
{
  long status = response->status;
  if (status == 401)
    tg_fail(error, "unauthorized",
            "the token was refused (401 from %s). Copy the bot's token again from "
            "https://discord.com/developers/applications (Bot, Reset Token) into DISCORD_TOKEN; with a REST "
            "proxy, "
            "check rest.authorization",
            url);
  else if (status == 403)
    tg_fail(error, "blocked",
            "%s refuses this computer (403): Cloudflare, in front of Discord, blocks the address or the "
            "client",
            url);
  else if (status == 429 && !json_is_object(answer))
    tg_fail(
        error, "blocked",
        "%s refuses this computer's address for a while (429, and not in Discord's own words: too many "
        "refused requests came from here). Whatever sends them has to stop; such a ban lasts up to an hour",
        url);
  else if (status == 429 && retry_after >= 0)
    tg_fail(error, "rate_limited", "%s asks to wait %lld ms (429)", url, (long long)retry_after);
  else if (status == 429)
    tg_fail(error, "rate_limited", "%s asks to wait (429)", url);
  else if (status >= 500)
    tg_fail(error, "unavailable", "%s answers %ld: it is down or overloaded", url, status);
  else if (status >= 300 && status < 400)
    tg_fail(
        error, "bad_answer",
        "%s answers %ld and leads elsewhere, which Discord's REST API does not: a login page of the network "
        "may be in the way. Check rest.url (REST_URL)",
        url, status);
  else
    tg_fail(error, "bad_answer",
            "%s answers %ld, which Discord's REST API does not. Check rest.url (REST_URL)", url, status);
}

tg_ms tg_gateway_info_wait(const char *code, tg_ms retry_after, int before)
{
  bool refused = strcmp(code, "blocked") == 0 || strcmp(code, "rate_limited") == 0;
  bool told = retry_after >= 0 && (refused || (retry_after > 0 && strcmp(code, "unavailable") == 0));
  int doublings = before < 16 ? before : 16;
  if (!told && !refused)
    return -1;
  tg_ms base = told ? TOLD_LEAST : UNTOLD_BASE, cap = told ? TOLD_LEAST_CAP : UNTOLD_CAP;
  tg_ms wait = base << doublings < cap ? base << doublings : cap;
  return told && retry_after > tg_patience(wait) ? retry_after : tg_patience(wait);
}

json_t *tg_gateway_info_judge(const struct tg_http_response *response, const char *url, tg_ms *retry_after,
                              struct tg_error *error)
{
  *retry_after = -1;
  if (response->status == 0) {
    bool tls = strcmp(response->error.code, "tls") == 0;
    tg_fail(error, "unavailable", "gateway information cannot be fetched: %s%s", response->error.message,
            tls ? " (tls.ca_file, TIDEGATE_CA_FILE, names the certificates to trust)" : "");
    return NULL;
  }
  json_t *answer = json_loadb(response->body.at ? response->body.at : "", response->body.length, 0, NULL);
  if (response->status != 200) {
    *retry_after = read_retry_after(answer, response);
    judge_refusal(response, answer, url, *retry_after, error);
    json_decref(answer);
    return NULL;
  }
  struct tg_gateway_info info;
  struct tg_error problem = {0};
  if (!answer)
    tg_fail(
        error, "bad_answer",
        "%s answers with something that is not JSON: a login page of the network may be in the way. Check "
        "rest.url (REST_URL)",
        url);
  else if (!tg_gateway_info_parse(answer, &info, &problem))
    tg_fail(error, "bad_answer", "%s: %s. Check rest.url (REST_URL)", url, problem.message);
  else
    return answer;
  json_decref(answer);
  return NULL;
}
