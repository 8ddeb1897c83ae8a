#include "manager/identify/optional_intents.h"

#include "base/buf.h"
#include "base/log.h"
#include "net/http.h"
#include "proto/intents.h"

#include <stdlib.h>
#include <string.h>

enum {
  ASK_TIMEOUT = 4000, /* ms: less than the pause between two identifies of a bucket */
  BODY_MAX = 64 * 1024,
  HOUR = 3600 * 1000,
  DAY = 24 * HOUR,
};

struct tg_optional_intents {
  const struct tg_manager_env *env;
  const struct tg_optional_events *events;
  void *ctx;
  uint64_t withheld;     /* what IDENTIFY does without now */
  tg_ms refused_at;      /* since then */
  uint64_t told;         /* what was missing at the last look; 0: nothing */
  tg_ms told_at;         /* tg_now() when the log was to say it; 0: never */
  uint64_t request;      /* which are allowed; 0: it is not asked */
  bool asking;           /* since they were refused */
  bool reloaded;         /* since there was a reload */
  uint64_t renew;        /* allowed again: sessions that lack them are ended, one after another */
  uint64_t candidates;   /* what one that was refused had */
  struct tg_buf waiting; /* references of the shards that wait for the answer */
};

/* ---- what is left out ---- */

static void set_withheld(struct tg_optional_intents *optional, uint64_t intents)
{
  optional->withheld = intents;
  for (int i = 0; i < tg_all_shards(optional->env); i++)
    atomic_store(&tg_shard_row_of(tg_any_shard(optional->env, i))->withheld_intents, intents);
}

static void withhold(struct tg_optional_intents *optional, uint64_t intents)
{
  char names[TG_INTENTS_TEXT];
  set_withheld(optional, optional->withheld | intents);
  optional->refused_at = optional->told_at = tg_now();
  optional->told = optional->withheld;
  tg_intents_format(intents, names, sizeof names);
  tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_NUMBER(CODE, 4014)),
              "Discord refuses privileged intents: identifying without %s, which %s optional; sessions that "
              "run go on. Switch them on in the Developer Portal (page \"Bot\", section \"Privileged Gateway "
              "Intents\"), or have their review renewed, then `tidegate ctl reload`",
              names, intents & (intents - 1) ? "are" : "is");
}

/* ---- which of them: GET /applications/@me ---- */

static uint64_t allowed_by(json_int_t flags)
{
  /* Of each intent: approved, and allowed to a bot in few guilds. */
  enum { PRESENCES = 3 << 12, MEMBERS = 3 << 14, CONTENT = 3 << 18 };
  return (flags & PRESENCES ? TG_INTENT_GUILD_PRESENCES : 0) |
         (flags & MEMBERS ? TG_INTENT_GUILD_MEMBERS : 0) | (flags & CONTENT ? TG_INTENT_MESSAGE_CONTENT : 0);
}

static void decide(struct tg_optional_intents *optional, uint64_t allowed)
{
  uint64_t refused = optional->candidates & ~allowed;
  struct tg_buf waiting = optional->waiting;
  withhold(optional, refused ? refused : optional->candidates);
  optional->waiting = (struct tg_buf){0};
  for (size_t i = 0; i < waiting.length / sizeof(tg_shard_ref); i++) {
    struct tg_managed_shard *shard = tg_shard_of_ref(optional->env, ((const tg_shard_ref *)waiting.data)[i]);
    if (shard)
      optional->events->again(optional->ctx, shard);
  }
  tg_buf_free(&waiting);
}

static void ask_again(struct tg_optional_intents *optional, uint64_t intents)
{
  char names[TG_INTENTS_TEXT];
  tg_intents_format(intents, names, sizeof names);
  if (intents)
    tg_log(TG_INFO, TG_NO_SHARD, "the next IDENTIFY asks for %s again", names);
  set_withheld(optional, optional->withheld & ~intents);
}

