/* IDENTIFY: the presence to send, the slot to wait for, op 2.
 * The slot is asked for last, when all else is ready, and used at once. */

#include "base/log.h"
#include "proto/payload.h"
#include "proto/presence.h"
#include "shard/shard_impl.h"

#include <stdlib.h>

/* What a script was asked for one connection may be answered on the next. */
struct question {
  struct tg_shard *shard;
  unsigned connection;
};

static struct question *ask(struct tg_shard *shard)
{
  struct question *question = tg_alloc(sizeof *question);
  *question = (struct question){shard, shard->connection};
  return question;
}

/* NULL: the connection the answer was for is gone. */
static struct tg_shard *answered(void *ctx)
{
  struct question question = *(struct question *)ctx;
  free(ctx);
  return question.shard->connection == question.connection ? question.shard : NULL;
}

void tg_shard_end_slot(struct tg_shard *shard, const char *result, int code)
{
  struct tg_shard_env *env = shard->env;
  int slot = shard->slot;
  shard->slot = TG_SLOT_NONE;
  if (slot == TG_SLOT_SENT)
    env->identify_done(env->owner, shard, result ? result : "closed", result ? code : TG_CLOSE_NONE);
  else if (slot != TG_SLOT_NONE)
    env->identify_unused(env->owner, shard);
  if (shard->slot_done) {
    void (*done)(void *ctx, bool allowed) = shard->slot_done;
    shard->slot_done = NULL;
    done(shard->slot_ctx, false);
  }
}

static void identify_by_hook(struct tg_shard *shard)
{
  struct tg_value self = tg_value_shard(shard);
  if (!tg_hook_call(shard->env->hooks, TG_METHOD_shard_identify, &self, 1, NULL))
    tg_shard_identify(shard);
}

static void on_slot(void *ctx, bool allowed)
{
  struct tg_shard *shard = answered(ctx);
  if (shard && allowed)
    identify_by_hook(shard);
}

static void on_slot_by_hook(void *ctx, bool ok, const struct tg_value *result)
{
  struct tg_shard *shard = answered(ctx);
  if (!shard || shard->phase != TG_PHASE_SLOT)
    return;
  if (!ok) {
    tg_shard_request_identify(shard, on_slot, ask(shard));
    return;
  }
  if (result->kind == TG_FAILURE || (result->kind == TG_BOOL && !result->boolean)) {
    tg_ms delay = tg_patience(TG_REFUSED_PAUSE);
    tg_log_with(TG_WARN, shard->id,
                TG_WITH(TG_TEXT(METHOD, "gateway.shard:request_identify"), TG_NUMBER(DELAY, delay)),
                "the script refused the slot to identify; asking again with the next connection");
    tg_shard_leave(shard, TG_CLOSE_KEEP, "", TG_PLAN_RECONNECT, delay);
    return;
  }
  /* The script granted by itself, without asking the manager. */
  if (shard->slot != TG_SLOT_GRANTED) {
    shard->slot = TG_SLOT_GRANTED;
    shard->slot_deadline = INT64_MAX;
    shard->granted_epoch = 0;
  }
  identify_by_hook(shard);
}

static void ask_for_slot(struct tg_shard *shard)
{
  tg_shard_set_phase(shard, TG_PHASE_SLOT);
  struct tg_value self = tg_value_shard(shard);
  struct question *question = ask(shard);
  if (!tg_hook_start(shard->env->hooks, TG_METHOD_shard_request_identify, &self, 1, on_slot_by_hook,
                     question))
    tg_shard_request_identify(shard, on_slot, question);
}

static void on_presence(void *ctx, bool ok, const struct tg_value *result)
{
  struct tg_shard *shard = answered(ctx);
  if (!shard || (shard->phase != TG_PHASE_HELLO && shard->phase != TG_PHASE_SLOT))
    return;
  if (ok && result->kind == TG_JSON) {
    struct tg_presence_fault fault;
    json_decref(shard->next_presence);
    shard->next_presence = tg_presence_normalise(result->json, &fault);
    if (!shard->next_presence)
      tg_log(TG_ERROR, shard->id,
             "shard.make_presence returned no presence, the default is used: presence%s %s", fault.path,
             fault.text);
  }
  ask_for_slot(shard);
}

void tg_shard_prepare_identify(struct tg_shard *shard)
{
  tg_shard_set_phase(shard, TG_PHASE_SLOT);
  json_decref(shard->next_presence);
  shard->next_presence = NULL;
  struct tg_value self = tg_value_shard(shard);
  struct question *question = ask(shard);
  if (!tg_hook_start(shard->env->hooks, TG_METHOD_shard_make_presence, &self, 1, on_presence, question)) {
    free(question);
    ask_for_slot(shard);
  }
}

