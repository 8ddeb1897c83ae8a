#include "fake_discord/gateway/identify.h"

#include "base/buf.h"
#include "fake_discord/gateway/points.h"
#include "fake_discord/world/guilds.h"
#include "fake_discord/world/journal.h"
#include "proto/intents.h"
#include "proto/payload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS_MAX = 1000000 };

/* ---- limits ---- */

struct tg_fake_limits *tg_fake_limits_new(void)
{
  struct tg_fake_limits *limits = tg_calloc(1, sizeof *limits);
  limits->window_ends = -1;
  return limits;
}

void tg_fake_limits_free(struct tg_fake_limits *limits)
{
  free(limits->buckets);
  free(limits);
}

void tg_fake_limits_clear(struct tg_fake *fake)
{
  struct tg_fake_limits *limits = fake->limits;
  limits->bucket_count = 0;
  limits->token_reset = false;
  limits->window_ends = -1;
}

void tg_fake_limits_roll(struct tg_fake *fake)
{
  struct tg_fake_limits *limits = fake->limits;
  if (limits->window_ends >= 0 && tg_fake_at(fake) >= limits->window_ends) {
    limits->window_ends = -1;
    fake->settings.remaining = fake->settings.total;
  } else if (limits->window_ends < 0 && fake->settings.remaining < fake->settings.total) {
    limits->window_ends = tg_fake_at(fake) + fake->settings.reset_after;
  }
}

tg_ms tg_fake_limits_reset_after(struct tg_fake *fake)
{
  tg_fake_limits_roll(fake);
  return fake->limits->window_ends < 0 ? 0 : fake->limits->window_ends - tg_fake_at(fake);
}

static tg_ms *bucket_at(struct tg_fake *fake, int bucket)
{
  struct tg_fake_limits *limits = fake->limits;
  while (limits->bucket_count <= (size_t)bucket) {
    limits->buckets = tg_realloc(limits->buckets, (limits->bucket_count + 1) * sizeof *limits->buckets);
    limits->buckets[limits->bucket_count++] = -1;
  }
  return &limits->buckets[bucket];
}

bool tg_fake_token_is_right(const struct tg_fake *fake, const char *token)
{
  return token && !fake->limits->token_reset && strcmp(token, fake->settings.token) == 0;
}

void tg_fake_reset_token(struct tg_fake *fake, int code)
{
  fake->limits->token_reset = true;
  struct tg_fake_session *session, *next;
  for (session = LIST_FIRST(&fake->sessions); session; session = next) {
    next = LIST_NEXT(session, link);
    struct tg_fake_conn *conn = session->conn;
    tg_fake_session_kill(session, "token reset");
    if (conn)
      tg_fake_conn_close(conn, code, "Authentication failed.");
  }
}

/* ---- op 2 ---- */

/* What becomes of an op 2: code > 0: close with it; 0: fine; -1: op 9. */
struct verdict {
  int code;
  const char *rule, *text;
};

static const struct verdict fine = {0, NULL, NULL};

/* Accepts "Bot <token>", as live servers do. */
static const char *bare(const char *token)
{
  return token && strncmp(token, "Bot ", 4) == 0 ? token + 4 : token;
}

static struct verdict judge_shape(const struct tg_fake *fake, const json_t *d,
                                  struct tg_fake_identify *identify)
{
  static const struct verdict bad = {4002, "identify_shape", NULL};
  struct verdict verdict = bad;
  const json_t *properties = json_object_get(d, "properties"), *compress = json_object_get(d, "compress"),
               *threshold = json_object_get(d, "large_threshold"), *presence = json_object_get(d, "presence"),
               *capabilities = json_object_get(d, "capabilities");
  if (!json_is_string(json_object_get(d, "token")))
    verdict.text = "token is not a string";
  else if (!json_is_object(properties))
    verdict.text = "properties are missing";
  else if (compress && !json_is_boolean(compress))
    verdict.text = "compress is not a boolean";
  else if (threshold && (!json_is_integer(threshold) || json_integer_value(threshold) < 50 ||
                         json_integer_value(threshold) > 250))
    verdict.text = "large_threshold is not in 50..250";
  else if (capabilities && (!json_is_integer(capabilities) || json_integer_value(capabilities) < 0))
    verdict.text = "capabilities are not a number from 0 up";
  else if (presence && !json_is_object(presence) && !json_is_null(presence))
    verdict.text = "presence is not an object";
  else if (!json_is_string(json_object_get(properties, "os")) &&
           !json_is_string(json_object_get(properties, "$os")))
    verdict.text = "properties.os is missing";
  else
    verdict = fine;
  identify->large_threshold = threshold ? (int)json_integer_value(threshold) : 50;
  if (verdict.code && strcmp(fake->settings.bad_identify, "ignore") == 0 &&
      json_is_string(json_object_get(d, "token")))
    return fine;
  return verdict;
}

