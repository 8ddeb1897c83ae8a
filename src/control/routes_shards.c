/* GET /shards: straight from the shard table into one text, for it is polled. */

#include "control/routes.h"
#include "manager/status.h"

#include <inttypes.h>
#include <string.h>

/* With the id of a session and the token anybody can go on with it, so that it is shown only to who knows the
 * secret. */
static void put_shard(struct tg_buf *out, struct tg_manager *manager, int shard_id, struct tg_shard_row *row,
                      bool with_session)
{
  struct tg_session session;
  int worker_id, generation;
  tg_gateway_shard_place(manager, shard_id, &worker_id, &generation);
  bool live = tg_session_load(row, &session);
  tg_buf_printf(out, "{\"workerId\":%d,\"shardId\":%d,\"rtt\":%d,\"state\":\"%s\"", worker_id, shard_id,
                (int)atomic_load(&row->rtt),
                tg_shard_state_name((enum tg_shard_state)atomic_load(&row->state)));
  if (with_session && live) {
    tg_buf_puts(out, ",\"sessionId\":");
    tg_buf_put_json(out, session.id, strlen(session.id));
  }
  tg_buf_printf(
      out, ",\"sequence\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"queued\":%" PRIu64 ",\"generation\":%d}",
      live ? session.sequence : 0, (uint64_t)atomic_load(&row->delivered_sequence),
      (uint64_t)atomic_load(&row->queued_events), generation);
}

void tg_route_shards(struct tg_request *request)
{
  struct tg_gateway_status gateway;
  struct tg_buf out = {0};
  tg_gateway_status(request->manager, &gateway);
  tg_buf_puts(&out, "[");
  for (int id = gateway.first; id <= gateway.last; id++) {
    struct tg_shard_row *row = tg_gateway_shard(request->manager, id);
    if (!row)
      continue;
    if (out.length > 1)
      tg_buf_puts(&out, ",");
    put_shard(&out, request->manager, id, row, request->has_secret);
  }
  tg_buf_puts(&out, "]");
  tg_respond(request, 200, "application/json", NULL, out.data, out.length);
  tg_buf_free(&out);
}
