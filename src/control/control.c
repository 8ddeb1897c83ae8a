#include "control/control.h"

#include "base/address.h"
#include "base/log.h"
#include "control/page/live.h"
#include "control/routes.h"
#include "manager/upgrade/handed.h"
#include "net/server.h"
#include "net/turns.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct tg_control {
  struct tg_manager *manager;
  struct tg_server *server;
  struct tg_turns *turns;
  struct tg_live *live;
  char *listen;  /* as it was configured */
  char *secret;  /* NULL: none */
  bool closed;   /* the manager is not to be asked any more */
  bool loopback; /* only this machine can reach it */
  bool web;      /* and so can the pages of its browsers: it is TCP */
};

/* ---- who may ask ---- */

static bool knows_secret(const struct tg_control *control, const struct tg_request *request)
{
  const char *given = tg_request_header(request, "authorization");
  size_t length = strlen(control->secret);
  return given && strlen(given) == length && CRYPTO_memcmp(given, control->secret, length) == 0;
}

/* "localhost" or a loopback address, each with or without a port. Names that only begin like one lead
 * wherever their owner wants, so nothing but the whole will do. */
static bool names_this_machine(const char *host)
{
  static const char v6[] = "[::1]";
  char name[INET_ADDRSTRLEN];
  struct in_addr address;
  if (strncmp(host, v6, sizeof v6 - 1) == 0)
    return host[sizeof v6 - 1] == '\0' || host[sizeof v6 - 1] == ':';
  size_t length = strcspn(host, ":");
  if (length >= sizeof name)
    return false;
  memcpy(name, host, length);
  name[length] = '\0';
  if (strcasecmp(name, "localhost") == 0)
    return true;
  return inet_pton(AF_INET, name, &address) == 1 && ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* What a browser says of who has made it ask; it cannot be changed by a page. "none": the user. */
static bool asked_by_another_page(const struct tg_request *request)
{
  const char *site = tg_request_header(request, "sec-fetch-site");
  return site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
}

static bool came_by_a_name(const struct tg_control *control, const struct tg_request *request)
{
  const char *host = tg_request_header(request, "host");
  return control->web && host && *host && !names_this_machine(host);
}

/* The status page, at the very name and port that the request is for; which names may be, others say. */
static bool is_own_origin(const struct tg_control *control, const struct tg_request *request,
                          const char *origin)
{
  static const char scheme[] = "http://";
  const char *host = tg_request_header(request, "host");
  return control->web && host && strncasecmp(origin, scheme, sizeof scheme - 1) == 0 &&
         strcasecmp(origin + sizeof scheme - 1, host) == 0;
}

/* Without a secret every program of this machine may ask, but not the pages of
 * a browser that runs on it: those send an Origin, or came by a name. */
static bool is_web_page(const struct tg_control *control, const struct tg_request *request)
{
  const char *origin = tg_request_header(request, "origin");
  return (origin && !is_own_origin(control, request, origin)) || asked_by_another_page(request) ||
         came_by_a_name(control, request);
}

static bool refuse_web_page(struct tg_request *request)
{
  tg_respond_error(request, 403,
                   "without control.authorization (TIDEGATE_CONTROL_SECRET) requests of web pages, and such "
                   "to another Host than localhost, 127.0.0.1 or [::1], are refused");
  return false;
}

/* What the status page is made of is no secret; but under a foreign name it would be that name's page. A link
 * to it may stand anywhere. */
static bool may_have_page(const struct tg_control *control, struct tg_request *request)
{
  request->wants_secret = control->secret;
  return control->secret || !came_by_a_name(control, request) || refuse_web_page(request);
}

static bool allowed(const struct tg_control *control, struct tg_request *request)
{
  if (request->route->open)
    return true;
  if (request->route->page)
    return may_have_page(control, request);
  if (control->secret && !knows_secret(control, request)) {
    static const char body[] = "{\"error\":\"the header Authorization has to be the secret of control."
                               "authorization (TIDEGATE_CONTROL_SECRET)\",\"code\":\"unauthorized\"}";
    tg_log(TG_WARN, TG_NO_SHARD, "control API: %s %s was refused: no or a wrong secret", request->method,
           request->path);
    tg_respond(request, 401, "application/json", "WWW-Authenticate: Secret\r\n", body, sizeof body - 1);
    return false;
  }
  request->has_secret = control->secret;
  if (control->secret || !is_web_page(control, request))
    return true;
  return refuse_web_page(request);
}

/* ---- requests ---- */

static bool refuse_late(const struct tg_control *control, struct tg_request *request)
{
  if (control->closed)
    tg_respond_error(request, 503, "the gateway is stopping");
  return control->closed;
}

static bool admit(void *ctx, struct tg_request *request)
{
  struct tg_control *control = ctx;
  request->manager = control->manager;
  request->live = control->live;
  return !refuse_late(control, request) && tg_route_find(request) && allowed(control, request);
}

static void serve(void *ctx, struct tg_request *request)
{
  if (!refuse_late(ctx, request) && tg_route_read_body(request))
    request->route->handle(request);
}

static void handle(void *ctx, struct tg_request *request)
{
  struct tg_control *control = ctx;
  if (request->route->costly)
    tg_turns_add(control->turns, request);
  else
    serve(control, request);
}

/* ---- life ---- */

static void set_secret(struct tg_control *control, const char *secret)
{
  char *old = control->secret;
  control->secret = secret ? tg_strdup(secret) : NULL;
  if (old)
    OPENSSL_cleanse(old, strlen(old));
  free(old);
}

/* Of the program before, if it is to be at the same address; -1: there is none. */
static int socket_of(const json_t *handed, const char *listen)
{
  const char *before = json_string_value(json_object_get(handed, "listen"));
  return before && strcmp(before, listen) == 0 ? tg_handed_fd(handed, "socket") : -1;
}

bool tg_control_start(struct tg_control **result, uv_loop_t *loop, struct tg_manager *manager,
                      const struct tg_config *config, const json_t *handed, struct tg_error *error)
{
  *result = NULL;
  if (strcmp(config->control.listen, "off") == 0) {
    tg_log(TG_INFO, TG_NO_SHARD, "the control API is off");
    return true;
  }
  struct tg_control *control = tg_calloc(1, sizeof *control);
  struct tg_server_options options = {.loop = loop,
                                      .listen = config->control.listen,
                                      .socket = socket_of(handed, config->control.listen),
                                      .admit = admit,
                                      .handle = handle,
                                      .ctx = control};
  control->manager = manager;
  control->loopback = tg_listen_is_loopback(config->control.listen);
  control->web = control->loopback && strncmp(config->control.listen, "unix:", 5) != 0;
  control->server = tg_server_new(&options, error);
  if (!control->server) {
    free(control);
    return false;
  }
  control->turns = tg_turns_new(loop, serve, control);
  control->live = tg_live_new(loop, manager);
  set_secret(control, config->control.authorization);
  control->listen = tg_strdup(config->control.listen);
  tg_log(TG_INFO, TG_NO_SHARD, "the control API is at %s", tg_server_address(control->server));
  *result = control;
  return true;
}

void tg_control_reconfigure(struct tg_control *control, const struct tg_config *config)
{
  if (!control)
    return;
  /* The address that was wanted instead may need none, but that is not where we are. */
  if (config->control.authorization || control->loopback)
    set_secret(control, config->control.authorization);
  else
    tg_log(TG_WARN, TG_NO_SHARD,
           "control.authorization is kept until the restart: the control API can be reached from other "
           "machines");
}

int tg_control_socket(const struct tg_control *control)
{
  return control ? tg_server_socket(control->server) : -1;
}

json_t *tg_control_hand_over(const struct tg_control *control)
{
  if (!control)
    return json_object();
  json_t *json = json_pack("{s:s}", "listen", control->listen);
  tg_handed_put_fd(json, "socket", tg_server_socket(control->server));
  return json;
}

void tg_control_rest(struct tg_control *control, bool rest)
{
  if (control)
    tg_server_rest(control->server, rest);
}

bool tg_control_at_rest(const struct tg_control *control)
{
  return !control || tg_server_at_rest(control->server);
}

void tg_control_close(struct tg_control *control)
{
  if (!control || control->closed)
    return;
  control->closed = true;
  tg_live_close(control->live);
}

void tg_control_free(struct tg_control *control)
{
  if (!control)
    return;
  tg_server_free(control->server);
  tg_turns_free(control->turns);
  tg_live_free(control->live);
  set_secret(control, NULL);
  free(control->listen);
  free(control);
}
