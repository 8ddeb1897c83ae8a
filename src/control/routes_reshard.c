/* Going over to another number of shards: GET and POST /reshard. */

#include "control/resharding.h"
#include "control/routes.h"

static void get_status(struct tg_request *request, struct tg_resharding_status *status)
{
  tg_gateway_resharding(request->manager, status);
}

void tg_route_resharding(struct tg_request *request)
{
  struct tg_resharding_status status;
  get_status(request, &status);
  tg_respond_json(request, 200, tg_resharding_json(&status));
}

/* ---- POST ---- */

/* `false`: an override has put it off. */
static void on_begun(void *ctx, json_t *value, const struct tg_error *error)
{
  struct tg_request *request = ctx;
  struct tg_resharding_status status;
  get_status(request, &status);
  const json_t *identifies = json_object_get(value, "identifies");
  if (error)
    tg_respond_failure(request, error);
  else if (json_is_false(value) || !status.running)
    tg_respond_error(request, 409, "the script's gateway.manager:reshard has not let it begin");
  else
    tg_respond_json(request, 202,
                    json_pack("{s:i, s:i, s:i}", "from", status.from, "to", status.to, "identifies",
                              json_is_integer(identifies) ? (int)json_integer_value(identifies) : status.to));
}

static void on_aborting(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 202, json_pack("{s:b}", "aborting", true));
}

void tg_route_reshard(struct tg_request *request)
{
  static const char wanted[] = "expected {\"totalShards\": a number from 1 to 65535}, or {\"abort\": true}";
  const json_t *total = json_object_get(request->json, "totalShards");
  const json_t *abort = json_object_get(request->json, "abort");
  bool is_total =
      json_is_integer(total) && json_integer_value(total) >= 1 && json_integer_value(total) <= 65535;
  if (json_object_size(request->json) != 1 || !(is_total || json_is_true(abort))) {
    tg_respond_error(request, 400, "%s", wanted);
    return;
  }
  json_t *args = is_total ? json_pack("[{s:O}]", "total_shards", total) : json_pack("[{s:b}]", "abort", true);
  tg_manager_call(request->manager, TG_METHOD_manager_reshard, args, is_total ? on_begun : on_aborting,
                  request);
  json_decref(args);
}
