#include "cli/proxies.h"

#include "base/address.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/url_parts.h"
#include "config/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the gateway is, before it is asked for. NULL: not known. */
static const char *likely_gateway(const struct tg_config *config)
{
  if (config->gateway_bot.url)
    return config->gateway_bot.url;
  return strncmp(config->rest.url, "https://discord.com/", 20) == 0 ? "wss://gateway.discord.gg" : NULL;
}

static void add_route(json_t *routes, const struct tg_proxies *proxies, const char *what, const char *url)
{
  if (!url)
    return;
  const struct tg_proxy *proxy = tg_proxy_for_url(proxies, url);
  char *public = tg_url_public(url);
  json_array_append_new(routes,
                        json_pack("{s:s, s:s, s:s?, s:s?}", "what", what, "url", public, "proxy",
                                  proxy ? proxy->where : NULL, "variable", proxy ? proxy->variable : NULL));
  free(public);
}

/* Proxies are for HTTP. */
static void add_sink_routes(json_t *routes, const struct tg_proxies *proxies,
                            const struct tg_sink_config *sink)
{
  char what[TG_SINK_PATH_SIZE];
  snprintf(what, sizeof what, "the sink %s", sink->name);
  for (int i = 0; i < sink->handler.urls.count; i++)
    if (!tg_url_is_redis(sink->handler.urls.items[i]))
      add_route(routes, proxies, what, sink->handler.urls.items[i]);
}

json_t *tg_proxies_routes(const struct tg_proxies *proxies, const struct tg_config *config)
{
  json_t *routes = json_array();
  if (!tg_proxy_at(proxies, 0))
    return routes;
  add_route(routes, proxies, "REST", config->rest.url);
  add_route(routes, proxies, "the gateway", likely_gateway(config));
  for (int i = 0; i < config->event_handler.urls.count; i++)
    add_route(routes, proxies, "the event handler", config->event_handler.urls.items[i]);
  for (int i = 0; i < config->sink_count; i++)
    add_sink_routes(routes, proxies, &config->sinks[i]);
  return routes;
}

static char *route_text(const json_t *route)
{
  struct tg_buf text = {0};
  const char *proxy = json_string_value(json_object_get(route, "proxy"));
  tg_buf_printf(&text, "%s %s", json_string_value(json_object_get(route, "what")),
                json_string_value(json_object_get(route, "url")));
  if (proxy)
    tg_buf_printf(&text, " over %s (%s)", proxy, json_string_value(json_object_get(route, "variable")));
  else
    tg_buf_puts(&text, " directly");
  return tg_buf_take(&text);
}

void tg_proxies_log(const struct tg_proxies *proxies, const struct tg_config *config)
{
  json_t *routes = tg_proxies_routes(proxies, config), *route;
  struct tg_buf text = {0};
  size_t i;
  json_array_foreach(routes, i, route)
  {
    char *words = route_text(route);
    tg_buf_printf(&text, "%s%s", i > 0 ? ", " : "", words);
    free(words);
  }
  char *all = tg_buf_take(&text);
  if (json_array_size(routes) > 0)
    tg_log(TG_INFO, TG_NO_SHARD, "the environment names proxies: %s", all);
  else if (tg_environment("HTTP_PROXY"))
    tg_log(TG_INFO, TG_NO_SHARD, "HTTP_PROXY does not count, as with curl: http_proxy does");
  free(all);
  json_decref(routes);
}

bool tg_proxies_fit(const struct tg_proxies *proxies, const struct tg_config *config, struct tg_error *error)
{
  const char *url = likely_gateway(config);
  return !url || tg_proxies_tunnel(proxies, url, error);
}
