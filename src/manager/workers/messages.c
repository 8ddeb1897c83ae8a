/* What workers say (the list is in worker/ipc.h). */

#include "base/buf.h"
#include "base/log.h"
#include "manager/internal.h"
#include "proto/close_code.h"

#include <stdlib.h>
#include <string.h>

static void on_hello(struct tg_managed_worker *worker, const json_t *message)
{
  struct tg_manager *manager = worker->manager;
  worker->state = TG_WORKER_READY;
  worker->was_ready = true;
  worker->ready_at = tg_now();
  worker->generation = (int)json_integer_value(json_object_get(message, "generation"));
  tg_reload_note_files(manager, worker->generation, message);
  tg_log_with(TG_DEBUG, TG_NO_SHARD,
              TG_WITH(TG_NUMBER(WORKER, worker->id), TG_NUMBER(GENERATION, worker->generation)),
              "a worker is ready");
  tg_reload_catch_up(manager, worker);
  if (manager->phase == TG_MANAGER_LOADING)
    tg_manager_worker_loaded(manager);
  else if (manager->spawned)
    tg_spawn_worker_shards(manager, worker);
}

static void on_stopped(struct tg_managed_worker *worker, const json_t *message)
{
  (void)message;
  worker->state = TG_WORKER_STOPPED;
}

static void on_alive(struct tg_managed_worker *worker, const json_t *message)
{
  (void)worker, (void)message;
}

/* ---- shards ---- */

static void on_request_identify(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                                const json_t *message)
{
  (void)message;
  tg_slots_asked(worker->manager, worker, shard);
}

static void on_identify_sent(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                             const json_t *message)
{
  (void)message;
  tg_slots_sent(worker->manager, shard);
}

static void on_identify_unused(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                               const json_t *message)
{
  (void)message;
  tg_slots_unused(worker->manager, shard);
}

static void on_identify_done(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                             const json_t *message)
{
  const char *result = json_string_value(json_object_get(message, "result"));
  bool ready = result && strcmp(result, "ready") == 0;
  if (ready) {
    shard->was_up = true;
    tg_waiters_end(&shard->start_waiters, NULL, NULL);
  } else {
    bool refused = result && strcmp(result, "invalid") == 0;
    int code = (int)json_integer_value(json_object_get(message, "code"));
    tg_log_with(
        TG_WARN, shard->id,
        TG_WITH(TG_NUMBER_IF(!refused, CODE, code),
                TG_TEXT(REASON, refused ? "Discord refused the session (op 9)" : tg_close_meaning(code))),
        "the identify failed");
    tg_waiters_end(&shard->start_waiters, "identify_failed", result ? result : "closed");
  }
  tg_slots_done(worker->manager, shard, ready);
  if (ready)
    tg_spawn_look(worker->manager);
}

static void on_session_lost(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                            const json_t *message)
{
  const char *reason = json_string_value(json_object_get(message, "reason"));
  tg_spawn_session_lost(worker->manager, shard, reason ? reason : "session lost");
}

/* The same configuration cannot succeed: all shards stop. */
static void on_shard_fatal(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                           const json_t *message)
{
  struct tg_manager *manager = worker->manager;
  int code = (int)json_integer_value(json_object_get(message, "code"));
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
                             const json_t *message)
{
  (void)shard;
  tg_members_chunk(worker->manager, json_object_get(message, "data"));
}

static void on_members_limited(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                               const json_t *message)
{
  tg_members_limited(worker->manager, shard->id, json_object_get(message, "data"));
}

/* ---- calls ---- */

struct answering {
  struct tg_manager *manager;
  int worker_id;
  unsigned incarnation;
  json_t *message;
};

static void on_called(void *ctx, json_t *value, const struct tg_error *error)
{
  struct answering *answering = ctx;
  struct tg_manager *manager = answering->manager;
  struct tg_managed_worker *worker =
      manager->worker_count > answering->worker_id ? &manager->workers[answering->worker_id] : NULL;
  if (worker && worker->ipc && worker->incarnation == answering->incarnation)
    tg_ipc_answer(worker->ipc, answering->message, json_incref(value), error);
  json_decref(answering->message);
  free(answering);
}

