#pragma once

/* The OpenSSL side of tg_stream: private to the folder. */

#include "base/error.h"
#include "net/stream.h"

#include <openssl/ssl.h>
#include <stdbool.h>

struct tg_tls {
  SSL_CTX *context;
  bool server;
};

/* A connection on the connected socket `fd`. `host` (client side) is used for
 * SNI and checked against the peer's certificate. NULL: out of memory. */
SSL *tg_tls_connection(struct tg_tls *tls, int fd, const char *host);

/* Fills `error` ("tls") with the reason the last operation on `ssl` failed,
 * in words: a certificate that is not trusted, expired, for another name, ... */
void tg_tls_explain(SSL *ssl, const char *host, struct tg_error *error);
