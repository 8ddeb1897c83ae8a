/* What the manager says to a worker (messages.h has the list). */

#include "base/log.h"
#include "base/utf8.h"
#include "worker/worker_impl.h"

#include <stdlib.h>
#include <string.h>

enum { CALL_TIMEOUT = 3600000 /* the manager answers each once */ };

/* For the manager, whose own script may have read others. A new reference. */
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
  json_array_foreach((json_t *)owners, i, owner)
  {
    if (json_integer_value(owner) > last)
      last = (int)json_integer_value(owner);
  }
  return last + 1;
}

static void on_start(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_start *start = &message->start;
  struct tg_error error;
  if (worker->begun)
    return;
  tg_steady_set_ahead(start->steady_ahead);
  tg_log_set_processes(count_workers(start->owners));
  worker->options.reload.commit(worker->options.reload.ctx, start->generation);
  worker->next_total = start->next_total;
  worker->moved = start->moved;
  worker->clustered = start->clustered;
  tg_worker_set_owners(worker, start->first_shard, start->owners, (uint64_t)start->stamp);
  if (!tg_worker_begin(worker, start->gateway_url, start->side, start->total_shards, &error)) {
    tg_log(TG_ERROR, TG_NO_SHARD, "%s", error.message);
    worker->options.on_exit(worker->options.ctx, TG_EXIT_CONFIG);
    return;
  }
  json_t *files = files_read(worker);
  tg_say(worker->ipc, hello, .generation = start->generation, .files = files);
  json_decref(files);
}

static void on_identify_shard(struct tg_worker *worker, const struct tg_message *message)
{
  if (worker->stopping || !worker->begun)
    return;
  if (!worker->sides[!worker->current].of.table && worker->next_total > 0)
    return; /* its shards could not be told from those of the set that was to come first */
  if (!worker->sides[!worker->current].of.table)
    tg_delivery_end_strays(worker->delivery);
  if (worker->clustered) {
    tg_worker_run_shard(worker, message->identify_shard.ref);
    return;
  }
  struct tg_shard *shard = tg_worker_take_shard(worker, message->identify_shard.ref);
  if (shard)
    tg_shard_start(shard);
}

static void on_allow_identify(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_allow_identify *grant = &message->allow_identify;
  struct tg_shard *shard = tg_worker_shard(worker, grant->ref);
  if (shard)
    tg_shard_allow_identify(shard, grant->ask, grant->deadline, (uint64_t)grant->epoch);
}

/* ---- commands ---- */

struct unanswered {
  struct tg_worker *worker;
  int64_t nonce;
};

static struct unanswered *remember(struct tg_worker *worker, const struct tg_message *message)
{
  struct unanswered *question = tg_alloc(sizeof *question);
  *question = (struct unanswered){worker, message->nonce};
  return question;
}

static void answer(struct unanswered *question, json_t *data, const struct tg_error *error)
{
  tg_ipc_answer(question->worker->ipc, question->nonce, data, error);
  free(question);
}

static void on_sent(void *ctx, const struct tg_error *error)
{
  answer(ctx, error ? NULL : json_true(), error);
}

/* NULL: it does not run here, and the manager has been told. */
static struct tg_shard *find_shard(struct tg_worker *worker, const struct tg_message *message,
                                   tg_shard_ref ref)
{
  struct tg_shard *shard = tg_worker_shard(worker, ref);
  struct tg_error error;
  if (!shard) {
    tg_fail(&error, "no_shard", "shard %d does not run in worker %d", tg_ref_id(ref),
            worker->options.worker_id);
    tg_ipc_answer(worker->ipc, message->nonce, NULL, &error);
  }
  return shard;
}

static void on_shard_payload(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_shard_payload *payload = &message->shard_payload;
  struct tg_shard *shard = find_shard(worker, message, payload->ref);
  if (!shard)
    return;
  enum tg_send_priority priority = TG_SEND_NORMAL;
  tg_send_priority_parse(payload->priority, &priority);
  if (payload->forward_until > 0)
    tg_worker_expect_members(worker, payload->data, payload->forward_until);
  tg_shard_command(shard, payload->data, priority, payload->timeout, on_sent, remember(worker, message));
}

