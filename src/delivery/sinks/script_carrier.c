#include "base/buf.h"
#include "base/log.h"
#include "delivery/lanes/lanes.h"
#include "delivery/lanes/queue.h"
#include "delivery/sinks/carrier.h"
#include "delivery/sinks/sender.h"
#include "shared/poison.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A script's deliver: gateway.delivery's for the bot, that of gateway.sink(name) for others. The ends of its
 * calls are looked at in the next turn of the loop: a reload ends many of them at once, from the inside of
 * what ends the state. */

struct call {
  TAILQ_ENTRY(call) link;
  struct script_carrier *carrier;
  struct tg_parcel *parcel; /* NULL: given up, nobody waits for the end */
  bool done;
  bool failed;             /* the script has: the default delivers */
  struct tg_answer answer; /* what it has said else */
  tg_ms began;             /* uv_now() */
};

struct script_carrier {
  struct tg_carrier carrier;
  const struct tg_lanes *lanes; /* of the sink */
  struct tg_delivery_env *env;  /* its */
  char *function;               /* for people: "gateway.delivery:deliver" */
  TAILQ_HEAD(, call) calls;     /* that have not ended */
  uv_timer_t timer;
};

tg_ms tg_script_patience(const struct tg_lanes *lanes)
{
  return 6 * lanes->handler->timeout;
}

static bool is_bot(const struct script_carrier *script)
{
  return script->lanes->index == TG_SINK_BOT;
}

static const char *where_urls_are(const struct script_carrier *script)
{
  return is_bot(script) ? "there are no event_handler.urls" : "the sink has no url";
}

static void forget(struct call *call)
{
  TAILQ_REMOVE(&call->carrier->calls, call, link);
  if (call->parcel)
    call->parcel->call = NULL;
  free(call);
}

/* --- the end of a call ------------------------------------------------------------- */

static void end(struct tg_parcel *parcel, const struct tg_answer *answer)
{
  parcel->carrier->ended(parcel, answer);
}

static void deliver_by_default(struct script_carrier *script, struct tg_parcel *parcel)
{
  struct tg_carrier *direct = parcel->sender->direct;
  if (direct) {
    parcel->carrier = direct;
    parcel->posted = false;
    direct->kind->start(direct, parcel);
    return;
  }
  struct tg_answer answer = {.outcome = TG_OUTCOME_RETRY, .retry_after = -1};
  tg_fail(&answer.error, "failed", "the script's deliver has failed, and %s", where_urls_are(script));
  end(parcel, &answer);
}

/* Some time has passed since it was allowed to go. */
static void deliver_if_ours(struct script_carrier *script, struct tg_parcel *parcel)
{
  const struct tg_answer none = {.outcome = TG_OUTCOME_CANCELLED, .retry_after = -1};
  if (parcel->way != TG_WAY_LETTER && tg_lane_is_withheld(parcel->lane))
    end(parcel, &none);
  else
    deliver_by_default(script, parcel);
}

static void end_call(struct script_carrier *script, struct call *call)
{
  struct tg_parcel *parcel = call->parcel;
  struct tg_answer answer = call->answer;
  bool failed = call->failed;
  answer.seconds = (double)(tg_env_now(script->env) - call->began) / 1000;
  forget(call);
  if (failed)
    deliver_if_ours(script, parcel);
  else
    end(parcel, &answer);
}

static void give_up(struct script_carrier *script, struct call *call)
{
  struct tg_parcel *parcel = call->parcel;
  tg_log(TG_ERROR, parcel->shard_id, "%s has not returned for %lld s; the default delivers these events",
         script->function, (long long)tg_script_patience(script->lanes) / 1000);
  parcel->call = NULL;
  call->parcel = NULL;
  deliver_if_ours(script, parcel);
}

static struct call *next_due(const struct script_carrier *script)
{
  tg_ms limit = tg_env_now(script->env) - tg_script_patience(script->lanes);
  struct call *call;
  TAILQ_FOREACH(call, &script->calls, link)
  {
    if (call->parcel && (call->done || call->began <= limit))
      return call;
  }
  return NULL;
}

static void on_timer(uv_timer_t *timer);

