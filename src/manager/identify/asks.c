#include "manager/identify/asks.h"

#include "base/buf.h"
#include "base/log.h"

#include <stdlib.h>

struct slot_ask {
  unsigned asked; /* number of the call of the script of which an answer is awaited; 0: none */
  bool in_line;   /* its worker waits for the scheduler */
  int64_t last;   /* number of what its worker asked */
  struct tg_waiter *waiters;
};

struct tg_asks {
  const struct tg_manager_env *env;
  const struct tg_asks_events *events;
  void *ctx;
  unsigned calls;
  struct slot_ask *of_sides[TG_SIDES]; /* of the shards, by place; NULL: none was asked for yet */
};

static struct slot_ask *ask_of(struct tg_asks *asks, const struct tg_managed_shard *shard)
{
  struct slot_ask **list = &asks->of_sides[shard->set->side];
  if (!*list)
    *list = tg_calloc((size_t)shard->set->count, sizeof **list);
  return &(*list)[shard - shard->set->list];
}

struct tg_asks *tg_asks_new(const struct tg_manager_env *env, const struct tg_asks_events *events, void *ctx)
{
  struct tg_asks *asks = tg_calloc(1, sizeof *asks);
  asks->env = env;
  asks->events = events;
  asks->ctx = ctx;
  return asks;
}

void tg_asks_free(struct tg_asks *asks)
{
  if (!asks)
    return;
  for (int side = 0; side < TG_SIDES; side++)
    free(asks->of_sides[side]);
  free(asks);
}

/* ---- the scheduler ---- */

void tg_asks_in_line(struct tg_asks *asks, struct tg_managed_shard *shard)
{
  ask_of(asks, shard)->in_line = true;
  asks->events->wanted(asks->ctx, shard);
}

void tg_asks_of_script(struct tg_asks *asks, struct tg_managed_shard *shard, tg_manager_reply *reply,
                       void *ctx)
{
  tg_waiter_add(&ask_of(asks, shard)->waiters, reply, ctx);
  asks->events->wanted(asks->ctx, shard);
}

bool tg_asks_awaited(struct tg_asks *asks, const struct tg_managed_shard *shard)
{
  const struct slot_ask *ask = ask_of(asks, shard);
  return ask->in_line || ask->waiters;
}

bool tg_asks_script_asked(struct tg_asks *asks, const struct tg_managed_shard *shard)
{
  return ask_of(asks, shard)->asked != 0;
}

void tg_asks_granted(struct tg_asks *asks, struct tg_managed_shard *shard)
{
  struct slot_ask *ask = ask_of(asks, shard);
  bool in_line = ask->in_line;
  ask->in_line = false;
  if (in_line && asks->events->reachable(asks->ctx, shard))
    asks->events->allowed(asks->ctx, shard);
  tg_waiters_end(&ask->waiters, NULL, NULL);
}

void tg_asks_drop(struct tg_asks *asks, const struct tg_managed_shard *shard, const char *why)
{
  struct slot_ask *ask = ask_of(asks, shard);
  ask->asked = 0;
  ask->in_line = false;
  tg_waiters_end(&ask->waiters, "closed", why);
}

void tg_asks_set_over(struct tg_asks *asks, const struct tg_shard_set *set, const char *why)
{
  for (int i = 0; i < set->count; i++)
    tg_asks_drop(asks, &set->list[i], why);
  free(asks->of_sides[set->side]);
  asks->of_sides[set->side] = NULL;
}

/* ---- the script ---- */

struct ask_call {
  struct tg_asks *asks;
  tg_shard_ref ref;
  unsigned number;
};

static void on_answer(void *ctx, json_t *value, const struct tg_error *error)
{
  struct ask_call call = *(struct ask_call *)ctx;
  free(ctx);
  struct tg_asks *asks = call.asks;
  struct tg_managed_shard *shard = tg_shard_of_ref(asks->env, call.ref);
  if (asks->env->stopping || !shard || ask_of(asks, shard)->asked != call.number ||
      !asks->events->reachable(asks->ctx, shard))
    return; /* that process of its worker has ended, or is about to */
  ask_of(asks, shard)->asked = 0;
  if (!error && !json_is_false(value)) {
    asks->events->allowed(asks->ctx, shard);
    return;
  }
  tg_log_with(TG_WARN, shard->id,
              TG_WITH(TG_TEXT(METHOD, "gateway.manager:request_identify"),
                      TG_TEXT(REASON, error ? error->message : "it returned false")),
              "the script gave no slot to identify; the identify scheduler decides");
  tg_asks_in_line(asks, shard);
}

static void ask_script(struct tg_asks *asks, struct tg_managed_shard *shard)
{
  struct ask_call *call = tg_alloc(sizeof *call);
  if (++asks->calls == 0)
    asks->calls = 1;
  *call = (struct ask_call){asks, shard->ref, asks->calls};
  ask_of(asks, shard)->asked = asks->calls;
  json_t *args = json_pack("[i, i]", shard->id, shard->set->range.total);
  tg_call(asks->env->calls, TG_METHOD_manager_request_identify, args, on_answer, call);
  json_decref(args);
}

int64_t tg_asks_last(struct tg_asks *asks, const struct tg_managed_shard *shard)
{
  return ask_of(asks, shard)->last;
}

void tg_asks_of_worker(struct tg_asks *asks, struct tg_managed_shard *shard, int64_t number)
{
  struct slot_ask *ask = ask_of(asks, shard);
  ask->last = number;
  if (ask->in_line || (ask->asked && ask->waiters)) /* asks again, with its next connection */
    asks->events->wanted(asks->ctx, shard);
  else if (ask->asked)
    return; /* the script has not answered yet */
  else if (tg_hooked(asks->env->hooks, TG_METHOD_manager_request_identify))
    ask_script(asks, shard);
  else
    tg_asks_in_line(asks, shard);
}
