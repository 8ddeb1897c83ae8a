/* The cluster: GET /cluster, POST /cluster/drain, /cluster/forget. */

#include "control/cluster.h"
#include "control/routes.h"
#include "manager/status.h"

json_t *tg_route_cluster_json(struct tg_manager *manager)
{
  struct tg_cluster_status status;
  return tg_manager_cluster(manager, &status)
             ? tg_cluster_json(&status, tg_gateway_config(manager)->cluster.url)
             : NULL;
}

/* What Redis does not tell is left out: who looks at a cluster whose Redis is away wants to see the rest. */
static void on_survey(void *ctx, json_t *answer, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  json_t *json = tg_route_cluster_json(request->manager);
  if (!json) {
    tg_respond_failure(request, error);
    return;
  }
  if (!error)
    tg_cluster_add_survey(json, answer);
  tg_respond_json(request, 200, json);
}

void tg_route_cluster(struct tg_request *request)
{
  tg_manager_cluster_survey(request->manager, on_survey, request);
}

void tg_route_drain(struct tg_request *request)
{
  const json_t *now = json_object_get(request->json, "now");
  struct tg_error error;
  if ((now && !json_is_boolean(now)) || json_object_size(request->json) != (size_t)(now != NULL))
    tg_respond_error(request, 400, "expected {\"now\": true or false}, or nothing");
  else if (tg_manager_cluster_drain(request->manager, json_is_true(now), &error))
    tg_respond_json(request, 202, tg_route_cluster_json(request->manager));
  else
    tg_respond_failure(request, &error);
}

static void on_forgotten(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 200, json_incref(value));
}

void tg_route_forget_host(struct tg_request *request)
{
  const char *host = json_string_value(json_object_get(request->json, "host"));
  if (!host || json_object_size(request->json) != 1)
    tg_respond_error(request, 400, "expected {\"host\": the name of one that will not come back}");
  else
    tg_manager_cluster_forget(request->manager, host, on_forgotten, request);
}
