#include "manager/identify/grants.h"

#include "base/buf.h"
#include "base/human.h"
#include "base/log.h"
#include "manager/identify/grants_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NOT_YET = 1000 }; /* ms until somebody may try again while this gateway starts */

/* ---- reading a request ---- */

static bool read_priority(const json_t *body, enum tg_identify_priority *priority, struct tg_error *error)
{
  static const char *const names[] = {"lost", "first", "resharding"};
  const json_t *field = json_object_get(body, "priority");
  const char *text = json_string_value(field);
  if (!field || json_is_null(field))
    return true;
  for (size_t i = 0; text && i < sizeof names / sizeof *names; i++) {
    if (strcmp(text, names[i]) == 0) {
      *priority = (enum tg_identify_priority)i;
      return true;
    }
  }
  return tg_fail(error, "bad_request", "\"priority\" has to be \"lost\", \"first\" or \"resharding\"");
}

static bool read_wait(const json_t *body, tg_ms *wait, struct tg_error *error)
{
  const json_t *field = json_object_get(body, "wait");
  if (!field || json_is_null(field))
    return true;
  if (!json_is_integer(field) || json_integer_value(field) < 0 ||
      json_integer_value(field) > TG_GRANT_WAIT_MAX)
    return tg_fail(error, "bad_request", "\"wait\" has to be a whole number from 0 to %d", TG_GRANT_WAIT_MAX);
  *wait = json_integer_value(field);
  return true;
}

bool tg_grant_wish_read(const json_t *body, int shard_id, struct tg_grant_wish *wish, struct tg_error *error)
{
  *wish = (struct tg_grant_wish){shard_id, TG_IDENTIFY_FIRST, TG_GRANT_WAIT, false};
  if (body && !json_is_object(body) && !json_is_null(body))
    return tg_fail(error, "bad_request", "the body has to be a JSON object");
  if (json_object_get(body, "state") || json_object_get(body, "host"))
    return tg_fail(
        error, "bad_request",
        "\"state\" and \"host\" are words of gateway hosts that had a broker; now they share a bot's "
        "shards by a cluster (cluster.url). Other programs say \"priority\" and \"wait\" alone");
  return read_priority(body, &wish->priority, error) && read_wait(body, &wish->wait, error);
}

/* ---- who waits ---- */

static struct tg_grant_claim *find(const struct tg_grants *grants, int shard_id)
{
  struct tg_grant_claim *claim = grants->claims;
  while (claim && claim->wish.shard_id != shard_id)
    claim = claim->next;
  return claim;
}

struct tg_grant_claim *tg_grant_find(const struct tg_grants *grants, uint64_t id)
{
  struct tg_grant_claim *claim = grants->claims;
  while (claim && (!claim->answer || claim->id != id))
    claim = claim->next;
  return claim;
}

static struct tg_grant_claim *add(struct tg_grants *grants)
{
  struct tg_grant_claim *claim = tg_calloc(1, sizeof *claim);
  claim->next = grants->claims;
  grants->claims = claim;
  return claim;
}

static void drop(struct tg_grants *grants, struct tg_grant_claim *claim)
{
  struct tg_grant_claim **at = &grants->claims;
  while (*at != claim)
    at = &(*at)->next;
  *at = claim->next;
  free(claim);
}

/* Nobody waits for the turn now, but its shard keeps its place for a while. */
static void keep_place(struct tg_grants *grants, struct tg_grant_claim *claim, tg_ms now)
{
  claim->answer = NULL;
  claim->until = now + TG_GRANT_KEPT;
  if (grants->scheduler && tg_scheduler_state(grants->scheduler, claim->wish.shard_id) == TG_IDENTIFY_ASKING)
    tg_scheduler_unused(grants->scheduler, claim->wish.shard_id, now);
}

/* ---- answers ---- */

/* Steals `body`. */
static void answer(tg_identify_answer *to, void *ctx, int status, tg_ms retry_after, json_t *body)
{
  to(ctx, status, retry_after, body);
  json_decref(body);
}

static json_t *error_body(const char *code, const char *why)
{
  return code ? json_pack("{s:s, s:s}", "error", why, "code", code) : json_pack("{s:s}", "error", why);
}

