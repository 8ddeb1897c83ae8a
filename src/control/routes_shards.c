/* GET /shards: straight from the shard table into one text, for it is polled. POST /shards/{}/reconnect. */

#include "control/deaf.h"
#include "control/routes.h"

#include "base/url_parts.h"
#include "manager/status.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* With the id of a session and the token anybody can go on with it, so that it is shown only to who knows the
 * secret. */
static void put_shard(struct tg_buf *out, struct tg_manager *manager, int worker_id, int shard_id,
                      struct tg_shard_row *row, bool with_session, const char *deaf)
{
  struct tg_session session;
  bool live = tg_session_load(row, &session);
  tg_buf_printf(out, "{\"workerId\":%d,\"shardId\":%d,\"rtt\":%d,\"state\":\"%s\"", worker_id, shard_id,
                (int)atomic_load(&row->rtt),
                tg_shard_state_name((enum tg_shard_state)atomic_load(&row->state)));
  if (with_session && live) {
    tg_buf_puts(out, ",\"sessionId\":");
    tg_buf_put_json(out, session.id, strlen(session.id));
  }
  if (deaf)
    tg_buf_printf(out, ",\"deaf\":\"%s\"", deaf);
  tg_buf_printf(
      out, ",\"sequence\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"queued\":%" PRIu64 ",\"generation\":%d}",
      live ? session.sequence : 0, (uint64_t)atomic_load(&row->delivered_sequence),
      (uint64_t)atomic_load(&row->queued_events), tg_gateway_generation_of(manager, worker_id));
}

static void put_set(struct tg_buf *out, struct tg_request *request, const struct tg_shard_set *set)
{
  struct tg_deaf_status deaf;
  bool any = false;
  tg_gateway_deaf(request->manager, &deaf);
  tg_buf_puts(out, "[");
  for (int i = 0; set && i < set->count; i++) {
    const struct tg_managed_shard *shard = &set->list[i];
    if (!shard->held)
      continue;
    if (any)
      tg_buf_puts(out, ",");
    any = true;
    put_shard(out, request->manager, shard->worker_id, shard->id, tg_shard_row_of(shard), request->has_secret,
              tg_deaf_word(&deaf, shard->id));
  }
  tg_buf_puts(out, "]");
}

/* ---- which set ---- */

static bool is_named(struct tg_span span, const char *name)
{
  return span.length == strlen(name) && memcmp(span.at, name, span.length) == 0;
}

/* What ?total= says; 0: nothing. False: what stands there makes no sense. */
static bool read_total(const char *query, int *total)
{
  struct tg_span name, value;
  char digits[8] = "";
  *total = 0;
  while (tg_query_next(&query, &name, &value)) {
    if (!is_named(name, "total"))
      continue;
    if (value.length == 0 || value.length >= sizeof digits)
      return false;
    memcpy(digits, value.at, value.length);
    digits[value.length] = '\0';
    if (strspn(digits, "0123456789") != value.length || atoi(digits) == 0)
      return false;
    *total = atoi(digits);
  }
  return true;
}

/* The set with that total. NULL: answered, with those that there are. */
static const struct tg_shard_set *find_set(struct tg_request *request, int total)
{
  struct tg_buf totals = {0};
  const struct tg_shard_set *set;
  for (int place = 0; (set = tg_gateway_set(request->manager, place)); place++) {
    if (set->range.total == total) {
      tg_buf_free(&totals);
      return set;
    }
    tg_buf_printf(&totals, "%s%d", place > 0 ? " and of " : "", set->range.total);
  }
  char *text = totals.length > 0 ? tg_buf_take(&totals) : NULL;
  if (text)
    tg_respond_error(request, 404, "there is no set of %d shards: there is one of %s", total, text);
  else
    tg_respond_error(request, 503, "the number of shards is not known yet");
  free(text);
  return NULL;
}

void tg_route_shards(struct tg_request *request)
{
  struct tg_buf out = {0};
  int total;
  if (!read_total(request->query, &total)) {
    tg_respond_error(request, 400, "expected ?total= and a number of shards");
    return;
  }
  const struct tg_shard_set *set = total > 0 ? find_set(request, total) : tg_gateway_set(request->manager, 0);
  if (total > 0 && !set)
    return;
  put_set(&out, request, set);
  tg_respond(request, 200, "application/json", NULL, out.data, out.length);
  tg_buf_free(&out);
}

/* ---- POST /shards/{}/reconnect ---- */

static void on_reconnecting(void *ctx, json_t *value, const struct tg_error *error)
{
  (void)value;
  struct tg_request *request = ctx;
  if (error)
    tg_respond_failure(request, error);
  else
    tg_respond_json(request, 202, json_pack("{s:b}", "reconnecting", true));
}

void tg_route_reconnect(struct tg_request *request)
{
  const char *text = request->params[0];
  if (strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text))
    tg_manager_reconnect(request->manager, atoi(text), on_reconnecting, request);
  else
    tg_respond_error(request, 404, "\"%s\" is not the number of a shard", text);
}
