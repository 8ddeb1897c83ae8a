#pragma once

/* Where a Redis is, and as whom to go there. Pure. */

#include "base/error.h"

#include <stdbool.h>

struct tg_redis_url {
  bool tls;
  char *path; /* of a unix socket; NULL: TCP */
  char *host; /* without brackets; NULL: a unix socket */
  char port[8];
  char *user, *password; /* unescaped; NULL: none */
  int database;
  char *name; /* for people: the whole, without user and password */
};

/* redis://[user:password@]host[:port][/database], rediss:// likewise (TLS),
 * redis+unix://[user:password@]/path/of/socket[?db=database]. A password without a user is that of the
 * user "default". What means something in URLs is escaped in user, password and path ("%40" is "@").
 * False: "bad_url" with words that hold neither user nor password. The caller frees the result with
 * tg_redis_url_free(), also after false. */
bool tg_redis_url_parse(const char *text, struct tg_redis_url *url, struct tg_error *error);
void tg_redis_url_free(struct tg_redis_url *url);
