/* Sinks, what waits for each, and what is left of those that are gone: GET /queue, POST /sinks/{}/forget. */

#include "base/address.h"
#include "base/url_parts.h"
#include "control/routes.h"
#include "manager/status.h"

#include <stdlib.h>
#include <string.h>

/* As the routes name it; `taken`: somebody takes the sink's events. */
static const char *kind_of(const struct tg_strings *urls, bool is_bot, bool taken)
{
  if (urls->count > 0)
    return tg_url_is_redis(urls->items[0]) ? "redis" : "http";
  return is_bot && !taken ? "none" : "script";
}

static json_t *public_urls(const struct tg_strings *urls)
{
  json_t *list = json_array();
  for (int i = 0; i < urls->count; i++) {
    char *public = tg_url_public(urls->items[i]);
    json_array_append_new(list, json_string(public));
    free(public);
  }
  return list;
}

static json_t *or_null(bool known, uint64_t number)
{
  return known ? json_integer((json_int_t)number) : json_null();
}

static json_t *age_since(tg_ms steady)
{
  tg_ms age = tg_steady_clock() - steady;
  return or_null(steady > 0, age > 0 ? (uint64_t)age : 0);
}

static json_t *describe_waiting(uint64_t events, uint64_t bytes, tg_ms oldest)
{
  return json_pack("{s:I, s:I, s:o}", "events", (json_int_t)events, "bytes", (json_int_t)bytes, "age",
                   age_since(oldest));
}

static json_t *describe_sink(const char *name, const struct tg_strings *urls,
                             const struct tg_sink_status *all, int count)
{
  static const struct tg_sink_status nothing = {.used = false};
  const struct tg_sink_status *sink = &nothing;
  for (int i = 0; i < count; i++)
    if (strcmp(all[i].name, name) == 0)
      sink = &all[i];
  json_t *queued = describe_waiting(sink->queued_events, sink->queued_bytes, sink->oldest_queued_at);
  return json_pack("{s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o}", "name", name, "kind",
                   kind_of(urls, strcmp(name, "bot") == 0, sink->used), "urls", public_urls(urls), "up",
                   sink->used ? json_boolean(sink->up) : json_null(), "queued", queued, "delivered",
                   (json_int_t)sink->delivered, "retried", (json_int_t)sink->retried, "dropped",
                   (json_int_t)sink->dropped, "dead", (json_int_t)sink->dead, "logBytes",
                   or_null(sink->logged, sink->log_bytes));
}

json_t *tg_sinks_json(struct tg_manager *manager)
{
  struct tg_sink_status sinks[TG_STATS_SINKS];
  int count = tg_gateway_sinks(manager, sinks);
  const struct tg_config *config = tg_gateway_config(manager);
  json_t *list = json_array();
  json_array_append_new(list, describe_sink("bot", &config->event_handler.urls, sinks, count));
  for (int i = 0; i < config->sink_count; i++)
    json_array_append_new(list,
                          describe_sink(config->sinks[i].name, &config->sinks[i].handler.urls, sinks, count));
  return list;
}

json_t *tg_left_sinks_json(struct tg_manager *manager)
{
  int count = tg_gateway_left_sinks(manager, NULL, 0);
  struct tg_left_sink *left = tg_calloc((size_t)count + 1, sizeof *left);
  json_t *list = json_array();
  tg_gateway_left_sinks(manager, left, count);
  for (int i = 0; i < count; i++)
    json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "name", left[i].name, "events",
                                          (json_int_t)left[i].events, "bytes", (json_int_t)left[i].bytes));
  free(left);
  return list;
}

/* The set of shards that is meant: of how many it is. */
static json_t *total_of(struct tg_manager *manager, tg_shard_ref ref)
{
  const struct tg_shard_set *set;
  for (int place = 0; (set = tg_gateway_set(manager, place)); place++)
    if (set->side == tg_ref_side(ref))
      return json_integer(set->range.total);
  return json_null();
}

static json_t *describe_lanes(struct tg_manager *manager, uint64_t *more)
{
  int count;
  uint64_t all;
  struct tg_lane_status *lanes = tg_gateway_lanes(manager, &count, &all);
  json_t *list = json_array();
  for (int i = 0; i < count; i++)
    json_array_append_new(list,
                          json_pack("{s:s, s:i, s:o, s:I, s:I, s:o}", "sink", lanes[i].sink, "shardId",
                                    tg_ref_id(lanes[i].ref), "totalShards", total_of(manager, lanes[i].ref),
                                    "events", (json_int_t)lanes[i].events, "bytes",
                                    (json_int_t)lanes[i].bytes, "age", age_since(lanes[i].oldest_queued_at)));
  *more = all > (uint64_t)count ? all - (uint64_t)count : 0;
  free(lanes);
  return list;
}

void tg_route_queue(struct tg_request *request)
{
  struct tg_manager *manager = request->manager;
  uint64_t more;
  json_t *lanes = describe_lanes(manager, &more);
  tg_respond_json(request, 200,
                  json_pack("{s:o, s:o, s:I, s:o}", "sinks", tg_sinks_json(manager), "waiting", lanes, "more",
                            (json_int_t)more, "leftSinks", tg_left_sinks_json(manager)));
}

void tg_route_forget_sink(struct tg_request *request)
{
  struct tg_error error = {0};
  if (tg_manager_forget_sink(request->manager, request->params[0], &error))
    tg_respond_json(request, 200, json_pack("{s:s}", "forgotten", request->params[0]));
  else
    tg_respond_failure(request, &error);
}