static void on_set_presence(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_set_presence *set = &message->set_presence;
  struct tg_shard *shard = find_shard(worker, message, set->ref);
  if (shard)
    tg_shard_set_presence(shard, set->presence, set->fresh, on_sent, remember(worker, message));
}

static void on_killed(void *ctx)
{
  answer(ctx, json_true(), NULL);
}

static void on_kill_shard(struct tg_worker *worker, const struct tg_message *message)
{
  struct tg_shard *shard = find_shard(worker, message, message->kill_shard.ref);
  if (shard)
    tg_shard_stop(shard, false, on_killed, remember(worker, message));
}

static void on_reconnect_shard(struct tg_worker *worker, const struct tg_message *message)
{
  struct tg_error error;
  struct tg_shard *shard = find_shard(worker, message, message->reconnect_shard.ref);
  if (shard && tg_shard_reconnect(shard, &error))
    tg_ipc_answer(worker->ipc, message->nonce, json_true(), NULL);
  else if (shard)
    tg_ipc_answer(worker->ipc, message->nonce, NULL, &error);
}

static void on_letter_sent(void *ctx, const struct tg_letter_result *result)
{
  bool delivered = result->outcome == TG_OUTCOME_DELIVERED;
  if (!result->sent) {
    answer(ctx, NULL, &result->error);
    return;
  }
  json_t *data =
      json_pack("{s:s, s:I, s:s%, s:I, s:b}", "outcome", tg_outcome_name(result->outcome), "status",
                (json_int_t)result->status, "answer", result->answer.at, result->answer.length, "bytes",
                (json_int_t)result->bytes, "removed", result->removed);
  if (!delivered || !result->removed)
    json_object_set_new(data, "reason", tg_json_text(result->error.message));
  answer(ctx, data, NULL);
}

static void on_send_letter(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_send_letter *letter = &message->send_letter;
  const struct tg_dead_place place = {.number = (uint64_t)letter->number,
                                      .inode = (uint64_t)letter->inode,
                                      .at = (uint64_t)letter->at,
                                      .length = (size_t)letter->length};
  struct tg_letter_result stopping = {.outcome = TG_OUTCOME_RETRY};
  tg_fail(&stopping.error, "not_ready", "worker %d has no events to deliver", worker->options.worker_id);
  if (worker->delivery && !worker->stopping && !worker->exited)
    tg_delivery_send_letter(worker->delivery, &place, on_letter_sent, remember(worker, message));
  else
    on_letter_sent(remember(worker, message), &stopping);
}

static void on_question_shard(struct tg_worker *worker, const struct tg_message *message)
{
  if (find_shard(worker, message, message->question_shard.ref))
    tg_worker_ask_discord(worker, message);
}

/* ---- reload and stop ---- */

static void on_prepare_reload(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_reload *reload = &worker->options.reload;
  char *problem = NULL;
  json_t *answer = json_object();
  if (!reload->prepare(reload->ctx, &problem))
    json_object_set_new(answer, "problem", tg_json_text(problem ? problem : "the script cannot be loaded"));
  json_object_set_new(answer, "files", files_read(worker));
  tg_ipc_answer(worker->ipc, message->nonce, answer, NULL);
  free(problem);
}

/* What a script has set at run time ends with it. */
static void end_storm_of_script(struct tg_worker *worker, int generation)
{
  if (worker->storm_generation == 0 || worker->storm_generation == generation)
    return;
  worker->storm_generation = 0;
  if (worker->delivery)
    tg_delivery_set_storm(worker->delivery, NULL);
}

static void on_commit_reload(struct tg_worker *worker, const struct tg_message *message)
{
  worker->options.reload.commit(worker->options.reload.ctx, message->commit_reload.generation);
  end_storm_of_script(worker, message->commit_reload.generation);
  tg_ipc_answer(worker->ipc, message->nonce, json_true(), NULL);
}

static void on_abort_reload(struct tg_worker *worker, const struct tg_message *message)
{
  worker->options.reload.abort(worker->options.reload.ctx);
  tg_ipc_answer(worker->ipc, message->nonce, json_true(), NULL);
}

