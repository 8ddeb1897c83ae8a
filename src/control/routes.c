#include "control/routes.h"

#include <stdlib.h>
#include <string.h>

static const struct tg_route routes[] = {
    {"GET", "/healthz", .handle = tg_route_healthz, .open = true},
    {"GET", "/readyz", .handle = tg_route_readyz, .open = true},
    {"GET", "/", .handle = tg_route_page, .page = true},
    {"GET", "/page/{}", .handle = tg_route_page_file, .page = true},
    {"GET", "/live", .handle = tg_route_live, .costly = true},
    {"GET", "/status", .handle = tg_route_status, .costly = true},
    {"GET", "/metrics", .handle = tg_route_metrics, .costly = true},
    {"GET", "/shards", .handle = tg_route_shards, .costly = true},
    {"GET", "/config", .handle = tg_route_config, .costly = true},
    {"GET", "/log-level", .handle = tg_route_log_level},
    {"POST", "/log-level", .handle = tg_route_ask_log_level, .body = TG_BODY_JSON},
    {"GET", "/gateway/bot", .handle = tg_route_gateway_bot},
    {"GET", "/identify", .handle = tg_route_identify_or_budget},
    {"POST", "/identify/{}", .handle = tg_route_identify, .body = TG_BODY_OPTIONAL},
    {"POST", "/shards/{}/payload", .handle = tg_route_shard_payload, .body = TG_BODY_JSON},
    {"POST", "/shards/{}/reconnect", .handle = tg_route_reconnect},
    {"POST", "/payload", .handle = tg_route_all_payload, .body = TG_BODY_JSON},
    {"POST", "/guilds/{}/payload", .handle = tg_route_guild_payload, .body = TG_BODY_JSON},
    {"POST", "/reload", .handle = tg_route_reload},
    {"GET", "/queue", .handle = tg_route_queue, .costly = true},
    {"GET", "/queue/types", .handle = tg_route_queue_types, .costly = true},
    {"POST", "/queue/discard", .handle = tg_route_discard, .body = TG_BODY_JSON},
    {"POST", "/sinks/{}/forget", .handle = tg_route_forget_sink},
    {"GET", "/tap", .handle = tg_route_tap},
    {"GET", "/dead", .handle = tg_route_dead, .costly = true},
    {"GET", "/dead/{}", .handle = tg_route_dead_letter},
    {"POST", "/dead/retry", .handle = tg_route_dead_retry, .body = TG_BODY_JSON},
    {"POST", "/dead/purge", .handle = tg_route_dead_purge, .body = TG_BODY_JSON},
    {"GET", "/reshard", .handle = tg_route_resharding},
    {"POST", "/reshard", .handle = tg_route_reshard, .body = TG_BODY_JSON},
    {"GET", "/cluster", .handle = tg_route_cluster},
    {"POST", "/cluster/drain", .handle = tg_route_drain, .body = TG_BODY_OPTIONAL},
    {"POST", "/cluster/forget", .handle = tg_route_forget_host, .body = TG_BODY_JSON},
    {"GET", "/upgrade", .handle = tg_route_upgrading},
    {"POST", "/upgrade", .handle = tg_route_upgrade},
    {"POST", "/shutdown", .handle = tg_route_shutdown},
    {"POST", "/", .handle = tg_route_template, .body = TG_BODY_JSON},
    {"GET", "/timecheck", .handle = tg_route_timecheck},
};

/* Whatever is below, by any method: which of it there is, the plugins know. */
static const struct tg_route plugins = {.path = "/plugins", .handle = tg_route_plugins, .body = TG_BODY_ANY};

enum { ROUTES = sizeof routes / sizeof *routes };

/* ---- which route ---- */

/* The parts of `path` that stand for {} go to `at` and `length`; -1: no match. */
static int match(const char *pattern, const char *path, const char *at[], size_t length[])
{
  int params = 0;
  while (*pattern) {
    if (strncmp(pattern, "{}", 2) != 0) {
      if (*pattern++ != *path++)
        return -1;
      continue;
    }
    at[params] = path;
    length[params] = strcspn(path, "/");
    if (length[params] == 0)
      return -1;
    path += length[params++];
    pattern += 2;
  }
  return *path ? -1 : params;
}

static void refuse_method(struct tg_request *request, const char *methods)
{
  struct tg_buf body = {0}, headers = {0};
  tg_buf_printf(&body, "{\"error\":\"%s takes %s\"}", request->route->path, methods);
  tg_buf_printf(&headers, "Allow: %s\r\n", methods);
  char *lines = tg_buf_take(&headers);
  tg_respond(request, 405, "application/json", lines, body.data, body.length);
  tg_buf_free(&body);
  free(lines);
}

static bool is_below(const char *path, const char *route)
{
  size_t length = strlen(route);
  return strncmp(path, route, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

bool tg_route_find(struct tg_request *request)
{
  if (is_below(request->path, plugins.path)) {
    request->route = &plugins;
    return true;
  }
  struct tg_buf methods = {0};
  const char *at[TG_REQUEST_PARAMS_MAX];
  size_t length[TG_REQUEST_PARAMS_MAX];
  for (size_t i = 0; i < ROUTES; i++) {
    const struct tg_route *route = &routes[i];
    int params = match(route->path, request->path, at, length);
    if (params < 0)
      continue;
    request->route = route;
    if (strcmp(route->method, request->method) != 0) {
      tg_buf_printf(&methods, "%s%s%s", methods.length ? ", " : "", route->method,
                    strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
      continue;
    }
    for (int k = 0; k < params; k++)
      request->params[k] = tg_strndup(at[k], length[k]);
    tg_buf_free(&methods);
    return true;
  }
  if (methods.length > 0) {
    char *list = tg_buf_take(&methods);
    refuse_method(request, list);
    free(list);
  } else {
    tg_respond_error(request, 404, "there is nothing at %s", request->path);
  }
  return false;
}

/* ---- its body ---- */

bool tg_route_read_body(struct tg_request *request)
{
  const struct tg_buf *body = &request->body;
  enum tg_route_body wanted = request->route->body;
  if (wanted == TG_BODY_UNUSED || (wanted != TG_BODY_JSON && body->length == 0))
    return true;
  if (body->length == 0) {
    tg_respond_error(request, 400, "%s %s needs a body of JSON", request->method, request->route->path);
    return false;
  }
  json_error_t error;
  bool any = wanted == TG_BODY_ANY;
  size_t flags = JSON_REJECT_DUPLICATES | (any ? JSON_DECODE_ANY : 0);
  request->json = json_loadb(body->data, body->length, flags, &error);
  if (json_is_object(request->json) || (any && request->json))
    return true;
  if (request->json)
    tg_respond_error(request, 400, "the body has to be an object, {...}, not a list");
  else
    tg_respond_error(request, 400, "the body is not JSON: line %d, column %d: %s", error.line, error.column,
                     error.text);
  return false;
}
