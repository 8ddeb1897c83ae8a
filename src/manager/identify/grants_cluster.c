/* Turns for who is no host of the cluster, but identifies with its token: each ask is a call of the cluster's
 * script, which says whose turn it is, or when to ask again. */

#include "base/buf.h"
#include "manager/identify/grants_impl.h"

#include <stdlib.h>

enum { HELD_BACK_MIN = 1000, HELD_BACK_MAX = 60000, AWAY = 1000 /* ms until Redis is tried again */ };

struct tg_grant_call {
  struct tg_grant_call *next;
  struct tg_grants *owner; /* NULL: it is gone */
  uint64_t claim;
  int shard_id;
  tg_ms at;
};

static void end_call(struct tg_grant_call *call)
{
  if (call->owner) {
    struct tg_grant_call **at = &call->owner->calls;
    while (*at != call)
      at = &(*at)->next;
    *at = call->next;
  }
  free(call);
}

static void on_ignored(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  (void)ctx, (void)text, (void)length, (void)error;
}

static json_int_t number(const json_t *reply, const char *key)
{
  return (json_int_t)json_number_value(json_object_get(reply, key));
}

static void on_epoch(struct tg_grants *grants, struct tg_grant_claim *claim, const struct tg_grant_call *call,
                     json_int_t epoch, tg_ms now)
{
  tg_ms deadline = call->at + TG_GRANT_VALID;
  if (claim && now < deadline) {
    tg_grant_give(grants, claim, deadline, now);
    return;
  }
  grants->events->call(grants->ctx, "unused",
                       json_pack("{s:i, s:I}", "shard", call->shard_id, "epoch", epoch), on_ignored, NULL);
  if (claim)
    claim->ask_at = now;
}

static void on_reply(struct tg_grants *grants, const struct tg_grant_call *call, const json_t *reply)
{
  tg_ms now = tg_now();
  struct tg_grant_claim *claim = tg_grant_find(grants, call->claim);
  json_int_t epoch = number(reply, "epoch");
  if (claim)
    claim->is_asked = false;
  if (epoch > 0) {
    on_epoch(grants, claim, call, epoch, now);
  } else if (!claim) {
    return;
  } else if (json_object_get(reply, "refused")) {
    tg_grant_refuse(grants, claim, "shard %d is run by a host of this gateway's cluster", call->shard_id);
  } else if (json_object_get(reply, "held_back")) {
    tg_ms wait = number(reply, "held_back");
    claim->ask_at = now + (wait < HELD_BACK_MIN   ? HELD_BACK_MIN
                           : wait > HELD_BACK_MAX ? HELD_BACK_MAX
                                                  : wait);
    tg_grant_hold_back(grants, claim, wait < HELD_BACK_MIN ? HELD_BACK_MIN : wait, now);
  } else {
    claim->ask_at = now + (json_object_get(reply, "wait") ? number(reply, "wait") : AWAY);
  }
}

static void on_replied(void *ctx, const char *text, size_t length, const struct tg_error *error)
{
  struct tg_grant_call call = *(struct tg_grant_call *)ctx;
  end_call(ctx);
  if (!call.owner)
    return;
  json_t *reply = error ? NULL : json_loadb(text, length, 0, NULL);
  on_reply(call.owner, &call, reply);
  json_decref(reply);
  call.owner->events->changed(call.owner->ctx);
}

static void ask(struct tg_grants *grants, struct tg_grant_claim *claim, tg_ms now)
{
  struct tg_grant_call *call = tg_alloc(sizeof *call);
  *call = (struct tg_grant_call){grants->calls, grants, claim->id, claim->wish.shard_id, now};
  grants->calls = call;
  const struct tg_manager_env *env = grants->env;
  int reserve = env->info->total * env->config->resharding.identify_reserve / 100;
  json_t *body = json_pack("{s:i, s:i, s:i, s:i}", "shard", call->shard_id, "fence", 0, "priority",
                           (int)claim->wish.priority, "reserve", reserve);
  claim->is_asked = grants->events->call(grants->ctx, "slot", body, on_replied, call);
  if (claim->is_asked)
    return;
  end_call(call);
  claim->ask_at = now + AWAY;
}

void tg_grants_call(struct tg_grants *grants, tg_ms now)
{
  for (struct tg_grant_claim *claim = grants->claims; claim; claim = claim->next) {
    if (grants->scheduler && claim->answer && !claim->is_asked && now >= claim->ask_at)
      ask(grants, claim, now);
  }
}

void tg_grants_forget_calls(struct tg_grants *grants)
{
  for (struct tg_grant_call *call = grants->calls; call; call = call->next)
    call->owner = NULL;
  grants->calls = NULL;
}
