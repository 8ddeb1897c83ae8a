/* The core as the test kit plays it. */

#include "script/test_kit/test_kit.h"

#include "base/utf8.h"
#include "delivery/interactions/interaction_facts.h"
#include "manager/workers/assign.h"
#include "proto/payload.h"
#include "proto/presence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct tg_kit_shard *of(const struct tg_shard *shard)
{
  return (struct tg_kit_shard *)shard;
}

json_t *tg_kit_called(struct tg_kit *kit, const char *name, int shard_id, json_t *args)
{
  json_t *shard = shard_id == TG_NO_SHARD ? json_null() : json_integer(shard_id);
  return tg_kit_tell(kit, "call", json_pack("[s, o, o]", name, shard, args ? args : json_array()));
}

static void shard_called(struct tg_shard *shard, const char *name, json_t *args)
{
  json_decref(tg_kit_called(of(shard)->kit, name, of(shard)->id, args));
}

bool tg_kit_read_error(const json_t *answer, struct tg_error *error)
{
  const json_t *given = json_object_get(answer, "error");
  if (!given)
    return false;
  const char *code = json_string_value(json_object_get(given, "code"));
  const char *message = json_string_value(json_object_get(given, "message"));
  tg_fail(error, code ? code : "failed", "%s", message ? message : code ? code : "failed");
  return true;
}

/* ---- shards ---- */

static int shard_id(const struct tg_shard *shard)
{
  return of(shard)->id;
}
static enum tg_shard_state shard_state(const struct tg_shard *shard)
{
  for (int state = TG_SHARD_OFFLINE; state <= TG_SHARD_CONNECTED; state++) {
    if (strcmp(tg_shard_state_name((enum tg_shard_state)state), of(shard)->state) == 0)
      return (enum tg_shard_state)state;
  }
  return TG_SHARD_OFFLINE;
}
static const char *shard_session_id(const struct tg_shard *shard)
{
  return of(shard)->session_id;
}
static uint64_t shard_epoch(const struct tg_shard *shard)
{
  return of(shard)->epoch;
}
static bool shard_sequence(const struct tg_shard *shard, uint64_t *sequence)
{
  *sequence = of(shard)->sequence;
  return *sequence > 0;
}
static int shard_rtt(const struct tg_shard *shard)
{
  return of(shard)->rtt;
}
static int shard_total(const struct tg_shard *shard)
{
  return of(shard)->kit->total_shards;
}
static bool shard_is_open(const struct tg_shard *shard)
{
  return shard_state(shard) == TG_SHARD_CONNECTED;
}
static int shard_safe_requests(const struct tg_shard *shard)
{
  return of(shard)->safe_requests;
}
static void shard_connect(struct tg_shard *shard)
{
  shard_called(shard, "shard:connect", NULL);
}
static void shard_identify(struct tg_shard *shard)
{
  shard_called(shard, "shard:identify", NULL);
}
static void shard_resume(struct tg_shard *shard)
{
  shard_called(shard, "shard:resume", NULL);
}
static void shard_close(struct tg_shard *shard, int code, const char *reason)
{
  shard_called(shard, "shard:close", json_pack("[i, s]", code, reason));
}
static void shard_heartbeat(struct tg_shard *shard)
{
  shard_called(shard, "shard:heartbeat", NULL);
}
static void shard_start_heartbeating(struct tg_shard *shard, tg_ms interval)
{
  shard_called(shard, "shard:start_heartbeating", json_pack("[I]", (json_int_t)interval));
}
static void shard_stop_heartbeating(struct tg_shard *shard)
{
  shard_called(shard, "shard:stop_heartbeating", NULL);
}
static void shard_handle_packet(struct tg_shard *shard, const char *text, size_t length)
{
  shard_called(shard, "shard:handle_packet", json_pack("[s%]", text, length));
}
static struct tg_span shard_decompressed(const struct tg_shard *shard)
{
  (void)shard;
  return (struct tg_span){0};
}

static bool shard_packet_event(const struct tg_shard *shard, uint64_t *epoch, uint64_t *sequence,
                               uint16_t *type)
{
  (void)shard, (void)epoch, (void)sequence, (void)type;
  return false;
}