static void set_timer(struct script_carrier *script)
{
  tg_ms now = tg_env_now(script->env), next = INT64_MAX;
  const struct call *call;
  TAILQ_FOREACH(call, &script->calls, link)
  {
    tg_ms at = call->done ? now : call->began + tg_script_patience(script->lanes);
    if (call->parcel && at < next)
      next = at;
  }
  if (next < INT64_MAX)
    uv_timer_start(&script->timer, on_timer, (uint64_t)(next > now ? next - now : 0), 0);
}

static void on_timer(uv_timer_t *timer)
{
  struct script_carrier *script = timer->data;
  struct call *call;
  while (!script->env->stopping && (call = next_due(script))) {
    if (call->done)
      end_call(script, call);
    else
      give_up(script, call);
  }
  set_timer(script);
}

/* --- a call -------------------------------------------------------------------------- */

static void take_failure(struct tg_answer *answer, const struct tg_value *failure)
{
  char code[TG_ERROR_CODE_SIZE];
  snprintf(code, sizeof code, "%.*s", (int)failure->code.length, failure->code.at);
  answer->status = failure->status;
  answer->retry_after = failure->retry_after;
  tg_fail(&answer->error, code, "%.*s", (int)failure->string.length, failure->string.at);
  answer->outcome = tg_outcome_of(failure->status, code, failure->retry_after);
  if (strcmp(code, "cancelled") == 0) { /* by a reload */
    answer->outcome = TG_OUTCOME_CANCELLED;
    answer->status = 0;
  }
  answer->advice = tg_outcome_advice(failure->status, code, true);
}

static void on_reply(void *ctx, bool ok, const struct tg_value *result)
{
  struct call *call = ctx;
  struct tg_answer *answer = &call->answer;
  call->done = true;
  call->failed = !ok;
  if (!call->parcel) {
    forget(call);
    return;
  }
  if (ok && result->kind == TG_FAILURE) {
    take_failure(answer, result);
  } else if (ok && result->kind == TG_BOOL && !result->boolean) {
    tg_fail(&answer->error, "failed", "%s returned false", call->carrier->function);
    answer->outcome = TG_OUTCOME_RETRY;
  } else {
    answer->outcome = TG_OUTCOME_DELIVERED;
  }
  uv_timer_start(&call->carrier->timer, on_timer, 0, 0);
}

static struct call *begin(struct script_carrier *script, struct tg_parcel *parcel)
{
  struct call *call = tg_calloc(1, sizeof *call);
  call->carrier = script;
  call->parcel = parcel;
  parcel->call = call;
  call->answer.retry_after = -1;
  call->began = tg_env_now(script->env);
  TAILQ_INSERT_TAIL(&script->calls, call, link);
  return call;
}

/* A call that ends without the script being asked. */
static struct call *end_soon(struct script_carrier *script, struct tg_parcel *parcel)
{
  struct call *call = begin(script, parcel);
  call->done = true;
  uv_timer_start(&script->timer, on_timer, 0, 0);
  return call;
}

/* What a script has for it; NULL: it is the bot's, whose is a method, or there is none. */
static const struct tg_sink_hook *hook_of(const struct script_carrier *script)
{
  return is_bot(script) ? NULL : tg_hook_of_sink(script->env->hooks, script->lanes->name);
}

static bool is_hooked(const struct script_carrier *script)
{
  const struct tg_sink_hook *hook = hook_of(script);
  return is_bot(script) ? tg_hooked(script->env->hooks, TG_METHOD_delivery_deliver) : hook && hook->delivers;
}

/* Whether what is in the parcel, or some of it, has ended a process in there. */
static bool is_poison(const struct script_carrier *script, const struct tg_parcel *parcel,
                      const struct tg_event *events)
{
  const struct tg_sink_hook *hook = hook_of(script);
  const char *where = hook ? hook->where : NULL;
  struct tg_poison_call call = {.group = hook ? TG_LUA_sink : TG_LUA_delivery,
                                .number = hook ? 0 : TG_METHOD_delivery_deliver,
                                .shard_id = parcel->shard_id};
  for (const struct tg_event *event = events; event < events + parcel->count; event++) {
    if (event->marker)
      continue;
    if (call.sequence == 0 || call.epoch != event->epoch) {
      if (tg_poison_has_event(&call, where))
        return true;
      call.epoch = event->epoch;
      call.sequence = event->sequence;
    }
    call.last = event->sequence;
  }
  return tg_poison_has_event(&call, where);
}

