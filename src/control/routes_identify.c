/* POST /identify/{shard_id}: slots to identify, for other programs. The words are in
 * manager/identify/grants.h; an ask waits here until its slot is there.
 *
 * GET /identify?shard=N waits as twilight's queue does: its clients take whatever is answered for their turn,
 * so that a gateway that stops ends the connection instead. Without a shard it shows the budget. */

#include "base/url_parts.h"
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

static bool read_shard_id(const char *text, size_t length, int *shard_id)
{
  char digits[8] = "";
  if (length == 0 || length > 5)
    return false;
  memcpy(digits, text, length);
  *shard_id = atoi(digits);
  return strspn(digits, "0123456789") == length && *shard_id <= TG_SCHEDULED_SHARD_MAX;
}

static void refuse_shard_id(struct tg_request *request, const char *text, size_t length)
{
  tg_respond_error(request, 400, "\"%.*s\" is not a shard id: a whole number from 0 to %d",
                   (int)(length < 20 ? length : 20), text, TG_SCHEDULED_SHARD_MAX);
}

static void on_gone(struct tg_request *request)
{
  struct asking *asking = request->ctx;
  tg_manager_identify_gone(request->manager, asking->id);
  free(asking);
  tg_respond_error(request, 503, "nobody waits");
}

static struct asking *begin_to_wait(struct tg_request *request)
{
  struct asking *asking = tg_alloc(sizeof *asking);
  *asking = (struct asking){request, 0};
  request->ctx = asking;
  return asking;
}

/* `id` 0: it was answered; request and asking are gone. */
static void wait_on(struct asking *asking, uint64_t id)
{
  if (id == 0)
    return;
  asking->id = id;
  asking->request->on_gone = on_gone;
}

static struct tg_request *end_of_waiting(struct asking *asking)
{
  struct tg_request *request = asking->request;
  free(asking);
  request->on_gone = NULL;
  return request;
}

static void respond(struct tg_request *request, int status, tg_ms retry_after, const json_t *body)
{
  char headers[48] = "";
  if (retry_after >= 0)
    snprintf(headers, sizeof headers, "Retry-After: %lld\r\n", (long long)(retry_after + 999) / 1000);
  char *text = json_dumps(body, JSON_COMPACT);
  tg_respond(request, status, "application/json", headers, text, strlen(text));
  free(text);
}

/* ---- POST /identify/{shard_id} ---- */

static void on_answer(void *ctx, int status, tg_ms retry_after, json_t *body)
{
  respond(end_of_waiting(ctx), status, retry_after, body);
}

void tg_route_identify(struct tg_request *request)
{
  int shard_id;
  if (!read_shard_id(request->params[0], strlen(request->params[0]), &shard_id)) {
    refuse_shard_id(request, request->params[0], strlen(request->params[0]));
    return;
  }
  struct asking *asking = begin_to_wait(request);
  wait_on(asking, tg_manager_identify(request->manager, shard_id, request->json, on_answer, asking));
}

/* ---- GET /identify?shard=N ---- */

static void on_turn(void *ctx, int status, tg_ms retry_after, json_t *body)
{
  struct tg_request *request = end_of_waiting(ctx);
  if (status == 503)
    tg_respond_nothing(request);
  else
    respond(request, status, retry_after, body);
}

static bool find_shard(const char *query, struct tg_span *value)
{
  struct tg_span name;
  while (tg_query_next(&query, &name, value)) {
    if (name.length == 5 && memcmp(name.at, "shard", 5) == 0)
      return true;
  }
  return false;
}

void tg_route_identify_or_budget(struct tg_request *request)
{
  struct tg_span value;
  int shard_id;
  if (!find_shard(request->query, &value)) {
    tg_respond_json(request, 200, tg_identify_json(request->manager));
    return;
  }
  if (!read_shard_id(value.at, value.length, &shard_id)) {
    refuse_shard_id(request, value.at, value.length);
    return;
  }
  struct asking *asking = begin_to_wait(request);
  wait_on(asking, tg_manager_await_turn(request->manager, shard_id, on_turn, asking));
}