void tg_shard_request_identify(struct tg_shard *shard, void (*done)(void *ctx, bool allowed), void *ctx)
{
  if (shard->phase != TG_PHASE_SLOT || shard->slot_done) {
    done(ctx, false);
    return;
  }
  shard->slot = TG_SLOT_ASKED;
  shard->slot_done = done;
  shard->slot_ctx = ctx;
  shard->env->request_identify(shard->env->owner, shard, ++shard->asks);
}

void tg_shard_allow_identify(struct tg_shard *shard, int64_t ask, tg_ms deadline, uint64_t epoch)
{
  if (ask != shard->asks)
    return;
  if (shard->phase != TG_PHASE_SLOT || shard->slot != TG_SLOT_ASKED) {
    shard->env->identify_unused(shard->env->owner, shard);
    return;
  }
  shard->slot = TG_SLOT_GRANTED;
  shard->slot_deadline = deadline;
  shard->granted_epoch = epoch;
  tg_ms left = deadline - tg_now();
  tg_shard_set_timer(shard, left > 0 ? left + 1 : 1);
  void (*done)(void *ctx, bool allowed) = shard->slot_done;
  shard->slot_done = NULL;
  if (done)
    done(shard->slot_ctx, true);
}

/* The grant came too late or nobody used it: it is void, ask again. */
void tg_shard_slot_expired(struct tg_shard *shard)
{
  tg_log(TG_DEBUG, shard->id, "the identify slot was not used in time, asking for another");
  tg_shard_end_slot(shard, NULL, 0);
  ask_for_slot(shard);
}

const json_t *tg_shard_presence(const struct tg_shard *shard)
{
  return shard->presence ? shard->presence : shard->env->config->presence;
}

static void write_identify(struct tg_shard *shard, struct tg_buf *frame)
{
  const struct tg_config *config = shard->env->config;
  const json_t *given = shard->next_presence ? shard->next_presence : tg_shard_presence(shard);
  json_t *presence = given ? tg_presence_normalise(given, NULL) : NULL;
  struct tg_identify identify = {
      .token = config->token,
      .intents = config->intents & ~shard->without,
      .shard_id = shard->id,
      .total_shards = shard->of->total_shards,
      .large_threshold = config->large_threshold,
      .capabilities = config->capabilities,
      .os = config->properties.os,
      .browser = config->properties.browser,
      .device = config->properties.device,
      .presence = presence,
  };
  tg_payload_identify(frame, &identify);
  if (frame->length > TG_CLIENT_FRAME_MAX) {
    tg_log(TG_ERROR, shard->id,
           "the presence makes IDENTIFY %zu bytes long, %d are allowed: identifying "
           "without it",
           frame->length, TG_CLIENT_FRAME_MAX);
    identify.presence = NULL;
    frame->length = 0;
    tg_payload_identify(frame, &identify);
  }
  json_decref(presence);
}

/* Asked for in the middle of a session, as scripts may: a new session then,
 * through the owner, who paces identifies. */
static void identify_anew(struct tg_shard *shard)
{
  tg_shard_forget_session(shard);
  if (shard->ws)
    tg_shard_leave(shard, TG_CLOSE_END, "", TG_PLAN_LOST, 0);
}

void tg_shard_identify(struct tg_shard *shard)
{
  if (shard->phase != TG_PHASE_SLOT) {
    if (shard->phase != TG_PHASE_IDENTIFYING)
      identify_anew(shard);
    return;
  }
  if (shard->slot != TG_SLOT_GRANTED || tg_now() > shard->slot_deadline) {
    tg_shard_slot_expired(shard);
    return;
  }
  struct tg_buf frame = {0};
  shard->without = shard->env->config->intents & atomic_load(&shard->row->withheld_intents);
  write_identify(shard, &frame);
  shard->presence_due = false;
  shard->has_sequence = shard->in_session = false;
  shard->slot = TG_SLOT_SENT;
  tg_shard_await(shard, TG_PHASE_IDENTIFYING);
  tg_shard_send_frame(shard, &frame);
  tg_buf_free(&frame);
  atomic_fetch_add(&shard->row->identifies, 1);
  shard->env->identify_sent(shard->env->owner, shard);
  tg_log(TG_DEBUG, shard->id, "identifying");
  tg_shard_life(shard, TG_LIFE_identifying, NULL);
}
