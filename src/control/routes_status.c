/* How the gateway is: GET /healthz, /readyz. */

#include "control/routes.h"
#include "manager/status.h"

#include <string.h>

/* The loop of the manager turns, or this would not be answered. */
void tg_route_healthz(struct tg_request *request)
{
  tg_respond_json(request, 200, json_pack("{s:s}", "status", "ok"));
}

static bool is_ready(const struct tg_gateway_status *status)
{
  int count = status->last - status->first + 1;
  return count > 0 && status->up == count && strcmp(status->phase, "stopping") != 0;
}

void tg_route_readyz(struct tg_request *request)
{
  struct tg_gateway_status status;
  tg_gateway_status(request->manager, &status);
  bool ready = is_ready(&status);
  json_t *body = json_pack("{s:b, s:s, s:{s:i, s:i}}", "ready", ready, "phase", status.phase, "progress",
                           "ready", status.up, "total", status.last - status.first + 1);
  if (!ready)
    json_object_set_new(body, "error", json_string("not all shards are ready"));
  tg_respond_json(request, ready ? 200 : 503, body);
}
