/* How the gateway is: GET /healthz, /readyz, /status. */

#include "base/utf8.h"
#include "control/deaf.h"
#include "control/resharding.h"
#include "control/routes.h"
#include "delivery/sinks/outcome.h"
#include "manager/cluster_front.h"
#include "manager/status.h"
#include "manager/workers/figures.h"
#include "proto/intents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_SIZE = 200 };

/* The loop of the manager turns, or this would not be answered. */
void tg_route_healthz(struct tg_request *request)
{
  char text[TEXT_SIZE];
  tg_ms left;
  json_t *body = json_pack("{s:s}", "status", "ok");
  if (tg_gateway_waits(request->manager, text, sizeof text, &left))
    json_object_set_new(body, "waiting", json_string(text));
  tg_respond_json(request, 200, body);
}

/* Why it is not. */
static void put_reason(struct tg_manager *manager, char *text, size_t size)
{
  struct tg_cluster_status cluster;
  tg_ms left;
  if (tg_gateway_waits(manager, text, size, &left))
    return;
  if (tg_manager_cluster(manager, &cluster) && cluster.draining)
    snprintf(text, size, "this host of the cluster gives its shards away");
  else
    snprintf(text, size, "not all shards are ready");
}

void tg_route_readyz(struct tg_request *request)
{
  struct tg_gateway_status status;
  tg_gateway_status(request->manager, &status);
  json_t *body = json_pack("{s:b, s:s, s:{s:i, s:i}}", "ready", status.ready, "phase", status.phase,
                           "progress", "ready", status.up, "total", status.held);
  char text[TEXT_SIZE];
  put_reason(request->manager, text, sizeof text);
  if (!status.ready)
    json_object_set_new(body, "error", json_string(text));
  tg_respond_json(request, status.ready ? 200 : 503, body);
}

/* ---- GET /status ---- */

static json_t *or_null(bool known, json_int_t number)
{
  return known ? json_integer(number) : json_null();
}

/* Sums over the rows of all shards. */
struct sums {
  int states[TG_SHARD_CONNECTED + 1];
  json_int_t guilds;
  json_int_t events, bytes, delivered, retried, dropped, dead, replayed, gaps;
  tg_ms oldest; /* tg_steady_clock(); 0: nothing waits */
};

static void add_row(struct sums *sums, struct tg_shard_row *row)
{
  int state = (int)atomic_load(&row->state);
  if (state >= 0 && state <= TG_SHARD_CONNECTED)
    sums->states[state]++;
  sums->guilds += atomic_load(&row->guilds);
  sums->events += (json_int_t)atomic_load(&row->queued_events);
  sums->bytes += (json_int_t)atomic_load(&row->queued_bytes);
  sums->delivered += (json_int_t)atomic_load(&row->delivered);
  sums->retried += (json_int_t)atomic_load(&row->retried);
  sums->dropped += (json_int_t)atomic_load(&row->dropped);
  sums->dead += (json_int_t)atomic_load(&row->dead);
  sums->replayed += (json_int_t)atomic_load(&row->replayed);
  sums->gaps += (json_int_t)atomic_load(&row->gaps);
  tg_ms oldest = atomic_load(&row->oldest_queued_at);
  if (oldest > 0 && (sums->oldest == 0 || oldest < sums->oldest))
    sums->oldest = oldest;
}

static json_t *describe_shards(const struct tg_gateway_status *status, const struct sums *sums)
{
  json_t *states = json_object();
  for (int state = 0; state <= TG_SHARD_CONNECTED; state++)
    json_object_set_new(states, tg_shard_state_name((enum tg_shard_state)state),
                        json_integer(sums->states[state]));
  bool known = status->total > 0;
  return json_pack("{s:o, s:o, s:o, s:o}", "total", or_null(known, status->total), "first",
                   or_null(known, status->first), "last", or_null(known, status->last), "states", states);
}

/* Kinds of the script's functions. */
static json_t *switched_off(const struct tg_manager *manager, int worker)
{
  const struct tg_stats *page = tg_gateway_stats(manager, worker);
  uint32_t off = page ? atomic_load(&page->lua_off) : 0;
  json_t *list = json_array();
  for (int group = 0; group < TG_LUA_GROUP_COUNT; group++)
    if (off & 1u << group)
      json_array_append_new(list, json_string(tg_lua_group_names[group]));
  return list;
}

