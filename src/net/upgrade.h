#pragma once

/* The HTTP side of a WebSocket connection: request and answer of the upgrade
 * (RFC 6455, section 4). Pure: bytes in, bytes out. */

#include "base/buf.h"
#include "base/clock.h"
#include "net/http_syntax.h"
#include "proto/gateway_url.h"

#include <stdbool.h>
#include <sys/types.h>

struct tg_upgrade {
  struct tg_http_syntax syntax;
  char accept[32]; /* what the server has to prove */
  char field[32];  /* name of the header being read */
  char value[128]; /* its value, cut */
  bool value_begun;
  bool accepted;
  bool complete; /* the head has been read */
  int status;
  char wait[64];     /* value of Retry-After, cut */
  tg_ms date;        /* of Date; -1: none */
  tg_ms retry_after; /* -1: none */
};

/* Appends the request to `out`. */
void tg_upgrade_request(struct tg_upgrade *upgrade, const struct tg_gateway_url *url, struct tg_buf *out);

/* Feeds bytes of the answer. Returns how many belonged to its head; what
 * follows is the first frame. -1: not HTTP. */
ssize_t tg_upgrade_feed(struct tg_upgrade *upgrade, const char *bytes, size_t length);

/* After `complete`: whether the connection is a WebSocket now. */
bool tg_upgrade_done(const struct tg_upgrade *upgrade);