void tg_grant_give(struct tg_grants *grants, struct tg_grant_claim *claim, tg_ms deadline, tg_ms now)
{
  struct tg_grant_claim was = *claim;
  drop(grants, claim);
  tg_log(TG_DEBUG, was.wish.shard_id, "its turn to identify goes to another program");
  answer(was.answer, was.ctx, 200, -1,
         json_pack("{s:s, s:I, s:I}", "state", "granted", "waited", (json_int_t)(now - was.since), "validFor",
                   (json_int_t)(deadline - now)));
}

void tg_grant_refuse(struct tg_grants *grants, struct tg_grant_claim *claim, const char *format, ...)
{
  char why[TG_ERROR_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  vsnprintf(why, sizeof why, format, args);
  va_end(args);
  struct tg_grant_claim was = *claim;
  drop(grants, claim);
  answer(was.answer, was.ctx, 409, -1, error_body("shard", why));
}

void tg_grant_hold_back(struct tg_grants *grants, struct tg_grant_claim *claim, tg_ms retry_after, tg_ms now)
{
  if (claim->until == INT64_MAX)
    return;
  struct tg_grant_claim was = *claim;
  keep_place(grants, claim, now);
  answer(was.answer, was.ctx, 202, retry_after,
         json_pack("{s:s, s:I}", "state", "held_back", "retryAfter", (json_int_t)retry_after));
}

/* ---- for which shards ---- */

static bool is_offered(const struct tg_grants *grants, const struct tg_grant_wish *wish, char *why,
                       size_t size)
{
  const struct tg_manager_env *env = grants->env;
  const struct tg_shard_range *range = &env->shards.range;
  int shard_id = wish->shard_id;
  if (!wish->is_any && shard_id >= range->total)
    snprintf(why, size, "there is no shard %d: total_shards is %d", shard_id, range->total);
  else if (!env->clustered && tg_shard_set_find(&env->shards, shard_id))
    snprintf(why, size,
             "shard %d is this gateway's own (it has %d to %d). Check first_shard_id and last_shard_id",
             shard_id, range->first, range->last);
  else
    return true;
  return false;
}

static void enter(struct tg_grants *grants, struct tg_grant_claim *claim, tg_ms now)
{
  char why[TG_ERROR_MESSAGE_SIZE];
  if (!is_offered(grants, &claim->wish, why, sizeof why))
    tg_grant_refuse(grants, claim, "%s", why);
  else if (grants->env->clustered)
    claim->ask_at = now;
  else
    tg_scheduler_ask_away(grants->scheduler, claim->wish.shard_id, claim->wish.priority, now);
}

/* There are no turns now. False: there are, or who asks waits until there are. */
static bool is_too_early(const struct tg_grants *grants, const struct tg_grant_wish *wish, char *why,
                         size_t size)
{
  char waits[TG_HUMAN_SIZE * 4];
  if (grants->env->stopping)
    snprintf(why, size, "the gateway is stopping");
  else if (grants->scheduler || wish->wait == TG_GRANT_FOR_EVER)
    return false;
  else if (grants->events->put_off(grants->ctx, waits, sizeof waits))
    snprintf(why, size, "the gateway starts later; it is %s", waits);
  else
    snprintf(why, size, "the gateway is starting");
  return true;
}

uint64_t tg_grants_ask(struct tg_grants *grants, const struct tg_grant_wish *wish, tg_identify_answer *to,
                       void *ctx)
{
  tg_ms now = tg_now();
  char why[TG_ERROR_MESSAGE_SIZE];
  if (is_too_early(grants, wish, why, sizeof why)) {
    answer(to, ctx, 503, NOT_YET, error_body(NULL, why));
    return 0;
  }
  struct tg_grant_claim *claim = find(grants, wish->shard_id);
  struct tg_grant_claim was = claim ? *claim : (struct tg_grant_claim){0};
  if (!claim)
    claim = add(grants);
  claim->wish = *wish;
  uint64_t id = claim->id = ++grants->count;
  claim->answer = to;
  claim->ctx = ctx;
  claim->is_asked = false; /* of what is under way for who asked before nobody hears */
  claim->since = now;
  claim->until = wish->wait == TG_GRANT_FOR_EVER ? INT64_MAX : now + wish->wait;
  if (grants->scheduler)
    enter(grants, claim, now);
  if (was.answer)
    answer(was.answer, was.ctx, 409, -1,
           error_body("shard", "somebody else asks for this shard, too: each shard is to be run once"));
  grants->events->changed(grants->ctx);
  return tg_grant_find(grants, id) ? id : 0;
}

void tg_grants_leave(struct tg_grants *grants, uint64_t id)
{
  struct tg_grant_claim *claim = tg_grant_find(grants, id);
  if (!claim)
    return;
  keep_place(grants, claim, tg_now());
  grants->events->changed(grants->ctx);
}

int tg_grants_count(const struct tg_grants *grants)
{
  int count = 0;
  for (const struct tg_grant_claim *claim = grants->claims; claim; claim = claim->next)
    count += claim->answer != NULL;
  return count;
}

bool tg_grants_granted(struct tg_grants *grants, int shard_id, tg_ms deadline, tg_ms now)
{
  struct tg_grant_claim *claim = find(grants, shard_id);
  if (!claim || !claim->answer)
    return false;
  tg_grant_give(grants, claim, deadline, now);
  return true;
}

void tg_grants_hold_back(struct tg_grants *grants, tg_ms retry_after, tg_ms now)
{
  for (struct tg_grant_claim *claim = grants->claims, *next; claim; claim = next) {
    next = claim->next;
    if (claim->answer)
      tg_grant_hold_back(grants, claim, retry_after, now);
  }
}

/* ---- time ---- */

static void end_wait(struct tg_grants *grants, struct tg_grant_claim *claim, tg_ms now)
{
  struct tg_grant_claim was = *claim;
  if (was.answer) {
    keep_place(grants, claim, now);
    answer(was.answer, was.ctx, 202, -1, json_pack("{s:s}", "state", "waiting"));
    return;
  }
  drop(grants, claim);
  if (tg_scheduler_state(grants->scheduler, was.wish.shard_id) == TG_IDENTIFY_STARTED)
    tg_scheduler_gone(grants->scheduler, was.wish.shard_id, now);
}

void tg_grants_tick(struct tg_grants *grants, tg_ms now)
{
  for (struct tg_grant_claim *claim = grants->claims, *next; claim; claim = next) {
    next = claim->next;
    if (now >= claim->until)
      end_wait(grants, claim, now);
  }
  if (grants->env->clustered)
    tg_grants_call(grants, now);
}

tg_ms tg_grants_wakeup(const struct tg_grants *grants)
{
  tg_ms first = INT64_MAX;
  for (const struct tg_grant_claim *claim = grants->claims; claim; claim = claim->next) {
    bool asks = grants->env->clustered && claim->answer && !claim->is_asked;
    tg_ms at = asks && claim->ask_at < claim->until ? claim->ask_at : claim->until;
    first = at < first ? at : first;
  }
  return first < INT64_MAX ? first : -1;
}

/* ---- life ---- */

struct tg_grants *tg_grants_new(const struct tg_manager_env *env, const struct tg_grants_events *events,
                                void *ctx)
{
  struct tg_grants *grants = tg_calloc(1, sizeof *grants);
  *grants = (struct tg_grants){.env = env, .events = events, .ctx = ctx};
  return grants;
}

void tg_grants_begin(struct tg_grants *grants, struct tg_scheduler *scheduler)
{
  grants->scheduler = scheduler;
  for (struct tg_grant_claim *claim = grants->claims, *next; claim; claim = next) {
    next = claim->next;
    if (claim->answer)
      enter(grants, claim, tg_now());
  }
}

void tg_grants_end(struct tg_grants *grants, const char *why)
{
  while (grants->claims) {
    struct tg_grant_claim was = *grants->claims;
    drop(grants, grants->claims);
    if (was.answer)
      answer(was.answer, was.ctx, 503, NOT_YET, error_body(NULL, why));
  }
}

void tg_grants_free(struct tg_grants *grants)
{
  tg_grants_end(grants, "the gateway is gone");
  tg_grants_forget_calls(grants);
  free(grants);
}
