/* POST /identify/{shard_id}: slots to identify, for other gateway hosts. The
 * words are in manager/broker_wire.h; an ask waits here until its slot is there. */

#include "control/routes.h"
#include "manager/identify/scheduler.h"
#include "manager/manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct asking {
  struct tg_request *request;
  uint64_t id; /* for tg_manager_identify_gone(); 0: not known yet */
};

static bool read_shard_id(const char *text, int *shard_id)
{
  size_t digits = strspn(text, "0123456789");
  if (digits == 0 || digits > 5 || text[digits] || atoi(text) > TG_SCHEDULED_SHARD_MAX)
    return false;
  *shard_id = atoi(text);
  return true;
}

static void on_answer(void *ctx, int status, tg_ms retry_after, json_t *body)
{
  struct asking *asking = ctx;
  struct tg_request *request = asking->request;
  free(asking);
  request->on_gone = NULL;
  char headers[48] = "";
  if (retry_after >= 0)
    snprintf(headers, sizeof headers, "Retry-After: %lld\r\n", (long long)(retry_after + 999) / 1000);
  char *text = json_dumps(body, JSON_COMPACT);
  tg_respond(request, status, "application/json", headers, text, strlen(text));
  free(text);
}

static void on_gone(struct tg_request *request)
{
  struct asking *asking = request->ctx;
  tg_manager_identify_gone(request->manager, asking->id);
  free(asking);
  tg_respond_error(request, 503, "nobody waits");
}

void tg_route_identify(struct tg_request *request)
{
  int shard_id;
  if (!read_shard_id(request->params[0], &shard_id)) {
    tg_respond_error(request, 400, "\"%.20s\" is not a shard id: a whole number from 0 to %d",
                     request->params[0], TG_SCHEDULED_SHARD_MAX);
    return;
  }
  struct asking *asking = tg_alloc(sizeof *asking);
  *asking = (struct asking){request, 0};
  request->ctx = asking;
  uint64_t id = tg_manager_identify(request->manager, shard_id, request->json, on_answer, asking);
  if (id == 0)
    return; /* answered; request and asking are gone */
  asking->id = id;
  request->on_gone = on_gone;
}
