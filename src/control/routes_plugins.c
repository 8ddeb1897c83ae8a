/* What plugins serve: /plugins/<name>/... */

#include "control/routes.h"

#include <stdlib.h>
#include <string.h>

static void on_answered(void *ctx, const struct tg_hook_answer *answer)
{
  struct tg_buf headers = {0};
  if (answer->allow)
    tg_buf_printf(&headers, "Allow: %s\r\n", answer->allow);
  tg_respond(ctx, answer->status, "application/json", headers.data, answer->body.at, answer->body.length);
  tg_buf_free(&headers);
}

void tg_route_plugins(struct tg_request *request)
{
  struct tg_hook_request asked = {.method = request->method,
                                  .path = request->path + strlen(request->route->path),
                                  .query = request->query,
                                  .body = request->json};
  tg_manager_serve(request->manager, &asked, on_answered, request);
}