static void on_manager_call(struct tg_managed_worker *worker, const json_t *message)
{
  const char *name = json_string_value(json_object_get(message, "method"));
  enum tg_method method;
  if (!name || !tg_manager_method_parse(name, &method)) {
    struct tg_error error;
    tg_fail(&error, "bad_argument", "gateway.manager has no method \"%s\"", name ? name : "");
    tg_ipc_answer(worker->ipc, message, NULL, &error);
    return;
  }
  struct answering *answering = tg_alloc(sizeof *answering);
  /* The answer needs the nonce alone; the arguments may be large. */
  json_t *stub = json_pack("{s:O?}", "nonce", json_object_get(message, "nonce"));
  *answering = (struct answering){worker->manager, worker->id, worker->incarnation, stub};
  const json_t *args = json_object_get(message, "args");
  if (json_is_true(json_object_get(message, "default")))
    tg_manager_call_default(worker->manager, method, args, on_called, answering);
  else
    tg_manager_call(worker->manager, method, args, on_called, answering);
}

/* ---- broadcasts ---- */

void tg_manager_broadcast(struct tg_manager *manager, const char *topic, json_t *value, int from)
{
  for (int i = 0; i < manager->worker_count; i++) {
    struct tg_managed_worker *worker = &manager->workers[i];
    if (worker->ipc)
      tg_ipc_send(worker->ipc, "BROADCAST",
                  json_pack("{s:s, s:O, s:i}", "topic", topic, "value", value, "from", from));
  }
  tg_hook_broadcast(manager->hooks, topic, value, from);
}

static void on_broadcast(struct tg_managed_worker *worker, const json_t *message)
{
  const char *topic = json_string_value(json_object_get(message, "topic"));
  json_t *value = json_object_get(message, "value");
  if (topic && value)
    tg_manager_broadcast(worker->manager, topic, value, worker->id);
}

/* ---- event handlers ---- */

/* Workers share what they know: one of them asks a handler that is down, not each. */
static void on_handler(struct tg_managed_worker *worker, const json_t *message)
{
  struct tg_manager *manager = worker->manager;
  for (int i = 0; i < manager->worker_count; i++) {
    struct tg_managed_worker *other = &manager->workers[i];
    if (other != worker && other->ipc)
      tg_ipc_send(other->ipc, "HANDLER",
                  json_pack("{s:O, s:O, s:O}", "url", json_object_get(message, "url"), "up",
                            json_object_get(message, "up"), "asked", json_object_get(message, "asked")));
  }
}

/* ---- by type ---- */

static const struct {
  const char *type;
  void (*about_worker)(struct tg_managed_worker *worker, const json_t *message);
  void (*about_shard)(struct tg_managed_worker *worker, struct tg_managed_shard *shard,
                      const json_t *message);
} handlers[] = {
    {"STILL_ALIVE", on_alive, NULL},
    {"REQUEST_IDENTIFY", NULL, on_request_identify},
    {"IDENTIFY_SENT", NULL, on_identify_sent},
    {"IDENTIFY_UNUSED", NULL, on_identify_unused},
    {"IDENTIFY_DONE", NULL, on_identify_done},
    {"SESSION_LOST", NULL, on_session_lost},
    {"SHARD_FATAL", NULL, on_shard_fatal},
    {"MEMBERS_CHUNK", NULL, on_members_chunk},
    {"MEMBERS_LIMITED", NULL, on_members_limited},
    {"MANAGER_CALL", on_manager_call, NULL},
    {"BROADCAST", on_broadcast, NULL},
    {"HANDLER", on_handler, NULL},
    {"HELLO", on_hello, NULL},
    {"STOPPED", on_stopped, NULL},
};

static void about_shard(struct tg_managed_worker *worker, size_t handler, const json_t *message)
{
  const json_t *id = json_object_get(message, "shardId");
  struct tg_managed_shard *shard =
      json_is_integer(id) ? tg_manager_shard(worker->manager, json_integer_value(id)) : NULL;
  if (shard && shard->worker_id == worker->id)
    handlers[handler].about_shard(worker, shard, message);
  else
    tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id)),
                "a worker spoke about a shard that is not its own: %s is ignored", handlers[handler].type);
}

static void on_message(void *ctx, const char *type, const json_t *message)
{
  struct tg_managed_worker *worker = ctx;
  worker->heard_at = tg_now();
  for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
    if (strcmp(handlers[i].type, type) != 0)
      continue;
    if (handlers[i].about_worker)
      handlers[i].about_worker(worker, message);
    else
      about_shard(worker, i, message);
    return;
  }
  tg_log_with(TG_WARN, TG_NO_SHARD, TG_WITH(TG_NUMBER(WORKER, worker->id)),
              "a worker sent \"%s\", which the manager does not know", type);
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