static void shard_request_identify(struct tg_shard *shard, void (*done)(void *ctx, bool allowed), void *ctx)
{
  struct tg_error error;
  json_t *answer = tg_kit_called(of(shard)->kit, "shard:request_identify", of(shard)->id, NULL);
  bool allowed = !tg_kit_read_error(answer, &error);
  json_decref(answer);
  done(ctx, allowed);
}

static const json_t *shard_presence(const struct tg_shard *shard)
{
  return of(shard)->kit->config.presence;
}
static void shard_send(struct tg_shard *shard, const json_t *payload, enum tg_send_priority priority,
                       tg_ms timeout, tg_shard_sent *sent, void *ctx)
{
  static const char *const priorities[] = {"low", "normal", "high"};
  struct tg_error error;
  bool valid = tg_payload_check_command(payload, &error), refused = !valid;
  if (valid) {
    json_t *options =
        json_pack("{s:s, s:I}", "priority", priorities[priority], "timeout", (json_int_t)timeout);
    json_t *args = json_pack("[O, o]", payload, options);
    json_t *answer = tg_kit_called(of(shard)->kit, "shard:send", of(shard)->id, args);
    refused = tg_kit_read_error(answer, &error);
    json_decref(answer);
  }
  if (sent)
    sent(ctx, refused ? &error : NULL);
}

static struct tg_shard *worker_shard(struct tg_worker *worker, int id)
{
  struct tg_kit *kit = (struct tg_kit *)worker;
  return id >= 0 && id < kit->total_shards ? (struct tg_shard *)&kit->shards[id] : NULL;
}

/* ---- delivery: the caches are real ---- */

static struct tg_delivery *worker_delivery(struct tg_worker *worker)
{
  return (struct tg_delivery *)worker;
}

static void delivery_enqueue(struct tg_delivery *delivery, const struct tg_event *event)
{
  tg_kit_deliver((struct tg_kit *)delivery, event);
}

static enum tg_guild_create delivery_guild_create_kind(struct tg_delivery *delivery,
                                                       const struct tg_event *event)
{
  return tg_delivery_guild_create_kind(((struct tg_kit *)delivery)->delivery, event);
}

static bool delivery_message_changed(struct tg_delivery *delivery, const struct tg_event *event)
{
  return tg_delivery_message_changed(((struct tg_kit *)delivery)->delivery, event);
}

void tg_kit_deliver(struct tg_kit *kit, const struct tg_event *event)
{
  struct tg_buf text = {0};
  tg_event_write_body(event, &text);
  json_t *body = json_loadb(text.data, text.length, 0, NULL);
  tg_buf_free(&text);
  json_decref(tg_kit_tell(kit, "deliver", json_pack("[o]", body ? body : json_null())));
}

/* ---- the manager ---- */

static int integer(const json_t *args, size_t index, int otherwise)
{
  const json_t *value = json_array_get(args, index);
  return json_is_number(value) ? (int)json_number_value(value) : otherwise;
}

static json_t *shard_infos(const struct tg_kit *kit)
{
  json_t *all = json_array();
  for (int i = 0; i < kit->total_shards; i++) {
    const struct tg_kit_shard *shard = &kit->shards[i];
    json_array_append_new(all,
                          json_pack("{s:i, s:i, s:i, s:s, s:I, s:I, s:i, s:s}", "shard_id", i, "worker_id",
                                    kit->worker_id, "rtt", shard->rtt, "state", shard->state, "sequence",
                                    (json_int_t)shard->sequence, "delivered", (json_int_t)shard->sequence,
                                    "queued", 0, "session_id", shard->session_id));
  }
  return all;
}

