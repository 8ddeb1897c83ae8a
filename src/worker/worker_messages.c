/* What the manager says to a worker (the list is in ipc.h). */

#include "base/log.h"
#include "base/utf8.h"
#include "worker/worker_impl.h"

#include <stdlib.h>
#include <string.h>

enum { PAYLOAD_TIMEOUT = 10000, CALL_TIMEOUT = 3600000 /* the manager answers each once */ };

static int int_field(const json_t *message, const char *key, int otherwise)
{
  const json_t *value = json_object_get(message, key);
  return json_is_integer(value) ? (int)json_integer_value(value) : otherwise;
}

static struct tg_shard *shard_of(struct tg_worker *worker, const json_t *message)
{
  return tg_worker_shard(worker, int_field(message, "shardId", -1));
}

/* For the manager, whose own script may have read others. */
static json_t *files_read(struct tg_worker *worker)
{
  const struct tg_reload *reload = &worker->options.reload;
  return reload->files ? reload->files(reload->ctx) : NULL;
}

/* How many workers there are: the log is shared by all of them. */
static int count_workers(const json_t *owners)
{
  int last = 0;
  size_t i;
  json_t *owner;
  json_array_foreach(owners, i, owner)
  {
    if (json_integer_value(owner) > last)
      last = (int)json_integer_value(owner);
  }
  return last + 1;
}

static void on_start(struct tg_worker *worker, const json_t *message)
{
  const char *url = json_string_value(json_object_get(message, "gatewayUrl"));
  struct tg_error error;
  if (worker->table || !url)
    return;
  const json_t *steady_ahead = json_object_get(message, "steadyAhead");
  if (json_is_integer(steady_ahead))
    tg_steady_set_ahead(json_integer_value(steady_ahead));
  tg_log_set_processes(count_workers(json_object_get(message, "owners")));
  int generation = int_field(message, "generation", 1);
  worker->options.reload.commit(worker->options.reload.ctx, generation);
  tg_worker_set_owners(worker, int_field(message, "firstShard", 0), json_object_get(message, "owners"),
                       (uint64_t)json_integer_value(json_object_get(message, "stamp")));
  if (!tg_worker_begin(worker, url, int_field(message, "totalShards", 0), &error)) {
    tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
    worker->options.on_exit(worker->options.ctx, TG_EXIT_CONFIG);
    return;
  }
  tg_ipc_send(worker->ipc, "HELLO",
              json_pack("{s:i, s:i, s:o*}", "workerId", worker->options.worker_id, "generation", generation,
                        "files", files_read(worker)));
}

static void on_identify_shard(struct tg_worker *worker, const json_t *message)
{
  if (worker->stopping || !worker->table)
    return;
  struct tg_shard *shard = tg_worker_take_shard(worker, int_field(message, "shardId", -1));
  if (shard)
    tg_shard_start(shard);
}

static void on_allow_identify(struct tg_worker *worker, const json_t *message)
{
  struct tg_shard *shard = shard_of(worker, message);
  if (shard)
    tg_shard_allow_identify(shard, json_integer_value(json_object_get(message, "deadline")));
}

/* ---- commands ---- */

struct pending_answer {
  struct tg_worker *worker;
  json_t *message;
};

static struct pending_answer *remember(struct tg_worker *worker, const json_t *message)
{
  struct pending_answer *pending = tg_alloc(sizeof *pending);
  *pending = (struct pending_answer){worker, json_deep_copy(message)};
  return pending;
}

static void answer(struct pending_answer *pending, json_t *data, const struct tg_error *error)
{
  tg_ipc_answer(pending->worker->ipc, pending->message, data, error);
  json_decref(pending->message);
  free(pending);
}

static void on_sent(void *ctx, const struct tg_error *error)
{
  answer(ctx, error ? NULL : json_true(), error);
}

static bool refuse_foreign(struct tg_worker *worker, const json_t *message)
{
  if (shard_of(worker, message))
    return false;
  struct tg_error error;
  tg_fail(&error, "no_shard", "shard %d does not run in worker %d", int_field(message, "shardId", -1),
          worker->options.worker_id);
  tg_ipc_answer(worker->ipc, message, NULL, &error);
  return true;
}

static void on_shard_payload(struct tg_worker *worker, const json_t *message)
{
  if (refuse_foreign(worker, message))
    return;
  const json_t *until = json_object_get(message, "forwardUntil");
  enum tg_send_priority priority = TG_SEND_NORMAL;
  tg_send_priority_parse(json_string_value(json_object_get(message, "priority")), &priority);
  if (json_is_integer(until))
    tg_worker_expect_members(worker, json_object_get(message, "data"), json_integer_value(until));
  tg_shard_command(shard_of(worker, message), json_object_get(message, "data"), priority,
                   int_field(message, "timeout", PAYLOAD_TIMEOUT), on_sent, remember(worker, message));
}

static void on_set_presence(struct tg_worker *worker, const json_t *message)
{
  if (refuse_foreign(worker, message))
    return;
  const json_t *presence = json_object_get(message, "presence");
  tg_shard_set_presence(shard_of(worker, message), json_is_null(presence) ? NULL : presence,
                        json_is_true(json_object_get(message, "fresh")), on_sent, remember(worker, message));
}

static void on_killed(void *ctx)
{
  answer(ctx, json_true(), NULL);
}