/* Until the one to blame stands alone. It goes to the bot; or to the dead letters,
 * where there is none but the script. */
static void refuse_poison(struct script_carrier *script, struct tg_parcel *parcel)
{
  if (parcel->count == 1 && parcel->sender->direct) {
    deliver_by_default(script, parcel);
    return;
  }
  struct call *call = end_soon(script, parcel);
  call->answer.outcome = TG_OUTCOME_REFUSED;
  tg_fail(&call->answer.error, "poison", "it has ended the process in %s, and %s", script->function,
          where_urls_are(script));
}

static void ask(struct script_carrier *script, struct tg_parcel *parcel, struct tg_event *events)
{
  struct tg_value argument = tg_value_events(events, parcel->count);
  struct call *call = begin(script, parcel);
  set_timer(script);
  struct tg_hooks *hooks = script->env->hooks;
  if (is_bot(script))
    tg_hook_start(hooks, TG_METHOD_delivery_deliver, &argument, 1, on_reply, call);
  else
    hooks->start_sink(hooks->script, script->lanes->name, &argument, on_reply, call);
}

static void hand_over(struct script_carrier *script, struct tg_parcel *parcel)
{
  struct tg_event *events = tg_calloc((size_t)parcel->count, sizeof *events);
  char(*texts)[TG_MARKER_MAX] = tg_alloc((size_t)parcel->count * TG_MARKER_MAX);
  parcel->owner->show(parcel, events, texts);
  if (__builtin_expect(is_poison(script, parcel, events), 0))
    refuse_poison(script, parcel);
  else
    ask(script, parcel, events);
  free(events);
  free(texts);
}

static void start(struct tg_carrier *carrier, struct tg_parcel *parcel)
{
  struct script_carrier *script = (struct script_carrier *)carrier;
  bool hooked = is_hooked(script);
  if (!hooked && parcel->sender->direct)
    deliver_by_default(script, parcel);
  else if (!hooked)
    end_soon(script, parcel)->failed = true;
  else
    hand_over(script, parcel);
}

/* Its end is waited for, since the script may work on for long, but nobody is told. */
static void cancel(struct tg_carrier *carrier, struct tg_parcel *parcel)
{
  (void)carrier;
  struct call *call = parcel->call;
  if (call->done)
    forget(call);
  else
    call->parcel = NULL;
  parcel->call = NULL;
}

static void free_carrier(struct tg_carrier *carrier)
{
  free(((struct script_carrier *)carrier)->function);
  free(carrier->name);
  free(carrier);
}

struct tg_carrier *tg_script_carrier_new(const struct tg_senders *senders)
{
  static const struct tg_carrier_kind kind = {start, cancel, NULL, free_carrier};
  struct script_carrier *script = tg_calloc(1, sizeof *script);
  struct tg_buf name = {0};
  script->lanes = senders->lanes;
  script->env = senders->env;
  if (is_bot(script))
    tg_buf_puts(&name, "gateway.delivery");
  else
    tg_buf_printf(&name, "gateway.sink(\"%s\")", senders->lanes->name);
  script->carrier = (struct tg_carrier){.kind = &kind, .name = tg_strndup(name.data, name.length)};
  tg_buf_puts(&name, is_bot(script) ? ":deliver" : ".deliver");
  script->function = tg_buf_take(&name);
  TAILQ_INIT(&script->calls);
  tg_handles_timer(&script->env->handles, &script->timer, script);
  return &script->carrier;
}

void tg_script_carrier_end(struct tg_carrier *carrier)
{
  struct script_carrier *script = (struct script_carrier *)carrier;
  while (!TAILQ_EMPTY(&script->calls))
    forget(TAILQ_FIRST(&script->calls));
  tg_handles_close(&script->env->handles, &script->timer);
}