static void after_reload(struct tg_optional_intents *optional, bool known, uint64_t allowed)
{
  char names[TG_INTENTS_TEXT];
  ask_again(optional, known ? optional->withheld & allowed : optional->withheld);
  tg_intents_format(optional->withheld, names, sizeof names);
  if (optional->withheld)
    tg_log(TG_WARN, TG_NO_SHARD, "Discord still refuses %s", names);
  optional->renew = known ? allowed : 0;
}

static void answered(struct tg_optional_intents *optional, bool known, uint64_t allowed)
{
  bool asking = optional->asking, reloaded = optional->reloaded;
  optional->request = 0;
  optional->asking = optional->reloaded = false;
  if (asking)
    decide(optional, allowed);
  if (reloaded)
    after_reload(optional, known, allowed);
}

static void on_application(void *ctx, const struct tg_http_response *response)
{
  json_t *body =
      response->status == 200 ? json_loadb(response->body.at, response->body.length, 0, NULL) : NULL;
  const json_t *flags = json_object_get(body, "flags");
  bool known = json_is_integer(flags);
  uint64_t allowed = known ? allowed_by(json_integer_value(flags)) : 0;
  json_decref(body);
  answered(ctx, known, allowed);
}

static void ask(struct tg_optional_intents *optional)
{
  const struct tg_config *config = optional->env->config;
  if (optional->request)
    return;
  if (!optional->env->http) {
    answered(optional, false, 0);
    return;
  }
  struct tg_buf url = {0}, authorization = {0};
  tg_buf_printf(&url, "%s/applications/@me", config->rest.url);
  tg_buf_printf(&authorization, "Authorization: %s", config->rest.authorization);
  char *target = tg_buf_take(&url), *secret = tg_buf_take(&authorization);
  const char *const headers[] = {
      secret,
      "User-Agent: DiscordBot (https://github.com/tidegate/tidegate, " TG_VERSION ")",
      "Accept: application/json",
      NULL,
  };
  const struct tg_http_request wanted = {
      .method = "GET",
      .url = target,
      .headers = headers,
      .timeout = ASK_TIMEOUT,
      .max_body = BODY_MAX,
  };
  optional->request = tg_http_start(optional->env->http, &wanted, on_application, optional);
  free(target);
  free(secret);
}

static bool waits(const struct tg_optional_intents *optional, tg_shard_ref ref)
{
  const tg_shard_ref *waiting = (const tg_shard_ref *)optional->waiting.data;
  for (size_t i = 0; i < optional->waiting.length / sizeof *waiting; i++)
    if (waiting[i] == ref)
      return true;
  return false;
}

bool tg_optional_refused(struct tg_optional_intents *optional, struct tg_managed_shard *shard,
                         uint64_t intents)
{
  uint64_t candidates = intents & optional->env->config->optional_intents & TG_INTENTS_PRIVILEGED;
  if (!candidates)
    return false;
  if (candidates & optional->withheld) { /* it had left before that was known */
    optional->events->again(optional->ctx, shard);
    return true;
  }
  if (!waits(optional, shard->ref))
    tg_buf_append(&optional->waiting, &shard->ref, sizeof shard->ref);
  optional->candidates = candidates;
  optional->asking = true;
  ask(optional);
  return true;
}

/* ---- what the log says of it ---- */

uint64_t tg_optional_missing(const struct tg_shard_set *shards, uint64_t intents, int *count)
{
  uint64_t missing = 0;
  *count = 0;
  for (int i = 0; i < shards->count; i++) {
    uint64_t own = atomic_load(&tg_shard_row_of(&shards->list[i])->missing_intents) & intents;
    missing |= own;
    *count += own != 0;
  }
  return missing;
}