static void on_kill_shard(struct tg_worker *worker, const json_t *message)
{
  if (!refuse_foreign(worker, message))
    tg_shard_stop(shard_of(worker, message), false, on_killed, remember(worker, message));
}

static void on_get_shard_info(struct tg_worker *worker, const json_t *message)
{
  json_t *list = json_array();
  for (int i = 0; i < worker->total_shards; i++) {
    const struct tg_shard *shard = worker->shards[i];
    if (shard)
      json_array_append_new(list, json_pack("{s:i, s:i, s:i, s:s}", "workerId", worker->options.worker_id,
                                            "shardId", i, "rtt", tg_shard_rtt(shard), "state",
                                            tg_shard_state_name(tg_shard_state(shard))));
  }
  tg_ipc_answer(worker->ipc, message, list, NULL);
}

/* ---- reload and stop ---- */

static void on_prepare_reload(struct tg_worker *worker, const json_t *message)
{
  const struct tg_reload *reload = &worker->options.reload;
  char *problem = NULL;
  json_t *answer = json_object();
  if (!reload->prepare(reload->ctx, &problem))
    json_object_set_new(answer, "problem", tg_json_text(problem ? problem : "the script cannot be loaded"));
  json_object_set_new(answer, "files", files_read(worker));
  tg_ipc_answer(worker->ipc, message, answer, NULL);
  free(problem);
}

static void on_commit_reload(struct tg_worker *worker, const json_t *message)
{
  worker->options.reload.commit(worker->options.reload.ctx, int_field(message, "generation", 0));
  tg_ipc_answer(worker->ipc, message, json_true(), NULL);
}

static void on_abort_reload(struct tg_worker *worker, const json_t *message)
{
  worker->options.reload.abort(worker->options.reload.ctx);
  tg_ipc_answer(worker->ipc, message, json_true(), NULL);
}

static void on_broadcast(struct tg_worker *worker, const json_t *message)
{
  const char *topic = json_string_value(json_object_get(message, "topic"));
  if (topic)
    tg_hook_broadcast(worker->options.hooks, topic, json_object_get(message, "value"),
                      int_field(message, "from", TG_FROM_MANAGER));
}

static void on_handler(struct tg_worker *worker, const json_t *message)
{
  const char *url = json_string_value(json_object_get(message, "url"));
  if (url && worker->delivery && !worker->exited)
    tg_delivery_hear(worker->delivery, url, json_is_true(json_object_get(message, "up")),
                     json_integer_value(json_object_get(message, "asked")));
}

static void on_stop(struct tg_worker *worker, const json_t *message)
{
  bool keep = json_is_true(json_object_get(message, "keepSessions"));
  tg_worker_stop(worker, keep, json_integer_value(json_object_get(message, "deadline")));
}

static const struct {
  const char *type;
  void (*handle)(struct tg_worker *worker, const json_t *message);
} handlers[] = {
    {"START", on_start},
    {"IDENTIFY_SHARD", on_identify_shard},
    {"ALLOW_IDENTIFY", on_allow_identify},
    {"SHARD_PAYLOAD", on_shard_payload},
    {"SET_PRESENCE", on_set_presence},
    {"GET_SHARD_INFO", on_get_shard_info},
    {"KILL_SHARD", on_kill_shard},
    {"PREPARE_RELOAD", on_prepare_reload},
    {"COMMIT_RELOAD", on_commit_reload},
    {"ABORT_RELOAD", on_abort_reload},
    {"BROADCAST", on_broadcast},
    {"HANDLER", on_handler},
    {"STOP", on_stop},
};

void tg_worker_on_message(void *ctx, const char *type, const json_t *message)
{
  struct tg_worker *worker = ctx;
  for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++) {
    if (strcmp(handlers[i].type, type) == 0) {
      handlers[i].handle(worker, message);
      return;
    }
  }
  tg_log(TG_WARN, TG_NO_SHARD, "the manager sent \"%s\", which this worker does not know", type);
}

/* ---- calls to the manager ---- */

struct manager_call {
  tg_worker_reply *reply;
  void *ctx;
};

static void on_call_answered(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct manager_call call = *(struct manager_call *)ctx;
  free(ctx);
  call.reply(call.ctx, data, error);
}

static const char *method_name(enum tg_method method)
{
  static const char *const names[] = {
#define X(table, name, waits) [TG_METHOD_##table##_##name] = #name,
      TG_METHODS(X)
#undef X
  };
  return names[method];
}

void tg_worker_broadcast(struct tg_worker *worker, const char *topic, json_t *value)
{
  tg_ipc_send(worker->ipc, "BROADCAST", json_pack("{s:s, s:O}", "topic", topic, "value", value));
}

void tg_worker_call_manager(struct tg_worker *worker, enum tg_method method, bool use_default,
                            const json_t *args, tg_worker_reply *reply, void *ctx)
{
  struct manager_call *call = tg_alloc(sizeof *call);
  *call = (struct manager_call){reply, ctx};
  json_t *fields = json_pack("{s:s, s:O}", "method", method_name(method), "args", (json_t *)args);
  if (use_default)
    json_object_set_new(fields, "default", json_true());
  tg_ipc_request(worker->ipc, "MANAGER_CALL", fields, CALL_TIMEOUT, on_call_answered, call);
}
