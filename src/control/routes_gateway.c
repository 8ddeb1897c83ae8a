/* What Discord has said, and what is left of it: GET /gateway/bot; of /identify. */

#include "control/routes.h"
#include "manager/status.h"

void tg_route_gateway_bot(struct tg_request *request)
{
  json_t *info = tg_gateway_bot(request->manager);
  if (info)
    tg_respond_json(request, 200, info);
  else
    tg_respond_error(request, 503, "gateway information is still being fetched");
}

static json_t *known(bool is_known, json_int_t number)
{
  return is_known ? json_integer(number) : json_null();
}

json_t *tg_identify_json(struct tg_manager *manager)
{
  struct tg_identify_status status;
  tg_gateway_identifies(manager, &status);
  bool counted = status.total > 0;
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:i, s:b}", "total", known(counted, status.total), "remaining",
                   known(counted, status.remaining), "resetAfter", known(counted, status.reset_after),
                   "maxConcurrency", known(status.max_concurrency > 0, status.max_concurrency), "reserve",
                   known(counted, status.reserve), "waiting", status.waiting, "heldBack", status.held_back);
}
