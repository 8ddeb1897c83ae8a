/* What is done to the gateway as a whole: POST /reload, /upgrade, /shutdown. */

#include "control/routes.h"
#include "manager/manager.h"

#include <string.h>

/* ---- POST /reload ---- */

static void on_reloaded(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  json_t *problem = json_object_get(value, "problem");
  if (!error)
    tg_respond_json(request, 200,
                    json_pack("{s:O, s:O}", "generation", json_object_get(value, "generation"),
                              "needsRestart", json_object_get(value, "needs_restart")));
  else if (problem)
    tg_respond_json(request, tg_status_of(error->code),
                    json_pack("{s:s, s:s, s:O}", "error", "the reload failed, nothing has changed", "code",
                              error->code, "problem", problem));
  else
    tg_respond_failure(request, error);
}

void tg_route_reload(struct tg_request *request)
{
  tg_manager_reload(request->manager, on_reloaded, request);
}

/* ---- /upgrade ---- */

void tg_route_upgrading(struct tg_request *request)
{
  tg_respond_json(request, 200, tg_manager_upgrade_status(request->manager));
}

static void on_tried(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 202, json_incref(value));
}

/* Answers when the other program has been tried: then it takes over, and GET /upgrade tells the rest. */
void tg_route_upgrade(struct tg_request *request)
{
  tg_manager_upgrade(request->manager, on_tried, request);
}

/* ---- POST /shutdown ---- */

static void on_shutdown(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 202, json_pack("{s:b}", "stopping", true));
}

/* Ends the sessions; to keep them there is SIGTERM. */
void tg_route_shutdown(struct tg_request *request)
{
  json_t *args = json_pack("[i, s]", 1000, "asked for over the control API");
  tg_manager_call(request->manager, TG_METHOD_manager_shutdown, args, on_shutdown, request);
  json_decref(args);
}