static void tell(struct tg_optional_intents *optional, uint64_t missing, int count)
{
  char names[TG_INTENTS_TEXT];
  tg_intents_format(missing | optional->withheld, names, sizeof names);
  tg_log_with(TG_ERROR, TG_NO_SHARD, TG_WITH(TG_NUMBER(SHARDS, count)),
              "%d of %d shards run without %s, since Discord has refused that; %s", count,
              optional->env->shards.count, names,
              optional->withheld
                  ? "once it is switched on in the Developer Portal, `tidegate ctl reload`"
                  : "they ask for it with their next sessions, or after `tidegate ctl reload`");
}

static bool all_connected(const struct tg_shard_set *shards)
{
  for (int i = 0; i < shards->count; i++)
    if (!shards->list[i].told || tg_shard_state_of(&shards->list[i]) != TG_SHARD_CONNECTED)
      return false;
  return true;
}

/* The next shard once the last one is up: no more than one is away for this. */
static void renew_next(struct tg_optional_intents *optional)
{
  const struct tg_shard_set *shards = &optional->env->shards;
  optional->renew &= ~optional->withheld;
  if (!optional->renew || optional->env->next.count > 0 || !all_connected(shards))
    return; /* the shards to come have them with their first sessions */
  for (int i = 0; i < shards->count; i++) {
    uint64_t missing = atomic_load(&tg_shard_row_of(&shards->list[i])->missing_intents);
    if (missing & optional->renew) {
      optional->events->renew(optional->ctx, &shards->list[i]);
      return;
    }
  }
  optional->renew = 0;
}

void tg_optional_look(struct tg_optional_intents *optional, tg_ms now)
{
  bool due = !optional->told_at || now - optional->told_at >= tg_patience(HOUR);
  int count;
  if (optional->withheld && now - optional->refused_at >= tg_patience(DAY))
    ask_again(optional, optional->withheld);
  if (optional->renew)
    renew_next(optional);
  if (!due && !optional->told)
    return;
  uint64_t missing = tg_optional_missing(&optional->env->shards, optional->env->config->intents, &count);
  if (missing || optional->withheld) {
    if (due)
      tell(optional, missing, count);
  } else if (!all_connected(&optional->env->shards)) {
    return; /* a session that is gone lacks nothing, but the next one may */
  } else if (optional->told) {
    char names[TG_INTENTS_TEXT];
    tg_intents_format(optional->told, names, sizeof names);
    tg_log(TG_INFO, TG_NO_SHARD, "no shard runs without %s any more", names);
  }
  optional->told = missing | optional->withheld;
  if (due)
    optional->told_at = now;
}

void tg_optional_reloaded(struct tg_optional_intents *optional)
{
  int count;
  if (!optional->withheld &&
      !tg_optional_missing(&optional->env->shards, optional->env->config->intents, &count))
    return;
  optional->reloaded = true;
  ask(optional);
}

tg_ms tg_optional_retry_in(const struct tg_optional_intents *optional)
{
  tg_ms left = optional->refused_at + tg_patience(DAY) - tg_now();
  return !optional->withheld ? -1 : left > 0 ? left : 0;
}

uint64_t tg_optional_withheld(const struct tg_optional_intents *optional)
{
  return optional->withheld;
}

/* ---- life ---- */

struct tg_optional_intents *tg_optional_new(const struct tg_manager_env *env,
                                            const struct tg_optional_events *events, void *ctx)
{
  struct tg_optional_intents *optional = tg_calloc(1, sizeof *optional);
  optional->env = env;
  optional->events = events;
  optional->ctx = ctx;
  return optional;
}

void tg_optional_begin(struct tg_optional_intents *optional)
{
  set_withheld(optional, 0);
}

void tg_optional_begin_next(struct tg_optional_intents *optional)
{
  set_withheld(optional, optional->withheld);
}

void tg_optional_end(struct tg_optional_intents *optional)
{
  if (optional->request)
    tg_http_cancel(optional->env->http, optional->request);
  optional->request = 0;
}

void tg_optional_free(struct tg_optional_intents *optional)
{
  tg_buf_free(&optional->waiting);
  free(optional);
}
