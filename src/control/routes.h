#pragma once

/* The routes of the control API, each one function; see request.h for how it
 * answers. To add one: a line here, a line in the table of routes.c. */

#include "manager/manager.h"
#include "net/request.h"

enum tg_route_body {
  TG_BODY_UNUSED,
  TG_BODY_JSON,     /* request->json is an object */
  TG_BODY_OPTIONAL, /* the same, or NULL for an empty body */
  TG_BODY_ANY,      /* any value, or NULL for an empty body */
};

struct tg_route {
  const char *method;
  const char *path; /* "{}" stands for one part of the path: request->params */
  void (*handle)(struct tg_request *request);
  enum tg_route_body body;
  bool open;   /* needs no secret */
  bool page;   /* nor does this, for a browser comes without; but not by a name that is not this machine's */
  bool costly; /* takes its turn (control/turns.h) */
};

/* Fills request->route and ->params. False: answered with 404 or 405. */
bool tg_route_find(struct tg_request *request);

/* Fills request->json. False: answered with 400. */
bool tg_route_read_body(struct tg_request *request);

/* routes_status.c */
void tg_route_healthz(struct tg_request *request);
void tg_route_readyz(struct tg_request *request);
void tg_route_status(struct tg_request *request);
json_t *tg_status_json(struct tg_manager *manager); /* of /status and /live */

/* routes_shards.c */
void tg_route_shards(struct tg_request *request);
void tg_route_reconnect(struct tg_request *request);

/* page/page.c */
void tg_route_page(struct tg_request *request);
void tg_route_page_file(struct tg_request *request);
void tg_route_live(struct tg_request *request);

/* routes_gateway.c */
void tg_route_gateway_bot(struct tg_request *request);
json_t *tg_identify_json(struct tg_manager *manager); /* of /identify and /status */

/* routes_process.c */
void tg_route_reload(struct tg_request *request);
void tg_route_shutdown(struct tg_request *request);
void tg_route_upgrade(struct tg_request *request);
void tg_route_upgrading(struct tg_request *request);

/* routes_config.c */
void tg_route_config(struct tg_request *request);
void tg_route_log_level(struct tg_request *request);
void tg_route_ask_log_level(struct tg_request *request);

/* routes_queue.c */
void tg_route_queue(struct tg_request *request);
void tg_route_queue_types(struct tg_request *request);
void tg_route_discard(struct tg_request *request);
void tg_route_forget_sink(struct tg_request *request);
json_t *tg_sinks_json(struct tg_manager *manager); /* of /queue and /status, as the next */
json_t *tg_left_sinks_json(struct tg_manager *manager);

/* routes_tap.c */
void tg_route_tap(struct tg_request *request);

/* routes_dead.c */
void tg_route_dead(struct tg_request *request);
void tg_route_dead_letter(struct tg_request *request);
void tg_route_dead_retry(struct tg_request *request);
void tg_route_dead_purge(struct tg_request *request);
json_t *tg_dead_json(struct tg_manager *manager); /* of /status */

/* routes_reshard.c */
void tg_route_resharding(struct tg_request *request);
void tg_route_reshard(struct tg_request *request);

/* routes_cluster.c */
void tg_route_cluster(struct tg_request *request);
void tg_route_drain(struct tg_request *request);
void tg_route_forget_host(struct tg_request *request);
json_t *tg_route_cluster_json(struct tg_manager *manager); /* of /status; NULL: there is no cluster */

/* routes_payload.c */
void tg_route_shard_payload(struct tg_request *request);
void tg_route_all_payload(struct tg_request *request);
void tg_route_guild_payload(struct tg_request *request);
tg_manager_reply tg_route_on_sent; /* {"sent":true}, or why not; `ctx` is the request */
/* request->json is the frame; `guild_id` may stand in it. */
void tg_route_send_to_guild(struct tg_request *request, const char *guild_id);

/* routes_template.c */
void tg_route_template(struct tg_request *request);
void tg_route_timecheck(struct tg_request *request);

/* routes_plugins.c */
void tg_route_plugins(struct tg_request *request);

/* metrics.c */
void tg_route_metrics(struct tg_request *request);

/* routes_identify.c */
void tg_route_identify_or_budget(struct tg_request *request);
void tg_route_identify(struct tg_request *request);