static json_t *describe_workers(struct tg_manager *manager, int count)
{
  json_t *list = json_array();
  for (int id = 0; id < count; id++) {
    struct tg_worker_status worker;
    struct tg_process_usage usage;
    tg_gateway_worker(manager, id, &worker);
    tg_gateway_usage(manager, id, &usage);
    json_array_append_new(list, json_pack("{s:i, s:o, s:s, s:i, s:i, s:i, s:o, s:o}", "workerId", id, "pid",
                                          or_null(worker.pid > 0, worker.pid), "state", worker.state,
                                          "shards", worker.shards, "restarts", worker.restarts, "generation",
                                          worker.generation, "memory",
                                          or_null(usage.memory > 0, (json_int_t)usage.memory), "switchedOff",
                                          switched_off(manager, id)));
  }
  return list;
}

static json_t *describe_requests(const struct tg_handler_status *handler)
{
  json_t *requests = json_object();
  for (int outcome = 0; outcome <= TG_OUTCOME_CANCELLED; outcome++)
    json_object_set_new(requests, tg_outcome_name((enum tg_outcome)outcome),
                        json_integer((json_int_t)handler->requests[outcome]));
  return requests;
}

static json_t *describe_handlers(struct tg_manager *manager)
{
  struct tg_handler_status *handlers = tg_alloc(TG_STATS_HANDLERS * sizeof *handlers);
  int count = tg_gateway_handlers(manager, handlers, TG_STATS_HANDLERS);
  json_t *list = json_array();
  tg_ms now = tg_now();
  for (int i = 0; i < count && i < TG_STATS_HANDLERS; i++) {
    const struct tg_handler_status *handler = &handlers[i];
    json_t *url = json_string(handler->url);
    json_array_append_new(list,
                          json_pack("{s:o, s:s, s:i, s:o, s:o}", "url", url ? url : json_null(), "state",
                                    handler->down ? "down" : "up", "inFlight", handler->in_flight, "since",
                                    or_null(handler->since > 0, now - handler->since), "requests",
                                    describe_requests(handler)));
  }
  free(handlers);
  return list;
}

/* Bytes of the event logs on disk; -1: there are none. */
static json_int_t spool_of(struct tg_manager *manager)
{
  struct tg_sink_status sinks[TG_STATS_SINKS];
  int count = tg_gateway_sinks(manager, sinks);
  bool logged = false;
  uint64_t bytes = 0;
  for (int i = 0; i < count; i++) {
    logged = logged || sinks[i].logged;
    bytes += sinks[i].log_bytes;
  }
  return logged ? (json_int_t)bytes : -1;
}

static json_t *describe_queue(const struct sums *sums, json_int_t spool)
{
  tg_ms age = tg_steady_clock() - sums->oldest;
  return json_pack("{s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "events", sums->events, "bytes",
                   sums->bytes, "oldest", or_null(sums->oldest > 0, age > 0 ? age : 0), "delivered",
                   sums->delivered, "retried", sums->retried, "dropped", sums->dropped, "dead", sums->dead,
                   "replayed", sums->replayed, "gaps", sums->gaps, "spool", or_null(spool >= 0, spool));
}

/* Rules that are not there any more keep what they have dropped. */
static json_t *describe_storms(struct tg_manager *manager)
{
  struct tg_storm_status storms[TG_STATS_STORMS];
  int count = tg_gateway_storms(manager, storms);
  json_t *rules = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(rules,
                          json_pack("{s:s, s:I, s:I, s:I, s:i}", "rule", storms[i].rule, "dropped",
                                    (json_int_t)storms[i].dropped, "released", (json_int_t)storms[i].released,
                                    "storms", (json_int_t)storms[i].storms, "running", storms[i].running));
  return json_pack("{s:s, s:o}", "setBy", tg_gateway_storm_is_scripts(manager) ? "script" : "configuration",
                   "rules", rules);
}

