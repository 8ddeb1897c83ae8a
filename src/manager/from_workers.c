/* What workers say (worker/messages.h has the list), and whom it concerns. */

#include "base/buf.h"
#include "base/log.h"
#include "manager/internal.h"
#include "proto/close_code.h"

#include <stdlib.h>
#include <string.h>

/* ---- of themselves ---- */

static void on_hello(struct tg_manager *manager, struct tg_worker_process from,
                     const struct tg_message *message)
{
  tg_workers_heard_hello(manager->workers, from.worker, message->hello.generation);
  tg_log_level_tell(manager, from.worker);
  tg_reload_note_files(manager->reloads, message->hello.generation, message->hello.files);
  tg_reload_catch_up(manager->reloads, from.worker);
  tg_reshard_worker_ready(manager->reshard, from.worker);
  tg_storm_tell(manager, from.worker);
  tg_taps_tell(manager->taps, from.worker);
  if (manager->member)
    tg_member_worker_ready(manager->member);
  if (tg_spawn_begun(manager->spawner))
    tg_spawn_worker_shards(manager->spawner, from.worker);
  else
    tg_manager_worker_loaded(manager);
}

static void on_stopped(struct tg_manager *manager, struct tg_worker_process from,
                       const struct tg_message *message)
{
  (void)message;
  tg_workers_heard_stopped(manager->workers, from.worker);
}

static void on_still_alive(struct tg_manager *manager, struct tg_worker_process from,
                           const struct tg_message *message)
{
  (void)manager, (void)from, (void)message; /* any message is a sign of life */
}

static void on_class_state(struct tg_manager *manager, struct tg_worker_process from,
                           const struct tg_message *message)
{
  tg_reshard_class_state(manager->reshard, from.worker, &message->class_state);
}

/* ---- of shards ---- */

static void on_request_identify(struct tg_manager *manager, struct tg_managed_shard *shard,
                                const struct tg_message *message)
{
  tg_slots_asked(manager->slots, shard, message->request_identify.ask);
}

static void on_identify_sent(struct tg_manager *manager, struct tg_managed_shard *shard,
                             const struct tg_message *message)
{
  (void)message;
  tg_slots_sent(manager->slots, shard);
}

static void on_identify_unused(struct tg_manager *manager, struct tg_managed_shard *shard,
                               const struct tg_message *message)
{
  (void)message;
  tg_slots_unused(manager->slots, shard);
}

static void on_identify_done(struct tg_manager *manager, struct tg_managed_shard *shard,
                             const struct tg_message *message)
{
  const char *result = message->identify_done.result;
  bool ready = strcmp(result, "ready") == 0, refused = strcmp(result, "invalid") == 0;
  int code = message->identify_done.code;
  if (!ready)
    tg_log_with(
        TG_WARN, shard->id,
        TG_WITH(TG_NUMBER_IF(!refused, CODE, code),
                TG_TEXT(REASON, refused ? "Discord refused the session (op 9)" : tg_close_meaning(code))),
        "the identify failed");
  tg_spawn_identified(manager->spawner, shard, ready, result);
  if (ready)
    tg_reshard_identified(manager->reshard, shard);
}

static void on_session_lost(struct tg_manager *manager, struct tg_managed_shard *shard,
                            const struct tg_message *message)
{
  tg_spawn_session_lost(manager->spawner, shard, message->session_lost.reason);
}

static void on_session_up(struct tg_manager *manager, struct tg_managed_shard *shard,
                          const struct tg_message *message)
{
  (void)message;
  if (manager->member)
    tg_member_session_up(manager->member, shard);
}

static void on_connection_cut(struct tg_manager *manager, struct tg_managed_shard *shard,
                              const struct tg_message *message)
{
  (void)message;
  if (manager->member)
    tg_member_cut(manager->member, shard);
}

/* The same configuration cannot succeed: all shards stop. */
static void on_shard_fatal(struct tg_manager *manager, struct tg_managed_shard *shard,
                           const struct tg_message *message)
{
  int code = message->shard_fatal.code;
  if (manager->env.stopping)
    return; /* said already, for another shard */
  if (code == TG_CLOSE_DISALLOWED_INTENTS &&
      tg_optional_refused(manager->optional, shard, (uint64_t)message->shard_fatal.intents))
    return;
  if (tg_reshard_fatal(manager->reshard, shard, code))
    return;
  const char *advice = tg_close_advice(code);
  if (advice)
    tg_log_with(TG_ERROR, shard->id, TG_WITH(TG_NUMBER(CODE, code), TG_TEXT(REASON, tg_close_meaning(code))),
                "Discord refuses the gateway: %s All shards stop", advice);
  else
    tg_log_with(TG_ERROR, shard->id,
                TG_WITH(TG_NUMBER(CODE, code), TG_TEXT(REASON, tg_close_meaning(code)),
                        TG_TEXT(METHOD, "gateway.shard:handle_close")),
                "stopped by the script. All shards stop");
  tg_session_forget(tg_shard_row_of(shard));
  /* With the token all sessions are gone. With the wrong number of shards they
   * are of no use either: the next start has to take the number that is
   * recommended, not the one of the sessions. */
  bool wrong_number = (code == 4010 || code == 4011) && manager->env.config->total_shards == 0;
  if (wrong_number)
    tg_reshard_forget_total(manager->reshard);
  tg_manager_stop(manager, code != 4004 && !wrong_number, advice ? TG_EXIT_CONFIG : TG_EXIT_FAILED);
}