static void on_log_level(struct tg_worker *worker, const struct tg_message *message)
{
  enum tg_log_level level;
  bool asked = tg_log_level_parse(message->log_level.level, &level);
  (void)worker;
  tg_log_ask_level(asked ? (int)level : TG_LOG_AS_CONFIGURED);
}

static void on_broadcast(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_broadcast *broadcast = &message->broadcast;
  tg_hook_broadcast(worker->options.hooks, broadcast->topic, broadcast->value, broadcast->from);
}

static void on_set_storm(struct tg_worker *worker, const struct tg_message *message)
{
  struct tg_storm_config storm = {0};
  struct tg_problems problems = {0};
  json_t *given = message->set_storm.storm;
  if (!worker->delivery || worker->exited)
    return;
  worker->storm_generation = given ? message->set_storm.generation : 0;
  if (!given)
    tg_delivery_set_storm(worker->delivery, NULL);
  else if (tg_storm_config_read(given, &storm, &problems))
    tg_delivery_set_storm(worker->delivery, &storm);
  else
    tg_log(TG_ERROR, TG_NO_SHARD, "rules against storms were not understood: %s", problems.items[0]);
  tg_storm_config_free(&storm);
  tg_problems_free(&problems);
}

static void on_handler(struct tg_worker *worker, const struct tg_message *message)
{
  const struct tg_message_handler *handler = &message->handler;
  if (worker->delivery && !worker->exited)
    tg_delivery_hear(worker->delivery, handler->url, handler->up, handler->asked);
}

static void on_stop(struct tg_worker *worker, const struct tg_message *message)
{
  tg_worker_stop(worker, message->stop.keep_sessions, message->stop.deadline);
}

void tg_worker_on_message(void *ctx, const char *type, const json_t *json)
{
  typedef void handle(struct tg_worker * worker, const struct tg_message *message);
  static handle *const handlers[TG_MESSAGE_COUNT] = {
#define X(name) [TG_MESSAGE_##name] = on_##name,
      TG_MESSAGES_TO_WORKER(X) TG_MESSAGES_BOTH_WAYS(X)
#undef X
#define X(name) [TG_MESSAGE_##name] = tg_worker_on_##name,
          TG_MESSAGES_ABOUT_SETS(X) TG_MESSAGES_ABOUT_LEASES(X) TG_MESSAGES_ABOUT_QUEUES(X)
#undef X
  };
  struct tg_worker *worker = ctx;
  struct tg_message message;
  struct tg_error error;
  if (!tg_message_read(type, json, &message, &error)) {
    tg_log(TG_WARN, TG_NO_SHARD, "a message of the manager was not understood: %s", error.message);
    tg_ipc_answer(worker->ipc, message.nonce, NULL, &error);
  } else if (!handlers[message.type]) {
    tg_log(TG_WARN, TG_NO_SHARD, "the manager sent \"%s\", which is no message to workers", type);
  } else {
    handlers[message.type](worker, &message);
  }
}

/* ---- calls to the manager ---- */

struct call_to_manager {
  tg_worker_reply *reply;
  void *ctx;
};

static void on_call_answered(void *ctx, const json_t *data, const struct tg_error *error)
{
  struct call_to_manager call = *(struct call_to_manager *)ctx;
  free(ctx);
  call.reply(call.ctx, data, error);
}

void tg_worker_set_storm(struct tg_worker *worker, json_t *storm, int generation)
{
  tg_say(worker->ipc, set_storm, .generation = generation, .storm = storm);
}

void tg_worker_broadcast(struct tg_worker *worker, const char *topic, json_t *value)
{
  tg_say(worker->ipc, broadcast, .topic = topic, .value = value, .from = worker->options.worker_id);
}

void tg_worker_call_manager(struct tg_worker *worker, enum tg_method method, bool use_default,
                            const json_t *args, tg_worker_reply *reply, void *ctx)
{
  struct call_to_manager *call = tg_alloc(sizeof *call);
  *call = (struct call_to_manager){reply, ctx};
  tg_ask(worker->ipc, CALL_TIMEOUT, on_call_answered, call, manager_call, .method = tg_methods[method].name,
         .use_default = use_default, .args = (json_t *)args);
}
