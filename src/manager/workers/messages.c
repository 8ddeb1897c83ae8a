/* What workers say (worker/messages.h has the list). */

#include "base/buf.h"
#include "base/log.h"
#include "manager/internal.h"
#include "proto/close_code.h"

#include <stdlib.h>
#include <string.h>

static void on_hello(struct tg_managed_worker *worker, const struct tg_message *message)
{
  struct tg_manager *manager = worker->manager;
  worker->state = TG_WORKER_READY;
  worker->was_ready = true;
  worker->ready_at = tg_now();
  worker->generation = message->hello.generation;
  tg_reload_note_files(manager, worker->generation, message->hello.files);
  tg_log_with(TG_DEBUG, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(WORKER, worker->id), TG_NUMBER(GENERATION, worker->generation)),
              "a worker is ready");
  tg_reload_catch_up(manager, worker);
  if (manager->phase == TG_MANAGER_LOADING)
    tg_manager_worker_loaded(manager);
  else if (manager->spawned)
    tg_spawn_worker_shards(manager, worker);
}

static void on_stopped(struct tg_managed_worker *worker, const struct tg_message *message)
{
  (void)message;
  worker->state = TG_WORKER_STOPPED;
}

static void on_still_alive(struct tg_managed_worker *worker, const struct tg_message *message)
{
  (void)worker, (void)message;
}

/* ---- shards ---- */

static void on_request_identify(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                                const struct tg_message *message)
{
  (void)message;
  tg_slots_asked(worker->manager, worker, shard);
}

static void on_identify_sent(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                             const struct tg_message *message)
{
  (void)message;
  tg_slots_sent(worker->manager, shard);
}

static void on_identify_unused(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                               const struct tg_message *message)
{
  (void)message;
  tg_slots_unused(worker->manager, shard);
}

static void on_identify_done(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                             const struct tg_message *message)
{
  const char *result = message->identify_done.result;
  bool ready = strcmp(result, "ready") == 0;
  if (ready) {
    shard->was_up = true;
    tg_waiters_end(&shard->start_waiters, NULL, NULL);
  } else {
    bool refused = strcmp(result, "invalid") == 0;
    int code = message->identify_done.code;
    tg_log_with(
        TG_WARN, shard->id,
        TG_WITH(TG_NUMBER_IF(!refused, CODE, code),
                TG_TEXT(REASON, refused ? "Discord refused the session (op 9)" : tg_close_meaning(code))),
        "the identify failed");
    tg_waiters_end(&shard->start_waiters, "identify_failed", result);
  }
  tg_slots_done(worker->manager, shard, ready);
  if (ready)
    tg_spawn_look(worker->manager);
}

static void on_session_lost(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                            const struct tg_message *message)
{
  tg_spawn_session_lost(worker->manager, shard, message->session_lost.reason);
}

/* The same configuration cannot succeed: all shards stop. */
static void on_shard_fatal(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                           const struct tg_message *message)
{
  struct tg_manager *manager = worker->manager;
  int code = message->shard_fatal.code;
  if (tg_manager_stopping(manager))
    return; /* said already, for another shard */
  const char *advice = tg_close_advice(code);
  if (advice)
    tg_log_with(TG_ERROR, shard->id, TG_WITH(TG_NUMBER(CODE, code), TG_TEXT(REASON, tg_close_meaning(code))),
                "Discord refuses the gateway: %s All shards stop", advice);
  else
    tg_log_with(TG_ERROR, shard->id,
                TG_WITH(TG_NUMBER(CODE, code), TG_TEXT(REASON, tg_close_meaning(code)),
                        TG_TEXT(METHOD, "gateway.shard:handle_close")),
                "stopped by the script. All shards stop");
  tg_session_forget(tg_shard_table_row(manager->table, shard->id));
  /* With the token all sessions are gone. With the wrong number of shards they
   * are of no use either: the next start has to take the number that is
   * recommended, not the one of the sessions. */
  bool wrong_number = (code == 4010 || code == 4011) && manager->config->total_shards == 0;
  tg_manager_stop(manager, code != 4004 && !wrong_number, advice ? TG_EXIT_CONFIG : TG_EXIT_FAILED);
}

static void on_members_chunk(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                             const struct tg_message *message)
{
  (void)shard;
  tg_members_chunk(worker->manager, message->members_chunk.data);
}

static void on_members_limited(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                               const struct tg_message *message)
{
  tg_members_limited(worker->manager, shard->id, message->members_limited.data);
}

/* ---- calls ---- */

struct answering {
  struct tg_manager *manager;
  int worker_id;
  unsigned incarnation;
  int64_t nonce;
};