/* What a gateway of the kit's size would say; NULL: nothing. */
static json_t *manager_default(struct tg_kit *kit, enum tg_method method, const json_t *args)
{
  const struct tg_config *config = tg_script_config(kit->script);
  int total = kit->total_shards;
  switch (method) {
  case TG_METHOD_manager_fetch_gateway_bot:
    return json_pack("{s:s, s:i, s:{s:i, s:i, s:i, s:i}}", "url", "wss://gateway.discord.gg", "shards", total,
                     "session_start_limit", "total", 1000, "remaining", 1000, "reset_after", 86400000,
                     "max_concurrency", 1);
  case TG_METHOD_manager_calculate_total_shards: {
    const json_t *info = json_array_get(args, 0), *limit = json_object_get(info, "session_start_limit");
    int recommended = (int)json_number_value(json_object_get(info, "shards"));
    int concurrency = (int)json_number_value(json_object_get(limit, "max_concurrency"));
    return json_integer(tg_total_shards_of(recommended > 0 ? recommended : total, concurrency));
  }
  case TG_METHOD_manager_calculate_worker_id: {
    struct tg_shard_range range = {0, total - 1, total};
    int cores = (total + config->shards_per_worker - 1) / config->shards_per_worker;
    return json_integer(
        tg_worker_of(config, &range, tg_worker_count(config, &range, cores), integer(args, 0, 0)));
  }
  case TG_METHOD_manager_calculate_shard_id: {
    const char *guild = json_string_value(json_array_get(args, 0));
    return json_integer(tg_shard_of_guild(guild ? strtoull(guild, NULL, 10) : 0, integer(args, 1, total)));
  }
  case TG_METHOD_manager_get_shard_info:
    return shard_infos(kit);
  case TG_METHOD_manager_reshard: {
    int to = (int)json_number_value(json_object_get(json_array_get(args, 0), "total_shards"));
    return to > 0 ? json_pack("{s:i, s:i, s:i}", "from", total, "to", to, "identifies", to) : json_true();
  }
  case TG_METHOD_manager_request_members:
    return json_pack("{s:[], s:[]}", "members", "not_found");
  case TG_METHOD_manager_prepare_buckets: {
    json_t *queue = json_array();
    for (int i = 0; i < total; i++)
      json_array_append_new(queue, json_integer(i));
    return json_pack("[{s:i, s:[{s:i, s:o}]}]", "id", 0, "workers", "id", kit->worker_id, "queue", queue);
  }
  default:
    return NULL;
  }
}

/* Whether a gateway would refuse the presence among the arguments. */
static bool is_refused(enum tg_method method, const json_t *args, struct tg_error *error)
{
  size_t index = method == TG_METHOD_manager_edit_shard_status;
  const json_t *given = json_array_get(args, index);
  struct tg_presence_fault fault;
  if ((method != TG_METHOD_manager_edit_bot_status && index == 0) || !given || json_is_null(given))
    return false;
  json_t *normal = tg_presence_normalise(given, &fault);
  if (!normal)
    tg_fail(error, "bad_argument", "gateway.manager:%s: argument %zu: presence%s %s", tg_methods[method].name,
            index + 1, fault.path, fault.text);
  json_decref(normal);
  return !normal;
}

/* The test's answer {"value": ...} or {"error": ...}, or else the default. */
static void call_manager(struct tg_kit *kit, enum tg_method method, const json_t *args,
                         tg_manager_reply *reply, void *ctx)
{
  char name[64];
  snprintf(name, sizeof name, "manager:%s", tg_methods[method].name);
  struct tg_error error = {0};
  bool refused = is_refused(method, args, &error);
  json_t *answer = refused ? NULL : tg_kit_called(kit, name, TG_NO_SHARD, json_deep_copy(args));
  if (refused || tg_kit_read_error(answer, &error)) {
    reply(ctx, NULL, &error);
  } else {
    json_t *value =
        answer ? json_incref(json_object_get(answer, "value")) : manager_default(kit, method, args);
    reply(ctx, value, NULL);
    json_decref(value);
  }
  json_decref(answer);
}

static void manager_call_default(struct tg_manager *manager, enum tg_method method, const json_t *args,
                                 tg_manager_reply *reply, void *ctx)
{
  call_manager((struct tg_kit *)manager, method, args, reply, ctx);
}

struct worker_reply {
  tg_worker_reply *reply;
  void *ctx;
};

static void pass_on(void *ctx, json_t *value, const struct tg_error *error)
{
  struct worker_reply *worker = ctx;
  worker->reply(worker->ctx, value, error);
}

static void worker_call_manager(struct tg_worker *worker, enum tg_method method, bool use_default,
                                const json_t *args, tg_worker_reply *reply, void *ctx)
{
  (void)use_default; /* the test answers for both */
  struct worker_reply passed = {reply, ctx};
  call_manager((struct tg_kit *)worker, method, args, pass_on, &passed);
}