static void on_members_chunk(struct tg_manager *manager, struct tg_managed_shard *shard,
                             const struct tg_message *message)
{
  (void)shard;
  tg_members_chunk(manager->members, message->members_chunk.data);
}

static void on_members_limited(struct tg_manager *manager, struct tg_managed_shard *shard,
                               const struct tg_message *message)
{
  tg_members_limited(manager->members, shard->ref, message->members_limited.data);
}

static void on_tapped(struct tg_manager *manager, struct tg_worker_process from,
                      const struct tg_message *message)
{
  (void)from;
  tg_taps_heard(manager->taps, message->tapped.viewer, message->tapped.line);
}

/* ---- calls ---- */

struct worker_call {
  struct tg_workers *workers;
  struct tg_worker_process from;
  int64_t nonce;
};

static void on_called(void *ctx, json_t *value, const struct tg_error *error)
{
  struct worker_call call = *(struct worker_call *)ctx;
  free(ctx);
  struct tg_ipc *line = tg_workers_line_of(call.workers, call.from);
  if (line)
    tg_ipc_answer(line, call.nonce, json_incref(value), error);
}

static void on_manager_call(struct tg_manager *manager, struct tg_worker_process from,
                            const struct tg_message *message)
{
  const struct tg_message_manager_call *wanted = &message->manager_call;
  struct worker_call *call = tg_alloc(sizeof *call);
  *call = (struct worker_call){manager->workers, from, message->nonce};
  enum tg_method method;
  struct tg_error error;
  if (!tg_manager_method_parse(wanted->method, &method)) {
    tg_fail(&error, "bad_argument", "gateway.manager has no method \"%s\"", wanted->method);
    on_called(call, NULL, &error);
  } else if (wanted->use_default) {
    tg_call_default(manager->env.calls, method, wanted->args, on_called, call);
  } else {
    tg_call(manager->env.calls, method, wanted->args, on_called, call);
  }
}

/* ---- what goes on to others ---- */

void tg_manager_broadcast(struct tg_manager *manager, const char *topic, json_t *value, int from)
{
  const struct tg_message message = {.type = TG_MESSAGE_broadcast, .broadcast = {topic, value, from}};
  tg_workers_tell_all(manager->workers, &message, -1);
  tg_hook_broadcast(manager->env.hooks, topic, value, from);
}

static void on_broadcast(struct tg_manager *manager, struct tg_worker_process from,
                         const struct tg_message *message)
{
  if (message->broadcast.value)
    tg_manager_broadcast(manager, message->broadcast.topic, message->broadcast.value, from.worker);
}

static void on_set_storm(struct tg_manager *manager, struct tg_worker_process from,
                         const struct tg_message *message)
{
  (void)from;
  tg_manager_set_storm(manager, message->set_storm.storm, message->set_storm.generation);
}

/* Workers share what they know: one of them asks a handler that is down, not each. */
static void on_handler(struct tg_manager *manager, struct tg_worker_process from,
                       const struct tg_message *message)
{
  tg_workers_tell_all(manager->workers, message, from.worker);
}

/* ---- by type ---- */

typedef void about_worker(struct tg_manager *manager, struct tg_worker_process from,
                          const struct tg_message *message);
typedef void about_shard(struct tg_manager *manager, struct tg_managed_shard *shard,
                         const struct tg_message *message);

static about_worker *const of_worker[TG_MESSAGE_COUNT] = {
#define X(name) [TG_MESSAGE_##name] = on_##name,
    TG_MESSAGES_OF_WORKER(X) TG_MESSAGES_BOTH_WAYS(X)
#undef X
};

static about_shard *const of_shard[TG_MESSAGE_COUNT] = {
#define X(name) [TG_MESSAGE_##name] = on_##name,
    TG_MESSAGES_OF_SHARD(X)
#undef X
};

static tg_shard_ref ref_of(const struct tg_message *message)
{
  switch (message->type) {
#define X(name)                                                                                              \
  case TG_MESSAGE_##name:                                                                                    \
    return message->name.ref;
    TG_MESSAGES_OF_SHARD(X)
#undef X
  default:
    return TG_NO_SHARD;
  }
}

void tg_manager_hear(void *ctx, struct tg_worker_process from, const struct tg_message *message)
{
  struct tg_manager *manager = ctx;
  tg_shard_ref ref = ref_of(message);
  struct tg_managed_shard *shard = tg_shard_of_ref(&manager->env, ref);
  const char *name = tg_message_name(message->type);
  if (of_worker[message->type])
    of_worker[message->type](manager, from, message);
  else if (of_shard[message->type] && shard && shard->worker_id == from.worker)
    of_shard[message->type](manager, shard, message);
  else if (of_shard[message->type] && !shard && tg_ref_side(ref) != manager->env.shards.side)
    return; /* it did not know yet that its set is over */
  else if (of_shard[message->type])
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, from.worker)),
                "a worker spoke about a shard that is not its own: \"%s\" is ignored", name);
  else
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, from.worker)),
                "a worker sent \"%s\", which is no message of workers", name);
}
