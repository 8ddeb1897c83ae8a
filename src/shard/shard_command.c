/* Commands that come from elsewhere, by the way of gateway.shard:send; and the
 * presence. */

#include "base/log.h"
#include "proto/payload.h"
#include "proto/presence.h"
#include "shard/shard_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PRESENCE_TIMEOUT = 60000 };

/* ---- priorities ---- */

static const char *const priorities[] = {"low", "normal", "high"};

const char *tg_send_priority_name(enum tg_send_priority priority)
{
  return priorities[priority];
}

bool tg_send_priority_parse(const char *name, enum tg_send_priority *priority)
{
  for (int i = 0; name && i <= TG_SEND_HIGH; i++) {
    if (strcmp(name, priorities[i]) == 0) {
      *priority = (enum tg_send_priority)i;
      return true;
    }
  }
  return false;
}

/* ---- gateway.shard:send ---- */

/* While an override runs: whoever asked for the command wants to hear when the
 * frame is sent that the override makes of it. */
struct tg_asked {
  struct tg_asked *outer;
  tg_shard_sent *sent;
  void *ctx;
  bool taken;
};

/* The override's own caller, and who asked. */
struct relay {
  tg_shard_sent *sent[2];
  void *ctx[2];
};

static void on_relay(void *ctx, const struct tg_error *error)
{
  struct relay relay = *(struct relay *)ctx;
  free(ctx);
  for (int i = 0; i < 2; i++) {
    if (relay.sent[i])
      relay.sent[i](relay.ctx[i], error);
  }
}

void tg_shard_answer_asked(struct tg_shard *shard, tg_shard_sent **sent, void **ctx)
{
  struct tg_asked *asked = shard->asked;
  if (!asked || asked->taken)
    return;
  asked->taken = true;
  struct relay *relay = tg_alloc(sizeof *relay);
  *relay = (struct relay){{*sent, asked->sent}, {*ctx, asked->ctx}};
  *sent = on_relay;
  *ctx = relay;
}

static void answer(tg_shard_sent *sent, void *ctx, int op, const struct tg_value *result)
{
  struct tg_error error;
  char code[TG_ERROR_CODE_SIZE];
  if (!sent)
    return;
  if (result->kind == TG_FAILURE) {
    snprintf(code, sizeof code, "%.*s", (int)result->code.length, result->code.at);
    tg_fail(&error, code, "%.*s", (int)result->string.length, result->string.at);
  } else if (!result->boolean) {
    tg_fail(&error, "refused", "the script's gateway.shard:send did not send op %d", op);
  }
  sent(ctx, result->kind == TG_BOOL && result->boolean ? NULL : &error);
}

void tg_shard_command(struct tg_shard *shard, const json_t *payload, enum tg_send_priority priority,
                      tg_ms timeout, tg_shard_sent *sent, void *ctx)
{
  struct tg_hooks *hooks = shard->env->hooks;
  if (!tg_hooked(hooks, TG_METHOD_shard_send)) {
    tg_shard_send(shard, payload, priority, timeout, sent, ctx);
    return;
  }
  struct tg_asked asked = {.outer = shard->asked, .sent = sent, .ctx = ctx};
  json_t *options =
      json_pack("{s:I, s:s}", "timeout", (json_int_t)timeout, "priority", tg_send_priority_name(priority));
  struct tg_value args[] = {tg_value_shard(shard), tg_value_json((json_t *)payload), tg_value_json(options)};
  struct tg_value result;
  shard->asked = &asked;
  bool said = tg_hook_call(hooks, TG_METHOD_shard_send, args, 3, &result);
  shard->asked = asked.outer;
  json_decref(options);
  if (asked.taken)
    return;
  if (said)
    answer(sent, ctx, (int)json_integer_value(json_object_get(payload, "op")), &result);
  else
    tg_shard_send(shard, payload, priority, timeout, sent, ctx);
}

/* ---- presence ---- */

static void send_presence(struct tg_shard *shard, tg_shard_sent *sent, void *ctx)
{
  const json_t *presence = tg_shard_presence(shard);
  json_t *plain = json_object(); /* online, without activities */
  json_t *normal = tg_presence_normalise(presence ? presence : plain, NULL);
  json_decref(plain);
  shard->presence_due = false;
  if (!normal) {
    if (sent)
      sent(ctx, NULL);
    return;
  }
  json_t *payload = json_pack("{s:i, s:o}", "op", TG_OP_PRESENCE_UPDATE, "d", normal);
  tg_shard_command(shard, payload, TG_SEND_LOW, PRESENCE_TIMEOUT, sent, ctx);
  json_decref(payload);
}

void tg_shard_send_presence(struct tg_shard *shard)
{
  if (shard->presence_due)
    send_presence(shard, NULL, NULL);
}

void tg_shard_set_presence(struct tg_shard *shard, const json_t *presence, bool fresh, tg_shard_sent *sent,
                           void *ctx)
{
  json_decref(shard->presence);
  shard->presence = presence ? json_deep_copy(presence) : NULL;
  shard->presence_due = shard->presence_due || fresh;
  if (fresh && shard->phase == TG_PHASE_READY)
    send_presence(shard, sent, ctx);
  else if (sent)
    sent(ctx, NULL);
}