/* Told to the test, and back to the script as the manager would send it. */
static void broadcast(struct tg_kit *kit, const char *topic, json_t *value, int from)
{
  json_decref(tg_kit_tell(kit, "broadcast", json_pack("[s, O]", topic, value)));
  tg_hook_broadcast(tg_script_hooks(kit->script), topic, value, from);
}

static void worker_broadcast(struct tg_worker *worker, const char *topic, json_t *value)
{
  struct tg_kit *kit = (struct tg_kit *)worker;
  broadcast(kit, topic, value, kit->worker_id);
}

static void manager_broadcast(struct tg_manager *manager, const char *topic, json_t *value, int from)
{
  broadcast((struct tg_kit *)manager, topic, value, from);
}

/* The kit's own delivery goes by them, as one of several workers would. */
static void worker_set_storm(struct tg_worker *worker, json_t *storm, int generation)
{
  struct tg_kit *kit = (struct tg_kit *)worker;
  struct tg_storm_config read;
  struct tg_problems problems;
  (void)generation;
  if (kit->delivery && storm && tg_storm_config_read(storm, &read, &problems)) {
    tg_delivery_set_storm(kit->delivery, &read);
    tg_storm_config_free(&read);
  } else if (kit->delivery && !storm) {
    tg_delivery_set_storm(kit->delivery, NULL);
  }
}

static void manager_set_storm(struct tg_manager *manager, json_t *storm, int generation)
{
  (void)manager, (void)storm, (void)generation; /* there are no workers */
}

/* ---- HTTP ---- */

struct tg_kit_request {
  struct tg_kit_request *next;
  struct tg_kit *kit;
  uint64_t id;
  tg_http_done *done;
  void *ctx;
  struct tg_alarm *alarm; /* its answer, or its time-out */
  json_t *answer;
  tg_ms timeout;
};

static struct tg_kit_request **find_request(struct tg_kit *kit, uint64_t id)
{
  struct tg_kit_request **link = &kit->requests;
  while (*link && (*link)->id != id)
    link = &(*link)->next;
  return link;
}

static void free_request(struct tg_kit_request **link)
{
  struct tg_kit_request *request = *link;
  if (!request)
    return;
  *link = request->next;
  tg_alarm_free(request->alarm);
  json_decref(request->answer);
  free(request);
}

static const char *text_of(const json_t *answer, const char *key)
{
  const char *text = json_string_value(json_object_get(answer, key));
  return text ? text : "";
}

static void end_request(void *ctx)
{
  struct tg_kit_request *request = ctx;
  json_t *answer = json_incref(request->answer);
  const json_t *retry_after = json_object_get(answer, "retry_after");
  tg_http_done *done = request->done;
  void *done_ctx = request->ctx;
  struct tg_http_response response = {
      .status = (long)json_number_value(json_object_get(answer, "status")),
      .body = {text_of(answer, "body"), json_string_length(json_object_get(answer, "body"))},
      .headers = text_of(answer, "headers"),
      .retry_after = retry_after ? (tg_ms)json_number_value(retry_after) : -1,
  };
  if (!answer)
    tg_fail(&response.error, "timeout", "no answer within %lld ms", (long long)request->timeout);
  else if (tg_kit_read_error(answer, &response.error))
    response.status = 0;
  free_request(find_request(request->kit, request->id));
  done(done_ctx, &response);
  json_decref(answer);
}

static void set_answer(struct tg_kit_request *request, const json_t *answer)
{
  request->answer = json_deep_copy(answer);
  tg_alarm_set(request->alarm, (tg_ms)json_number_value(json_object_get(answer, "delay")));
}

bool tg_kit_answer(struct tg_kit *kit, uint64_t id, const json_t *answer)
{
  struct tg_kit_request *request = *find_request(kit, id);
  if (!request || request->answer)
    return false;
  set_answer(request, answer);
  return true;
}