static struct verdict judge_intents(const struct tg_fake *fake, const json_t *d,
                                    struct tg_fake_identify *identify)
{
  const json_t *intents = json_object_get(d, "intents");
  json_int_t bits = json_integer_value(intents);
  identify->intents = (uint64_t)bits;
  if (!json_is_integer(intents))
    return (struct verdict){4013, "intents", "intents are missing"};
  if (bits < 0 || (bits & ~(json_int_t)TG_INTENTS_ALL))
    return (struct verdict){4013, "intents", "intents have a bit that is not documented"};
  if (bits & TG_INTENTS_PRIVILEGED & ~(json_int_t)fake->settings.privileged_intents)
    return (struct verdict){4014, "disallowed_intents", "a privileged intent is not switched on"};
  return fine;
}

/* "4,8"; empty: any. */
static bool is_legal_total(const char *totals, int total)
{
  bool any = true;
  for (const char *at = totals + strspn(totals, ", "); *at; at += strspn(at, ", ")) {
    char *end;
    if (strtol(at, &end, 10) == total && end > at)
      return true;
    any = false;
    at += strcspn(at, ", ");
  }
  return any;
}

static struct verdict judge_shard(struct tg_fake *fake, const json_t *d, struct tg_fake_identify *identify)
{
  identify->shard_id = 0;
  identify->total = 1;
  const json_t *shard = json_object_get(d, "shard");
  if (shard) {
    const json_t *id = json_array_get(shard, 0), *total = json_array_get(shard, 1);
    if (json_array_size(shard) != 2 || !json_is_integer(id) || !json_is_integer(total))
      return (struct verdict){4010, "shard", "shard is not [int,int]"};
    json_int_t count = json_integer_value(total);
    if (count < 1 || count > SHARDS_MAX || json_integer_value(id) < 0 || json_integer_value(id) >= count)
      return (struct verdict){4010, "shard", "shard id is not below the number of shards"};
    identify->shard_id = (int)json_integer_value(id);
    identify->total = (int)count;
  }
  if (identify->total % fake->settings.shard_multiple != 0)
    return (struct verdict){4010, "shard", "the number of shards is not a multiple of what this bot needs"};
  if (!is_legal_total(fake->settings.totals, identify->total))
    return (struct verdict){4010, "shard", "the number of shards is not one of those that are allowed"};
  if (identify->total < fake->settings.min_total)
    return (struct verdict){4011, "sharding_required", "too few shards for a bot of this size"};
  if (tg_fake_guild_count(fake, identify->shard_id, identify->total) > (size_t)fake->settings.max_guilds)
    return (struct verdict){4011, "sharding_required", "the session would have too many guilds"};
  return fine;
}

static struct verdict judge_limits(struct tg_fake *fake, struct tg_fake_identify *identify, tg_ms *since)
{
  identify->bucket = (int)(identify->shard_id % fake->settings.max_concurrency);
  tg_ms *bucket = bucket_at(fake, identify->bucket), now = tg_fake_at(fake);
  *since = *bucket < 0 ? -1 : now - *bucket;
  tg_fake_limits_roll(fake);
  if (fake->settings.remaining == 0)
    return (struct verdict){4004, "session_start_limit", "no identifies were left; the token is reset"};
  if (*since >= 0 && *since < fake->settings.identify_window)
    return (struct verdict){-1, "identify_too_soon", "the bucket was used less than a window ago"};
  *bucket = now;
  fake->settings.remaining--;
  tg_fake_limits_roll(fake);
  return fine;
}

