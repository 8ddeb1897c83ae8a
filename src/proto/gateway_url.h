#pragma once

/* The WebSocket URL of the gateway. */

#include "base/error.h"
#include "proto/compression.h"

#include <stdbool.h>

struct tg_gateway_url {
  bool tls;       /* wss */
  char host[256]; /* without brackets */
  char port[8];
  char target[96]; /* "/?v=10&encoding=json&compress=zlib-stream" */
};

/* Takes scheme, host and port of `base`; the path is always "/", its query is
 * ours. False: `base` is not a ws:// or wss:// URL. */
bool tg_gateway_url_parse(const char *base, enum tg_compression compression, struct tg_gateway_url *url,
                          struct tg_error *error);