static uint64_t http_start(struct tg_http *http, const struct tg_http_request *options, tg_http_done *done,
                           void *ctx)
{
  struct tg_kit *kit = (struct tg_kit *)http;
  struct tg_kit_request *request = tg_calloc(1, sizeof *request);
  *request = (struct tg_kit_request){.next = kit->requests,
                                     .kit = kit,
                                     .id = ++kit->last_request,
                                     .done = done,
                                     .ctx = ctx,
                                     .timeout = options->timeout};
  request->alarm = tg_alarm_new(kit->script, end_request, request);
  tg_alarm_set(request->alarm, options->timeout);
  kit->requests = request;
  uint64_t id = request->id;

  json_t *headers = json_array();
  for (const char *const *header = options->headers; header && *header; header++)
    json_array_append_new(headers, json_string(*header));
  json_t *body = options->body.at ? json_stringn(options->body.at, options->body.length) : json_null();
  json_t *described = json_pack("{s:s, s:s, s:o, s:o}", "method", options->method, "url", options->url,
                                "headers", headers, "body", body ? body : json_null());
  json_t *answer = tg_kit_tell(kit, "http", json_pack("[I, o]", (json_int_t)id, described));
  if (answer)
    tg_kit_answer(kit, id, answer);
  json_decref(answer);
  return id;
}

static void http_cancel(struct tg_http *http, uint64_t id)
{
  free_request(find_request((struct tg_kit *)http, id));
}

void tg_kit_free_requests(struct tg_kit *kit)
{
  while (kit->requests)
    free_request(&kit->requests);
}

/* ---- answers to interactions: a single request ---- */

struct kit_answer {
  struct tg_kit *kit;
  uint64_t request;
  char *url;
  tg_interaction_answered *done;
  void *ctx;
};

static void free_answer(struct kit_answer *answer)
{
  free(answer->url);
  free(answer);
}

static void on_callback_answered(void *ctx, const struct tg_http_response *response)
{
  struct kit_answer *answer = ctx;
  tg_ms wait;
  char reason[64];
  enum tg_callback_verdict verdict =
      tg_callback_judge(response->status, response->body, response->retry_after, &wait);
  bool taken = verdict == TG_CALLBACK_TAKEN || verdict == TG_CALLBACK_TAKEN_BEFORE;
  snprintf(reason, sizeof reason, "REST answered %ld", response->status);
  answer->done(answer->ctx, taken, taken ? "" : reason);
  free_answer(answer);
}

static struct tg_callback *delivery_answer_interaction(struct tg_delivery *delivery,
                                                       const struct tg_interaction_facts *facts,
                                                       tg_interaction_answered *done, void *ctx)
{
  struct tg_kit *kit = (struct tg_kit *)delivery;
  struct kit_answer *answer = tg_calloc(1, sizeof *answer);
  const char *body = tg_interaction_deferral(facts->type);
  const char *base = tg_script_config(kit->script)->rest.url;
  *answer = (struct kit_answer){
      .kit = kit, .url = tg_interaction_callback_url(base, facts), .done = done, .ctx = ctx};
  static const char *const headers[] = {"Content-Type: application/json", NULL};
  struct tg_http_request request = {.method = "POST",
                                    .url = answer->url,
                                    .headers = headers,
                                    .body = {body, strlen(body)},
                                    .timeout = TG_INTERACTION_LIFE};
  answer->request = http_start((struct tg_http *)kit, &request, on_callback_answered, answer);
  return (struct tg_callback *)answer;
}

static void delivery_cancel_answer(struct tg_callback *callback)
{
  struct kit_answer *answer = (struct kit_answer *)callback;
  http_cancel((struct tg_http *)answer->kit, answer->request);
  free_answer(answer);
}

/* ---- errors ---- */

static void fault(struct tg_script *script, const char *what, const char *message)
{
  struct tg_kit *kit = (struct tg_kit *)script->http;
  if (kit)
    json_decref(tg_kit_tell(kit, "fault", json_pack("[o, o]", tg_json_text(what), tg_json_text(message))));
}

const struct tg_core tg_kit_core = {
#define X(name) .name = name,
    TG_CORE_FUNCTIONS(X)
#undef X
#define X(name) .name = tg_kit_##name,
        TG_CORE_QUEUE_FUNCTIONS(X)
#undef X
        .fault = fault,
};