static void on_called(void *ctx, json_t *value, const struct tg_error *error)
{
  struct answering *answering = ctx;
  struct tg_manager *manager = answering->manager;
  struct tg_managed_worker *worker =
      manager->worker_count > answering->worker_id ? &manager->workers[answering->worker_id] : NULL;
  if (worker && worker->ipc && worker->incarnation == answering->incarnation)
    tg_ipc_answer(worker->ipc, answering->nonce, json_incref(value), error);
  free(answering);
}

static void on_manager_call(struct tg_managed_worker *worker, const struct tg_message *message)
{
  const struct tg_message_manager_call *call = &message->manager_call;
  enum tg_method method;
  if (!tg_manager_method_parse(call->method, &method)) {
    struct tg_error error;
    tg_fail(&error, "bad_argument", "gateway.manager has no method \"%s\"", call->method);
    tg_ipc_answer(worker->ipc, message->nonce, NULL, &error);
    return;
  }
  struct answering *answering = tg_alloc(sizeof *answering);
  *answering = (struct answering){worker->manager, worker->id, worker->incarnation, message->nonce};
  if (call->use_default)
    tg_manager_call_default(worker->manager, method, call->args, on_called, answering);
  else
    tg_manager_call(worker->manager, method, call->args, on_called, answering);
}

/* ---- broadcasts ---- */

void tg_manager_broadcast(struct tg_manager *manager, const char *topic, json_t *value, int from)
{
  for (int i = 0; i < manager->worker_count; i++) {
    struct tg_managed_worker *worker = &manager->workers[i];
    if (worker->ipc)
      tg_say(worker->ipc, broadcast, .topic = topic, .value = value, .from = from);
  }
  tg_hook_broadcast(manager->hooks, topic, value, from);
}

static void on_broadcast(struct tg_managed_worker *worker, const struct tg_message *message)
{
  const struct tg_message_broadcast *broadcast = &message->broadcast;
  if (broadcast->value)
    tg_manager_broadcast(worker->manager, broadcast->topic, broadcast->value, worker->id);
}

/* ---- event handlers ---- */

/* Workers share what they know: one of them asks a handler that is down, not each. */
static void on_handler(struct tg_managed_worker *worker, const struct tg_message *message)
{
  struct tg_manager *manager = worker->manager;
  for (int i = 0; i < manager->worker_count; i++) {
    struct tg_managed_worker *other = &manager->workers[i];
    if (other != worker && other->ipc)
      tg_message_send(other->ipc, message);
  }
}

/* ---- by type ---- */

typedef void about_worker(struct tg_managed_worker *worker, const struct tg_message *message);
typedef void about_shard(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
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

static int shard_id_of(const struct tg_message *message)
{
  switch (message->type) {
#define X(name)                                                                                              \
  case TG_MESSAGE_##name:                                                                                    \
    return message->name.shard_id;
    TG_MESSAGES_OF_SHARD(X)
#undef X
  default:
    return TG_NO_SHARD;
  }
}

static void take(struct tg_managed_worker *worker, const struct tg_message *message)
{
  struct tg_managed_shard *shard = tg_manager_shard(worker->manager, shard_id_of(message));
  const char *name = tg_message_name(message->type);
  if (of_worker[message->type])
    of_worker[message->type](worker, message);
  else if (of_shard[message->type] && shard && shard->worker_id == worker->id)
    of_shard[message->type](worker, shard, message);
  else if (of_shard[message->type])
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id)),
                "a worker spoke about a shard that is not its own: \"%s\" is ignored", name);
  else
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id)),
                "a worker sent \"%s\", which is no message of workers", name);
}

static void on_message(void *ctx, const char *type, const json_t *json)
{
  struct tg_managed_worker *worker = ctx;
  struct tg_message message;
  struct tg_error error;
  worker->heard_at = tg_now();
  if (tg_message_read(type, json, &message, &error)) {
    take(worker, &message);
    return;
  }
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id)),
              "a message of a worker was not understood: %s", error.message);
  tg_ipc_answer(worker->ipc, message.nonce, NULL, &error);
}

static void on_closed(void *ctx)
{
  struct tg_managed_worker *worker = ctx;
  tg_ipc_free(worker->ipc);
  worker->ipc = NULL;
  worker->cut_at = tg_now(); /* the end of its process says more */
  if (worker->state == TG_WORKER_READY)
    worker->state = TG_WORKER_DOWN;
}

const struct tg_ipc_callbacks tg_worker_callbacks = {.on_message = on_message, .on_closed = on_closed};
