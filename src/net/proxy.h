#pragma once

/* The proxies that the environment names, obeyed as curl obeys them:
 *
 *   http_proxy                for http:// and ws://; HTTP_PROXY does not count,
 *                             since a web server sets it from a header of its client
 *   https_proxy, HTTPS_PROXY  for https:// and wss://
 *   all_proxy, ALL_PROXY      for those that have none of their own
 *   no_proxy, NO_PROXY        names, with all that ends in them, addresses and nets, separated
 *                             by commas or blanks; "*": no proxy at all
 *
 * The first of a row that is not empty counts. One thing is our own: loopback
 * addresses are not asked of a proxy on another computer, for which they are not
 * this computer. Pure. */

#include "base/error.h"

#include <stdbool.h>

enum tg_proxy_kind {
  TG_PROXY_HTTP,
  TG_PROXY_HTTPS, /* TLS to the proxy itself */
  TG_PROXY_SOCKS,
};

struct tg_proxy {
  enum tg_proxy_kind kind;
  const char *variable; /* that names it */
  char *url;            /* as it stands there, for libcurl */
  char *where;          /* for people: scheme, host, port */
  char *host;           /* without brackets */
  char port[8];
  char *login;         /* "user:password", decoded; NULL: none */
  char *authorization; /* value of Proxy-Authorization; NULL: none */
  bool near;           /* it runs on this computer */
};

struct tg_proxies;

/* NULL: a variable does not name a proxy, `error` says which. */
struct tg_proxies *tg_proxies_read(const char *(*env)(const char *name), struct tg_error *error);
void tg_proxies_free(struct tg_proxies *proxies);

/* Where connections to `host` (without brackets) go through. NULL: it is
 * reached directly. `proxies` NULL: none are obeyed. */
const struct tg_proxy *tg_proxy_for(const struct tg_proxies *proxies, bool tls, const char *host);

/* The same for http://, https://, ws:// and wss:// URLs; others are reached directly. */
const struct tg_proxy *tg_proxy_for_url(const struct tg_proxies *proxies, const char *url);

/* Those that are in force, by number from 0; NULL: there are no more. */
const struct tg_proxy *tg_proxy_at(const struct tg_proxies *proxies, int index);
/* The list of what goes without a proxy, and its variable. NULL: none. */
const char *tg_proxies_exceptions(const struct tg_proxies *proxies, const char **variable);

/* The proxy has answered CONNECT with something else than 2xx: `error` ("proxy")
 * says so, and what to do. `to`: host and port. */
void tg_proxy_explain_refusal(const struct tg_proxy *proxy, int status, const char *to,
                              struct tg_error *error);

/* Whether a WebSocket can be had over it: false, and `error`, for all but plain
 * HTTP proxies. `proxy` NULL: true. */
bool tg_proxy_tunnels(const struct tg_proxy *proxy, const char *host, struct tg_error *error);
/* The same for what is in force for a ws:// or wss:// URL. */
bool tg_proxies_tunnel(const struct tg_proxies *proxies, const char *url, struct tg_error *error);