static json_t *describe_waiting(struct tg_manager *manager)
{
  char text[TEXT_SIZE];
  tg_ms left;
  if (!tg_gateway_waits(manager, text, sizeof text, &left))
    return json_null();
  return json_pack("{s:s, s:o}", "reason", text, "left", or_null(left >= 0, left));
}

static json_t *intent_names(uint64_t intents)
{
  json_t *list = json_array();
  char name[TG_INTENTS_TEXT];
  for (int bit = 0; bit < 64; bit++) {
    if (!(intents >> bit & 1))
      continue;
    tg_intents_format(UINT64_C(1) << bit, name, sizeof name);
    json_array_append_new(list, json_string(name));
  }
  return list;
}

static json_t *describe_intents(struct tg_manager *manager)
{
  struct tg_optional_status status;
  tg_gateway_optional(manager, &status);
  if (!status.withheld && !status.missing)
    return json_null();
  return json_pack("{s:o, s:o, s:i, s:o}", "withheld", intent_names(status.withheld), "missing",
                   intent_names(status.missing), "shards", status.shards, "retryIn",
                   or_null(status.retry_in >= 0, status.retry_in));
}

static json_t *describe_resharding(struct tg_manager *manager)
{
  struct tg_resharding_status status;
  tg_gateway_resharding(manager, &status);
  return tg_resharding_running_json(&status);
}

static json_t *describe_reloads(struct tg_manager *manager)
{
  struct tg_reload_counts counts = tg_gateway_reloads(manager);
  struct tg_last_reload last = tg_gateway_last_reload(manager);
  json_t *of_last = json_null(); /* as are all of them: nobody has to give it back */
  if (last.at > 0)
    of_last = json_pack("{s:s, s:I, s:o}", "result", last.problem ? "failed" : "done", "age",
                        (json_int_t)(tg_now() - last.at), "problem",
                        last.problem ? tg_json_text(last.problem) : json_null());
  return json_pack("{s:I, s:I, s:o}", "done", (json_int_t)counts.done, "failed", (json_int_t)counts.failed,
                   "last", of_last);
}

json_t *tg_status_json(struct tg_manager *manager)
{
  struct tg_gateway_status status;
  struct sums sums = {0};
  tg_gateway_status(manager, &status);
  for (int id = status.first; id <= status.last; id++) {
    struct tg_shard_row *row = tg_gateway_held_shard(manager, id);
    if (row)
      add_row(&sums, row);
  }
  json_t *body =
      json_pack("{s:s, s:i, s:i, s:I, s:s, s:b, s:{s:i, s:i, s:o}}", "version", TG_VERSION, "generation",
                status.generation, "pid", (int)getpid(), "uptime", (json_int_t)status.uptime, "phase",
                status.phase, "ready", status.ready, "progress", "ready", status.up, "total", status.held,
                "eta", or_null(status.eta >= 0 && status.up < status.held, status.eta));
  json_object_set_new(body, "waiting", describe_waiting(manager));
  json_object_set_new(body, "shards", describe_shards(&status, &sums));
  json_object_set_new(body, "guilds", or_null(status.up > 0, sums.guilds));
  json_object_set_new(body, "workers", describe_workers(manager, status.workers));
  json_object_set_new(body, "identify", tg_identify_json(manager));
  json_object_set_new(body, "intents", describe_intents(manager));
  json_object_set_new(body, "handlers", describe_handlers(manager));
  json_object_set_new(body, "queue", describe_queue(&sums, spool_of(manager)));
  json_object_set_new(body, "sinks", tg_sinks_json(manager));
  json_object_set_new(body, "storm", describe_storms(manager));
  json_object_set_new(body, "leftSinks", tg_left_sinks_json(manager));
  json_object_set_new(body, "deadLetters", tg_dead_json(manager));
  json_object_set_new(body, "resharding", describe_resharding(manager));
  json_object_set_new(body, "deaf", tg_deaf_json(manager));
  json_t *cluster = tg_route_cluster_json(manager);
  if (cluster)
    json_object_set_new(body, "cluster", cluster);
  json_object_set_new(body, "reloads", describe_reloads(manager));
  json_object_set_new(body, "upgrade", tg_manager_upgrade_status(manager));
  return body;
}

void tg_route_status(struct tg_request *request)
{
  tg_respond_json(request, 200, tg_status_json(request->manager));
}
