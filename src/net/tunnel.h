#pragma once

/* Asking an HTTP proxy for a connection to somebody else (CONNECT, RFC 9110,
 * 9.3.6). Pure: bytes in, bytes out. */

#include "base/buf.h"
#include "net/http_syntax.h"
#include "net/proxy.h"

#include <stdbool.h>
#include <sys/types.h>

struct tg_tunnel {
  struct tg_http_syntax syntax;
  bool complete; /* the head of the answer has been read */
  int status;
};

/* Appends the request for `host` (without brackets) and `port` to `out`. */
void tg_tunnel_request(struct tg_tunnel *tunnel, const struct tg_proxy *proxy, const char *host,
                       const char *port, struct tg_buf *out);

/* Feeds bytes of the answer. Returns how many belonged to its head; with a
 * status of 2xx what follows comes from the host. -1: not HTTP. */
ssize_t tg_tunnel_feed(struct tg_tunnel *tunnel, const char *bytes, size_t length);

/* After `complete`: the way is free. */
bool tg_tunnel_stands(const struct tg_tunnel *tunnel);