static struct verdict judge(struct tg_fake_conn *conn, const json_t *d, struct tg_fake_identify *identify,
                            tg_ms *since)
{
  struct tg_fake *fake = conn->fake;
  if (conn->session || conn->state == TG_FAKE_IDENTIFYING || conn->state == TG_FAKE_RESUMING)
    return (struct verdict){4005, "already_identified", "op 2 while there is a session"};
  if (conn->version != 10 && strcmp(fake->settings.bad_version, "identify") == 0)
    return (struct verdict){4012, "version", "v is not 10"};
  struct verdict verdict = judge_shape(fake, d, identify);
  if (verdict.code == 0 &&
      !tg_fake_token_is_right(fake, bare(json_string_value(json_object_get(d, "token")))))
    verdict = (struct verdict){4004, "token", "the token is wrong"};
  if (verdict.code == 0)
    verdict = judge_intents(fake, d, identify);
  if (verdict.code == 0)
    verdict = judge_shard(fake, d, identify);
  if (verdict.code == 0)
    verdict = judge_limits(fake, identify, since);
  return verdict;
}

static const char *reason_of(int code)
{
  switch (code) {
  case 4004:
    return "Authentication failed.";
  case 4005:
    return "Already authenticated.";
  case 4010:
    return "Invalid shard.";
  case 4011:
    return "Sharding required.";
  case 4012:
    return "Invalid API version.";
  case 4013:
    return "Invalid intent(s).";
  case 4014:
    return "Disallowed intent(s).";
  default:
    return "Error while decoding payload.";
  }
}

void tg_fake_identify(struct tg_fake_conn *conn, const json_t *d)
{
  struct tg_fake *fake = conn->fake;
  struct tg_fake_identify identify = {.shard_id = -1, .total = -1, .bucket = -1};
  tg_ms since = -1;
  struct verdict verdict = judge(conn, d, &identify, &since);
  char text[16] = "ok";
  if (verdict.code)
    snprintf(text, sizeof text, verdict.code < 0 ? "op9" : "%d", verdict.code);
  fake->journal->counters.identifies++;
  tg_fake_note(fake, TG_FAKE_LIST_identifies,
               json_pack("{s:i, s:i, s:i, s:i, s:o, s:s, s:I, s:O?, s:O*}", "connection", (int)conn->id,
                         "shard", identify.shard_id, "total", identify.total, "bucket", identify.bucket,
                         "since_last", since < 0 ? json_null() : json_integer(since), "verdict", text,
                         "intents", (json_int_t)identify.intents, "presence", json_object_get(d, "presence"),
                         "capabilities", json_object_get(d, "capabilities")));
  if (verdict.code == 0) {
    fake->journal->counters.identifies_ok++;
    char total[16];
    snprintf(total, sizeof total, "%d", identify.total);
    tg_fake_count(fake->journal->identifies_by_total, total);
    conn->shard_id = identify.shard_id;
    conn->total = identify.total;
    conn->state = TG_FAKE_IDENTIFYING;
    if (conn->fake->points->identify(conn, &identify) == TG_FAKE_GO_ON)
      tg_fake_identify_finish(conn, &identify);
    return;
  }
  if (conn->shard_id < 0) {
    conn->shard_id = identify.shard_id;
    conn->total = identify.total;
  }
  tg_fake_violation(fake, conn, verdict.rule, text, "%s", verdict.text);
  if (verdict.code < 0) {
    tg_fake_conn_send_op(conn, TG_OP_INVALID_SESSION, "false");
    return;
  }
  if (strcmp(verdict.rule, "session_start_limit") == 0)
    tg_fake_reset_token(fake, 4004);
  tg_fake_conn_close(conn, verdict.code, reason_of(verdict.code));
}

void tg_fake_identify_finish(struct tg_fake_conn *conn, const struct tg_fake_identify *identify)
{
  tg_fake_session_new(conn, identify);
}
